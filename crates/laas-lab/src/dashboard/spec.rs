//! What the people in front of the dashboard hand in: hosts, users and bookings, and why it refuses them.

use std::collections::BTreeMap;
use std::fmt;

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
#[derive(Debug, PartialEq)]
pub enum Refused {
    NoHosts,
    UnknownBooking(u32),
    BookingOver(u32),
    UnknownHost(String),
    UnknownLab(String),
    UnknownUser(i64),
    KnownHost(String),
    HostTwice(String),
    HostTaken(String),
    HostBroken(String),
    HostNotBooked(String),
    HostOutsideBooking(String),
    HostsOfTwoLabs(String),
    UnknownInterface { host: String, mac: String },
    BadVlan(u16),
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHosts => write!(out, "a booking needs at least one host"),
            Self::UnknownBooking(id) => write!(out, "no booking `{id}`"),
            Self::BookingOver(id) => write!(out, "booking `{id}` is over"),
            Self::UnknownHost(host) => write!(out, "no host `{host}`; add it first"),
            Self::UnknownLab(lab) => write!(out, "no lab `{lab}`; name it when the dashboard is made"),
            Self::UnknownUser(user) => write!(out, "no user `{user}`; add it first"),
            Self::KnownHost(host) => write!(out, "host `{host}` is there already"),
            Self::HostTwice(host) => write!(out, "host `{host}` is asked for twice"),
            Self::HostTaken(host) => write!(out, "host `{host}` is booked; wait until it is freed"),
            Self::HostBroken(host) => write!(out, "host `{host}` is marked as not working"),
            Self::HostNotBooked(host) => write!(out, "host `{host}` is in no running booking"),
            Self::HostOutsideBooking(host) => write!(out, "host `{host}` is not among the booking's hosts"),
            Self::HostsOfTwoLabs(host) => write!(
                out,
                "host `{host}` belongs to another lab than the booking's first host"
            ),
            Self::UnknownInterface { host, mac } => write!(out, "host `{host}` has no interface `{mac}`"),
            Self::BadVlan(vlan) => write!(out, "VLAN `{vlan}` is not between 1 and 4094"),
        }
    }
}

impl std::error::Error for Refused {}
