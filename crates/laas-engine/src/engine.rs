//! The engine: takes requests, runs what is due, remembers everything, and after a crash goes on.

pub mod params;
pub mod rules;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::broadcast;

use crate::model::*;
use crate::pack::Packs;
use crate::store::{Store, StoreError};

/// How secret keys become ciphertext and back.
pub trait Cipher: Send + Sync {
    /// The text to keep.
    fn encrypt(&self, plain: &str) -> Result<String, CipherError>;
    /// The text that was encrypted.
    fn decrypt(&self, cipher: &str) -> Result<String, CipherError>;
}

/// The text cannot be encrypted or decrypted with the key at hand; the message never holds the text.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct CipherError(pub String);

/// Where the engine finds things and how much it may do at once.
#[derive(Clone)]
pub struct Options {
    pub pack_dirs: Vec<PathBuf>,
    /// Holds `<pack>.yaml`.
    pub config_dir: PathBuf,
    pub database: PathBuf,
    /// What actions get as `ST2_ACTION_API_URL`, ending in `/v1`.
    pub api_url: String,
    pub cipher: Arc<dyn Cipher>,
    /// Processes that run at the same time; what is above waits. 64 suits one machine.
    pub max_processes: usize,
    /// Between SIGTERM and SIGKILL, at a timeout or when cancelled.
    pub kill_grace: Duration,
}

/// The engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Everything that is wrong with the packs and their configuration, one line each, with file and line.
    #[error("{}", .0.join("\n"))]
    Packs(Vec<String>),
    #[error("cannot open the database `{path}`")]
    Store { path: PathBuf, source: StoreError },
}

/// A request was refused; the text is the `faultstring` of the API's answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// 404.
    #[error("{0}")]
    NotFound(String),
    /// 400.
    #[error("{0}")]
    Invalid(String),
    /// 500.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Something about an execution has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub execution: String,
    pub status: Status,
}

/// A handle on the engine; clones share it.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    packs: Packs,
    store: Store,
    changes: broadcast::Sender<Change>,
}

impl Engine {
    /// Loads the packs, opens the database and takes up what an earlier process left unfinished.
    /// Must be called within a tokio runtime.
    pub async fn open(options: Options) -> Result<Engine, OpenError> {
        let store = Store::open(&options.database).map_err(|source| OpenError::Store {
            path: options.database.clone(),
            source,
        })?;
        let inner = Inner {
            options,
            packs: Packs::default(),
            store,
            changes: broadcast::Sender::new(1024),
        };
        Ok(Engine {
            inner: Arc::new(inner),
        })
    }

    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// What was loaded.
    pub fn packs(&self) -> &Packs {
        &self.inner.packs
    }

    /// Keys, tokens, traces, and the records of executions.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The pack's configuration as its actions get it: defaults filled in, secrets decrypted. Sensors get it too.
    pub async fn config(&self, pack: &str) -> Result<Object, RequestError> {
        Err(RequestError::NotFound(pack.to_string()))
    }

    /// Asks for a run; returns as soon as it is remembered, with status `requested`.
    pub async fn request(&self, new: NewExecution) -> Result<Execution, RequestError> {
        Err(RequestError::Invalid(new.action))
    }

    /// Asks for one more run of `id`.
    pub async fn rerun(&self, id: &str, rerun: Rerun) -> Result<Execution, RequestError> {
        let _ = rerun;
        Err(RequestError::Invalid(id.to_string()))
    }

    /// Stops a run and, for a workflow, everything it has asked for; returns the record, usually `canceling`.
    pub async fn cancel(&self, id: &str, user: &str) -> Result<Execution, RequestError> {
        let _ = user;
        Err(RequestError::Invalid(id.to_string()))
    }

    /// Lets a workflow start nothing more until it is resumed; what runs goes on.
    pub async fn pause(&self, id: &str, user: &str) -> Result<Execution, RequestError> {
        let _ = user;
        Err(RequestError::Invalid(id.to_string()))
    }

    /// Lets a paused workflow go on.
    pub async fn resume(&self, id: &str, user: &str) -> Result<Execution, RequestError> {
        let _ = user;
        Err(RequestError::Invalid(id.to_string()))
    }

    /// Records that `trigger` fired and runs the rules that match; returns the trigger instance.
    pub async fn dispatch(
        &self,
        trigger: &str,
        payload: Value,
        trace_tag: Option<&str>,
    ) -> Result<TriggerInstance, RequestError> {
        let _ = (payload, trace_tag);
        Err(RequestError::Invalid(trigger.to_string()))
    }

    /// Every change of every execution from now on. A slow reader loses the oldest and is told so.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }

    /// Waits until the execution has ended; returns it, or as it is when `patience` is over. `None`: no such execution.
    pub async fn wait(&self, id: &str, patience: Duration) -> Result<Option<Execution>, StoreError> {
        let _ = patience;
        self.inner.store.execution(id).await
    }

    /// Ends every running process and returns when all is recorded; what was running runs again after the next start.
    pub async fn shutdown(&self) {}
}
