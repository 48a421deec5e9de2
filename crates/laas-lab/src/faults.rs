//! Faults on demand: what goes wrong, at which peer, and for how long.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What a peer does instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The connection is refused or reset.
    Refuse,
    /// The connection is taken and nothing is ever said.
    Hang,
    /// HTTP 500 with a page of HTML.
    Http500,
    /// HTTP 200 with a page of HTML.
    Html,
    /// The real answer, cut in the middle.
    CutJson,
    /// The work is done, and of the answer comes a blank now and then, for ever.
    Trickle,
    /// HTTP 403 to everything, as a dashboard answers while its database restarts.
    Http403,
    /// HTTP 502 with a page of HTML: the proxy is there, the peer is not.
    Http502,
    /// The peer no longer knows the credentials.
    WrongCredentials,
    /// The peer says yes and does nothing.
    Lie,
    /// FOG only: a task is done at once, and nothing was written.
    LieDone,
}

/// Somebody a fault can be set on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Peer {
    /// The booking dashboard.
    Dashboard,
    /// The imaging server.
    Fog,
    /// The switches.
    Switch,
    /// The directory.
    Ldap,
    /// The chat bot's endpoint.
    Bot,
    /// The BMC of this host.
    Bmc(String),
    /// The SSH server of this host.
    Host(String),
}

impl Peer {
    /// Whether the peer can have this fault at all.
    pub fn can(&self, kind: Kind) -> bool {
        match (self, kind) {
            (_, Kind::Refuse | Kind::Hang) | (Self::Fog, Kind::LieDone) => true,
            (_, Kind::LieDone) => false,
            (_, Kind::Http403) => *self == Self::Dashboard,
            // A real slapd cannot be made to lie, and a directory speaks no
            // JSON that could be cut.
            (Self::Ldap, kind) => kind == Kind::WrongCredentials,
            (Self::Bmc(_) | Self::Host(_), kind) => {
                matches!(kind, Kind::WrongCredentials | Kind::Lie)
            }
            (Self::Bot, kind) => kind != Kind::WrongCredentials,
            (Self::Dashboard | Self::Fog | Self::Switch, _) => true,
        }
    }
}

/// A fault as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// So many requests pass before it does.
    #[serde(default)]
    pub skip: u32,
    /// So many requests meet it; `None`: all until it is cleared.
    #[serde(default)]
    pub times: Option<u32>,
}

impl From<Kind> for Fault {
    /// From now on, until it is cleared.
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            skip: 0,
            times: None,
        }
    }
}

/// A fault that the peer cannot have, or a peer nobody knows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FaultError {
    /// See [`Peer::can`].
    #[error("`{peer}` cannot have the fault `{kind:?}`")]
    Impossible {
        /// The peer.
        peer: Peer,
        /// The fault asked for.
        kind: Kind,
    },
    /// The text names no peer.
    #[error(
        "`{0}` is no peer; use `dashboard`, `fog`, `switch`, `ldap`, `bot`, `bmc:<host>` or `host:<host>`"
    )]
    UnknownPeer(String),
}

/// The faults that are set now. A cheap handle; every peer holds one.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    set: Mutex<BTreeMap<Peer, Fault>>,
    /// BMCs with faults of HTTP, too.
    http: Mutex<BTreeSet<Peer>>,
    changes: watch::Sender<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self(Arc::new(Shared {
            set: Mutex::default(),
            http: Mutex::default(),
            changes: watch::Sender::new(0),
        }))
    }
}

impl Faults {
    /// Sets a fault; it replaces the one the peer had.
    pub fn set(&self, peer: Peer, fault: impl Into<Fault>) -> Result<(), FaultError> {
        let fault = fault.into();
        let http = self.0.http.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of_http = matches!(
            fault.kind,
            Kind::Http500 | Kind::Http502 | Kind::Html | Kind::CutJson | Kind::Trickle
        );
        if !(peer.can(fault.kind) || is_of_http && http.contains(&peer)) {
            return Err(FaultError::Impossible {
                peer,
                kind: fault.kind,
            });
        }
        drop(http);
        self.locked().insert(peer, fault);
        self.changed();
        Ok(())
    }

    /// A BMC has a web server: it can fail in all ways of one.
    pub fn speaks_http(&self, bmc: Peer) {
        let mut http = self.0.http.lock().unwrap_or_else(PoisonError::into_inner);
        http.insert(bmc);
    }

    /// Takes the peer's fault away.
    pub fn clear(&self, peer: &Peer) {
        self.locked().remove(peer);
        self.changed();
    }

    /// The fault that meets this request or connection, which counts against
    /// its `skip` and `times`.
    pub fn take(&self, peer: &Peer) -> Option<Kind> {
        self.take_if(peer, |_| true)
    }

    /// As [`Faults::take`], for a place where only some kinds can happen; the
    /// others are neither met nor counted.
    pub fn take_if(&self, peer: &Peer, here: impl Fn(Kind) -> bool) -> Option<Kind> {
        let mut set = self.locked();
        let fault = set.get_mut(peer).filter(|fault| here(fault.kind))?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        let kind = fault.kind;
        if let Some(left) = &mut fault.times {
            *left = left.saturating_sub(1);
            if *left == 0 {
                set.remove(peer);
                drop(set);
                self.changed();
            }
        }
        Some(kind)
    }

    /// The fault in force, uncounted: for what has no single requests, such
    /// as a daemon that is stopped while its fault lasts.
    pub fn in_force(&self, peer: &Peer) -> Option<Kind> {
        self.locked()
            .get(peer)
            .filter(|fault| fault.skip == 0)
            .map(|fault| fault.kind)
    }

    /// All faults, also those that wait for their `skip` to pass.
    pub fn all(&self) -> BTreeMap<Peer, Fault> {
        self.locked().clone()
    }

    /// Counts the changes; `changed()` on it wakes up after each.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    fn changed(&self) {
        self.0.changes.send_modify(|count| *count += 1);
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<Peer, Fault>> {
        self.0.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FromStr for Peer {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        Ok(match text.split_once(':') {
            Some(("bmc", host)) if !host.is_empty() => Self::Bmc(host.into()),
            Some(("host", host)) if !host.is_empty() => Self::Host(host.into()),
            None if text == "dashboard" => Self::Dashboard,
            None if text == "fog" => Self::Fog,
            None if text == "switch" => Self::Switch,
            None if text == "ldap" => Self::Ldap,
            None if text == "bot" => Self::Bot,
            _ => return Err(FaultError::UnknownPeer(text.into())),
        })
    }
}

impl TryFrom<String> for Peer {
    type Error = FaultError;

    fn try_from(text: String) -> Result<Self, FaultError> {
        text.parse()
    }
}

impl From<Peer> for String {
    fn from(peer: Peer) -> Self {
        peer.to_string()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dashboard => formatter.write_str("dashboard"),
            Self::Fog => formatter.write_str("fog"),
            Self::Switch => formatter.write_str("switch"),
            Self::Ldap => formatter.write_str("ldap"),
            Self::Bot => formatter.write_str("bot"),
            Self::Bmc(host) => write!(formatter, "bmc:{host}"),
            Self::Host(host) => write!(formatter, "host:{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_skips_lasts_and_goes() {
        let faults = Faults::default();
        let fault = Fault {
            kind: Kind::Hang,
            skip: 1,
            times: Some(2),
        };
        faults.set(Peer::Fog, fault).expect("FOG can hang");
        assert_eq!(faults.in_force(&Peer::Fog), None);
        let taken: Vec<_> = (0..4).map(|_| faults.take(&Peer::Fog)).collect();
        assert_eq!(taken, [None, Some(Kind::Hang), Some(Kind::Hang), None]);
        assert!(faults.all().is_empty());
    }

    #[test]
    fn peers_are_read_as_they_are_written() {
        for text in [
            "dashboard",
            "fog",
            "switch",
            "ldap",
            "bot",
            "bmc:pod1",
            "host:pod2",
        ] {
            assert_eq!(text.parse::<Peer>().expect(text).to_string(), text);
        }
        for text in ["", "bmc", "bmc:", "fog:pod1", "Fog"] {
            assert!(text.parse::<Peer>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_peer_cannot_do_is_refused() {
        let faults = Faults::default();
        let bmc = Peer::Bmc("pod2".into());
        faults.speaks_http(bmc.clone());
        assert!(faults.set(bmc.clone(), Kind::Html).is_ok());
        for (peer, kind) in [
            (bmc, Kind::LieDone),
            (Peer::Ldap, Kind::Lie),
            (Peer::Switch, Kind::LieDone),
            (Peer::Bmc("pod1".into()), Kind::Html),
        ] {
            assert!(faults.set(peer.clone(), kind).is_err(), "{peer} {kind:?}");
        }
    }
}
