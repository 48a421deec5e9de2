//! What the API answers when it cannot do what was asked.

use std::error::Error;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use laas_engine::engine::{CipherError, RequestError};
use laas_engine::store::StoreError;
use serde_json::json;

use crate::auth::UsersError;

/// A status and the text that `st2` prints, sent as `{"faultstring": …}`.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    fault: String,
}

impl ApiError {
    /// 400.
    pub fn bad_request(fault: impl Into<String>) -> Self {
        ApiError {
            status: StatusCode::BAD_REQUEST,
            fault: fault.into(),
        }
    }

    /// 401.
    pub fn unauthorized(fault: impl Into<String>) -> Self {
        ApiError {
            status: StatusCode::UNAUTHORIZED,
            fault: fault.into(),
        }
    }

    /// 404.
    pub fn not_found(fault: impl Into<String>) -> Self {
        ApiError {
            status: StatusCode::NOT_FOUND,
            fault: fault.into(),
        }
    }

    /// 404 for what has a reference as well as an id.
    pub fn no_such_reference(reference_or_id: &str) -> Self {
        Self::not_found(format!(
            "Resource with a reference or id \"{reference_or_id}\" not found"
        ))
    }

    /// 404 for what has only an id.
    pub fn no_such_id(id: &str) -> Self {
        Self::not_found(format!("Unable to identify resource with id \"{id}\"."))
    }

    /// 500; the cause goes to the log only.
    pub fn internal(cause: &(dyn Error + 'static)) -> Self {
        tracing::error!(error = cause, "a request failed");
        ApiError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            fault: "Internal Server Error".into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"faultstring": self.fault}))).into_response()
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NotFound(fault) => Self::not_found(fault),
            RequestError::Invalid(fault) => Self::bad_request(fault),
            RequestError::Store(error) => Self::internal(&error),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}

impl From<CipherError> for ApiError {
    fn from(error: CipherError) -> Self {
        Self::internal(&error)
    }
}

impl From<UsersError> for ApiError {
    fn from(error: UsersError) -> Self {
        Self::internal(&error)
    }
}
