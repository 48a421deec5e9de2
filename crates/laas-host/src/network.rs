//! Network configuration of a host: what was asked is rendered for the system that the host runs, written whole,
//! and checked by the system's own tool. A family is one module; [`Family::detect`] is the one place that knows all.

mod netplan;

use crate::ssh::{Session, SshError};
use laas_core::{Classify, Kind, Mac, VlanId};

/// One network interface and what it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name in the inventory; the name of its VLAN interfaces is made from it.
    pub name: String,
    pub mac: Mac,
    /// The untagged network, if any.
    pub untagged: Option<VlanId>,
    pub tagged: Vec<VlanId>,
    /// Whether this is the interface whose DHCP gives the default route and the name servers.
    pub default_route: bool,
}

/// A file as it must be on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub path: String,
    pub content: String,
}

/// What was changed on the host; empty when everything was as asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    pub written: Vec<String>,
    /// Files of the image that would fight ours, renamed.
    pub set_aside: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("can't talk to the host")]
    Ssh(#[from] SshError),
    #[error("don't know how `{os}` configures its network")]
    UnknownSystem { os: String },
    #[error("the host's own `{tool}` refuses the new network configuration: {said}")]
    Refused { tool: &'static str, said: String },
}

impl Classify for NetworkError {
    fn kind(&self) -> Kind {
        match self {
            Self::Ssh(source) => source.kind(),
            Self::UnknownSystem { .. } => Kind::Input,
            Self::Refused { .. } => Kind::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Ssh(source) => source.hint(),
            Self::UnknownSystem { .. } => Some("netplan is the one way that is known so far".to_owned()),
            Self::Refused { .. } => Some("the configuration that was there has been put back".to_owned()),
        }
    }
}

/// The ways in which systems configure their network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Netplan,
}

impl Family {
    /// Looks at what the host has.
    ///
    /// # Errors
    /// Nothing that is known, or the connection broke. Nothing is written.
    pub fn detect(session: &Session) -> Result<Self, NetworkError> {
        let script = "command -v netplan >/dev/null && [ -d /etc/netplan ]";
        if session.exec(&["sh", "-c", script], b"")?.code == 0 {
            return Ok(Self::Netplan);
        }
        let os = crate::system::Os::read(session)?;
        Err(NetworkError::UnknownSystem {
            os: format!("{} {}", os.id, os.version).trim().to_owned(),
        })
    }

    /// Makes the host's next boot bring up exactly `interfaces`; with `dry_run` only says what would change.
    ///
    /// # Errors
    /// The host or its own tool refuses; then the files are as before.
    pub fn apply(
        self,
        session: &Session,
        interfaces: &[Interface],
        dry_run: bool,
    ) -> Result<Change, NetworkError> {
        match self {
            Self::Netplan => netplan::apply(session, interfaces, dry_run),
        }
    }
}

/// A name for a VLAN interface that Linux takes (15 bytes at most, IFNAMSIZ) and that no other NIC's has.
fn vlan_interface(index: usize, name: &str, vlan: VlanId) -> String {
    let long = format!("{name}.{vlan}");
    if long.len() <= 15 {
        long
    } else {
        format!("nic{index}.{vlan}")
    }
}
