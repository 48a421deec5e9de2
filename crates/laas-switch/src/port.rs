//! Ports: their names, what is configured on them, what a booking wants of them.

use crate::VlanSet;
use laas_core::VlanId;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The name of a port on its switch, `Ethernet1/34`: letters, then numbers and slashes, so that it can't carry a
/// second command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortName(String);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PortError {
    #[error("`{text}` is no name of a switch port like `Ethernet1/34`")]
    Name { text: String },
    #[error("the untagged VLANs {first} and {second} can't be on one port")]
    TwoUntagged { first: VlanId, second: VlanId },
    #[error("VLAN {vlan} can't be tagged and untagged on one port")]
    Both { vlan: VlanId },
}

impl FromStr for PortName {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let digits = text
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(text.len());
        let (kind, place) = text.split_at(digits);
        let number = |n: &str| !n.is_empty() && n.len() <= 4 && n.chars().all(|c| c.is_ascii_digit());
        if kind.is_empty() || kind.len() > 20 || place.len() > 20 || !place.split('/').all(number) {
            return Err(PortError::Name {
                text: text.escape_debug().take(60).collect(),
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl PortName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `other` is a name of the same port; either may be abbreviated, as in `Eth1/2` and `Ethernet1/2`.
    pub fn is_same(&self, other: &str) -> bool {
        let split = |text: &str| {
            let digits = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
            let (kind, place) = text.split_at(digits);
            (kind.to_ascii_lowercase(), place.to_owned())
        };
        let ((kind, place), (other_kind, other_place)) = (split(&self.0), split(other));
        let abbreviated = kind.starts_with(&other_kind) || other_kind.starts_with(&kind);
        abbreviated && !other_kind.is_empty() && place == other_place
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for PortName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Access,
    Trunk,
    /// No switch port at all, or nothing says that it is one.
    Routed,
}

/// What is configured on a port. What belongs to another mode than its own is kept by the switch and counts again
/// when the mode changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Port {
    pub mode: Mode,
    /// The VLAN of an access port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<VlanId>,
    /// The VLAN of untagged frames on a trunk.
    pub native: VlanId,
    /// What passes on a trunk, tagged but for the native VLAN.
    pub allowed: VlanSet,
    /// It is shut down by the configuration and passes nothing, whatever its VLANs are.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shutdown: bool,
}

impl Port {
    /// Whether the port does what `wanted` says.
    pub fn does(&self, wanted: &Self) -> bool {
        (self.mode, self.native, &self.allowed) == (wanted.mode, wanted.native, &wanted.allowed)
            && !self.is_dead_for(wanted)
    }

    /// Whether it is shut down and `wanted` is to carry something. One that is to carry nothing may be either.
    pub fn is_dead_for(&self, wanted: &Self) -> bool {
        self.shutdown && !wanted.allowed.is_empty()
    }

    /// Every VLAN that it names as a trunk.
    pub fn vlans(&self) -> impl Iterator<Item = VlanId> {
        self.allowed.iter().chain([self.native])
    }

    /// Every VLAN that it carries, or that is named for the mode that it does not have.
    pub fn held(&self) -> VlanSet {
        let mut held: VlanSet = self.access.into_iter().chain([self.native]).collect();
        // All is what is there without a word, and counts on a trunk only.
        if self.mode == Mode::Trunk || self.allowed != VlanSet::all() {
            held.extend(self.allowed.iter());
        }
        held
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.mode, self.access) {
            (Mode::Access, Some(vlan)) => write!(f, "access to {vlan}"),
            (Mode::Access, None) => f.write_str("access"),
            (Mode::Trunk, _) => write!(f, "trunk of {} with native {}", self.allowed, self.native),
            (Mode::Routed, _) => f.write_str("no switch port"),
        }?;
        match self.shutdown {
            true => f.write_str(", shut down"),
            false => Ok(()),
        }
    }
}

/// What a booking wants on a port: at most one untagged VLAN, any number of tagged ones, or nothing at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    untagged: Option<VlanId>,
    tagged: VlanSet,
}

impl Wish {
    /// From pairs of a VLAN and whether it is tagged.
    ///
    /// # Errors
    /// Two VLANs are untagged, or one is both.
    pub fn new(vlans: impl IntoIterator<Item = (VlanId, bool)>) -> Result<Self, PortError> {
        let mut wish = Self::default();
        for (vlan, tagged) in vlans {
            match (tagged, wish.untagged) {
                (true, _) => wish.tagged.extend([vlan]),
                (false, Some(first)) if first != vlan => {
                    return Err(PortError::TwoUntagged { first, second: vlan });
                }
                (false, _) => wish.untagged = Some(vlan),
            }
        }
        match wish.untagged {
            Some(vlan) if wish.tagged.contains(vlan) => Err(PortError::Both { vlan }),
            _ => Ok(wish),
        }
    }

    /// This VLAN without a tag and nothing else.
    pub fn untagged(vlan: VlanId) -> Self {
        Self {
            untagged: Some(vlan),
            tagged: VlanSet::default(),
        }
    }

    /// The trunk that gives exactly this. Untagged frames that nobody wants go to `parking`, which is not among
    /// the VLANs that pass: they end at the port.
    pub fn port(&self, parking: VlanId) -> Port {
        let mut allowed = self.tagged.clone();
        allowed.extend(self.untagged);
        Port {
            mode: Mode::Trunk,
            access: None,
            native: self.untagged.unwrap_or(parking),
            allowed,
            shutdown: false,
        }
    }
}

/// A VLAN on the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    pub state: VlanState,
    /// Its name says that this pack made it, see [`Vlan::name`].
    pub ours: bool,
}

/// One that is not active passes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VlanState {
    Active,
    Suspended,
}

impl Vlan {
    pub fn new(id: VlanId, name: &str, active: bool) -> Self {
        Self {
            state: if active {
                VlanState::Active
            } else {
                VlanState::Suspended
            },
            ours: name == Self::name(id),
        }
    }

    /// The name of the VLANs that this pack makes: `laas-103`. Names must be unique on a Nexus, and both vendors take
    /// 32 characters. It names no booking: the next one that gets the VLAN, or shares a public one, would find it wrong.
    pub fn name(id: VlanId) -> String {
        format!("laas-{id}")
    }
}

/// Why a port is not to be configured: the switch's words for one that it does not have, or what it is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untouchable(pub String);

/// What a switch has, as far as it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    pub vlans: BTreeMap<VlanId, Vlan>,
    /// The ports that were asked for.
    pub ports: BTreeMap<PortName, Port>,
    pub untouchable: BTreeMap<PortName, Untouchable>,
    /// Every VLAN that anything else on the switch carries or names: other ports, port channels, VLAN interfaces.
    pub elsewhere: VlanSet,
}

impl Present {
    /// Whether the VLAN is there and passes frames.
    pub fn is_active(&self, vlan: VlanId) -> bool {
        self.vlans
            .get(&vlan)
            .is_some_and(|vlan| vlan.state == VlanState::Active)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vlan(id: u64) -> VlanId {
        id.try_into().unwrap()
    }

    #[test]
    fn a_name_can_not_carry_a_command() {
        for name in ["Ethernet1/34", "Eth101/1/2", "mgmt0", "Po5"] {
            assert_eq!(name.parse::<PortName>().unwrap().as_str(), name);
        }
        for name in [
            "",
            "1/1",
            "Ethernet",
            "Ethernet1/",
            "Ethernet1/1 ;no vlan 1",
            "Ethernet1/1\n",
            "Ethernet 1/1",
            "Ethernet1/1-4",
            "Ethernet1/1,2",
            "Vlan;1",
            "Ethernet1//1",
            "Ethernet99999/1",
        ] {
            assert!(name.parse::<PortName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_wish_is_a_trunk() {
        for (vlans, native, allowed) in [
            (&[(11, false), (103, true)][..], 11, "11,103"),
            (&[(11, false)], 11, "11"),
            (&[(11, false), (11, false)], 11, "11"),
            (&[(103, true), (104, true)], 999, "103-104"),
            (&[], 999, "none"),
        ] {
            let wish = Wish::new(vlans.iter().map(|(id, tagged)| (vlan(*id), *tagged))).unwrap();
            let port = wish.port(vlan(999));
            assert_eq!(
                (port.native.get(), port.allowed.to_string()),
                (native, allowed.to_owned())
            );
        }
        let wish = |vlans: [(u64, bool); 2]| Wish::new(vlans.map(|(id, tagged)| (vlan(id), tagged)));
        let two = PortError::TwoUntagged {
            first: vlan(11),
            second: vlan(12),
        };
        assert_eq!(wish([(11, false), (12, false)]), Err(two));
        assert_eq!(
            wish([(11, false), (11, true)]),
            Err(PortError::Both { vlan: vlan(11) })
        );
        assert_eq!(
            wish([(11, true), (11, false)]),
            Err(PortError::Both { vlan: vlan(11) })
        );
    }
}
