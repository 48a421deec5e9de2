//! How an action fails: what kind, said by whom, about which host, and what to do next.

use serde::Serialize;
use std::error::Error;
use std::fmt;

/// The kinds of failure that a workflow tells apart; the discriminant is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The peer refused, or what it did does not verify.
    Refused = 1,
    /// Bad input or configuration: trying again changes nothing.
    Input = 2,
    /// The peer could not be reached in time: worth a retry.
    Unreachable = 3,
    /// The execution was cancelled.
    Cancelled = 4,
}

/// What a library's error must say so that an action can fail with it.
pub trait Classify: Error {
    fn kind(&self) -> Kind;

    /// The next step for a person, when there is one that is not obvious.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// The failure of an action, as it is printed: `{"error": …, "hint": …, "peer": …, "host": …}`.
#[derive(Debug, Serialize)]
pub struct Failure {
    #[serde(skip)]
    pub kind: Kind,
    pub error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The outside system that failed: `fog`, `dashboard`, `switch`, `bmc`, `host`, `ldap`, `datastore`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What was done before it failed, when the caller needs to know (ports already written, hosts that succeeded).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<serde_json::Value>,
}

impl Failure {
    pub fn new(kind: Kind, error: impl Into<String>) -> Self {
        Self {
            kind,
            error: error.into(),
            hint: None,
            peer: None,
            host: None,
            done: None,
        }
    }

    /// Bad input or configuration.
    pub fn input(error: impl Into<String>) -> Self {
        Self::new(Kind::Input, error)
    }

    /// The peer refused, or the result did not verify.
    pub fn refused(error: impl Into<String>) -> Self {
        Self::new(Kind::Refused, error)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn peer(mut self, peer: impl Into<String>) -> Self {
        self.peer.get_or_insert_with(|| peer.into());
        self
    }

    #[must_use]
    pub fn host(mut self, host: impl fmt::Display) -> Self {
        self.host.get_or_insert_with(|| host.to_string());
        self
    }
}

impl<E: Classify + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut failure = Self::new(error.kind(), chain(&error));
        failure.hint = error.hint();
        failure
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// An error and its sources on one line, each said once: some foreign errors repeat their source.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let said = inner.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = inner.source();
    }
    text
}

/// Puts the peer and the host into the failure of a result.
pub trait Context<T> {
    /// # Errors
    /// The same error, as a [`Failure`] that names the peer.
    fn at_peer(self, peer: &str) -> Result<T, Failure>;
    /// # Errors
    /// The same error, as a [`Failure`] that names the host.
    fn of_host(self, host: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> Context<T> for Result<T, E> {
    fn at_peer(self, peer: &str) -> Result<T, Failure> {
        self.map_err(|e| e.into().peer(peer))
    }

    fn of_host(self, host: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|e| e.into().host(host))
    }
}
