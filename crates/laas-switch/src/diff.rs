//! The difference between what a switch has and what it shall have. Nothing here talks to anyone.

use crate::{Mode, Port, PortName, Present, VlanSet, VlanState};
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
}

/// What turns `present` into `wanted`; nothing if it is that already. Ports that are not wanted are left alone,
/// VLANs are added and never removed.
pub fn diff(present: &Present, wanted: &BTreeMap<PortName, Port>) -> Vec<Change> {
    let touched = || {
        wanted
            .iter()
            .filter_map(|(name, port)| Some((name, port, present.ports.get(name)?)))
    };
    let needed: BTreeSet<VlanId> = touched().flat_map(|(_, port, _)| vlans(port)).collect();
    let vlans = needed
        .into_iter()
        .filter_map(|vlan| match present.vlans.get(&vlan) {
            None => Some(Change::AddVlan(vlan)),
            Some(VlanState::Suspended) => Some(Change::ActivateVlan(vlan)),
            Some(VlanState::Active) => None,
        });
    let ports = touched()
        .filter(|(_, wanted, now)| !now.does(wanted))
        .map(|(name, wanted, now)| {
            // A port that becomes a switch port begins with the defaults, whatever was configured before.
            let fresh = now.mode == Mode::Routed;
            Change::Port {
                port: name.clone(),
                switch: fresh,
                native: (fresh || now.native != wanted.native).then_some(wanted.native),
                allowed: (fresh || now.allowed != wanted.allowed).then(|| wanted.allowed.clone()),
                trunk: now.mode != Mode::Trunk,
            }
        });
    vlans.chain(ports).collect()
}

/// Every VLAN that the port names.
pub fn vlans(port: &Port) -> impl Iterator<Item = VlanId> {
    port.allowed.iter().chain([port.native])
}
