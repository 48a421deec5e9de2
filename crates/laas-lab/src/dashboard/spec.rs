//! What the people in front of the dashboard hand in: hosts, users and bookings, and why it refuses them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A machine as the dashboard's administrator registers it.
#[derive(Clone, Debug)]
pub struct HostSpec {
    /// The lab's own id of the host, which every task carries.
    pub labid: String,
    /// The name of its hardware profile, such as `hpe-x86`.
    pub host_type: String,
    /// What users see; it may hold dots, which keep it out of the API's paths.
    pub display_name: String,
    /// MAC addresses as the administrator typed them, in the order of the ports.
    pub interfaces: Vec<String>,
    /// Whose host it is; the dashboard's first lab when absent.
    pub lab: Option<String>,
}

impl HostSpec {
    /// An x86 host of the first lab whose display name is its id.
    pub fn new(labid: &str, interfaces: &[&str]) -> Self {
        Self {
            labid: labid.to_owned(),
            host_type: "hpe-x86".to_owned(),
            display_name: labid.to_owned(),
            interfaces: interfaces.iter().map(|mac| (*mac).to_owned()).collect(),
            lab: None,
        }
    }
}

/// A user account.
#[derive(Clone, Debug)]
pub struct UserSpec {
    /// The Django user id, which access tasks carry.
    pub id: i64,
    pub username: String,
    pub email: String,
    /// The public key file, verbatim; without one the user silently gets no SSH task.
    pub ssh_key: Option<String>,
}

/// A booking as its owner fills it in.
#[derive(Clone, Debug, Deserialize)]
pub struct BookingSpec {
    pub owner: i64,
    #[serde(default)]
    pub collaborators: Vec<i64>,
    pub hosts: Vec<BookedHost>,
    /// Asks for an OPNFV installation: only then there is a software task.
    #[serde(default)]
    pub opnfv: Option<OpnfvSpec>,
    /// The lab id of a host to take an image of right after it is provisioned.
    #[serde(default)]
    pub snapshot: Option<String>,
}

/// One host of a booking.
#[derive(Clone, Debug, Deserialize)]
pub struct BookedHost {
    pub labid: String,
    /// The lab's id of the image (FOG's).
    pub image: i64,
    pub hostname: String,
    #[serde(default)]
    pub role: Role,
    /// What each interface shall carry; interfaces left out carry nothing.
    #[serde(default)]
    pub networks: BTreeMap<String, Vec<Vlan>>,
}

/// A host's part in an OPNFV installation.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub enum Role {
    Jumphost,
    #[default]
    Compute,
}

/// A VLAN on an interface, as it stands in a network task.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Vlan {
    pub vlan_id: u16,
    pub tagged: bool,
}

impl Vlan {
    /// Without an 802.1Q tag on the wire.
    pub fn untagged(vlan_id: u16) -> Self {
        Self {
            vlan_id,
            tagged: false,
        }
    }

    /// With an 802.1Q tag on the wire.
    pub fn tagged(vlan_id: u16) -> Self {
        Self {
            vlan_id,
            tagged: true,
        }
    }
}

/// The OPNFV part of a booking; the VLANs only show in the installer descriptor file.
#[derive(Clone, Debug, Deserialize)]
pub struct OpnfvSpec {
    pub installer: String,
    pub scenario: String,
    pub admin: u16,
    pub mgmt: u16,
    pub private: u16,
    pub public: u16,
}

/// Why the dashboard does not do what its user or administrator asked for.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("a booking needs at least one host")]
    NoHosts,
    #[error("no booking `{0}`")]
    UnknownBooking(u32),
    #[error("booking `{0}` is over")]
    BookingOver(u32),
    #[error("no host `{0}`; add it first")]
    UnknownHost(String),
    #[error("no lab `{0}`; name it when the dashboard is made")]
    UnknownLab(String),
    #[error("no user `{0}`; add it first")]
    UnknownUser(i64),
    #[error("host `{0}` is there already")]
    KnownHost(String),
    #[error("host `{0}` is asked for twice")]
    HostTwice(String),
    #[error("host `{0}` is booked; wait until it is freed")]
    HostTaken(String),
    #[error("host `{0}` is marked as not working")]
    HostBroken(String),
    #[error("host `{0}` is in no running booking")]
    HostNotBooked(String),
    #[error("host `{0}` is not among the booking's hosts")]
    HostOutsideBooking(String),
    #[error("host `{0}` belongs to another lab than the booking's first host")]
    HostsOfTwoLabs(String),
    #[error("host `{host}` has no interface `{mac}`")]
    UnknownInterface { host: String, mac: String },
    #[error("VLAN `{0}` is not between 1 and 4094")]
    BadVlan(u16),
}
