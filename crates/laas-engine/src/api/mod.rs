//! The part of StackStorm's REST API that a pack and the `st2` command line use.

mod catalog;
mod error;
mod events;
mod executions;
mod keys;
mod query;
mod stream;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Uri};
use axum::middleware::{from_fn_with_state, map_request, map_response};
use axum::response::Response;
use axum::routing::{get, post};
use laas_engine::engine::Engine;

use crate::auth::{self, Users};
use crate::crypto;

pub use error::ApiError;

/// What every handler works with.
pub struct App {
    pub engine: Engine,
    pub users: Users,
    /// Shown as the place where an execution runs.
    pub hostname: String,
}

/// Handlers share one [`App`].
pub type SharedApp = Arc<App>;

/// Serves the API at `/v1` and `/api/v1`, authentication at `/auth/v1`, events at `/v1/stream` and `/stream/v1/stream`,
/// as StackStorm's services and its proxy do; a slash at the end of a path makes no difference.
pub fn router(app: SharedApp) -> Router {
    let v1 = catalog::routes()
        .merge(executions::routes())
        .merge(keys::routes())
        .merge(events::routes())
        .route("/user", get(tokens::whoami))
        .route(
            "/apikeys",
            get(tokens::list_api_keys).post(tokens::create_api_key),
        )
        .route(
            "/apikeys/{id}",
            get(tokens::get_api_key).delete(tokens::delete_api_key),
        )
        .route("/stream", get(stream::stream))
        .route_layer(from_fn_with_state(app.clone(), auth::require));
    let tokens = Router::new()
        .route("/tokens", post(tokens::login))
        .route("/tokens/validate", post(tokens::validate));
    let routes = Router::new()
        .nest("/v1", v1)
        .nest("/auth/v1", tokens)
        .fallback(no_route)
        .method_not_allowed_fallback(no_route)
        .with_state(app);
    Router::new()
        .fallback_service(routes)
        .layer(map_request(normalize_path))
        .layer(map_response(add_request_id))
}

async fn no_route(uri: Uri) -> ApiError {
    ApiError::not_found(format!("No route matches \"{}\" path", uri.path()))
}

/// One spelling for the paths of the services and of the proxy before them.
async fn normalize_path(mut request: Request) -> Request {
    let path = request.uri().path().trim_end_matches('/');
    let path = match path
        .strip_prefix("/api/")
        .or_else(|| path.strip_prefix("/stream/"))
    {
        Some(rest) => format!("/{rest}"),
        None if path.is_empty() => "/".to_string(),
        None => path.to_string(),
    };
    let path_and_query = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    // What was a URI before is one without its trailing slash; should it not be, the route is not found.
    if let Ok(uri) = path_and_query.parse() {
        *request.uri_mut() = uri;
    }
    request
}

async fn add_request_id(mut response: Response) -> Response {
    if let Ok(id) = crypto::random_id()
        && let Ok(value) = HeaderValue::from_str(&id)
    {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}
