//! A healthy lab has no findings; with one mistake it has exactly that one.

mod cases;

use axum::http::HeaderValue;
use axum::middleware::map_response;
use axum::response::Response;
use cases::CASES;
use laas_core::parallel;
use laas_lab::cabling::Os;
use laas_lab::faults::{Faults, Peer};
use laas_lab::http::Server;
use laas_lab::lab::{Lab, LabOptions};
use laas_lab::stack::Key;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const DOCTOR: &str = env!("CARGO_BIN_EXE_doctor");
/// Whole runs of the doctor at the same time.
const AT_ONCE: u64 = 3;

/// A lab with two hosts and nothing wrong.
struct Ward {
    lab: Option<Lab>,
    /// The dashboard with a clock that is behind.
    late: Server,
    /// The account of the directory that can't read what marks an entry.
    blind: String,
    incomplete: u32,
    nowhere: u32,
    runtime: Runtime,
}

impl Ward {
    fn open() -> Self {
        let runtime = Runtime::new().unwrap();
        let lab = runtime.block_on(Lab::start(LabOptions::default())).unwrap();
        let system = || Os {
            id: "ubuntu".into(),
            version: "22.04".into(),
        };
        let late = lab
            .dashboard()
            .router()
            .layer(map_response(async |mut answer: Response| {
                let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
                answer.headers_mut().insert("date", date);
                answer
            }));
        let late = Server::start(Ipv4Addr::LOCALHOST, Peer::Bot, late, Faults::default());
        let incomplete = lab.fog().add_image("web_v1_incomplete", system());
        let blind = lab.slapd().restrict("attrs=description", "none");
        let blind = runtime.block_on(blind).unwrap();
        let nowhere = lab.fog().add_image("far-away", system());
        // Its storage group has no node.
        lab.fog().store_image(nowhere, &[2]);
        Self {
            late: runtime.block_on(late).unwrap(),
            lab: Some(lab),
            blind,
            incomplete,
            nowhere,
            runtime,
        }
    }

    fn lab(&self) -> &Lab {
        self.lab.as_ref().unwrap()
    }

    fn patient(&self) -> Patient {
        Patient {
            config: self.lab().config(),
            keys: self.lab().keys(),
            dir: tempfile::tempdir().unwrap(),
            path: "/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            mounted: None,
        }
    }
}

impl Drop for Ward {
    fn drop(&mut self) {
        let _inside = self.runtime.enter();
        self.lab.take();
    }
}

/// The pack's configuration and datastore, with whatever is wrong with them.
struct Patient {
    config: Value,
    keys: Vec<Key>,
    dir: TempDir,
    path: String,
    mounted: Option<PathBuf>,
}

impl Patient {
    fn key(&mut self, name: &str) -> &mut Key {
        self.keys.iter_mut().find(|key| key.name == name).unwrap()
    }

    fn lose(&mut self, name: &str) {
        self.keys.retain(|key| key.name != name);
    }

    /// The JSON in a key's value, changed.
    fn change(&mut self, name: &str, change: impl FnOnce(&mut Value)) {
        let key = self.key(name);
        let mut value: Value = serde_json::from_str(&key.value).unwrap();
        change(&mut value);
        key.value = value.to_string();
    }

    /// A field of the card of this number.
    fn card(&mut self, host: &str, card: usize, field: &str, text: &str) {
        self.change(host, |host| {
            let interfaces = host["interfaces"].as_object_mut().unwrap();
            interfaces.values_mut().nth(card).unwrap()[field] = json!(text);
        });
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn ssh_key(&mut self, path: PathBuf) {
        self.config["ssh"]["key_file"] = json!(path);
    }

    fn examine(&self) -> (Option<i32>, Value, String) {
        let locks = self.dir.path().join("locks");
        std::fs::create_dir_all(&locks).unwrap();
        let output = Command::new(DOCTOR)
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.dir.path())
            .env("LAAS_CONFIG", self.config.to_string())
            .env(
                "LAAS_DATASTORE",
                self.file("hosts.json", &laas_lab::inventory::key_file(&self.keys), 0o600),
            )
            .env("LAAS_LOCK_DIR", self.mounted.as_ref().unwrap_or(&locks))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let document = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{output:?}"));
        (output.status.code(), document, format!("{said}{log}"))
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        if let Some(mounted) = &self.mounted {
            let _ = Command::new("umount").arg(mounted).status();
        }
    }
}

#[test]
fn each_mistake_is_found_and_nothing_else() {
    let ward = Ward::open();
    let (code, healthy, said) = ward.patient().examine();
    assert_eq!((code, &healthy["findings"]), (Some(0), &json!([])), "{said}");
    assert_eq!(healthy["hosts"], 2);
    assert_eq!(healthy["not_proven"][0]["peer"], "ldap");
    assert!(healthy["versions"]["ipmitool"].is_string());
    let requests = ward.lab().fog().requests();
    assert!(
        requests.iter().all(|r| r.starts_with("GET ")),
        "it changes nothing: {requests:?}"
    );
    assert!(ward.lab().dashboard().posts().is_empty());

    let numbered: Vec<_> = CASES.iter().enumerate().collect();
    let wrong = parallel::map(&numbered, AT_ONCE, |(number, case)| {
        let (harm, peer, host, what, hint) = **case;
        let mut patient = ward.patient();
        harm(&ward, &mut patient);
        let (code, found, said) = patient.examine();
        let findings = found["findings"].as_array().unwrap();
        let is_it = |finding: &Value| {
            let holds =
                |field: &str, words: &str| finding[field].as_str().is_some_and(|text| text.contains(words));
            finding["peer"] == peer
                && finding["host"] == json!(host)
                && holds("what", what)
                && holds("hint", hint)
                && !finding["hint"].as_str().unwrap().is_empty()
        };
        let secrets = [
            "hunter2",
            ward.lab().access().ldap_password.as_str(),
            ward.lab().access().lab_token.as_str(),
        ];
        let is_quiet = secrets.iter().all(|secret| !said.contains(secret));
        match findings.as_slice() {
            [one] if code == Some(1) && is_it(one) && found["error"].is_string() && is_quiet => None,
            _ => Some(format!("{number} ({peer}, {what}): {code:?} {findings:#?}")),
        }
    });
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        CASES.len(),
        wrong.join("\n")
    );
}

#[test]
fn fifty_dead_hosts_and_silent_peers_take_less_than_twenty_seconds() {
    // They take the connection, and say nothing.
    let web = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let web = format!(
        "http://{}",
        web.local_addr()
            .map(|a| (a, web))
            .map(|(a, keep)| {
                std::mem::forget(keep);
                a
            })
            .unwrap()
    );
    let sockets: Vec<_> = (0..50)
        .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
        .collect();
    let mut keys = Vec::new();
    let mut key = |name: &str, value: String, secret| {
        keys.push(Key {
            name: name.to_owned(),
            value,
            secret,
        })
    };
    let mut names = Vec::new();
    for (number, socket) in sockets.iter().enumerate() {
        let name = format!("pod{number}");
        let mac = format!("02:00:00:00:{number:02x}:01");
        let host = json!({
            "fog_name": name, "hostname": "127.0.0.1", "ubuntu_image": 17,
            "interfaces": {&mac: {"mac": mac, "switch": "127.0.0.1", "port": format!("Ethernet1/{number}"), "name": "eno1"}},
            "bmc": {"address": "127.0.0.1", "port": socket.local_addr().unwrap().port(), "user": "ADMIN",
                    "password_key": "bmc_admin"},
        });
        key(&name, host.to_string(), false);
        names.push(name);
    }
    key("hosts", json!(names).to_string(), false);
    key("bmc_admin", "hunter2".to_owned(), true);
    key("lab_auth_token", "token".to_owned(), true);
    key(
        "switch_127.0.0.1",
        json!({"url": web, "user": "admin", "password": "hunter2"}).to_string(),
        true,
    );
    let mut patient = Patient {
        config: json!({
            "fog": {"address": format!("{web}/fog"), "api_key": "a", "user_key": "b"},
            "dashboard": {"address": web, "lab_name": "UNH_IOL"},
            "vpn": {"server": web.replace("http", "ldaps"), "authentication": {"user": "cn=admin", "pass": "p"},
                    "directory": {"root": "dc=example", "user": "ou=People"}, "user": {"objects": ["top"]}},
        }),
        keys,
        dir: tempfile::tempdir().unwrap(),
        path: "/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        mounted: None,
    };
    let path = patient.file("id", "-----BEGIN OPENSSH PRIVATE KEY-----\n", 0o600);
    patient.ssh_key(path);
    let begun = Instant::now();
    let (code, found, _) = patient.examine();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(code, Some(1));
    let of = |peer: &str| {
        let findings = found["findings"].as_array().unwrap();
        findings.iter().filter(|finding| finding["peer"] == peer).count()
    };
    assert_eq!(
        ["bmc", "fog", "dashboard", "ldap", "switch"].map(of),
        [50, 1, 1, 1, 1],
        "{found:#}"
    );
}
