//! What the `st2` client of this user is set up with: a person at a shell who can type `st2 run` can run an action by
//! hand as well.
//!
//! The files are those of StackStorm's documentation, "CLI configuration": `~/.st2/config`, and `~/.st2/token-<user>`,
//! where the client keeps the token of a login.

use crate::env_vars;
use crate::http::{Http, HttpError, Tls};
use crate::{Secret, ledger};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the client looks for a StackStorm that nobody has told it of.
const BASE_URL: &str = "http://127.0.0.1";
const API_PORT: u16 = 9101;
const AUTH_PORT: u16 = 9100;
const TIMEOUT: Duration = Duration::from_secs(10);
/// A token that ends so soon is not begun with, in seconds.
const MARGIN: u64 = 60;

/// How to reach the engine's API, and as whom.
#[derive(Debug)]
pub struct Client {
    /// The file that says so; `None` if there is none and the defaults count.
    pub path: Option<PathBuf>,
    pub api: String,
    pub tls: Tls,
    auth: String,
    api_key: Option<Secret>,
    login: Option<(String, Secret)>,
}

/// A header of the API and its value.
pub type Credential = (&'static str, Secret);

impl Client {
    /// The client's settings, or its defaults if it has none.
    pub fn find() -> Self {
        let named = std::env::var_os(env_vars::ST2_CONFIG_FILE).map(PathBuf::from);
        let path = named.or_else(|| Some(home()?.join("config")));
        let text = path.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        match text {
            Some(text) => Self {
                path,
                ..Self::parse(&text)
            },
            None => Self::parse(""),
        }
    }

    fn parse(text: &str) -> Self {
        let settings = sections(text);
        let get = |section: &str, key: &str| {
            let value = settings.get(&(section.to_owned(), key.to_owned()))?;
            (!value.is_empty()).then(|| value.clone())
        };
        let base = get("general", "base_url").unwrap_or_else(|| BASE_URL.to_owned());
        let base = base.trim_end_matches('/');
        let password = get("credentials", "password");
        Self {
            path: None,
            api: get("api", "url").unwrap_or_else(|| format!("{base}:{API_PORT}")),
            tls: Tls {
                ca: get("general", "cacert").map(PathBuf::from),
                insecure: false,
            },
            auth: get("auth", "url").unwrap_or_else(|| format!("{base}:{AUTH_PORT}")),
            api_key: get("credentials", "api_key").map(Secret::new),
            login: get("credentials", "username").zip(password.map(Secret::new)),
        }
    }

    /// The key or the token to ask the API with; a token is that of the client's last login, or of a new one.
    ///
    /// # Errors
    /// The login can't be tried. One that is refused, or that is not there, gives `None`.
    pub fn credential(&self) -> Result<Option<Credential>, HttpError> {
        if let Some(key) = &self.api_key {
            return Ok(Some(("St2-Api-Key", key.clone())));
        }
        let Some((user, password)) = &self.login else {
            return Ok(None);
        };
        if let Some(token) = home().and_then(|dir| kept_token(&dir.join(format!("token-{user}")))) {
            return Ok(Some(("X-Auth-Token", token)));
        }
        let http = Http::new(&self.auth, &self.tls, TIMEOUT)?;
        let request = http.post(&["tokens"]).json(&json!({}));
        let answer = http.send(request.basic_auth(user, Some(password.expose())))?;
        if !answer.ok() {
            tracing::warn!(
                user,
                status = answer.status,
                "the engine refuses the login of the `st2` client"
            );
            return Ok(None);
        }
        let Token { token, .. } = answer.json()?;
        Ok(Some(("X-Auth-Token", token)))
    }
}

#[derive(Deserialize)]
struct Token {
    token: Secret,
    /// Seconds since 1970; only in the client's file.
    #[serde(default)]
    expire_timestamp: f64,
}

fn kept_token(path: &Path) -> Option<Secret> {
    let kept: Token = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    let now = ledger::now() + MARGIN;
    #[allow(clippy::cast_precision_loss, reason = "a second more or less does not matter")]
    let is_good = kept.expire_timestamp > now as f64;
    is_good.then_some(kept.token)
}

fn home() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("HOME")?).join(".st2"))
}

/// The values of an INI file by section and key.
fn sections(text: &str) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            name.trim().clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) {
            let key = (section.clone(), key.trim().to_owned());
            found.insert(key, value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_file_says_where_and_who() {
        let none = Client::parse("");
        assert_eq!(
            (none.api.as_str(), none.auth.as_str()),
            ("http://127.0.0.1:9101", "http://127.0.0.1:9100")
        );
        assert!(none.credential().unwrap().is_none());
        let full = Client::parse(
            "# made by the installer\n[general]\nbase_url = https://st2/\ncacert = /etc/ca.pem\n[credentials]\n\
             username = st2admin\npassword = a=b\n; api_key = no\n[api]\nurl = https://st2/api/v1\n[auth]\nurl =\n",
        );
        assert_eq!(
            (full.api.as_str(), full.auth.as_str()),
            ("https://st2/api/v1", "https://st2:9100")
        );
        assert_eq!(full.tls.ca, Some("/etc/ca.pem".into()));
        let (user, password) = full.login.unwrap();
        assert_eq!((user.as_str(), password.expose()), ("st2admin", "a=b"));
        let key = Client::parse("[credentials]\napi_key=hunter2\n");
        assert!(!format!("{key:?}").contains("hunter2"));
        assert_eq!(key.credential().unwrap().unwrap().0, "St2-Api-Key");
    }

    #[test]
    fn a_token_that_has_ended_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token-st2admin");
        for (ends, good) in [
            (ledger::now() + 3600, true),
            (ledger::now() + 1, false),
            (0, false),
        ] {
            std::fs::write(&path, json!({"token": "t", "expire_timestamp": ends}).to_string()).unwrap();
            assert_eq!(kept_token(&path).is_some(), good, "{ends}");
        }
        std::fs::write(&path, "no JSON").unwrap();
        assert!(kept_token(&path).is_none());
    }
}
