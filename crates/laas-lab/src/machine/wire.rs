//! The wire: reaches a host on the addresses it has, for as long as the
//! switch lets it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::sandbox::{STRANGERS_PORT, Sandbox};
use crate::cabling::{Cabling, Socket};
use crate::faults::{Faults, Kind, Peer};
use crate::http::reset;

/// One way to an address: through this socket, on this VLAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The address that the host has there.
    pub address: Ipv4Addr,
    /// The VLAN whose network the address is of.
    pub vlan: u16,
    /// Whether the host tags its frames.
    pub tagged: bool,
    /// Where the card's cable ends.
    pub socket: Socket,
}

impl Path {
    /// Whether the switch lets the host be reached this way now.
    pub fn is_open(&self, cabling: &Cabling) -> bool {
        cabling.port(&self.socket).carries(self.vlan, self.tagged)
    }
}

/// A running system and the ways to it.
#[derive(Debug, Clone, Default)]
pub struct Ends {
    /// The system; `None`: nobody is at the other end.
    pub sandbox: Option<Arc<Sandbox>>,
    /// The ways, some of which the switch may not let through.
    pub paths: Vec<Path>,
}

/// What a host's wire needs to know.
#[derive(Debug, Clone)]
pub struct Wire {
    /// The port of SSH on all addresses.
    pub port: u16,
    /// What the switches carry.
    pub cabling: Cabling,
    /// The lab's faults.
    pub faults: Faults,
    /// This host among the peers that have faults.
    pub peer: Peer,
}

impl Wire {
    /// Listens on each address as long as it can be reached. Ends with the
    /// sender of `ends`.
    pub async fn run(self, mut ends: watch::Receiver<Ends>) {
        let mut changes = self.cabling.changes();
        let mut open: BTreeMap<Ipv4Addr, (Arc<Sandbox>, Door)> = BTreeMap::new();
        loop {
            let now = ends.borrow_and_update().clone();
            changes.borrow_and_update();
            let paths = now.paths.iter();
            let wanted: BTreeSet<Ipv4Addr> = paths
                .filter(|path| now.sandbox.is_some() && path.is_open(&self.cabling))
                .map(|path| path.address)
                .collect();
            let stale: Vec<_> = open
                .iter()
                .filter(|(address, (sandbox, _))| {
                    let same = now.sandbox.as_ref().is_some_and(|now| Arc::ptr_eq(now, sandbox));
                    !same || !wanted.contains(address)
                })
                .map(|(address, _)| *address)
                .collect();
            for address in stale {
                if let Some((_, door)) = open.remove(&address) {
                    door.close().await;
                }
            }
            let mut missing = false;
            for address in wanted {
                if let Some(sandbox) = &now.sandbox
                    && !open.contains_key(&address)
                {
                    match TcpListener::bind((address, self.port)).await {
                        Ok(listener) => {
                            let door = Door::open(listener, self.clone(), sandbox.clone());
                            open.insert(address, (sandbox.clone(), door));
                        }
                        Err(error) => {
                            // Another host may be about to leave it.
                            missing = true;
                            tracing::debug!(%address, %error, "an address is taken");
                        }
                    }
                }
            }
            let again = async {
                match missing {
                    true => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                more = ends.changed() => if more.is_err() { return },
                _ = changes.changed() => {}
                () = again => {}
            }
        }
    }

    async fn forward(self, mut client: TcpStream, sandbox: Arc<Sandbox>) {
        let here = |kind| matches!(kind, Kind::Refuse | Kind::Hang | Kind::WrongCredentials);
        let port = match self.faults.take_if(&self.peer, here) {
            Some(Kind::Refuse) => return reset(client),
            Some(Kind::Hang) => return std::future::pending().await,
            Some(_) => STRANGERS_PORT,
            None => 22,
        };
        let Ok(mut host) = sandbox.connect(port).await else {
            return reset(client);
        };
        // Either end may go away at any time; that is what wires are for.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut host).await;
    }
}

/// A listening address. Its connections end with it.
#[derive(Debug)]
struct Door(JoinHandle<()>);

impl Door {
    fn open(listener: TcpListener, wire: Wire, sandbox: Arc<Sandbox>) -> Self {
        Self(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                while connections.try_join_next().is_some() {}
                match listener.accept().await {
                    Ok((client, _)) => {
                        connections.spawn(wire.clone().forward(client, sandbox.clone()));
                    }
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        }))
    }

    /// Returns when nobody listens any more, so that the address can be
    /// listened on again.
    async fn close(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.0.abort();
    }
}
