//! The chat bot's endpoint, which remembers what it was told.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Extension, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;

use crate::http::Lie;

/// A bot. A cheap handle.
#[derive(Debug, Clone, Default)]
pub struct Bot(Arc<Mutex<Vec<Message>>>);

/// What was posted to the bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The endpoint, e.g. `/notify`.
    pub path: String,
    /// The body as it came.
    pub body: String,
}

impl Bot {
    /// Takes a POST anywhere.
    pub fn router(&self) -> Router {
        Router::new().fallback(hear).with_state(self.clone())
    }

    /// Every post so far, the oldest first.
    pub fn messages(&self) -> Vec<Message> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn hear(
    State(bot): State<Bot>,
    lie: Option<Extension<Lie>>,
    method: Method,
    uri: Uri,
    body: String,
) -> Response {
    if method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if lie.is_none() {
        let path = uri.path().to_owned();
        bot.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Message { path, body });
    }
    Json(json!({"ok": true})).into_response()
}
