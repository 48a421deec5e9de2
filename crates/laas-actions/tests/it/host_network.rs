//! `host_network` on hosts of every family, each of which boots from what it wrote.

use crate::hosts::{NETWORKS, REQUEST, Stand};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

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
    Case {
        os: ("centos", "7"),
        family: "network-scripts",
        written: &[
            ("/etc/sysconfig/network-scripts/ifcfg-eno1", 0o644),
            ("/etc/sysconfig/network-scripts/ifcfg-eno1.103", 0o644),
            ("/etc/sysconfig/network-scripts/ifcfg-eno2", 0o644),
            ("/etc/sysconfig/network-scripts/ifcfg-eno3", 0o644),
        ],
        set_aside: &[
            "/etc/sysconfig/network-scripts/ifcfg-eno1",
            "/etc/sysconfig/network-scripts/ifcfg-eno2",
            "/etc/sysconfig/network-scripts/ifcfg-eno3",
        ],
        checked_by: Some("bash -n"),
    },
    Case {
        os: ("opensuse-leap", "15.1"),
        family: "wicked",
        written: &[
            ("/etc/sysconfig/network/ifcfg-eno1", 0o644),
            ("/etc/sysconfig/network/ifcfg-eno1.103", 0o644),
            ("/etc/sysconfig/network/ifcfg-eno2", 0o644),
            ("/etc/sysconfig/network/ifcfg-eno3", 0o644),
        ],
        set_aside: &[
            "/etc/sysconfig/network/ifcfg-eno1",
            "/etc/sysconfig/network/ifcfg-eno2",
            "/etc/sysconfig/network/ifcfg-eno3",
        ],
        checked_by: Some("bash -n"),
    },
    Case {
        os: ("rocky", "9.4"),
        family: "NetworkManager",
        written: &[
            (
                "/etc/NetworkManager/system-connections/laas-eno1.nmconnection",
                0o600,
            ),
            (
                "/etc/NetworkManager/system-connections/laas-eno1.103.nmconnection",
                0o600,
            ),
            (
                "/etc/NetworkManager/system-connections/laas-eno2.nmconnection",
                0o600,
            ),
            (
                "/etc/NetworkManager/system-connections/laas-eno3.nmconnection",
                0o600,
            ),
        ],
        set_aside: &[
            "/etc/NetworkManager/system-connections/eno1.nmconnection",
            "/etc/NetworkManager/system-connections/eno2.nmconnection",
            "/etc/NetworkManager/system-connections/eno3.nmconnection",
        ],
        checked_by: Some("nmcli --offline"),
    },
    Case {
        os: ("arch", ""),
        family: "systemd-networkd",
        written: &[
            ("/etc/systemd/network/10-laas-eno1.103.netdev", 0o644),
            ("/etc/systemd/network/10-laas-eno1.103.network", 0o644),
            ("/etc/systemd/network/10-laas-eno1.network", 0o644),
            ("/etc/systemd/network/10-laas-eno2.network", 0o644),
            ("/etc/systemd/network/10-laas-eno3.network", 0o644),
        ],
        set_aside: &["/etc/systemd/network/20-wired.network"],
        checked_by: None,
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

/// Moments of a run that is at most so long, the same in each run of the test.
fn moments(longest: Duration) -> impl Iterator<Item = Duration> {
    let seeded = std::iter::successors(Some(7_u32), |last| Some(last * 137 % 1009));
    seeded.skip(1).map(move |number| longest * number / 1009).take(10)
}

#[test]
fn a_run_that_dies_at_any_moment_is_finished_by_the_next() {
    const SCRIPTS: &str = "/etc/sysconfig/network-scripts";
    let stand = Stand::new("centos", "7");
    stand.wait_for_host(&[&format!("--request={REQUEST}")]).done();
    stand.as_root(&format!("cp -a {SCRIPTS} /root/image"));
    let original = stand.read("/root/image/ifcfg-eno1");
    let started = Instant::now();
    let written = stand.host_network(&[]).done()["written"].clone();
    let longest = started.elapsed();
    let path = |path: &Value| path.as_str().unwrap().to_owned();
    let files: Vec<_> = written.as_array().unwrap().iter().map(path).collect();
    let new: Vec<_> = files.iter().map(|path| stand.read(path)).collect();

    for (number, moment) in moments(longest).enumerate() {
        stand.as_root(&format!("rm -rf {SCRIPTS}; cp -a /root/image {SCRIPTS}"));
        let running = stand.start_host_network();
        std::thread::sleep(moment);
        // The pack's own machine goes, or the host does.
        if number % 3 == 2 {
            stand.boot();
            let ended = running.end();
            assert!(matches!(ended.code, Some(0 | 3)), "{moment:?}: {ended:?}");
            stand.wait_for_host(&[]).done();
        } else {
            running.kill();
        }
        for (path, new) in files.iter().zip(&new) {
            let now = stand.read(path);
            let whole =
                now.is_empty() || now == *new || stand.read(&path.replace(SCRIPTS, "/root/image")) == now;
            assert!(whole, "{moment:?}: {path}: {now}");
        }
        stand.host_network(&[]).done();
        let now: Vec<_> = files.iter().map(|path| stand.read(path)).collect();
        assert_eq!(now, new, "{moment:?}");
        assert_eq!(
            stand.read(&format!("{SCRIPTS}/.ifcfg-eno1.laas-aside")),
            original,
            "{moment:?}"
        );
        assert_eq!(stand.host_network(&[]).done()["changed"], false, "{moment:?}");
        assert!(!stand.listing().contains("laas-new"), "{moment:?}");
    }
}

#[test]
fn what_an_image_left_is_kept_whatever_its_name_and_a_refusal_puts_it_back() {
    let stand = Stand::new("ubuntu", "20.04");
    stand.wait_for_host(&[&format!("--request={REQUEST}")]).done();
    stand.as_root("printf '# a\\n' > \"/etc/netplan/a 'b' \\$(touch pwned) *.yaml\"");
    stand.as_root(
        "mkdir -p /etc/cloud/cloud.cfg.d /run/netplan; echo 'network: [' > /run/netplan/90-broken.yaml",
    );
    let names = || {
        let mut entries: Vec<_> = std::fs::read_dir(stand.inside("/etc/netplan"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        entries.sort();
        entries
    };
    let before = names();
    let image = stand.read("/etc/netplan/01-image.yaml");
    let refused = stand.host_network(&[]).failed(1);
    let error = refused["error"].as_str().unwrap();
    assert!(
        error.contains("netplan generate") && error.contains("90-broken"),
        "{refused}"
    );
    assert_eq!(
        (names(), stand.read("/etc/netplan/01-image.yaml")),
        (before, image)
    );

    stand.as_root("rm /run/netplan/90-broken.yaml");
    let written = stand.host_network(&[]).done();
    assert_eq!(
        written["written"],
        json!([
            "/etc/netplan/60-laas.yaml",
            "/etc/cloud/cloud.cfg.d/99-laas-network.cfg"
        ])
    );
    assert_eq!(written["set_aside"].as_array().unwrap().len(), 2, "{written}");
    let kept = ".a 'b' $(touch pwned) *.yaml.laas-aside";
    assert!(names().iter().any(|name| name == kept), "{:?}", names());
    assert_eq!(stand.host_network(&[]).done()["changed"], false);

    // Only the inventory can bring such a name, and then it ends at the door.
    let listing = stand.listing();
    for name in [
        "eno1; reboot",
        "../../etc/passwd",
        "a-name-of-sixteen",
        "",
        "eno1\nauto eno2",
    ] {
        let mut host = stand.pack.key("pod1");
        host["interfaces"]["02:00:00:00:01:01"]["name"] = json!(name);
        stand.pack.set_key("pod1", &host);
        let refused = stand.host_network(&[]).failed(2);
        assert!(
            refused["error"].as_str().unwrap().contains("network interface"),
            "{refused}"
        );
    }
    assert_eq!(stand.listing(), listing);
}
