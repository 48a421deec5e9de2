//! The datastore: `/v1/keys`.

use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use laas_engine::model::{Key, Timestamp, new_id};
use laas_engine::store::Range;
use serde_json::{Value, json};

use super::query::{Body, Listing, Params, wrong_type};
use super::{ApiError, App, SharedApp};
use crate::auth::Caller;

/// The routes of the datastore.
pub fn routes() -> Router<SharedApp> {
    Router::new()
        .route("/keys", get(list))
        .route("/keys/{name}", get(get_one).put(put).delete(delete))
}

async fn list(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    params: Params,
) -> Result<Response, ApiError> {
    let range = Listing::of(&params)?.range;
    let prefix = params.get("prefix").map_or("", String::as_str);
    let scopes = match params.get("scope").map(String::as_str) {
        Some("all") => vec![Scope::System, Scope::user(&caller, params.get("user"))],
        scope => vec![Scope::of(scope, &caller, params.get("user"))?],
    };
    let needed = Range {
        limit: range.limit.saturating_add(range.offset),
        offset: 0,
    };
    let mut keys = Vec::new();
    for scope in scopes {
        keys.extend(
            app.engine
                .store()
                .keys(Some(&scope.stored()), prefix, needed)
                .await?
                .items,
        );
    }
    let part = keys.iter().skip(range.offset).take(range.limit);
    let rendered: Result<Vec<Value>, ApiError> =
        part.map(|key| render(&app, key, decrypt(&params))).collect();
    // StackStorm counts neither here.
    Ok(Json(rendered?).into_response())
}

async fn get_one(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    let scope = Scope::of(
        params.get("scope").map(String::as_str),
        &caller,
        params.get("user"),
    )?;
    let key = app
        .engine
        .store()
        .key(&scope.stored(), &name)
        .await?
        .ok_or_else(|| no_such_key(&name))?;
    Ok(Json(render(&app, &key, decrypt(&params))?))
}

async fn put(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    params: Params,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    body.required_text("name")?;
    let value = body.required_text("value")?;
    if name.contains('/') {
        return Err(no_such_key(&name));
    }
    let scope = body.text("scope")?.or(params.get("scope").map(String::as_str));
    let user = body.text("user")?.map(str::to_string);
    let scope = Scope::of(scope, &caller, user.as_ref().or(params.get("user")))?;
    let (encrypted, secret) = (body.flag("encrypted")?, body.flag("secret")?);
    let cipher = &app.engine.options().cipher;
    let value = if encrypted {
        if cipher.decrypt(value).is_err() {
            return Err(ApiError::bad_request(format!(
                "Failed to verify the integrity of the provided value for key \"{name}\". Ensure that the value is \
                 encrypted with the correct key and not tampered with."
            )));
        }
        value.to_string()
    } else if secret {
        cipher.encrypt(value)?
    } else {
        value.to_string()
    };
    let key = Key {
        id: new_id(),
        scope: scope.stored(),
        name,
        value,
        secret: secret || encrypted,
        expires: expiry(&body)?,
    };
    let key = app.engine.store().put_key(key).await?;
    Ok(Json(render(&app, &key, false)?))
}

async fn delete(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    let scope = Scope::of(
        params.get("scope").map(String::as_str),
        &caller,
        params.get("user"),
    )?;
    if !app.engine.store().delete_key(&scope.stored(), &name).await? {
        return Err(no_such_key(&name));
    }
    Ok(StatusCode::NO_CONTENT)
}

fn no_such_key(name: &str) -> ApiError {
    ApiError::not_found(format!(
        "The key \"{name}\" does not exist in the StackStorm datastore."
    ))
}

fn decrypt(params: &Params) -> bool {
    params
        .get("decrypt")
        .is_some_and(|flag| matches!(flag.to_lowercase().as_str(), "true" | "1"))
}

fn expiry(body: &Body) -> Result<Option<Timestamp>, ApiError> {
    match body.0.get("ttl") {
        None | Some(Value::Null) => Ok(None),
        Some(ttl) => match ttl.as_u64() {
            Some(seconds) if seconds > 0 => Ok(Some(Timestamp::now().plus_seconds(seconds as f64))),
            Some(_) => Err(ApiError::bad_request("`ttl` is a number of seconds above 0")),
            None => Err(wrong_type(ttl, "integer")),
        },
    }
}

fn render(app: &App, key: &Key, decrypt: bool) -> Result<Value, ApiError> {
    let decrypted = key.secret && decrypt;
    let value = if decrypted {
        app.engine.options().cipher.decrypt(&key.value)?
    } else {
        key.value.clone()
    };
    let user = key.scope.strip_prefix("user:");
    let scope = if user.is_some() {
        "st2kv.user"
    } else {
        "st2kv.system"
    };
    let owner = user.map(|user| format!("{user}:")).unwrap_or_default();
    let mut rendered = json!({
        "uid": format!("key_value_pair:{scope}:{owner}{}", key.name),
        "scope": scope,
        "name": key.name,
        "value": value,
        "secret": key.secret,
        "id": key.id,
    });
    if let Some(user) = user {
        rendered["user"] = user.into();
    }
    rendered["encrypted"] = (key.secret && !decrypted).into();
    if let Some(expires) = key.expires {
        rendered["expire_timestamp"] = json!(expires);
    }
    Ok(rendered)
}

/// Where a key is valid.
#[derive(Debug, PartialEq)]
enum Scope {
    System,
    User(String),
}

impl Scope {
    /// The system's unless said otherwise; a user's is the caller's own unless said otherwise.
    fn of(word: Option<&str>, caller: &Caller, user: Option<&String>) -> Result<Scope, ApiError> {
        match word {
            None | Some("system" | "st2kv.system") => Ok(Scope::System),
            Some("user" | "st2kv.user") => Ok(Scope::user(caller, user)),
            Some(other) => Err(ApiError::bad_request(format!(
                "Scope {other} is not valid. Valid scopes are [('system', 'st2kv.system'), ('user', 'st2kv.user')]."
            ))),
        }
    }

    fn user(caller: &Caller, user: Option<&String>) -> Scope {
        Scope::User(user.unwrap_or(&caller.user).clone())
    }

    /// As [`Key::scope`] has it.
    fn stored(&self) -> String {
        match self {
            Scope::System => "system".into(),
            Scope::User(user) => format!("user:{user}"),
        }
    }
}
