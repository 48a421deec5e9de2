//! Hosts in namespaces, cabled to the real switch, whose ports follow what the lab's switches are configured to do.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use laas_core::VlanId;
use laas_host::network::Interface;
use laas_lab::cabling::{Cabling, PortMode, PortState, Socket, VlanSet, switch_address};

use super::card::{BROADCAST, Card, Mac};
use super::namespace::{Namespace, said};
use super::ovs::{Control, Ovs};
use super::system::{SERVER_CARD, Server, System};
use crate::pack::wait_for;

pub const HOSTS: [&str; 5] = ["pod1", "pod2", "pod3", "pod4", "pod5"];
/// The only card of each host.
pub const CARD: &str = "eno1";

/// Tags of every VLAN that is used in these tests, of none, of those that a host is never asked to use, and of two.
const TAGS: [&[u16]; 15] = [
    &[],
    &[0],
    &[1],
    &[11],
    &[12],
    &[50],
    &[99],
    &[103],
    &[104],
    &[305],
    &[999],
    &[4095],
    &[11, 12],
    &[103, 104],
    &[99, 12],
];

/// Who heard what of whom, a line each: `pod1 [103] > pod2 [103]`.
pub type Seen = BTreeSet<String>;

pub struct Rack {
    pub cabling: Cabling,
    hosts: Vec<Host>,
    probe: Arc<Probe>,
    ovs: Ovs,
}

struct Host {
    name: &'static str,
    number: usize,
    namespace: Namespace,
    card: Card,
}

/// Whether hosts send all the time, and how far they are.
#[derive(Default)]
struct Probe {
    sending: AtomicBool,
    rounds: AtomicU64,
    /// How many states of ports were there while hosts sent.
    probed: AtomicU64,
}

pub fn mac(host: &str) -> String {
    format!("02:00:00:00:{:02x}:01", number(host))
}

/// Where the host's cable ends: on a Nexus, but that of the second host on an Arista.
pub fn socket(host: &str) -> Socket {
    let (switch, port) = match number(host) {
        2 => (2, "Ethernet2".into()),
        number => (1, format!("Ethernet1/{number}")),
    };
    Socket {
        switch: switch_address(switch),
        port,
    }
}

fn number(host: &str) -> usize {
    1 + HOSTS.iter().position(|name| *name == host).unwrap()
}

impl Rack {
    pub fn new() -> Self {
        let ovs = Ovs::start();
        let host = |name: &&'static str| {
            let (namespace, number) = (Namespace::new(), number(name));
            ovs.plug(&port(name), &namespace, CARD, &mac(name));
            let mut command = namespace.command("ip");
            let address = format!("{}/24", address(number));
            command.args(["address", "add", &address, "dev", CARD]);
            said(command);
            let bytes = [2, 0, 0, 0, number as u8, 1];
            Host {
                name,
                number,
                card: Card::open(&namespace, CARD, bytes),
                namespace,
            }
        };
        let hosts = HOSTS.iter().map(host).collect();
        let (cabling, probe) = (Cabling::default(), Arc::new(Probe::default()));
        let (control, follower) = (ovs.control.clone(), probe.clone());
        cabling.follow(move |plug, state| {
            if let Some(host) = HOSTS.iter().find(|host| socket(host) == *plug) {
                control.set(&port(host), state);
                follower.pass(&control);
            }
        });
        Self {
            cabling,
            hosts,
            probe,
            ovs,
        }
    }

    /// Boots the host with what the pack writes for this untagged network, which has the default route or not.
    pub fn boot(&self, host: &str, vlan: u16, default: bool) -> System<'_> {
        let untagged = Some(VlanId::try_from(u64::from(vlan)).unwrap());
        let interface = Interface {
            name: CARD.parse().unwrap(),
            mac: mac(host).parse().unwrap(),
            untagged,
            tagged: Vec::new(),
            default: untagged.filter(|_| default),
        };
        let host = &self.hosts[number(host) - 1];
        System::boot(&host.namespace, CARD, interface)
    }

    /// Puts a DHCP server on this VLAN.
    pub fn serve(&self, vlan: u16) -> Server {
        let (namespace, port) = (Namespace::new(), format!("dhcp{vlan}"));
        let mac = format!("02:00:00:00:fe:{vlan:02x}");
        self.ovs.plug(&port, &namespace, SERVER_CARD, &mac);
        let access = PortState {
            mode: PortMode::Access,
            native: Some(vlan),
            allowed: VlanSet::from_iter([vlan]),
        };
        self.ovs.control.set(&port, &access);
        Server::start(namespace, vlan)
    }

    /// The processes of the real switch.
    pub fn daemons(&self) -> [u32; 2] {
        self.ovs.daemons()
    }

    /// Every host sends frames with every tag, to all and to each other host.
    pub fn exchange(&self) -> Seen {
        self.hosts.iter().for_each(|host| drop(host.card.heard()));
        self.hosts.iter().for_each(|host| self.send_round(host));
        self.ovs.control.settle(TAGS.len() * HOSTS.len());
        let heard = self.hosts.iter().flat_map(|host| self.heard_by(host));
        // What a host's system says by itself comes when it likes.
        heard.filter(|line| !line.starts_with("by itself")).collect()
    }

    /// Does `work` while these hosts send all the time, and lets them send in each state that a port has in between;
    /// then says who was heard by whom, and how many states there were.
    pub fn exchange_while(&self, senders: &[&str], work: impl FnOnce()) -> (Vec<String>, u64) {
        self.hosts.iter().for_each(|host| drop(host.card.heard()));
        let probe = &self.probe;
        let before = probe.probed.load(Ordering::SeqCst);
        std::thread::scope(|scope| {
            // Also if `work` panics, or the threads would never end.
            let sending = Sending::start(probe);
            for host in self.hosts.iter().filter(|host| senders.contains(&host.name)) {
                scope.spawn(move || {
                    while probe.sending.load(Ordering::SeqCst) {
                        self.send_round(host);
                        probe.rounds.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(std::time::Duration::from_millis(5));
                    }
                });
            }
            work();
            drop(sending);
        });
        self.ovs.control.settle(1000);
        let heard = self.hosts.iter().flat_map(|host| self.heard_by(host)).collect();
        (heard, probe.probed.load(Ordering::SeqCst) - before)
    }

    /// Exactly the hosts of each group reach one another by IP.
    pub fn assert_pings(&self, groups: &[&[&str]]) {
        let mut pings = Vec::new();
        for from in &self.hosts {
            for to in self.hosts.iter().filter(|to| to.number != from.number) {
                let near = |group: &&[&str]| group.contains(&from.name) && group.contains(&to.name);
                let expected = groups.iter().any(near);
                // The first answer ends it.
                let limit = if expected { "30" } else { "1" };
                let mut ping = from.namespace.command("ping");
                ping.args([
                    "-n",
                    "-q",
                    "-c",
                    "1",
                    "-i",
                    "0.1",
                    "-w",
                    limit,
                    &address(to.number),
                ]);
                let ping = ping.stdout(Stdio::null()).spawn().unwrap();
                pings.push((from.name, to.name, expected, ping));
            }
        }
        for (from, to, expected, mut ping) in pings {
            let answered = ping.wait().unwrap().success();
            assert_eq!(answered, expected, "{from} pings {to}");
        }
    }

    fn send_round(&self, from: &Host) {
        let others = self.hosts.iter().filter(|host| host.number != from.number);
        let addresses: Vec<Mac> = others.map(|host| host.card.mac).chain([BROADCAST]).collect();
        for tags in TAGS {
            let text = format!("{} {tags:?}", from.name);
            addresses.iter().for_each(|to| from.card.send(*to, tags, &text));
        }
    }

    fn heard_by(&self, host: &Host) -> Vec<String> {
        let line = |heard: super::card::Heard| {
            let sender = self.hosts.iter().find(|host| host.card.mac == heard.from);
            let from = sender.map_or_else(|| format!("{:x?}", heard.from), |host| host.name.to_owned());
            let text = heard.text.unwrap_or_else(|| format!("by itself {from}"));
            format!("{text} > {} {:?}", host.name, heard.tags)
        };
        host.card.heard().into_iter().map(line).collect()
    }
}

impl Probe {
    /// Waits until each sender has sent some more, and the switch has passed it on.
    fn pass(&self, control: &Control) {
        if !self.sending.load(Ordering::SeqCst) {
            return;
        }
        let until = self.rounds.load(Ordering::SeqCst) + 2 * HOSTS.len() as u64;
        wait_for("a round of frames", || {
            let over = !self.sending.load(Ordering::SeqCst);
            (over || self.rounds.load(Ordering::SeqCst) >= until).then_some(())
        });
        control.settle(TAGS.len() * HOSTS.len());
        self.probed.fetch_add(1, Ordering::SeqCst);
    }
}

struct Sending<'a>(&'a Probe);

impl<'a> Sending<'a> {
    fn start(probe: &'a Probe) -> Self {
        probe.sending.store(true, Ordering::SeqCst);
        Self(probe)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.sending.store(false, Ordering::SeqCst);
    }
}

/// The host's address, whatever network it is on: only the wire keeps them apart.
fn address(number: usize) -> String {
    format!("10.99.0.{number}")
}

/// The port of the real switch.
fn port(host: &str) -> String {
    format!("swp{}", number(host))
}
