//! What the actions do by IPMI they do by Redfish, too: the real executables against the lab's BMCs.

use crate::pack::{Ended, Pack};
use laas_lab::cabling::{Cabling, Order, Os, PxeServer, bmc_address};
use laas_lab::dashboard::{CaptureBooking, Dashboard};
use laas_lab::faults::{Fault, Faults, Kind, Peer};
use laas_lab::http::Server;
use laas_lab::inventory::{BmcKind, HostSpec};
use laas_lab::machine::{Device, Event, Machine, MachineOptions, Phase, Ports};
use laas_lab::pace::Pace;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

const PASSWORD: &str = "admin's <pw> & \"x";
const ILOS: [BmcKind; 3] = [BmcKind::Ilo5, BmcKind::Ilo4, BmcKind::Ilo4WithoutBoot];
const ALL: [BmcKind; 4] = [
    BmcKind::Ilo5,
    BmcKind::Ilo4,
    BmcKind::Ilo4WithoutBoot,
    BmcKind::Idrac,
];

/// Nobody answers a boot from the network.
struct Silence;

impl PxeServer for Silence {
    fn boot(&self, _: &str) -> Order {
        Order::Disk
    }

    fn progress(&self, _: u32, _: u8) {}

    fn finished(&self, _: u32, _: &Os) {}
}

/// `pod1` with such a BMC, a dashboard on which it is booked, and the pack.
pub struct Lab {
    pub machine: Machine,
    pub faults: Faults,
    pub pack: Pack,
    dashboard: Dashboard,
    _server: Server,
    _directory: tempfile::TempDir,
    // The last one: what was started in it ends in it.
    pub runtime: Runtime,
}

impl Lab {
    pub fn new(kind: BmcKind) -> Self {
        let runtime = Runtime::new().unwrap();
        let inside = runtime.enter();
        let directory = tempfile::tempdir().unwrap();
        let (faults, ports) = (Faults::default(), Ports::take().unwrap());
        let mut host = HostSpec::numbered(1);
        host.bmc = kind;
        let machine = runtime.block_on(Machine::start(MachineOptions {
            host,
            state_dir: directory.path().to_owned(),
            pace: Pace::zero(),
            cabling: Cabling::default(),
            faults: faults.clone(),
            pxe: Arc::new(Silence),
            ports: ports.clone(),
            authorized_key: String::new(),
            bmc_user: "ADMIN".to_owned(),
            bmc_password: PASSWORD.to_owned(),
        }));
        let dashboard = Dashboard::new("UNH_IOL", "token", &[]);
        dashboard.book_capture(CaptureBooking::default()).unwrap();
        let server = Server::start(
            Ipv4Addr::LOCALHOST,
            Peer::Dashboard,
            dashboard.router(),
            faults.clone(),
        );
        let server = runtime.block_on(server).unwrap();
        let config = json!({
            "dashboard": {"address": server.url(), "lab_name": "UNH_IOL"},
            "timing": {"call": 30, "power": 30, "boot": 30, "poll_ms": 20},
        });
        let host = json!({
            "fog_name": "pod1",
            "hostname": "127.0.0.1",
            "bmc": {
                "driver": "redfish", "address": bmc_address(1), "port": ports.redfish, "user": "ADMIN",
                "password_key": "bmc_admin_pod1", "tls": {"ca": directory.path().join("pod1/bmc.crt")},
            },
        });
        let keys = [
            ("hosts", json!(["pod1"])),
            ("pod1", host),
            ("bmc_admin_pod1", json!(PASSWORD)),
            ("lab_auth_token", json!("token")),
        ];
        drop(inside);
        Self {
            machine: machine.unwrap(),
            faults,
            pack: Pack::new(config, &keys),
            dashboard,
            _server: server,
            _directory: directory,
            runtime,
        }
    }

    fn impatient(mut self) -> Self {
        self.pack.config["timing"]["power"] = json!(1);
        self
    }

    fn peer() -> Peer {
        Peer::Bmc("pod1".to_owned())
    }

    /// Runs an action, which never says a password.
    pub fn run(&self, executable: &str, args: &[&str]) -> Ended {
        let ended = self.pack.run(executable, &[&["--host=pod1"], args].concat());
        let said = format!("{} {}", ended.document, ended.stderr);
        let mut secrets = vec![PASSWORD.to_owned()];
        for (key, value) in self.pack.keys() {
            let found = [&value["password"], &value["next"]["password"]];
            let found = found.iter().filter_map(|v| v.as_str().map(str::to_owned));
            secrets.extend(found.filter(|s| !s.is_empty() && key != "pod1"));
        }
        assert!(!secrets.iter().any(|s| said.contains(s.as_str())), "{ended:?}");
        ended
    }

    fn power(&self, args: &[&str]) -> Ended {
        self.run(env!("CARGO_BIN_EXE_ipmi_power"), args)
    }

    fn boot(&self, args: &[&str]) -> Ended {
        self.run(env!("CARGO_BIN_EXE_ipmi_boot_device"), args)
    }

    fn user(&self, args: &[&str]) -> Ended {
        self.run(env!("CARGO_BIN_EXE_bmc_user"), args)
    }

    /// As somebody at the rack does.
    pub fn switch(&self, on: bool) {
        let (was_on, before) = (self.machine.power(), self.machine.boots().len());
        let inside = self.runtime.enter();
        self.machine.set_power(on);
        drop(inside);
        if on && !was_on {
            self.until("a start", |machine| machine.boots().len() > before);
        }
    }

    fn until(&self, what: &str, wanted: impl Fn(&Machine) -> bool) {
        let reached = self
            .runtime
            .block_on(self.machine.wait(Duration::from_secs(60), wanted));
        assert!(reached, "{what}: {:?}", self.machine.events());
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Connections of the lab are tasks of the runtime.
        let _inside = self.runtime.enter();
        self.machine.set_power(false);
    }
}

#[test]
fn power_changes_once() {
    for kind in ALL {
        let lab = Lab::new(kind);
        let change = |changed, before, after| json!({"changed": changed, "host": "pod1", "before": before, "after": after});
        for (args, expected, told) in [
            (&["--command=on", "--dry_run"][..], change(true, "off", "on"), 0),
            (&["--command=on"], change(true, "off", "on"), 1),
            (&["--command=on"], change(false, "on", "on"), 1),
            (&["--command=status"], change(false, "on", "on"), 1),
            (&["--command=cycle"], change(true, "on", "on"), 3),
            (&["--command=reset"], change(true, "on", "on"), 4),
            (&["--command=off"], change(true, "on", "off"), 5),
            (&["--command=off"], change(false, "off", "off"), 5),
        ] {
            assert_eq!(lab.power(args).done(), expected, "{kind:?} {args:?}");
            assert_eq!(
                lab.machine.bmc_heard().len(),
                told,
                "{kind:?} {args:?}: {:?}",
                lab.machine.bmc_heard()
            );
        }
        let refused = lab.power(&["--command=reset"]).failed(1);
        assert!(refused["hint"].as_str().unwrap().contains("cycle"), "{refused}");
    }
}

#[test]
fn a_system_shuts_down_when_it_is_asked() {
    // iLO 5 has a shutdown, iLO 4 only the power button.
    for kind in [BmcKind::Ilo5, BmcKind::Ilo4] {
        let lab = Lab::new(kind);
        let os = Os {
            id: "ubuntu".into(),
            version: "22.04".into(),
        };
        lab.machine.install(17, os).unwrap();
        lab.power(&["--command=on"]).done();
        lab.until("up", |machine| machine.phase() == Phase::Up);
        assert_eq!(lab.power(&["--command=soft"]).done()["after"], "off");
        assert!(lab.machine.events().contains(&Event::ShuttingDown));
    }
}

#[test]
fn a_system_that_hears_nothing_is_switched_off_only_by_force() {
    let lab = Lab::new(BmcKind::Ilo5).impatient();
    lab.power(&["--command=on"]).done();
    let kept = lab.power(&["--command=soft"]).failed(1);
    assert!(kept["hint"].as_str().unwrap().contains("--force"), "{kept}");
    assert_eq!(lab.power(&["--command=soft", "--force"]).done()["after"], "off");
}

#[test]
fn every_device_reads_back_and_the_host_boots_from_it() {
    for kind in ALL {
        let lab = Lab::new(kind);
        let booted = |args: &[&str]| {
            lab.switch(false);
            for changed in [true, false] {
                let told = lab.boot(args).done();
                assert_eq!(told["changed"], changed, "{kind:?} {args:?}: {told}");
            }
            let before = lab.machine.boots().len();
            for boot in 1..=2 {
                lab.switch(true);
                lab.until("booted", |m| {
                    m.boots().len() == before + boot && m.phase() == Phase::Dead
                });
                lab.switch(false);
            }
            lab.machine.boots()[before..].to_vec()
        };
        assert_eq!(booted(&["--device=pxe"]), [Device::Pxe, Device::Disk], "{kind:?}");
        assert_eq!(
            booted(&["--device=pxe", "--persistent"]),
            [Device::Pxe, Device::Pxe],
            "{kind:?}"
        );
        assert_eq!(
            booted(&["--device=disk"]),
            [
                Device::Disk,
                match kind {
                    // The override for once took the place of the one that stood.
                    BmcKind::Idrac => Device::Disk,
                    _ => Device::Pxe,
                }
            ],
            "{kind:?}"
        );
        assert_eq!(
            booted(&["--device=disk", "--persistent"]),
            [Device::Disk, Device::Disk],
            "{kind:?}"
        );
        assert_eq!(
            booted(&["--device=bios"]),
            [Device::Disk, Device::Disk],
            "{kind:?}"
        );
        lab.boot(&["--device=pxe"]).done();
        lab.boot(&["--device=none"]).done();
        lab.switch(true);
        lab.until("booted", |m| m.phase() == Phase::Dead);
        assert_eq!(lab.machine.boots().last(), Some(&Device::Disk), "{kind:?}");
        let heard = lab.machine.bmc_heard();
        let sends_mode = heard.iter().any(|h| h.contains("BootSourceOverrideMode"));
        assert_eq!(sends_mode, kind == BmcKind::Idrac, "{heard:?}");
    }
}

#[test]
fn a_dry_run_tells_nobody() {
    for kind in ALL {
        let lab = Lab::new(kind);
        assert_eq!(lab.boot(&["--device=pxe", "--dry_run"]).done()["changed"], true);
        assert_eq!(lab.user(&["--request=r", "--dry_run"]).done()["changed"], true);
        assert_eq!(lab.machine.bmc_heard(), Vec::<String>::new());
        assert_eq!(lab.pack.key("bmc_user_pod1"), Value::Null);
    }
}

#[test]
fn each_tenant_gets_an_account_and_loses_it() {
    for kind in ALL {
        let lab = Lab::new(kind);
        let slot = if kind == BmcKind::Idrac { 3 } else { 2 };
        let made = lab.user(&["--request=one"]).done();
        let expected = json!({
            "changed": true, "host": "pod1", "user": "opnfv", "privilege": "operator", "address": bmc_address(1),
            "mac": "02:00:00:00:01:b0", "slot": slot,
        });
        assert_eq!(made, expected, "{kind:?}");
        assert_eq!(lab.machine.bmc_accounts(), ["ADMIN", "opnfv"], "{kind:?}");
        let first = lab.pack.key("bmc_user_pod1");
        assert_eq!(
            json!(lab.dashboard.bmc("pod1").unwrap().password),
            first["password"]
        );
        let heard = lab.machine.bmc_heard().len();
        assert_eq!(lab.user(&["--request=one"]).done()["changed"], false);
        assert_eq!(
            (lab.machine.bmc_heard().len(), lab.pack.key("bmc_user_pod1")),
            (heard, first.clone())
        );

        let next = lab.user(&["--request=two"]).done();
        assert_eq!((&next["changed"], &next["slot"]), (&json!(true), &json!(slot)));
        assert_ne!(lab.pack.key("bmc_user_pod1")["password"], first["password"]);
        assert_eq!(lab.machine.bmc_accounts(), ["ADMIN", "opnfv"], "{kind:?}");

        let revoked = lab.user(&["--revoke"]).done();
        assert_eq!(revoked["changed"], true, "{kind:?}: {revoked}");
        assert_eq!(lab.machine.bmc_accounts(), ["ADMIN"], "{kind:?}");
        assert_eq!(lab.user(&["--revoke"]).done()["changed"], false, "{kind:?}");
    }
}

#[test]
fn an_account_is_finished_wherever_it_was_left() {
    for kind in ALL {
        let lab = Lab::new(kind);
        // Killed after the password was stored, and the BMC gives the slot itself.
        let slot = if kind == BmcKind::Idrac {
            json!(3)
        } else {
            json!("+")
        };
        let stored = json!({
            "user": "opnfv", "password": "Sixteen0letters1", "slot": slot, "request": "r", "posted": false,
        });
        lab.pack.set_key("bmc_user_pod1", &stored);
        assert_eq!(lab.user(&["--request=r"]).done()["changed"], true);
        assert_eq!(lab.pack.key("bmc_user_pod1")["password"], "Sixteen0letters1");
        // Killed after the BMC made it and before that was written down.
        lab.pack.set_key("bmc_user_pod1", &stored);
        assert_eq!(lab.user(&["--request=r"]).done()["changed"], true);
        assert_eq!(lab.machine.bmc_accounts(), ["ADMIN", "opnfv"], "{kind:?}");
        assert_eq!(lab.user(&["--request=r"]).done()["changed"], false);
    }
}

#[test]
fn a_bmc_says_what_it_is() {
    for (kind, model, firmware) in [
        (BmcKind::Ilo5, "ProLiant DL360 Gen10", "iLO 5 v2.78"),
        (BmcKind::Ilo4, "ProLiant DL360 Gen9", "iLO 4 v2.82"),
        (BmcKind::Idrac, "PowerEdge R640", "6.10.30.00"),
    ] {
        let lab = Lab::new(kind);
        let info = lab.run(env!("CARGO_BIN_EXE_bmc_info"), &[]).done();
        assert_eq!(
            (&info["model"], &info["firmware"]),
            (&json!(model), &json!(firmware)),
            "{info}"
        );
        assert_eq!(
            (&info["mac"], &info["protocol"]),
            (&json!("02:00:00:00:01:b0"), &json!("Redfish 1.6.0"))
        );
        let names: Vec<_> = info["sensors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            ["01-Inlet Ambient", "02-CPU 1", "Fan 1", "Server"],
            "{info}"
        );
    }
}

#[test]
fn every_fault_is_told_apart_and_none_is_taken_for_success() {
    for kind in [BmcKind::Ilo5, BmcKind::Ilo4WithoutBoot] {
        let mut lab = Lab::new(kind).impatient();
        lab.pack.config["timing"]["call"] = json!(1);
        for (fault, code) in [
            (Kind::Refuse, 3),
            (Kind::Hang, 3),
            (Kind::Http500, 3),
            (Kind::Html, 3),
            (Kind::CutJson, 3),
            (Kind::Trickle, 3),
            (Kind::WrongCredentials, 1),
            (Kind::Lie, 1),
        ] {
            lab.faults.set(Lab::peer(), Fault::from(fault)).unwrap();
            for ended in [
                lab.power(&["--command=on"]),
                lab.boot(&["--device=pxe"]),
                lab.user(&["--request=r"]),
            ] {
                let failed = ended.failed(code);
                assert_eq!(
                    (&failed["peer"], &failed["host"]),
                    (&json!("bmc"), &json!("pod1")),
                    "{fault:?}"
                );
            }
            lab.faults.clear(&Lab::peer());
            assert!(!lab.machine.power(), "{fault:?}");
            assert_eq!(lab.machine.bmc_accounts(), ["ADMIN"], "{fault:?}");
        }
        // One that passes is only a matter of another run.
        let fault = Fault {
            kind: Kind::CutJson,
            skip: 1,
            times: Some(1),
        };
        lab.faults.set(Lab::peer(), fault).unwrap();
        lab.power(&["--command=on"]).failed(3);
        lab.power(&["--command=on"]).done();
    }
}

#[test]
fn a_password_that_is_wrong_is_wrong_in_ribcl_too() {
    for kind in ILOS {
        let lab = Lab::new(kind);
        lab.pack.set_key("bmc_admin_pod1", &json!("not-the-password"));
        let locked = lab.boot(&["--device=pxe"]).failed(1);
        assert!(
            locked["hint"].as_str().unwrap().contains("bmc.password_key"),
            "{locked}"
        );
    }
}
