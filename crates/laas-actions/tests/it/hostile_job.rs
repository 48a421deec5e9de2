//! A dashboard that hands out one hostile value: its task's user reads why in a line, and all else goes on.

use crate::hostile_values::is_legible;
use crate::pack::Pack;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use laas_lab::dashboard::{CaptureBooking, Dashboard, TaskState, TaskType};
use laas_lab::faults::{Faults, Peer};
use laas_lab::http::Server;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use tokio::runtime::Runtime;

/// Puts a value into a task of whatever the dashboard answers.
#[derive(Clone)]
struct Change {
    task: String,
    pointer: &'static str,
    value: Value,
}

impl Change {
    fn of_delta(&self, delta: &mut Value) {
        // Posts are answered with the delta in another shape, which the pack does not work on.
        if let Some(place) = delta.pointer_mut(self.pointer) {
            *place = self.value.clone();
        }
    }

    fn of_lists(&self, answer: &mut Value) {
        match answer {
            Value::Array(items) => items.iter_mut().for_each(|item| self.of_lists(item)),
            Value::Object(map) => {
                for (name, value) in map {
                    match *name == self.task {
                        true => self.of_delta(value),
                        false => self.of_lists(value),
                    }
                }
            }
            _ => {}
        }
    }
}

async fn put_in(State(change): State<Change>, request: Request, next: Next) -> Response {
    let is_task = request.method() == Method::GET && request.uri().path().ends_with(&change.task);
    let (mut parts, body) = next.run(request).await.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let Ok(mut answer) = serde_json::from_slice::<Value>(&body) else {
        return Response::from_parts(parts, Body::from(body));
    };
    match is_task {
        true => change.of_delta(&mut answer),
        false => change.of_lists(&mut answer),
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(answer.to_string()))
}

#[test]
fn a_users_task_fails_with_a_line_and_the_others_go_on() {
    let runtime = Runtime::new().unwrap();
    let long = "x".repeat(1 << 20);
    let hostile = [
        json!("a\nb\u{202e}{{ st2kv.system.lab_auth_token }}"),
        json!(long),
        json!({"a": [null]}),
    ];
    for (kind, pointer) in [
        (TaskType::Hardware, "/id"),
        (TaskType::Hardware, "/power"),
        (TaskType::Hardware, "/image"),
        (TaskType::Hardware, "/hostname"),
        (TaskType::Network, "/pod1/02:00:00:00:01:01"),
        (TaskType::Network, "/pod1/02:00:00:00:01:01/0/vlan_id"),
        (TaskType::Network, "/pod1/02:00:00:00:01:01/0/tagged"),
        (TaskType::Access, "/access_type"),
        (TaskType::Access, "/user"),
        (TaskType::Access, "/revoke"),
        (TaskType::Access, "/context/key"),
        (TaskType::Access, "/context/hosts/0"),
        (TaskType::Software, "/opnfv"),
        (TaskType::Software, "/opnfv/installer"),
        (TaskType::Software, "/opnfv/scenario"),
        (TaskType::Software, "/opnfv/pdf"),
        (TaskType::Software, "/opnfv/roles/0"),
        (TaskType::Snapshot, "/dashboard_id"),
        (TaskType::Snapshot, "/host"),
    ] {
        for value in &hostile {
            let what = format!("{:.60} at {pointer}", value.to_string());
            let dashboard = Dashboard::new("UNH_IOL", "token", &[]);
            let booking = CaptureBooking {
                alice_key: Some("ssh-ed25519 AAAA alice".to_owned()),
                software: true,
                snapshot: true,
                ..CaptureBooking::default()
            };
            dashboard.book_capture(booking).unwrap();
            let find = |fits: &dyn Fn(&TaskState) -> bool| {
                let mut tasks = dashboard.job(1).unwrap().tasks.into_iter();
                tasks.find(|task| fits(task)).unwrap()
            };
            let task = find(&|task| task.delta.pointer(pointer).is_some() && task.task_type == kind);
            let change = Change {
                task: task.id.clone(),
                pointer,
                value: value.clone(),
            };
            let router = dashboard.router().layer(from_fn_with_state(change, put_in));
            let server = Server::start(Ipv4Addr::LOCALHOST, Peer::Dashboard, router, Faults::default());
            let server = runtime.block_on(server).unwrap();
            let config = json!({"dashboard": {"address": server.url(), "lab_name": "UNH_IOL"}, "timing": {"call": 10}});
            let pack = Pack::new(config, &[("lab_auth_token", json!("token"))]);
            let planned = pack.run(env!("CARGO_BIN_EXE_plan_job"), &["--job_id=1"]);
            assert!(planned.stderr.lines().all(|line| line.len() < 1000), "{what}");
            let plan = planned.done();
            assert_eq!(plan["release"], Value::Null, "{what}");
            let refused = plan["unsupported"].as_array().unwrap();
            // An upload that holds no key is its user's to mend; nothing of it goes further.
            let users = plan["users"].as_array().unwrap();
            if let Some(user) = users.iter().find(|user| user["key"]["key"] == "…") {
                assert_eq!((&user["key"]["task"], pointer), (&json!(task.id), "/context/key"));
                continue;
            }
            // What would be done on a host that can't be made is refused with it.
            let (unmade, own): (Vec<_>, Vec<_>) = refused.iter().partition(|task| task["type"] == "unmade");
            let makes = matches!(kind, TaskType::Hardware | TaskType::Network);
            assert!(unmade.is_empty() || makes, "{what}: {unmade:?}");
            assert!(own.len() == 1 && own[0]["task"] == task.id, "{what}: {own:?}");
            for (status, tasks) in [(100, &plan["tasks"]), (300, &plan["unsupported"])] {
                let args = [format!("--status={status}"), format!("--tasks={tasks}")];
                pack.run(
                    env!("CARGO_BIN_EXE_task_status"),
                    &args.each_ref().map(String::as_str),
                )
                .done();
            }
            for found in dashboard.job(1).unwrap().tasks {
                let is_refused = refused.iter().any(|refused| refused["task"] == found.id);
                let expected = if is_refused { 300 } else { 100 };
                assert_eq!(found.status, expected, "{what}: {found:?}");
            }
            let told = find(&|found| found.id == task.id).message;
            assert!(is_legible(&told, 500), "{what}: {told:.1000}");
            let is_own = |key: &str| key == "lab_auth_token" || key.starts_with("task_");
            assert!(pack.keys().iter().all(|(key, _)| is_own(key)), "{what}");
        }
    }
}
