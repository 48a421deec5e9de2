//! What the lab must remember: StackStorm's datastore over its API, or a local file for a person at a shell.

use crate::engine::Engine;
use crate::env_vars;
use crate::http::{Http, HttpError};
use crate::wait::Deadline;
use crate::{Classify, Kind, Secret, lock};
use reqwest::blocking::RequestBuilder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);
/// What is taken for the datastore where nothing says that there is another one.
const LOCAL: &str = "hosts.json";

/// One key, one writer: there is no compare-and-set.
#[derive(Debug, Clone)]
pub struct Datastore(Place);

#[derive(Debug, Clone)]
enum Place {
    Api {
        http: Http,
        header: &'static str,
        token: Secret,
    },
    /// In the format of `hosts.json`: a list of `{name, value, secret}`.
    File(PathBuf),
}

#[derive(Debug, thiserror::Error)]
pub enum DatastoreError {
    #[error("no datastore is configured")]
    NotConfigured,
    #[error("can't ask the datastore for `{key}`")]
    Http { key: String, source: HttpError },
    #[error("the engine refuses our token for `{key}` (HTTP {status})")]
    Token { key: String, status: u16 },
    #[error("the datastore answered HTTP {status} for `{key}`: `{start}`")]
    Answer { key: String, status: u16, start: String },
    #[error("can't use the datastore file `{path}`")]
    File {
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl DatastoreError {
    fn unfit(source: HttpError) -> Self {
        Self::Http {
            key: "datastore".to_owned(),
            source,
        }
    }
}

impl Classify for DatastoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotConfigured | Self::File { .. } => Kind::Input,
            Self::Http { source, .. } => source.kind(),
            // The next run of an action has a token of its own.
            Self::Token { status: 401, .. } => Kind::Unreachable,
            Self::Token { .. } => Kind::Refused,
            Self::Answer { status, .. } if *status >= 500 => Kind::Unreachable,
            Self::Answer { .. } => Kind::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotConfigured => Some(format!(
                "log in with `st2 login -w USER`, set `{}` and `{}`, set `{}` to a file like `hosts.json`, or go where \
                 `{LOCAL}` is",
                env_vars::ST2_API_URL,
                env_vars::ST2_API_KEY,
                env_vars::LAAS_DATASTORE
            )),
            Self::Token { status: 401, .. } => Some(
                "it has expired or was revoked: by hand, log in with `st2 login`; an engine gives each run a token of \
                 its own"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// One key as it is stored.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    pub name: String,
    pub value: Secret,
    /// Whether the datastore keeps it encrypted.
    #[serde(default)]
    pub secret: bool,
}

impl Datastore {
    /// The one that the environment names: a file if `LAAS_DATASTORE` is set, else the engine's API.
    ///
    /// # Errors
    /// Neither is named, or the API's address is none.
    pub fn from_env() -> Result<Self, DatastoreError> {
        if let Some(path) = std::env::var_os(env_vars::LAAS_DATASTORE).filter(|p| !p.is_empty()) {
            return Ok(Self::file(path));
        }
        match Engine::from_env().map_err(DatastoreError::unfit)? {
            Some(engine) => Ok(Self::of(engine)),
            None => Err(DatastoreError::NotConfigured),
        }
    }

    /// As [`Datastore::from_env`], and where the environment names none: that of the user's `st2` client, else the file
    /// `hosts.json` here. The second value says which one was found so.
    ///
    /// # Errors
    /// There is none, or the client's login can't be tried.
    pub fn find() -> Result<(Self, Option<String>), DatastoreError> {
        match Self::from_env() {
            Err(DatastoreError::NotConfigured) => {}
            found => return found.map(|found| (found, None)),
        }
        if let Some((engine, place)) = Engine::from_client().map_err(DatastoreError::unfit)? {
            return Ok((Self::of(engine), Some(place)));
        }
        let here = Path::new(LOCAL);
        if here.exists() {
            return Ok((Self::file(here), Some(format!("./{LOCAL}"))));
        }
        Err(DatastoreError::NotConfigured)
    }

    /// The engine that it belongs to; a file belongs to none.
    pub fn engine(&self) -> Option<Engine> {
        match &self.0 {
            Place::Api { http, header, token } => Some(Engine {
                http: http.clone(),
                header,
                token: token.clone(),
            }),
            Place::File(_) => None,
        }
    }

    /// That of this engine.
    pub fn of(Engine { http, header, token }: Engine) -> Self {
        Self(Place::Api { http, header, token })
    }

    /// A file in the format of `hosts.json`; it may not exist yet.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Place::File(path.into()))
    }

    /// The value, decrypted if it is a secret; `None` if there is no such key.
    ///
    /// # Errors
    /// The datastore can't be reached or refuses.
    pub fn get(&self, key: &str) -> Result<Option<Secret>, DatastoreError> {
        Ok(self.entry(key)?.map(|entry| entry.value))
    }

    /// As [`Datastore::get`], with what the datastore says of the key.
    ///
    /// # Errors
    /// As [`Datastore::get`].
    pub fn entry(&self, key: &str) -> Result<Option<Entry>, DatastoreError> {
        match &self.0 {
            Place::Api { http, .. } => {
                let request = http
                    .get(&["keys", key])
                    .query(&[("decrypt", "true"), ("scope", "system")]);
                let Some(answer) = self.exchange(key, request, true)? else {
                    return Ok(None);
                };
                let entry = answer.json().map_err(|source| DatastoreError::Http {
                    key: key.to_owned(),
                    source,
                })?;
                Ok(Some(entry))
            }
            Place::File(path) => Ok(read_file(path)?
                .into_iter()
                .find(|e| e.name == key)
                .map(Entry::from)),
        }
    }

    /// What the pack itself has stored as JSON; one that can't be read counts as none, since work can always be
    /// repeated.
    ///
    /// # Errors
    /// As [`Datastore::get`].
    pub fn get_record<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, DatastoreError> {
        let value = self.get(key)?;
        Ok(value.and_then(|v| serde_json::from_str(v.expose()).ok()))
    }

    /// All keys that start with `prefix`, decrypted.
    ///
    /// # Errors
    /// As [`Datastore::get`].
    pub fn list(&self, prefix: &str) -> Result<Vec<Entry>, DatastoreError> {
        match &self.0 {
            Place::Api { http, .. } => {
                let query = [
                    ("prefix", prefix),
                    ("decrypt", "true"),
                    ("scope", "system"),
                    ("limit", "-1"),
                ];
                let request = http.get(&["keys"]).query(&query);
                let Some(answer) = self.exchange(prefix, request, false)? else {
                    return Ok(Vec::new());
                };
                answer.json().map_err(|source| DatastoreError::Http {
                    key: prefix.to_owned(),
                    source,
                })
            }
            Place::File(path) => Ok(read_file(path)?
                .into_iter()
                .filter(|e| e.name.starts_with(prefix))
                .map(Entry::from)
                .collect()),
        }
    }

    /// Stores a plain value.
    ///
    /// # Errors
    /// As [`Datastore::get`].
    pub fn put(&self, key: &str, value: &str) -> Result<(), DatastoreError> {
        self.store(key, value, false, None)
    }

    /// Stores a plain value that the engine removes after so long; a file keeps it.
    ///
    /// # Errors
    /// As [`Datastore::get`].
    pub fn put_for(&self, key: &str, value: &str, time: Duration) -> Result<(), DatastoreError> {
        self.store(key, value, false, Some(time.as_secs()))
    }

    /// Stores a value that holds no secret as JSON.
    ///
    /// # Errors
    /// As [`Datastore::get`].
    pub fn put_record(&self, key: &str, record: &impl Serialize) -> Result<(), DatastoreError> {
        self.put(key, &json!(record).to_string())
    }

    /// Stores a value that the datastore encrypts.
    ///
    /// # Errors
    /// As [`Datastore::get`].
    pub fn put_secret(&self, key: &str, value: &Secret) -> Result<(), DatastoreError> {
        self.store(key, value.expose(), true, None)
    }

    fn store(&self, key: &str, value: &str, secret: bool, ttl: Option<u64>) -> Result<(), DatastoreError> {
        match &self.0 {
            Place::Api { http, .. } => {
                let mut body = json!({"name": key, "value": value, "secret": secret, "scope": "system"});
                if let Some(seconds) = ttl {
                    body["ttl"] = seconds.into();
                }
                self.exchange(key, http.put(&["keys", key]).json(&body), false)
                    .map(drop)
            }
            Place::File(path) => update_file(path, |entries| {
                entries.retain(|e| e.name != key);
                entries.push(FileEntry {
                    name: key.to_owned(),
                    value: value.to_owned(),
                    secret,
                });
            }),
        }
    }

    /// Removes a key; one that is not there is no error.
    ///
    /// # Errors
    /// As [`Datastore::get`].
    pub fn delete(&self, key: &str) -> Result<(), DatastoreError> {
        match &self.0 {
            Place::Api { http, .. } => {
                let request = http.delete(&["keys", key]).query(&[("scope", "system")]);
                self.exchange(key, request, true).map(drop)
            }
            Place::File(path) => update_file(path, |entries| entries.retain(|e| e.name != key)),
        }
    }

    /// The status of an execution (`running`, `canceled`, …); `None` if there is no engine or no such execution.
    ///
    /// # Errors
    /// As [`Datastore::get`].
    pub fn execution_status(&self, id: &str) -> Result<Option<String>, DatastoreError> {
        #[derive(Deserialize)]
        struct Execution {
            status: String,
        }
        let Place::Api { http, .. } = &self.0 else {
            return Ok(None);
        };
        let request = http
            .get(&["executions", id])
            .query(&[("include_attributes", "status")]);
        let Some(answer) = self.exchange(id, request, true)? else {
            return Ok(None);
        };
        let execution: Execution = answer.json().map_err(|source| DatastoreError::Http {
            key: id.to_owned(),
            source,
        })?;
        Ok(Some(execution.status))
    }

    /// Sends with our token; `None` stands for 404 where that is an answer.
    fn exchange(
        &self,
        key: &str,
        request: RequestBuilder,
        missing_is_fine: bool,
    ) -> Result<Option<crate::http::Answer>, DatastoreError> {
        let Place::Api { http, header, token } = &self.0 else {
            return Ok(None);
        };
        let failed = |source| DatastoreError::Http {
            key: key.to_owned(),
            source,
        };
        let answer = http
            .send(request.header(*header, token.expose()))
            .map_err(failed)?;
        match answer.status {
            200..=299 => Ok(Some(answer)),
            // A proxy's 404 page must not pass for "no such key".
            404 if missing_is_fine && answer.json::<Map<String, Value>>().is_ok() => Ok(None),
            status @ (401 | 403) => Err(DatastoreError::Token {
                key: key.to_owned(),
                status,
            }),
            status => Err(DatastoreError::Answer {
                key: key.to_owned(),
                status,
                start: answer.start(),
            }),
        }
    }
}

#[derive(serde::Serialize, Deserialize)]
struct FileEntry {
    name: String,
    value: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    secret: bool,
}

impl From<FileEntry> for Entry {
    fn from(entry: FileEntry) -> Self {
        Self {
            name: entry.name,
            value: Secret::new(entry.value),
            secret: entry.secret,
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<FileEntry>, DatastoreError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| DatastoreError::File {
        path: path.to_owned(),
        source,
    };
    match std::fs::read_to_string(path) {
        // The parser's words may quote a password.
        Ok(text) => serde_json::from_str(&text).map_err(|e| {
            let place = format!("line {} is not what `hosts.json` should be", e.line());
            failed(place.into())
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(failed(e.into())),
    }
}

fn update_file(path: &Path, change: impl FnOnce(&mut Vec<FileEntry>)) -> Result<(), DatastoreError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| DatastoreError::File {
        path: path.to_owned(),
        source,
    };
    let name = format!("datastore_{}", path.display());
    let _lock = lock::acquire(&name, &Deadline::after(TIMEOUT)).map_err(|e| failed(e.into()))?;
    let mut entries = read_file(path)?;
    change(&mut entries);
    let write = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let new = path.with_extension("new");
        let mut options = std::fs::File::options();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.create(true).truncate(true).write(true).open(&new)?;
        file.write_all(serde_json::to_string_pretty(&entries)?.as_bytes())?;
        file.sync_all()?;
        Ok(std::fs::rename(&new, path)?)
    };
    write().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_what_was_put() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts.json");
        let store = Datastore::file(&path);
        assert_eq!(store.get("a").unwrap(), None);
        store.put("vpn_a", "1").unwrap();
        store.put_secret("vpn_b", &Secret::new("2")).unwrap();
        store.put("vpn_a", "3").unwrap();
        store.put("other", "4").unwrap();
        let mut listed: Vec<_> = store.list("vpn_").unwrap().into_iter().map(|e| e.name).collect();
        listed.sort();
        assert_eq!(listed, ["vpn_a", "vpn_b"]);
        assert_eq!(store.get("vpn_a").unwrap().unwrap().expose(), "3");
        store.delete("vpn_a").unwrap();
        store.delete("vpn_a").unwrap();
        assert_eq!(store.get("vpn_a").unwrap(), None);
        std::fs::write(&path, "\"hunter2\"").unwrap();
        let error = store.put("a", "b").unwrap_err();
        assert!(matches!(error, DatastoreError::File { .. }));
        assert!(!crate::failure::chain(&error).contains("hunter2"), "{error:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\"hunter2\"");
    }
}
