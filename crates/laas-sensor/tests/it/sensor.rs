//! The executable between a dashboard and an engine.

use crate::engine::{Engine, TOKEN};
use laas_lab::dashboard::{BookedHost, BookingSpec, CaptureBooking, Dashboard, HostSpec, Role};
use laas_lab::faults::{Fault, Faults, Kind, Peer};
use laas_lab::http::Server;
use laas_sensor::watchdog::Watchdog;
use serde_json::json;
use std::io::Read;
use std::net::Ipv4Addr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_dashboard_sensor");
/// Between two looks.
const POLL: Duration = Duration::from_millis(20);
/// More requests than any test makes.
const MANY: u32 = 1_000_000;

struct Lab {
    dashboard: Dashboard,
    dashboard_faults: Faults,
    engine: Engine,
    engine_faults: Faults,
    servers: [Server; 2],
    _runtime: Runtime,
}

/// Killed when dropped.
struct Sensor(Child);

impl Lab {
    /// The captured booking is job 1; job 2 has one host and nothing else.
    fn new() -> Self {
        let dashboard = Dashboard::new("UNH_IOL", "token", &[]);
        dashboard.book_capture(CaptureBooking::default()).unwrap();
        dashboard.add_host(HostSpec::new("pod3", &[])).unwrap();
        let host = BookedHost {
            labid: "pod3".to_owned(),
            image: 17,
            hostname: "solo".to_owned(),
            role: Role::default(),
            networks: [].into(),
        };
        let booking = BookingSpec {
            owner: 3,
            collaborators: vec![],
            hosts: vec![host],
            opnfv: None,
            snapshot: None,
        };
        assert_eq!(dashboard.book(booking), Ok(2));
        let engine = Engine::default();
        engine.lock().dashboard_token = Some("token".to_owned());
        let runtime = Runtime::new().unwrap();
        let (dashboard_faults, engine_faults) = (Faults::default(), Faults::default());
        // The engine may have any peer's faults; FOG's credentials are of another header.
        let servers = [
            Server::start(
                Ipv4Addr::LOCALHOST,
                Peer::Dashboard,
                dashboard.router(),
                dashboard_faults.clone(),
            ),
            Server::start(
                Ipv4Addr::LOCALHOST,
                Peer::Fog,
                engine.router(),
                engine_faults.clone(),
            ),
        ]
        .map(|server| runtime.block_on(server).unwrap());
        Self {
            dashboard,
            dashboard_faults,
            engine,
            engine_faults,
            servers,
            _runtime: runtime,
        }
    }

    fn config(&self) -> String {
        let config = json!({
            "dashboard": {
                "address": self.servers[0].url(),
                "lab_name": "UNH_IOL",
                "poll_ms": POLL.as_millis() as u64,
            },
            "timing": {"call": 1},
        });
        config.to_string()
    }

    fn start(&self) -> Sensor {
        let mut command = Command::new(EXECUTABLE);
        command.env_clear().env("LAAS_CONFIG", self.config());
        self.spawn(command)
    }

    fn spawn(&self, mut command: Command) -> Sensor {
        let command = command
            .env("ST2_API_URL", self.servers[1].url())
            .env("ST2_AUTH_TOKEN", TOKEN)
            .stderr(Stdio::piped());
        Sensor(command.spawn().unwrap())
    }

    /// Waits until so many jobs were dispatched, and gives them.
    fn dispatched(&self, count: usize) -> Vec<u64> {
        wait_for(&format!("{count} dispatches"), || {
            Some(self.engine.dispatched()).filter(|d| d.len() >= count)
        })
    }

    /// Lets the sensor look a few times more: what it would still do wrong, it has done then.
    fn a_few_looks_later(&self) {
        let unharmed = Fault {
            kind: Kind::Refuse,
            skip: MANY,
            times: None,
        };
        self.dashboard_faults.set(Peer::Dashboard, unharmed).unwrap();
        wait_for("a look", || {
            let fault = self.dashboard_faults.all()[&Peer::Dashboard];
            (fault.skip <= MANY - 6).then_some(())
        });
        self.dashboard_faults.clear(&Peer::Dashboard);
    }
}

/// Sets a fault and waits until a request has met it.
fn meet(faults: &Faults, peer: Peer, kind: Kind) {
    let fault = Fault {
        kind,
        skip: 0,
        times: Some(MANY),
    };
    faults.set(peer.clone(), fault).unwrap();
    wait_for("a request", || {
        (faults.all()[&peer].times < Some(MANY)).then_some(())
    });
}

impl Sensor {
    fn terminate(&self) {
        let pid = libc::pid_t::try_from(self.0.id()).unwrap();
        // SAFETY: the child was not waited for, so the process is ours.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    }

    /// How it ended, and its log.
    fn end(mut self) -> (ExitStatus, String) {
        let status = wait_for("the sensor's end", || self.0.try_wait().unwrap());
        let mut log = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (status, log)
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let ends = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < ends, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn each_job_is_handed_out_once() {
    let lab = Lab::new();
    let sensor = lab.start();
    assert_eq!(lab.dispatched(2), [1, 2]);
    lab.a_few_looks_later();
    assert_eq!(
        lab.engine.lock().dispatched,
        [(1, "laas-job-1".to_owned()), (2, "laas-job-2".to_owned())]
    );
    sensor.terminate();
    let (status, log) = sensor.end();
    assert!(status.success(), "{log}");
    assert!(!log.contains("token"), "{log}");
}

#[test]
fn what_only_the_lab_remembers_is_handed_out_too() {
    let lab = Lab::new();
    let record = |job: u64, state: u16, release: bool| json!({"job": job, "digest": "d", "state": state, "execution": null, "time": 1, "host": "pod9", "release": release});
    let key = |number: u8| format!("task_00000000-0000-4000-8000-00000000000{number}");
    // A release that failed; a booking that was deleted while it ran; a job of the lists; what is not readable.
    lab.engine.lock().ledger = vec![
        (key(1), record(7, 300, true)),
        (key(2), record(8, 200, false)),
        (key(3), record(1, 100, false)),
        (key(4), json!("garbled")),
    ];
    let sensor = lab.start();
    let mut jobs = lab.dispatched(4);
    jobs.sort_unstable();
    assert_eq!(jobs, [1, 2, 7, 8]);
    lab.a_few_looks_later();
    assert_eq!(lab.engine.dispatched().len(), 4);
    drop(sensor);
}

#[test]
fn a_job_with_a_live_execution_is_left_to_it() {
    for status in [
        "requested",
        "scheduled",
        "delayed",
        "running",
        "pausing",
        "paused",
        "resuming",
        "canceling",
    ] {
        let lab = Lab::new();
        // Only the second page shows the one of job 1.
        let others = (1000..1150).map(|job| (job, status));
        lab.engine.lock().live = others.chain([(1, status)]).collect();
        let _sensor = lab.start();
        assert_eq!(lab.dispatched(1), [2], "{status}");
        lab.a_few_looks_later();
        assert_eq!(lab.engine.dispatched(), [2], "{status}");
        lab.engine.lock().live.retain(|(job, _)| *job != 1);
        assert_eq!(lab.dispatched(2), [2, 1], "{status}");
    }
}

#[test]
fn a_job_that_the_engine_refuses_does_not_stop_the_others() {
    let lab = Lab::new();
    lab.engine.lock().refused = vec![1];
    let _sensor = lab.start();
    assert_eq!(lab.dispatched(1), [2]);
    lab.engine.lock().refused.clear();
    assert_eq!(lab.dispatched(2), [2, 1]);
}

#[test]
fn a_broken_list_of_what_is_done_stops_no_booking() {
    let lab = Lab::new();
    lab.dashboard.set_done_broken(true);
    let sensor = lab.start();
    assert_eq!(lab.dispatched(2), [1, 2]);
    sensor.terminate();
    let (_, log) = sensor.end();
    assert!(log.contains("jobs/done"), "{log}");
}

#[test]
fn a_watchdog_barks_at_work_that_does_not_end_and_at_no_other() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let watchdog = Watchdog::start(Duration::from_millis(500), move || sender.send(()).unwrap());
    watchdog.during(|| ());
    assert!(receiver.recv_timeout(Duration::from_secs(2)).is_err());
    let barked = watchdog.during(|| receiver.recv_timeout(Duration::from_secs(60)));
    assert_eq!(barked, Ok(()));
}

#[test]
fn every_answer_is_survived() {
    for kind in [
        Kind::Refuse,
        Kind::Hang,
        Kind::Http500,
        Kind::Html,
        Kind::CutJson,
        Kind::Trickle,
        Kind::Http403,
        Kind::Http502,
        Kind::WrongCredentials,
    ] {
        let lab = Lab::new();
        let sensor = lab.start();
        // It may have been quicker than the fault: what counts is that it goes on after it.
        meet(&lab.dashboard_faults, Peer::Dashboard, kind);
        lab.dashboard_faults.clear(&Peer::Dashboard);
        lab.dispatched(2);
        lab.a_few_looks_later();
        drop(sensor);

        // FOG, which stands in for the engine here, neither loses its credentials nor refuses everything.
        if matches!(kind, Kind::WrongCredentials | Kind::Http403) {
            continue;
        }
        let lab = Lab::new();
        lab.engine_faults.set(Peer::Fog, kind).unwrap();
        let _sensor = lab.start();
        meet(&lab.engine_faults, Peer::Fog, kind);
        lab.engine_faults.clear(&Peer::Fog);
        assert_eq!(lab.dispatched(2), [1, 2], "engine {kind:?}");
    }
}

#[test]
fn a_token_that_is_set_later_or_changed_is_found() {
    let lab = Lab::new();
    lab.engine.lock().dashboard_token = None;
    let sensor = lab.start();
    wait_for("a look for the key", || {
        (lab.engine.lock().keys_read > 3).then_some(())
    });
    lab.engine.lock().dashboard_token = Some("wrong".to_owned());
    lab.a_few_looks_later();
    assert_eq!(lab.engine.dispatched(), [0_u64; 0]);
    lab.engine.lock().dashboard_token = Some("token".to_owned());
    assert_eq!(lab.dispatched(2), [1, 2]);
    sensor.terminate();
    let (_, log) = sensor.end();
    // Each trouble is told once, not with each look.
    assert_eq!(log.matches("has no key").count(), 1, "{log}");
    assert!(log.matches("refuses our token").count() <= 1, "{log}");
}

#[test]
fn it_ends_when_the_engine_refuses_its_token() {
    let lab = Lab::new();
    lab.engine.lock().live = vec![(1, "running"), (2, "running")];
    let sensor = lab.start();
    lab.a_few_looks_later();
    lab.engine.lock().token_expired = true;
    let (status, log) = sensor.end();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("the engine refuses our token"), "{log}");
}

#[test]
fn it_stops_at_once_whatever_it_waits_for() {
    let lab = Lab::new();
    let sensor = lab.start();
    meet(&lab.dashboard_faults, Peer::Dashboard, Kind::Hang);
    let begun = Instant::now();
    sensor.terminate();
    let (status, log) = sensor.end();
    assert!(status.success(), "{log}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn without_a_configuration_it_says_what_is_missing() {
    let output = Command::new(EXECUTABLE)
        .env_clear()
        .env("LAAS_CONFIG", "{}")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("`dashboard` is missing"), "{log}");
}

/// As much of StackStorm's class as the pack's inherits.
const ST2REACTOR: &str = "
class Sensor:
    def __init__(self, sensor_service, config=None):
        self.config = config or {}
";
/// As much of StackStorm's wrapper as starts it.
const WRAPPER: &str = "
import json, sys
from dashboard_sensor import DashboardSensor
sensor = DashboardSensor(None, config=json.loads(sys.argv[1]))
sensor.setup()
sensor.run()
";

#[test]
fn the_python_class_becomes_it() {
    let lab = Lab::new();
    let pack = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let dir = tempfile::tempdir().unwrap();
    let place = |path: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    std::fs::write(place("st2reactor/sensor/base.py"), ST2REACTOR).unwrap();
    let class = "sensors/dashboard_sensor.py";
    std::fs::copy(format!("{pack}/{class}"), place(class)).unwrap();
    std::os::unix::fs::symlink(EXECUTABLE, place("actions/bin/dashboard_sensor")).unwrap();
    let mut python = Command::new("python3");
    let path = format!("{0}:{0}/sensors", dir.path().display());
    python
        .args(["-c", WRAPPER, &lab.config()])
        .env("PYTHONPATH", path)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let sensor = lab.spawn(python);
    assert_eq!(lab.dispatched(2), [1, 2]);
    // The signal reaches the process that StackStorm started.
    sensor.terminate();
    let (status, log) = sensor.end();
    assert!(status.success(), "{log}");
}

#[test]
fn a_dashboard_that_is_away_is_a_line_in_the_log_not_one_per_look() {
    let lab = Lab::new();
    let away = Fault {
        kind: Kind::Refuse,
        skip: 0,
        times: Some(MANY),
    };
    lab.dashboard_faults.set(Peer::Dashboard, away).unwrap();
    let sensor = lab.start();
    // A refused connection says so in one of several ways.
    wait_for("forty refusals", || {
        let fault = lab.dashboard_faults.all()[&Peer::Dashboard];
        (fault.times < Some(MANY - 40)).then_some(())
    });
    lab.dashboard_faults.clear(&Peer::Dashboard);
    assert_eq!(lab.dispatched(2), [1, 2]);
    sensor.terminate();
    let (_, log) = sensor.end();
    assert_eq!(log.matches("trying again").count(), 1, "{log}");
    assert_eq!(log.matches("everything answers again").count(), 1, "{log}");
}
