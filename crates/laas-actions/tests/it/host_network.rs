//! `host_network` on hosts of every family, each of which boots from what it wrote.

use crate::hosts::{NETWORKS, REQUEST, Stand};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

/// A system, and what `host_network` is to make of it.
struct Case {
    os: (&'static str, &'static str),
    family: &'static str,
    /// With their modes.
    written: &'static [(&'static str, u32)],
    set_aside: &'static [&'static str],
    checked_by: Option<&'static str>,
}

const CASES: &[Case] = &[
    Case {
        os: ("ubuntu", "20.04"),
        family: "netplan",
        written: &[("/etc/netplan/60-laas.yaml", 0o600)],
        set_aside: &["/etc/netplan/01-image.yaml"],
        checked_by: Some("netplan generate"),
    },
    Case {
        os: ("debian", "10"),
        family: "ifupdown",
        written: &[
            ("/etc/network/interfaces", 0o644),
            ("/etc/network/interfaces.d/laas", 0o644),
            ("/etc/dhcp/dhclient-enter-hooks.d/laas", 0o644),
        ],
        set_aside: &["/etc/network/interfaces"],
        checked_by: Some("ifquery"),
    },
];

#[test]
fn every_family_is_written_to_twice_and_boots_from_it() {
    std::thread::scope(|scope| {
        for half in CASES.chunks(CASES.len().div_ceil(2)) {
            scope.spawn(|| half.iter().for_each(written_to_twice));
        }
    });
}

fn written_to_twice(case: &Case) {
    let (id, version) = case.os;
    let stand = Stand::new(id, version);
    stand.wait_for_host(&[&format!("--request={REQUEST}")]).done();
    assert_eq!(stand.set_hostname("jump").done()["changed"], true, "{id}");
    assert_eq!(stand.set_hostname("jump").done()["changed"], false, "{id}");

    let listing = stand.listing();
    let dry = stand.host_network(&["--dry_run"]).done();
    assert_eq!(stand.listing(), listing, "{id}: a dry run writes nothing");
    let originals: Vec<_> = case.set_aside.iter().map(|path| stand.read(path)).collect();
    let written = stand.host_network(&[]).done();
    let paths: Vec<_> = case.written.iter().map(|(path, _)| *path).collect();
    for of in [&dry, &written] {
        assert_eq!(
            (
                &of["changed"],
                &of["family"],
                &of["written"],
                &of["set_aside"],
                &of["removed"]
            ),
            (
                &json!(true),
                &json!(case.family),
                &json!(paths),
                &json!(case.set_aside),
                &json!([])
            ),
            "{id}: {of:#}"
        );
    }
    assert_eq!(written["checked_by"], json!(case.checked_by), "{id}");
    for (file, (path, mode)) in dry["files"].as_array().unwrap().iter().zip(case.written) {
        assert_eq!(
            file["content"],
            stand.read(path),
            "{id}: the dry run has shown the file"
        );
        let now = std::fs::metadata(stand.inside(path))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(now & 0o7777, *mode, "{id}: {path}");
    }
    for (path, original) in case.set_aside.iter().zip(originals) {
        let (directory, name) = path.rsplit_once('/').unwrap();
        assert_eq!(
            stand.read(&format!("{directory}/.{name}.laas-aside")),
            original,
            "{id}: kept"
        );
    }
    let second = stand.host_network(&[]).done();
    assert_eq!(second["changed"], false, "{id}: {second:#}");
    assert!(!stand.listing().contains("laas-new"), "{id}");

    // The proof is the next boot: the host is on its VLANs, and nowhere else.
    let interfaces: Value = serde_json::from_str(NETWORKS).unwrap();
    stand.switch_vlan("--networks", json!([{"host": "pod1", "interfaces": interfaces}]));
    stand.boot();
    let found = stand.wait_for_host(&["--vlans=[11]"]).done();
    assert_eq!(
        (&found["address"], &found["hostname"]),
        (&json!("127.128.11.1"), &json!("jump")),
        "{id}"
    );
    assert_eq!(stand.reachable_vlans(), [11, 103], "{id}");
    assert_eq!(stand.host_network(&[]).done()["changed"], false, "{id}");
}
