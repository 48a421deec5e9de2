//! A real switch: Open vSwitch with its userspace datapath, in a network namespace of its own.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use laas_lab::cabling::{PortMode, PortState};
use tempfile::TempDir;

use super::namespace::{Namespace, said};
use crate::pack::wait_for;

const BRIDGE: &str = "lab";
/// Directories of this begin like this; then follow the process and something random.
pub const PREFIX: &str = "laas-ovs-";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// So many frames of a port the switch takes at once.
const BATCH: usize = 32;

/// The switch's daemons; they end with this, and with the thread that started them.
pub struct Ovs {
    namespace: Namespace,
    pub control: Control,
    // In the order in which they end.
    switch: Daemon,
    database: Daemon,
    _directory: TempDir,
}

/// How the switch is told what to do. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    directory: PathBuf,
}

/// A process that ends with this, and with the thread that started it.
pub struct Daemon(pub Child);

impl Ovs {
    pub fn start() -> Self {
        sweep(&std::env::temp_dir());
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
        let control = Control {
            directory: directory.path().to_owned(),
        };
        let namespace = Namespace::new();
        let file = |name: &str| directory.path().join(name);
        let mut create = control.command("ovsdb-tool");
        create.arg("create").args([file("conf.db"), SCHEMA.into()]);
        said(create);
        let option = |name: &str, file: &Path| format!("--{name}={}", file.display());
        let remote = format!("--remote=punix:{}", control.database().display());
        let ctl = |name: &str| option("unixctl", &file(&format!("{name}.ctl")));
        let log = |name: &str| option("log-file", &file(&format!("{name}.log")));
        let mut database = control.daemon();
        database.arg("ovsdb-server").arg(file("conf.db"));
        database.args([remote, ctl("database"), log("database")]);
        let database = Daemon::start(&mut database);
        wait_for("a database", || UnixStream::connect(control.database()).ok());
        control.vsctl(&["--no-wait", "init"]);
        let mut switch = control.daemon();
        switch.args(["nsenter", &format!("--net={}", namespace.path()), "ovs-vswitchd"]);
        switch.arg(format!("unix:{}", control.database().display()));
        switch.args([ctl("switch"), log("switch")]);
        let switch = Daemon::start(&mut switch);
        let datapath = "datapath_type=netdev";
        control.vsctl(&["add-br", BRIDGE, "--", "set", "bridge", BRIDGE, datapath]);
        Self {
            namespace,
            control,
            switch,
            database,
            _directory: directory,
        }
    }

    /// The processes' ids.
    pub fn daemons(&self) -> [u32; 2] {
        [&self.switch, &self.database].map(|daemon| daemon.0.id())
    }

    /// Lays a cable from the port to a new card of a host. The port carries nothing yet.
    pub fn plug(&self, port: &str, host: &Namespace, card: &str, mac: &str) {
        let ip = |line: &str| {
            let mut command = self.namespace.command("ip");
            command.args(line.split(' '));
            said(command);
        };
        let netns = host.path();
        ip(&format!(
            "link add name {port} type veth peer name {card} address {mac} netns {netns}"
        ));
        ip(&format!("link set {port} up"));
        let mut command = host.command("ip");
        command.args(["link", "set", card, "up"]);
        said(command);
    }
}

impl Control {
    /// Makes the port do what the state says; it does when this returns.
    pub fn set(&self, port: &str, state: &PortState) {
        match settings(state) {
            Some(settings) => {
                let [mode, tag, trunks] = &settings;
                self.vsctl(&[
                    "--may-exist",
                    "add-port",
                    BRIDGE,
                    port,
                    "--",
                    "set",
                    "port",
                    port,
                    mode,
                    tag,
                    trunks,
                ]);
            }
            None => self.vsctl(&["--if-exists", "del-port", BRIDGE, port]),
        }
        // It decides by what it remembers of earlier frames for up to half a second, unless it is made to forget.
        self.appctl("revalidator/purge");
    }

    /// Waits until so many frames that have been sent from one port are where they go.
    pub fn settle(&self, frames: usize) {
        // Between two answers the one thread that forwards has looked at every port.
        for _ in 0..frames.div_ceil(BATCH) + 2 {
            self.appctl("version");
        }
    }

    fn vsctl(&self, args: &[&str]) {
        let mut command = self.command("ovs-vsctl");
        command.arg(format!("--db=unix:{}", self.database().display()));
        command.arg("--timeout=30").args(args);
        said(command);
    }

    fn appctl(&self, words: &str) {
        let mut command = self.command("ovs-appctl");
        command
            .arg("--timeout=30")
            .arg("-t")
            .arg(self.directory.join("switch.ctl"));
        command.arg(words);
        said(command);
    }

    /// A daemon that the kernel kills when the thread that starts it is no more.
    fn daemon(&self) -> Command {
        let mut command = self.command("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Nothing of it touches the machine's own Open vSwitch.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for name in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(name, &self.directory);
        }
        command
    }

    fn database(&self) -> PathBuf {
        self.directory.join("db.sock")
    }
}

/// Columns of the table `Port` of ovs-vswitchd.conf.db(5); `None` for a port that is to be taken off the bridge.
fn settings(state: &PortState) -> Option<[String; 3]> {
    // An empty list of trunks is all VLANs, so a port that carries nothing can't be said otherwise.
    if state.allowed.is_empty() {
        return None;
    }
    let list: Vec<_> = state.allowed.iter().map(|vlan| vlan.to_string()).collect();
    let trunks = format!("trunks={}", list.join(","));
    Some(match (state.mode, state.native) {
        (PortMode::Access, native) => {
            let tag = native.expect("an access port that carries something has a VLAN");
            [
                "vlan_mode=access".into(),
                format!("tag={tag}"),
                "trunks=[]".into(),
            ]
        }
        (PortMode::Trunk, Some(native)) => [
            "vlan_mode=native-untagged".into(),
            format!("tag={native}"),
            trunks,
        ],
        // A native VLAN passes whether it is among the trunks or not. Without one, untagged frames are of VLAN 0, which
        // is not in the list.
        (PortMode::Trunk, None) => ["vlan_mode=trunk".into(), "tag=[]".into(), trunks],
    })
}

/// Removes what runs that were killed have left.
fn sweep(directory: &Path) {
    for entry in directory.read_dir().unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // Another test may be at it.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Daemon {
    /// The command is one that `daemon` of a namespace or of the switch has begun.
    pub fn start(command: &mut Command) -> Self {
        Self(
            command
                .spawn()
                .unwrap_or_else(|error| panic!("{command:?}: {error}")),
        )
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
