//! Requests to FOG and its answers.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State as Handle};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use super::rows::{Row, text};
use super::shapes;
use super::state::{Refusal, State};
use super::{Fog, Tokens, Version, WEB_ROOT};
use crate::http::Lie;

pub fn router(fog: Fog) -> Router {
    Router::new().fallback(answer).with_state(fog)
}

async fn answer(
    Handle(fog): Handle<Fog>,
    lie: Option<Extension<Lie>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut state = fog.locked();
    state.requests.push(format!("{method} {}", uri.path()));
    let Some(path) = uri.path().strip_prefix(WEB_ROOT) else {
        return (StatusCode::NOT_FOUND, "<h1>Not Found</h1>").into_response();
    };
    if !state.api_enabled {
        let login = format!("{WEB_ROOT}/management/index.php");
        return (StatusCode::FOUND, [(header::LOCATION, login)]).into_response();
    }
    let version = state.version;
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    // 1.6 says to everybody what it is.
    if let (Version::V1_6, ["system", "status" | "info"]) = (version, &*segments) {
        let info = json!({"version": "1.6.0-beta.2400", "paging": {"maxRows": shapes::MOST_ROWS}});
        return json_response(StatusCode::OK, &info);
    }
    if let Err(status) = authenticate(&headers, &fog.tokens, version) {
        return empty(status);
    }
    // A lie is answered from a copy, and the copy is what changes.
    let mut copy = lie.map(|_| state.clone());
    let state = copy.as_mut().unwrap_or(&mut state);
    // PHP reads what is no JSON object as one without fields.
    let wanted = serde_json::from_slice(&body).unwrap_or_default();
    let done = route(state, &method, &segments, &wanted);
    let woken = std::mem::take(&mut state.woken);
    if copy.is_none() {
        for mac in woken {
            // Nobody hears it in a lab without machines.
            let _ = fog.magic_packets.send(mac);
        }
    }
    match done {
        Ok(Answer::List(class, objects)) => {
            let query = uri.query().unwrap_or_default();
            json_response(StatusCode::OK, &shapes::page(uri.path(), class, objects, query))
        }
        Ok(Answer::Json(value)) if version == Version::V1_6 => {
            json_response(StatusCode::OK, &shapes::typed(value))
        }
        Ok(Answer::Json(value)) => json_response(StatusCode::OK, &value),
        Ok(Answer::Text(text)) => ([(header::CONTENT_TYPE, JSON)], text).into_response(),
        Ok(Answer::NoRoute) => empty(StatusCode::NOT_IMPLEMENTED),
        Err(Refusal::NotFound) => empty(StatusCode::NOT_FOUND),
        Err(Refusal::Fatal) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Err(Refusal::Error(error)) => {
            json_response(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": error}))
        }
        Err(Refusal::Conflict(error)) => json_response(StatusCode::CONFLICT, &json!({"msg": error})),
        Err(Refusal::Incomplete(error)) => {
            json_response(StatusCode::EXPECTATION_FAILED, &json!({"error": error}))
        }
        Err(Refusal::NoSuchType(error)) => {
            json_response(StatusCode::NOT_IMPLEMENTED, &json!({"error": error}))
        }
    }
}

const JSON: &str = "application/json";

enum Answer {
    Json(Value),
    /// Of 1.6, which makes a page of it; with the class.
    List(&'static str, Vec<Value>),
    Text(&'static str),
    NoRoute,
}

/// What a write answers that has nothing to tell, not even an id.
fn nothing() -> Answer {
    Answer::Json("".into())
}

fn cancelled(version: Version) -> Answer {
    match version {
        Version::V1_5 => Answer::Json(Value::Null),
        Version::V1_6 => nothing(),
    }
}

fn route(state: &mut State, method: &Method, segments: &[&str], wanted: &Row) -> Result<Answer, Refusal> {
    let id = |segment: &str| segment.parse::<u32>().ok();
    Ok(match (method.as_str(), segments) {
        ("GET" | "HEAD", ["system", "status" | "info"]) => Answer::Text("success\n"),
        ("GET", ["task", "active" | "current"]) => list(state, "task", Some("active"), wanted),
        ("GET", ["storagegroup" | "storagenode" | "imageassociation"]) => {
            list(state, segments[0], None, wanted)
        }
        ("GET", [class @ ("host" | "image" | "task"), rest @ ..]) => match rest {
            [] | ["list" | "all"] => list(state, class, None, wanted),
            ["search", term] => list(state, class, Some(term), wanted),
            ["names"] => Answer::Json(names(state, class)),
            ["ids"] => {
                let ids = names(state, class);
                let ids = ids.as_array().into_iter().flatten();
                Answer::Json(ids.map(|row| row["id"].clone()).collect())
            }
            [key] | [key, "edit" | "update"] if id(key).is_some() => {
                Answer::Json(object(state, class, id(key)).ok_or(Refusal::NotFound)?)
            }
            _ => Answer::NoRoute,
        },
        ("PUT", [class @ ("host" | "image"), key] | [class @ ("host" | "image"), key, "edit" | "update"])
            if id(key).is_some() =>
        {
            let key = id(key).unwrap_or_default();
            match *class {
                "host" => state.edit_host(key, wanted)?,
                _ => state.edit_image(key, wanted)?,
            }
            Answer::Json(object(state, class, Some(key)).ok_or(Refusal::NotFound)?)
        }
        ("POST", ["host", key, "task"]) if id(key).is_some() => {
            state.create_task(id(key).unwrap_or_default(), wanted)?;
            nothing()
        }
        ("POST", ["image"] | ["image", "create" | "new"]) => {
            let key = state.create_image(wanted)?;
            Answer::Json(object(state, "image", Some(key)).ok_or(Refusal::NotFound)?)
        }
        ("DELETE", ["task", "cancel"]) => {
            state.cancel_task(None, wanted);
            cancelled(state.version)
        }
        ("DELETE", ["task", key, "cancel"]) if id(key).is_some() => {
            state.cancel_named_task(id(key), wanted)?;
            cancelled(state.version)
        }
        ("DELETE", ["host", "cancel"]) => return Err(Refusal::NotFound),
        ("DELETE", ["host", key, "cancel"]) if id(key).is_some() => {
            state.cancel_host(id(key))?;
            nothing()
        }
        ("DELETE", [class, key] | [class, key, "delete" | "remove"]) if id(key).is_some() => {
            let key = id(key).unwrap_or_default();
            let existed = match *class {
                "host" => state.hosts.remove(&key).is_some(),
                "image" => state.delete_image(key),
                "task" => state.tasks.remove(&key).is_some(),
                _ => return Ok(Answer::NoRoute),
            };
            if !existed {
                return Err(Refusal::NotFound);
            }
            nothing()
        }
        _ => Answer::NoRoute,
    })
}

/// All objects of a class, or the active ones, or those whose name holds a
/// term; in every case only those that have the columns sent in the body.
fn list(state: &State, class: &str, term: Option<&str>, wanted: &Row) -> Answer {
    let active = class == "task" && term == Some("active");
    let objects: Vec<Value> = match class {
        "host" => state.hosts.values().map(|host| state.host_json(host)).collect(),
        "image" => state
            .images
            .values()
            .map(|image| state.image_json(image))
            .collect(),
        "storagegroup" => state.group_jsons(),
        "storagenode" => state.node_jsons(),
        "imageassociation" => state.association_jsons(),
        _ if active => state.active_tasks().map(|task| state.task_json(task)).collect(),
        _ => state.tasks.values().map(|task| state.task_json(task)).collect(),
    };
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let named = |object: &Value| {
        let name = object["name"].as_str().unwrap_or_default().to_lowercase();
        term.filter(|_| !active)
            .is_none_or(|term| name.contains(&term.to_lowercase()))
    };
    let wanted_here = |object: &Value| {
        let has = |(column, value): (&String, &Value)| {
            object
                .get(column)
                .is_none_or(|present| plain(present) == plain(value))
        };
        named(object) && wanted.iter().all(has)
    };
    // 1.6 has no filter in the body.
    let objects: Vec<Value> = match state.version {
        Version::V1_5 => objects.into_iter().filter(wanted_here).collect(),
        Version::V1_6 if term.is_none() || active => objects,
        Version::V1_6 => objects.into_iter().filter(named).collect(),
    };
    if state.version == Version::V1_6 {
        let classes = [
            "host",
            "image",
            "task",
            "storagegroup",
            "storagenode",
            "imageassociation",
        ];
        let class = classes.into_iter().find(|known| *known == class);
        return Answer::List(class.unwrap_or_default(), objects);
    }
    let mut answer = Row::new();
    answer.insert("count".into(), objects.len().into());
    answer.insert(format!("{class}s"), objects.into());
    Answer::Json(answer.into())
}

fn names(state: &State, class: &str) -> Value {
    let pair = |row: &Row| json!({"id": text(row, "id"), "name": text(row, "name")});
    match class {
        "host" => state.hosts.values().map(|host| pair(&host.row)).collect(),
        "image" => state.images.values().map(|image| pair(&image.row)).collect(),
        _ => state.tasks.values().map(|task| pair(&task.row)).collect(),
    }
}

fn object(state: &State, class: &str, key: Option<u32>) -> Option<Value> {
    let key = key?;
    match class {
        "host" => state.hosts.get(&key).map(|host| state.host_json(host)),
        "image" => state.images.get(&key).map(|image| state.image_json(image)),
        _ => state.tasks.get(&key).map(|task| state.task_json(task)),
    }
}

fn authenticate(headers: &HeaderMap, tokens: &Tokens, version: Version) -> Result<(), StatusCode> {
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if let (Version::V1_6, Some(said)) = (version, authorization) {
        let bearer = said.strip_prefix("Bearer ") == Some(&tokens.bearer);
        return if bearer {
            Ok(())
        } else {
            Err(StatusCode::UNAUTHORIZED)
        };
    }
    let token = |name: &str| {
        let shown = headers.get(name)?.as_bytes();
        BASE64_STANDARD.decode(shown).ok()
    };
    if token("fog-api-token").as_deref() != Some(tokens.api.as_bytes()) {
        return Err(StatusCode::FORBIDDEN);
    }
    if token("fog-user-token").as_deref() != Some(tokens.user.as_bytes()) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    Ok(())
}

fn json_response(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], format!("{value:#}")).into_response()
}

/// Answers without a body are labelled JSON all the same.
fn empty(status: StatusCode) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], "").into_response()
}
