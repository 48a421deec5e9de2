//! Changes as lines of configuration.

use super::Dialect;
use crate::{Change, Vlan, VlanSet};

/// A command line holds less than a long list of VLANs: the rest follows on lines with `add`.
const LIST_WIDTH: usize = 200;

pub fn commands(changes: &[Change], dialect: Dialect) -> Vec<String> {
    let mut lines = Vec::new();
    let mut on_port = false;
    for change in changes {
        match change {
            Change::AddVlan(vlan) => {
                lines.extend([
                    format!("vlan {vlan}"),
                    format!("name {}", Vlan::name(*vlan)),
                    "exit".to_owned(),
                ]);
            }
            Change::ActivateVlan(vlan) => {
                lines.push(format!("vlan {vlan}"));
                lines.extend(dialect.revive.iter().map(|line| (*line).to_owned()));
                lines.push("exit".to_owned());
            }
            Change::Port {
                port,
                switch,
                native,
                allowed,
                trunk,
                open,
            } => {
                lines.push(format!("interface {port}"));
                lines.extend(switch.then(|| "switchport".to_owned()));
                // The list before the mode: a trunk without a list lets everything through for a moment.
                lines.extend(allowed.iter().flat_map(allowed_lines));
                lines.extend(native.map(|vlan| format!("switchport trunk native vlan {vlan}")));
                lines.extend(trunk.then(|| "switchport mode trunk".to_owned()));
                // Last, or what was configured before would pass for a moment.
                lines.extend(open.then(|| "no shutdown".to_owned()));
                on_port = true;
            }
            Change::RemoveVlan(vlan) => {
                lines.extend(std::mem::take(&mut on_port).then(|| "exit".to_owned()));
                lines.push(format!("no vlan {vlan}"));
            }
        }
    }
    lines
}

/// The line `interface …` or `vlan …` that the line at `place` belongs to.
pub fn opened_by(commands: &[String], place: usize) -> Option<&str> {
    let mut before = commands.get(..place)?.iter().rev().map(String::as_str);
    let opens = |line: &&str| line.starts_with("interface ") || line.starts_with("vlan ");
    before.find(|line| *line == "exit" || opens(line)).filter(opens)
}

fn allowed_lines(allowed: &VlanSet) -> Vec<String> {
    let mut lists: Vec<String> = Vec::new();
    for range in allowed.ranges() {
        match lists.last_mut() {
            Some(list) if list.len() + range.len() < LIST_WIDTH => {
                list.push(',');
                list.push_str(&range);
            }
            _ => lists.push(range),
        }
    }
    if lists.is_empty() {
        lists.push("none".to_owned());
    }
    let line = |(index, list): (usize, &String)| {
        let add = if index == 0 { "" } else { "add " };
        format!("switchport trunk allowed vlan {add}{list}")
    };
    lists.iter().enumerate().map(line).collect()
}
