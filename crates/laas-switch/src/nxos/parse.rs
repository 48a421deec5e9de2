//! What show commands answer.

use crate::{Mode, Port, PortName, Untouchable, VlanSet, VlanState};
use laas_core::VlanId;
use serde_json::Value;
use std::collections::BTreeMap;

/// The body of `show vlan brief`. A table of one row is the row itself, and numbers may be texts.
pub fn vlans(body: &Value) -> Option<BTreeMap<VlanId, VlanState>> {
    let rows = match body.pointer("/TABLE_vlanbriefxbrief/ROW_vlanbriefxbrief")? {
        Value::Array(rows) => rows.as_slice(),
        row => std::slice::from_ref(row),
    };
    let row = |row: &Value| {
        let text = |key: &str| match row.get(key) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let id = text("vlanshowbr-vlanid-utf").or_else(|| text("vlanshowbr-vlanid"))?;
        let open = text("vlanshowbr-shutstate").is_none_or(|s| s == "noshutdown");
        let active = open && text("vlanshowbr-vlanstate")? == "active";
        Some((id.parse().ok()?, state(active)))
    };
    rows.iter().map(row).collect()
}

/// The same as text: number, name, status and ports in columns.
pub fn vlans_of_text(text: &str) -> Option<BTreeMap<VlanId, VlanState>> {
    let mut vlans = BTreeMap::new();
    for line in text.lines().skip_while(|l| !l.starts_with("----")) {
        let mut words = line.split_whitespace();
        if let Some(Ok(vlan)) = words.next().map(str::parse) {
            // `suspended`, `act/lshut` and `sus/lshut` are the others.
            vlans.insert(vlan, state(words.nth(1)? == "active"));
        }
    }
    (!vlans.is_empty()).then_some(vlans)
}

/// The port's section of `show running-config interface`; `None` if it is not there or can't be understood.
pub fn port(text: &str, name: &PortName) -> Option<Result<Port, Untouchable>> {
    let mut lines = text.lines().skip_while(|line| !opens(line, name));
    lines.next()?;
    let mut port = Port {
        mode: Mode::Routed,
        access: None,
        native: default_vlan(),
        allowed: VlanSet::all(),
    };
    let mut mode = None;
    let mut listed = false;
    for line in lines.take_while(|line| line.starts_with(' ') || line.trim().is_empty()) {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["switchport", "mode", "trunk"] => mode = Some(Mode::Trunk),
            ["switchport", "mode", "access"] => mode = Some(Mode::Access),
            ["switchport", "mode", other @ ..] => {
                return Some(Err(Untouchable(format!("it is in mode `{}`", other.join(" ")))));
            }
            ["channel-group", group, ..] => {
                return Some(Err(Untouchable(format!("it belongs to port channel {group}"))));
            }
            ["no", "switchport"] => mode = Some(Mode::Routed),
            ["switchport", "access", "vlan", vlan] => port.access = Some(vlan.parse().ok()?),
            ["switchport", "trunk", "native", "vlan", vlan] => port.native = vlan.parse().ok()?,
            ["switchport", "trunk", "allowed", "vlan", "add", list @ ..] => {
                port.allowed.extend(set(list)?.iter());
            }
            ["switchport", "trunk", "allowed", "vlan", list @ ..] => {
                let first = set(list)?;
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
    port.mode = mode.unwrap_or(Mode::Routed);
    if port.mode == Mode::Access {
        port.access.get_or_insert_with(default_vlan);
    }
    Some(Ok(port))
}

/// Whether this line opens the port's section. An inventory may say `Eth1/2`, the switch says `Ethernet1/2`.
fn opens(line: &str, name: &PortName) -> bool {
    let split = |text: &str| {
        let digits = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
        let (kind, place) = text.split_at(digits);
        (kind.to_ascii_lowercase(), place.to_owned())
    };
    let (ours, place) = split(name.as_str());
    line.trim_end()
        .strip_prefix("interface ")
        .map(split)
        .is_some_and(|(kind, at)| kind.starts_with(&ours) && at == place)
}

fn set(words: &[&str]) -> Option<VlanSet> {
    match words {
        ["except", list @ ..] => format!("except {}", list.concat()).parse().ok(),
        list => list.concat().parse().ok(),
    }
}

fn state(active: bool) -> VlanState {
    match active {
        true => VlanState::Active,
        false => VlanState::Suspended,
    }
}

/// What every port has that nothing else is configured on.
fn default_vlan() -> VlanId {
    VlanId::try_from(1).expect("a literal within 1 to 4094")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn section(lines: &str) -> Option<Result<Port, Untouchable>> {
        let text = format!(
            "\n!Command: show running-config interface Ethernet1/2\n!Time: Mon Nov 23 10:00:00 2026\n\nversion 9.3(8) \
             Bios:version 07.69 \n\ninterface Ethernet1/2\n{lines}\ninterface Ethernet1/20\n  switchport mode trunk\n"
        );
        port(&text, &"Ethernet1/2".parse().unwrap())
    }

    #[test]
    fn a_section_says_what_is_configured() {
        for (lines, shown) in [
            ("", "no switch port"),
            ("  no switchport\n  ip address 10.0.0.1/24", "no switch port"),
            ("  switchport", "access to 1"),
            ("  switchport\n  switchport access vlan 11", "access to 11"),
            ("  switchport access vlan 11", "access to 11"),
            ("  switchport mode trunk", "trunk of 1-4094 with native 1"),
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
            assert_eq!(section(lines).unwrap().unwrap().to_string(), shown, "{lines}");
        }
    }

    #[test]
    fn what_is_kept_for_another_mode_is_read_too() {
        let port =
            section("  switchport\n  switchport trunk native vlan 7\n  switchport trunk allowed vlan 8");
        let port = port.unwrap().unwrap();
        assert_eq!((port.mode, port.native.get()), (Mode::Access, 7));
        assert_eq!(port.allowed.to_string(), "8");
    }

    #[test]
    fn ports_of_the_switch_itself_are_left_alone() {
        for (lines, word) in [
            ("  switchport mode fex-fabric", "fex-fabric"),
            (
                "  switchport mode trunk\n  channel-group 5 mode active",
                "port channel 5",
            ),
        ] {
            assert!(section(lines).unwrap().unwrap_err().0.contains(word), "{lines}");
        }
    }

    #[test]
    fn a_port_may_be_abbreviated() {
        let text =
            "interface Ethernet1/20\n  switchport\ninterface Ethernet1/2\n  switchport access vlan 7\n";
        for (name, found) in [
            ("Eth1/2", true),
            ("ethernet1/2", true),
            ("e1/2", true),
            ("Po1/2", false),
            ("Eth1/3", false),
        ] {
            let port = port(text, &name.parse().unwrap());
            assert_eq!(
                port.is_some_and(|p| p.is_ok_and(|p| p.access.is_some_and(|v| v.get() == 7))),
                found,
                "{name}"
            );
        }
    }

    #[test]
    fn foreign_text_is_nothing() {
        let name = "Ethernet1/2".parse().unwrap();
        for text in [
            "",
            "<html>",
            "interface Ethernet1/20\n  switchport",
            "interface Ethernet1/2 \u{1b}",
        ] {
            assert_eq!(port(text, &name), None, "{text:?}");
        }
        assert_eq!(section("  switchport trunk allowed vlan x"), None);
        assert_eq!(section("  switchport trunk native vlan 5000"), None);
    }

    #[test]
    fn a_table_of_vlans_has_one_row_or_many() {
        let row = |id: Value, state: &str, shut: &str| {
            json!({"vlanshowbr-vlanid": "16777216", "vlanshowbr-vlanid-utf": id, "vlanshowbr-vlanname": "n",
                   "vlanshowbr-vlanstate": state, "vlanshowbr-shutstate": shut})
        };
        let table = |rows: Value| json!({"TABLE_vlanbriefxbrief": {"ROW_vlanbriefxbrief": rows}});
        let many = json!([
            row(json!("1"), "active", "noshutdown"),
            row(json!(11), "active", "shutdown"),
            row(json!("12"), "suspend", "noshutdown")
        ]);
        let found = vlans(&table(many)).unwrap();
        let states: Vec<_> = found
            .iter()
            .map(|(v, s)| (v.get(), *s == VlanState::Active))
            .collect();
        assert_eq!(states, [(1, true), (11, false), (12, false)]);
        assert_eq!(
            vlans(&table(row(json!("1"), "active", "noshutdown")))
                .unwrap()
                .len(),
            1
        );
        let plain = json!({"vlanshowbr-vlanid": "7", "vlanshowbr-vlanstate": "active"});
        assert_eq!(vlans(&table(plain)).unwrap().len(), 1);
        for foreign in [
            json!(null),
            json!(""),
            json!({}),
            table(json!("x")),
            table(json!([{}])),
        ] {
            assert_eq!(vlans(&foreign), None, "{foreign}");
        }
        let text = "\nVLAN Name                             Status    Ports\n\
            ---- -------------------------------- --------- -------------------------------\n\
            1    default                          active    Eth1/1, Eth1/2\n\
            \x20                                              Eth1/3\n\
            11   laas-11                          act/lshut \n99   VLAN0099                         active    \n";
        let states: Vec<_> = vlans_of_text(text)
            .unwrap()
            .iter()
            .map(|(v, s)| (v.get(), *s == VlanState::Active))
            .collect();
        assert_eq!(states, [(1, true), (11, false), (99, true)]);
        assert_eq!(vlans_of_text("<html>"), None);
    }
}
