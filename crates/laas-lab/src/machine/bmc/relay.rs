//! What stands between the clients and ipmi_sim, and loses what the faults
//! say.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::hidden;
use super::simulator::Simulator;
use crate::cabling::bmc_address;
use crate::faults::{Kind, Peer};
use crate::machine::Shared;

/// How long a client may be silent before the relay forgets it. Sessions of
/// ipmi_sim end after 60 s.
const SILENCE: Duration = Duration::from_secs(65);

/// The BMC's public address.
pub struct Relay {
    /// Bound from the start, so that nobody finds the BMC deaf.
    first: Option<UdpSocket>,
    shared: Arc<Shared>,
    hooks: SocketAddr,
    peer: Peer,
    public: SocketAddr,
    /// Whether the one with another password runs, which is started when it is
    /// first needed.
    has_wrong: bool,
    simulators: JoinSet<()>,
}

/// Where a client's datagrams go; `None`: nowhere.
type Client = Option<mpsc::UnboundedSender<Vec<u8>>>;

impl Relay {
    /// Takes the address.
    ///
    /// # Errors
    /// What binding it says.
    pub async fn new(shared: Arc<Shared>, hooks: SocketAddr) -> io::Result<Self> {
        let number = shared.options.host.number;
        let public = SocketAddr::from((bmc_address(number), shared.options.ports.bmc));
        Ok(Self {
            first: Some(UdpSocket::bind(public).await?),
            peer: Peer::Bmc(shared.options.host.name.clone()),
            shared,
            hooks,
            public,
            has_wrong: false,
            simulators: JoinSet::new(),
        })
    }

    /// Binds the public address whenever the BMC is not refusing.
    pub async fn run(mut self) {
        let faults = self.shared.options.faults.clone();
        let mut changes = faults.changes();
        loop {
            changes.borrow_and_update();
            let first = self.first.take();
            if !self.is_closed() {
                let bound = match first {
                    Some(socket) => Ok(socket),
                    None => UdpSocket::bind(self.public).await,
                };
                match bound {
                    Ok(socket) => self.relay(Arc::new(socket)).await,
                    Err(error) => tracing::warn!(%error, "a BMC's address is taken"),
                }
            }
            // The senders live in `faults`, which we hold.
            let _ = tokio::time::timeout(Duration::from_millis(200), changes.changed()).await;
        }
    }

    /// Whether nobody shall listen. A closed port counts no clients, so a
    /// refusal of some clients loses their datagrams instead.
    fn is_closed(&self) -> bool {
        let faults = self.shared.options.faults.all();
        faults.get(&self.peer) == Some(&Kind::Refuse.into())
    }

    /// Relays until the BMC refuses.
    async fn relay(&mut self, socket: Arc<UdpSocket>) {
        let faults = self.shared.options.faults.clone();
        let mut changes = faults.changes();
        let mut clients: HashMap<SocketAddr, Client> = HashMap::new();
        let mut sessions = JoinSet::new();
        let mut datagram = vec![0; 2048];
        loop {
            tokio::select! {
                received = socket.recv_from(&mut datagram) => {
                    let Ok((length, from)) = received else { continue };
                    // A client is judged by its first datagram, as one
                    // connection.
                    if let Entry::Vacant(entry) = clients.entry(from) {
                        let client = self.admit(&socket, from, &mut sessions).await;
                        entry.insert(client);
                    }
                    if let Some(Some(client)) = clients.get(&from)
                        && client.send(datagram[..length].to_vec()).is_err()
                    {
                        clients.remove(&from);
                    }
                }
                _ = changes.changed() => {
                    if self.is_closed() {
                        return;
                    }
                    match faults.in_force(&self.peer) {
                        // Sessions under way stop dead, too.
                        Some(Kind::Hang | Kind::WrongCredentials) => {
                            clients.clear();
                            sessions.abort_all();
                        }
                        _ => clients.retain(|_, client| client.is_some()),
                    }
                }
                Some(_) = sessions.join_next(), if !sessions.is_empty() => {}
            }
        }
    }

    async fn admit(
        &mut self,
        socket: &Arc<UdpSocket>,
        from: SocketAddr,
        sessions: &mut JoinSet<()>,
    ) -> Client {
        let here = |kind| matches!(kind, Kind::Refuse | Kind::Hang | Kind::WrongCredentials);
        let options = &self.shared.options;
        let fault = options.faults.take_if(&self.peer, here);
        let wrong = match fault {
            Some(Kind::WrongCredentials) => true,
            Some(_) => return None,
            None => false,
        };
        if wrong && let Err(error) = self.start_wrong().await {
            tracing::warn!(%error, "the BMC with another password does not start");
            return None;
        }
        let upstream = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.ok()?;
        let port = self.shared.options.ports.bmc;
        let address = hidden(self.shared.options.host.number, wrong);
        upstream.connect((address, port)).await.ok()?;
        let (sender, mut datagrams) = mpsc::unbounded_channel::<Vec<u8>>();
        let socket = socket.clone();
        sessions.spawn(async move {
            let mut answer = vec![0; 2048];
            loop {
                // Lost datagrams are what UDP is about.
                tokio::select! {
                    datagram = datagrams.recv() => match datagram {
                        Some(datagram) => drop(upstream.send(&datagram).await),
                        None => return,
                    },
                    received = upstream.recv(&mut answer) => if let Ok(length) = received {
                        let _ = socket.send_to(&answer[..length], from).await;
                    },
                    () = tokio::time::sleep(SILENCE) => return,
                }
            }
        });
        Some(sender)
    }

    async fn start_wrong(&mut self) -> io::Result<()> {
        if !self.has_wrong {
            let password = unknown_password()?;
            let simulator = Simulator::start(&self.shared, true, &password, self.hooks)?;
            simulator.answers().await?;
            self.simulators.spawn(simulator.run());
            self.has_wrong = true;
        }
        Ok(())
    }
}

/// A password for the time when the BMC knows the right one no more.
fn unknown_password() -> io::Result<String> {
    let mut bytes = [0; 7];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
