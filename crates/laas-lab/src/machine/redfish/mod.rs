//! A BMC with a Redfish service: HPE's iLO 5 and iLO 4, and Dell's iDRAC as far
//! as it has slots for accounts. It answers as their documentation says, and
//! what it is told happens to the machine.

mod accounts;
mod certificate;
mod resources;
mod ribcl;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse;
use base64::Engine as _;
use serde_json::{Value, json};

use self::accounts::{Accounts, Role};
use super::Shared;
use crate::cabling::bmc_address;
use crate::faults::Peer;
use crate::http::{Lie, Server};
use crate::inventory::BmcKind;

/// More than any request here has.
const MAX_BODY: usize = 1 << 20;

/// The service of one machine.
pub struct Service {
    pub(super) shared: Arc<Shared>,
    kind: BmcKind,
    accounts: Mutex<Accounts>,
    /// What an override says about the mode, where it can be chosen.
    uefi: Mutex<bool>,
    /// Every request but reads, for tests: method, path and body without
    /// passwords.
    heard: Mutex<Vec<String>>,
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    NoLogin,
    NotPrivileged,
    NotFound,
    NotAllowed,
    /// A message of the registry.
    Bad(&'static str),
}

impl Service {
    /// Starts it; it answers when this returns.
    ///
    /// # Errors
    /// What making its certificate or binding its address says.
    pub async fn start(shared: Arc<Shared>) -> io::Result<(Arc<Self>, Server)> {
        let options = &shared.options;
        let address = bmc_address(options.host.number);
        let acceptor = certificate::make(&shared.directory.join("bmc.crt"), address).await?;
        let peer = Peer::Bmc(options.host.name.clone());
        options.faults.speaks_http(peer.clone());
        let place = SocketAddr::from((address, options.ports.redfish));
        let faults = options.faults.clone();
        let service = Arc::new(Self {
            kind: options.host.bmc,
            accounts: Mutex::new(Accounts::new(
                options.host.bmc,
                &options.bmc_user,
                &options.bmc_password,
            )),
            uefi: Mutex::new(true),
            heard: Mutex::default(),
            shared,
        });
        let router = Router::new().fallback(answer).with_state(service.clone());
        let server = Server::start_tls(place, peer, router, faults, acceptor).await?;
        Ok((service, server))
    }

    /// The names of the accounts that can log in.
    pub fn names(&self) -> Vec<String> {
        self.locked().names()
    }

    /// Every request so far that was no read.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn login(&self, user: &str, password: &str) -> Option<Role> {
        self.locked().login(user, password)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of the registry that a message is of.
    fn message(&self, name: &str) -> Value {
        match self.kind {
            BmcKind::Ilo4 | BmcKind::Ilo4WithoutBoot => json!({"MessageID": format!("iLO.0.10.{name}")}),
            BmcKind::Ilo5 => json!({"MessageId": format!("iLO.2.8.{name}")}),
            _ => json!({"MessageId": format!("Base.1.8.{name}")}),
        }
    }

    fn messages(&self, status: StatusCode, name: &str) -> Response<Body> {
        let body = json!({"error": {
            "code": "iLO.0.10.ExtendedInfo",
            "message": "See @Message.ExtendedInfo for more information.",
            "@Message.ExtendedInfo": [self.message(name)],
        }});
        (status, axum::Json(body)).into_response()
    }

    fn problem(&self, problem: Problem) -> Response<Body> {
        let (status, name) = match problem {
            Problem::NoLogin => (StatusCode::UNAUTHORIZED, "NoValidSession"),
            Problem::NotPrivileged => (StatusCode::FORBIDDEN, "InsufficientPrivilege"),
            Problem::NotFound => (StatusCode::NOT_FOUND, "ResourceMissingAtURI"),
            Problem::NotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "ActionNotSupported"),
            Problem::Bad(name) => (StatusCode::BAD_REQUEST, name),
        };
        self.messages(status, name)
    }
}

async fn answer(State(service): State<Arc<Service>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let lies = parts.extensions.get::<Lie>().is_some();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let path = parts.uri.path();
    if path == "/ribcl" && service.kind != BmcKind::Idrac && parts.method == Method::POST {
        let reply = ribcl::answer(&service, &String::from_utf8_lossy(&body), lies);
        return ([(header::CONTENT_TYPE, "text/xml")], reply).into_response();
    }
    if parts.method != Method::GET && service.kind == BmcKind::Ilo5 && !path.ends_with('/') {
        let mut answer = StatusCode::PERMANENT_REDIRECT.into_response();
        if let Ok(place) = HeaderValue::from_str(&format!("{path}/")) {
            answer.headers_mut().insert(header::LOCATION, place);
        }
        return answer;
    }
    let role = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| credentials(value.to_str().ok()?))
        .and_then(|(user, password)| service.login(&user, &password));
    // iLO does not mind how a path is written.
    let lower = path.trim_matches('/').to_ascii_lowercase();
    let segments: Vec<&str> = lower.split('/').collect();
    if parts.method == Method::GET {
        return match service.read(&segments, role) {
            Ok(resource) => axum::Json(resource).into_response(),
            Err(problem) => service.problem(problem),
        };
    }
    let Some(role) = role else {
        return service.problem(Problem::NoLogin);
    };
    let Ok(body) = serde_json::from_slice::<Value>(if body.is_empty() { b"{}" } else { &body }) else {
        return service.problem(Problem::Bad("MalformedJSON"));
    };
    service.remember(&parts.method, path, &body);
    if lies {
        return service.messages(StatusCode::OK, "Success");
    }
    match service.write(&parts.method, &segments, role, &body) {
        Ok((status, name)) => service.messages(status, name),
        Err(problem) => service.problem(problem),
    }
}

impl Service {
    fn remember(&self, method: &Method, path: &str, body: &Value) {
        let mut body = body.clone();
        for (name, value) in body.as_object_mut().into_iter().flatten() {
            if name.contains("Password") && name != "PasswordName" {
                *value = json!("…");
            }
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push(format!("{method} {path} {body}"));
    }
}

fn credentials(header: &str) -> Option<(String, String)> {
    let encoded = header.strip_prefix("Basic ")?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
