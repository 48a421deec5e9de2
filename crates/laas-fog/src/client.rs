//! The calls. Bodies are never logged nor quoted: FOG 1.5 puts decrypted passwords into its hosts.

mod images;

use crate::model::List;
use crate::{FogError, Host, Id, Image, Task, TaskType};
use laas_core::Secret;
use laas_core::config;
use laas_core::http::{Answer, Http};
use reqwest::blocking::RequestBuilder;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

pub use images::NewImage;

/// FOG 1.6 gives at most 10000 rows at once.
const MOST_PAGES: usize = 1000;
/// Through a list that changes while it is read.
const MOST_WALKS: usize = 5;
/// What the tokens begin with that 1.6 issues to users and takes alone. The keys of 1.5 are base64, which has no `_`.
const ISSUED_TOKEN: &str = "fog_";

/// One FOG server.
#[derive(Debug, Clone)]
pub struct Fog {
    http: Http,
    api_key: Secret,
    user_key: Secret,
}

impl Fog {
    /// `timeout` is for each call.
    ///
    /// # Errors
    /// The configured address or certificate authorities are unusable. Nothing is sent.
    pub fn new(config: &config::Fog, timeout: Duration) -> Result<Self, FogError> {
        Ok(Self {
            http: Http::new(&config.address, &config.tls, timeout)?,
            api_key: config.api_key.clone(),
            user_key: config.user_key.clone(),
        })
    }

    /// All hosts.
    ///
    /// # Errors
    /// FOG can't be asked.
    pub fn hosts(&self) -> Result<Vec<Host>, FogError> {
        self.list("host", &["host"])
    }

    /// The one host of exactly this name.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn host(&self, name: &str) -> Result<Host, FogError> {
        let mut hosts = self.hosts()?;
        hosts.retain(|h| h.name == name);
        match (hosts.len(), hosts.pop()) {
            (1, Some(host)) => Ok(host),
            (count, _) => Err(FogError::HostNotUnique {
                name: name.to_owned(),
                count,
            }),
        }
    }

    /// All images, deployable or not. FOG 1.6 leaves the storage groups out.
    ///
    /// # Errors
    /// FOG can't be asked.
    pub fn images(&self) -> Result<Vec<Image>, FogError> {
        self.list("image", &["image"])
    }

    /// Makes `image` the one that the host's next deploy writes, and reads it back.
    ///
    /// # Errors
    /// FOG refuses, or says something else afterwards.
    pub fn set_image(&self, host: &Host, image: Id) -> Result<(), FogError> {
        // Nothing but the image: with the name FOG answers "Already created", and with the MACs 1.5 can
        // replace the primary one.
        let id = host.id.to_string();
        let request = self
            .http
            .put(&["host", &id])
            .json(&json!({"imageID": image.get()}));
        let put = self.send("PUT", request);
        // FOG has been seen to answer 500 after doing what was asked: what it says now decides.
        let now: Option<Host> = self.one("host", host.id)?;
        let found = now.and_then(|h| h.image);
        if found == Some(image) {
            return Ok(());
        }
        put?;
        Err(FogError::ImageNotTaken {
            host: host.name.clone(),
            wanted: image,
            found,
        })
    }

    /// The host's tasks that have not ended.
    ///
    /// # Errors
    /// FOG can't be asked.
    pub fn active_tasks(&self, host: Id) -> Result<Vec<Task>, FogError> {
        self.tasks_at(&["task", "active"], host)
    }

    /// All tasks that the host ever had, as far as FOG remembers. FOG has no filter for it: this can be a
    /// large answer.
    ///
    /// # Errors
    /// FOG can't be asked.
    pub fn all_tasks(&self, host: Id) -> Result<Vec<Task>, FogError> {
        self.tasks_at(&["task"], host)
    }

    /// `None` if FOG has no such task.
    ///
    /// # Errors
    /// FOG can't be asked.
    pub fn task(&self, id: Id) -> Result<Option<Task>, FogError> {
        self.one("task", id)
    }

    /// Queues a task that is about the host and the image it has now. FOG does not say the new task's id: it is found by its
    /// name, see [`Task::is_called`].
    ///
    /// # Errors
    /// FOG refuses, or breaks down; it may have queued the task nevertheless.
    pub fn start_task(&self, host: Id, kind: TaskType, name: &str) -> Result<(), FogError> {
        // Without `wol: false` FOG 1.6 wakes the host, and it is the workflow that powers it on.
        let body = json!({
            "taskTypeID": kind as u64,
            "taskName": name,
            "shutdown": false,
            "debug": false,
            "deploySnapins": false,
            "wol": false,
        });
        let request = self.http.post(&["host", &host.to_string(), "task"]).json(&body);
        self.send("POST", request).map(drop)
    }

    /// Asks FOG to cancel one task. Whether it did is seen by reading it again: FOG says yes to a task that has
    /// already ended, or 409 or 500.
    ///
    /// # Errors
    /// FOG can't be asked, or refuses our keys.
    pub fn cancel(&self, task: Id) -> Result<(), FogError> {
        // Without an id this would cancel the tasks of all hosts, which is why an id can't be zero. With an id that is
        // no task any more FOG cancels all that have the fields of the body, which is why the id stands there again.
        let request = self.http.delete(&["task", &task.to_string(), "cancel"]);
        let request = request.json(&json!({"id": task.get()}));
        match self.send("DELETE", request) {
            Ok(_)
            | Err(
                FogError::Broken {
                    status: 409 | 500, ..
                }
                | FogError::Refused { .. },
            ) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn tasks_at(&self, path: &[&str], host: Id) -> Result<Vec<Task>, FogError> {
        let mut tasks: Vec<Task> = self.list("task", path)?;
        tasks.retain(|t| t.host == Some(host));
        Ok(tasks)
    }

    /// One object; `None` stands for FOG's own 404.
    pub(crate) fn one<T: DeserializeOwned>(&self, class: &str, id: Id) -> Result<Option<T>, FogError> {
        match self.send("GET", self.http.get(&[class, &id.to_string()])) {
            Ok(answer) => parse(&answer).map(Some),
            Err(FogError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects of a list, over all of its pages.
    pub(crate) fn list<T: DeserializeOwned>(&self, class: &str, path: &[&str]) -> Result<Vec<T>, FogError> {
        for _ in 0..MOST_WALKS {
            if let Some(all) = self.walk(class, path)? {
                return Ok(all);
            }
        }
        Err(FogError::Restless {
            what: path.join("/"),
            walks: MOST_WALKS,
        })
    }

    /// One walk through the pages; `None` if the list changed meanwhile, so that something may have slipped from a page
    /// that was not read yet to one that was.
    fn walk<T: DeserializeOwned>(&self, class: &str, path: &[&str]) -> Result<Option<Vec<T>>, FogError> {
        let mut all = Vec::new();
        let mut query: Vec<(String, String)> = Vec::new();
        let mut total = None;
        for _ in 0..MOST_PAGES {
            let answer = self.send("GET", self.http.get(path).query(&query))?;
            let mut list: List = parse(&answer)?;
            let items = list.items(class).ok_or_else(|| garbled(&answer))?;
            if *total.get_or_insert_with(|| list.filtered.clone()) != list.filtered {
                return Ok(None);
            }
            let count = items.len();
            for item in items {
                all.push(serde_json::from_value(item).map_err(|_| garbled(&answer))?);
            }
            match list.next.filter(|next| !next.is_empty()) {
                // Only where to go on is taken from it: a foreign address must not get our keys.
                Some(next) if count > 0 => query = query_of(&next),
                None if !list.truncated => return Ok(Some(all)),
                // There is more, and no way to it.
                _ => break,
            }
        }
        Err(FogError::Endless {
            what: path.join("/"),
            read: all.len(),
        })
    }

    /// Sends with our keys and makes errors of everything but 2xx.
    fn send(&self, method: &'static str, request: RequestBuilder) -> Result<Answer, FogError> {
        let request = if self.user_key.expose().starts_with(ISSUED_TOKEN) {
            request.bearer_auth(self.user_key.expose())
        } else {
            request
                .header("fog-api-token", self.api_key.expose())
                .header("fog-user-token", self.user_key.expose())
        };
        let answer = self.http.send(request)?;
        let url = answer.url.clone();
        let status = answer.status;
        Err(match status {
            200..=299 => return Ok(answer),
            300..=399 => FogError::ApiOff { url },
            401 => FogError::UserKey,
            403 => FogError::ApiKey,
            // FOG's own 404 is empty; one with a page is of a web server that knows no such place.
            404 if answer.body.trim().is_empty() || said(&answer).is_some() => {
                FogError::Missing { what: url }
            }
            404 | 405 | 501 => FogError::NoApi { url, status },
            417 => FogError::Refused {
                method,
                url,
                status,
                said: "a required field is missing".to_owned(),
            },
            _ => match said(&answer) {
                Some(said) => FogError::Refused {
                    method,
                    url,
                    status,
                    said,
                },
                None => FogError::Broken { method, url, status },
            },
        })
    }
}

/// FOG's own words in an error's body.
fn said(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    let words = ["error", "msg"].into_iter().find_map(|k| body.get(k)?.as_str())?;
    Some(words.chars().take(200).collect())
}

fn parse<T: DeserializeOwned>(answer: &Answer) -> Result<T, FogError> {
    serde_json::from_str(&answer.body).map_err(|_| garbled(answer))
}

fn garbled(answer: &Answer) -> FogError {
    let url = answer.url.clone();
    // As PHP prints them with `display_errors`, before what the script answers.
    let is_php = |line: &str| {
        let kinds = [
            "Warning:",
            "Notice:",
            "Deprecated:",
            "Fatal error:",
            "Parse error:",
        ];
        kinds.iter().any(|kind| line.contains(kind)) && line.contains(" on line ")
    };
    let text = answer.body.replace("<b>", "").replace("</b>", "");
    if text.lines().any(is_php) {
        return FogError::PhpMessage { url };
    }
    FogError::Garbled {
        url,
        content_type: answer.content_type.clone(),
        bytes: answer.body.len(),
    }
}

fn query_of(next: &str) -> Vec<(String, String)> {
    let query = next.split_once('?').map_or("", |(_, query)| query);
    let mut url = reqwest::Url::parse("http://fog/").expect("a literal URL");
    url.set_query(Some(query));
    url.query_pairs().into_owned().collect()
}
