//! Shows what the switch ports of hosts carry.

use crate::hosts;
use crate::switches::{self, Read};
use laas_core::action::{Action, Context};
use laas_core::inventory::Host;
use laas_core::json_arg::JsonArg;
use laas_core::{Failure, HostName, Mac};
use laas_switch::{Mode, Port, Rules, VlanSet, Wish};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::IsTerminal;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The hosts, all of the inventory if not given, e.g. ["pod1", "pod2"].
    #[arg(
        long,
        env = "LAAS_HOSTS",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    hosts: JsonArg<Option<Vec<HostName>>>,
}

#[derive(Serialize)]
pub struct Output {
    hosts: BTreeMap<HostName, Vec<Shown>>,
    switches: BTreeMap<String, Saved>,
}

#[derive(Serialize)]
struct Saved {
    /// A restart of the switch would change nothing.
    saved: bool,
}

/// One port.
#[derive(Serialize)]
struct Shown {
    interface: String,
    mac: Mac,
    switch: String,
    port: String,
    #[serde(flatten)]
    carries: Option<Port>,
    /// VLANs that it lets through and that the switch does not have or has suspended.
    #[serde(skip_serializing_if = "VlanSet::is_empty")]
    inactive: VlanSet,
    /// Why the switch shows no port that could be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Action for Args {
    const NAME: &'static str = "switch_show";
    const ABOUT: &'static str = "Show what the switch ports of hosts carry";
    const EXAMPLE: &'static [&'static str] = &[r#"--hosts=["pod1"]"#];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let names = switches::hosts_or_all(context, self.hosts.get("hosts")?)?;
        let rules = Rules::new(&context.config()?.networks)?;
        let mut inventory: BTreeMap<HostName, Host> = BTreeMap::new();
        let mut ports = BTreeMap::new();
        for name in names {
            let host = hosts::load(context, &name);
            // Only which ports they are counts here.
            let found = host.and_then(|host| {
                let ports = switches::ports_of(&host, |_| Ok(Wish::default().port(rules.parking)));
                inventory.insert(name.clone(), host);
                ports
            });
            ports.insert(name, found);
        }
        let (work, mut failed) = switches::gather(context, &rules, ports)?;
        let read = switches::each(&work, &mut failed, |work| work.read(context));
        let output = Output {
            hosts: inventory
                .into_iter()
                .filter(|(name, _)| !failed.iter().any(|f| f.hosts.contains(name)))
                .map(|(name, host)| (name, shown(&host, &read)))
                .collect(),
            switches: read
                .into_iter()
                .map(|r| (r.address, Saved { saved: r.saved }))
                .collect(),
        };
        if std::io::stderr().is_terminal() {
            print_table(&output);
        }
        match hosts::merged(failed) {
            None => Ok(output),
            Some(failure) => Err(Failure {
                done: serde_json::to_value(&output).ok(),
                ..failure
            }),
        }
    }
}

fn shown(host: &Host, read: &[Read]) -> Vec<Shown> {
    let show = |interface: &laas_core::inventory::Interface| {
        let present = &read.iter().find(|read| read.address == interface.switch)?.present;
        let name = interface.port.parse().ok()?;
        let carries = present.ports.get(&name).cloned();
        let passing: VlanSet = match &carries {
            Some(port) if port.mode == Mode::Access => port.access.into_iter().collect(),
            // A list of all is what is there without a word.
            Some(port) if port.mode == Mode::Trunk && port.allowed != VlanSet::all() => port.allowed.clone(),
            _ => VlanSet::default(),
        };
        Some(Shown {
            interface: interface.name.clone(),
            mac: interface.mac.clone(),
            switch: interface.switch.clone(),
            port: interface.port.clone(),
            carries,
            inactive: passing.iter().filter(|vlan| !present.is_active(*vlan)).collect(),
            problem: present.untouchable.get(&name).map(|why| why.0.clone()),
        })
    };
    host.interfaces.values().filter_map(show).collect()
}

fn print_table(output: &Output) {
    eprintln!(
        "{:<12} {:<10} {:<16} {:<16} carries",
        "host", "interface", "switch", "port"
    );
    for (host, ports) in &output.hosts {
        for port in ports {
            let carries = match (&port.carries, &port.problem) {
                (Some(carries), _) => carries.to_string(),
                (None, problem) => problem.clone().unwrap_or_default(),
            };
            let (interface, switch, name) = (&port.interface, &port.switch, &port.port);
            eprintln!(
                "{:<12} {interface:<10} {switch:<16} {name:<16} {carries}",
                host.as_str()
            );
        }
    }
    for (switch, saved) in output.switches.iter().filter(|(_, s)| !s.saved) {
        let _ = saved;
        eprintln!("{switch}: the running configuration is not saved");
    }
}
