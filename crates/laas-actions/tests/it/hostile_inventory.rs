//! Each value and each name in a host's entry, replaced by what nobody expects there: the check says so, the pack loads
//! exactly what passes it, and the other host is as before.

use crate::hostile_values::{is_legible, pointers, renamed, values};
use laas_actions::inventory::{Entry, Lab as Inventory, Mistake};
use laas_core::datastore::Datastore;
use laas_core::inventory::{self, Host};
use laas_core::{HostName, Secret, failure};
use serde_json::{Value, json};
use std::path::Path;

const LONGEST: usize = 400;

/// `hosts.json`, each key with its value as JSON.
fn example() -> Vec<(String, Value)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hosts.json.example");
    let entries: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let pair = |entry: Value| {
        let value = serde_json::from_str(entry["value"].as_str().unwrap()).unwrap();
        (entry["name"].as_str().unwrap().to_owned(), value)
    };
    entries.into_iter().map(pair).collect()
}

fn check(keys: &[(String, Value)]) -> Vec<Mistake> {
    let entry = |(name, value): &(String, Value)| Entry {
        name: name.clone(),
        value: Secret::new(value.to_string()),
        secret: false,
        line: 1,
    };
    let entries: Vec<_> = keys.iter().map(entry).collect();
    Inventory::of_entries(&entries, &[], false).mistakes
}

fn assert_legible(text: &str, what: &str) {
    assert!(is_legible(text, LONGEST), "{what}: {text:.1000?}");
}

struct Lab {
    _dir: tempfile::TempDir,
    datastore: Datastore,
    path: std::path::PathBuf,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts.json");
        Self {
            datastore: Datastore::file(&path),
            path,
            _dir: dir,
        }
    }

    fn put(&self, keys: &[(String, Value)]) {
        let entries: Vec<_> = keys
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value.to_string()}))
            .collect();
        std::fs::write(&self.path, json!(entries).to_string()).unwrap();
    }

    fn load(&self, host: &str) -> Result<Host, String> {
        let host: HostName = host.parse().unwrap();
        Host::load_alone(&self.datastore, &host).map_err(|error| failure::chain(&error))
    }
}

#[test]
fn nothing_that_stands_in_an_entry_has_an_effect_on_another_host() {
    let lab = Lab::new();
    let good = example();
    assert!(check(&good).is_empty());
    lab.put(&good);
    let other = format!("{:?}", lab.load("pod2").unwrap());
    let pod1 = good.iter().position(|(name, _)| name == "pod1").unwrap();
    let mut all = Vec::new();
    pointers(&good[pod1].1, "", &mut all);
    let try_one = |pointer: &str, value: Value, what: &str| {
        let mut keys = good.clone();
        keys[pod1].1 = value;
        lab.put(&keys);
        let mistakes = check(&keys);
        for mistake in &mistakes {
            assert_legible(&mistake.what, what);
            let names_it = mistake.what.contains("pod1") || mistake.host.as_deref() == Some("pod1");
            assert!(names_it, "{what}: {mistake:?}");
        }
        match lab.load("pod1") {
            Ok(_) => {}
            Err(error) => {
                assert!(!mistakes.is_empty(), "{what}: {error}");
                assert_legible(&error, what);
                assert!(error.contains("pod1"), "{what}: {error}");
            }
        }
        // The last name that is no MAC address.
        let field = pointer
            .split('/')
            .rfind(|part| !part.contains(':'))
            .unwrap_or_default();
        let named = |m: &Mistake| m.what.contains(field.trim_end_matches('s'));
        assert!(
            mistakes.is_empty() || mistakes.iter().any(named),
            "{what}: {mistakes:?}"
        );
        assert_eq!(format!("{:?}", lab.load("pod2").unwrap()), other, "{what}");
        assert_eq!(inventory::names(&lab.datastore).unwrap().len(), 2);
    };
    for pointer in &all {
        for value in values(1 << 20) {
            let what = format!("{:.60} at {pointer}", value.to_string());
            let mut entry = good[pod1].1.clone();
            *entry.pointer_mut(pointer).unwrap() = value.clone();
            try_one(pointer, entry, &what);
            if let Some(entry) = value
                .as_str()
                .and_then(|text| renamed(&good[pod1].1, pointer, text))
            {
                try_one("", entry, &format!("{what}, as a name"));
            }
        }
    }
}

#[test]
fn a_list_with_a_name_that_is_none_still_has_the_others() {
    let lab = Lab::new();
    for value in values(1 << 20) {
        let mut keys = example();
        let what = format!("{:.60}", value.to_string());
        let list = keys.iter_mut().find(|(name, _)| name == "hosts").unwrap();
        list.1.as_array_mut().unwrap().insert(1, value);
        lab.put(&keys);
        for host in ["pod1", "pod2"] {
            lab.load(host).unwrap();
        }
        let mistakes = check(&keys);
        assert!(!mistakes.is_empty(), "{what}");
        mistakes
            .iter()
            .for_each(|mistake| assert_legible(&mistake.what, &what));
        // Whoever wants all of them is told.
        if let Err(error) = inventory::names(&lab.datastore) {
            assert_legible(&failure::chain(&error), &what);
        }
    }
}

#[test]
fn hosts_that_can_be_confused_are_neither_of_them_touched() {
    let lab = Lab::new();
    let good = example();
    let entry = |name: &str| good.iter().find(|(n, _)| n == name).unwrap().1.clone();
    let card = |entry: &Value, number: usize| {
        entry["interfaces"]
            .as_object()
            .unwrap()
            .values()
            .nth(number)
            .unwrap()
            .clone()
    };
    let (one, two) = (entry("pod1"), entry("pod2"));
    type Change<'a> = Box<dyn Fn(&mut Value) + 'a>;
    let of_card = |field: &'static str| -> Change<'_> {
        let (from, one) = (card(&two, 0), card(&one, 0));
        Box::new(move |entry| entry["interfaces"][one["mac"].as_str().unwrap()][field] = from[field].clone())
    };
    let cases: [(&str, Change<'_>); 4] = [
        (
            "`fog_name`",
            Box::new(|entry| entry["fog_name"] = two["fog_name"].clone()),
        ),
        ("MAC address", of_card("mac")),
        ("port of a switch", of_card("port")),
        (
            "BMC",
            Box::new(|entry| entry["bmc"]["address"] = two["bmc"]["address"].clone()),
        ),
    ];
    for (what, change) in cases {
        let mut keys = good.clone();
        let mut three: Value = serde_json::from_str(
            &two.to_string()
                .replace("02:5", "03:5")
                .replace("Ethernet1", "Ethernet3"),
        )
        .unwrap();
        three["fog_name"] = json!("vm-1.3");
        three["bmc"]["address"] = json!("10.2.0.3");
        keys.push(("pod3".to_owned(), three));
        for (name, value) in &mut keys {
            match name.as_str() {
                "pod1" => change(value),
                "hosts" => *value = json!(["pod1", "pod2", "pod3", "pod4"]),
                _ => {}
            }
        }
        lab.put(&keys);
        for host in ["pod1", "pod2"] {
            let error = lab.load(host).unwrap_err();
            assert!(
                error.contains("`pod1`") && error.contains("`pod2`") && error.contains(what),
                "{error}"
            );
        }
        // `pod4` is listed and has no entry.
        lab.load("pod3").unwrap();
        assert!(!check(&keys).is_empty(), "{what}");
    }
}

#[test]
fn a_password_is_no_key_of_something_else() {
    for key in ["hosts", "pod2", "switch_10.10.10.10"] {
        let mut keys = example();
        keys[0].1["bmc"]["password_key"] = json!(key);
        let mistakes = check(&keys);
        assert!(
            mistakes
                .iter()
                .any(|m| m.what.contains("`password_key` of host `pod1`")),
            "{mistakes:?}"
        );
        let yaml = format!("hosts: {{pod2: {{}}}}\nsecrets: {{{key}: hunter2}}");
        let mistakes = Inventory::of_yaml(&yaml).mistakes;
        assert!(
            mistakes
                .iter()
                .any(|m| m.what.contains(&format!("the secret `{key}`"))),
            "{mistakes:?}"
        );
    }
}

#[test]
fn what_is_wrong_in_the_yaml_is_said_in_a_line_without_a_secret() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../inventory.yaml.example");
    let text = std::fs::read_to_string(path)
        .unwrap()
        .replace("change me", "hunter2");
    let good: Value = serde_yaml::from_str(&text).unwrap();
    let mut all = Vec::new();
    pointers(&good, "", &mut all);
    let mut mistaken = 0;
    let mut try_one = |inventory: &Value, what: &str| {
        let mistakes = Inventory::of_yaml(&serde_yaml::to_string(inventory).unwrap()).mistakes;
        for mistake in &mistakes {
            assert_legible(&mistake.what, what);
            assert!(!mistake.what.contains("hunter2"), "{what}: {mistake:?}");
        }
        mistaken += usize::from(!mistakes.is_empty());
    };
    for pointer in &all {
        for value in values(1 << 15) {
            let what = format!("{:.60} at {pointer}", value.to_string());
            let mut inventory = good.clone();
            *inventory.pointer_mut(pointer).unwrap() = value.clone();
            try_one(&inventory, &what);
            if let Some(inventory) = value.as_str().and_then(|text| renamed(&good, pointer, text)) {
                try_one(&inventory, &what);
            }
        }
    }
    assert!(mistaken > 2000, "{mistaken}");
}
