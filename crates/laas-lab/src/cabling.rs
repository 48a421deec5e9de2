//! What the wires carry: which switch port lets which VLANs through to which
//! network card, the addresses of the lab, and what a card may ask of the
//! network when it boots.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, watch};

pub use crate::nxos::vlan_set::VlanSet;

/// The VLAN of PXE, of FOG and of the hosts' management.
pub const MANAGEMENT_VLAN: u16 = 99;

/// The address that host `host` (from 1) has on `vlan`, be it by DHCP or by
/// configuration. All of 127.0.0.0/8 is loopback, so that every VLAN can have
/// a network of its own without touching the machine's interfaces.
pub fn host_address(vlan: u16, host: u8) -> Ipv4Addr {
    if vlan == MANAGEMENT_VLAN {
        return Ipv4Addr::new(127, 99, 0, host);
    }
    let [high, low] = vlan.to_be_bytes();
    Ipv4Addr::new(127, 128 + (high & 0x0f), low, host)
}

/// The address of the BMC of host `host` (from 1).
pub fn bmc_address(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 97, 0, host)
}

/// The address of switch `switch` (from 1).
pub fn switch_address(switch: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 98, 0, switch)
}

/// What a port does with frames, by the switch's running configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PortMode {
    /// One VLAN, untagged.
    #[default]
    Access,
    /// Many VLANs, tagged but for the native one.
    Trunk,
}

/// What a switch port carries right now. The default carries nothing, as an
/// unplugged cable does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortState {
    /// Access or trunk.
    pub mode: PortMode,
    /// The VLAN of untagged frames: the access VLAN, or a trunk's native VLAN
    /// if the trunk lets it through. `None` if there is none.
    pub native: Option<u16>,
    /// Every VLAN that passes, the native one among them. Only VLANs that
    /// exist on the switch pass.
    pub allowed: VlanSet,
}

impl PortState {
    /// Whether frames of `vlan` pass in the way the card sends them.
    pub fn carries(&self, vlan: u16, tagged: bool) -> bool {
        if tagged {
            self.mode == PortMode::Trunk && self.native != Some(vlan) && self.allowed.contains(vlan)
        } else {
            self.native == Some(vlan)
        }
    }
}

/// A socket a card is plugged into.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    /// The switch's address.
    pub switch: Ipv4Addr,
    /// The port as the switch spells it, e.g. `Ethernet1/1`.
    pub port: String,
}

/// The patch panel: switches write what their ports carry, cards read it and
/// hear of every change. A cheap handle.
#[derive(Debug, Clone)]
pub struct Cabling(Arc<Panel>);

#[derive(Debug)]
struct Panel {
    ports: Mutex<BTreeMap<Socket, PortState>>,
    followers: Mutex<Followers>,
    changes: watch::Sender<u64>,
}

type Follower = Box<dyn FnMut(&Socket, &PortState) + Send>;

#[derive(Default)]
struct Followers(Vec<Follower>);

impl fmt::Debug for Followers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} followers", self.0.len())
    }
}

impl Default for Cabling {
    fn default() -> Self {
        Self(Arc::new(Panel {
            ports: Mutex::default(),
            followers: Mutex::default(),
            changes: watch::Sender::new(0),
        }))
    }
}

impl Cabling {
    /// What the port carries now; nothing for a port no switch has.
    pub fn port(&self, socket: &Socket) -> PortState {
        let ports = self.0.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.get(socket).cloned().unwrap_or_default()
    }

    /// Counts the changes; `changed()` on it wakes up after each.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Calls `follower` for each port as it is now, and from then on for each change, before the switch answers. A
    /// change that is too short to be seen by [`Cabling::changes`] is followed, too.
    pub fn follow(&self, mut follower: impl FnMut(&Socket, &PortState) + Send + 'static) {
        let mut followers = self.0.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let ports = self
            .0
            .ports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        ports.iter().for_each(|(socket, state)| follower(socket, state));
        followers.0.push(Box::new(follower));
    }

    /// Called by a switch after each line that may have changed a port.
    pub fn replace(&self, switch: Ipv4Addr, now: impl IntoIterator<Item = (String, PortState)>) {
        // Held to the end, so that changes are followed in their order.
        let mut followers = self.0.followers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Vec::new();
        let mut ports = self.0.ports.lock().unwrap_or_else(PoisonError::into_inner);
        for (port, state) in now {
            let socket = Socket { switch, port };
            let old = ports.insert(socket.clone(), state.clone());
            if old.as_ref() != Some(&state) {
                changed.push((socket, state));
            }
        }
        drop(ports);
        for follower in &mut followers.0 {
            changed.iter().for_each(|(socket, state)| follower(socket, state));
        }
        if !changed.is_empty() {
            self.0.changes.send_modify(|count| *count += 1);
        }
    }
}

/// An operating system as an image holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Os {
    /// The `ID` of os-release: `ubuntu`, `centos`, `opensuse-leap`.
    pub id: String,
    /// The `VERSION_ID` of os-release.
    pub version: String,
}

/// What the network tells a card that boots from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// There is nothing to do: go on with the disk.
    Disk,
    /// Write an image to the disk, report progress and the end, reboot.
    Deploy {
        /// The task to report to.
        task: u32,
        /// The image's id in FOG.
        image: u32,
        /// What the disk holds afterwards.
        os: Os,
        /// The files to copy, if the image was captured from a disk in the lab.
        files: Option<PathBuf>,
    },
    /// Read the disk into an image, report progress and the end, reboot.
    Capture {
        /// The task to report to.
        task: u32,
        /// The image's id in FOG.
        image: u32,
    },
    /// Empty the disk, report the end, reboot.
    Wipe {
        /// The task to report to.
        task: u32,
    },
}

/// The network's side of a PXE boot.
pub trait PxeServer: Send + Sync {
    /// A card with this MAC asks what to do.
    fn boot(&self, mac: &str) -> Order;
    /// The host works on `task` and has done `percent` of it (0 to 100).
    fn progress(&self, task: u32, percent: u8);
    /// The host sends what it captures, the disk below `root`. It counts when
    /// the task is finished.
    ///
    /// # Errors
    /// What the file system says.
    fn keep(&self, _task: u32, _root: &Path) -> io::Result<()> {
        Ok(())
    }
    /// The host has finished a wipe.
    fn wiped(&self, _task: u32) {}
    /// The host has finished `task`, which is no wipe; `disk` is what its disk holds now.
    fn finished(&self, task: u32, disk: &Os);
    /// The MACs that it wakes by magic packets, from now on.
    fn magic_packets(&self) -> broadcast::Receiver<String> {
        broadcast::channel(1).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_hosts_and_vlans_apart() {
        for (vlan, address) in [
            (99, "127.99.0.7"),
            (11, "127.128.11.7"),
            (256, "127.129.0.7"),
            (4094, "127.143.254.7"),
        ] {
            assert_eq!(host_address(vlan, 7).to_string(), address);
        }
    }

    #[tokio::test]
    async fn a_card_hears_of_a_change_and_only_of_a_change() {
        let cabling = Cabling::default();
        let mut changes = cabling.changes();
        let switch = switch_address(1);
        let socket = Socket {
            switch,
            port: "Ethernet1/1".into(),
        };
        assert!(!cabling.port(&socket).carries(1, false));
        let state = PortState {
            mode: PortMode::Trunk,
            native: Some(11),
            allowed: VlanSet::from_iter([11, 103]),
        };
        cabling.replace(switch, [("Ethernet1/1".into(), state.clone())]);
        changes.changed().await.expect("the panel lives");
        let port = cabling.port(&socket);
        assert!(port.carries(11, false) && port.carries(103, true));
        assert!(!port.carries(11, true) && !port.carries(103, false));
        cabling.replace(switch, [("Ethernet1/1".into(), state)]);
        assert!(!changes.has_changed().expect("the panel lives"));
    }
}
