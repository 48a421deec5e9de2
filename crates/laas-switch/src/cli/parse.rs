//! Sections of a running configuration.

use super::Dialect;
use crate::{Mode, Port, PortName, Untouchable, Vlan, VlanSet};
use laas_core::VlanId;
use std::collections::{BTreeMap, BTreeSet};

/// What the configuration says of the ports that were asked for, and which VLANs everything else holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ports {
    pub ports: BTreeMap<PortName, Port>,
    pub untouchable: BTreeMap<PortName, Untouchable>,
    pub elsewhere: VlanSet,
}

struct Section<'a> {
    /// The line that opens it.
    head: &'a str,
    lines: Vec<&'a str>,
}

/// The ports in a running configuration that holds all interfaces of the switch; `None` if it holds none.
pub fn ports(text: &str, asked: &BTreeSet<PortName>, dialect: Dialect) -> Option<Ports> {
    let mut found = Ports::default();
    let mut any = false;
    for section in sections(text) {
        let Some(interface) = section.head.strip_prefix("interface ") else {
            continue;
        };
        any = true;
        let names: Vec<&PortName> = asked.iter().filter(|name| name.is_same(interface)).collect();
        let read = match names.as_slice() {
            [] => Err(Untouchable("nobody asked for it".to_owned())),
            [_] => port(&section.lines, dialect),
            _ => Err(Untouchable(format!(
                "the inventory has several names for `{interface}`"
            ))),
        };
        match read {
            Ok(port) => drop(found.ports.insert(names[0].clone(), port)),
            Err(why) => {
                found.elsewhere.extend(held(interface, &section.lines).iter());
                let names = names.into_iter().cloned();
                found.untouchable.extend(names.map(|name| (name, why.clone())));
            }
        }
    }
    for name in asked {
        if !found.ports.contains_key(name) {
            let missing = || Untouchable("the switch has no such port".to_owned());
            found.untouchable.entry(name.clone()).or_insert_with(missing);
        }
    }
    any.then_some(found)
}

/// The VLANs in a running configuration; VLAN 1 is there without a word. `None` if a list can't be understood.
pub fn config_vlans(text: &str) -> Option<BTreeMap<VlanId, Vlan>> {
    let mut vlans = BTreeMap::from([(default_vlan(), Vlan::new(default_vlan(), "default", true))]);
    for section in sections(text) {
        let Some(list) = section.head.strip_prefix("vlan ") else {
            continue;
        };
        // `vlan internal order …` and other settings are no VLANs.
        if !list.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let said = |word: &str| {
            section
                .lines
                .iter()
                .find_map(|line| line.trim().strip_prefix(word))
        };
        let active = said("state suspend").is_none() && said("shutdown").is_none();
        for id in set(&[list])?.iter() {
            vlans.insert(
                id,
                Vlan::new(id, said("name ").unwrap_or_default().trim(), active),
            );
        }
    }
    Some(vlans)
}

/// Lines that begin at the margin open a section; what is indented belongs to it.
fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match (line.starts_with(' '), sections.last_mut()) {
            (true, Some(section)) => section.lines.push(line),
            (true, None) => {}
            (false, _) => sections.push(Section {
                head: line.trim_end(),
                lines: Vec::new(),
            }),
        }
    }
    sections
}

/// One port, from the lines of its section.
fn port(lines: &[&str], dialect: Dialect) -> Result<Port, Untouchable> {
    let mut port = Port {
        mode: Mode::Routed,
        access: None,
        native: default_vlan(),
        allowed: VlanSet::all(),
        shutdown: false,
    };
    let (mut mode, mut shutdown) = (None, None);
    let (mut listed, mut routed) = (false, false);
    for line in lines {
        let unclear = || Untouchable(format!("`{}` can't be understood", line.trim()));
        let list = |words: &[&str]| set(words).ok_or_else(unclear);
        let one = |word: &str| word.parse().map_err(|_| unclear());
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["switchport", "mode", "trunk"] => mode = Some(Mode::Trunk),
            ["switchport", "mode", "access"] => mode = Some(Mode::Access),
            ["switchport", "mode", other @ ..] => {
                return Err(Untouchable(format!("it is in mode `{}`", other.join(" "))));
            }
            ["channel-group", group, ..] => {
                return Err(Untouchable(format!("it belongs to port channel {group}")));
            }
            // The lines for a switch port may be kept beside it.
            ["no", "switchport"] => routed = true,
            ["shutdown"] => shutdown = Some(true),
            ["no", "shutdown"] => shutdown = Some(false),
            ["switchport", "access", "vlan", vlan] => port.access = Some(one(vlan)?),
            ["switchport", "trunk", "native", "vlan", vlan] => port.native = one(vlan)?,
            ["switchport", "trunk", "allowed", "vlan", "add", vlans @ ..] => {
                port.allowed.extend(list(vlans)?.iter());
            }
            ["switchport", "trunk", "allowed", "vlan", vlans @ ..] => {
                let first = list(vlans)?;
                match listed {
                    // Some releases repeat the line without `add` where it was too long.
                    true => port.allowed.extend(first.iter()),
                    false => port.allowed = first,
                }
                listed = true;
            }
            _ => {}
        }
        if mode.is_none() && words.first() == Some(&"switchport") {
            mode = Some(Mode::Access);
        }
    }
    port.mode = match routed {
        true => Mode::Routed,
        false => mode.unwrap_or(dialect.plain),
    };
    port.shutdown = shutdown.unwrap_or(dialect.shut && port.mode != Mode::Routed);
    if port.mode == Mode::Access {
        port.access.get_or_insert_with(default_vlan);
    }
    Ok(port)
}

/// Every VLAN that an interface of any kind carries or names. Rather one too many: what is held is not removed.
fn held(interface: &str, lines: &[&str]) -> VlanSet {
    let mut held = VlanSet::default();
    let (mut trunk, mut listed) = (false, false);
    let own = interface.to_ascii_lowercase();
    held.extend(own.strip_prefix("vlan").and_then(|id| id.trim().parse().ok()));
    for line in lines {
        let words: Vec<_> = line.split_whitespace().collect();
        trunk |= words.starts_with(&["switchport", "mode"]) && words.contains(&"trunk");
        listed |= words.starts_with(&["switchport", "trunk", "allowed"]);
        if !words
            .iter()
            .any(|word| word.contains("vlan") || word.contains("dot1q"))
        {
            continue;
        }
        match words.iter().position(|word| *word == "except") {
            Some(place) => held.extend(set(&words[place..]).unwrap_or_else(VlanSet::all).iter()),
            None => held.extend(
                words
                    .iter()
                    .filter_map(|word| set(&[word.trim_matches(',')]))
                    .flat_map(|set| set.iter().collect::<Vec<_>>()),
            ),
        }
    }
    if trunk && !listed {
        return VlanSet::all();
    }
    held
}

fn set(words: &[&str]) -> Option<VlanSet> {
    match words {
        ["except", list @ ..] => format!("except {}", list.concat()).parse().ok(),
        list => list.concat().parse().ok(),
    }
}

/// What every port has that nothing else is configured on.
fn default_vlan() -> VlanId {
    VlanId::try_from(1).expect("a literal within 1 to 4094")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NXOS: Dialect = Dialect {
        plain: Mode::Routed,
        shut: false,
        revive: &[],
    };

    fn asked(names: &[&str]) -> BTreeSet<PortName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn section(lines: &str) -> Result<Port, Untouchable> {
        section_in(lines, NXOS)
    }

    fn section_in(lines: &str, dialect: Dialect) -> Result<Port, Untouchable> {
        let text = format!(
            "\n!Command: show running-config interface\n!Time: Mon Nov 23 10:00:00 2026\n\nversion 9.3(8) \
             Bios:version 07.69 \n\ninterface Ethernet1/2\n{lines}\ninterface Ethernet1/20\n  switchport mode trunk\n"
        );
        let mut found = ports(&text, &asked(&["Ethernet1/2"]), dialect).unwrap();
        match found.ports.pop_first() {
            Some((_, port)) => Ok(port),
            None => Err(found.untouchable.pop_first().unwrap().1),
        }
    }

    #[test]
    fn a_section_says_what_is_configured() {
        for (lines, shown) in [
            ("", "no switch port"),
            ("  no switchport\n  ip address 10.0.0.1/24", "no switch port"),
            (
                "  no switchport\n  switchport mode trunk\n  switchport trunk allowed vlan 11",
                "no switch port",
            ),
            ("  switchport", "access to 1"),
            ("  switchport\n  switchport access vlan 11", "access to 11"),
            ("  switchport access vlan 11", "access to 11"),
            ("  switchport mode trunk", "trunk of 1-4094 with native 1"),
            ("  switchport\n  shutdown", "access to 1, shut down"),
            (
                "  switchport mode trunk\n  switchport trunk allowed vlan 7\n  shutdown",
                "trunk of 7 with native 1, shut down",
            ),
            (
                "  description a b\n  switchport\n  switchport mode trunk\n  switchport trunk native vlan 302\n  \
                 switchport trunk allowed vlan 300-309,311\n  spanning-tree port type edge trunk\n  no shutdown",
                "trunk of 300-309,311 with native 302",
            ),
            (
                "  switchport mode trunk\n  switchport trunk allowed vlan 1,3\n  switchport trunk allowed vlan add 5-6",
                "trunk of 1,3,5-6 with native 1",
            ),
            (
                "  switchport mode trunk\n  switchport trunk allowed vlan none",
                "trunk of none with native 1",
            ),
            (
                "  switchport mode trunk\n  switchport trunk allowed vlan all",
                "trunk of 1-4094 with native 1",
            ),
            (
                "  switchport mode trunk\n  switchport trunk allowed vlan except 2-4094",
                "trunk of 1 with native 1",
            ),
        ] {
            assert_eq!(section(lines).unwrap().to_string(), shown, "{lines}");
        }
        let arista = Dialect {
            plain: Mode::Access,
            ..NXOS
        };
        assert_eq!(section_in("!", arista).unwrap().to_string(), "access to 1");
        assert_eq!(
            section_in("   no switchport\n!", arista).unwrap().mode,
            Mode::Routed
        );
    }

    #[test]
    fn a_switch_may_shut_every_port_that_does_not_say_otherwise() {
        let shut = Dialect { shut: true, ..NXOS };
        for (lines, expected) in [
            ("  switchport", true),
            ("  switchport\n  no shutdown", false),
            ("  switchport\n  shutdown", true),
            ("  no switchport", false),
        ] {
            assert_eq!(section_in(lines, shut).unwrap().shutdown, expected, "{lines}");
        }
    }

    #[test]
    fn what_is_kept_for_another_mode_is_read_too() {
        let port =
            section("  switchport\n  switchport trunk native vlan 7\n  switchport trunk allowed vlan 8");
        let port = port.unwrap();
        assert_eq!((port.mode, port.native.get()), (Mode::Access, 7));
        assert_eq!(port.allowed.to_string(), "8");
    }

    #[test]
    fn ports_of_the_switch_itself_and_riddles_are_left_alone() {
        for (lines, word) in [
            ("  switchport mode fex-fabric", "fex-fabric"),
            (
                "  switchport mode trunk\n  channel-group 5 mode active",
                "port channel 5",
            ),
            ("  switchport trunk allowed vlan x", "allowed vlan x"),
            ("  switchport trunk native vlan 5000", "native vlan 5000"),
            ("  switchport trunk native vlan tag", "native vlan tag"),
        ] {
            let why = section(lines).unwrap_err().0;
            assert!(why.contains(word), "{lines}: {why}");
        }
    }

    #[test]
    fn a_port_may_be_abbreviated_and_has_one_name() {
        let text =
            "interface Ethernet1/20\n  switchport\ninterface Ethernet1/2\n  switchport access vlan 7\n";
        for (name, found) in [
            ("Eth1/2", true),
            ("ethernet1/2", true),
            ("e1/2", true),
            ("Po1/2", false),
            ("Eth1/3", false),
        ] {
            let read = ports(text, &asked(&[name]), NXOS).unwrap();
            assert_eq!(read.ports.len() == 1, found, "{name}");
            assert_eq!(read.untouchable.len() == 1, !found, "{name}");
        }
        let twice = ports(text, &asked(&["Eth1/2", "Ethernet1/2"]), NXOS).unwrap();
        assert_eq!((twice.ports.len(), twice.untouchable.len()), (0, 2));
    }

    #[test]
    fn foreign_text_is_nothing() {
        for text in ["", "<html>", "% Invalid command"] {
            assert_eq!(ports(text, &asked(&["Ethernet1/2"]), NXOS), None, "{text:?}");
        }
    }

    #[test]
    fn what_others_hold_is_known() {
        for (other, held) in [
            ("interface Vlan11\n  ip address 10.11.0.1/24", "11"),
            (
                "interface port-channel5\n  switchport mode trunk\n  switchport trunk allowed vlan 103,104-105",
                "103-105",
            ),
            ("interface port-channel5\n  switchport mode trunk", "1-4094"),
            (
                "interface Ethernet1/48\n  switchport\n  switchport access vlan 7",
                "7",
            ),
            (
                "interface Ethernet1/48\n  switchport trunk allowed vlan 8\n  switchport trunk allowed vlan add 9",
                "8-9",
            ),
            (
                "interface Ethernet1/48\n  switchport mode trunk\n  switchport trunk allowed vlan except 2-4094",
                "1",
            ),
            (
                "interface Ethernet1/48\n  switchport mode trunk\n  switchport trunk allowed vlan none",
                "none",
            ),
            ("interface Ethernet1/48.11\n  encapsulation dot1q 12", "12"),
            (
                "interface Ethernet1/48\n  switchport private-vlan host-association 100 101",
                "100-101",
            ),
            ("interface mgmt0\n  ip address 10.0.0.1/24", "none"),
            ("interface Ethernet1/48\n  description 13", "none"),
        ] {
            let text = format!("interface Ethernet1/2\n  switchport access vlan 300\n\n{other}\n");
            let read = ports(&text, &asked(&["Ethernet1/2"]), NXOS).unwrap();
            assert_eq!(read.elsewhere.to_string(), held, "{other}");
        }
    }

    #[test]
    fn vlans_have_names_and_states() {
        let text = "vlan internal order ascending range 1006 1199\n!\nvlan 11\n   name laas-11\n!\nvlan 12-13,20\n!\n\
            vlan 103\n   name laas-11\n   state suspend\n!\ninterface Vlan99\n";
        let found: Vec<_> = config_vlans(text)
            .unwrap()
            .into_iter()
            .map(|(id, vlan)| (id.get(), vlan.state == crate::VlanState::Active, vlan.ours))
            .collect();
        let plain = |id| (id, true, false);
        assert_eq!(
            found,
            [
                plain(1),
                (11, true, true),
                plain(12),
                plain(13),
                plain(20),
                (103, false, false)
            ]
        );
        assert_eq!(config_vlans("vlan 1x\n"), None);
    }
}
