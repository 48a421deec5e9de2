//! The configuration of a switch: VLANs and ports, changed line by line. That of an Arista switch differs from that of
//! a Nexus in few words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::vlan_set::{MAX_VLAN, VlanSet};
use crate::cabling::{PortMode, PortState};

/// VLANs from here on are the switch's own; it refuses to create them.
const FIRST_RESERVED_VLAN: u16 = 3968;

/// The first of the range from which an Arista switch takes VLANs for its routed ports.
const EOS_INTERNAL_VLAN: u16 = 1006;

/// So many characters of a VLAN list fit on a line of the configuration; the
/// rest follows on lines with `add`.
const LIST_WIDTH: usize = 60;

/// Whose command line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// `Ethernet1/7`; a port is a switch port because it says so.
    Nxos,
    /// `Ethernet7`; every port is a switch port unless it says otherwise.
    Eos,
}

/// A whole configuration, running or startup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub flavour: Flavour,
    /// A port that does not say otherwise is shut down.
    pub shut_by_default: bool,
    pub vlans: BTreeMap<u16, Vlan>,
    /// By number: the ports are called as [`Flavour`] says.
    pub ports: BTreeMap<u16, Port>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vlan {
    pub name: Option<String>,
    pub active: bool,
}

/// A port as configured. What an access port has as trunk is kept, as on the
/// real switch, and the other way round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub description: Option<String>,
    pub switchport: bool,
    pub shutdown: bool,
    pub mode: PortMode,
    pub access: u16,
    pub native: u16,
    pub allowed: VlanSet,
}

/// Why a line was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineError {
    /// The parser of the command line does not know it.
    Syntax(String),
    /// It was understood and could not be done.
    Execution(String),
}

/// What the following lines apply to.
#[derive(Debug, Clone, Default)]
pub enum Context {
    #[default]
    Global,
    Vlans(Vec<u16>),
    Ports(Vec<u16>),
}

impl Default for Port {
    fn default() -> Self {
        Self {
            description: None,
            switchport: true,
            shutdown: false,
            mode: PortMode::Access,
            access: 1,
            native: 1,
            allowed: VlanSet::all(),
        }
    }
}

impl Default for Vlan {
    fn default() -> Self {
        Self {
            name: None,
            active: true,
        }
    }
}

impl Config {
    /// A switch with this many ports as a previous tenant left it: trunks with
    /// native and allowed VLANs that nobody wants any more.
    pub fn left_over(flavour: Flavour, ports: u16) -> Self {
        let old_tenant = 300..=309;
        let vlan = |vlan: u16| (vlan, Vlan::default());
        let port = |number: u16| {
            let port = Port {
                description: Some(format!("old-tenant-{number}")),
                mode: PortMode::Trunk,
                native: 300 + number % 10,
                allowed: VlanSet::from_iter(old_tenant.clone()),
                ..Port::default()
            };
            (number, port)
        };
        Self {
            flavour,
            shut_by_default: false,
            vlans: [1, 98, 99]
                .into_iter()
                .chain(old_tenant.clone())
                .map(vlan)
                .collect(),
            ports: (1..=ports).map(port).collect(),
        }
    }

    /// What each port carries by this configuration.
    pub fn carried(&self) -> impl Iterator<Item = (String, PortState)> {
        let active: VlanSet = self
            .vlans
            .iter()
            .filter(|(_, vlan)| vlan.active)
            .map(|(vlan, _)| *vlan)
            .collect();
        self.ports.iter().map(move |(number, port)| {
            let allowed = match port.mode {
                _ if port.shutdown || !port.switchport => VlanSet::none(),
                PortMode::Access => VlanSet::from_iter([port.access]).intersection(&active),
                PortMode::Trunk => port.allowed.intersection(&active),
            };
            let untagged = match port.mode {
                PortMode::Access => port.access,
                PortMode::Trunk => port.native,
            };
            let native = Some(untagged).filter(|vlan| allowed.contains(*vlan));
            (
                self.flavour.port_name(*number),
                PortState {
                    mode: port.mode,
                    native,
                    allowed,
                },
            )
        })
    }

    /// Takes one line; `context` is what the lines before it opened.
    pub fn apply(&mut self, context: &mut Context, line: &str) -> Result<(), LineError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (no, words) = match words.as_slice() {
            ["no", rest @ ..] => (true, rest),
            all => (false, all),
        };
        match words {
            ["configure", "terminal"] | ["conf", "t"] | ["end"] => *context = Context::Global,
            ["exit"] => *context = Context::Global,
            ["system", "default", "switchport", "shutdown"] if self.flavour == Flavour::Nxos => {
                // What was as the default is, has no line of its own and goes with it.
                let before = std::mem::replace(&mut self.shut_by_default, !no);
                for port in self.ports.values_mut().filter(|port| port.shutdown == before) {
                    port.shutdown = !no;
                }
            }
            ["vlan", list @ ..] => *context = self.vlans(no, &list.concat())?,
            ["interface", list @ ..] if !no && !list.is_empty() => {
                *context = Context::Ports(self.find_ports(&list.concat())?);
            }
            _ => match context {
                Context::Global => return Err(invalid_command()),
                Context::Vlans(vlans) => {
                    for vlan in vlans {
                        // A VLAN is suspended there, never shut down.
                        if self.flavour == Flavour::Eos && words == ["shutdown"] {
                            return Err(invalid_command());
                        }
                        configure_vlan(self.vlans.entry(*vlan).or_default(), no, words)?;
                    }
                }
                Context::Ports(ports) => {
                    for port in ports {
                        configure_port(self.ports.entry(*port).or_default(), no, words)?;
                    }
                }
            },
        }
        Ok(())
    }

    fn vlans(&mut self, no: bool, list: &str) -> Result<Context, LineError> {
        let vlans = parse_list(list)?;
        for vlan in vlans.iter() {
            match (no, vlan) {
                (true, 1) => return Err(execution("ERROR: Deletion of VLAN 1 is not allowed")),
                (true, _) => {
                    self.vlans.remove(&vlan);
                }
                (false, FIRST_RESERVED_VLAN..) if self.flavour == Flavour::Nxos => {
                    return Err(execution("ERROR: Internal or reserved VLAN"));
                }
                // Its routed uplink has it.
                (false, EOS_INTERNAL_VLAN) if self.flavour == Flavour::Eos => {
                    return Err(execution(&format!("VLAN {vlan} is used internally")));
                }
                (false, _) => {
                    self.vlans.entry(vlan).or_default();
                }
            }
        }
        Ok(if no {
            Context::Global
        } else {
            Context::Vlans(vlans.iter().collect())
        })
    }

    /// The ports of `Ethernet1/1`, `Eth1/1-3` or `e1/1,e1/5`, without `1/` on an Arista switch.
    pub fn find_ports(&self, text: &str) -> Result<Vec<u16>, LineError> {
        let mut found = Vec::new();
        for part in text.split(',') {
            let lower = part.to_ascii_lowercase();
            let digits = lower
                .find(|letter: char| letter.is_ascii_digit())
                .unwrap_or(lower.len());
            let (kind, place) = lower.split_at(digits);
            if kind.is_empty() || !"ethernet".starts_with(kind) {
                return Err(invalid_interface());
            }
            let ports = match self.flavour {
                Flavour::Nxos => place.strip_prefix("1/").ok_or_else(invalid_interface)?,
                Flavour::Eos => place,
            };
            let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
            let number = |text: &str| text.parse::<u16>().map_err(|_| invalid_interface());
            for port in number(first)?..=number(last)? {
                if !self.ports.contains_key(&port) {
                    return Err(invalid_interface());
                }
                found.push(port);
            }
        }
        Ok(found)
    }

    /// The section of a port as `show running-config` prints it: defaults are
    /// not shown, and a long list of VLANs takes several lines.
    pub fn port_section(&self, number: u16) -> String {
        let Some(port) = self.ports.get(&number) else {
            return String::new();
        };
        let mut text = format!("interface {}\n", self.flavour.port_name(number));
        let eos = self.flavour == Flavour::Eos;
        let mut line = |line: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}{line}", if eos { "   " } else { "  " });
        };
        if let Some(description) = &port.description {
            line(format_args!("description {description}"));
        }
        match port.switchport {
            true if eos => {}
            true => line(format_args!("switchport")),
            false => line(format_args!("no switchport")),
        }
        if port.mode == PortMode::Trunk {
            line(format_args!("switchport mode trunk"));
        }
        if port.access != 1 {
            line(format_args!("switchport access vlan {}", port.access));
        }
        if port.native != 1 {
            line(format_args!("switchport trunk native vlan {}", port.native));
        }
        if port.allowed != VlanSet::all() {
            let list = port.allowed.to_string();
            let lines = if eos { vec![list] } else { wrapped(&list) };
            for (index, list) in lines.iter().enumerate() {
                let add = if index == 0 { "" } else { "add " };
                line(format_args!("switchport trunk allowed vlan {add}{list}"));
            }
        }
        if port.shutdown != self.shut_by_default {
            line(format_args!("{}shutdown", if port.shutdown { "" } else { "no " }));
        }
        text
    }
}

impl Flavour {
    /// The name of a port as the switch writes it.
    pub fn port_name(self, number: u16) -> String {
        match self {
            Self::Nxos => format!("Ethernet1/{number}"),
            Self::Eos => format!("Ethernet{number}"),
        }
    }
}

fn configure_vlan(vlan: &mut Vlan, no: bool, words: &[&str]) -> Result<(), LineError> {
    match (no, words) {
        (false, ["name", name]) => vlan.name = Some((*name).into()),
        (true, ["name", ..]) => vlan.name = None,
        (false, ["state", state @ ("active" | "suspend")]) => vlan.active = *state == "active",
        (true, ["state", ..]) => vlan.active = true,
        (_, ["shutdown"]) => vlan.active = no,
        _ => return Err(invalid_command()),
    }
    Ok(())
}

fn configure_port(port: &mut Port, no: bool, words: &[&str]) -> Result<(), LineError> {
    match (no, words) {
        (false, ["description", words @ ..]) if !words.is_empty() => {
            port.description = Some(words.join(" "));
        }
        (true, ["description", ..]) => port.description = None,
        (_, ["shutdown"]) => port.shutdown = !no,
        (_, ["switchport"]) => port.switchport = !no,
        (false, ["switchport", "mode", "access"]) => port.mode = PortMode::Access,
        (false, ["switchport", "mode", "trunk"]) => port.mode = PortMode::Trunk,
        (true, ["switchport", "mode", ..]) => port.mode = PortMode::Access,
        (false, ["switchport", "access", "vlan", vlan]) => port.access = parse_one(vlan)?,
        (true, ["switchport", "access", "vlan", ..]) => port.access = 1,
        (false, ["switchport", "trunk", "native", "vlan", vlan]) => port.native = parse_one(vlan)?,
        (true, ["switchport", "trunk", "native", "vlan", ..]) => port.native = 1,
        (true, ["switchport", "trunk", "allowed", "vlan", ..]) => port.allowed = VlanSet::all(),
        (false, ["switchport", "trunk", "allowed", "vlan", list @ ..]) => {
            port.allowed = match list {
                ["none"] => VlanSet::none(),
                ["all"] => VlanSet::all(),
                ["except", list @ ..] => VlanSet::all().difference(&parse_list(&list.concat())?),
                ["add", list @ ..] => port.allowed.union(&parse_list(&list.concat())?),
                ["remove", list @ ..] => port.allowed.difference(&parse_list(&list.concat())?),
                list => parse_list(&list.concat())?,
            };
        }
        _ => return Err(invalid_command()),
    }
    Ok(())
}

fn parse_one(text: &str) -> Result<u16, LineError> {
    let number = text.parse().ok().filter(|vlan| (1..=MAX_VLAN).contains(vlan));
    number.ok_or_else(|| LineError::Syntax("% Invalid number, range is (1:4094)\n".into()))
}

fn parse_list(text: &str) -> Result<VlanSet, LineError> {
    VlanSet::parse(text).ok_or_else(|| LineError::Syntax("% Invalid Vlan Range\n".into()))
}

fn invalid_command() -> LineError {
    LineError::Syntax("% Invalid command\n".into())
}

fn invalid_interface() -> LineError {
    LineError::Syntax("% Invalid interface format\n".into())
}

fn execution(text: &str) -> LineError {
    LineError::Execution(format!("{text}\n"))
}

/// Cuts a list at its commas into lines.
fn wrapped(list: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in list.split(',') {
        match lines.last_mut() {
            Some(line) if line.len() + part.len() < LIST_WIDTH => {
                line.push(',');
                line.push_str(part);
            }
            _ => lines.push(part.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(lines: &[&str]) -> Result<Config, LineError> {
        let mut config = Config::left_over(Flavour::Nxos, 4);
        let mut context = Context::default();
        for line in lines {
            config.apply(&mut context, line)?;
        }
        Ok(config)
    }

    #[test]
    fn lists_of_allowed_vlans_change_as_on_a_switch() {
        for (words, allowed) in [
            ("11", "11"),
            ("11,103-105", "11,103-105"),
            ("add 11", "11,300-309"),
            ("remove 300-308", "309"),
            ("none", "none"),
            ("all", "1-4094"),
            ("except 2-4094", "1"),
        ] {
            let line = format!("switchport trunk allowed vlan {words}");
            let config = configured(&["interface Ethernet1/2", &line]).expect(words);
            assert_eq!(config.ports[&2].allowed.to_string(), allowed, "{words}");
        }
    }

    #[test]
    fn what_a_switch_does_not_know_it_refuses() {
        for lines in [
            &["switchport mode trunk"][..],
            &["interface Ethernet1/5"],
            &["interface Ethernet2/1"],
            &["interface"],
            &["interface Vlan99"],
            &["interface Ethernet1/1", "switchport access vlan 4095"],
            &["interface Ethernet1/1", "switchport access vlan 0"],
            &["interface Ethernet1/1", "switchport trunk allowed vlan"],
            &["interface Ethernet1/1", "switchport trunk allowed vlan add"],
            &["interface Ethernet1/1", "swichport mode trunk"],
            &["vlan 4095"],
            &["vlan 4000"],
            &["no vlan 1"],
            &["vlan 11", "switchport"],
        ] {
            assert!(configured(lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn a_vlan_passes_only_where_it_exists_and_is_let_through() {
        let port = |lines: &[&str]| {
            let lines = [&["interface Eth1/1"], lines].concat();
            configured(&lines)
                .expect("valid lines")
                .carried()
                .next()
                .expect("a port")
                .1
        };
        let access = port(&["switchport mode access", "switchport access vlan 99"]);
        assert!(access.carries(99, false) && !access.carries(99, true));
        assert!(!port(&["switchport mode access", "switchport access vlan 77"]).carries(77, false));
        let trunk = port(&[
            "switchport trunk native vlan 99",
            "switchport trunk allowed vlan 98,99",
        ]);
        assert!(trunk.carries(99, false) && trunk.carries(98, true) && !trunk.carries(300, true));
        assert!(
            !port(&["switchport trunk native vlan 99"]).carries(99, false),
            "not allowed"
        );
        for down in ["shutdown", "no switchport"] {
            assert_eq!(port(&[down]).native, None, "{down}");
        }
    }

    #[test]
    fn a_port_is_shown_so_that_it_can_be_typed_in_again() {
        let odd = (1..200)
            .map(|vlan| (vlan * 2).to_string())
            .collect::<Vec<_>>()
            .join(",");
        let line = format!("switchport trunk allowed vlan {odd}");
        let before = configured(&["interface e1/1", &line, "shutdown"]).expect("valid lines");
        let section = before.port_section(1);
        assert!(section.contains("allowed vlan add "), "{section}");
        let mut after = Config::left_over(Flavour::Nxos, 4);
        after.ports.insert(1, Port::default());
        let mut context = Context::default();
        for line in section.lines() {
            after.apply(&mut context, line).expect(line);
        }
        assert_eq!(after, before);
    }
}
