//! A machine, asked with the real ipmitool and the real ssh.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use laas_lab::cabling::{
    Cabling, MANAGEMENT_VLAN, Order, Os, PortMode, PortState, PxeServer, VlanSet, bmc_address, host_address,
    switch_address,
};
use laas_lab::faults::Faults;
use laas_lab::inventory::{BmcKind, HostSpec};
use laas_lab::machine::{Machine, MachineOptions, Phase, Ports};
use laas_lab::pace::Pace;
use tokio::process::Command;

/// More than any of this takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

pub const PASSWORD: &str = "rack-and-roll";

/// A PXE server that is told what to order, and remembers what it heard.
#[derive(Default)]
pub struct Orders {
    pub next: Mutex<Option<Order>>,
    pub heard: Mutex<Vec<String>>,
}

impl Orders {
    pub fn deploy(&self, image: u32, os: &str, version: &str) {
        *self.next.lock().unwrap() = Some(Order::Deploy {
            task: 7,
            image,
            os: self::os(os, version),
            files: None,
        });
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn hears(&self, what: String) {
        self.heard.lock().unwrap().push(what);
    }
}

impl PxeServer for Orders {
    fn boot(&self, mac: &str) -> Order {
        self.hears(format!("boot {mac}"));
        self.next.lock().unwrap().clone().unwrap_or(Order::Disk)
    }

    fn progress(&self, task: u32, percent: u8) {
        self.hears(format!("progress {task} {percent}"));
    }

    fn wiped(&self, task: u32) {
        self.hears(format!("wiped {task}"));
        *self.next.lock().unwrap() = None;
    }

    fn finished(&self, task: u32, disk: &Os) {
        self.hears(format!("finished {task} {}", disk.id));
        *self.next.lock().unwrap() = None;
    }
}

pub fn os(id: &str, version: &str) -> Os {
    Os {
        id: id.into(),
        version: version.into(),
    }
}

/// A machine in a rack of its own.
pub struct Rack {
    pub machine: Machine,
    pub cabling: Cabling,
    pub faults: Faults,
    pub orders: Arc<Orders>,
    pub ports: Ports,
    pub key: PathBuf,
    /// Of a BMC with Redfish.
    pub certificate: PathBuf,
    _directory: tempfile::TempDir,
}

impl Rack {
    pub async fn new() -> Self {
        Self::at(Pace::zero()).await
    }

    /// The first card's port has the management VLAN untagged; the others
    /// carry nothing.
    pub async fn at(pace: Pace) -> Self {
        Self::with(pace, BmcKind::Ipmi).await
    }

    pub async fn with(pace: Pace, bmc: BmcKind) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("id");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status();
        assert!(made.await.unwrap().success());
        let (cabling, faults) = (Cabling::default(), Faults::default());
        let (orders, ports) = (Arc::new(Orders::default()), Ports::take().unwrap());
        let machine = Machine::start(MachineOptions {
            host: HostSpec {
                bmc,
                ..HostSpec::numbered(1)
            },
            state_dir: directory.path().to_owned(),
            pace,
            cabling: cabling.clone(),
            faults: faults.clone(),
            pxe: orders.clone(),
            ports: ports.clone(),
            authorized_key: std::fs::read_to_string(key.with_extension("pub")).unwrap(),
            bmc_user: "ADMIN".into(),
            bmc_password: PASSWORD.into(),
        });
        let rack = Self {
            machine: machine.await.unwrap(),
            cabling,
            faults,
            orders,
            ports,
            certificate: directory.path().join("pod1/bmc.crt"),
            key,
            _directory: directory,
        };
        rack.plug(1, access(MANAGEMENT_VLAN));
        rack
    }

    /// A rack whose machine runs this system.
    pub async fn running(os: Os) -> Self {
        let rack = Self::new().await;
        rack.machine.install(17, os).unwrap();
        rack.machine.set_power(true);
        rack.until_up(1).await;
        rack
    }

    /// What the next boot from the network is told to do.
    pub fn order(&self, order: Order) {
        *self.orders.next.lock().unwrap() = Some(order);
    }

    pub fn plug(&self, port: u8, state: PortState) {
        let port = format!("Ethernet1/{port}");
        self.cabling.replace(switch_address(1), [(port, state)]);
    }

    pub async fn until_up(&self, boots: usize) {
        self.until("up", |machine| {
            machine.phase() == Phase::Up && machine.boots().len() == boots
        })
        .await;
    }

    pub async fn until(&self, what: &str, wanted: impl Fn(&Machine) -> bool) {
        assert!(
            self.machine.wait(LIMIT, wanted).await,
            "never {what}: {:?} {:?}",
            self.machine.phase(),
            self.machine.events()
        );
    }

    /// `ipmitool` as the administrator, with these words.
    pub async fn ipmi(&self, words: &str) -> Output {
        self.ipmi_as("ADMIN", PASSWORD, words).await
    }

    pub async fn ipmi_as(&self, user: &str, password: &str, words: &str) -> Output {
        Command::new("ipmitool")
            .args(["-I", "lanplus", "-C", "3", "-N", "1", "-R", "1", "-E"])
            .args(["-U", user, "-H", &bmc_address(1).to_string()])
            .args(["-p", &self.ports.bmc.to_string()])
            .args(words.split(' '))
            .env_remove("IPMITOOL_PASSWORD")
            .env("IPMI_PASSWORD", password)
            .output()
            .await
            .unwrap()
    }

    /// What `ipmitool` prints; it has to succeed.
    pub async fn ipmi_ok(&self, words: &str) -> String {
        let output = self.ipmi(words).await;
        assert!(output.status.success(), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// `ssh` as root with the lab's key, on an address; host keys are not
    /// looked at.
    pub async fn ssh(&self, address: Ipv4Addr, command: &str) -> Output {
        Command::new("ssh")
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
            .args(["-o", "StrictHostKeyChecking=no", "-o", "IdentitiesOnly=yes"])
            .args(["-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "ConnectTimeout=3", "-i"])
            .arg(&self.key)
            .args(["-p", &self.ports.ssh.to_string()])
            .args([&format!("root@{address}"), command])
            .output()
            .await
            .unwrap()
    }

    /// What the command prints on the management address; it has to succeed.
    pub async fn run(&self, command: &str) -> String {
        let output = self.ssh(host_address(MANAGEMENT_VLAN, 1), command).await;
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

pub fn access(vlan: u16) -> PortState {
    PortState {
        mode: PortMode::Access,
        native: Some(vlan),
        allowed: VlanSet::from_iter([vlan]),
    }
}

pub fn trunk(native: u16, tagged: &[u16]) -> PortState {
    PortState {
        mode: PortMode::Trunk,
        native: Some(native),
        allowed: tagged.iter().copied().chain([native]).collect(),
    }
}

#[tokio::test]
async fn a_machine_boots_and_answers() {
    let rack = Rack::running(os("ubuntu", "22.04")).await;
    assert_eq!(
        rack.run("cat /etc/os-release").await.lines().nth(1),
        Some("ID=ubuntu")
    );
}
