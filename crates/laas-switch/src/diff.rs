//! The difference between what a switch has and what it shall have. Nothing here talks to anyone.

use crate::{Mode, Pool, Port, PortName, Present, VlanSet, VlanState};
use laas_core::VlanId;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One change, in the order in which it is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    AddVlan(VlanId),
    /// It is there and suspended or shut down.
    ActivateVlan(VlanId),
    /// What is `None` or false stays as it is.
    Port {
        port: PortName,
        switch: bool,
        native: Option<VlanId>,
        allowed: Option<VlanSet>,
        trunk: bool,
        /// It is to be shut down no more.
        open: bool,
    },
    RemoveVlan(VlanId),
}

/// What turns `present` into `wanted`; nothing if it is that already.
///
/// Ports that are not wanted, or that the pool objects to, are left alone. VLANs that are needed are made or activated;
/// those of ours that neither a port nor anything else of the switch holds afterwards are removed.
pub fn diff(present: &Present, wanted: &BTreeMap<PortName, Port>, pool: &Pool) -> Vec<Change> {
    let touched: BTreeMap<&PortName, (&Port, &Port)> = wanted
        .iter()
        .filter(|(name, port)| pool.objection(name, port).is_none())
        .filter_map(|(name, port)| Some((name, (port, present.ports.get(name)?))))
        .collect();
    let needed: BTreeSet<VlanId> = touched.values().flat_map(|(port, _)| port.vlans()).collect();
    let vlans = needed
        .into_iter()
        .filter_map(|vlan| match present.vlans.get(&vlan).map(|v| v.state) {
            None => Some(Change::AddVlan(vlan)),
            Some(VlanState::Suspended) => Some(Change::ActivateVlan(vlan)),
            Some(VlanState::Active) => None,
        });
    let ports = touched
        .iter()
        .filter(|(_, (wanted, now))| !now.does(wanted))
        .map(|(name, (wanted, now))| {
            // A port that becomes a switch port begins with the defaults, whatever was configured before.
            let fresh = now.mode == Mode::Routed;
            Change::Port {
                port: PortName::clone(name),
                switch: fresh,
                native: (fresh || now.native != wanted.native).then_some(wanted.native),
                allowed: (fresh || now.allowed != wanted.allowed).then(|| wanted.allowed.clone()),
                trunk: now.mode != Mode::Trunk,
                // On some switches a port that is none of theirs is shut down without a word.
                open: now.is_dead_for(wanted) || (fresh && !wanted.allowed.is_empty()),
            }
        });
    let mut held = present.elsewhere.clone();
    for (name, now) in &present.ports {
        match touched.get(name) {
            // What belongs to access mode stays configured beside the trunk.
            Some((wanted, _)) => held.extend(wanted.vlans().chain(now.access)),
            None => held.extend(now.held().iter()),
        }
    }
    let unused = present
        .vlans
        .iter()
        .filter(|(id, vlan)| vlan.ours && pool.may_remove(**id) && !held.contains(**id))
        .map(|(id, _)| Change::RemoveVlan(*id));
    vlans.chain(ports).chain(unused).collect()
}

/// One way in which a port is not as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Difference {
    /// It is no trunk.
    Mode {
        found: Mode,
    },
    /// Untagged frames belong to another VLAN.
    Native {
        found: VlanId,
        wanted: VlanId,
    },
    Extra {
        vlans: VlanSet,
    },
    Missing {
        vlans: VlanSet,
    },
    /// It is let through, and the switch does not have it or has suspended it.
    Inactive {
        vlan: VlanId,
    },
    /// It is shut down, and should carry something.
    Shutdown,
}

/// How the port of a switch differs from what is wanted; nothing if it does not.
pub fn differences(present: &Present, now: &Port, wanted: &Port) -> Vec<Difference> {
    let carried: VlanSet = match now.mode {
        Mode::Access => now.access.into_iter().collect(),
        Mode::Trunk => now.allowed.clone(),
        Mode::Routed => VlanSet::default(),
    };
    let without = |all: &VlanSet, but: &VlanSet| -> VlanSet {
        all.iter().filter(|vlan| !but.contains(*vlan)).collect()
    };
    let (extra, missing) = (
        without(&carried, &wanted.allowed),
        without(&wanted.allowed, &carried),
    );
    let mut found = Vec::new();
    if now.mode != Mode::Trunk {
        found.push(Difference::Mode { found: now.mode });
    } else if now.native != wanted.native {
        found.push(Difference::Native {
            found: now.native,
            wanted: wanted.native,
        });
    }
    if !extra.is_empty() {
        found.push(Difference::Extra { vlans: extra });
    }
    if !missing.is_empty() {
        found.push(Difference::Missing { vlans: missing });
    }
    let dead = wanted
        .allowed
        .iter()
        .find(|vlan| carried.contains(*vlan) && !present.is_active(*vlan));
    found.extend(dead.map(|vlan| Difference::Inactive { vlan }));
    found.extend(now.is_dead_for(wanted).then_some(Difference::Shutdown));
    found
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode { found: Mode::Access } => f.write_str("is an access port"),
            Self::Mode { .. } => f.write_str("is no trunk"),
            Self::Native { found, wanted } => write!(f, "has native VLAN {found} instead of {wanted}"),
            Self::Extra { vlans } => write!(f, "carries VLAN {vlans} and should not"),
            Self::Missing { vlans } => write!(f, "lacks VLAN {vlans}"),
            Self::Shutdown => f.write_str("is shut down"),
            Self::Inactive { vlan } => write!(f, "has VLAN {vlan}, which is not active on the switch"),
        }
    }
}
