//! What show commands answer.

use crate::Vlan;
use laas_core::VlanId;
use serde_json::Value;
use std::collections::BTreeMap;

/// The body of `show vlan brief`. A table of one row is the row itself, and numbers may be texts.
pub fn vlans(body: &Value) -> Option<BTreeMap<VlanId, Vlan>> {
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
        let id: VlanId = id.parse().ok()?;
        let open = text("vlanshowbr-shutstate").is_none_or(|s| s == "noshutdown");
        let active = open && text("vlanshowbr-vlanstate")? == "active";
        let name = text("vlanshowbr-vlanname").unwrap_or_default();
        Some((id, Vlan::new(id, &name, active)))
    };
    rows.iter().map(row).collect()
}

/// The same as text: number, name, status and ports in columns.
pub fn vlans_of_text(text: &str) -> Option<BTreeMap<VlanId, Vlan>> {
    let mut vlans = BTreeMap::new();
    for line in text.lines().skip_while(|l| !l.starts_with("----")) {
        let mut words = line.split_whitespace();
        if let Some(Ok(id)) = words.next().map(str::parse) {
            let name = words.next()?;
            // `suspended`, `act/lshut` and `sus/lshut` are the others.
            vlans.insert(id, Vlan::new(id, name, words.next()? == "active"));
        }
    }
    (!vlans.is_empty()).then_some(vlans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VlanState;
    use serde_json::json;

    #[test]
    fn a_table_of_vlans_has_one_row_or_many() {
        let row = |id: Value, state: &str, shut: &str| {
            json!({"vlanshowbr-vlanid": "16777216", "vlanshowbr-vlanid-utf": id, "vlanshowbr-vlanname": "laas-11",
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
            .map(|(id, vlan)| (id.get(), vlan.state == VlanState::Active, vlan.ours))
            .collect();
        assert_eq!(states, [(1, true, false), (11, false, true), (12, false, false)]);
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
            .map(|(id, vlan)| (id.get(), vlan.state == VlanState::Active, vlan.ours))
            .collect();
        assert_eq!(states, [(1, true, false), (11, false, true), (99, true, false)]);
        assert_eq!(vlans_of_text("<html>"), None);
    }
}
