//! How the lab stands, with all peers there and with each of them gone.

use crate::pack::Pack;
use laas_lab::dashboard::CaptureBooking;
use laas_lab::faults::{Kind, Peer};
use laas_lab::lab::{Lab, LabOptions};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use tokio::runtime::Runtime;

const STATUS: &str = env!("CARGO_BIN_EXE_lab_status");

/// Two booked hosts, of which one was deployed and has a failed task.
struct Ward {
    lab: Option<Lab>,
    pack: Pack,
    runtime: Runtime,
}

impl Ward {
    fn open() -> Self {
        let runtime = Runtime::new().unwrap();
        let lab = runtime.block_on(Lab::start(LabOptions::default())).unwrap();
        lab.dashboard().book_capture(CaptureBooking::default()).unwrap();
        let mut keys: Vec<(String, Value)> = lab
            .keys()
            .into_iter()
            .map(|key| {
                (
                    key.name,
                    serde_json::from_str(&key.value).unwrap_or(json!(key.value)),
                )
            })
            .collect();
        for (name, value) in [
            (
                "image_pod1",
                json!({"image": 17, "request": "r", "fog_task": 1, "state": "done"}),
            ),
            (
                "bmc_user_pod1",
                json!({"user": "opnfv", "password": "hunter2", "slot": 3, "request": "r"}),
            ),
            (
                "task_aaaaaaaa-0000-4000-8000-000000000000",
                json!({"job": 1, "digest": "d", "state": 300, "execution": null, "time": 20, "host": "pod1", "release": true}),
            ),
            (
                "told_aaaaaaaa-0000-4000-8000-000000000000",
                json!({"request": "r", "digest": "d", "said": "pod1: bmc: it is silent\nand more"}),
            ),
            (
                "task_bbbbbbbb-0000-4000-8000-000000000000",
                json!({"job": 1, "digest": "d", "state": 200, "execution": null, "time": 10, "host": "pod1"}),
            ),
            (
                "task_cccccccc-0000-4000-8000-000000000000",
                json!({"job": 1, "digest": "d", "state": 100, "execution": null, "time": 10, "user": 3}),
            ),
        ] {
            keys.push((name.to_owned(), value));
        }
        let keys: Vec<(&str, Value)> = keys
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        Self {
            pack: Pack::new(lab.config(), &keys),
            lab: Some(lab),
            runtime,
        }
    }

    fn lab(&self) -> &Lab {
        self.lab.as_ref().unwrap()
    }

    fn status(&self) -> Value {
        let ended = self.pack.run(STATUS, &[]);
        assert!(!format!("{ended:?}").contains("hunter2"));
        ended.done()
    }
}

impl Drop for Ward {
    fn drop(&mut self) {
        let _inside = self.runtime.enter();
        self.lab.take();
    }
}

#[test]
fn a_peer_that_is_gone_costs_its_own_cells_only() {
    let ward = Ward::open();
    let status = ward.status();
    let pod1 = &status["hosts"][0];
    for (cell, expected) in [
        ("host", json!("pod1")),
        ("booked", json!({"value": true})),
        ("power", json!({"value": "off"})),
        (
            "image",
            json!({"value": {"id": 17, "system": "ubuntu", "state": "done"}}),
        ),
        (
            "access",
            json!({"value": {"bmc_user": "opnfv", "ssh_host_key": null}}),
        ),
        (
            "last_error",
            json!({"value": "pod1: bmc: it is silent\nand more"}),
        ),
        (
            "unfinished",
            json!({"value": [{"task": "aaaaaaaa-0000-4000-8000-000000000000", "job": 1, "host": "pod1", "state": 300, "tried_again": true, "time": 20}]}),
        ),
    ] {
        assert_eq!(pod1[cell], expected, "{cell}");
    }
    let jobs = pod1["jobs"]["value"].as_array().unwrap();
    assert!(jobs.contains(&json!({"job": 1, "what": "hardware"})), "{jobs:?}");
    let ports = pod1["ports"]["value"].as_array().unwrap();
    assert_eq!((ports.len(), &ports[0]["port"]), (3, &json!("Ethernet1/1")));
    assert!(ports[0]["carries"]["value"].is_string(), "{ports:?}");
    assert_eq!(
        status["unfinished"]["value"][0]["task"],
        "cccccccc-0000-4000-8000-000000000000"
    );

    let all = [
        "booked",
        "jobs",
        "power",
        "image",
        "access",
        "unfinished",
        "last_error",
    ];
    for (peer, lost) in [
        (Peer::Dashboard, &["booked", "jobs"][..]),
        (Peer::Bmc("pod1".into()), &["power"]),
        (Peer::Switch, &[]),
        (Peer::Fog, &[]),
        (Peer::Ldap, &[]),
    ] {
        let kinds = match peer {
            Peer::Bmc(_) => vec![Kind::Refuse],
            _ => vec![Kind::Refuse, Kind::Hang],
        };
        for kind in kinds {
            ward.lab().faults().set(peer.clone(), kind).unwrap();
            let status = ward.status();
            ward.lab().faults().clear(&peer);
            let pod1 = &status["hosts"][0];
            for cell in all {
                let is_lost = pod1[cell]["error"].is_string();
                assert_eq!(
                    is_lost,
                    lost.contains(&cell),
                    "{peer:?} {kind:?} {cell}: {status:#}"
                );
            }
            let carries = &pod1["ports"]["value"][0]["carries"];
            assert_eq!(carries["error"].is_string(), peer == Peer::Switch, "{carries}");
        }
    }

    // A host whose entry is broken hides nobody.
    ward.pack.set_key("pod2", &json!({"fog_name": 7}));
    let status = ward.status();
    assert!(
        status["hosts"][1]["power"]["error"]
            .as_str()
            .unwrap()
            .contains("pod2")
    );
    assert_eq!(status["hosts"][0]["power"]["value"], "off");
}

/// As a person types it: no variable says where anything is, and there is a terminal.
#[test]
fn by_hand_it_finds_its_way_and_shows_a_table() {
    let ward = Ward::open();
    let dir = tempfile::tempdir().unwrap();
    let mut config = ward.lab().config();
    // As `laas.yaml.example` does, with the key in the datastore.
    let key = config["fog"]["user_key"].take();
    config["fog"]["user_key"] = json!("{{ st2kv.system.fog_user_key }}");
    ward.pack.set_key("fog_user_key", &key);
    std::fs::write(dir.path().join("laas.yaml"), config.to_string()).unwrap();
    let entries: Vec<Value> = ward
        .pack
        .keys()
        .iter()
        .map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            json!({"name": name, "value": text, "secret": true})
        })
        .collect();
    let datastore = dir.path().join("hosts.json");
    std::fs::write(&datastore, json!(entries).to_string()).unwrap();
    std::fs::set_permissions(&datastore, std::fs::Permissions::from_mode(0o600)).unwrap();
    let bare = |program: &str| {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", dir.path())
            .current_dir(&dir)
            .stdin(Stdio::null());
        command
    };
    // util-linux's `script` gives it a terminal on which both streams end.
    let output = bare("script")
        .args(["-qec", STATUS, "/dev/null"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for words in [
        "configuration=\"laas.yaml\"",
        "datastore=\"./hosts.json\"",
        "LAST ERROR",
        "failed, is tried again",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("hunter2"));
    let output = bare(env!("CARGO_BIN_EXE_doctor")).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = found["findings"].to_string();
    assert!(
        !findings.contains("fog_user_key") && !findings.contains("\"fog\""),
        "{findings}"
    );
    // Nothing is found where nothing is.
    let empty = tempfile::tempdir().unwrap();
    let output = bare(STATUS)
        .current_dir(&empty)
        .env("HOME", empty.path())
        .output()
        .unwrap();
    let failed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &failed["peer"]),
        (Some(2), &json!("datastore")),
        "{failed}"
    );
    assert!(
        failed["hint"].as_str().unwrap().contains("hosts.json"),
        "{failed}"
    );
}
