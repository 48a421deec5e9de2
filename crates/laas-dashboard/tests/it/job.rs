//! The dialects and the shapes that nobody expects.

use laas_core::ledger;
use laas_dashboard::{Job, Task, Work, digest};
use serde_json::{Value, json};

const ID: &str = "aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da";

fn work(kind: &str, delta: Value) -> Work {
    Task::new(ID.parse().unwrap(), kind, delta).work
}

#[test]
fn both_dialects_say_the_same() {
    let of_2019 = json!({"id": "pod1", "lab_token": "null", "image": 17, "hostname": "jump", "power": "on", "ipmi_create": true});
    let of_2022 = json!({"id": "pod1", "image": "17", "hostname": "jump", "power": "on", "ipmi_create": "True", "new": []});
    assert_eq!(work("hardware", of_2019), work("hardware", of_2022));
    let off_2019 = json!({"id": "pod1", "lab_token": "null", "power": "off"});
    let off_2022 = json!({"id": "pod1", "lab_token": "", "image": "18", "hostname": "other", "power": "off", "ipmi_create": "False"});
    let off = work("hardware", off_2019);
    assert!(matches!(off, Work::Hardware { power: false, .. }));
    assert_eq!(off, work("hardware", off_2022));
    let vlan = |id: Value, tagged: Value| {
        let ports = json!({"02-00-00-00-AA-01": [{"vlan_id": id, "tagged": tagged}]});
        work("network", json!({"pod1": ports, "lab_token": "null"}))
    };
    let network = vlan(json!(11), json!(false));
    assert!(matches!(network, Work::Network { .. }), "{network:?}");
    assert_eq!(network, vlan(json!("11"), json!("False")));
}

#[test]
fn the_labs_own_token_makes_no_other_work() {
    let delta = |token: Value| json!({"access_type": "vpn", "user": 3, "revoke": false, "lab_token": token});
    let without = json!({"user": 3, "revoke": false, "access_type": "vpn"});
    for token in [json!("null"), json!(""), json!("kati4"), json!(null)] {
        assert_eq!(digest(&delta(token)), digest(&without));
    }
    assert_eq!(digest(&without), ledger::digest(&without));
    let revoked = json!({"user": 3, "revoke": true, "access_type": "vpn"});
    assert_ne!(digest(&without), digest(&revoked));
}

#[test]
fn what_cannot_be_done_is_kept_with_its_reason() {
    let on = |key: &str, value: Value| {
        let mut delta = json!({"id": "pod1", "image": 17, "hostname": "jump", "power": "on"});
        delta[key] = value;
        delta
    };
    let port = |vlans: Value| json!({"pod1": {"02:00:00:00:01:01": vlans}});
    let ssh = |context: Value| json!({"access_type": "ssh", "user": 3, "revoke": false, "context": context});
    for (kind, delta, said) in [
        ("hardware", json!("pod1"), "no object"),
        ("hardware", json!({"image": 17, "power": "on"}), "`id` is missing"),
        ("hardware", on("id", json!("pod1;reboot")), "is not a host name"),
        ("hardware", on("power", json!("maybe")), "`power`"),
        (
            "hardware",
            on("image", json!(-1)),
            "a snapshot that the lab has not entered",
        ),
        (
            "hardware",
            on("image", json!("ubuntu2004")),
            "its image is `ubuntu2004` on the dashboard, where the lab has to enter FOG's number",
        ),
        ("hardware", on("hostname", json!("$(reboot)")), "`hostname`"),
        ("hardware", on("ipmi_create", json!("maybe")), "`ipmi_create`"),
        ("network", json!({"lab_token": "null"}), "exactly one host"),
        ("network", json!({"pod1": {}, "pod2": {}}), "exactly one host"),
        ("network", json!({"pod1": {"eth0": []}}), "is not a MAC"),
        ("network", port(json!("11")), "no list"),
        (
            "network",
            port(json!([{"vlan_id": 4095, "tagged": true}])),
            "is not a VLAN id",
        ),
        ("network", port(json!([{"vlan_id": 11}])), "`tagged`"),
        (
            "network",
            json!({"pod1": {"02:00:00:00:aa:01": [], "02:00:00:00:AA:01": []}}),
            "twice",
        ),
        ("access", ssh(json!(null)), "`context`"),
        ("access", ssh(json!({"key": " \n", "hosts": []})), "key is empty"),
        (
            "access",
            ssh(json!({"key": "ssh-ed25519 AAAA", "hosts": ["a b"]})),
            "is not a host name",
        ),
        ("access", json!({"access_type": "vpn"}), "`user`"),
        (
            "access",
            json!({"access_type": "vpn", "user": 3, "revoke": "maybe"}),
            "`revoke`",
        ),
        // Only an empty order says that the booking is over.
        ("software", json!({}), "`opnfv`"),
        ("software", json!({"opnfv": null}), "`opnfv`"),
        ("software", json!({"opnfv": {"scenario": "x"}}), "`installer`"),
        ("snapshot", json!({"dashboard_id": 5}), "`host` is missing"),
    ] {
        match work(kind, delta.clone()) {
            Work::Malformed { kind: shown, why } => {
                assert_eq!(shown, kind);
                assert!(why.contains(said), "{delta}: {why}");
            }
            other => panic!("{delta}: {other:?}"),
        }
    }
    for (kind, delta) in [
        ("sauna task", json!({})),
        ("access", json!({"access_type": "sauna"})),
    ] {
        assert!(matches!(work(kind, delta), Work::Unknown { .. }), "{kind}");
    }
}

/// A dashboard of 2022 shows its question for the users of the VPN with the tasks of a booking, or alone.
#[test]
fn the_question_for_active_users_is_no_task() {
    let vpn = json!({"access_type": "vpn", "user": 3, "revoke": false});
    let list = [
        json!({"id": 1, "payload": {"access": {ID: vpn}, "active users task": {ID.replace('4', "5"): {}}}}),
        json!({"id": 2, "payload": {"active users task": {ID.replace('4', "6"): {}}}}),
    ];
    let whole = Job::read_whole_list(&list).unwrap();
    assert_eq!(whole, Job::read_list(&list));
    let tasks: Vec<_> = whole.iter().map(|job| (job.id, job.tasks.len())).collect();
    assert_eq!(tasks, [(1, 1), (2, 0)]);
}

#[test]
fn of_an_upload_only_public_keys_are_kept() {
    let key = |upload: &str| {
        let context = json!({"key": upload, "hosts": ["pod1"]});
        let delta = json!({"access_type": "ssh", "user": 3, "context": context});
        match work("access", delta) {
            Work::Key { key, .. } => key,
            other => panic!("{other:?}"),
        }
    };
    let two = "# mine\r\nssh-ed25519 AAAA a@b\r\nssh-rsa BBBB\r\n";
    assert_eq!(key(two), "ssh-ed25519 AAAA a@b\nssh-rsa BBBB");
    let private =
        "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\nssh-rsa BBBB";
    for upload in [
        private,
        &private.replace("\n-----END OPENSSH PRIVATE KEY-----", ""),
        "c2VjcmV0",
        "PuTTY-User-Key-File-2: ssh-rsa\nPrivate-Lines: 1\nc2VjcmV0\n",
    ] {
        let key = key(upload);
        assert!(!key.contains("c2VjcmV0") && !key.is_empty(), "{key}");
        assert_eq!(
            key.ends_with("ssh-rsa BBBB"),
            upload.ends_with("ssh-rsa BBBB"),
            "{key}"
        );
    }
    assert!(key(&"a\n".repeat(8000)).len() < 10);
}

#[test]
fn nothing_is_too_long_to_travel() {
    let ssh = |key: String, hosts: usize| {
        let hosts: Vec<_> = (0..hosts).map(|n| format!("pod{n}")).collect();
        let context = json!({"key": key, "hosts": hosts});
        work(
            "access",
            json!({"access_type": "ssh", "user": 3, "context": context}),
        )
    };
    let key = |bytes: usize| format!("ssh-rsa {}", "A".repeat(bytes - 8));
    let vlans = |count: usize| {
        let vlans = vec![json!({"vlan_id": 11, "tagged": true}); count];
        work(
            "network",
            json!({"pod1": {"02:00:00:00:01:01": vlans, "02:00:00:00:01:02": []}}),
        )
    };
    let ports = |count: u32| {
        let ports: serde_json::Map<_, _> = (0..count)
            .map(|n| (format!("02:00:00:00:{:02x}:{:02x}", n >> 8, n & 255), json!([])))
            .collect();
        work("network", json!({"pod1": ports}))
    };
    for fits in [ssh(key(16 << 10), 400), vlans(399), ports(400)] {
        assert!(
            matches!(fits, Work::Key { .. } | Work::Network { .. }),
            "{fits:?}"
        );
    }
    for (too_long, said) in [
        (ssh(key((16 << 10) + 1), 1), "16 KiB"),
        (ssh(key(100), 401), "hosts"),
        (vlans(400), "VLANs"),
        (ports(401), "VLANs"),
    ] {
        match too_long {
            Work::Malformed { why, .. } => assert!(why.contains(said), "{why}"),
            other => panic!("{said}: {other:?}"),
        }
    }
    let long = "ä".repeat(1 << 20);
    for short in [
        work(&long, json!({})),
        work("access", json!({"access_type": long})),
        work(
            "software",
            json!({"opnfv": {"installer": long, "scenario": long}}),
        ),
        work("hardware", json!({"id": long, "power": "on"})),
    ] {
        assert!(
            format!("{short:?}").len() < 1000,
            "{}",
            format!("{short:?}").len()
        );
    }
}

#[test]
fn a_bad_job_does_not_hide_the_others() {
    let good =
        json!({"id": 7, "payload": {"access": {ID: {"access_type": "vpn", "user": 3, "revoke": false}}}});
    let list = [
        json!(null),
        json!({"payload": {}}),
        json!({"id": "7", "payload": {}}),
        json!({"id": 5, "payload": null}),
        json!({"id": 6, "payload": {"hardware": [], "network": {"not-a-uuid": {}}}}),
        good,
    ];
    let jobs = Job::read_list(&list);
    let read: Vec<_> = jobs.iter().map(|job| (job.id, job.tasks.len())).collect();
    assert_eq!(read, [(6, 0), (7, 1)]);
}
