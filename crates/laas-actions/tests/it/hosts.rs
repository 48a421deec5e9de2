//! The actions that work inside a host, against a machine of the lab.

use crate::pack::{Ended, Pack, Running, wait_for};
use laas_lab::cabling::Os;
use laas_lab::faults::{Kind, Peer};
use laas_lab::lab::{Lab, LabOptions};
use laas_lab::machine::{Machine, Phase};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

pub const REQUEST: &str = "aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da:0a1b2c3d4e5f6071:0";
pub const NETWORKS: &str = r#"{"02:00:00:00:01:01":[{"vlan_id":11,"tagged":false},{"vlan_id":103,"tagged":true}],"02:00:00:00:01:02":[],"02:00:00:00:01:03":[]}"#;

/// A lab of one host that is up on the management network, and the pack.
pub struct Stand {
    pub lab: Lab,
    pub pack: Pack,
    pub runtime: tokio::runtime::Runtime,
}

impl Stand {
    pub fn new(os: &str, version: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let options = LabOptions {
            hosts: 1,
            ..LabOptions::default()
        };
        let lab = runtime.block_on(Lab::start(options)).unwrap();
        let mut config = lab.config();
        config["timing"]["boot"] = json!(10);
        let keys: Vec<_> = lab
            .keys()
            .into_iter()
            .map(|k| (k.name, Value::from(k.value)))
            .collect();
        let keys: Vec<_> = keys
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        let stand = Self {
            lab,
            pack: Pack::new(config, &keys),
            runtime,
        };
        stand.switch_vlan("--hosts", json!(["pod1"]));
        let os = Os {
            id: os.to_owned(),
            version: version.to_owned(),
        };
        stand.machine().install(17, os).unwrap();
        stand.boot();
        stand
    }

    pub fn machine(&self) -> &Machine {
        self.lab.machine("pod1").unwrap()
    }

    pub fn boot(&self) {
        let _guard = self.runtime.enter();
        self.machine().set_power(false);
        self.machine().set_power(true);
        wait_for("the boot", || (self.machine().phase() == Phase::Up).then_some(()));
    }

    pub fn switch_vlan(&self, flag: &str, value: Value) {
        let executable = env!("CARGO_BIN_EXE_switch_vlan");
        self.pack.run(executable, &[&format!("{flag}={value}")]).done();
    }

    pub fn wait_for_host(&self, args: &[&str]) -> Ended {
        let args: Vec<_> = ["--host=pod1"].iter().chain(args).copied().collect();
        self.pack.run(env!("CARGO_BIN_EXE_wait_for_host"), &args)
    }

    pub fn set_hostname(&self, name: &str) -> Ended {
        let hostname = format!("--hostname={name}");
        self.pack
            .run(env!("CARGO_BIN_EXE_set_hostname"), &["--host=pod1", &hostname])
    }

    pub fn host_network(&self, args: &[&str]) -> Ended {
        let interfaces = format!("--interfaces={NETWORKS}");
        let args: Vec<_> = ["--host=pod1", &interfaces].iter().chain(args).copied().collect();
        self.pack.run(env!("CARGO_BIN_EXE_host_network"), &args)
    }

    pub fn start_host_network(&self) -> Running {
        let interfaces = format!("--interfaces={NETWORKS}");
        let args = ["--host=pod1", &interfaces];
        self.pack.start(env!("CARGO_BIN_EXE_host_network"), &args)
    }

    fn copy_keys(&self, user: u64, key: &str) -> Ended {
        let args = [
            "--job_id=1".to_owned(),
            format!("--user={user}"),
            format!("--key={key}"),
            r#"--hosts=["pod1"]"#.to_owned(),
        ];
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        self.pack.run(env!("CARGO_BIN_EXE_copy_keys"), &args)
    }

    /// A path of the host's own file system, seen from outside.
    pub fn inside(&self, path: &str) -> PathBuf {
        self.machine().root().unwrap().join(path.trim_start_matches('/'))
    }

    /// One that the pack has deployed.
    pub fn deployed(os: &str, version: &str) -> Self {
        let stand = Self::new(os, version);
        stand.wait_for_host(&[&format!("--request={REQUEST}")]).done();
        stand
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.inside(path)).unwrap_or_default()
    }

    /// A new key pair: the private key's file and the public key's line.
    pub fn key_pair(&self, name: &str) -> (PathBuf, String) {
        let path = self.lab.directory().join(name);
        let args = ["-q", "-t", "ed25519", "-N", "", "-C", "$(reboot) it's me", "-f"];
        assert!(
            Command::new("ssh-keygen")
                .args(args)
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        (path, public)
    }

    /// The VLANs on which the host is reached.
    pub fn reachable_vlans(&self) -> Vec<u16> {
        let addresses = self.machine().addresses();
        let reachable = addresses.iter().filter(|address| address.reachable);
        let mut vlans: Vec<_> = reachable.map(|address| address.vlan).collect();
        vlans.sort_unstable();
        vlans
    }

    /// Every file of the host's `/etc`, with its size and time.
    pub fn listing(&self) -> String {
        let output = Command::new("find")
            .arg(self.inside("/etc"))
            .args(["-printf", "%p %s %T@\n"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Behind the pack's back, on the management network.
    pub fn as_root(&self, command: &str) {
        let key = PathBuf::from(self.pack.config["ssh"]["key_file"].as_str().unwrap());
        let address = std::net::Ipv4Addr::new(127, 99, 0, 1);
        let ssh = self.lab.ssh(address, "root", &key, command);
        let output = self.runtime.block_on(ssh).unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    pub fn logs_in(&self, key: &std::path::Path) -> bool {
        self.logs_in_as("opnfv", key)
    }

    pub fn logs_in_as(&self, account: &str, key: &std::path::Path) -> bool {
        let address = std::net::Ipv4Addr::new(127, 99, 0, 1);
        let output = self
            .runtime
            .block_on(self.lab.ssh(address, account, key, "true"))
            .unwrap();
        output.status.success()
    }
}

#[test]
fn a_host_is_set_up_and_nothing_changes_the_second_time() {
    let stand = Stand::new("ubuntu", "22.04");
    // A host that the pack has not deployed is a stranger.
    let unknown = stand.set_hostname("jump").failed(2);
    assert!(
        unknown["hint"].as_str().unwrap().contains("wait_for_host"),
        "{unknown}"
    );

    let new = ["--image=17", &format!("--request={REQUEST}")];
    let first = stand.wait_for_host(&new).done();
    assert_eq!(
        (&first["changed"], &first["os"]["id"]),
        (&json!(true), &json!("ubuntu"))
    );
    assert_eq!(
        stand.pack.key("ssh_host_key_pod1")["fingerprint"],
        first["host_key"]
    );
    assert_eq!(stand.wait_for_host(&new).done()["changed"], false);
    assert_eq!(stand.wait_for_host(&[]).done()["changed"], false);

    assert_eq!(stand.set_hostname("jump.lab").done()["changed"], true);
    assert_eq!(stand.machine().hostname().as_deref(), Some("jump.lab"));
    assert_eq!(stand.read("/etc/hostname"), "jump.lab\n");
    assert_eq!(stand.set_hostname("jump.lab").done()["changed"], false);

    let (alice, alice_key) = stand.key_pair("alice");
    let (bob, bob_key) = stand.key_pair("bob");
    let foreign = "# left by the image\n";
    stand.as_root("install -d -o opnfv -g opnfv /home/opnfv/.ssh");
    std::fs::write(stand.inside("/home/opnfv/.ssh/authorized_keys"), foreign).unwrap();
    assert!(!stand.logs_in(&alice));
    assert_eq!(stand.copy_keys(3, &alice_key).done()["changed"], true);
    assert!(stand.logs_in(&alice) && !stand.logs_in(&bob));
    assert_eq!(stand.copy_keys(3, &alice_key).done()["changed"], false);
    assert_eq!(stand.copy_keys(4, &bob_key).done()["changed"], true);
    assert!(stand.logs_in(&alice) && stand.logs_in(&bob));
    let file = stand.read("/home/opnfv/.ssh/authorized_keys");
    assert!(
        file.starts_with(foreign) && file.lines().count() == 3 && !file.contains("reboot"),
        "{file}"
    );
    stand
        .copy_keys(
            3,
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITestOnlyKeyForBob bob@example",
        )
        .failed(2);

    let before = stand.host_network(&["--dry_run"]).done();
    assert_eq!(
        (
            &before["changed"],
            stand.read("/etc/netplan/60-laas.yaml").as_str()
        ),
        (&json!(true), "")
    );
    let written = stand.host_network(&[]).done();
    assert_eq!(
        written["written"],
        json!(["/etc/netplan/60-laas.yaml"]),
        "{written}"
    );
    assert_eq!(written["set_aside"], before["set_aside"]);
    assert_eq!(stand.host_network(&[]).done()["changed"], false);
    // Nothing is left to write and the host's own tool was never content, as after a run that died before it asked.
    let broken = "/run/netplan/90-broken.yaml";
    stand.as_root(&format!("mkdir -p /run/netplan && echo 'network: [' > {broken}"));
    let file = stand.read("/etc/netplan/60-laas.yaml");
    let refused = stand.host_network(&[]).failed(1);
    assert!(
        refused["error"].as_str().unwrap().contains("netplan generate"),
        "{refused}"
    );
    assert_eq!(stand.read("/etc/netplan/60-laas.yaml"), file);
    assert_eq!(stand.host_network(&["--dry_run"]).done()["changed"], false);
    stand.as_root(&format!("rm {broken}"));
    assert_eq!(stand.host_network(&[]).done()["changed"], false);
    // The proof is the next boot: the host is on its VLANs, and nowhere else.
    let interfaces: Value = serde_json::from_str(NETWORKS).unwrap();
    stand.switch_vlan("--networks", json!([{"host": "pod1", "interfaces": interfaces}]));
    stand.boot();
    let found = stand.wait_for_host(&["--vlans=[11]"]).done();
    assert_eq!(found["address"], "127.128.11.1");
    assert_eq!(stand.reachable_vlans(), [11, 103]);
}

#[test]
fn an_old_system_is_not_taken_for_the_new_one() {
    let stand = Stand::new("ubuntu", "22.04");
    stand
        .wait_for_host(&["--image=17", &format!("--request={REQUEST}")])
        .done();
    let pinned = stand.pack.key("ssh_host_key_pod1");
    let other = REQUEST.replace(":0a", ":1b");
    let still = stand
        .wait_for_host(&["--image=17", &format!("--request={other}")])
        .failed(1);
    assert!(still["error"].as_str().unwrap().contains(REQUEST), "{still}");
    assert_eq!(stand.pack.key("ssh_host_key_pod1"), pinned);
    // The inventory says that image 25 holds CentOS.
    let wrong = stand
        .wait_for_host(&["--image=25", &format!("--request={REQUEST}")])
        .failed(1);
    assert!(wrong["error"].as_str().unwrap().contains("centos"), "{wrong}");
}

#[test]
fn a_system_that_was_noted_before_a_deploy_is_an_old_one() {
    let stand = Stand::new("ubuntu", "22.04");
    let hosts =
        json!([{"host": "pod1", "hardware": {"request": REQUEST}}, {"host": "pod9", "hardware": null}]);
    let hosts = format!("--hosts={hosts}");
    let note = |flags: &[&str]| {
        let args: Vec<_> = [hosts.as_str()].iter().chain(flags).copied().collect();
        stand.pack.run(env!("CARGO_BIN_EXE_note_systems"), &args)
    };
    let foreseen = note(&["--dry_run"]).done();
    assert_eq!(foreseen["changed"], true);
    let noted = note(&[]).done();
    assert_eq!(noted, foreseen);
    assert_eq!(noted["hosts"][0]["fingerprints"].as_array().unwrap().len(), 1);
    assert_eq!(note(&[]).done()["changed"], false);

    let request = format!("--request={REQUEST}");
    let still = stand.wait_for_host(&[&request]).failed(1);
    assert!(
        still["hint"].as_str().unwrap().contains("ssh_host_"),
        "the image may be to blame: {still}"
    );
    assert_eq!(stand.read("/etc/laas-request"), "", "it is left as it is");
    // Another system on the disk is the new one, and a run after that does not note it as old.
    let os = stand.machine().system().unwrap().os;
    stand.machine().install(17, os).unwrap();
    stand.boot();
    assert_eq!(note(&[]).done()["changed"], false);
    stand.wait_for_host(&[&request]).done();
}

#[test]
fn a_host_whose_capture_broke_off_is_found_with_its_new_key() {
    let stand = Stand::deployed("ubuntu", "22.04");
    let pinned = stand.pack.key("ssh_host_key_pod1");
    let new_keys = || {
        stand.as_root("rm -f /etc/laas-request /etc/ssh/ssh_host_*");
        stand.boot();
    };
    // A tenant may do that, too.
    new_keys();
    let stranger = stand.wait_for_host(&[]).failed(1);
    assert!(
        stranger["error"].as_str().unwrap().contains("not the pinned"),
        "{stranger}"
    );
    let capture = json!({"request": REQUEST.replace(":0a", ":1b")});
    stand.pack.set_key("prepared_pod1", &capture);
    let found = stand.wait_for_host(&[]).done();
    assert_eq!(found["changed"], true);
    assert_ne!(stand.pack.key("ssh_host_key_pod1"), pinned);
    assert_eq!(stand.wait_for_host(&[]).done()["changed"], false);
    new_keys();
    stand.wait_for_host(&[]).failed(1);
}

#[test]
fn a_system_that_nobody_knows_is_left_alone() {
    let stand = Stand::new("debian", "10");
    stand.wait_for_host(&[&format!("--request={REQUEST}")]).done();
    stand.as_root("rm /etc/systemd/system/*.wants/networking.service");
    let before = stand.listing();
    let unknown = stand.host_network(&[]).failed(2);
    assert!(
        unknown["error"].as_str().unwrap().contains("debian 10"),
        "{unknown}"
    );
    assert_eq!(stand.listing(), before);
}

#[test]
fn a_host_that_does_not_answer_is_worth_a_retry() {
    let mut stand = Stand::new("ubuntu", "22.04");
    stand.wait_for_host(&[&format!("--request={REQUEST}")]).done();
    let patient = stand.pack.config["timing"].clone();
    for (kind, seconds, code) in [
        (Kind::Refuse, 1, 3),
        (Kind::Hang, 1, 3),
        (Kind::WrongCredentials, 5, 1),
    ] {
        stand.pack.config["timing"]["boot"] = json!(seconds);
        stand.pack.config["timing"]["call"] = json!(seconds);
        stand
            .lab
            .faults()
            .set(Peer::Host("pod1".to_owned()), kind)
            .unwrap();
        for ended in [
            stand.set_hostname("jump"),
            stand.host_network(&[]),
            stand.wait_for_host(&[]),
        ] {
            let document = ended.failed(code);
            assert_eq!(
                (&document["peer"], &document["host"]),
                (&json!("host"), &json!("pod1")),
                "{kind:?} {document}"
            );
        }
    }
    stand.lab.faults().clear(&Peer::Host("pod1".to_owned()));
    stand.pack.config["timing"] = patient;
    stand.set_hostname("jump").done();
}
