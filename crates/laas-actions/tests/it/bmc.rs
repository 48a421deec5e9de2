//! Power, boot device and the tenants' account, against ipmi_sim with the real ipmitool.

use crate::pack::{Ended, Pack, wait_for};
use crate::sim::{ADMIN, PASSWORD, Sim};
use laas_lab::dashboard::{CaptureBooking, Dashboard};
use laas_lab::faults::{Fault, Faults, Kind, Peer};
use laas_lab::http::Server;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use tokio::runtime::Runtime;

/// `pod1` with a BMC, a dashboard on which it is booked, and the pack.
pub struct Lab {
    pub sim: Sim,
    pub dashboard: Dashboard,
    pub faults: Faults,
    pub pack: Pack,
    _server: Server,
    _runtime: Runtime,
}

impl Lab {
    pub fn new() -> Self {
        Self::at(Sim::start())
    }

    pub fn at(sim: Sim) -> Self {
        let dashboard = Dashboard::new("UNH_IOL", "token", &[]);
        dashboard.book_capture(CaptureBooking::default()).unwrap();
        let (faults, runtime) = (Faults::default(), Runtime::new().unwrap());
        let server = Server::start(
            Ipv4Addr::LOCALHOST,
            Peer::Dashboard,
            dashboard.router(),
            faults.clone(),
        );
        let server = runtime.block_on(server).unwrap();
        let config = json!({
            "dashboard": {"address": server.url(), "lab_name": "UNH_IOL"},
            "timing": {"call": 30, "power": 30, "poll_ms": 20},
        });
        let host = json!({
            "fog_name": "pod1",
            "hostname": "127.0.0.1",
            "bmc": {
                "address": "127.0.0.1", "port": sim.port, "user": ADMIN, "password_key": "bmc_admin_pod1", "cipher": 3,
            },
        });
        let keys = [
            ("hosts", json!(["pod1", "pod2"])),
            ("pod1", host),
            ("pod2", json!({"fog_name": "pod2", "hostname": "127.0.0.1"})),
            ("bmc_admin_pod1", json!(PASSWORD)),
            ("lab_auth_token", json!("token")),
        ];
        Self {
            pack: Pack::new(config, &keys),
            sim,
            dashboard,
            faults,
            _server: server,
            _runtime: runtime,
        }
    }

    /// For an end that is known to be bad.
    pub fn impatient(mut self) -> Self {
        self.pack.config["timing"]["power"] = json!(1);
        self
    }

    pub fn power(&self, args: &[&str]) -> Ended {
        self.pack.run(
            env!("CARGO_BIN_EXE_ipmi_power"),
            &[&["--host=pod1"], args].concat(),
        )
    }

    pub fn boot(&self, args: &[&str]) -> Value {
        self.pack
            .run(
                env!("CARGO_BIN_EXE_ipmi_boot_device"),
                &[&["--host=pod1"], args].concat(),
            )
            .done()
    }

    pub fn user(&self, request: &str, args: &[&str]) -> Ended {
        let request = format!("--request={request}");
        let ended = self.pack.run(
            env!("CARGO_BIN_EXE_bmc_user"),
            &[&["--host=pod1", &request], args].concat(),
        );
        if let Some(password) = self.pack.key("bmc_user_pod1")["password"].as_str() {
            assert!(
                !ended.document.to_string().contains(password) && !ended.stderr.contains(password),
                "{ended:?}"
            );
        }
        ended
    }

    /// What the datastore has of the tenant.
    pub fn account(&self) -> Value {
        self.pack.key("bmc_user_pod1")
    }

    pub fn opens(&self, password: &Value) -> bool {
        let port = self.sim.port.to_string();
        let status = std::process::Command::new("ipmitool")
            .args([
                "-I",
                "lanplus",
                "-H",
                "127.0.0.1",
                "-p",
                &port,
                "-C",
                "3",
                "-U",
                "opnfv",
                "-E",
            ])
            .args(["-L", "OPERATOR", "chassis", "power", "status"])
            .env("IPMI_PASSWORD", password.as_str().unwrap())
            .output()
            .unwrap();
        status.status.success()
    }
}

#[test]
fn power_changes_once() {
    let lab = Lab::new();
    let change = |changed, before, after| json!({"changed": changed, "host": "pod1", "before": before, "after": after});
    for (args, expected, told) in [
        (&["--command=on", "--dry_run"][..], change(true, "off", "on"), 0),
        (&["--command=on"], change(true, "off", "on"), 1),
        (&["--command=on"], change(false, "on", "on"), 1),
        (&["--command=status"], change(false, "on", "on"), 1),
        (&["--command=cycle"], change(true, "on", "on"), 3),
        (&["--command=reset"], change(true, "on", "on"), 4),
        (&["--command=soft", "--force"], change(true, "on", "off"), 5),
        (&["--command=soft"], change(false, "off", "off"), 5),
        (&["--command=off"], change(false, "off", "off"), 5),
    ] {
        assert_eq!(lab.power(args).done(), expected, "{args:?}");
        assert_eq!(lab.sim.events().len(), told, "{args:?}: {:?}", lab.sim.events());
    }
}

#[test]
fn what_goes_wrong_at_a_bmc_names_it_and_the_host() {
    let lab = Lab::new().impatient();
    lab.sim.misbehave("lie");
    let lied = lab.power(&["--command=on"]).failed(1);
    assert_eq!((&lied["peer"], &lied["host"]), (&json!("bmc"), &json!("pod1")));
    let error = lied["error"].as_str().unwrap();
    assert!(
        error.contains("`127.0.0.1`") && error.contains("still off"),
        "{error}"
    );

    let lied = lab
        .pack
        .run(
            env!("CARGO_BIN_EXE_ipmi_boot_device"),
            &["--host=pod1", "--device=pxe"],
        )
        .failed(1);
    assert_eq!((&lied["peer"], &lied["host"]), (&json!("bmc"), &json!("pod1")));
    assert!(
        lied["error"].as_str().unwrap().contains("took the boot device"),
        "{lied}"
    );

    lab.pack.set_key("bmc_admin_pod1", &json!("not-the-password"));
    let locked = lab.power(&["--command=status"]);
    assert!(!locked.stderr.contains("not-the-password"), "{locked:?}");
    let locked = locked.failed(1);
    assert!(
        locked["hint"].as_str().unwrap().contains("bmc.password_key"),
        "{locked}"
    );

    lab.pack.set_key("bmc_admin_pod1", &Value::Null);
    assert_eq!(lab.power(&["--command=status"]).failed(2)["host"], "pod1");
    for (args, word) in [
        (&["--command=on", "--force"][..], "soft"),
        (&["--command=dance"], "dance"),
        (&[], "--command <COMMAND>"),
        (&["--host=pod2", "--command=on"], "cannot be used multiple"),
    ] {
        let error = lab.power(args).failed(2)["error"].to_string();
        assert!(error.contains(word), "{error}");
    }
    let dance = lab.power(&["--command=dance"]).failed(2);
    assert_eq!(
        dance["hint"],
        "possible values: status, on, off, soft, cycle, reset"
    );
    let long = format!("--command={}\n", "x".repeat(100_000));
    let error = lab.power(&[&long]).failed(2)["error"].to_string();
    assert!(error.len() < 500 && error.contains("invalid value"), "{error}");
    let without = lab
        .pack
        .run(env!("CARGO_BIN_EXE_ipmi_power"), &["--host=pod2", "--command=on"])
        .failed(2);
    assert!(without["error"].as_str().unwrap().contains("no BMC"), "{without}");
}

#[test]
fn a_system_that_ignores_the_power_button_is_switched_off_by_force() {
    let lab = Lab::new().impatient();
    lab.sim.misbehave("deaf");
    lab.sim.set_power(true);
    let kept = lab.power(&["--command=soft"]).failed(1);
    assert!(kept["hint"].as_str().unwrap().contains("--force"), "{kept}");
    assert_eq!(lab.power(&["--command=soft", "--force"]).done()["after"], "off");
}

#[test]
fn a_cancel_ends_the_wait() {
    let lab = Lab::new();
    lab.sim.misbehave("deaf");
    lab.sim.set_power(true);
    let running = lab.pack.start(
        env!("CARGO_BIN_EXE_ipmi_power"),
        &["--host=pod1", "--command=soft", "--force"],
    );
    wait_for("the button", || (!lab.sim.events().is_empty()).then_some(()));
    running.interrupt();
    running.end().failed(4);
    assert_eq!(lab.sim.events(), ["ignored"], "nothing was forced");
}

#[test]
fn the_boot_device_is_told_and_changes_once() {
    let lab = Lab::new();
    let planned = lab.boot(&["--device=pxe", "--uefi", "--dry_run"]);
    assert_eq!(
        (&planned["changed"], &planned["after"]["uefi"]),
        (&json!(true), &json!(true))
    );
    assert!(lab.sim.events().is_empty());
    for changed in [true, false] {
        let told = lab.boot(&["--device=pxe", "--uefi"]);
        assert_eq!(
            (&told["changed"], &told["after"]["device"]),
            (&json!(changed), &json!("pxe"))
        );
    }
    assert_eq!(lab.boot(&["--device=none"])["before"]["device"], "pxe");
    assert_eq!(lab.sim.events().last().unwrap(), "boot none");
}

#[test]
fn a_bmc_says_what_it_knows() {
    let lab = Lab::new();
    let info = |lab: &Lab| lab.pack.run(env!("CARGO_BIN_EXE_bmc_info"), &["--host=pod1"]);
    let said = info(&lab).done();
    let sensors = said["sensors"].as_array().unwrap();
    assert_eq!(
        sensors[0],
        json!({"name": "CPU Temp", "value": 38.0, "unit": "degrees C", "text": null, "state": "ok"})
    );
    assert_eq!(sensors[2]["state"], "critical");
    let mut rest = said.clone();
    rest["sensors"].take();
    assert_eq!(
        rest,
        json!({
            "host": "pod1", "manufacturer": "Lab Systems", "model": "Server 1U", "firmware": "9.08",
            "protocol": "IPMI 2.0", "mac": "02:00:00:00:00:10", "sensors": null,
        })
    );
    assert_eq!(info(&lab).done(), said);
    assert!(lab.sim.events().is_empty());
    lab.pack.set_key("bmc_admin_pod1", &json!("not-the-password"));
    assert_eq!(info(&lab).failed(1)["peer"], "bmc");

    let said = info(&Lab::at(Sim::start_bare())).done();
    assert_eq!((&said["model"], &said["sensors"]), (&Value::Null, &json!([])));
}

#[test]
fn each_tenant_gets_a_password_of_its_own() {
    let lab = Lab::new();
    assert_eq!(lab.user("task:digest:0", &["--dry_run"]).done()["changed"], true);
    assert_eq!((lab.account(), lab.dashboard.bmc("pod1")), (Value::Null, None));

    let made = lab.user("task:digest:0", &[]).done();
    let expected = json!({
        "changed": true, "host": "pod1", "user": "opnfv", "privilege": "operator", "address": "127.0.0.1",
        "mac": "02:00:00:00:00:10", "slot": 4,
    });
    assert_eq!(made, expected);
    let first = lab.account();
    assert!(lab.opens(&first["password"]));
    let told = lab.dashboard.bmc("pod1").unwrap();
    assert_eq!(
        (told.address.as_str(), told.user.as_str()),
        ("127.0.0.1", "opnfv")
    );
    assert_eq!(json!(told.password), first["password"]);

    assert_eq!(lab.user("task:digest:0", &[]).done()["changed"], false);
    assert_eq!(lab.account(), first);

    let next = lab.user("other:digest:0", &[]).done();
    assert_eq!((&next["changed"], &next["slot"]), (&json!(true), &json!(4)));
    assert!(lab.opens(&lab.account()["password"]) && !lab.opens(&first["password"]));
    assert_eq!(
        json!(lab.dashboard.bmc("pod1").unwrap().password),
        lab.account()["password"]
    );
}

#[test]
fn an_account_is_finished_wherever_it_was_left() {
    let lab = Lab::new();
    // Killed after the password was stored and before the BMC heard of it.
    let stored =
        json!({"user": "opnfv", "password": "Sixteen0letters1", "slot": 4, "request": "r", "posted": false});
    lab.pack.set_key("bmc_user_pod1", &stored);
    assert_eq!(lab.user("r", &[]).done()["changed"], true);
    assert!(lab.opens(&json!("Sixteen0letters1")));
    // The dashboard does not hear of the next one.
    lab.faults
        .set(Peer::Dashboard, Fault::from(Kind::Http500))
        .unwrap();
    let failed = lab.user("s", &[]).failed(3);
    assert_eq!(
        (&failed["peer"], &failed["host"]),
        (&json!("dashboard"), &json!("pod1"))
    );
    assert!(
        failed["hint"].as_str().unwrap().contains("not booked"),
        "{failed}"
    );
    let left = lab.account();
    assert_eq!(
        (&left["posted"], lab.opens(&left["password"])),
        (&json!(false), true)
    );
    lab.faults.clear(&Peer::Dashboard);
    assert_eq!(lab.user("s", &[]).done()["changed"], true);
    assert_eq!(lab.account()["password"], left["password"]);
    assert_eq!(
        json!(lab.dashboard.bmc("pod1").unwrap().password),
        left["password"]
    );
    assert_eq!(lab.user("s", &[]).done()["changed"], false);
}

#[test]
fn the_labs_own_account_is_never_given_away() {
    let lab = Lab::new();
    // `ADMIN` is no name that the parameter lets through; a slot of the inventory could name it.
    assert_eq!(lab.user("r", &["--user=ADMIN"]).code, Some(2));
    let mut host = lab.pack.key("pod1");
    host["bmc"]["user_slot"] = json!(2);
    lab.pack.set_key("pod1", &host);
    let refused = lab.user("r", &[]).failed(2);
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .contains("the lab's own account"),
        "{refused}"
    );
    assert_eq!(lab.account(), Value::Null);
    assert_eq!(lab.power(&["--command=status"]).code, Some(0));
}
