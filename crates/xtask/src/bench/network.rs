//! What it takes to set the ports of one switch, by how many they are.

use super::{process, table};
use anyhow::Context;
use laas_lab::cabling::{Cabling, switch_address};
use laas_lab::eos::Eos;
use laas_lab::faults::{Faults, Peer};
use laas_lab::http::Server;
use laas_lab::nxos::Nxos;
use laas_lab::switch::LabSwitch;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PORTS: [u16; 3] = [1, 10, 100];
const ACCOUNT: (&str, &str) = ("admin", "secret");

#[derive(Serialize)]
struct Measured {
    driver: &'static str,
    ports: u16,
    /// Requests of the switch's API: what was read, written, read back and saved.
    calls: u32,
    saves: u32,
    /// Of a second run, which finds nothing to do.
    calls_again: u32,
    lines: usize,
    wall_ms: f64,
    cpu_ms: f64,
}

pub async fn run(root: &Path, as_json: bool) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for driver in ["nxos", "eos"] {
        for ports in PORTS {
            all.push(measure(root, driver, ports).await?);
        }
    }
    if as_json {
        println!("{}", serde_json::to_string(&all)?);
        return Ok(());
    }
    let row = |m: &Measured| {
        [
            format!("{}, {} ports", m.driver, m.ports),
            m.calls.to_string(),
            m.saves.to_string(),
            m.calls_again.to_string(),
            m.lines.to_string(),
            format!("{:.0}", m.wall_ms),
            format!("{:.1}", m.cpu_ms),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    let heading = [
        "switch",
        "calls",
        "saves",
        "calls again",
        "lines",
        "wall ms",
        "CPU ms",
    ];
    table::print(heading, &rows);
    Ok(())
}

async fn measure(root: &Path, driver: &'static str, ports: u16) -> anyhow::Result<Measured> {
    let (address, cabling) = (switch_address(1), Cabling::default());
    let switch: Box<dyn LabSwitch> = match driver {
        "eos" => Box::new(Eos::new(address, ports, ACCOUNT, cabling, Duration::ZERO)),
        _ => Box::new(Nxos::new(address, ports, ACCOUNT, cabling, Duration::ZERO)),
    };
    let server = Server::start(address, Peer::Switch, switch.router(), Faults::default()).await?;
    let directory = tempfile::tempdir()?;
    // A host with a card for each of the ports.
    let macs: Vec<String> = (1..=ports)
        .map(|port| format!("02:00:00:00:01:{port:02x}"))
        .collect();
    let card = |(mac, port): (&String, u16)| {
        let card = json!({"mac": mac, "switch": address, "port": switch.port_name(port), "name": "eno1"});
        (mac.clone(), card)
    };
    let interfaces: serde_json::Map<_, _> = macs.iter().zip(1..=ports).map(card).collect();
    let access = json!({"driver": driver, "url": server.url(), "user": ACCOUNT.0, "password": ACCOUNT.1});
    let keys = [
        ("hosts", json!(["pod1"])),
        (
            "pod1",
            json!({"fog_name": "x", "hostname": "x", "interfaces": interfaces}),
        ),
        (&format!("switch_{address}"), access),
    ];
    let keys: Vec<Value> = keys
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value.to_string()}))
        .collect();
    let datastore = directory.path().join("datastore.json");
    std::fs::write(&datastore, json!(keys).to_string())?;
    let carried = json!([{"vlan_id": 11, "tagged": false}, {"vlan_id": 103, "tagged": true}]);
    let wanted: serde_json::Map<_, _> = macs.into_iter().map(|mac| (mac, carried.clone())).collect();
    let command = || {
        let mut command = Command::new(root.join("actions/bin/switch_vlan"));
        command
            .env("LAAS_CONFIG", "{}")
            .env("LAAS_DATASTORE", &datastore)
            .env("LAAS_LOCK_DIR", directory.path().join("locks"))
            .env(
                "LAAS_NETWORKS",
                json!([{"host": "pod1", "interfaces": wanted}]).to_string(),
            );
        command
    };
    let (first, again) = (command(), command());
    // Waiting for a process blocks, and the switch needs the runtime.
    let first = tokio::task::spawn_blocking(move || process::run(first)).await??;
    let counters = switch.counters();
    tokio::task::spawn_blocking(move || process::run(again))
        .await?
        .context("the second run")?;
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    Ok(Measured {
        driver,
        ports,
        calls: counters.calls,
        saves: counters.saves,
        calls_again: switch.counters().calls - counters.calls,
        lines: counters.lines.len(),
        wall_ms: ms(first.wall),
        cpu_ms: ms(first.own),
    })
}
