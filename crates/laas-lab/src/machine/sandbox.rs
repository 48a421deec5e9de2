//! A running system: a real sshd in namespaces of its own, with the host's
//! disk as its file system.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use std::{ffi::CString, thread};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe;

use super::children::{self, Owned};
use super::packages;
use crate::cabling::Os;
use crate::inventory::Nic;

const INIT: &str = include_str!("tools/init");
const SYSTEMCTL: &str = include_str!("tools/systemctl");
const HOSTNAMECTL: &str = include_str!("tools/hostnamectl");
const SYSTEMD_RUN: &str = include_str!("tools/systemd-run");
const UNITS: &str = include_str!("tools/units");
const PACKAGES: &str = include_str!("tools/packages");

/// What `netplan apply` asks to rename cards, which the lab does by itself.
const UDEVADM: &str = "#!/bin/sh\nexit 0\n";

/// Where the host's sshd answers those whom it shall not know.
pub const STRANGERS_PORT: u16 = 2222;

/// sshd forgets root's keys for connections to [`STRANGERS_PORT`].
const STRANGERS: &str = "\
Port 22
Port 2222
Match LocalPort 2222
    AuthorizedKeysFile none
Match all
";

/// Takes away what would reach through to the machine that the lab runs on:
/// its kernel, its memory, its clock, its devices. bubblewrap's own `--cap-drop`
/// leaves it to a program started by root.
const FORBIDDEN: &str = "--bounding-set=-sys_module,-sys_rawio,-sys_time,-mknod";

/// What a program inside asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Shut down and start again.
    Reboot,
    /// Shut down and cut the power.
    PowerOff,
    /// Set the network up by the configuration of now, then answer this
    /// process.
    Network(u32),
}

/// What became of a system that is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Somebody inside called reboot(2) with "restart".
    Restart,
    /// Somebody inside called reboot(2) with "power off" or "halt".
    PowerOff,
    /// It fell over.
    Crash,
}

/// A system that runs until it is dropped.
#[derive(Debug)]
pub struct Sandbox {
    child: Mutex<Owned>,
    exit: AsyncFd<OwnedFd>,
    /// The first process inside, by its number outside.
    init: u32,
    init_fd: OwnedFd,
    network: File,
    channel: PathBuf,
}

/// The requests of a system's programs, in order.
pub struct Requests(Lines<BufReader<pipe::Receiver>>);

impl Sandbox {
    /// Starts the system on the disk at `root`, which is an `os`. `scratch` is
    /// an empty or old directory for what the lab and the system say to one
    /// another. The system's sysfs shows the `cards`.
    ///
    /// # Errors
    /// What the file system and `bwrap` say.
    pub async fn start(root: &Path, os: &Os, scratch: &Path, cards: &[Nic]) -> io::Result<(Self, Requests)> {
        let (root, os, channel) = (root.to_owned(), os.clone(), scratch.to_owned());
        let cards = cards.to_owned();
        let prepared =
            tokio::task::spawn_blocking(move || prepare(&root, &os, &channel, &cards).map(|()| root));
        let root = prepared.await.map_err(io::Error::other)??;
        let requests = pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(scratch.join("requests"))?;
        let requests = Requests(BufReader::new(requests).lines());
        let channel = scratch.to_owned();
        let started = tokio::task::spawn_blocking(move || launch(&root, channel));
        Ok((started.await.map_err(io::Error::other)??, requests))
    }

    /// The system's `/run`.
    pub fn run(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/run", self.init))
    }

    /// The name that the system calls itself now.
    ///
    /// # Errors
    /// What entering its namespace says.
    pub fn hostname(&self) -> io::Result<String> {
        let namespace = File::open(format!("/proc/{}/ns/uts", self.init))?;
        let output = inside(&namespace, libc::CLONE_NEWUTS, || {
            Command::new("hostname").stdin(Stdio::null()).output()
        })??;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Whether the system's sshd listens.
    pub fn listens(&self) -> bool {
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.init)).unwrap_or_default();
        // proc(5): local address, remote address, state; 0A is LISTEN.
        table.contains(":0016 00000000:0000 0A")
    }

    /// Runs `ip -batch` with these lines in the system's network. A line that
    /// fails does not keep the next ones from being run. Whether all went
    /// well.
    ///
    /// # Errors
    /// What entering its namespace and starting `ip` says.
    pub fn ip(&self, lines: &str) -> io::Result<bool> {
        let status = inside(&self.network, libc::CLONE_NEWNET, || {
            let mut child = Command::new("ip")
                .args(["-force", "-batch", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(lines.as_bytes())?;
            }
            child.wait()
        })??;
        Ok(status.success())
    }

    /// The kind of link that stands for a card: the first that this kernel
    /// has. `None`: the host's `ip` shows no cards.
    pub fn card_kind(&self) -> Option<&'static str> {
        static KIND: OnceLock<Option<&'static str>> = OnceLock::new();
        *KIND.get_or_init(|| {
            ["dummy", "ifb", "bridge"].into_iter().find(|kind| {
                let probe = format!("link add probe type {kind}\nlink del probe\n");
                self.ip(&probe).unwrap_or(false)
            })
        })
    }

    /// A connection to the system's sshd.
    ///
    /// # Errors
    /// What entering its namespace and connecting says.
    pub async fn connect(&self, port: u16) -> io::Result<tokio::net::TcpStream> {
        let network = self.network.try_clone()?;
        let connecting = tokio::task::spawn_blocking(move || {
            inside(&network, libc::CLONE_NEWNET, || {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5))
            })
        });
        let stream = connecting.await.map_err(io::Error::other)???;
        stream.set_nonblocking(true)?;
        tokio::net::TcpStream::from_std(stream)
    }

    /// Tells a program inside how its request went.
    pub async fn answer(&self, process: u32, verdict: &str) {
        let path = self.channel.join(format!("answer.{process}"));
        // The program opens its end after it has asked.
        for _ in 0..200 {
            let opened = OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
                .open(&path);
            match opened {
                Ok(mut pipe) => {
                    // A program that went away wants no answer.
                    let _ = writeln!(pipe, "{verdict}");
                    return;
                }
                Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(_) => return,
            }
        }
    }

    /// Waits until the system is no more.
    pub async fn ended(&self) -> End {
        // The only error is a runtime that shuts down, and with it the lab.
        let _ = self.exit.readable().await;
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.0.wait().map_or(End::Crash, end)
    }

    /// Ends everything inside, as a power cut does, before it returns.
    pub fn kill(&self) {
        let (signal, init) = (libc::SIGKILL, self.init_fd.as_raw_fd());
        // SAFETY: a descriptor and numbers; the null pointer is the one that
        // pidfd_send_signal(2) wants. It fails if the process is no more.
        unsafe {
            let no_details = std::ptr::null::<libc::siginfo_t>();
            libc::syscall(libc::SYS_pidfd_send_signal, init, signal, no_details, 0);
        }
        // Its parent, which may be gone, follows when all inside are dead.
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.0.wait();
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Requests {
    /// The next request; nonsense is passed over. Never returns after an
    /// error, which only the end of the system brings.
    pub async fn next(&mut self) -> Request {
        loop {
            let Ok(Some(line)) = self.0.next_line().await else {
                return std::future::pending().await;
            };
            match line.split_once(' ').unwrap_or((&line, "")) {
                ("reboot", _) => return Request::Reboot,
                ("poweroff" | "halt", _) => return Request::PowerOff,
                ("network", process) => {
                    if let Ok(process) = process.parse() {
                        return Request::Network(process);
                    }
                }
                _ => {}
            }
        }
    }
}

/// bubblewrap reports the death of the first process inside as a shell does.
/// The signal is what reboot(2) sends it in a PID namespace.
fn end(status: ExitStatus) -> End {
    match status.code() {
        Some(code) if code == 128 + libc::SIGHUP => End::Restart,
        Some(code) if code == 128 + libc::SIGINT => End::PowerOff,
        _ => End::Crash,
    }
}

fn prepare(root: &Path, os: &Os, channel: &Path, cards: &[Nic]) -> io::Result<()> {
    match fs::remove_dir_all(channel) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(channel.join("sbin"))?,
    }
    for card in cards {
        let directory = channel.join("sys/class/net").join(&card.name);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("address"), format!("{}\n", card.mac))?;
    }
    let mut tools = vec![
        ("sbin/networkctl".to_owned(), SYSTEMCTL),
        ("sbin/systemd-run".to_owned(), SYSTEMD_RUN),
        ("sbin/udevadm".to_owned(), UDEVADM),
        ("sbin/journalctl".to_owned(), UNITS),
        ("units".to_owned(), UNITS),
        ("init".to_owned(), INIT),
        ("systemctl".to_owned(), SYSTEMCTL),
        ("hostnamectl".to_owned(), HOSTNAMECTL),
    ];
    let stand_ins = packages::stand_ins(&os.id, &os.version).iter();
    tools.extend(stand_ins.map(|name| (format!("sbin/{name}"), PACKAGES)));
    // Each boot has a number of its own, as each boot of a kernel has.
    let boot = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    fs::write(channel.join("boot_id"), boot)?;
    for (name, text) in &tools {
        fs::write(channel.join(name), text)?;
        fs::set_permissions(channel.join(name), Permissions::from_mode(0o755))?;
    }
    let strangers = root.join("etc/ssh/sshd_config.d");
    if strangers.is_dir() {
        fs::write(strangers.join("00-ports.conf"), STRANGERS)?;
    }
    let requests = channel.join("requests");
    let requests = CString::new(requests.into_os_string().into_encoded_bytes())?;
    // SAFETY: the path is a C string that lives until the call returns.
    if unsafe { libc::mkfifo(requests.as_ptr(), 0o600) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn launch(root: &Path, channel: PathBuf) -> io::Result<Sandbox> {
    let hostname = fs::read_to_string(root.join("etc/hostname")).unwrap_or_default();
    let hostname = match hostname.trim() {
        "" => "localhost",
        name => name,
    };
    let (mut info, told) = io::pipe()?;
    let told_fd = told.as_raw_fd();
    let log = File::create(channel.join("console.log"))?;
    let mut command = Command::new("bwrap");
    command.args(["--die-with-parent", "--bind"]).arg(root).arg("/");
    command.args(["--ro-bind", "/usr", "/usr"]);
    for machine in ["/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl"] {
        command.args(["--ro-bind-try", machine, machine]);
    }
    command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run"]);
    for machine in ["/proc/sys", "/proc/sysrq-trigger"] {
        command.args(["--ro-bind-try", machine, machine]);
    }
    let boot = channel.join("boot_id");
    command
        .arg("--ro-bind")
        .arg(boot)
        .arg("/proc/sys/kernel/random/boot_id");
    command.arg("--bind").arg(&channel).arg("/run/lab");
    command.arg("--ro-bind").arg(channel.join("sys")).arg("/sys");
    for tool in ["systemctl", "hostnamectl"] {
        let path = format!("/usr/bin/{tool}");
        if Path::new(&path).exists() {
            command.arg("--ro-bind").arg(channel.join(tool)).arg(path);
        }
    }
    // Not all of these exist on every machine; programs find them first here.
    if Path::new("/usr/local/sbin").is_dir() {
        let sbin = channel.join("sbin");
        command.arg("--ro-bind").arg(sbin).arg("/usr/local/sbin");
    }
    command
        .args(["--unshare-uts", "--unshare-pid", "--unshare-net", "--unshare-ipc"])
        .args(["--hostname", hostname, "--cap-add", "ALL", "--new-session"])
        .args(["--info-fd", &told_fd.to_string()])
        .args(["--", "setpriv", FORBIDDEN, "/run/lab/init"])
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    // SAFETY: `fcntl` is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(move || match libc::fcntl(told_fd, libc::F_SETFD, 0) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    let child = Owned(children::spawn(command)?);
    drop(told);
    let init = first_process(&mut info)?;
    Ok(Sandbox {
        init_fd: pidfd(init)?,
        // SAFETY: an `OwnedFd` is the same descriptor for as long as it lives,
        // and nobody else closes it.
        exit: unsafe { AsyncFd::register(pidfd(child.0.id())?)? },
        network: File::open(format!("/proc/{init}/ns/net"))?,
        child: Mutex::new(child),
        init,
        channel,
    })
}

/// Reads the number of the first process from bubblewrap's `--info-fd`. To the
/// end of the document, or bubblewrap dies of a broken pipe; not to the end of
/// the pipe, which bubblewrap may keep open.
fn first_process(info: &mut impl Read) -> io::Result<u32> {
    let mut text = String::new();
    let mut buffer = [0; 512];
    loop {
        let length = info.read(&mut buffer)?;
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        let number = text
            .split_once("\"child-pid\":")
            .filter(|(_, rest)| rest.contains('}'))
            .and_then(|(_, rest)| rest.split([',', '}']).next())
            .and_then(|number| number.trim().parse().ok());
        if let Some(number) = number {
            return Ok(number);
        }
        if length == 0 {
            return Err(io::Error::other("`bwrap` did not start; see `console.log`"));
        }
    }
}

fn pidfd(process: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers only; what it returns is a descriptor
    // that nobody else has.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, process, libc::PIDFD_NONBLOCK);
        match i32::try_from(fd) {
            Ok(fd) if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Does `work` in a namespace, on a thread that ends with it, so that no
/// other work ever finds itself there.
fn inside<T: Send>(namespace: &File, kind: i32, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let entered = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            // SAFETY: the descriptor is open; only this thread is moved.
            match unsafe { libc::setns(namespace.as_raw_fd(), kind) } {
                0 => Ok(work()),
                _ => Err(io::Error::last_os_error()),
            }
        });
        worker.join()
    });
    entered.map_err(|_| io::Error::other("the thread in the namespace panicked"))?
}
