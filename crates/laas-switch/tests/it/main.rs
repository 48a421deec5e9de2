//! The difference between two states of a switch, and NX-API's answers, good and bad.

// A panic is how a test fails, in its helpers too.
#![allow(clippy::unwrap_used)]

mod canned;
mod lab;
mod properties;
mod shapes;

use laas_core::VlanId;
use laas_core::inventory;
use laas_switch::{Port, PortName, Switch, Wish};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const PARKING: u64 = 999;

fn vlan(id: u64) -> VlanId {
    id.try_into().unwrap()
}

fn name(port: usize) -> PortName {
    format!("Ethernet1/{port}").parse().unwrap()
}

/// An untagged VLAN, if any, and tagged ones.
fn port(untagged: Option<u64>, tagged: &[u64]) -> Port {
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

fn open(url: &str, password: &str, call: Duration) -> Box<dyn Switch> {
    let entry = json!({"url": url, "user": "admin", "password": password});
    let entry: inventory::Switch = serde_json::from_value(entry).unwrap();
    laas_switch::open("10.9.8.7", &entry, call).unwrap()
}
