//! After a power cut: who is switched on, and who never is.

use crate::ipmitool::{BUSY, StandIn, ten_moments};
use crate::pack::{Ended, Pack, wait_for};
use crate::sim::{ADMIN, PASSWORD, Sim};
use laas_core::Secret;
use laas_dashboard::Dashboard as Client;
use laas_lab::dashboard::{CaptureBooking, Dashboard, HostSpec};
use laas_lab::faults::{Fault, Faults, Kind, Peer};
use laas_lab::http::Server;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const BOOT: &str = env!("CARGO_BIN_EXE_boot_booked_hosts");

/// `pod1` and `pod2` are booked and their job is done, `pod3` is free, `pod4` is not the dashboard's; all are off.
struct Lab {
    sims: [Sim; 3],
    dashboard: Dashboard,
    faults: Faults,
    pack: Pack,
    _server: Server,
    _runtime: Runtime,
}

impl Lab {
    fn new() -> Self {
        let lab = Self::with_a_job();
        let config = serde_json::from_value(lab.pack.config["dashboard"].clone()).unwrap();
        let client = Client::new(&config, &Secret::new("token"), Duration::from_secs(30)).unwrap();
        for task in lab.dashboard.job(1).unwrap().tasks {
            let id = task.id.parse().unwrap();
            client.post_task(1, &id, 200, "done", None).unwrap();
        }
        lab
    }

    /// Nothing of the job has been done yet.
    fn with_a_job() -> Self {
        let sims = [Sim::start_bare(), Sim::start_bare(), Sim::start_bare()];
        let dashboard = Dashboard::new("UNH_IOL", "token", &[]);
        dashboard.book_capture(CaptureBooking::default()).unwrap();
        dashboard.add_host(HostSpec::new("pod3", &[])).unwrap();
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
        let host = |number: usize| {
            json!({"fog_name": "pod", "hostname": "127.0.0.1", "bmc": {
                "address": "127.0.0.1", "port": sims[number.min(3) - 1].port, "user": ADMIN,
                "password_key": "bmc_admin", "cipher": 3,
            }})
        };
        let keys = [
            ("hosts", json!(["pod1", "pod2", "pod3", "pod4"])),
            ("pod1", host(1)),
            ("pod2", host(2)),
            ("pod3", host(3)),
            ("pod4", host(4)),
            ("bmc_admin", json!(PASSWORD)),
            ("lab_auth_token", json!("token")),
        ];
        Self {
            pack: Pack::new(config, &keys),
            sims,
            dashboard,
            faults,
            _server: server,
            _runtime: runtime,
        }
    }

    fn boot(&self, args: &[&str]) -> Ended {
        self.pack.run(BOOT, &[&["--interval=0"], args].concat())
    }

    /// What the chassis of each host was told.
    fn told(&self) -> [usize; 3] {
        self.sims.each_ref().map(|sim| sim.events().len())
    }
}

fn row(host: &str, booked: Option<bool>, power: [&str; 2], changed: bool, skipped: Option<&str>) -> Value {
    let power = power.map(|state| {
        if state.is_empty() {
            Value::Null
        } else {
            json!(state)
        }
    });
    json!({
        "host": host, "booked": booked, "before": power[0], "after": power[1], "changed": changed,
        "skipped": skipped, "error": null,
    })
}

#[test]
fn what_is_booked_and_off_is_switched_on_once() {
    let lab = Lab::new();
    lab.sims[1].set_power(true);
    let table = |changed, before| {
        json!({"changed": changed, "hosts": [
            row("pod1", Some(true), [before, "on"], changed, None),
            row("pod2", Some(true), ["on", "on"], false, None),
            row("pod3", Some(false), ["", ""], false, None),
            row("pod4", None, ["", ""], false, Some("the dashboard does not know it")),
        ]})
    };
    assert_eq!(lab.boot(&["--dry_run"]).done(), table(true, "off"));
    assert_eq!(lab.told(), [0, 0, 0]);
    assert_eq!(lab.boot(&[]).done(), table(true, "off"));
    assert_eq!(lab.told(), [1, 0, 0]);
    assert_eq!(lab.boot(&[]).done(), table(false, "on"));
    assert_eq!(lab.told(), [1, 0, 0]);
    // What is left of it at a terminal is on stderr; elsewhere there is no table.
    assert!(!lab.boot(&[]).stderr.contains("BOOKED"));
}

#[test]
fn only_those_that_are_named_are_looked_at() {
    let mut lab = Lab::new();
    lab.pack
        .env
        .push(("LAAS_HOSTS", r#"["pod2","pod3","pod2"]"#.into()));
    let hosts = lab.boot(&[]).done()["hosts"].clone();
    assert_eq!(hosts.as_array().unwrap().len(), 2);
    assert_eq!(lab.told(), [0, 1, 0]);
    for (hosts, code, words) in [
        (r#"["pod4"]"#, 1, "knows none"),
        (r#"["pod9"]"#, 2, "`pod9`"),
        ("no JSON", 2, "hosts"),
    ] {
        lab.pack.env.retain(|(name, _)| *name != "LAAS_HOSTS");
        lab.pack.env.push(("LAAS_HOSTS", hosts.into()));
        let failed = lab.boot(&[]).failed(code);
        assert!(failed["error"].as_str().unwrap().contains(words), "{failed}");
    }
    assert_eq!(lab.told(), [0, 1, 0]);
}

#[test]
fn a_dashboard_that_does_not_answer_well_means_that_nothing_is_touched() {
    let mut lab = Lab::new();
    lab.pack.config["timing"]["call"] = json!(1);
    for (kind, code) in [
        (Kind::Refuse, 3),
        (Kind::Hang, 3),
        (Kind::Http500, 3),
        (Kind::Html, 3),
        (Kind::CutJson, 3),
        (Kind::WrongCredentials, 1),
    ] {
        // Also when it has answered for some hosts, and for the lists.
        for skip in [0, 2, 4, 5] {
            let fault = Fault {
                kind,
                skip,
                times: None,
            };
            lab.faults.set(Peer::Dashboard, fault).unwrap();
            let failed = lab.boot(&[]).failed(code);
            assert_eq!(failed["peer"], "dashboard", "{kind:?} {failed}");
            assert_eq!(lab.told(), [0, 0, 0], "{kind:?} {skip}");
            lab.faults.clear(&Peer::Dashboard);
        }
    }
}

#[test]
fn a_host_that_is_worked_on_is_left_to_its_job() {
    let lab = Lab::with_a_job();
    let hosts = lab.boot(&[]).done();
    assert_eq!(hosts["changed"], false);
    for number in 0..2 {
        let skipped = hosts["hosts"][number]["skipped"].as_str().unwrap();
        assert!(skipped.contains("job 1"), "{skipped}");
    }
    // Without a job FOG can be at a host's disk, too.
    let lab = Lab::new();
    for (key, record) in [
        ("image_pod1", json!({"image": 17})),
        (
            "capture_pod1",
            json!({"by_hand": true, "snapshot": "web", "image": null, "name": null, "version": null,
                   "previous": 17, "replaced": null}),
        ),
        ("wipe_pod1", json!({"mode": "full"})),
    ] {
        let set = |state: &str| {
            let mut record = record.clone();
            record["request"] = json!("r");
            record["fog_task"] = json!(1);
            record["state"] = json!(state);
            lab.pack.set_key(key, &record);
        };
        for state in ["starting", "running"] {
            set(state);
            let hosts = lab.boot(&[]).done();
            let skipped = hosts["hosts"][0]["skipped"].as_str().unwrap();
            assert!(skipped.contains(key), "{skipped}");
        }
        set("done");
    }
    assert_eq!(lab.told(), [0, 1, 0]);
    assert_eq!(lab.boot(&[]).done()["changed"], true);
    assert_eq!(lab.told(), [1, 1, 0]);
}

#[test]
fn a_job_that_begins_meanwhile_has_the_host_for_itself() {
    let mut lab = Lab::new();
    let stand_in = StandIn::before(&mut lab.pack);
    let gate = tempfile::tempdir().unwrap();
    let gate = gate.path().join("open");
    let script = format!("while [ ! -e {} ]; do sleep 0.01; done", gate.display());
    stand_in.when("raw 0x00 0x02 0x01", &script);
    let running = lab.pack.start(BOOT, &["--interval=0", "--concurrency=1"]);
    wait_for("the first host's start", || {
        let lines = stand_in.lines();
        lines
            .iter()
            .any(|line| line.contains("raw 0x00 0x02"))
            .then_some(())
    });
    lab.dashboard.reimage("pod2", 17).unwrap();
    std::fs::write(&gate, "").unwrap();
    let done = running.end().done();
    assert_eq!(done["hosts"][0]["after"], "on");
    let second = &done["hosts"][1];
    assert_eq!(
        (&second["after"], &second["changed"]),
        (&json!("off"), &json!(false))
    );
    assert!(second["skipped"].as_str().unwrap().contains("job 1"), "{second}");
    assert_eq!(lab.told(), [1, 0, 0]);
}

#[test]
fn one_that_fails_does_not_keep_the_others_off() {
    let mut lab = Lab::new();
    lab.pack.config["timing"]["power"] = json!(2);
    lab.sims[0].misbehave("lie");
    let failed = lab.boot(&["--concurrency=1"]).failed(1);
    assert_eq!(
        (&failed["peer"], &failed["host"]),
        (&json!("bmc"), &json!("pod1"))
    );
    let hosts = &failed["done"]["hosts"];
    assert!(
        hosts[0]["error"].as_str().unwrap().contains("still off"),
        "{hosts}"
    );
    assert_eq!(
        (&hosts[1]["after"], &hosts[1]["changed"]),
        (&json!("on"), &json!(true))
    );
    assert_eq!(failed["done"]["changed"], true);

    // The dashboard of 2022 says no more of a host that it does not know.
    let lab = Lab::new();
    let fault = Fault {
        kind: Kind::Http500,
        skip: 0,
        times: Some(1),
    };
    lab.faults.set(Peer::Dashboard, fault).unwrap();
    let failed = lab.boot(&["--concurrency=1"]).failed(3);
    assert_eq!(
        (&failed["peer"], &failed["host"]),
        (&json!("dashboard"), &json!("pod1"))
    );
    let hosts = &failed["done"]["hosts"];
    assert!(
        hosts[0]["error"].as_str().unwrap().contains("HTTP 500"),
        "{hosts}"
    );
    assert_eq!(hosts[1]["after"], "on");
    assert_eq!(lab.told(), [0, 1, 0]);

    // Of one that is busy and one that hangs nothing is known, and the next run may do better.
    let mut lab = Lab::new();
    lab.pack.config["timing"]["call"] = json!(2);
    let stand_in = StandIn::before(&mut lab.pack);
    for (port, script) in [(lab.sims[0].port, BUSY), (lab.sims[1].port, "exec sleep 1000")] {
        stand_in.when(&format!("-p {port} "), script);
        let failed = lab.boot(&[]).failed(3);
        assert_eq!(failed["peer"], "bmc");
        assert!(!stand_in.is_at_work());
        stand_in.behave();
    }
    lab.boot(&[]).done();
    assert_eq!(lab.told(), [1, 1, 0]);
    assert!(stand_in.lines().iter().all(|line| !line.contains(PASSWORD)));
}

#[test]
fn starts_are_apart() {
    let lab = Lab::new();
    let begun = Instant::now();
    let done = lab.pack.run(BOOT, &["--interval=2"]).done();
    assert_eq!(lab.told(), [1, 1, 0], "{done}");
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(lab.pack.run(BOOT, &["--interval=61"]).code, Some(2));
}

#[test]
fn a_run_that_was_killed_anywhere_is_finished_by_the_next() {
    let mut lab = Lab::new();
    let stand_in = StandIn::before(&mut lab.pack);
    lab.boot(&["--concurrency=1"]).done();
    let calls = stand_in.lines().len();
    for (call, after) in ten_moments(23, calls) {
        lab.sims.iter().for_each(|sim| sim.set_power(false));
        stand_in.kill_at(call, after);
        assert_eq!(lab.boot(&["--concurrency=1"]).code, None, "{call} {after}");
        stand_in.behave();
        let done = lab.boot(&[]).done();
        for host in 0..2 {
            assert_eq!(done["hosts"][host]["after"], "on", "{call} {after}");
        }
        assert_eq!(lab.boot(&[]).done()["changed"], false);
    }
    assert_eq!(lab.sims[2].events().len(), 0);
}
