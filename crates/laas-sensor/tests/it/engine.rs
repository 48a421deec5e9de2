//! As much of the engine as the sensor talks to.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

pub const TOKEN: &str = "sensor token";

#[derive(Clone, Default)]
pub struct Engine(Arc<Mutex<Inner>>);

#[derive(Default)]
pub struct Inner {
    /// The value of the key `lab_auth_token`.
    pub dashboard_token: Option<String>,
    /// Live executions of the workflow: the job, and the status. A dispatch makes one.
    pub live: Vec<(u64, &'static str)>,
    /// Jobs whose dispatch the engine answers with HTTP 500.
    pub refused: Vec<u64>,
    /// Dispatched jobs, oldest first, with their trace tags.
    pub dispatched: Vec<(u64, String)>,
    pub token_expired: bool,
    /// The tasks that the lab remembers: names of keys and values.
    pub ledger: Vec<(String, Value)>,
    /// How often the key was asked for.
    pub keys_read: u32,
}

impl Engine {
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub fn dispatched(&self) -> Vec<u64> {
        self.lock().dispatched.iter().map(|(job, _)| *job).collect()
    }

    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/executions", get(executions))
            .route("/v1/webhooks/st2", post(webhook))
            .route("/v1/keys", get(keys))
            .route("/v1/keys/lab_auth_token", get(key))
            .with_state(self.clone())
    }

    fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        let ours = headers.get("x-auth-token").is_some_and(|t| t == TOKEN) && !self.lock().token_expired;
        (!ours).then(|| {
            (
                StatusCode::UNAUTHORIZED,
                Json(json!({"faultstring": "Unauthorized"})),
            )
                .into_response()
        })
    }
}

/// As StackStorm does, it filters by exactly one status and gives 100 at most.
async fn executions(
    State(engine): State<Engine>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = engine.refusal(&headers) {
        return refusal;
    }
    if !query.contains_key("action") {
        // Whoever looks for lost actions finds none: they are tested on a whole engine.
        return Json(json!([])).into_response();
    }
    assert_eq!(query["action"], "laas.fulfill_job");
    let (limit, offset) = (query["limit"].parse().unwrap(), query["offset"].parse().unwrap());
    assert!(limit <= 100);
    let inner = engine.lock();
    let found = inner.live.iter().filter(|(_, status)| *status == query["status"]);
    let page = found.skip(offset).take(limit);
    let page: Vec<Value> = page
        .map(|(job, _)| json!({"id": "6b04", "parameters": {"job_id": job}}))
        .collect();
    Json(page).into_response()
}

async fn webhook(State(engine): State<Engine>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if let Some(refusal) = engine.refusal(&headers) {
        return refusal;
    }
    assert_eq!(body["trigger"], "laas.job_ready");
    let job = body["payload"]["job_id"].as_u64().unwrap();
    let mut inner = engine.lock();
    if inner.refused.contains(&job) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let tag = headers["st2-trace-tag"].to_str().unwrap().to_owned();
    inner.dispatched.push((job, tag));
    inner.live.push((job, "requested"));
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

async fn key(
    State(engine): State<Engine>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = engine.refusal(&headers) {
        return refusal;
    }
    assert_eq!(query["decrypt"], "true");
    let mut inner = engine.lock();
    inner.keys_read += 1;
    match &inner.dashboard_token {
        Some(token) => {
            Json(json!({"name": "lab_auth_token", "value": token, "secret": true})).into_response()
        }
        None => (
            StatusCode::NOT_FOUND,
            Json(json!({"faultstring": "The key does not exist"})),
        )
            .into_response(),
    }
}

async fn keys(
    State(engine): State<Engine>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = engine.refusal(&headers) {
        return refusal;
    }
    if query["prefix"] == "alive_" {
        return Json(json!([])).into_response();
    }
    assert_eq!(query["prefix"], "task_");
    let inner = engine.lock();
    let keys = inner.ledger.iter();
    let keys: Vec<Value> = keys
        .map(|(name, value)| json!({"name": name, "value": value.to_string()}))
        .collect();
    Json(keys).into_response()
}
