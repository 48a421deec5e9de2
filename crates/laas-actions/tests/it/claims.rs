//! Two executions and one job: only one of them may work on it, and a dead one must not keep the other from it.

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use laas_lab::dashboard::{CaptureBooking, Dashboard};
use laas_lab::faults::{Faults, Peer};
use laas_lab::http::Server;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// As much of the engine as a plan asks: keys, and executions whose step `a1` is one of the workflow `a`.
#[derive(Clone, Default)]
pub struct Engine {
    pub keys: Arc<Mutex<HashMap<String, String>>>,
    pub live: Arc<Mutex<Vec<&'static str>>>,
    pub canceling: Arc<Mutex<Vec<&'static str>>>,
    /// Nobody's token is good any more.
    pub is_token_revoked: Arc<AtomicBool>,
}

impl Engine {
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/keys", get(list_keys))
            .route("/v1/keys/{key}", get(read_key).put(write_key).delete(delete_key))
            .route("/v1/executions/{id}", get(execution))
            .route_layer(from_fn_with_state(self.clone(), authenticate))
            .with_state(self.clone())
    }
}

async fn authenticate(State(engine): State<Engine>, request: Request, next: Next) -> Response {
    if engine.is_token_revoked.load(Ordering::SeqCst) {
        let fault = json!({"faultstring": "Unauthorized - Unable to find requested token."});
        return (StatusCode::UNAUTHORIZED, Json(fault)).into_response();
    }
    next.run(request).await
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"faultstring": "not there"}))).into_response()
}

async fn read_key(State(engine): State<Engine>, Path(key): Path<String>) -> Response {
    match engine.keys.lock().unwrap().get(&key) {
        Some(value) => Json(json!({"name": key, "value": value})).into_response(),
        None => not_found(),
    }
}

async fn list_keys(State(engine): State<Engine>, Query(query): Query<HashMap<String, String>>) -> Response {
    let keys = engine.keys.lock().unwrap();
    let listed = keys.iter().filter(|(key, _)| key.starts_with(&query["prefix"]));
    let listed: Vec<_> = listed
        .map(|(key, value)| json!({"name": key, "value": value}))
        .collect();
    Json(listed).into_response()
}

async fn write_key(
    State(engine): State<Engine>,
    Path(key): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let value = body["value"].as_str().unwrap().to_owned();
    engine.keys.lock().unwrap().insert(key, value);
    Json(body).into_response()
}

async fn delete_key(State(engine): State<Engine>, Path(key): Path<String>) -> Response {
    match engine.keys.lock().unwrap().remove(&key) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => not_found(),
    }
}

async fn execution(State(engine): State<Engine>, Path(id): Path<String>) -> Response {
    let is_in = |list: &Mutex<Vec<&'static str>>| list.lock().unwrap().contains(&id.as_str());
    let status = match (is_in(&engine.live), is_in(&engine.canceling)) {
        (_, true) => "canceling",
        (true, false) => "running",
        (false, false) => "failed",
    };
    let parent = id.strip_suffix(char::is_numeric);
    Json(json!({"id": id, "status": status, "parent": parent})).into_response()
}

struct Lab {
    engine: Engine,
    servers: [Server; 2],
    dir: TempDir,
    _runtime: Runtime,
}

impl Lab {
    fn new() -> Self {
        let dashboard = Dashboard::new("UNH_IOL", "token", &[]);
        dashboard.book_capture(CaptureBooking::default()).unwrap();
        let engine = Engine::default();
        let key = ("lab_auth_token".to_owned(), "token".to_owned());
        engine.keys.lock().unwrap().extend([key]);
        let runtime = Runtime::new().unwrap();
        let serve = |peer, router| {
            let server = Server::start(Ipv4Addr::LOCALHOST, peer, router, Faults::default());
            runtime.block_on(server).unwrap()
        };
        Self {
            servers: [
                serve(Peer::Dashboard, dashboard.router()),
                serve(Peer::Bot, engine.router()),
            ],
            engine,
            dir: tempfile::tempdir().unwrap(),
            _runtime: runtime,
        }
    }

    fn start(&self, step: &str) -> Child {
        let dashboard = json!({"address": self.servers[0].url(), "lab_name": "UNH_IOL"});
        Command::new(env!("CARGO_BIN_EXE_plan_job"))
            .arg("--job_id=1")
            .env_clear()
            .env("LAAS_CONFIG", json!({"dashboard": dashboard}).to_string())
            .env("LAAS_LOCK_DIR", self.dir.path())
            .env("ST2_ACTION_API_URL", format!("{}/v1", self.servers[1].url()))
            .env("ST2_ACTION_AUTH_TOKEN", "action token")
            .env("ST2_ACTION_EXECUTION_ID", step)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// How many tasks the step planned, how many it left alone, and whether it claimed any anew.
    fn plan(&self, step: &str) -> (usize, usize, bool) {
        counts(self.start(step))
    }
}

fn counts(step: Child) -> (usize, usize, bool) {
    let output = step.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |name: &str| plan[name].as_array().unwrap().len();
    (count("tasks"), count("skipped"), plan["changed"] == true)
}

#[test]
fn a_job_belongs_to_one_live_workflow() {
    let lab = Lab::new();
    lab.engine.live.lock().unwrap().extend(["a", "b"]);
    assert_eq!(lab.plan("a1"), (6, 0, true));
    // Another step of the same workflow, such as a retry.
    assert_eq!(lab.plan("a2"), (6, 0, false));
    assert_eq!(lab.plan("b1"), (0, 6, false));
    lab.engine.live.lock().unwrap().retain(|id| *id != "a");
    assert_eq!(lab.plan("b2"), (6, 0, true));
    assert_eq!(lab.plan("b3"), (6, 0, false));
}

#[test]
fn of_two_at_once_one_gets_all() {
    let lab = Lab::new();
    lab.engine.live.lock().unwrap().extend(["a", "b"]);
    let mut both = [lab.start("a1"), lab.start("b1")].map(counts);
    both.sort();
    assert_eq!(both, [(0, 6, false), (6, 0, true)]);
}
