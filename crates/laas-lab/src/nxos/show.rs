//! What the show commands answer, as JSON and as text.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::config::{Config, LineError};
use crate::cabling::PortMode;

/// The release whose guides were read.
const RELEASE: &str = "9.3(8)";

/// How a show command answers.
pub enum Shown {
    Structured(Value),
    /// There is no JSON for it.
    Text(String),
}

/// Answers one show command.
pub fn show(config: &Config, startup: &Config, command: &str) -> Result<Shown, LineError> {
    let words: Vec<&str> = command.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["show", "version"] => Shown::Structured(version()),
        ["show", "vlan", "brief"] => Shown::Structured(vlan_brief(config)),
        ["show", "interface", "switchport"] => {
            let all: Vec<u16> = config.ports.keys().copied().collect();
            Shown::Structured(switchport(config, &all))
        }
        ["show", "interface", port @ .., "switchport"] => {
            Shown::Structured(switchport(config, &config.find_ports(&port.concat())?))
        }
        ["show", "running-config", "diff"] => {
            Shown::Text(format!("\n!Command: {command}\n\n{}", diff(startup, config)))
        }
        ["show", "running-config", "interface"] => {
            let ports = config.ports.keys().map(|port| config.port_section(*port));
            let own = ["interface mgmt0\n  vrf member management\n".to_owned()];
            let sections: Vec<_> = ports.chain(own).collect();
            Shown::Text(running_config(command, &sections.join("\n")))
        }
        ["show", "running-config", "interface", port @ ..] => {
            let ports = config.find_ports(&port.concat())?;
            let sections = ports.iter().map(|port| config.port_section(*port));
            Shown::Text(running_config(command, &sections.collect::<Vec<_>>().join("\n")))
        }
        ["show", "running-config"] => Shown::Text(running_config(command, &whole(config))),
        _ => return Err(LineError::Syntax("% Invalid command\n".into())),
    })
}

/// The same as a person sees it; for what has JSON the lab prints that.
pub fn show_text(config: &Config, startup: &Config, command: &str) -> Result<String, LineError> {
    Ok(match show(config, startup, command)? {
        Shown::Text(text) => text,
        Shown::Structured(value) => format!("{value:#}\n"),
    })
}

/// The whole configuration.
pub fn whole(config: &Config) -> String {
    let vlans = config.vlans.iter().map(|(vlan, settings)| {
        let name = settings.name.as_ref().map(|name| format!("  name {name}\n"));
        let state = if settings.active { "" } else { "  state suspend\n" };
        format!("vlan {vlan}\n{}{state}", name.unwrap_or_default())
    });
    let ports = config.ports.keys().map(|port| config.port_section(*port));
    let default = config
        .shut_by_default
        .then(|| "system default switchport shutdown\n\n".to_owned());
    vlans.chain(default).chain(ports).collect()
}

/// What a restart would change; nothing if all is saved.
fn diff(startup: &Config, running: &Config) -> String {
    let [startup, running] = [whole(startup), whole(running)];
    if startup == running {
        return String::new();
    }
    let marked = |mark: char, text: &str| {
        let lines = text.lines().map(|line| format!("{mark} {line}\n"));
        lines.collect::<String>()
    };
    format!(
        "*** Startup-config\n--- Running-config\n***************\n{}---\n{}",
        marked('-', &startup),
        marked('+', &running)
    )
}

fn version() -> Value {
    json!({
        "header_str": "Cisco Nexus Operating System (NX-OS) Software\n",
        "nxos_ver_str": RELEASE,
        "chassis_id": "Nexus9000 C93180YC-EX chassis",
        "host_name": "lab-switch",
        "manufacturer": "Cisco Systems, Inc.",
    })
}

fn vlan_brief(config: &Config) -> Value {
    let states: Vec<_> = config.carried().collect();
    let rows = config.vlans.iter().map(|(vlan, settings)| {
        let name = settings.name.clone().unwrap_or_else(|| match vlan {
            1 => "default".into(),
            _ => format!("VLAN{vlan:04}"),
        });
        let mut row = json!({
            "vlanshowbr-vlanid": vlan.to_string(),
            "vlanshowbr-vlanid-utf": vlan.to_string(),
            "vlanshowbr-vlanname": name,
            "vlanshowbr-vlanstate": if settings.active { "active" } else { "suspend" },
            "vlanshowbr-shutstate": "noshutdown",
        });
        let ports: Vec<&str> = states
            .iter()
            .filter(|(_, state)| state.allowed.contains(*vlan))
            .map(|(port, _)| port.as_str())
            .collect();
        // Absent, one text or a list, by how many there are.
        match ports.len() {
            0 => {}
            1..=4 => row["vlanshowplist-ifidx"] = ports.join(",").into(),
            _ => {
                let lines = ports.chunks(4).map(|line| line.join(","));
                row["vlanshowplist-ifidx"] = lines.collect::<Vec<_>>().into();
            }
        }
        row
    });
    table("vlanbriefxbrief", rows.collect())
}

fn switchport(config: &Config, ports: &[u16]) -> Value {
    let vlan_name = |vlan: u16| match config.vlans.get(&vlan) {
        None => "Vlan not created".to_owned(),
        Some(settings) => settings.name.clone().unwrap_or_else(|| match vlan {
            1 => "default".into(),
            _ => format!("VLAN{vlan:04}"),
        }),
    };
    let rows = ports.iter().filter_map(|number| {
        let port = config.ports.get(number)?;
        let mode = match port.mode {
            PortMode::Access => "access",
            PortMode::Trunk => "trunk",
        };
        // Numbers come as numbers or as texts, as on the real switch.
        Some(json!({
            "interface": config.flavour.port_name(*number),
            "switchport": if port.switchport { "Enabled" } else { "Disabled" },
            "switchport_monitor": "Not enabled",
            "oper_mode": if port.shutdown { "down" } else { mode },
            "access_vlan": port.access.to_string(),
            "access_vlan_name": vlan_name(port.access),
            "native_vlan": port.native,
            "native_vlan_name": vlan_name(port.native),
            "trunk_vlans": port.allowed.to_string(),
        }))
    });
    table("interface", rows.collect())
}

/// A table of one row is the row itself.
fn table(name: &str, mut rows: Vec<Value>) -> Value {
    let content = if rows.len() == 1 {
        rows.remove(0)
    } else {
        rows.into()
    };
    json!({ format!("TABLE_{name}"): { format!("ROW_{name}"): content } })
}

fn running_config(command: &str, sections: &str) -> String {
    let format = format_description!(
        "[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"
    );
    let now = OffsetDateTime::now_utc().format(format).unwrap_or_default();
    format!("\n!Command: {command}\n!Time: {now}\n\nversion {RELEASE} Bios:version 07.69 \n\n{sections}\n")
}
