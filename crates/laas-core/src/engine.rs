//! The engine's API beyond the datastore: which executions live, whose step an execution is, dispatching a trigger.

use crate::env_vars;
use crate::http::{Answer, Http, HttpError, Tls};
use crate::st2_client::Client;
use crate::{Classify, Kind, Secret};
use reqwest::blocking::RequestBuilder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
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
            // The next run of an action has a token of its own.
            Self::Token { status: 401 } => Kind::Unreachable,
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

/// An action that a process is at, or should be.
#[derive(Clone, Debug)]
pub struct RunningAction {
    pub execution: String,
    /// `laas.fog_image`
    pub action: String,
    /// The host that it was given.
    pub host: Option<String>,
    /// The workflow that it is a step of.
    pub parent: Option<String>,
    /// It is being cancelled, or its workflow is.
    pub is_canceling: bool,
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
            let executions =
                self.list::<Execution>(&[("action", action), ("status", status)], "parameters")?;
            found.extend(executions.into_iter().map(|e| e.parameters));
        }
        Ok(found)
    }

    /// The actions of `pack` that are `running` or `canceling`, without its workflows.
    ///
    /// # Errors
    /// As [`Engine::live_executions`].
    pub fn running_actions(&self, pack: &str) -> Result<Vec<RunningAction>, EngineError> {
        #[derive(Deserialize)]
        struct Listed {
            id: String,
            action: Action,
            #[serde(default)]
            parameters: Map<String, Value>,
            #[serde(default)]
            parent: Option<String>,
        }
        #[derive(Deserialize)]
        struct Action {
            r#ref: String,
            runner_type: String,
        }
        let list = |status| {
            self.list::<Listed>(
                &[("status", status)],
                "action.ref,action.runner_type,parameters,parent",
            )
        };
        let (running, canceling) = (list("running")?, list("canceling")?);
        let ended: BTreeSet<_> = canceling.iter().map(|listed| listed.id.clone()).collect();
        let is_ours = |listed: &Listed| {
            let of_pack = listed.action.r#ref.strip_prefix(pack);
            of_pack.is_some_and(|name| name.starts_with('.')) && listed.action.runner_type != "orquesta"
        };
        let action = |listed: Listed| RunningAction {
            is_canceling: ended.contains(&listed.id)
                || listed
                    .parent
                    .as_ref()
                    .is_some_and(|parent| ended.contains(parent)),
            host: listed
                .parameters
                .get("host")
                .and_then(Value::as_str)
                .map(str::to_owned),
            execution: listed.id,
            action: listed.action.r#ref,
            parent: listed.parent,
        };
        let listed = running.into_iter().chain(canceling).filter(is_ours);
        Ok(listed.map(action).collect())
    }

    /// Ends an execution that no process is at any more. `canceled` also ends the workflow above; after `abandoned`,
    /// which is what StackStorm itself says of a step whose runner was stopped, that tries the step again.
    ///
    /// # Errors
    /// As [`Engine::live_executions`]; HTTP 400 means that it has ended meanwhile.
    pub fn end(&self, action: &RunningAction, why: &str) -> Result<(), EngineError> {
        let what = format!("the end of execution `{}`", action.execution);
        let path = ["executions", &action.execution];
        let request = if action.is_canceling {
            // The second one is for what has been `canceling` for long: StackStorm takes no other cancel of that.
            self.exchange(&what, self.http.delete(&path))?;
            self.http.put(&path).json(&json!({"status": "canceled"}))
        } else {
            let result = json!({"failed": true, "succeeded": false, "error": why});
            let body = json!({"status": "abandoned", "result": result});
            self.http.put(&path).json(&body)
        };
        match self.exchange(&what, request) {
            Err(EngineError::Answer { status: 400, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Asks for a run of `action` (`laas.report_failure`), without waiting for it.
    ///
    /// # Errors
    /// As [`Engine::live_executions`].
    pub fn request(&self, action: &str, parameters: &Value) -> Result<(), EngineError> {
        let body = json!({"action": action, "parameters": parameters});
        self.exchange(action, self.http.post(&["executions"]).json(&body))
            .map(drop)
    }

    fn list<T: DeserializeOwned>(
        &self,
        filter: &[(&str, &str)],
        attributes: &str,
    ) -> Result<Vec<T>, EngineError> {
        let mut found = Vec::new();
        loop {
            let request = self.http.get(&["executions"]).query(filter).query(&[
                ("limit", &*PAGE.to_string()),
                ("offset", &found.len().to_string()),
                ("include_attributes", attributes),
            ]);
            let answer = self.exchange("executions", request)?;
            let page: Vec<T> = json("executions", &answer)?;
            let is_last = page.len() < PAGE;
            found.extend(page);
            if is_last {
                return Ok(found);
            }
        }
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

fn json<T: DeserializeOwned>(what: &str, answer: &Answer) -> Result<T, EngineError> {
    answer.json().map_err(|source| EngineError::Http {
        what: what.to_owned(),
        source,
    })
}
