//! NX-API: requests and their answers.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State as Handle;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::post;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Map, Value, json};

use super::config::{Config, Context, LineError};
use super::show::{Shown, show, show_text};
use super::{Nxos, State};
use crate::http::Lie;

/// The largest request that is read.
const MAX_REQUEST: usize = 1 << 20;

/// So many show commands may be in one request.
const MAX_SHOWS: usize = 10;

const SAVE: &str = "copy running-config startup-config";

pub fn router(switch: Nxos) -> Router {
    Router::new().route("/ins", post(answer)).with_state(switch)
}

async fn answer(Handle(switch): Handle<Nxos>, request: Request<Body>) -> Response {
    if !authenticated(&switch, request.headers()) {
        let page = Html("<html><head><title>401 Authorization Required</title></head></html>");
        return (StatusCode::UNAUTHORIZED, page).into_response();
    }
    // The session begins before the body is there, as long calls do.
    let Some(_session) = switch.session() else {
        switch.locked().counters.turned_away += 1;
        let output = failed("", "429", "Max sessions reached", "");
        return respond(StatusCode::TOO_MANY_REQUESTS, "", &[output]);
    };
    switch.locked().counters.calls += 1;
    let lie = request.extensions().get::<Lie>().copied();
    let Ok(body) = to_bytes(request.into_body(), MAX_REQUEST).await else {
        let output = failed("", "413", "Request too large", "");
        return respond(StatusCode::PAYLOAD_TOO_LARGE, "", &[output]);
    };
    tokio::time::sleep(switch.0.call_time).await;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(call) = body["ins_api"].as_object().and_then(Call::read) else {
        let output = failed("", "400", "Invalid request", "");
        return respond(StatusCode::BAD_REQUEST, "", &[output]);
    };
    let outputs = if lie.is_some() {
        // Worked out on a copy that is thrown away.
        call.run(&mut switch.locked().clone(), |_| ())
    } else {
        call.run(&mut switch.locked(), |running| switch.publish(running))
    };
    let failed = outputs.iter().any(|output| output["code"] != "200");
    let status = match (failed, outputs.len(), call.kind) {
        (false, ..) | (true, 2.., "cli_show" | "cli_show_ascii") => StatusCode::OK,
        (true, 2.., _) => StatusCode::INTERNAL_SERVER_ERROR,
        (true, ..) => StatusCode::BAD_REQUEST,
    };
    respond(status, call.kind, &outputs)
}

struct Call<'a> {
    kind: &'a str,
    commands: Vec<&'a str>,
    rollback: &'a str,
}

impl<'a> Call<'a> {
    /// `None` if a field is missing or, as on the real switch, `type` comes
    /// after `input`.
    fn read(fields: &'a Map<String, Value>) -> Option<Self> {
        let text = |name: &str| fields.get(name)?.as_str();
        let place = |name: &str| fields.keys().position(|key| key == name);
        if place("type")? > place("input")? {
            return None;
        }
        for required in ["version", "chunk", "sid", "output_format"] {
            text(required)?;
        }
        let commands = text("input")?.split(" ;").map(str::trim);
        Some(Self {
            kind: text("type")?,
            commands: commands.filter(|command| !command.is_empty()).collect(),
            rollback: text("rollback").unwrap_or("stop-on-error"),
        })
    }

    /// `publish` is told of every configuration that is in force, be it for the time between two lines.
    fn run(&self, state: &mut State, publish: impl Fn(&Config)) -> Vec<Value> {
        match self.kind {
            "cli_conf" => self.configure(state, publish),
            "cli_show" | "cli_show_ascii" if self.commands.len() > MAX_SHOWS => {
                vec![failed(
                    "",
                    "400",
                    "Too many commands, at most 10 show commands",
                    "",
                )]
            }
            "cli_show" => self.each(|command| match command {
                SAVE => {
                    save(state);
                    succeeded(command, json!({}))
                }
                _ => match show(&state.running, &state.startup, command) {
                    Ok(Shown::Structured(body)) => succeeded(command, body),
                    Ok(Shown::Text(_)) => failed(command, "501", "Structured output unsupported", ""),
                    Err(error) => refused(command, &error),
                },
            }),
            "cli_show_ascii" => self.each(|command| match command {
                SAVE => {
                    save(state);
                    succeeded(command, "Copy complete.\n".into())
                }
                _ => match show_text(&state.running, &state.startup, command) {
                    Ok(text) => succeeded(command, text.into()),
                    Err(error) => refused(command, &error),
                },
            }),
            _ => vec![failed("", "400", "Invalid message type", "")],
        }
    }

    fn each(&self, mut output: impl FnMut(&str) -> Value) -> Vec<Value> {
        self.commands.iter().map(|command| output(command)).collect()
    }

    fn configure(&self, state: &mut State, publish: impl Fn(&Config)) -> Vec<Value> {
        let before = state.running.clone();
        let mut context = Context::default();
        let mut outputs = Vec::new();
        for command in &self.commands {
            if *command == SAVE {
                save(state);
                outputs.push(succeeded(command, json!({})));
                continue;
            }
            match state.running.apply(&mut context, command) {
                Ok(()) => {
                    publish(&state.running);
                    state.counters.lines.push((*command).into());
                    // An empty body is an object or an empty text.
                    let body = if outputs.is_empty() { json!({}) } else { "".into() };
                    outputs.push(succeeded(command, body));
                }
                Err(error) => {
                    // What the line did before it failed stays.
                    publish(&state.running);
                    outputs.push(refused(command, &error));
                    match self.rollback {
                        "continue-on-error" => {}
                        "rollback-on-error" => {
                            state.running = before;
                            publish(&state.running);
                            break;
                        }
                        _ => break,
                    }
                }
            }
        }
        outputs
    }
}

fn save(state: &mut State) {
    state.startup = state.running.clone();
    state.counters.saves += 1;
}

fn authenticated(switch: &Nxos, headers: &HeaderMap) -> bool {
    let sent = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let encoded = BASE64_STANDARD.encode(format!("{}:{}", switch.0.user, switch.0.password));
    sent.and_then(|text| text.strip_prefix("Basic ")) == Some(encoded.as_str())
}

fn succeeded(command: &str, body: Value) -> Value {
    json!({"input": command, "msg": "Success", "code": "200", "body": body})
}

fn refused(command: &str, error: &LineError) -> Value {
    match error {
        LineError::Syntax(text) => failed(command, "400", "Input CLI command error", text),
        LineError::Execution(text) => failed(command, "400", "CLI execution error", text),
    }
}

fn failed(command: &str, code: &str, message: &str, error: &str) -> Value {
    json!({"input": command, "code": code, "msg": message, "clierror": error})
}

/// One output is an object, several are a list.
fn respond(status: StatusCode, kind: &str, outputs: &[Value]) -> Response {
    let output = match outputs {
        [one] => one.clone(),
        several => several.into(),
    };
    let body = json!({
        "ins_api": {"type": kind, "version": "1.0", "sid": "eoc", "outputs": {"output": output}}
    });
    let kind = [(header::CONTENT_TYPE, "application/json-rpc; charset=UTF-8")];
    (status, kind, body.to_string()).into_response()
}
