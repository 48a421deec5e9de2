//! `st2 login` and `st2 whoami`.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use laas_engine::model::{Timestamp, TokenKind};
use serde_json::{Value, json};

use super::query::{Body, wrong_type};
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
