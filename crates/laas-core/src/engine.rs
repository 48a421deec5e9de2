//! The engine's API beyond the datastore: which executions live, whose step an execution is, dispatching a trigger.

use crate::env_vars;
use crate::http::{Answer, Http, HttpError, Tls};
use crate::st2_client::Client;
use crate::{Classify, Kind, Secret};
use reqwest::blocking::RequestBuilder;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);
/// The most that StackStorm gives in one page.
const PAGE: usize = 100;
/// The states in which something may still happen to an execution. The API filters by one state at a time.
const LIVE: [&str; 8] = [
    "requested",
    "scheduled",
    "delayed",
    "running",
    "pausing",
    "paused",
    "resuming",
    "canceling",
];

/// Whether an execution in this state may still do something.
pub fn is_live(status: &str) -> bool {
    LIVE.contains(&status)
}

/// StackStorm, or the embedded engine that answers like it.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) http: Http,
    pub(crate) header: &'static str,
    pub(crate) token: Secret,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("can't ask the engine for {what}")]
    Http { what: String, source: HttpError },
    #[error("the engine refuses our token (HTTP {status})")]
    Token { status: u16 },
    #[error("the engine answered HTTP {status} to {what}: `{start}`")]
    Answer {
        what: String,
        status: u16,
        start: String,
    },
}

impl Classify for EngineError {
    fn kind(&self) -> Kind {
        match self {
            Self::Http { source, .. } => source.kind(),
            Self::Answer { status, .. } if *status >= 500 => Kind::Unreachable,
            Self::Token { .. } | Self::Answer { .. } => Kind::Refused,
        }
    }
}

#[derive(Deserialize)]
struct Execution {
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(default)]
    parent: Option<String>,
}

impl Engine {
    /// The engine that the environment names with a token or an API key, if it does.
    ///
    /// # Errors
    /// Its address is none.
    pub fn from_env() -> Result<Option<Self>, HttpError> {
        let var = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        let url = var(env_vars::ST2_ACTION_API_URL).or_else(|| var(env_vars::ST2_API_URL));
        let token = var(env_vars::ST2_ACTION_AUTH_TOKEN).or_else(|| var(env_vars::ST2_AUTH_TOKEN));
        let key = var(env_vars::ST2_API_KEY);
        let (url, header, token) = match (url, token, key) {
            (Some(url), Some(token), _) => (url, "X-Auth-Token", token),
            (Some(url), None, Some(key)) => (url, "St2-Api-Key", key),
            _ => return Ok(None),
        };
        let token = Secret::new(token);
        Self::new(&url, &Tls::default(), (header, token)).map(Some)
    }

    /// The engine that the user's `st2` client is set up for, with its login, or with the token or the key that the
    /// environment has without an address; and where that was found.
    ///
    /// # Errors
    /// The address is none, or the login can't be tried.
    pub fn from_client() -> Result<Option<(Self, String)>, HttpError> {
        let client = Client::find();
        let var = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        let credential = match (var(env_vars::ST2_AUTH_TOKEN), var(env_vars::ST2_API_KEY)) {
            (Some(token), _) => Some(("X-Auth-Token", Secret::new(token))),
            (None, Some(key)) => Some(("St2-Api-Key", Secret::new(key))),
            (None, None) => client.credential()?,
        };
        let Some(credential) = credential else {
            return Ok(None);
        };
        let engine = Self::new(&client.api, &client.tls, credential)?;
        let place = match &client.path {
            Some(path) => format!("{} (`{}`)", client.api, path.display()),
            None => client.api,
        };
        Ok(Some((engine, place)))
    }

    fn new(url: &str, tls: &Tls, (header, token): (&'static str, Secret)) -> Result<Self, HttpError> {
        let base = url.trim_end_matches('/');
        let base = if base.ends_with("/v1") {
            base.to_owned()
        } else {
            format!("{base}/v1")
        };
        let http = Http::new(&base, tls, TIMEOUT)?;
        Ok(Self { http, header, token })
    }

    /// The parameters of the live executions of `action` (`laas.fulfill_job`).
    ///
    /// # Errors
    /// The engine can't be reached or refuses.
    pub fn live_executions(&self, action: &str) -> Result<Vec<Map<String, Value>>, EngineError> {
        let mut found = Vec::new();
        for status in LIVE {
            for page in 0.. {
                let offset = (page * PAGE).to_string();
                let request = self.http.get(&["executions"]).query(&[
                    ("action", action),
                    ("status", status),
                    ("limit", &PAGE.to_string()),
                    ("offset", &offset),
                    ("include_attributes", "parameters"),
                ]);
                let answer = self.exchange("executions", request)?;
                let executions: Vec<Execution> = json("executions", &answer)?;
                let last = executions.len() < PAGE;
                found.extend(executions.into_iter().map(|e| e.parameters));
                if last {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// The workflow that the execution is a step of.
    ///
    /// # Errors
    /// As [`Engine::live_executions`].
    pub fn parent(&self, execution: &str) -> Result<Option<String>, EngineError> {
        let request = self
            .http
            .get(&["executions", execution])
            .query(&[("include_attributes", "parent")]);
        let answer = self.exchange("our execution", request)?;
        let execution: Execution = json("our execution", &answer)?;
        Ok(execution.parent)
    }

    /// Dispatches `trigger` (`laas.job_ready`); `trace_tag` is what the executions it leads to are found by.
    ///
    /// # Errors
    /// As [`Engine::live_executions`]; HTTP 400 means that the trigger is not registered or the payload does not fit.
    pub fn dispatch(&self, trigger: &str, payload: &Value, trace_tag: &str) -> Result<(), EngineError> {
        let request = self
            .http
            .post(&["webhooks", "st2"])
            .header("St2-Trace-Tag", trace_tag)
            .json(&json!({"trigger": trigger, "payload": payload}));
        self.exchange(&format!("trigger `{trigger}`"), request).map(drop)
    }

    fn exchange(&self, what: &str, request: RequestBuilder) -> Result<Answer, EngineError> {
        let answer = self
            .http
            .send(request.header(self.header, self.token.expose()))
            .map_err(|source| EngineError::Http {
                what: what.to_owned(),
                source,
            })?;
        match answer.status {
            200..=299 => Ok(answer),
            status @ (401 | 403) => Err(EngineError::Token { status }),
            status => Err(EngineError::Answer {
                what: what.to_owned(),
                status,
                start: answer.start(),
            }),
        }
    }
}

fn json<T: serde::de::DeserializeOwned>(what: &str, answer: &Answer) -> Result<T, EngineError> {
    answer.json().map_err(|source| EngineError::Http {
        what: what.to_owned(),
        source,
    })
}
