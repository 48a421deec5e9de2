//! A bare-metal host without the metal.
//!
//! It has a BMC (a real `ipmi_sim`, or a Redfish service), a disk (a directory that an image is
//! written to), cards whose cables end in switch ports, and, while it is on
//! and its disk holds a system, a real sshd in namespaces of its own. It is
//! reached on the addresses its system has configured, while the switch
//! carries their VLANs.

mod bios;
mod bmc;
pub(crate) mod children;
mod disk;
mod life;
mod network;
mod packages;
mod ports;
mod redfish;
mod sandbox;
mod wire;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, broadcast, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::cabling::{Cabling, MANAGEMENT_VLAN, Os, PxeServer, bmc_address};
use crate::faults::{Faults, Peer};
use crate::inventory::HostSpec;
use crate::pace::Pace;

pub use disk::IMAGE_ACCOUNT;
pub(crate) use disk::copy;
pub use packages::PACKAGE;
pub use ports::Ports;

use bios::Bios;
use bmc::Bmc;
use sandbox::Sandbox;
use wire::{Ends, Wire};

/// What a machine is made of and what it is connected to.
#[derive(Clone)]
pub struct MachineOptions {
    /// Its place in the rack.
    pub host: HostSpec,
    /// The lab's directory; the machine makes one of its name there.
    pub state_dir: PathBuf,
    /// How long things take.
    pub pace: Pace,
    /// The patch panel.
    pub cabling: Cabling,
    /// The lab's faults.
    pub faults: Faults,
    /// Who answers when it boots from the network.
    pub pxe: Arc<dyn PxeServer>,
    /// The ports of SSH and IPMI, the same for all machines.
    pub ports: Ports,
    /// The public key, as in `authorized_keys`, that every image lets in.
    pub authorized_key: String,
    /// The BMC's administrator, in user slot 2 where there are slots.
    pub bmc_user: String,
    /// The administrator's password. BMCs take 16 bytes at most.
    pub bmc_password: String,
}

/// Where a boot looks for a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The network; the disk if the network has nothing.
    Pxe,
    /// The disk.
    #[default]
    Disk,
}

/// What the BMC was told to boot from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BootOverride {
    /// The device, as ipmi_sim spells it, so that it reads back as written.
    name: BootName,
    /// Whether it stays after the next boot.
    pub persistent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum BootName {
    #[default]
    None,
    Pxe,
    Default,
    Cdrom,
    Bios,
}

impl BootOverride {
    /// Where the machine looks; a machine without a CD drive and a screen
    /// looks on its disk.
    pub fn device(self) -> Device {
        match self.name {
            BootName::Pxe => Device::Pxe,
            _ => Device::Disk,
        }
    }

    /// Whether the BMC overrides the firmware's own order at all.
    fn is_set(self) -> bool {
        self.name != BootName::None
    }

    fn ipmi_name(self) -> &'static str {
        match self.name {
            BootName::None => "none",
            BootName::Pxe => "pxe",
            BootName::Default => "default",
            BootName::Cdrom => "cdrom",
            BootName::Bios => "bios",
        }
    }

    fn parse(name: &str, persistent: bool) -> Option<Self> {
        let name = match name {
            "none" => BootName::None,
            "pxe" => BootName::Pxe,
            "default" => BootName::Default,
            "cdrom" => BootName::Cdrom,
            "bios" => BootName::Bios,
            _ => return None,
        };
        Some(Self { name, persistent })
    }
}

/// What a machine does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The power is off.
    Off,
    /// It asks the network for orders.
    Pxe,
    /// An image is written to the disk, or read from it, or the disk is wiped.
    Imaging {
        /// How much of it is done, 0 to 100.
        percent: u8,
    },
    /// The system on the disk starts.
    Booting,
    /// The system runs.
    Up,
    /// The system stops.
    ShuttingDown,
    /// The power is on and nothing runs: the disk holds no system, or it fell
    /// over.
    Dead,
}

/// A system on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// The image's id in FOG.
    pub image: u32,
    /// The image's operating system.
    pub os: Os,
    /// The how manieth system on this disk it is, from 1.
    pub generation: u32,
}

/// An address that a running system has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: Ipv4Addr,
    /// The VLAN whose network it is of.
    pub vlan: u16,
    /// Whether the system tags its frames.
    pub tagged: bool,
    /// The MAC of the card.
    pub mac: String,
    /// Whether the switch lets it be reached now.
    pub reachable: bool,
}

/// Something that happened to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The power came on.
    PowerOn,
    /// The power went off.
    PowerOff,
    /// Reset without a shutdown.
    Reset,
    /// It began to boot from the device.
    Boot(Device),
    /// No card could reach the network it boots from: none has the management
    /// VLAN untagged.
    NoPxe,
    /// An image is being written.
    ImagingStarted {
        /// The image's id in FOG.
        image: u32,
    },
    /// The disk holds a new system.
    Imaged(System),
    /// The disk was read into an image.
    Captured {
        /// The image's id in FOG.
        image: u32,
    },
    /// The disk was emptied.
    Wiped,
    /// The system answers.
    Up,
    /// The system was asked to stop.
    ShuttingDown,
    /// Something that should not be, in words.
    Trouble(String),
}

/// Why a machine could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The directory for its disk and its BMC.
    #[error("cannot make the directory `{0}`", path.display())]
    Directory {
        /// Where it should be.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// The BMC does not start.
    #[error(
        "the BMC of `{host}` does not start; are `ipmi_sim`, `unshare` and `openssl` installed, and are you root?"
    )]
    Bmc {
        /// The machine.
        host: String,
        /// What `ipmi_sim`, `openssl` or its address says.
        source: io::Error,
    },
    /// The disk cannot be written.
    #[error("cannot write a system to the disk of `{host}`")]
    Disk {
        /// The machine.
        host: String,
        /// What the file system or `ssh-keygen` says.
        source: io::Error,
    },
}

/// A machine, which goes with all its processes when it is dropped.
pub struct Machine {
    shared: Arc<Shared>,
    bmc: Bmc,
    tasks: JoinSet<()>,
}

/// What the machine's tasks have in common.
pub(crate) struct Shared {
    options: MachineOptions,
    directory: PathBuf,
    state: Mutex<State>,
    /// Counts the changes of `state`.
    changes: watch::Sender<u64>,
    ends: watch::Sender<Ends>,
    power_button: Notify,
}

struct State {
    phase: Phase,
    /// Counts the times the power came on or the machine was reset; a task of
    /// an older life may change nothing any more.
    life: u64,
    living: Option<AbortHandle>,
    boot: BootOverride,
    disk: Option<System>,
    generations: u32,
    sandbox: Option<Arc<Sandbox>>,
    boots: Vec<Device>,
    events: Vec<Event>,
    lan: BTreeMap<&'static str, String>,
    bios: Bios,
}

/// A card in standby hears magic packets if its port lets them through.
async fn listen(shared: Arc<Shared>, mut packets: broadcast::Receiver<String>) {
    loop {
        let mac = match packets.recv().await {
            Ok(mac) => mac,
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let options = &shared.options;
        let heard = options.host.nics.iter().any(|nic| {
            let port = options.cabling.port(&nic.socket);
            nic.mac.eq_ignore_ascii_case(&mac) && port.carries(MANAGEMENT_VLAN, false)
        });
        if heard {
            shared.set_power(true);
        }
    }
}

impl Machine {
    /// Puts a machine into the rack: power off, an empty disk, the BMC
    /// answering. Whatever an earlier lab left in its directory goes. Has to
    /// be called in a tokio runtime.
    ///
    /// # Errors
    /// If its directory or its BMC cannot be made.
    pub async fn start(options: MachineOptions) -> Result<Self, MachineError> {
        let path = options.state_dir.join(&options.host.name);
        let directory = empty_directory(&path).map_err(|source| MachineError::Directory { path, source })?;
        let shared = Arc::new(Shared::new(options, directory));
        let options = &shared.options;
        let wire = Wire {
            port: options.ports.ssh,
            cabling: options.cabling.clone(),
            faults: options.faults.clone(),
            peer: Peer::Host(options.host.name.clone()),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(wire.run(shared.ends.subscribe()));
        tasks.spawn(listen(shared.clone(), options.pxe.magic_packets()));
        let bmc = Bmc::start(shared.clone())
            .await
            .map_err(|source| MachineError::Bmc {
                host: options.host.name.clone(),
                source,
            })?;
        Ok(Self { shared, bmc, tasks })
    }

    /// Its place in the rack.
    pub fn host(&self) -> &HostSpec {
        &self.shared.options.host
    }

    /// Whether the power is on.
    pub fn power(&self) -> bool {
        self.shared.is_on()
    }

    /// Switches the power on or off, as somebody at the rack would.
    pub fn set_power(&self, on: bool) {
        self.shared.set_power(on);
    }

    /// What it does now.
    pub fn phase(&self) -> Phase {
        self.shared.locked().phase
    }

    /// What the BMC was told to boot from.
    pub fn boot_override(&self) -> BootOverride {
        self.shared.boot_device()
    }

    /// The administrator's password of the firmware; empty if there is none.
    pub fn bios_password(&self) -> String {
        self.shared.bios(|bios| bios.password.clone())
    }

    /// Sets the firmware's password, as somebody at the console would.
    pub fn set_bios_password(&self, password: &str) {
        self.shared.bios(|bios| password.clone_into(&mut bios.password));
    }

    /// Asks the firmware for some other setting, which it takes at the next
    /// start and says `message` about, as somebody with another tool would.
    pub fn ask_bios(&self, message: &'static str) {
        self.shared.bios(|bios| bios.asked_other = Some(message));
    }

    /// The names of the accounts that a BMC with Redfish lets in.
    pub fn bmc_accounts(&self) -> Vec<String> {
        self.bmc
            .service()
            .map(|service| service.names())
            .unwrap_or_default()
    }

    /// What a BMC with Redfish was told so far, reads apart.
    pub fn bmc_heard(&self) -> Vec<String> {
        self.bmc
            .service()
            .map(|service| service.heard())
            .unwrap_or_default()
    }

    /// The system on the disk. `None` for a disk that is empty, or broken as
    /// the power went while an image was written.
    pub fn system(&self) -> Option<System> {
        self.shared.locked().disk.clone()
    }

    /// The root directory of the system on the disk.
    pub fn root(&self) -> Option<PathBuf> {
        let generation = self.system()?.generation;
        Some(self.shared.root(generation))
    }

    /// Every boot so far.
    pub fn boots(&self) -> Vec<Device> {
        self.shared.locked().boots.clone()
    }

    /// Everything that happened so far.
    pub fn events(&self) -> Vec<Event> {
        self.shared.locked().events.clone()
    }

    /// The name that the running system calls itself.
    pub fn hostname(&self) -> Option<String> {
        let sandbox = self.shared.locked().sandbox.clone()?;
        sandbox.hostname().ok()
    }

    /// The addresses that the running system has.
    pub fn addresses(&self) -> Vec<Address> {
        let options = &self.shared.options;
        let ends = self.shared.ends.borrow();
        let address = |path: &wire::Path| Address {
            address: path.address,
            vlan: path.vlan,
            tagged: path.tagged,
            mac: options
                .host
                .nics
                .iter()
                .find(|nic| nic.socket == path.socket)
                .map(|nic| nic.mac.clone())
                .unwrap_or_default(),
            reachable: path.is_open(&options.cabling),
        };
        ends.paths.iter().map(address).collect()
    }

    /// Writes a system to the disk at once, as if it had been there before
    /// the lab opened. The power should be off.
    ///
    /// # Errors
    /// If the disk cannot be written.
    pub fn install(&self, image: u32, os: Os) -> Result<(), MachineError> {
        let system = self.shared.next_system(image, os);
        self.shared
            .write_disk(&system)
            .map_err(|source| MachineError::Disk {
                host: self.host().name.clone(),
                source,
            })?;
        self.shared.change(|state| state.disk = Some(system));
        Ok(())
    }

    /// Puts a new version of [`PACKAGE`] into the repository of the system on
    /// the disk; its installation runs `script`.
    ///
    /// # Errors
    /// There is no system, or the file system or `dpkg-deb` fails.
    pub fn offer_update(&self, version: &str, script: &str) -> io::Result<()> {
        let system = self
            .system()
            .ok_or_else(|| io::Error::other("the disk is empty"))?;
        let root = self.shared.root(system.generation);
        packages::offer(&root, &system.os.id, version, script)
    }

    /// Waits until `wanted` holds, at most so long; whether it does.
    pub async fn wait(&self, limit: Duration, wanted: impl Fn(&Self) -> bool) -> bool {
        let end = Instant::now() + limit;
        let mut changes = self.shared.changes.subscribe();
        loop {
            changes.borrow_and_update();
            if wanted(self) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            // Not everything that may be asked for is a change of the machine;
            // the switch's doings are not.
            let nap = left.min(Duration::from_millis(20));
            let _ = tokio::time::timeout(nap, changes.changed()).await;
        }
    }
}

fn empty_directory(path: &Path) -> io::Result<PathBuf> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(path)?,
    }
    path.canonicalize()
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.shared.set_power(false);
        self.bmc.stop();
        self.tasks.abort_all();
    }
}

impl Shared {
    fn new(options: MachineOptions, directory: PathBuf) -> Self {
        let number = options.host.number;
        let lan = BTreeMap::from([
            ("ip_addr", bmc_address(number).to_string()),
            ("ip_addr_src", "static".to_owned()),
            ("mac_addr", format!("02:00:00:00:{number:02x}:b0")),
            ("subnet_mask", "255.255.255.0".to_owned()),
            ("default_gw_ip_addr", "127.97.0.254".to_owned()),
            ("default_gw_mac_addr", "00:00:00:00:00:00".to_owned()),
            ("backup_gw_ip_addr", "0.0.0.0".to_owned()),
            ("backup_gw_mac_addr", "00:00:00:00:00:00".to_owned()),
        ]);
        Self {
            options,
            directory,
            state: Mutex::new(State {
                phase: Phase::Off,
                life: 0,
                living: None,
                boot: BootOverride::default(),
                disk: None,
                generations: 0,
                sandbox: None,
                boots: Vec::new(),
                events: Vec::new(),
                lan,
                bios: Bios::default(),
            }),
            changes: watch::Sender::new(0),
            ends: watch::Sender::new(Ends::default()),
            power_button: Notify::new(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.locked());
        self.changes.send_modify(|count| *count += 1);
        result
    }

    fn bios<T>(&self, change: impl FnOnce(&mut Bios) -> T) -> T {
        self.change(|state| change(&mut state.bios))
    }

    fn lan_setting(&self, name: &str) -> Option<String> {
        self.locked().lan.get(name).cloned()
    }

    fn set_lan_setting(&self, name: &str, value: &str) -> Result<(), String> {
        self.change(|state| match state.lan.get_mut(name) {
            Some(setting) => {
                value.clone_into(setting);
                Ok(())
            }
            None => Err(format!("Invalid parameter: {name}")),
        })
    }
}
