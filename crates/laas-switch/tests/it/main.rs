//! The difference between two states of a switch, what every driver must do, and the vendors' answers, good and bad.

// A panic is how a test fails, in its helpers too.
#![allow(clippy::unwrap_used)]

mod canned;
mod kit;
mod properties;
mod shapes;
mod shapes_eos;

use laas_core::VlanId;
use laas_core::inventory;
use laas_switch::{Pool, Port, PortName, Rules, Switch, Wish};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const PARKING: u64 = 999;

/// VLANs 11 to 13 and 100 to 199 are the tenants', 99 and 999 the lab's.
fn pool() -> Pool {
    Rules::new(&laas_core::config::Networks::default())
        .unwrap()
        .pool("10.9.8.7")
}

fn vlan(id: u64) -> VlanId {
    id.try_into().unwrap()
}

fn name(port: usize) -> PortName {
    format!("Ethernet1/{port}").parse().unwrap()
}

/// An untagged VLAN, if any, and tagged ones.
fn wish(untagged: Option<u64>, tagged: &[u64]) -> Port {
    let untagged = untagged.map(|id| (vlan(id), false));
    let tagged = tagged.iter().map(|id| (vlan(*id), true));
    Wish::new(untagged.into_iter().chain(tagged))
        .unwrap()
        .port(vlan(PARKING))
}

fn wanted<const N: usize>(ports: [(usize, Port); N]) -> BTreeMap<PortName, Port> {
    ports
        .into_iter()
        .map(|(number, port)| (name(number), port))
        .collect()
}

fn wanted_ports<const N: usize>(ports: [(&str, Port); N]) -> BTreeMap<PortName, Port> {
    ports
        .into_iter()
        .map(|(name, port)| (name.parse().unwrap(), port))
        .collect()
}

fn open(url: &str, password: &str, call: Duration) -> Box<dyn Switch> {
    let entry = json!({"url": url, "user": "admin", "password": password});
    let entry: inventory::Switch = serde_json::from_value(entry).unwrap();
    laas_switch::open("10.9.8.7", &entry, call).unwrap()
}

kit::suites! {
    nxos: Suite {
        driver: "nxos",
        start: |address, ports, account, cabling| {
            Box::new(laas_lab::nxos::Nxos::new(address, ports, account, cabling, std::time::Duration::ZERO))
        },
        reserved: 4000,
        shut_by_default: Some("system default switchport shutdown"),
    },
    eos: Suite {
        driver: "eos",
        start: |address, ports, account, cabling| {
            Box::new(laas_lab::eos::Eos::new(address, ports, account, cabling, std::time::Duration::ZERO))
        },
        reserved: 1006,
        shut_by_default: None,
    },
}
