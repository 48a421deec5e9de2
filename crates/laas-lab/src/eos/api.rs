//! eAPI: JSON-RPC requests and their answers.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State as Handle;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use super::cli::{Said, Shell};
use super::{Eos, State};
use crate::http::Lie;

/// The largest request that is read.
const MAX_REQUEST: usize = 1 << 20;

pub fn router(switch: Eos) -> Router {
    Router::new()
        .route("/command-api", post(answer))
        .with_state(switch)
}

async fn answer(Handle(switch): Handle<Eos>, request: Request<Body>) -> Response {
    if !authenticated(&switch, request.headers()) {
        let text = "Unable to authenticate user: Bad username/password combination\n";
        return (StatusCode::UNAUTHORIZED, text).into_response();
    }
    switch.locked().counters.calls += 1;
    let lie = request.extensions().get::<Lie>().is_some();
    let Ok(body) = to_bytes(request.into_body(), MAX_REQUEST).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large\n").into_response();
    };
    tokio::time::sleep(switch.0.call_time).await;
    let request: Value = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(_) => return respond(&Value::Null, &failed(-32700, "Unable to parse JSON", None)),
    };
    let outcome = match Call::read(&request) {
        Err((code, message)) => failed(code, message, None),
        // Worked out on a copy that is thrown away.
        Ok(call) if lie => call.run(&mut switch.locked().clone()),
        Ok(call) => {
            let mut state = switch.locked();
            let outcome = call.run(&mut state);
            switch.publish(&state.running);
            outcome
        }
    };
    respond(&request["id"], &outcome)
}

struct Call<'a> {
    /// Each with what it is given when it asks.
    commands: Vec<(&'a str, Option<&'a str>)>,
    is_text: bool,
}

impl<'a> Call<'a> {
    fn read(request: &'a Value) -> Result<Self, (i32, &'static str)> {
        if request["jsonrpc"] != "2.0" {
            return Err((-32600, "Invalid request"));
        }
        if request["method"] != "runCmds" {
            return Err((-32601, "Method not found"));
        }
        let params = &request["params"];
        let is_text = match params["format"].as_str().unwrap_or("json") {
            "json" => false,
            "text" => true,
            _ => return Err((-32602, "Invalid params")),
        };
        let version_ok = params["version"] == 1 || params["version"] == "latest";
        let commands = params["cmds"].as_array().filter(|_| version_ok);
        let command = |command: &'a Value| match command {
            Value::String(text) => Some((text.as_str(), None)),
            other => Some((other["cmd"].as_str()?, other["input"].as_str())),
        };
        let commands = commands.and_then(|commands| commands.iter().map(command).collect::<Option<Vec<_>>>());
        Ok(Self {
            commands: commands.ok_or((-32602, "Invalid params"))?,
            is_text,
        })
    }

    /// The member of the answer: `result`, or `error` with what was said until then.
    fn run(&self, state: &mut State) -> (&'static str, Value) {
        let mut shell = Shell::default();
        let mut outputs = Vec::new();
        let count = self.commands.len();
        for (index, (command, input)) in self.commands.iter().enumerate() {
            let said = shell.run(state, command, *input);
            let (code, why, error) = match (said, self.is_text) {
                (Ok(Said { text, .. }), true) => {
                    outputs.push(json!({ "output": text }));
                    continue;
                }
                (Ok(Said { json: Some(json), .. }), false) => {
                    outputs.push(json);
                    continue;
                }
                (Ok(_), false) => (
                    1003,
                    "unconverted command",
                    "Command is not converted to JSON".to_owned(),
                ),
                (Err(error), _) => (1002, "invalid command", error),
            };
            outputs.push(json!({ "errors": [error] }));
            let place = index + 1;
            let message = format!("CLI command {place} of {count} '{command}' failed: {why}");
            return failed(code, &message, Some(outputs));
        }
        ("result", outputs.into())
    }
}

fn failed(code: i32, message: &str, data: Option<Vec<Value>>) -> (&'static str, Value) {
    let mut error = json!({"code": code, "message": message});
    if let Some(data) = data {
        error["data"] = data.into();
    }
    ("error", error)
}

fn respond(id: &Value, (member, content): &(&'static str, Value)) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let body = json!({"jsonrpc": "2.0", "id": id, *member: content});
    (StatusCode::OK, kind, body.to_string()).into_response()
}

fn authenticated(switch: &Eos, headers: &HeaderMap) -> bool {
    let sent = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let encoded = BASE64_STANDARD.encode(format!("{}:{}", switch.0.user, switch.0.password));
    sent.and_then(|text| text.strip_prefix("Basic ")) == Some(encoded.as_str())
}
