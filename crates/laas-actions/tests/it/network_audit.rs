//! The audit of ports against bookings, the show of ports, and kills, on a Nexus and an Arista switch.

use crate::pack::wait_for;
use crate::two_switches::{TwoSwitches, networks};
use laas_lab::faults::{Kind, Peer};
use serde_json::{Value, json};
use std::time::Duration;

const TENANT: [&str; 2] = ["11,103", "none"];
const PARKED: [&str; 2] = ["none", "none"];

/// A lab in which `pod1` and `pod2` are booked and done, and `pod3` is parked.
fn settled() -> TwoSwitches {
    let lab = TwoSwitches::new();
    for host in ["pod1", "pod2"] {
        let job = lab.book(host);
        lab.post(job, 200);
    }
    let mut networks = networks(&["pod1", "pod2"]);
    networks
        .as_array_mut()
        .unwrap()
        .push(json!({"host": "pod3", "interfaces": {}}));
    lab.switch_vlan(&[&format!("--networks={networks}")]).done();
    lab
}

#[test]
fn each_difference_is_named_and_repaired() {
    let lab = settled();
    let clean = lab.audit(&[]).done();
    let states: Vec<_> = ["pod1", "pod2", "pod3"]
        .iter()
        .map(|h| &clean["hosts"][h]["state"])
        .collect();
    assert_eq!(states, ["as_booked", "as_booked", "as_booked"], "{clean}");
    let cases: [(&str, u16, &[&str], &str); 8] = [
        (
            "an extra VLAN",
            1,
            &["switchport trunk allowed vlan add 300"],
            "carries VLAN 300 and should not",
        ),
        (
            "a missing VLAN",
            1,
            &["switchport trunk allowed vlan remove 103"],
            "lacks VLAN 103",
        ),
        (
            "another native VLAN",
            1,
            &["switchport trunk native vlan 12"],
            "has native VLAN 12 instead of 11",
        ),
        (
            "another mode",
            1,
            &["switchport mode access", "switchport access vlan 11"],
            "is an access port, lacks VLAN 103",
        ),
        ("no switch port", 2, &["no switchport"], "is no trunk"),
        ("a port that is shut down", 1, &["shutdown"], "is shut down"),
        (
            "a tenant's VLAN on a parked port",
            3,
            &["switchport trunk allowed vlan 103"],
            "(not booked)",
        ),
        (
            "management left behind",
            2,
            &["switchport trunk allowed vlan 99"],
            "carries VLAN 99 and should not",
        ),
    ];
    for (index, switch) in lab.switches.iter().enumerate() {
        for (case, port, lines, words) in &cases {
            let port = format!("interface {}", switch.port_name(*port));
            let lines: Vec<&str> = std::iter::once(port.as_str())
                .chain(lines.iter().copied())
                .collect();
            switch.type_in(&lines).unwrap();
            let failed = lab.audit(&[]).failed(1);
            let error = failed["error"].as_str().unwrap();
            let named = ["127.98.0.1", "127.98.0.2"][index];
            assert!(error.contains(words) && error.contains(named), "{case}: {error}");
            assert!(error.contains("not saved"), "{case}: {error}");
            assert_eq!(failed["done"]["unsaved"], json!([named]), "{case}");
            let before = lab.lines();
            let shown = lab.audit(&["--repair", "--dry_run"]).done();
            assert_eq!(
                (&shown["changed"], lab.lines()),
                (&json!(true), before),
                "{case}: {shown}"
            );
            let repaired = lab.audit(&["--repair"]).done();
            assert_eq!(repaired["changed"], true, "{case}: {repaired}");
            assert_eq!(
                (lab.vlans("pod1"), lab.vlans("pod2")),
                (TENANT.map(str::to_owned), TENANT.map(str::to_owned))
            );
            assert_eq!(lab.vlans("pod3"), PARKED, "{case}");
            assert!(lab.switches[index].is_saved(), "{case}");
            assert_eq!(lab.audit(&["--repair"]).done()["changed"], false, "{case}");
        }
        switch.type_in(&["vlan 103", "state suspend"]).unwrap();
        let failed = lab.audit(&[]).failed(1);
        assert!(
            failed["error"]
                .as_str()
                .unwrap()
                .contains("VLAN 103, which is not active"),
            "{failed}"
        );
        lab.audit(&["--repair"]).done();
        // Nothing but the save is missing.
        switch.type_in(&["vlan 77"]).unwrap();
        let failed = lab.audit(&[]).failed(1);
        assert!(
            failed["error"].as_str().unwrap().contains("not saved"),
            "{failed}"
        );
        lab.audit(&["--repair"]).done();
        lab.audit(&[]).done();
    }
}

#[test]
fn what_is_in_progress_or_unclear_is_neither_judged_nor_repaired() {
    let lab = settled();
    let job = lab.book("pod3");
    lab.dashboard.reimage("pod1", 17).unwrap();
    for switch in &lab.switches {
        for port in [1, 3] {
            let port = format!("interface {}", switch.port_name(port));
            switch
                .type_in(&[&port, "switchport trunk allowed vlan 99"])
                .unwrap();
        }
    }
    lab.post(job, 100);
    let repaired = lab.audit(&["--repair"]).done();
    assert_eq!(repaired["hosts"]["pod1"]["state"], "in_progress", "{repaired}");
    assert_eq!(repaired["hosts"]["pod3"]["state"], "in_progress", "{repaired}");
    assert_eq!(
        (lab.vlans("pod1"), lab.vlans("pod3")),
        (["99".into(), "none".into()], ["99".into(), "99".into()])
    );
    assert_eq!(lab.vlans("pod2"), TENANT);
    // A network task that ended in an error is in no list.
    lab.post(job, 300);
    let repaired = lab.audit(&["--repair"]).done();
    assert_eq!(repaired["hosts"]["pod3"]["state"], "unknown", "{repaired}");
    assert_eq!(lab.vlans("pod3"), ["99", "99"]);
}

#[test]
fn a_dashboard_that_can_not_be_read_judges_nothing() {
    let lab = settled();
    for switch in &lab.switches {
        let port = format!("interface {}", switch.port_name(1));
        switch
            .type_in(&[&port, "switchport trunk allowed vlan 99"])
            .unwrap();
    }
    let lines = lab.lines();
    for fault in [
        Kind::Refuse,
        Kind::Http500,
        Kind::Html,
        Kind::CutJson,
        Kind::WrongCredentials,
    ] {
        lab.faults.set(Peer::Dashboard, fault).unwrap();
        let failed = lab.audit(&["--repair"]).failed(3);
        assert_eq!(failed["peer"], "dashboard", "{fault:?}: {failed}");
        assert_eq!(failed["done"], Value::Null, "{failed}");
        assert_eq!(lab.lines(), lines, "{fault:?}");
    }
    lab.faults.clear(&Peer::Dashboard);
    for fault in [Kind::Refuse, Kind::Html] {
        lab.faults.set(Peer::Switch, fault).unwrap();
        let failed = lab.audit(&["--repair"]).failed(3);
        assert_eq!(failed["done"]["hosts"]["pod1"]["state"], "unknown", "{failed}");
    }
}

#[test]
fn a_show_says_what_ports_carry() {
    let lab = settled();
    let show = |args: &[&str]| lab.pack.run(env!("CARGO_BIN_EXE_switch_show"), args).done();
    let shown = show(&[]);
    for (host, switch, port) in [
        ("pod1", "127.98.0.1", "Ethernet1/1"),
        ("pod2", "127.98.0.2", "Ethernet1"),
    ] {
        let first = &shown["hosts"][host][0];
        assert_eq!((&first["switch"], &first["port"]), (&json!(switch), &json!(port)));
        assert_eq!(
            (&first["mode"], &first["native"], &first["allowed"]),
            (&json!("trunk"), &json!(11), &json!("11,103"))
        );
        assert_eq!(shown["switches"][switch]["saved"], true);
    }
    lab.switches[0].type_in(&["no vlan 103"]).unwrap();
    let shown = show(&["--hosts=[\"pod1\"]"]);
    assert_eq!(shown["hosts"].as_object().unwrap().len(), 1);
    assert_eq!(shown["hosts"]["pod1"][0]["inactive"], "103");
    assert_eq!(shown["switches"]["127.98.0.1"]["saved"], false);
    lab.switches[1]
        .type_in(&["interface Ethernet1", "shutdown"])
        .unwrap();
    let shown = show(&["--hosts=[\"pod2\"]"]);
    assert_eq!(shown["hosts"]["pod2"][0]["shutdown"], true, "{shown}");
}

#[test]
fn a_run_that_is_killed_at_ten_moments_is_finished_by_the_next() {
    // A fixed seed, so that a moment that fails comes back.
    let mut dice: u64 = 0x5eed;
    for round in 0..10 {
        let lab = TwoSwitches::new();
        let networks = format!("--networks={}", networks(&["pod1", "pod2", "pod3"]));
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let after_calls = u32::try_from((dice >> 33) % 6).unwrap();
        let more = Duration::from_micros((dice >> 40) % 3000);
        let mut running = lab.pack.start(env!("CARGO_BIN_EXE_switch_vlan"), &[&networks]);
        let calls = || lab.switches.iter().map(|s| s.counters().calls).sum::<u32>();
        wait_for("the calls", || {
            (calls() >= after_calls || running.has_ended()).then_some(())
        });
        std::thread::sleep(more);
        running.kill();
        let done = lab.switch_vlan(&[&networks]).done();
        assert_eq!(done["hosts"], json!(["pod1", "pod2", "pod3"]), "round {round}");
        for host in ["pod1", "pod2", "pod3"] {
            assert_eq!(lab.vlans(host), TENANT, "round {round}, {host}");
        }
        assert!(lab.switches.iter().all(|s| s.is_saved()), "round {round}");
        assert_eq!(
            lab.switch_vlan(&[&networks]).done()["changed"],
            false,
            "round {round}"
        );
    }
}

#[test]
fn two_bookings_on_the_same_switches_do_not_get_in_each_others_way() {
    let lab = TwoSwitches::new();
    let all: Vec<String> = ["pod1", "pod2", "pod3"]
        .iter()
        .map(|host| format!("--networks={}", networks(&[host])))
        .collect();
    let start = |networks: &String| lab.pack.start(env!("CARGO_BIN_EXE_switch_vlan"), &[networks]);
    let running: Vec<_> = all.iter().map(start).collect();
    for run in running {
        run.end().done();
    }
    for host in ["pod1", "pod2", "pod3"] {
        assert_eq!(lab.vlans(host), TENANT, "{host}");
    }
    // One of them ends while another one begins: what they share stays.
    let release = "--networks=[{\"host\": \"pod1\", \"interfaces\": {}}]".to_owned();
    let running = [&release, &all[2]].map(start);
    for run in running {
        run.end().done();
    }
    assert_eq!(
        (lab.vlans("pod1"), lab.vlans("pod3")),
        (PARKED.map(str::to_owned), TENANT.map(str::to_owned))
    );
    assert!(lab.switches.iter().all(|s| s.is_saved()));
}
