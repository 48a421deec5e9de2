//! What is noted of the systems before a deploy.

use crate::pack::Pack;
use serde_json::{Value, json};

#[test]
fn what_is_wrong_with_one_host_leaves_the_others_alone() {
    // Nobody answers there, which is no failure.
    let host = |fog_name: &str| json!({"fog_name": fog_name, "hostname": "127.77.0.1"});
    let keys = [
        ("hosts", json!(["pod1", "pod2", "pod3", "pod4", "pod5"])),
        ("pod1", json!("no host")),
        ("pod2", host("two")),
        ("pod3", host("three")),
        ("pod4", host("same")),
        ("pod5", host("same")),
    ];
    let pack = Pack::new(json!({"timing": {"call": 5}}), &keys);
    let note = |names: &[&str]| {
        let planned = |name: &&str| json!({"host": name, "hardware": {"request": format!("{name}:0:0")}});
        let hosts = Value::from_iter(names.iter().map(planned));
        pack.run(env!("CARGO_BIN_EXE_note_systems"), &[&format!("--hosts={hosts}")])
    };
    for (names, done) in [
        (&["pod1", "pod2", "pod3"][..], json!(["pod2", "pod3"])),
        (&["pod1"], json!([])),
        // The disk of one must not be written for the other.
        (&["pod4", "pod3"], json!(["pod3"])),
    ] {
        let failed = note(names).failed(2);
        assert_eq!(
            (&failed["host"], &failed["done"]["hosts"]),
            (&json!(names[0]), &done),
            "{failed}"
        );
    }
    assert_eq!(pack.key("before_pod3")["request"], "pod3:0:0");
    assert_eq!(pack.key("before_pod1"), Value::Null);
}
