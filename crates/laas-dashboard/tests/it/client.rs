//! The client against a dashboard that behaves as the real one does, traps included.

use laas_core::config;
use laas_core::names::TaskId;
use laas_core::{Classify, Kind, Secret};
use laas_dashboard::{BmcAccess, Dashboard, DashboardError, List};
use laas_lab::dashboard::{CaptureBooking, Dashboard as Fake, HostSpec, TaskType};
use laas_lab::faults::{self, Fault, Faults, Peer};
use laas_lab::http::Server;
use serde_json::json;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::runtime::Runtime;

const TOKEN: &str = "token";

struct Lab {
    fake: Fake,
    faults: Faults,
    url: String,
    _server: Server,
    _runtime: Runtime,
}

impl Lab {
    /// With the captured booking as job 1.
    fn new() -> Self {
        let fake = Fake::new("UNH_IOL", TOKEN, &[]);
        fake.book_capture(CaptureBooking::default()).unwrap();
        let faults = Faults::default();
        let runtime = Runtime::new().unwrap();
        let start = Server::start(
            Ipv4Addr::LOCALHOST,
            Peer::Dashboard,
            fake.router(),
            faults.clone(),
        );
        let server = runtime.block_on(start).unwrap();
        Self {
            url: server.url(),
            fake,
            faults,
            _server: server,
            _runtime: runtime,
        }
    }

    fn client(&self, token: &str) -> Dashboard {
        let config: config::Dashboard =
            serde_json::from_value(json!({"address": format!("{}/", self.url), "lab_name": "UNH_IOL"}))
                .unwrap();
        Dashboard::new(&config, &Secret::new(token), Duration::from_millis(500)).unwrap()
    }

    fn task(&self, task_type: TaskType, subject: &str) -> TaskId {
        let tasks = self.fake.job(1).unwrap().tasks.into_iter();
        let mut found = tasks.filter(|t| t.task_type == task_type && t.subject == subject);
        found.next().unwrap().id.parse().unwrap()
    }

    fn status(&self, task: &TaskId) -> i32 {
        let tasks = self.fake.job(1).unwrap().tasks;
        tasks.iter().find(|t| t.id == task.as_str()).unwrap().status
    }
}

#[test]
fn a_task_through_its_lists() {
    let lab = Lab::new();
    // A key that was set from a file ends in a line end.
    let client = lab.client("token\n");
    let task = lab.task(TaskType::Hardware, "pod1");
    for (status, list) in [(100, List::Current), (200, List::Done)] {
        client
            .post_task(1, &task, status, "Grüße & <b>", Some("kati4"))
            .unwrap();
        let jobs = client.jobs(list).unwrap();
        assert_eq!(jobs[0].tasks[0].id, task);
    }
    assert_eq!(client.jobs(List::New).unwrap()[0].tasks.len(), 5);
    assert_eq!(client.task(1, &task).unwrap()["lab_token"], "kati4");
    // A post without a message leaves the one that is there.
    client.post_task(1, &task, 300, "", None).unwrap();
    let state = lab.fake.job(1).unwrap().tasks;
    let state = state.iter().find(|t| t.id == task.as_str()).unwrap();
    assert_eq!((state.status, state.message.as_str()), (300, "Grüße & <b>"));
}

#[test]
fn refusals_are_told_apart_from_trouble() {
    let lab = Lab::new();
    let client = lab.client(TOKEN);
    let unknown: TaskId = "00000000-0000-4000-8000-000000000000".parse().unwrap();
    let error = client.task(1, &unknown).unwrap_err();
    assert!(
        matches!(error, DashboardError::Answer { status: 500, .. }),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::Unreachable);
    let error = lab.client("wrong").jobs(List::New).unwrap_err();
    assert!(matches!(error, DashboardError::Token), "{error}");
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.hint().unwrap().contains("lab_auth_token"));
}

#[test]
fn no_answer_is_believed_unread() {
    let lab = Lab::new();
    let client = lab.client(TOKEN);
    let task = lab.task(TaskType::Hardware, "pod1");
    for kind in [
        faults::Kind::Refuse,
        faults::Kind::Hang,
        faults::Kind::Http500,
        faults::Kind::Html,
        faults::Kind::CutJson,
        faults::Kind::Trickle,
    ] {
        lab.faults.set(Peer::Dashboard, kind).unwrap();
        for error in [
            client.jobs(List::New).unwrap_err(),
            client.task(1, &task).unwrap_err(),
            client.post_task(1, &task, 100, "secret", None).unwrap_err(),
        ] {
            assert_eq!(error.kind(), Kind::Unreachable, "{kind:?}: {error}");
            let said = laas_core::failure::chain(&error);
            assert!(!said.contains("secret"), "{kind:?}: {said}");
        }
    }
    lab.faults.clear(&Peer::Dashboard);
    // The answer to the last post was cut, and the dashboard had taken it.
    assert_eq!(lab.status(&task), 100);
    lab.faults.set(Peer::Dashboard, faults::Kind::Lie).unwrap();
    let error = client.post_task(1, &task, 200, "", None).unwrap_err();
    assert!(matches!(error, DashboardError::NotTaken { .. }), "{error}");
    assert_eq!(lab.status(&task), 100);
}

#[test]
fn saved_although_the_mail_failed() {
    let lab = Lab::new();
    let client = lab.client(TOKEN);
    lab.fake.set_mail_down(true);
    let tasks = lab.fake.job(1).unwrap().tasks;
    let ids: Vec<TaskId> = tasks.iter().map(|t| t.id.parse().unwrap()).collect();
    let (last, others) = ids.split_last().unwrap();
    for task in others {
        client.post_task(1, task, 200, "", None).unwrap();
    }
    let error = client.post_task(1, last, 200, "", None).unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    assert_eq!(lab.status(last), 200);
    client.post_task(1, last, 200, "", None).unwrap();
}

#[test]
fn bmc_access() {
    let lab = Lab::new();
    lab.fake
        .add_host(HostSpec::new("pod5", &["02:00:00:00:05:01"]))
        .unwrap();
    let client = lab.client(TOKEN);
    let access = BmcAccess {
        address: Ipv4Addr::new(10, 99, 0, 1),
        mac: "02:00:00:00:aa:01".parse().unwrap(),
        user: "opnfv".to_owned(),
        password: Secret::new("s3cret&<"),
    };
    let post = |host: &str| client.post_bmc(&host.parse().unwrap(), &access);
    post("pod1").unwrap();
    let unbooked = post("pod5").unwrap_err();
    assert_eq!(unbooked.kind(), Kind::Unreachable, "{unbooked}");
    let unknown = post("pod9").unwrap_err();
    assert_eq!(unknown.kind(), Kind::Refused, "{unknown}");
    let lie = Fault::from(faults::Kind::Lie);
    lab.faults.set(Peer::Dashboard, lie).unwrap();
    let refused = post("pod1").unwrap_err();
    assert!(matches!(&refused, DashboardError::Refused { error, .. } if error.contains("address")));
    for error in [unbooked, unknown, refused] {
        let said = laas_core::failure::chain(&error);
        assert!(said.contains("BMC access") && !said.contains("s3cret"), "{said}");
    }
}

#[test]
fn a_host_is_booked_or_not_or_nobody_the_dashboard_knows() {
    let lab = Lab::new();
    lab.fake.add_host(HostSpec::new("pod9", &[])).unwrap();
    let client = lab.client(TOKEN);
    for (host, booked) in [("pod1", Some(true)), ("pod9", Some(false)), ("pod77", None)] {
        assert_eq!(
            client.is_booked(&host.parse().unwrap()).unwrap(),
            booked,
            "{host}"
        );
    }
    let pod1 = "pod1".parse().unwrap();
    let refused = lab.client("other").is_booked(&pod1).unwrap_err();
    assert!(matches!(refused, DashboardError::Token), "{refused}");
    for fault in [faults::Kind::Html, faults::Kind::Http500, faults::Kind::CutJson] {
        lab.faults.set(Peer::Dashboard, Fault::from(fault)).unwrap();
        assert!(client.is_booked(&pod1).is_err(), "{fault:?}");
    }
}
