//! Where no secret may ever be, through a whole booking: command lines, logs, what the API shows, files.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use laas_lab::dashboard::JobState;
use laas_lab::inventory::SWITCH_USER;
use serde_json::Value;

use crate::house::House;

/// Shorter than any process lives that is given a secret.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);
/// The variables in which the engine hands out its tokens.
const TOKENS: [&str; 2] = ["ST2_ACTION_AUTH_TOKEN=", "ST2_AUTH_TOKEN="];

/// Looks at all processes of the machine again and again.
struct Watch {
    stop: Arc<AtomicBool>,
    seen: JoinHandle<Seen>,
}

#[derive(Default)]
struct Seen {
    command_lines: HashSet<Vec<u8>>,
    /// The engine's tokens, from where they may be.
    tokens: HashSet<String>,
}

impl Watch {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let seen = thread::spawn(move || {
            let mut seen = Seen::default();
            while !stopped.load(Ordering::SeqCst) {
                seen.look();
                thread::sleep(BETWEEN_LOOKS);
            }
            seen
        });
        Self { stop, seen }
    }

    fn end(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        self.seen.join().unwrap()
    }
}

impl Seen {
    fn look(&mut self) {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let name = entry.file_name();
            if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            // Processes end while they are looked at.
            let Ok(line) = fs::read(entry.path().join("cmdline")) else {
                continue;
            };
            if !self.command_lines.insert(line) {
                continue;
            }
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            for variable in environment.split(|byte| *byte == 0) {
                let text = String::from_utf8_lossy(variable);
                let token = TOKENS.iter().find_map(|name| text.strip_prefix(name));
                self.tokens
                    .extend(token.filter(|t| !t.is_empty()).map(str::to_owned));
            }
        }
    }
}

/// Every secret of the house, by what it is.
fn secrets(house: &House, job: &JobState) -> BTreeMap<String, String> {
    let access = house.lab.access();
    let mut secrets = BTreeMap::new();
    let mut add = |what: &str, secret: &str| {
        assert!(secret.len() >= 12, "{what}");
        secrets.insert(what.to_owned(), secret.to_owned());
    };
    add("dashboard token", &access.lab_token);
    for (token, what) in access.fog_tokens.iter().zip(["FOG api key", "FOG user key"]) {
        add(what, token);
        let raw = BASE64_STANDARD.decode(token).unwrap();
        add(&format!("{what} as stored"), &String::from_utf8(raw).unwrap());
    }
    add("switch password", &access.switch_password);
    let basic = format!("{SWITCH_USER}:{}", access.switch_password);
    add("switch login", &BASE64_STANDARD.encode(basic));
    add("second switch's password", &access.eos_password);
    add("LDAP password", &access.ldap_password);
    for (host, password) in &access.bmc_passwords {
        add(&format!("BMC password of {host}"), password);
        let tenant = house.lab.dashboard().bmc(host).unwrap();
        add(&format!("tenant's BMC password of {host}"), &tenant.password);
    }
    for task in job.tasks.iter().filter(|t| t.delta["access_type"] == "vpn") {
        let password = task.message.lines().find_map(|l| l.strip_prefix("Password: "));
        add(&format!("VPN password of {}", task.subject), password.unwrap());
    }
    let [_, _, (_, api_key)] = house.stack.environment();
    add("API key", &api_key);
    let keys = [
        ("SSH key", &access.ssh_key),
        ("alice's SSH key", &house.tenants[0].key),
    ];
    for (what, path) in keys {
        // OpenSSH's format: the lines between the first two and the last two are the key's alone.
        let text = fs::read_to_string(path).unwrap();
        let line = text.lines().rev().nth(2).unwrap();
        add(what, line);
    }
    for key in house.lab.keys().into_iter().filter(|key| key.secret) {
        add(&format!("key {}", key.name), &key.value);
    }
    secrets
}

/// The secrets that are in `bytes`.
fn found<'a>(bytes: &[u8], secrets: &'a BTreeMap<String, String>) -> Vec<&'a str> {
    // All of them are ASCII, which stays as it is.
    let text = String::from_utf8_lossy(bytes);
    let hits = secrets.iter().filter(|(_, secret)| text.contains(*secret));
    hits.map(|(what, _)| what.as_str()).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files.extend(self::files(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}

/// Where the lab and the operator keep secrets, and which: the peers' own configuration, the operator's files, keys.
fn may_hold(file: &Path, directory: &Path, what: &str) -> bool {
    let below = file
        .strip_prefix(directory)
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let is_config = what.starts_with("FOG") || what == "LDAP password";
    match below.as_str() {
        "stack/configs/laas.yaml" | "lab/laas.yaml" => is_config,
        "lab/datastore.json" => true,
        "lab/id_ed25519" => what == "SSH key",
        "alice_ed25519" => what == "alice's SSH key",
        _ if below.starts_with("lab/slapd/") => what == "LDAP password" || what.starts_with("VPN"),
        // ipmi_sim's configuration and what it remembers.
        _ if below.starts_with("lab/pod") && below.contains("bmc") => {
            what.contains("BMC") || what.starts_with("key bmc")
        }
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_where_others_could_read_it() {
    let house = House::start().await;
    let watch = Watch::start();
    let job = house.book();
    let job = house.settled(job).await;
    let seen = watch.end();
    house.assert_done(&job).await;
    let mut secrets = secrets(&house, &job);
    assert!(!seen.tokens.is_empty(), "the engine hands out tokens");
    for (number, token) in seen.tokens.iter().enumerate() {
        secrets.insert(format!("engine's token {number}"), token.clone());
    }
    let mut leaks = Vec::new();

    let lines = seen.command_lines.iter();
    let lines: Vec<String> = lines
        .map(|line| String::from_utf8_lossy(line).replace('\0', " "))
        .collect();
    for tool in [
        "ipmitool",
        "bin/vpn_user",
        "bin/bmc_user",
        "bin/switch_vlan",
        "bin/plan_job",
    ] {
        assert!(
            lines.iter().any(|line| line.contains(tool)),
            "`{tool}` was not seen"
        );
    }
    for line in &lines {
        let what = found(line.as_bytes(), &secrets);
        leaks.extend(what.into_iter().map(|what| format!("{what}: `{line}`")));
    }

    for execution in house.executions().await {
        let id = execution["id"].as_str().unwrap();
        let path = format!("executions/{id}");
        let whole = house.stack.call(reqwest::Method::GET, &path, None).await.unwrap();
        for what in found(whole.to_string().as_bytes(), &secrets) {
            leaks.push(format!("{what}: execution {}", whole["action"]["ref"]));
        }
    }
    for path in [
        "executions?limit=-1",
        "keys?scope=all",
        "triggerinstances",
        "rules",
        "configs",
    ] {
        // What the engine does not have shows nothing either.
        let Ok(answer) = house.stack.call(reqwest::Method::GET, path, None).await else {
            continue;
        };
        let answer: Value = answer;
        for what in found(answer.to_string().as_bytes(), &secrets) {
            leaks.push(format!("{what}: `{path}`"));
        }
    }

    let directory = house.directory.path();
    let (mut looked, mut keepers) = (HashSet::new(), HashSet::new());
    for file in files(directory) {
        let Ok(bytes) = fs::read(&file) else { continue };
        looked.insert(file.file_name().unwrap().to_string_lossy().into_owned());
        for what in found(&bytes, &secrets) {
            if may_hold(&file, directory, what) {
                keepers.insert(file.file_name().unwrap().to_owned());
            } else {
                leaks.push(format!("{what}: {}", file.display()));
            }
        }
    }
    assert!(looked.contains("engine.log"), "{looked:?}");
    assert!(looked.iter().any(|name| name.ends_with("-wal")), "{looked:?}");
    for keeper in ["laas.yaml", "datastore.json", "slapd.conf", "alice_ed25519"] {
        assert!(keepers.contains(OsStr::new(keeper)), "{keepers:?}");
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}
