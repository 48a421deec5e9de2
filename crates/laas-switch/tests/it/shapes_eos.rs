//! eAPI's answers, good and bad.

use crate::canned::Canned;
use crate::{pool, wanted_ports, wish};
use laas_core::{Classify, Kind, inventory};
use laas_lab::cabling::Cabling;
use laas_lab::eos::Eos;
use laas_lab::faults::{Faults, Peer};
use laas_lab::http::Server;
use laas_switch::{Plan, Switch, SwitchError};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::runtime::Runtime;

const CONFIG: &str =
    "! Command: show running-config\nvlan 11,999\n!\ninterface Ethernet1\n   switchport mode trunk\n!\nend\n";

fn open(url: &str) -> Box<dyn Switch> {
    let entry = json!({"driver": "eos", "url": url, "user": "admin", "password": "secret",
                       "enable_password": "open sesame"});
    let entry: inventory::Switch = serde_json::from_value(entry).unwrap();
    laas_switch::open("10.9.8.7", &entry, Duration::from_secs(20)).unwrap()
}

fn result(outputs: &[&str]) -> (u16, String) {
    let outputs: Vec<Value> = outputs.iter().map(|text| json!({ "output": text })).collect();
    (
        200,
        json!({"jsonrpc": "2.0", "id": "laas", "result": outputs}).to_string(),
    )
}

fn error(said: &[&str], wrong: &str) -> (u16, String) {
    let mut data: Vec<Value> = said.iter().map(|text| json!({ "output": text })).collect();
    data.push(json!({ "errors": [wrong] }));
    let message = format!("CLI command {} of 9 'x' failed: invalid command", data.len());
    let error = json!({"code": 1002, "message": message, "data": data});
    (
        200,
        json!({"jsonrpc": "2.0", "id": "laas", "error": error}).to_string(),
    )
}

#[test]
fn what_is_no_answer_of_a_switch_is_an_error_that_names_it() {
    let html = "<html><head><title>502 Bad Gateway</title></head></html>".to_owned();
    for (answer, kind, word) in [
        ((401, "Unable to authenticate user".to_owned()), Kind::Refused, "refuses our login"),
        ((403, String::new()), Kind::Refused, "refuses our login"),
        ((413, String::new()), Kind::Refused, "too large"),
        ((502, html.clone()), Kind::Unreachable, "instead of JSON"),
        ((200, html), Kind::Unreachable, "instead of JSON"),
        ((200, String::new()), Kind::Unreachable, "instead of JSON"),
        ((200, "{\"jsonrpc\": \"2.0\", \"resu".to_owned()), Kind::Unreachable, "instead of JSON"),
        ((0, String::new()), Kind::Unreachable, "can't be asked"),
        ((200, "{}".to_owned()), Kind::Unreachable, "do not match"),
        ((200, "[]".to_owned()), Kind::Unreachable, "do not match"),
        (result(&[""]), Kind::Unreachable, "do not match"),
        (result(&["", CONFIG]), Kind::Unreachable, "do not match"),
        (result(&["", "", ""]), Kind::Unreachable, "no interfaces"),
        (result(&["", "interface Ethernet1\nvlan 1x\n", ""]), Kind::Unreachable, "list of VLANs"),
        (error(&[], "Bad secret"), Kind::Refused, "refuses `enable`: Bad secret (code 1002)"),
        (
            error(&[""], "Invalid input (privileged mode required)"),
            Kind::Refused,
            "refuses `show running-config`: Invalid input (privileged mode required) (code 1002)",
        ),
        (
            (200, json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "Invalid request"}}).to_string()),
            Kind::Refused,
            "refuses `the request`: Invalid request (code -32600)",
        ),
    ] {
        let canned = Canned::start(std::slice::from_ref(&answer));
        let error = open(&canned.url).read(&BTreeSet::new()).unwrap_err();
        let text = laas_core::failure::chain(&error);
        assert_eq!(error.kind(), kind, "{answer:?}: {text}");
        assert!(text.contains(word) && text.contains("10.9.8.7"), "{answer:?}: {text}");
        assert!(!text.contains("secret\"") && !text.contains("sesame"), "{text}");
    }
}

#[test]
fn a_session_is_opened_committed_and_what_was_left_open_is_dropped() {
    let sessions = "  Name     State\n  laas-1a  pending\n  laas-2b  completed\n";
    let read = result(&["", CONFIG, sessions]);
    let canned = Canned::start(&[read.clone(), result(&[""; 7]), read]);
    let switch = open(&canned.url);
    let wanted = wanted_ports([("Ethernet1", wish(Some(11), &[]))]);
    let pool = pool();
    // The canned switch says yes and shows the old state.
    let failed = Plan::new(switch.as_ref(), &wanted, &pool)
        .unwrap()
        .carry_out()
        .unwrap()
        .failed;
    assert_eq!(failed.len(), 1);
    let asked = canned.asked();
    assert_eq!(
        asked[0]["params"]["cmds"][0],
        json!({"cmd": "enable", "input": "open sesame"})
    );
    let commands: Vec<&str> = asked[1]["params"]["cmds"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(commands[0], "no configure session laas-1a");
    assert!(commands[1].starts_with("configure session laas-"), "{commands:?}");
    assert_eq!(
        commands[2..],
        [
            "interface Ethernet1",
            "switchport trunk allowed vlan 11",
            "switchport trunk native vlan 11",
            "commit"
        ]
    );
}

#[test]
fn a_refused_line_is_named_and_its_session_is_dropped() {
    let read = result(&["", CONFIG, ""]);
    let refused = error(&["", "", "", ""], "VLAN 11 is used internally");
    let canned = Canned::start(&[read.clone(), refused, result(&["", ""]), read]);
    let switch = open(&canned.url);
    let wanted = wanted_ports([("Ethernet1", wish(Some(11), &[]))]);
    let pool = pool();
    let plan = Plan::new(switch.as_ref(), &wanted, &pool).unwrap();
    let unfinished = plan.carry_out().unwrap_err();
    assert_eq!(
        unfinished.error.to_string(),
        "the switch `10.9.8.7` refuses `switchport trunk native vlan 11` (`interface Ethernet1`): VLAN 11 is used \
         internally (code 1002)"
    );
    assert!(matches!(unfinished.error, SwitchError::Refused { .. }));
    assert_eq!(unfinished.written, Some(BTreeSet::new()));
    let asked = canned.asked();
    let session = asked[1]["params"]["cmds"][1].as_str().unwrap();
    assert_eq!(asked[2]["params"]["cmds"][1], format!("no {session}"));
}

#[test]
fn saving_is_believed_only_when_it_says_so() {
    for (said, good) in [
        ("Copy completed successfully.\n", true),
        ("", true),
        (
            "Error copying system:/running-config to flash:/startup-config (No space left on device)\n",
            false,
        ),
    ] {
        let canned = Canned::start(&[result(&["", said])]);
        assert_eq!(open(&canned.url).save().is_ok(), good, "{said}");
        assert_eq!(
            canned.asked()[0]["params"]["cmds"][1],
            "copy running-config startup-config"
        );
    }
}

#[test]
fn killed_runs_leave_no_sessions_and_privileged_mode_asks_for_its_password() {
    let runtime = Runtime::new().unwrap();
    let (address, cabling) = (Ipv4Addr::LOCALHOST, Cabling::default());
    let lab = Eos::new(address, 4, ("admin", "secret"), cabling, Duration::ZERO);
    lab.set_enable_password("open sesame");
    // As many as the switch has room for, the last one with a line that nobody asked for any more.
    for session in ["laas-1a", "laas-1b", "laas-1c", "laas-1d"] {
        lab.type_in(&[&format!("configure session {session}")]).unwrap();
    }
    lab.type_in(&[
        "configure session laas-1e",
        "vlan 150",
        "interface Ethernet1",
        "shutdown",
    ])
    .unwrap();
    assert_eq!(lab.pending_sessions().len(), 5);
    let server = Server::start(address, Peer::Switch, lab.router(), Faults::default());
    let server = runtime.block_on(server).unwrap();
    let wanted = wanted_ports([("Ethernet1", wish(Some(11), &[]))]);
    let pool = pool();
    let switch = open(&server.url());
    let plan = Plan::new(switch.as_ref(), &wanted, &pool).unwrap();
    assert!(plan.carry_out().unwrap().failed.is_empty());
    assert!(lab.pending_sessions().is_empty());
    assert!(!lab.running().contains("vlan 150") && !lab.running().contains("shutdown"));

    lab.set_enable_password("another");
    let refused = Plan::new(switch.as_ref(), &wanted, &pool).err().unwrap();
    assert_eq!(refused.kind(), Kind::Refused);
    assert!(
        refused.to_string().contains("refuses `enable`: Bad secret"),
        "{refused}"
    );
}
