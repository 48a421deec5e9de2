//! Who sees whom on a real wire: a real Open vSwitch does what the lab's switches are configured to do, and hosts in
//! network namespaces send frames and pings. Of the switch only the management is the lab's.

mod card;
mod namespace;
mod ovs;
mod rack;
mod system;

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use laas_lab::cabling::{PortMode, PortState, Socket, VlanSet, switch_address};
use laas_lab::eos::Eos;
use laas_lab::faults::{Faults, Kind, Peer};
use laas_lab::http::Server;
use laas_lab::nxos::Nxos;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use crate::pack::{Ended, Pack, wait_for};
use rack::{HOSTS, Rack, Seen, mac};

/// The rack, cabled to a Nexus and an Arista that share their VLANs, and the pack.
struct Lab {
    rack: Rack,
    switch: Nxos,
    other: Eos,
    faults: Faults,
    pack: Pack,
    _servers: [Server; 2],
    _runtime: Runtime,
}

impl Lab {
    fn new() -> Self {
        let (runtime, faults) = (Runtime::new().unwrap(), Faults::default());
        let rack = Rack::new();
        let (account, time) = (("admin", "secret"), std::time::Duration::ZERO);
        let switch = Nxos::new(switch_address(1), 8, account, rack.cabling.clone(), time);
        let other = Eos::new(switch_address(2), 8, account, rack.cabling.clone(), time);
        let servers = [switch.router(), other.router()].map(|router| {
            let server = Server::start(Ipv4Addr::LOCALHOST, Peer::Switch, router, faults.clone());
            runtime.block_on(server).unwrap()
        });
        let host = |host: &str| {
            let socket = rack::socket(host);
            let card = json!({
                "mac": mac(host), "switch": socket.switch, "port": socket.port, "name": rack::CARD,
            });
            json!({"fog_name": host, "hostname": "127.0.0.1", "interfaces": {mac(host): card}})
        };
        let mut keys: Vec<_> = HOSTS.iter().map(|name| (*name, host(name))).collect();
        let access = |driver: &str, server: &Server| json!({"driver": driver, "url": server.url(), "user": account.0, "password": account.1});
        keys.extend([
            ("hosts", json!(HOSTS)),
            ("switch_127.98.0.1", access("nxos", &servers[0])),
            ("switch_127.98.0.2", access("eos", &servers[1])),
        ]);
        let config = json!({
            "networks": {"management": 99, "parking": 999, "tenant": "11-13,100-199", "public": [11, 12]},
            "timing": {"call": 60},
        });
        Self {
            pack: Pack::new(config, &keys),
            rack,
            switch,
            other,
            faults,
            _servers: servers,
            _runtime: runtime,
        }
    }

    /// Only the management network for these hosts.
    fn provision(&self, hosts: &[&str]) -> Ended {
        self.run(&format!("--hosts={}", json!(hosts)))
    }

    /// These VLANs for each of these hosts, one untagged and the others tagged.
    fn book(&self, hosts: &[&str], vlans: &[(u16, bool)]) -> Ended {
        let vlans: Vec<_> = vlans
            .iter()
            .map(|(id, tagged)| json!({"vlan_id": id, "tagged": tagged}))
            .collect();
        let interfaces = |host: &str| Map::from_iter([(mac(host), json!(vlans))]);
        let network = |host: &&str| json!({"host": host, "interfaces": interfaces(host)});
        let networks: Vec<Value> = hosts.iter().map(network).collect();
        self.run(&format!("--networks={}", json!(networks)))
    }

    fn run(&self, argument: &str) -> Ended {
        self.pack.run(env!("CARGO_BIN_EXE_switch_vlan"), &[argument])
    }
}

/// What each of these hosts hears of each other one that sends with these tags.
fn among(hosts: &[&str], tags: &[(&[u16], &[u16])]) -> Seen {
    let pairs = hosts
        .iter()
        .flat_map(|from| hosts.iter().map(move |to| (from, to)));
    let pairs = pairs.filter(|(from, to)| from != to);
    let lines = pairs.flat_map(|(from, to)| {
        tags.iter()
            .map(move |(sent, heard)| format!("{from} {sent:?} > {to} {heard:?}"))
    });
    lines.collect()
}

/// A network that is untagged at its ports. A tag of VLAN 0 is none, and one of the native VLAN says what the port
/// says; behind it there is whatever the host puts there.
const fn untagged(vlan: &'static [u16; 2]) -> [(&'static [u16], &'static [u16]); 3] {
    let (tag, _) = vlan.split_at(1);
    [(&[], &[]), (&[0], &[]), (tag, &[])]
}

#[test]
fn a_port_of_the_real_switch_passes_what_its_state_says() {
    let rack = Rack::new();
    let state = |mode, native, allowed: &[u16]| PortState {
        mode,
        native,
        allowed: allowed.iter().copied().collect(),
    };
    // The second host sees all VLANs, by their tags.
    let all = PortState {
        allowed: VlanSet::all(),
        ..state(PortMode::Trunk, None, &[])
    };
    let set = |host: &str, state: &PortState| {
        let Socket { switch, port } = rack::socket(host);
        rack.cabling.replace(switch, [(port, state.clone())]);
    };
    set("pod2", &all);
    let access = state(PortMode::Access, Some(11), &[11]);
    let native = state(PortMode::Trunk, Some(11), &[11, 103]);
    let tagged = state(PortMode::Trunk, None, &[103, 104]);
    let nothing = state(PortMode::Trunk, None, &[]);
    // What the first host sends and the second hears, and the other way round.
    for (state, out, back) in [
        (
            access,
            &["[] > [11]", "[0] > [11]"][..],
            &["[11] > []", "[11, 12] > [12]"][..],
        ),
        (nothing, &[], &[]),
        (
            native,
            &[
                "[] > [11]",
                "[0] > [11]",
                "[11] > [11]",
                "[11, 12] > [11, 12]",
                "[103] > [103]",
                "[103, 104] > [103, 104]",
            ],
            &[
                "[11] > []",
                "[11, 12] > [12]",
                "[103] > [103]",
                "[103, 104] > [103, 104]",
            ],
        ),
        (
            tagged,
            &["[103] > [103]", "[103, 104] > [103, 104]", "[104] > [104]"],
            &["[103] > [103]", "[103, 104] > [103, 104]", "[104] > [104]"],
        ),
        (PortState::default(), &[], &[]),
    ] {
        set("pod1", &state);
        let lines = |from: &str, to: &str, tags: &[&str]| -> Seen {
            let line = |tags: &&str| format!("{from} {}", tags.replace("> ", &format!("> {to} ")));
            tags.iter().map(line).collect()
        };
        let mut expected = lines("pod1", "pod2", out);
        expected.extend(lines("pod2", "pod1", back));
        assert_eq!(rack.exchange(), expected, "{state:?}");
    }
}

/// The networks of two bookings, which have a user's VLAN each.
const ALICE: [(u16, bool); 2] = [(11, false), (103, true)];
const BOB: [(u16, bool); 2] = [(12, false), (104, true)];

#[test]
fn who_is_booked_together_sees_one_another_and_nobody_else() {
    let lab = Lab::new();
    let rack = &lab.rack;
    // What a tenant before has left: trunks that share ten VLANs, and two ports that never were trunks: as
    // such they would let everything through, because nobody has ever said what they shall.
    let left = [
        "interface Ethernet1/4",
        "switchport mode access",
        "switchport access vlan 309",
        "no switchport trunk allowed vlan",
        "no switchport trunk native vlan",
        "interface Ethernet1/5",
        "no switchport",
    ];
    lab.switch.type_in(&left).unwrap();
    let old = among(&["pod1", "pod2", "pod3"], &[(&[305], &[305])]);
    assert!(rack.exchange().is_superset(&old));

    lab.provision(&["pod1", "pod2", "pod3"]).done();
    let managed = |hosts: &[&str]| {
        let mut seen = among(hosts, &untagged(&[99, 99]));
        seen.extend(among(hosts, &[(&[99, 12], &[12])]));
        seen
    };
    assert_eq!(rack.exchange(), managed(&["pod1", "pod2", "pod3"]));
    rack.assert_pings(&[&["pod1", "pod2", "pod3"]]);

    lab.book(&["pod1", "pod2"], &ALICE).done();
    let alice = || {
        let hosts = ["pod1", "pod2"];
        let mut seen = among(&hosts, &untagged(&[11, 11]));
        seen.extend(among(
            &hosts,
            &[(&[11, 12], &[12]), (&[103], &[103]), (&[103, 104], &[103, 104])],
        ));
        seen
    };
    assert_eq!(rack.exchange(), alice());
    rack.assert_pings(&[&["pod1", "pod2"]]);

    // At no moment of this is there a frame of the one booking at a host of the other.
    let bob = ["pod3", "pod4", "pod5"];
    let (heard, states) = rack.exchange_while(&HOSTS, || drop(lab.book(&bob, &BOB).done()));
    let of = |line: &&String, from: &[&str], to: &[&str]| {
        let (sent, heard) = line.split_once(" > ").unwrap();
        from.iter().any(|host| sent.contains(host)) && to.iter().any(|host| heard.contains(host))
    };
    let count = |from: &[&str], to: &[&str]| heard.iter().filter(|line| of(line, from, to)).count();
    assert!(states >= 5, "{states} states of ports");
    assert!(count(&["pod1"], &["pod2"]) as u64 > states);
    for (from, to) in [(&["pod1", "pod2"][..], &bob[..]), (&bob, &["pod1", "pod2"])] {
        let strays: Vec<_> = heard.iter().filter(|line| of(line, from, to)).collect();
        assert!(strays.is_empty(), "{} strays, as {:?}", strays.len(), strays[0]);
    }
    let both = || {
        let mut seen = among(&bob, &untagged(&[12, 12]));
        seen.extend(among(&bob, &[(&[104], &[104])]));
        seen.extend(alice());
        seen
    };
    assert_eq!(rack.exchange(), both());
    rack.assert_pings(&[&["pod1", "pod2"], &bob]);

    // A restart of the switches changes nothing, and a second run neither.
    lab.switch.reload();
    lab.other.reload();
    assert_eq!(lab.book(&bob, &BOB).done()["changed"], false);
    assert_eq!(rack.exchange(), both());

    lab.book(&["pod1", "pod2"], &[]).done();
    let mut rest = both();
    rest.retain(|line| !line.starts_with("pod1") && !line.starts_with("pod2"));
    assert_eq!(rack.exchange(), rest);
    lab.book(&bob, &[]).done();
    assert_eq!(rack.exchange(), Seen::new());
    rack.assert_pings(&[]);
}

#[test]
fn the_files_that_the_pack_writes_bring_a_host_into_its_booking() {
    let lab = Lab::new();
    let rack = &lab.rack;
    let _servers = [11, 12].map(|vlan| rack.serve(vlan));
    let (gateway, network) = system::server_address(11);
    lab.book(&["pod1", "pod2"], &[(11, false)]).done();
    let systems = ["pod1", "pod2"].map(|host| rack.boot(host, 11, true));
    let [one, two] = systems.each_ref().map(|system| system.address());
    assert!(
        one.starts_with(&network) && two.starts_with(&network),
        "{one} {two}"
    );
    assert_ne!(one, two);
    for (system, other) in systems.iter().zip([&two, &one]) {
        assert_eq!(system.gateway().as_ref(), Some(&gateway));
        assert!(system.reaches(other) && system.reaches(&gateway));
    }
    // The next booking has a lease of its own network, whose gateway is not to be used.
    drop(systems);
    let (server, network) = system::server_address(12);
    lab.book(&["pod1"], &[(12, false)]).done();
    let system = rack.boot("pod1", 12, false);
    assert!(system.address().starts_with(&network), "{}", system.address());
    assert_eq!(system.gateway(), None);
    assert!(system.reaches(&server));
}

#[test]
fn a_switch_that_only_says_yes_leaves_the_wire_as_it_was() {
    let lab = Lab::new();
    lab.provision(&["pod1", "pod2", "pod3"]).done();
    lab.book(&["pod1"], &ALICE).done();
    let before = lab.rack.exchange();
    lab.faults.set(Peer::Switch, Kind::Lie).unwrap();
    let failed = lab.book(&["pod2"], &ALICE).failed(1);
    assert_eq!(failed["host"], "pod2", "{failed}");
    assert_eq!(lab.rack.exchange(), before);
    lab.rack.assert_pings(&[&["pod2", "pod3"]]);
    lab.faults.clear(&Peer::Switch);
    lab.book(&["pod2"], &ALICE).done();
    lab.rack.assert_pings(&[&["pod1", "pod2"]]);
}

/// Tells the test that is run by the one below that it shall be killed.
const TO_BE_KILLED: &str = "LAAS_TEST_WIRE_TO_BE_KILLED";

#[test]
fn a_run_that_is_killed_leaves_no_switch_and_no_namespace() {
    if std::env::var_os(TO_BE_KILLED).is_some() {
        let rack = Rack::new();
        println!("daemons: {:?}", rack.daemons());
        loop {
            std::thread::park();
        }
    }
    let mut run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("wire::a_run_that_is_killed_leaves_no_switch_and_no_namespace")
        .env(TO_BE_KILLED, "")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    let daemons: [u32; 2] = lines
        .find_map(|line| serde_json::from_str(line.unwrap().split_once("daemons: ")?.1).ok())
        .unwrap();
    let is_there = |pid: &u32| {
        std::path::Path::new("/proc")
            .join(pid.to_string())
            .join("exe")
            .exists()
    };
    assert!(daemons.iter().all(is_there));
    run.kill().unwrap();
    run.wait().unwrap();
    // The namespaces have no names and no processes then, and with them go cables and ports.
    wait_for("the daemons' end", || {
        (!daemons.iter().any(is_there)).then_some(())
    });
    let left = || std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let prefix = format!("{}{}-", ovs::PREFIX, run.id());
    let is_left = || left().any(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    assert!(is_left(), "a directory is what is left");
    drop(ovs::Ovs::start());
    assert!(!is_left(), "the next run removes it");
}
