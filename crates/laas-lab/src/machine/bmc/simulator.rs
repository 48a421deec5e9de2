//! One `ipmi_sim`: its configuration, its process and what it prints.

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
use tokio::net::UdpSocket;

use super::hidden;
use crate::machine::Shared;
use crate::machine::children::{self, Owned};

const HOOK: &str = include_str!("../tools/chassis");

/// A BMC with a device SDR and no sensors.
const COMMANDS: &str = "\
mc_setbmc 0x20
mc_add 0x20 0 has-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
";

/// RMCP presence ping (IPMI 2.0, 13.2.4): asks for a sign of life.
const PING: [u8; 12] = [6, 0, 255, 6, 0, 0, 0x11, 0xbe, 0x80, 0, 0, 0];

/// A running ipmi_sim; it ends when it is dropped.
pub struct Simulator {
    child: Owned,
    address: SocketAddr,
    flags: Flags,
}

impl Simulator {
    /// Starts it; `wrong`: the one that has another password.
    ///
    /// # Errors
    /// What the file system and the programs say.
    pub fn start(shared: &Shared, wrong: bool, password: &str, hooks: SocketAddr) -> io::Result<Self> {
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

    /// Waits until it answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn answers(&self) -> io::Result<()> {
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

    /// What it is told about boot devices.
    pub fn flags(&self) -> Flags {
        self.flags.clone()
    }

    /// Reads its output, which it would otherwise wait for us to do.
    pub async fn run(self) {
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
    let hook = format!("'{}' {} {}", hook.display(), hooks.ip(), hooks.port());
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
pub struct Flags(Arc<FlagsInner>);

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
    pub fn persistent(&self) -> bool {
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
