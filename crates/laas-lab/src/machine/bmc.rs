//! The BMC: a real `ipmi_sim`, whose hooks reach the machine, behind a relay
//! that loses what the faults say.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Shared;
use super::children::{self, Owned};
use crate::faults::{Kind, Peer};

const HOOK: &str = include_str!("tools/chassis");

/// A BMC with a device SDR and no sensors.
const COMMANDS: &str = "\
mc_setbmc 0x20
mc_add 0x20 0 has-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
";

/// RMCP presence ping (IPMI 2.0, 13.2.4): asks for a sign of life.
const PING: [u8; 12] = [6, 0, 255, 6, 0, 0, 0x11, 0xbe, 0x80, 0, 0, 0];

/// How long a client may be silent before the relay forgets it. Sessions of
/// ipmi_sim end after 60 s.
const SILENCE: Duration = Duration::from_secs(65);

/// Where the real ipmi_sim of host N listens, on the BMC's own port.
fn hidden(host: u8, wrong: bool) -> Ipv4Addr {
    Ipv4Addr::new(127, 96, u8::from(wrong), host)
}

/// A password for the time when the BMC knows the right one no more.
fn unknown_password() -> io::Result<String> {
    let mut bytes = [0; 7];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The BMC of one machine; it ends when it is dropped.
#[derive(Debug)]
pub struct Bmc {
    tasks: JoinSet<()>,
}

impl Bmc {
    /// Starts the BMC; it answers when this returns.
    ///
    /// # Errors
    /// What binding its addresses and starting `ipmi_sim` says, or that it
    /// does not answer.
    pub async fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let number = shared.options.host.number;
        let hooks = TcpListener::bind((hidden(number, false), 0)).await?;
        let hook_address = hooks.local_addr()?;
        let password = shared.options.bmc_password.clone();
        let simulator = Simulator::start(&shared, false, &password, hook_address)?;
        let flags = simulator.flags.clone();
        let relay = Relay::new(shared.clone(), hook_address).await?;
        simulator.answers().await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(simulator.run());
        tasks.spawn(listen(hooks, shared, flags));
        tasks.spawn(relay.run());
        Ok(Self { tasks })
    }

    /// Ends all of it. Its processes are killed as their tasks are dropped.
    pub fn stop(&mut self) {
        self.tasks.abort_all();
    }
}

/// One ipmi_sim.
struct Simulator {
    child: Owned,
    address: SocketAddr,
    flags: Flags,
}

impl Simulator {
    fn start(shared: &Shared, wrong: bool, password: &str, hooks: SocketAddr) -> io::Result<Self> {
        let options = &shared.options;
        let address = SocketAddr::from((hidden(options.host.number, wrong), options.ports.bmc));
        let directory = shared.directory.join(if wrong { "bmc-wrong" } else { "bmc" });
        write_configuration(&directory, &options.bmc_user, password, address, hooks)?;
        // Debug messages are the only way to see the flags that ipmi_sim
        // drops. It sends them to syslog, too, passwords and all: to a socket
        // that it shall not find.
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--", "sh", "-c"])
            .arg("[ ! -e /dev/log ] || mount --bind /dev/null /dev/log; exec \"$@\"")
            .args(["sh", "ipmi_sim", "-d", "-d", "-c"])
            .arg(directory.join("lan.conf"))
            .arg("-f")
            .arg(directory.join("cmd.emu"))
            .arg("-s")
            .arg(directory.join("state"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = Owned(children::spawn(command)?);
        let output = child.0.stdout.take().map(OwnedFd::from);
        let output = output.ok_or_else(|| io::Error::other("`ipmi_sim` has no stdout"))?;
        Ok(Self {
            child,
            address,
            flags: Flags::new(File::from(output))?,
        })
    }

    async fn answers(&self) -> io::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(self.address).await?;
        let mut answer = [0; 64];
        for _ in 0..1000 {
            // Both fail while nobody listens yet.
            if socket.send(&PING).await.is_ok() {
                let wait = Duration::from_millis(100);
                if let Ok(Ok(_)) = tokio::time::timeout(wait, socket.recv(&mut answer)).await {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(io::Error::other(format!(
            "`ipmi_sim` does not answer on {}",
            self.address
        )))
    }

    /// Reads its output, which it would otherwise wait for us to do.
    async fn run(self) {
        let _child = self.child;
        self.flags.follow().await;
    }
}

fn write_configuration(
    directory: &Path,
    user: &str,
    password: &str,
    address: SocketAddr,
    hooks: SocketAddr,
) -> io::Result<()> {
    fs::create_dir_all(directory.join("state"))?;
    let hook = directory.join("hook");
    fs::write(&hook, HOOK)?;
    fs::set_permissions(&hook, Permissions::from_mode(0o755))?;
    fs::write(directory.join("cmd.emu"), COMMANDS)?;
    let hook = format!("{} {} {}", hook.display(), hooks.ip(), hooks.port());
    let (ip, port) = (address.ip(), address.port());
    let configuration = directory.join("lan.conf");
    let text = format!(
        "name \"bmc\"\n\
         set_working_mc 0x20\n\
         startlan 1\n\
           addr {ip} {port}\n\
           priv_limit admin\n\
           allowed_auths_callback none md2 md5 straight\n\
           allowed_auths_user none md2 md5 straight\n\
           allowed_auths_operator none md2 md5 straight\n\
           allowed_auths_admin none md2 md5 straight\n\
           guid a123456789abcdefa123456789abcdef\n\
           lan_config_program \"{hook} lan\"\n\
         endlan\n\
         chassis_control \"{hook} chassis\"\n\
         user 2 true \"{user}\" \"{password}\" admin 10 none md2 md5 straight\n"
    );
    fs::write(&configuration, text)?;
    fs::set_permissions(&configuration, Permissions::from_mode(0o600))
}

/// What ipmi_sim prints about the requests it gets. Its hook is told the boot
/// device only; whether it is meant for once stands in the request.
#[derive(Debug, Clone)]
struct Flags(Arc<FlagsInner>);

#[derive(Debug)]
struct FlagsInner {
    output: AsyncFd<File>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    line: String,
    boot_request: bool,
    persistent: bool,
}

impl Flags {
    fn new(output: File) -> io::Result<Self> {
        // SAFETY: the descriptor is open, and no memory is involved.
        if unsafe { libc::fcntl(output.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(Arc::new(FlagsInner {
            // SAFETY: a `File` is the same descriptor for as long as it
            // lives, and nobody else closes it.
            output: unsafe { AsyncFd::register(output)? },
            seen: Mutex::default(),
        })))
    }

    /// Whether the boot device set last is meant to stay. To be asked in the
    /// hook: ipmi_sim prints a request before it runs the hook.
    fn persistent(&self) -> bool {
        self.read();
        let seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.persistent
    }

    /// Reads until ipmi_sim ends.
    async fn follow(&self) {
        while let Ok(mut ready) = self.0.output.readable().await {
            match self.read() {
                true => ready.clear_ready(),
                false => return,
            }
        }
    }

    /// Reads what there is; `false` at the end.
    fn read(&self) -> bool {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = [0; 4096];
        loop {
            match self.0.output.get_ref().read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => seen.take(&String::from_utf8_lossy(&buffer[..length])),
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }
}

impl Seen {
    fn take(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\n' => {
                    let line = std::mem::take(&mut self.line);
                    self.take_line(&line);
                }
                _ => self.line.push(character),
            }
        }
    }

    /// A message is a line with the command, a line with ` rq_lun=…`, and a
    /// line with the data in hexadecimal.
    fn take_line(&mut self, line: &str) {
        if line.contains(" netfn=") {
            self.boot_request = line.contains(" netfn=0x0 cmd=0x8 ");
        } else if self.boot_request && !line.contains("rq_lun=") {
            self.boot_request = false;
            // Parameter 5, whose first byte is valid 0x80, persistent 0x40.
            if let Some(flags) = line.trim().strip_prefix("05 ") {
                let flags = flags.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                self.persistent = flags.is_some_and(|flags| flags & 0x40 != 0);
            }
        }
    }
}

/// Answers the hooks.
async fn listen(hooks: TcpListener, shared: Arc<Shared>, flags: Flags) {
    loop {
        if let Ok((stream, _)) = hooks.accept().await {
            // A hook that was killed hears no answer.
            let _ = answer_hook(stream, &shared, &flags).await;
        }
    }
}

async fn answer_hook(mut stream: TcpStream, shared: &Arc<Shared>, flags: &Flags) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).await?;
    let answer = match hook(line.trim_end(), shared, flags) {
        Ok(values) => format!("ok {values}\n"),
        Err(reason) => format!("error {reason}\n"),
    };
    write.write_all(answer.as_bytes()).await
}

fn hook(line: &str, shared: &Arc<Shared>, flags: &Flags) -> Result<String, String> {
    let mut words = line.split(' ');
    let (program, operation) = (words.next(), words.next());
    match (program, operation) {
        (Some("chassis"), Some("get")) => {
            let values = words.map(|name| {
                let value = match name {
                    "power" => u8::from(shared.is_on()).to_string(),
                    "boot" => shared.boot_device().ipmi_name().to_owned(),
                    _ => return Err(format!("Invalid parameter: {name}")),
                };
                Ok(format!("{name}:{value}"))
            });
            Ok(values.collect::<Result<Vec<_>, _>>()?.join(" "))
        }
        (Some("chassis"), Some("set")) => {
            let peer = Peer::Bmc(shared.options.host.name.clone());
            if shared
                .options
                .faults
                .take_if(&peer, |kind| kind == Kind::Lie)
                .is_some()
            {
                return Ok(String::new());
            }
            while let (Some(name), Some(value)) = (words.next(), words.next()) {
                match name {
                    "power" => shared.set_power(value != "0"),
                    "reset" => shared.reset()?,
                    "shutdown" => shared.press_power_button(),
                    "boot" => shared.set_boot(value, flags.persistent())?,
                    // The light of a machine without a front.
                    "identify" => drop(words.next()),
                    _ => return Err(format!("Invalid parameter: {name}")),
                }
            }
            Ok(String::new())
        }
        (Some("lan"), Some("get")) => {
            let values = words.map(|name| {
                let value = shared
                    .lan_setting(name)
                    .ok_or(format!("Invalid parameter: {name}"))?;
                Ok(format!("{name}:{value}"))
            });
            Ok(values.collect::<Result<Vec<_>, String>>()?.join(" "))
        }
        (Some("lan"), Some("set")) => {
            while let (Some(name), Some(value)) = (words.next(), words.next()) {
                shared.set_lan_setting(name, value)?;
            }
            Ok(String::new())
        }
        (_, Some("check")) => Ok(String::new()),
        _ => Err("Invalid operation".to_owned()),
    }
}

/// Stands between the clients and ipmi_sim.
struct Relay {
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
    async fn new(shared: Arc<Shared>, hooks: SocketAddr) -> io::Result<Self> {
        let number = shared.options.host.number;
        let public = SocketAddr::from((crate::cabling::bmc_address(number), shared.options.ports.bmc));
        // Learn now whether the address can be had.
        drop(UdpSocket::bind(public).await?);
        Ok(Self {
            peer: Peer::Bmc(shared.options.host.name.clone()),
            shared,
            hooks,
            public,
            has_wrong: false,
            simulators: JoinSet::new(),
        })
    }

    /// Binds the public address whenever the BMC is not refusing.
    async fn run(mut self) {
        let faults = self.shared.options.faults.clone();
        let mut changes = faults.changes();
        loop {
            changes.borrow_and_update();
            if !self.is_closed() {
                match UdpSocket::bind(self.public).await {
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
                    if let std::collections::hash_map::Entry::Vacant(entry) = clients.entry(from) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_persistent_bit_is_read_from_the_debug_output() {
        let mut seen = Seen::default();
        let message = |command: &str, data: &str| {
            format!(
                "Receive message:\n channel=1 netfn=0x0 cmd={command} rs_addr=0x20 rs_lun=0x0 \
                 rq_addr=0x81\n rq_lun=0x0 rq_seq=0x3\n {data}\n"
            )
        };
        for (command, data, persistent) in [
            ("0x8", "05 e0 04 00 00 00", true),
            ("0x9", "05 00 00", true),
            ("0x8", "03 00", true),
            ("0x8", "05 a0 04 00 00 00", false),
        ] {
            // However the pipe cuts it.
            let text = message(command, data);
            let (first, second) = text.split_at(text.len() / 2);
            seen.take(first);
            seen.take(second);
            assert_eq!(seen.persistent, persistent, "{command} {data}");
        }
    }
}
