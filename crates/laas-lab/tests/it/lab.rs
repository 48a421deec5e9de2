//! A whole lab: what its parts do together.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use laas_lab::cabling::{MANAGEMENT_VLAN, host_address};
use laas_lab::dashboard::CaptureBooking;
use laas_lab::faults::{Kind, Peer};
use laas_lab::fog::Version;
use laas_lab::inventory::{BMC_USER, SWITCH_USER};
use laas_lab::lab::{Lab, LabOptions};
use laas_lab::machine::{Machine, Phase};
use reqwest::Client;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

struct Stand {
    lab: Lab,
    client: Client,
}

impl Stand {
    async fn new() -> Self {
        Self::with(LabOptions::default()).await
    }

    async fn with(options: LabOptions) -> Self {
        Self {
            lab: Lab::start(options).await.expect("a lab"),
            client: Client::builder().no_proxy().build().expect("a client"),
        }
    }

    fn pod1(&self) -> &Machine {
        self.lab.machine("pod1").expect("pod1")
    }

    async fn configure(&self, lines: &str) {
        let access = self.lab.access();
        let body = json!({"ins_api": {
            "version": "1.0", "type": "cli_conf", "chunk": "0", "sid": "1", "input": lines, "output_format": "json",
        }});
        let answer = self
            .client
            .post(format!("{}/ins", access.switch))
            .basic_auth(SWITCH_USER, Some(&access.switch_password))
            .json(&body)
            .send()
            .await
            .expect("the switch");
        let status = answer.status();
        assert!(status.is_success(), "{}", answer.text().await.expect("a body"));
    }

    async fn fog(&self, method: &str, path: &str, body: Value) -> Value {
        let access = self.lab.access();
        let answer = self
            .client
            .request(method.parse().expect("a method"), format!("{}{path}", access.fog))
            .header("fog-api-token", &access.fog_tokens[0])
            .header("fog-user-token", &access.fog_tokens[1])
            .json(&body)
            .send()
            .await
            .expect("FOG");
        assert!(answer.status().is_success(), "{path}");
        answer.json().await.expect("JSON")
    }

    async fn ipmi(&self, words: &[&str]) -> bool {
        let access = self.lab.access();
        let port = access.bmc_port.to_string();
        tokio::process::Command::new("ipmitool")
            .args(["-I", "lanplus", "-C", "3", "-H", "127.97.0.1", "-p", &port])
            .args(["-N", "1", "-R", "3", "-U", BMC_USER, "-E"])
            .args(words)
            .env("IPMITOOL_PASSWORD", &access.bmc_passwords["pod1"])
            .output()
            .await
            .expect("ipmitool")
            .status
            .success()
    }

    /// Waits until a login at the host's address on `vlan` succeeds, or until none does any more: its system is up a
    /// moment before it answers, and the wire follows the switch.
    async fn logs_in(&self, vlan: u16, wanted: bool) {
        let key = &self.lab.access().ssh_key;
        let started = std::time::Instant::now();
        loop {
            let login = self.lab.ssh(host_address(vlan, 1), "root", key, "true").await;
            let login = login.expect("ssh");
            if login.status.success() == wanted {
                return;
            }
            assert!(started.elapsed() < LIMIT, "{vlan} {wanted}: {login:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_fog_1_6_wakes_its_host_over_a_port_of_the_right_network() {
    let stand = Stand::with(LabOptions {
        hosts: 1,
        fog: Version::V1_6,
        ..LabOptions::default()
    })
    .await;
    let power = |machine: &Machine| machine.power();
    for (vlan, woken) in [(11, false), (99, true)] {
        stand
            .configure(&format!(
                "vlan {vlan} ;interface Ethernet1/1 ;switchport mode access ;switchport access vlan {vlan}"
            ))
            .await;
        stand.fog("POST", "/host/1/task", json!({"taskTypeID": 14})).await;
        let limit = if woken { LIMIT } else { Duration::from_millis(300) };
        assert_eq!(stand.pod1().wait(limit, power).await, woken, "VLAN {vlan}");
        stand.fog("DELETE", "/host/1/cancel", Value::Null).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_imaged_and_moved_to_another_network() {
    let stand = Stand::new().await;
    let pxe = "interface Ethernet1/1 ;switchport mode access ;switchport access vlan 99";
    stand.configure(pxe).await;
    let hosts = stand.fog("GET", "/host/search/pod1", Value::Null).await;
    let id = hosts["hosts"][0]["id"].as_str().expect("an id").to_owned();
    stand
        .fog("PUT", &format!("/host/{id}"), json!({"imageID": 17}))
        .await;
    stand
        .fog(
            "POST",
            &format!("/host/{id}/task"),
            json!({"taskTypeID": 1, "wol": false}),
        )
        .await;
    assert!(
        stand
            .ipmi(&[
                "raw", "0x00", "0x08", "0x05", "0x80", "0x04", "0x00", "0x00", "0x00"
            ])
            .await
    );
    assert!(stand.ipmi(&["chassis", "power", "on"]).await);
    let imaged = |machine: &Machine| machine.system().is_some() && machine.phase() == Phase::Up;
    assert!(
        stand.pod1().wait(LIMIT, imaged).await,
        "{:?}",
        stand.pod1().events()
    );
    assert_eq!(stand.lab.fog().tasks()[0].state, 4);
    assert_eq!(
        stand.pod1().system().map(|system| system.os.id),
        Some("ubuntu".into())
    );
    stand.logs_in(MANAGEMENT_VLAN, true).await;

    stand
        .configure("vlan 11 ;interface Ethernet1/1 ;switchport access vlan 11")
        .await;
    stand.logs_in(MANAGEMENT_VLAN, false).await;
    assert_eq!(
        stand
            .lab
            .port_state("pod1", "02:00:00:00:01:01")
            .and_then(|port| port.native),
        Some(11)
    );
    stand.pod1().set_power(false);
    stand.pod1().set_power(true);
    let moved = |machine: &Machine| machine.addresses().iter().any(|address| address.vlan == 11);
    assert!(stand.pod1().wait(LIMIT, moved).await);
    stand.logs_in(11, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pack_is_told_of_everything_and_secrets_are_closed() {
    use std::os::unix::fs::PermissionsExt;
    let stand = Stand::new().await;
    let keys = stand.lab.keys();
    let key = |name: &str| {
        keys.iter()
            .find(|key| key.name == name)
            .unwrap_or_else(|| panic!("{name}"))
    };
    assert_eq!(key("hosts").value, r#"["pod1","pod2"]"#);
    let pod2: Value = serde_json::from_str(&key("pod2").value).expect("JSON");
    assert_eq!(pod2["interfaces"]["02:00:00:00:02:03"]["port"], "Ethernet1/6");
    assert_eq!(pod2["addresses"]["11"], "127.128.11.2");
    for name in [
        "switch_127.98.0.1",
        "switch_127.98.0.2",
        "lab_auth_token",
        pod2["bmc"]["password_key"].as_str().expect("a key"),
    ] {
        assert!(key(name).secret, "{name}");
    }
    for path in stand.lab.files().values() {
        assert!(path.exists(), "{path:?}");
    }
    let files = stand.lab.files();
    let mode = std::fs::metadata(&files["datastore"])
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let open = std::fs::read_to_string(&files["hosts"]).expect("a file");
    for secret in keys.iter().filter(|key| key.secret) {
        assert!(!open.contains(&secret.value), "{}", secret.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timer_turns_an_ended_booking_into_its_cleanup() {
    let stand = Stand::new().await;
    let booking = stand
        .lab
        .dashboard()
        .book_capture(CaptureBooking::default())
        .expect("free hosts");
    stand.lab.dashboard().cancel(booking).expect("a booking");
    let has_ended = || {
        let job = stand.lab.dashboard().job(booking).expect("a job");
        job.tasks.iter().any(|task| task.delta["power"] == "off")
    };
    tokio::time::timeout(LIMIT, async {
        while !has_ended() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the dashboard polls");
}

/// A `laas-lab serve` that is killed with the test.
struct Served(std::process::Child);

impl Served {
    /// Answers with the line that says where everything is.
    fn start(arguments: &[&str]) -> (Self, Value) {
        let mut served = Command::new(env!("CARGO_BIN_EXE_laas-lab"))
            .args(["serve", "--pace", "zero", "--hosts", "2"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .map(Self)
            .expect("laas-lab");
        let mut line = String::new();
        let stdout = served.0.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let ready = serde_json::from_str(&line).expect("one line of JSON");
        (served, ready)
    }

    fn end(&mut self, signal: i32) -> ExitStatus {
        laas_lab::stack::signal(self.0.id(), signal);
        self.0.wait().expect("its end")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lab_that_is_killed_takes_its_processes_along_and_starts_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = ["--state", directory.path().to_str().expect("a path")];
    for _ in 0..2 {
        let (mut served, ready) = Served::start(&state);
        let control = ready["control"].as_str().expect("a URL");
        let client = Client::builder().no_proxy().build().expect("a client");
        let power = client
            .post(format!("{control}/hosts/pod1/power"))
            .json(&json!({"on": true}));
        assert!(power.send().await.expect("the lab").status().is_success());
        let left = children(served.0.id());
        served.end(libc::SIGKILL);
        let lives = |process: &&String| {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            // A zombie only waits for whoever adopted it.
            stat.rsplit(')')
                .next()
                .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
        };
        tokio::time::timeout(LIMIT, async {
            while left.iter().any(|process| lives(&process)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("the kernel kills the children");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_says_where_it_is_obeys_and_leaves_nothing_behind() {
    let (mut served, ready) = Served::start(&[]);
    let control = ready["control"].as_str().expect("a URL").to_owned();
    let client = Client::builder().no_proxy().build().expect("a client");
    let post = async |path: &str, body: Value| {
        let answer = client
            .post(format!("{control}{path}"))
            .json(&body)
            .send()
            .await
            .expect("the lab");
        answer.status().as_u16()
    };
    let booking = json!({"capture": {"alice_key": "ssh-ed25519 AAAA alice"}});
    for (path, body, status) in [
        ("/bookings", booking.clone(), 200),
        ("/bookings", booking, 409),
        ("/hosts/pod1/reimage", json!({"image": 22}), 200),
        ("/hosts/pod1/reimage", json!({}), 400),
        ("/hosts/pod9/power", json!({"on": true}), 404),
        ("/hosts/pod1/power", json!({"on": true}), 200),
        ("/hosts/pod1/dance", json!({}), 404),
        ("/bookings/1/end", json!({}), 200),
        ("/bookings/7/end", json!({}), 409),
        (
            "/faults",
            json!({"peer": "fog", "kind": "http500", "skip": 2, "times": 1}),
            200,
        ),
        ("/faults", json!({"peer": "host:pod9", "kind": "refuse"}), 404),
        ("/faults", json!({"peer": "ldap", "kind": "lie"}), 400),
        ("/switch/reload", json!({}), 200),
    ] {
        assert_eq!(post(path, body.clone()).await, status, "{path} {body}");
    }
    let state: Value = client
        .get(format!("{control}/state"))
        .send()
        .await
        .expect("the lab")
        .json()
        .await
        .expect("JSON");
    assert_eq!(state["hosts"][0]["power"], true, "{state}");
    assert_eq!(state["faults"]["fog"]["kind"], "http500");
    assert_eq!(state["jobs"].as_array().map(Vec::len), Some(1));

    let directory = Path::new(ready["files"]["config"].as_str().expect("a path"));
    let directory = directory.parent().expect("a directory").to_owned();
    assert!(directory.exists());
    let children = children(served.0.id());
    assert!(children.len() > 2, "slapd and a BMC for each host");
    assert!(served.end(libc::SIGTERM).success());
    assert!(!directory.exists());
    for child in children {
        assert!(
            !Path::new("/proc").join(&child).exists(),
            "process {child} is left"
        );
    }
}

/// The children of a process and all that is below them.
fn children(process: u32) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = vec![process.to_string()];
    while let Some(process) = next.pop() {
        let threads = std::fs::read_dir(format!("/proc/{process}/task"))
            .into_iter()
            .flatten()
            .flatten();
        for thread in threads {
            let list = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            next.extend(list.split_whitespace().map(str::to_owned));
            found.extend(list.split_whitespace().map(str::to_owned));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bot_remembers_unless_it_lies() {
    let stand = Stand::new().await;
    let post = async || {
        let url = format!("{}/notify", stand.lab.access().bot);
        let answer = stand
            .client
            .post(url)
            .body("pod1 failed")
            .send()
            .await
            .expect("the bot");
        assert!(answer.status().is_success());
    };
    post().await;
    stand.lab.faults().set(Peer::Bot, Kind::Lie).expect("the bot can");
    post().await;
    assert_eq!(stand.lab.bot().messages().len(), 1);
    assert_eq!(stand.lab.bot().messages()[0].path, "/notify");
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_of_a_host_may_go_to_either_switch() {
    use laas_lab::inventory::Make;
    let lab = Lab::start(LabOptions {
        cabled: |host, card| match (host, card) {
            (1, _) | (2, 1) => Make::Nxos,
            _ => Make::Eos,
        },
        ..LabOptions::default()
    })
    .await
    .expect("a lab");
    let keys = lab.keys();
    let key = |name: &str| -> Value {
        let key = keys.iter().find(|key| key.name == name).expect(name);
        serde_json::from_str(&key.value).expect("JSON")
    };
    for (mac, switch, port) in [
        ("02:00:00:00:02:01", "127.98.0.1", "Ethernet1/4"),
        ("02:00:00:00:02:02", "127.98.0.2", "Ethernet5"),
    ] {
        let card = &key("pod2")["interfaces"][mac];
        assert_eq!((&card["switch"], &card["port"]), (&json!(switch), &json!(port)));
    }
    assert_eq!(key("switch_127.98.0.2")["driver"], "eos");
    lab.eos()
        .type_in(&[
            "vlan 11",
            "interface Ethernet5",
            "switchport mode access",
            "switchport access vlan 11",
        ])
        .expect("lines of a switch");
    let port = lab.port_state("pod2", "02:00:00:00:02:02").expect("a port");
    assert_eq!(port.native, Some(11));
}
