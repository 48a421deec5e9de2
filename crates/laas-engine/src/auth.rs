//! Who may call: users with passwords, tokens, API keys.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::Response;
use laas_engine::model::{Timestamp, TokenKind};

use crate::api::{ApiError, SharedApp};
use crate::crypto;

/// Who sent a request, as every handler behind [`require`] can extract it.
#[derive(Debug, Clone)]
pub struct Caller {
    pub user: String,
    pub kind: TokenKind,
    /// The credential came in a header, not in the query.
    pub in_header: bool,
    pub expires: Option<Timestamp>,
}

/// Lets a request pass that carries a valid token or API key, in a header or, as the client's event stream does it,
/// in the query.
pub async fn require(
    State(app): State<SharedApp>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let caller = authenticate(&app, request.headers(), request.uri()).await?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

const CREDENTIALS: [(&str, TokenKind); 2] = [
    ("x-auth-token", TokenKind::Token),
    ("st2-api-key", TokenKind::ApiKey),
];

async fn authenticate(app: &SharedApp, headers: &HeaderMap, uri: &Uri) -> Result<Caller, ApiError> {
    let query = axum::extract::Query::<BTreeMap<String, String>>::try_from_uri(uri)
        .unwrap_or_default()
        .0;
    let in_headers = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let found = CREDENTIALS.iter().find_map(|(name, kind)| {
        let from_header = in_headers(*name).map(|text| (text, true));
        let (text, in_header) = from_header.or_else(|| Some((query.get(*name)?.as_str(), false)))?;
        Some((text, *kind, in_header))
    });
    let Some((text, kind, in_header)) = found else {
        return Err(ApiError::unauthorized(
            "Unauthorized - One of Token or API key required.",
        ));
    };
    let Some(token) = app.engine.store().token(text, kind).await? else {
        return Err(ApiError::unauthorized(match kind {
            TokenKind::Token => "Unauthorized - Unable to find requested token.".to_string(),
            TokenKind::ApiKey => {
                format!(
                    "Unauthorized - ApiKey with key_hash={} not found.",
                    crypto::api_key_hash(text)
                )
            }
        }));
    };
    Ok(Caller {
        user: token.user,
        kind,
        in_header,
        expires: token.expires,
    })
}

/// Users and the hashes of their passwords, one `name:hash` a line, read anew for every login.
#[derive(Debug, Clone)]
pub struct Users {
    path: PathBuf,
}

/// The file of users cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    #[error("cannot read the users in `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write the users to `{path}`")]
    Write { path: PathBuf, source: io::Error },
    #[error("`{0}` is not a user name: letters, digits, `-`, `_`, `.` and `@` are allowed")]
    Name(String),
    #[error("cannot hash the password: {0}")]
    Hash(#[from] laas_engine::engine::CipherError),
}

impl Users {
    /// Those of the state directory.
    pub fn of(state: &Path) -> Self {
        Users {
            path: state.join("users"),
        }
    }

    /// Adds `user` or changes its password.
    pub fn set(&self, user: &str, password: &str) -> Result<(), UsersError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        if user.is_empty() || !user.chars().all(allowed) {
            return Err(UsersError::Name(user.to_string()));
        }
        let mut users = self.read()?;
        users.insert(user.to_string(), crypto::hash_password(password)?);
        let text: String = users
            .iter()
            .map(|(user, hash)| format!("{user}:{hash}\n"))
            .collect();
        let failed = |source| UsersError::Write {
            path: self.path.clone(),
            source,
        };
        crypto::write_private(&self.path, &text).map_err(failed)
    }

    /// Whether `password` is that of `user`.
    pub fn verify(&self, user: &str, password: &str) -> Result<bool, UsersError> {
        let users = self.read()?;
        Ok(users
            .get(user)
            .is_some_and(|hash| crypto::verify_password(password, hash)))
    }

    /// Nobody can log in.
    pub fn is_empty(&self) -> Result<bool, UsersError> {
        Ok(self.read()?.is_empty())
    }

    fn read(&self) -> Result<BTreeMap<String, String>, UsersError> {
        let text = match std::fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|source| UsersError::Read {
                path: self.path.clone(),
                source,
            })?,
        };
        let entries = text.lines().filter_map(|line| line.split_once(':'));
        Ok(entries
            .map(|(user, hash)| (user.to_string(), hash.to_string()))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_added_changed_and_verified() {
        let dir = tempfile::tempdir().unwrap();
        let users = Users::of(dir.path());
        assert!(users.is_empty().unwrap());
        users.set("ops", "one").unwrap();
        users.set("st2admin", "three").unwrap();
        users.set("ops", "two").unwrap();
        assert!(!users.is_empty().unwrap());
        for (user, password, good) in [
            ("ops", "two", true),
            ("ops", "one", false),
            ("st2admin", "three", true),
            ("nobody", "", false),
        ] {
            assert_eq!(users.verify(user, password).unwrap(), good, "{user} {password}");
        }
        for name in ["", "a:b", "a\nb", "a b"] {
            assert!(
                matches!(users.set(name, "x"), Err(UsersError::Name(_))),
                "{name:?}"
            );
        }
    }
}
