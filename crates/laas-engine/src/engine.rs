//! The engine: takes requests, runs what is due, remembers everything, and after a crash goes on.
//!
//! Whatever changes an execution is one [`turn::Turn`]: one transaction with everything that follows from the change,
//! down to the requests of a workflow's next steps. What has to happen outside (start a process, stop one, tell who
//! waits) is gathered in the turn and done after the commit. So a death at any moment leaves a state from which
//! [`Engine::open`] goes on.

mod content;
mod dispatch;
mod inner;
pub mod params;
pub mod rules;
mod run;
mod turn;
mod workflow;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot, watch};

use crate::jinja::Datastore;
use crate::model::*;
use crate::orquesta::spec::Spec;
use crate::orquesta::state::Phase;
use crate::pack::Packs;
use crate::store::{Store, StoreError, StoredExecution};
use content::Content;
use inner::StoredKeys;
use turn::{Origin, Turn};

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
    /// Holds files named like processes whose end goes unnoticed, as StackStorm's does when its action runner dies.
    pub unnoticed: Option<PathBuf>,
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
    content: RwLock<Arc<Content>>,
    /// How often packs have been registered anew.
    registrations: watch::Sender<u64>,
    store: Store,
    datastore: Arc<dyn Datastore>,
    changes: broadcast::Sender<Change>,
    /// Executions that may start now.
    queue: mpsc::UnboundedSender<Start>,
    slots: Arc<Semaphore>,
    /// Places under a policy that workflows hold until they end.
    held: Mutex<HashMap<String, OwnedSemaphorePermit>>,
    /// Tells a running process to stop.
    running: Mutex<HashMap<String, oneshot::Sender<()>>>,
    /// Executions whose end went unnoticed.
    lost: Mutex<HashSet<String>>,
    /// Definitions by digest.
    specs: Mutex<HashMap<String, Arc<Spec>>>,
    closing: AtomicBool,
}

/// An execution that is to start.
#[derive(Debug, Clone)]
struct Start {
    id: String,
    action: String,
    is_workflow: bool,
    not_before: Option<Timestamp>,
}

impl Start {
    fn of(stored: &StoredExecution) -> Start {
        Start {
            id: stored.execution.id.clone(),
            action: stored.execution.action.clone(),
            is_workflow: stored.execution.is_workflow,
            not_before: stored.not_before,
        }
    }
}

impl Engine {
    /// Loads the packs, opens the database and takes up what an earlier process left unfinished.
    /// Must be called within a tokio runtime.
    pub async fn open(options: Options) -> Result<Engine, OpenError> {
        let packs = Packs::load(&options.pack_dirs, &options.config_dir).map_err(OpenError::Packs)?;
        let failed = |source| OpenError::Store {
            path: options.database.clone(),
            source,
        };
        let store = Store::open(&options.database).map_err(failed)?;
        let (queue, starts) = mpsc::unbounded_channel();
        let datastore = Arc::new(StoredKeys {
            store: store.clone(),
            cipher: options.cipher.clone(),
        });
        let specs = content::specs(&packs).collect();
        let inner = Arc::new(Inner {
            slots: Arc::new(Semaphore::new(options.max_processes.max(1))),
            content: RwLock::new(Arc::new(Content::of(packs, None))),
            registrations: watch::Sender::default(),
            store,
            datastore,
            changes: broadcast::Sender::new(4096),
            queue,
            held: Mutex::default(),
            running: Mutex::default(),
            lost: Mutex::default(),
            specs: Mutex::new(specs),
            closing: AtomicBool::new(false),
            options: options.clone(),
        });
        inner.recover().await.map_err(failed)?;
        tokio::spawn(run::start_what_is_due(Arc::downgrade(&inner), starts));
        Ok(Engine { inner })
    }

    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// What was loaded.
    pub fn packs(&self) -> Arc<Packs> {
        self.inner.packs()
    }

    /// Keys, tokens, traces, and the records of executions.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The configuration of a pack as its actions and sensors see it, secrets and all. It must not be kept or logged.
    pub async fn config(&self, pack: &str) -> Result<Object, RequestError> {
        let packs = self.packs();
        let known = packs.packs.get(pack);
        let known = known.ok_or_else(|| RequestError::NotFound(format!("There is no pack \"{pack}\".")))?;
        crate::pack::config::resolve(known, "", &self.inner.datastore).map_err(RequestError::Invalid)
    }

    /// Asks for a run; returns as soon as it is remembered, with status `requested`.
    pub async fn request(&self, new: NewExecution) -> Result<Execution, RequestError> {
        let context = Object::from_iter([("user".to_string(), new.user.as_str().into())]);
        self.request_in(&new.action, new.parameters, context, new.trace_tag)
            .await
    }

    async fn request_in(
        &self,
        action: &str,
        parameters: Object,
        mut context: Object,
        trace_tag: Option<String>,
    ) -> Result<Execution, RequestError> {
        let known = self.packs().actions.get(action).cloned();
        let action =
            known.ok_or_else(|| RequestError::Invalid(format!("Action \"{action}\" cannot be found.")))?;
        context.insert("pack".into(), action.pack.as_str().into());
        let live = self
            .inner
            .accept(&action, &parameters, &context, Object::new())
            .map_err(RequestError::Invalid)?;
        let work = move |turn: &mut Turn<'_>| {
            let trace = match &trace_tag {
                Some(tag) => Some(crate::store::trace_of_tag(turn.connection, tag)?),
                None => None,
            };
            let origin = Origin {
                context,
                trace,
                ..Origin::default()
            };
            turn.create(&action, live, origin)
        };
        Ok(self.inner.turn(work).await?.execution)
    }

    /// Asks for one more run of `id`.
    pub async fn rerun(&self, id: &str, rerun: Rerun) -> Result<Execution, RequestError> {
        let first = self.inner.known(id).await?;
        let invalid = |message: &str| Err(RequestError::Invalid(message.into()));
        let continues = !rerun.tasks.is_empty() || !rerun.reset.is_empty();
        if continues && !rerun.parameters.is_empty() {
            return invalid("Parameters override is not supported when re-running task(s) for a workflow.");
        }
        if rerun.reset.iter().any(|task| !rerun.tasks.contains(task)) {
            return invalid("List of tasks to reset does not match the tasks to rerun.");
        }
        if !rerun.tasks.is_empty() && !first.is_workflow {
            return invalid("Task option is only supported for Orquesta workflows.");
        }
        let mut note = json!({"ref": id});
        if !rerun.tasks.is_empty() {
            note["tasks"] = rerun.tasks.into();
        }
        if !rerun.reset.is_empty() {
            note["reset"] = rerun.reset.into();
        }
        let mut context = Object::from_iter([("re-run".to_string(), note)]);
        if let Some(trace) = &first.trace {
            context.insert("trace_context".into(), json!({"id_": trace}));
        }
        context.insert("user".into(), rerun.user.into());
        let mut parameters = first.parameters;
        parameters.extend(rerun.parameters);
        self.request_in(&first.action, parameters, context, None).await
    }

    /// Stops a run and, for a workflow, everything it has asked for; returns the record, usually `canceling`.
    pub async fn cancel(&self, id: &str, user: &str) -> Result<Execution, RequestError> {
        self.inner.known(id).await?;
        let (id, user) = (id.to_string(), user.to_string());
        let canceled = self.inner.turn(move |turn| {
            turn.cancel(&id, &user)?;
            turn.load(&id)
        });
        Ok(canceled.await?.execution)
    }

    /// Ends an action in the words of somebody else, whatever its process does.
    pub async fn conclude(
        &self,
        id: &str,
        status: Status,
        result: Option<Value>,
    ) -> Result<Execution, RequestError> {
        let known = self.inner.known(id).await?;
        if known.is_workflow {
            return Err(RequestError::Invalid(
                "The end of a workflow cannot be set from outside.".into(),
            ));
        }
        let id = id.to_string();
        let concluded = self.inner.turn(move |turn| {
            let mut stored = turn.load(&id)?;
            if stored.execution.status.is_final() {
                return Ok(None);
            }
            turn.effects.stop.push(id);
            turn.end(&mut stored, status, result)?;
            Ok(Some(stored.execution))
        });
        concluded
            .await?
            .ok_or_else(|| RequestError::Invalid("Execution is already in completed state.".into()))
    }

    /// Lets a workflow start nothing more until it is resumed; what runs goes on.
    pub async fn pause(&self, id: &str, user: &str) -> Result<Execution, RequestError> {
        self.steer(id, user, Phase::Paused).await
    }

    /// Lets a paused workflow go on.
    pub async fn resume(&self, id: &str, user: &str) -> Result<Execution, RequestError> {
        self.steer(id, user, Phase::Resuming).await
    }

    async fn steer(&self, id: &str, user: &str, wanted: Phase) -> Result<Execution, RequestError> {
        let known = self.inner.known(id).await?;
        if !known.is_workflow {
            let message = format!(
                "Execution of `{}` is no workflow: it can neither be paused nor resumed.",
                known.action
            );
            return Err(RequestError::Invalid(message));
        }
        tracing::info!(
            execution = id,
            user,
            wanted = wanted.as_str(),
            "a workflow is steered"
        );
        let id = id.to_string();
        let steered = self.inner.turn(move |turn| {
            turn.steer(&id, wanted)?;
            turn.load(&id)
        });
        Ok(steered.await?.execution)
    }

    /// Records that `trigger` fired and runs the rules that match; returns the trigger instance.
    pub async fn dispatch(
        &self,
        trigger: &str,
        payload: Value,
        trace_tag: Option<&str>,
    ) -> Result<TriggerInstance, RequestError> {
        self.inner.dispatch(trigger, payload, trace_tag).await
    }

    /// Every change of every execution from now on. A slow reader loses the oldest and is told so.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }

    /// Waits until the execution has ended; returns it, or as it is when `patience` is over. `None`: no such execution.
    pub async fn wait(&self, id: &str, patience: Duration) -> Result<Option<Execution>, StoreError> {
        let deadline = tokio::time::Instant::now() + patience;
        let mut changes = self.changes();
        loop {
            let execution = self.inner.store.execution(id).await?;
            if execution
                .as_ref()
                .is_none_or(|execution| execution.status.is_final())
            {
                return Ok(execution);
            }
            loop {
                match tokio::time::timeout_at(deadline, changes.recv()).await {
                    Err(_) => return Ok(execution),
                    Ok(Ok(change)) if change.execution != id => {}
                    // Something may have been missed: look again.
                    Ok(_) => break,
                }
            }
        }
    }

    /// Ends every running process and returns when all is recorded; what was running runs again after the next start.
    pub async fn shutdown(&self) {
        self.inner.closing.store(true, Ordering::SeqCst);
        loop {
            let stops: Vec<oneshot::Sender<()>> =
                self.inner.running().drain().map(|(_, stop)| stop).collect();
            for stop in stops {
                // It may have ended by itself just now.
                _ = stop.send(());
            }
            // All slots are free when nothing runs any more.
            let all = u32::try_from(self.inner.options.max_processes.max(1)).unwrap_or(u32::MAX);
            let free = self.inner.slots.acquire_many(all);
            if tokio::time::timeout(Duration::from_millis(50), free)
                .await
                .is_ok()
            {
                return;
            }
        }
    }
}
