//! The lab-facing HTTP API, below `/api/labs/<lab>`.
//!
//! It answers errors as HTML, and 200 to posts that it ignores; no answer is believed before it is read.

use crate::carried::Lists;
use crate::job::{Job, Task};
use crate::software::DocumentPath;
use laas_core::http::{Answer, Http, HttpError};
use laas_core::names::TaskId;
use laas_core::{Classify, HostName, Kind, Mac, Secret, config};
use reqwest::blocking::RequestBuilder;
use serde_json::Value;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The dashboard as one lab sees it.
#[derive(Debug, Clone)]
pub struct Dashboard {
    /// The server's root.
    root: Http,
    /// The lab's part of it.
    http: Http,
    token: Secret,
}

/// Jobs with at least one task in exactly this status; 300 and all others are in no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// Status 0.
    New,
    /// Status 100.
    Current,
    /// Status 200. It grows for ever.
    Done,
}

/// How a tenant reaches the BMC of a host.
#[derive(Debug, Clone)]
pub struct BmcAccess {
    /// The dashboard stores 15 characters: a name does not fit.
    pub address: Ipv4Addr,
    pub mac: Mac,
    pub user: String,
    pub password: Secret,
}

#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    #[error("can't ask the dashboard for {what}")]
    Http { what: String, source: HttpError },
    #[error("the dashboard refuses our token")]
    Token,
    #[error("the dashboard answered HTTP {status} for {what}")]
    Answer { what: String, status: u16 },
    #[error("the dashboard's answer for {what} is {found}")]
    Shape { what: String, found: &'static str },
    #[error("the dashboard's answer for {what} is incomplete: {why}")]
    Incomplete { what: String, why: String },
    #[error("the dashboard refuses {what}: {error}")]
    Refused { what: String, error: String },
    #[error("the dashboard says yes but did not take {what}")]
    NotTaken { what: String },
}

impl Classify for DashboardError {
    fn kind(&self) -> Kind {
        match self {
            Self::Http { source, .. } => source.kind(),
            // It stands for a restart, a thing that is not there, and a save whose mail failed.
            Self::Answer { status, .. } if *status >= 500 => Kind::Unreachable,
            Self::Shape { .. } | Self::Incomplete { .. } | Self::NotTaken { .. } => Kind::Unreachable,
            Self::Token | Self::Answer { .. } | Self::Refused { .. } => Kind::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Token => "check the key `lab_auth_token` and `dashboard.lab_name`, which is case-sensitive",
            Self::Answer { status: 404, .. } => {
                "check `dashboard.address`, and that the dashboard knows the host"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl Dashboard {
    /// `timeout` is for one exchange; the dashboard sends mail inside of posts and allows itself 30 s.
    ///
    /// # Errors
    /// The configured address is none.
    pub fn new(
        config: &config::Dashboard,
        token: &Secret,
        timeout: Duration,
    ) -> Result<Self, DashboardError> {
        let failed = |source| DashboardError::Http {
            what: "anything".to_owned(),
            source,
        };
        let root = Http::new(&config.address, &config.tls, timeout).map_err(failed)?;
        let http = root.clone().below(&["api", "labs", &config.lab_name]);
        // `st2 key set` of a file's content keeps its line end, which no header can hold.
        let token = Secret::new(token.expose().trim());
        Ok(Self { root, http, token })
    }

    /// The jobs in a list; what can't be read in it is left out.
    ///
    /// # Errors
    /// The dashboard can't be reached or refuses, or this is no list.
    pub fn jobs(&self, list: List) -> Result<Vec<Job>, DashboardError> {
        let name = match list {
            List::New => "new",
            List::Current => "current",
            List::Done => "done",
        };
        Ok(Job::read_list(&self.list(name)?))
    }

    /// All jobs of all lists, with nothing left out. A task that moves on meanwhile may stand in two of them.
    ///
    /// # Errors
    /// The dashboard can't be reached or refuses, or something in a list can't be read.
    pub fn all_jobs(&self) -> Result<Lists, DashboardError> {
        let read = |name: &str| {
            Job::read_whole_list(&self.list(name)?).map_err(|why| DashboardError::Incomplete {
                what: format!("`jobs/{name}`"),
                why,
            })
        };
        Ok(Lists {
            new: read("new")?,
            current: read("current")?,
            done: read("done")?,
        })
    }

    fn list(&self, name: &str) -> Result<Vec<Value>, DashboardError> {
        let what = format!("`jobs/{name}`");
        let answer = self.exchange(&what, self.http.get(&["jobs", name]))?;
        match json(&what, &answer)? {
            Value::Array(jobs) => Ok(jobs),
            other => Err(no_answer(&what, &other, "no list")),
        }
    }

    /// Whether the host is booked at the moment; `None` if the dashboard does not know it.
    ///
    /// # Errors
    /// The dashboard can't be reached or refuses, or this is no host. A dashboard of 2022 answers HTTP 500 for a host
    /// that it does not know.
    pub fn is_booked(&self, host: &HostName) -> Result<Option<bool>, DashboardError> {
        let what = format!("host `{host}`");
        let answer = match self.exchange(&what, self.http.get(&["hosts", host.as_str()])) {
            Err(DashboardError::Answer { status: 404, .. }) => return Ok(None),
            answer => answer?,
        };
        let shown = json(&what, &answer)?;
        match shown.get("booked") {
            Some(Value::Bool(booked)) => Ok(Some(*booked)),
            _ => Err(no_answer(&what, &shown, "no host")),
        }
    }

    /// All tasks of a job, whatever their status, in the shape in which the dashboard shows single jobs: some facts are
    /// those of an earlier day, so that it says what there is and not what to do. `None` if there is no such job, for
    /// which the dashboard has nothing but HTTP 500.
    ///
    /// # Errors
    /// The dashboard can't be reached or refuses, or this is no job.
    pub fn job(&self, job: u64) -> Result<Option<Vec<Task>>, DashboardError> {
        let what = format!("job {job}");
        let answer = match self.exchange(&what, self.http.get(&["jobs", &job.to_string()])) {
            Err(DashboardError::Answer { status: 500, .. }) => return Ok(None),
            answer => answer?,
        };
        let found = json(&what, &answer)?;
        match Job::read_list(std::slice::from_ref(&found)).pop() {
            Some(found) if found.id == job => Ok(Some(found.tasks)),
            _ => Err(no_answer(&what, &found, "no job")),
        }
    }

    /// The delta that the task has now. A task that is gone gives HTTP 500, as much else does.
    ///
    /// # Errors
    /// The dashboard can't be reached or refuses, or this is no delta.
    pub fn task(&self, job: u64, task: &TaskId) -> Result<Value, DashboardError> {
        let what = format!("task `{task}`");
        let request = self.http.get(&["jobs", &job.to_string(), task.as_str()]);
        let answer = self.exchange(&what, request)?;
        let delta = json(&what, &answer)?;
        match delta.as_object() {
            Some(map) if !(map.len() == 1 && map.contains_key("error")) => Ok(delta),
            _ => Err(no_answer(&what, &delta, "no task")),
        }
    }

    /// A document as it is, such as a booking's descriptor file: the dashboard names its path, from the server's root.
    /// It may be empty.
    ///
    /// # Errors
    /// The dashboard can't be reached or refuses.
    pub fn document(&self, path: &DocumentPath) -> Result<String, DashboardError> {
        let answer = self.exchange(&format!("`{path}`"), self.root.get(&path.segments()))?;
        Ok(answer.body)
    }

    /// Posts a task's status, a message for its user (the earlier one is lost), and the lab's own token, which later
    /// deltas of the task carry. It may be repeated.
    ///
    /// # Errors
    /// The dashboard can't be reached or refuses, or its answer does not show the status. HTTP 500 may mean that it
    /// has saved all and could not send the mail about it.
    pub fn post_task(
        &self,
        job: u64,
        task: &TaskId,
        status: u16,
        message: &str,
        lab_token: Option<&str>,
    ) -> Result<(), DashboardError> {
        let what = format!("status {status} of task `{task}`");
        let status = status.to_string();
        let mut form = vec![("status", status.as_str())];
        // An empty message would delete what the user could read before.
        if !message.is_empty() {
            form.push(("message", message));
        }
        form.extend(lab_token.map(|token| ("lab_token", token)));
        let request = self.http.post(&["jobs", &job.to_string(), task.as_str()]);
        let answer = self.exchange(&what, request.form(&form))?;
        let shown = posted_json(&what, &answer)?;
        // A status that was not posted just now is a number there.
        match shown.pointer("/meta/status") {
            Some(Value::String(shown)) if *shown == status => Ok(()),
            _ => Err(DashboardError::NotTaken { what }),
        }
    }

    /// Tells the dashboard how the host's BMC is reached, which it shows to the tenant.
    ///
    /// # Errors
    /// The dashboard can't be reached or refuses. It answers HTTP 500 for a host that is not booked, and stores the
    /// access nevertheless.
    pub fn post_bmc(&self, host: &HostName, access: &BmcAccess) -> Result<(), DashboardError> {
        let what = format!("the BMC access of `{host}`");
        let address = access.address.to_string();
        let form = [
            ("address", address.as_str()),
            ("mac_address", access.mac.as_str()),
            ("type", "ipmi"),
            ("user", &access.user),
            ("password", access.password.expose()),
            ("versions", "2.0"),
        ];
        let request = self.http.post(&["hosts", host.as_str(), "bmc"]);
        let answer = self.exchange(&what, request.form(&form))?;
        let shown = posted_json(&what, &answer)?;
        match shown.get("status").and_then(Value::as_str) {
            Some("success") => Ok(()),
            _ => Err(no_answer(&what, &shown, "not `success`")),
        }
    }

    fn exchange(&self, what: &str, request: RequestBuilder) -> Result<Answer, DashboardError> {
        let request = request.header("auth-token", self.token.expose());
        let answer = self.http.send(request).map_err(|source| DashboardError::Http {
            what: what.to_owned(),
            source,
        })?;
        match answer.status {
            200 => Ok(answer),
            403 => Err(DashboardError::Token),
            status => Err(DashboardError::Answer {
                what: what.to_owned(),
                status,
            }),
        }
    }
}

fn json(what: &str, answer: &Answer) -> Result<Value, DashboardError> {
    answer.json().map_err(|source| DashboardError::Http {
        what: what.to_owned(),
        source,
    })
}

/// The answer to a post. It repeats what was posted, passwords included, so it is quoted nowhere.
fn posted_json(what: &str, answer: &Answer) -> Result<Value, DashboardError> {
    serde_json::from_str(&answer.body).map_err(|_| DashboardError::Shape {
        what: what.to_owned(),
        found: "no JSON",
    })
}

fn no_answer(what: &str, answer: &Value, found: &'static str) -> DashboardError {
    let what = what.to_owned();
    match answer.get("error").and_then(Value::as_str) {
        Some(error) => DashboardError::Refused {
            what,
            error: error.chars().take(200).collect(),
        },
        None => DashboardError::Shape { what, found },
    }
}
