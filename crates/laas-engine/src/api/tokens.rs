//! `st2 login`, `st2 whoami`, `st2 apikey`.

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use laas_engine::model::{Timestamp, Token, TokenKind};
use laas_engine::pack::MASKED;
use serde_json::{Value, json};

use super::query::{Body, Listing, Params, wrong_type};
use super::{ApiError, SharedApp};
use crate::auth::Caller;

/// StackStorm's `auth.token_ttl`, also the most that may be asked for.
const TOKEN_TTL_SECONDS: u64 = 24 * 60 * 60;

/// A token for a user and password.
pub async fn login(
    State(app): State<SharedApp>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let refused = || ApiError::unauthorized("Invalid or missing credentials");
    let (user, password) = basic_credentials(&headers).ok_or_else(refused)?;
    let (users, name) = (app.users.clone(), user.clone());
    let verified = tokio::task::spawn_blocking(move || users.verify(&name, &password)).await;
    if !verified.map_err(|error| ApiError::internal(&error))?? {
        return Err(refused());
    }
    let ttl = ttl(&body)?;
    let expires = Timestamp::now().plus_seconds(ttl as f64);
    let (text, token) = app
        .engine
        .store()
        .issue_token(&user, TokenKind::Token, Some(expires), None)
        .await?;
    let issued = json!({"user": user, "token": text, "expiry": expires, "metadata": {}, "id": token.id});
    Ok((StatusCode::CREATED, Json(issued)))
}

/// Whether a token is good.
pub async fn validate(State(app): State<SharedApp>, body: Body) -> Result<Json<Value>, ApiError> {
    let token = body
        .text("token")?
        .ok_or_else(|| ApiError::bad_request("Token is not provided."))?;
    let valid = app.engine.store().token(token, TokenKind::Token).await?.is_some();
    Ok(Json(json!({"valid": valid})))
}

/// Who the caller is. There are no roles: whoever is let in may do everything.
pub async fn whoami(Extension(caller): Extension<Caller>) -> Json<Value> {
    let location = if caller.in_header { "header" } else { "query" };
    let mut authentication = json!({"method": "API key", "location": location});
    if caller.kind == TokenKind::Token {
        authentication["method"] = "authentication token".into();
        authentication["token_expire"] = json!(caller.expires);
    }
    Json(json!({
        "username": caller.user,
        "authentication": authentication,
        "rbac": {"enabled": false, "roles": [], "is_admin": true},
    }))
}

/// A new API key; its text is in this answer only.
pub async fn create_api_key(
    State(app): State<SharedApp>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    if !body.object("metadata")?.is_empty() {
        return Err(ApiError::bad_request(
            "`metadata` is not supported by this engine",
        ));
    }
    let user = body.text("user")?.unwrap_or(&caller.user);
    let store = app.engine.store();
    let (text, token) = store.issue_token(user, TokenKind::ApiKey, None, None).await?;
    let mut created = render_api_key(&token);
    created["key"] = text.into();
    Ok((StatusCode::CREATED, Json(created)))
}

/// All API keys, without their texts.
pub async fn list_api_keys(State(app): State<SharedApp>, params: Params) -> Result<Response, ApiError> {
    let keys = app.engine.store().tokens(TokenKind::ApiKey).await?;
    Ok(Listing::of(&params)?.answer_part_of(keys.iter().map(render_api_key).collect()))
}

/// One of them.
pub async fn get_api_key(
    State(app): State<SharedApp>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let keys = app.engine.store().tokens(TokenKind::ApiKey).await?;
    let key = keys.iter().find(|key| key.id == id);
    Ok(Json(render_api_key(key.ok_or_else(|| no_such_api_key(&id))?)))
}

/// Turns away whoever holds the key.
pub async fn delete_api_key(
    State(app): State<SharedApp>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if !app.engine.store().delete_token(&id, TokenKind::ApiKey).await? {
        return Err(no_such_api_key(&id));
    }
    Ok(StatusCode::NO_CONTENT)
}

fn no_such_api_key(id: &str) -> ApiError {
    ApiError::not_found(format!("ApiKey matching {id} not found."))
}

fn render_api_key(key: &Token) -> Value {
    json!({
        "user": key.user,
        "key_hash": MASKED,
        "metadata": {},
        "enabled": true,
        "id": key.id,
    })
}

/// Of the header `Authorization: Basic …`.
fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_string(), password.to_string()))
}

fn ttl(body: &Body) -> Result<u64, ApiError> {
    match body.0.get("ttl") {
        None | Some(Value::Null) => Ok(TOKEN_TTL_SECONDS),
        Some(ttl) => match ttl.as_u64() {
            Some(seconds) if (1..=TOKEN_TTL_SECONDS).contains(&seconds) => Ok(seconds),
            Some(seconds) => Err(ApiError::bad_request(format!(
                "TTL specified {seconds} is greater than max allowed {TOKEN_TTL_SECONDS}."
            ))),
            None => Err(wrong_type(ttl, "integer")),
        },
    }
}
