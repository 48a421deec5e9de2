//! The difference between what a switch has and what it shall have. Nothing here talks to anyone.

use crate::{Mode, Pool, Port, PortName, Present, VlanSet, VlanState};
use laas_core::VlanId;
use std::collections::{BTreeMap, BTreeSet};

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
