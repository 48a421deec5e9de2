//! Switch ports, against the lab's Nexus.

use crate::pack::{Ended, Pack, wait_for};
use laas_lab::cabling::{Cabling, Socket};
use laas_lab::faults::{Fault, Faults, Kind, Peer};
use laas_lab::http::Server;
use laas_lab::nxos::Nxos;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use tokio::runtime::Runtime;

/// Two switches; `pod1` has two cards on the first, `pod2` one on each, `pod3` one on the second.
struct Lab {
    switches: [Nxos; 2],
    faults: [Faults; 2],
    cabling: Cabling,
    pack: Pack,
    _servers: [Server; 2],
    _runtime: Runtime,
}

const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 98, 0, 1), Ipv4Addr::new(127, 98, 0, 2)];

impl Lab {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let (cabling, faults) = (Cabling::default(), [Faults::default(), Faults::default()]);
        let time = std::time::Duration::ZERO;
        let switches =
            ADDRESSES.map(|address| Nxos::new(address, 8, ("admin", "secret"), cabling.clone(), time));
        let servers = [0, 1].map(|i| {
            let server = Server::start(
                ADDRESSES[i],
                Peer::Switch,
                switches[i].router(),
                faults[i].clone(),
            );
            runtime.block_on(server).unwrap()
        });
        let card = |mac: &str, switch: usize, port: u8| {
            let port = format!("Ethernet1/{port}");
            json!({"mac": mac, "switch": ADDRESSES[switch], "port": port, "name": "eno1"})
        };
        let host = |cards: &[Value]| {
            let cards: serde_json::Map<_, _> = cards
                .iter()
                .map(|c| (c["mac"].as_str().unwrap().to_owned(), c.clone()))
                .collect();
            json!({"fog_name": "x", "hostname": "127.0.0.1", "interfaces": cards})
        };
        let access = |i: usize| json!({"url": servers[i].url(), "user": "admin", "password": "secret"});
        let keys = [
            ("hosts", json!(["pod1", "pod2", "pod3"])),
            (
                "pod1",
                host(&[card("02:00:00:00:01:01", 0, 1), card("02:00:00:00:01:02", 0, 2)]),
            ),
            (
                "pod2",
                host(&[card("02:00:00:00:02:01", 0, 3), card("02:00:00:00:02:02", 1, 1)]),
            ),
            ("pod3", host(&[card("02:00:00:00:03:01", 1, 2)])),
            ("switch_127.98.0.1", access(0)),
            ("switch_127.98.0.2", access(1)),
        ];
        let config = json!({
            "networks": {"management": 99, "parking": 999, "tenant": "11-13,100-199,3990-3999", "public": [11]},
            "timing": {"call": 20},
        });
        Self {
            pack: Pack::new(config, &keys),
            switches,
            faults,
            cabling,
            _servers: servers,
            _runtime: runtime,
        }
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.pack.run(env!("CARGO_BIN_EXE_switch_vlan"), args)
    }

    fn networks(&self, networks: &Value) -> Ended {
        self.run(&[&format!("--networks={networks}")])
    }

    fn carries(&self, switch: usize, port: u8, vlan: u16, tagged: bool) -> bool {
        let socket = Socket {
            switch: ADDRESSES[switch],
            port: format!("Ethernet1/{port}"),
        };
        self.cabling.port(&socket).carries(vlan, tagged)
    }

    fn saves(&self) -> [u32; 2] {
        self.switches.each_ref().map(|s| s.counters().saves)
    }

    fn lines(&self) -> usize {
        self.switches.iter().map(|s| s.counters().lines.len()).sum()
    }
}

fn vlan(id: u16, tagged: bool) -> Value {
    json!({"vlan_id": id, "tagged": tagged})
}

/// A booking of `pod1` and `pod2`; the second card of `pod1` is not named.
fn booking() -> Value {
    json!([
        {"host": "pod1", "interfaces": {"02:00:00:00:01:01": [vlan(11, false), vlan(103, true)]}},
        {"host": "pod2", "interfaces": {"02:00:00:00:02:01": [vlan(104, true)], "02-00-00-00-02-02": []}},
    ])
}

#[test]
fn a_host_gets_the_management_vlan_and_then_exactly_its_own() {
    let lab = Lab::new();
    let provisioned = lab.run(&["--hosts=[\"pod1\"]"]).done();
    assert_eq!(
        (&provisioned["changed"], &provisioned["hosts"]),
        (&json!(true), &json!(["pod1"]))
    );
    assert!(lab.carries(0, 1, 99, false) && lab.carries(0, 2, 99, false) && !lab.carries(0, 2, 300, true));
    assert_eq!(lab.saves(), [1, 0]);

    let done = lab.networks(&booking()).done();
    assert_eq!(done["hosts"], json!(["pod1", "pod2"]));
    for (switch, port, vlan, tagged, expected) in [
        (0, 1, 11, false, true),
        (0, 1, 103, true, true),
        (0, 1, 99, false, false),
        // Not named, and therefore parked.
        (0, 2, 99, false, false),
        (0, 2, 999, false, false),
        (0, 3, 104, true, true),
        (0, 3, 303, false, false),
        (1, 1, 301, false, false),
        // Another host's.
        (1, 2, 302, false, true),
    ] {
        assert_eq!(
            lab.carries(switch, port, vlan, tagged),
            expected,
            "{switch} {port} {vlan} {tagged}"
        );
    }
    let first = &done["switches"][0];
    assert_eq!(
        (&first["address"], &first["saved"]),
        (&json!("127.98.0.1"), &json!(true))
    );
    let after = &first["after"]["Ethernet1/1"];
    assert_eq!(
        after,
        &json!({"mode": "trunk", "native": 11, "allowed": "11,103"})
    );
    assert_eq!(first["before"]["Ethernet1/1"]["allowed"], "99");
    assert_eq!(lab.saves(), [2, 1]);

    let lines = lab.lines();
    let again = lab.networks(&booking()).done();
    assert_eq!(
        (&again["changed"], lab.lines(), lab.saves()),
        (&json!(false), lines, [2, 1])
    );
    lab.switches.iter().for_each(Nxos::reload);
    assert_eq!(lab.networks(&booking()).done()["changed"], false);
}

#[test]
fn a_dry_run_shows_the_difference_and_sends_nothing() {
    let lab = Lab::new();
    let shown = lab
        .run(&["--dry_run", &format!("--networks={}", booking())])
        .done();
    assert_eq!(shown["changed"], true);
    assert_eq!(shown["switches"][0]["after"]["Ethernet1/1"]["native"], 11);
    let commands = shown["switches"][0]["commands"].as_array().unwrap();
    assert!(commands.contains(&json!("interface Ethernet1/1")), "{commands:?}");
    assert_eq!((lab.lines(), lab.saves()), (0, [0, 0]));
    assert_eq!(lab.pack.key("unsaved_127.98.0.1"), Value::Null);
}

#[test]
fn what_no_port_may_get_is_refused_before_anything_is_touched() {
    let lab = Lab::new();
    let pod1 = |interfaces: Value| json!([{"host": "pod1", "interfaces": interfaces}]);
    let on_first = |vlans: Value| pod1(json!({"02:00:00:00:01:01": vlans}));
    for (networks, word) in [
        (
            on_first(json!([vlan(11, false), vlan(12, false)])),
            "untagged VLANs 11 and 12",
        ),
        (
            on_first(json!([vlan(11, false), vlan(11, true)])),
            "tagged and untagged",
        ),
        (on_first(json!([vlan(99, false)])), "VLAN 99 is not for bookings"),
        (on_first(json!([vlan(999, true)])), "VLAN 999 is not for bookings"),
        (on_first(json!([vlan(4095, true)])), "4095"),
        (on_first(json!([vlan(200, true)])), "VLAN 200 is not for bookings"),
        (pod1(json!({"02:00:00:00:02:01": []})), "no such interface"),
        (pod1(json!({"one": []})), "MAC address"),
        (json!([{"host": "pod9", "interfaces": {}}]), "pod9"),
        (
            json!([{"host": "pod1", "interfaces": {}}, {"host": "pod1", "interfaces": {}}]),
            "twice",
        ),
        (Value::Null, "is given"),
        (json!({"pod1": {}}), "`networks`"),
    ] {
        let failed = lab.networks(&networks).failed(2);
        assert!(failed["error"].as_str().unwrap().contains(word), "{failed}");
    }
    let twice = [
        "--hosts=[\"pod1\"]".to_owned(),
        format!("--networks={}", pod1(json!({}))),
    ];
    let failed = lab.run(&twice.each_ref().map(String::as_str)).failed(2);
    assert!(
        failed["error"]
            .as_str()
            .unwrap()
            .contains("`hosts` and in `networks`"),
        "{failed}"
    );
    assert_eq!(lab.switches[0].counters().calls, 0);
}

#[test]
fn what_is_wrong_with_one_host_leaves_the_others_alone() {
    type Trouble = fn(&mut Value, &mut Value);
    let cases: [(Trouble, &str, Value, Value); 8] = [
        (
            |inventory, _| {
                inventory["interfaces"]["02:00:00:00:01:01"]["port"] = json!("Ethernet1/1 ;no vlan 99")
            },
            "no name of a switch port",
            json!("pod1"),
            json!(["pod2", "pod3"]),
        ),
        (
            |inventory, _| inventory["interfaces"]["02:00:00:00:01:01"]["port"] = json!("Ethernet1/2"),
            "two interfaces",
            json!("pod1"),
            json!(["pod2", "pod3"]),
        ),
        (
            |inventory, _| inventory["interfaces"]["02:00:00:00:01:01"]["port"] = json!("Ethernet1/3"),
            "two interfaces",
            json!("pod1, pod2"),
            json!(["pod3"]),
        ),
        (
            |inventory, _| inventory["interfaces"]["02:00:00:00:01:01"]["switch"] = json!("127.98.0.9"),
            "switch_127.98.0.9",
            json!("pod1"),
            json!(["pod2", "pod3"]),
        ),
        (
            |inventory, _| *inventory = json!("no host"),
            "pod1",
            json!("pod1"),
            json!(["pod2", "pod3"]),
        ),
        (
            |_, asked| asked[0]["interfaces"] = json!({"one": []}),
            "MAC address",
            json!("pod1"),
            json!(["pod2", "pod3"]),
        ),
        (
            |_, asked| asked[0]["interfaces"] = json!({"02:00:00:00:01:01": [vlan(99, false)]}),
            "VLAN 99 is not for bookings",
            json!("pod1"),
            json!(["pod2", "pod3"]),
        ),
        (
            |inventory, asked| {
                *inventory = json!("no host");
                asked.as_array_mut().unwrap().truncate(1);
            },
            "pod1",
            json!("pod1"),
            json!([]),
        ),
    ];
    for (trouble, word, host, done) in cases {
        let lab = Lab::new();
        let (mut inventory, mut asked) = (lab.pack.key("pod1"), booking());
        let pod3 = json!({"host": "pod3", "interfaces": {"02:00:00:00:03:01": [vlan(105, true)]}});
        asked.as_array_mut().unwrap().push(pod3);
        trouble(&mut inventory, &mut asked);
        lab.pack.set_key("pod1", &inventory);
        let failed = lab.networks(&asked).failed(2);
        assert!(failed["error"].as_str().unwrap().contains(word), "{failed}");
        assert_eq!(
            (&failed["host"], &failed["done"]["hosts"]),
            (&host, &done),
            "{failed}"
        );
        let is_done = |name: &str| done.as_array().unwrap().contains(&json!(name));
        // Each of pod1's ports is as it was, and so is a port whose owner nobody knows.
        assert!(
            !lab.carries(0, 1, 11, false) && lab.carries(0, 2, 300, true),
            "{word}"
        );
        assert_eq!(lab.carries(0, 3, 104, true), is_done("pod2"), "{word}");
        assert_eq!(lab.carries(1, 2, 105, true), is_done("pod3"), "{word}");
    }
}

#[test]
fn a_switch_that_fails_leaves_the_hosts_of_the_others_alone() {
    let lab = Lab::new();
    let mut all = booking();
    let pod3 = json!({"host": "pod3", "interfaces": {"02:00:00:00:03:01": [vlan(105, true)]}});
    all.as_array_mut().unwrap().push(pod3);
    for (fault, code) in [
        (Kind::Refuse, 3),
        (Kind::Html, 3),
        (Kind::WrongCredentials, 1),
        (Kind::Lie, 1),
    ] {
        lab.faults[1].set(Peer::Switch, Fault::from(fault)).unwrap();
        let failed = lab.networks(&all).failed(code);
        // pod2 has a card on each switch.
        assert_eq!(failed["done"]["hosts"], json!(["pod1"]), "{fault:?}");
        assert_eq!(failed["peer"], "switch");
        let error = failed["error"].as_str().unwrap();
        assert!(
            error.contains("127.98.0.2") && !error.contains("127.98.0.1"),
            "{error}"
        );
        let hosts = failed["host"].to_string();
        assert!(hosts.contains("pod2") && !hosts.contains("pod1"), "{failed}");
    }
    assert!(lab.carries(0, 1, 11, false) && lab.carries(0, 3, 104, true));
    lab.faults[1].clear(&Peer::Switch);
    assert_eq!(
        lab.networks(&all).done()["hosts"],
        json!(["pod1", "pod2", "pod3"])
    );
    assert!(lab.carries(1, 2, 105, true));
}

#[test]
fn a_port_that_the_switch_does_not_have_fails_its_host_only() {
    let lab = Lab::new();
    let mut host = lab.pack.key("pod1");
    host["interfaces"]["02:00:00:00:01:02"]["port"] = json!("Ethernet1/99");
    lab.pack.set_key("pod1", &host);
    let failed = lab.networks(&booking()).failed(1);
    assert_eq!(
        (&failed["host"], &failed["done"]["hosts"]),
        (&json!("pod1"), &json!(["pod2"]))
    );
    let error = failed["error"].as_str().unwrap();
    assert!(
        error.contains("Ethernet1/99") && error.contains("no such port"),
        "{error}"
    );
    assert!(lab.carries(0, 3, 104, true));
    assert_eq!(lab.saves(), [1, 1]);
}

#[test]
fn what_was_not_saved_is_saved_by_the_next_run() {
    let lab = Lab::new();
    // Two calls read, one writes, two read back; the one that saves gets no answer.
    let fault = Fault {
        kind: Kind::Hang,
        skip: 5,
        times: Some(1),
    };
    lab.faults[0].set(Peer::Switch, fault).unwrap();
    let running = lab
        .pack
        .start(env!("CARGO_BIN_EXE_switch_vlan"), &["--hosts=[\"pod1\"]"]);
    wait_for("the write", || {
        (lab.switches[0].counters().calls == 5).then_some(())
    });
    running.kill();
    assert_eq!(lab.saves(), [0, 0]);
    assert_ne!(lab.pack.key("unsaved_127.98.0.1"), Value::Null);
    // The request that hangs may still be under way.
    lab.faults[0].clear(&Peer::Switch);
    let again = lab.run(&["--hosts=[\"pod1\"]"]).done();
    assert_eq!(
        (&again["changed"], &again["switches"][0]["saved"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        (lab.saves(), lab.pack.key("unsaved_127.98.0.1")),
        ([1, 0], Value::Null)
    );
}

#[test]
fn two_executions_take_turns_at_a_switch() {
    let lab = Lab::new();
    let start = |hosts: &str| {
        lab.pack.start(
            env!("CARGO_BIN_EXE_switch_vlan"),
            &[&format!("--hosts=[\"{hosts}\"]")],
        )
    };
    let running = ["pod1", "pod2", "pod3"].map(start);
    for run in running {
        run.end().done();
    }
    let turned_away: u32 = lab.switches.iter().map(|s| s.counters().turned_away).sum();
    assert_eq!(turned_away, 0);
    assert!(lab.carries(0, 1, 99, false) && lab.carries(1, 1, 99, false) && lab.carries(1, 2, 99, false));
}
