//! Everything that must outlive the process, in one SQLite file.
//!
//! One thread writes: it gathers what is waiting into one transaction, so that many small changes cost one commit.
//! Readers have connections of their own and see the last commit (WAL).
//!
//! A commit survives the death of this process whatever `synchronous` says, because the operating system has the pages.
//! Only a power loss can take the last commits back (`NORMAL` keeps the file sound all the same). For executions that
//! is fine: steps whose end is forgotten run again, as after any crash, and actions are made for that. Keys are
//! different: a new password that a device already has must not be forgotten, so a key is answered for only after
//! `FULL` has put it on the disk.

mod executions;
mod rows;

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::model::*;
pub(crate) use executions::{StoredExecution, WorkflowRecord, children, load, unfinished};

/// The store did not answer as it should.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the database failed: {0}")]
pub struct StoreError(pub(crate) String);

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError(error.to_string())
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        StoreError(format!("a record is not JSON: {error}"))
    }
}

type Result<T> = std::result::Result<T, StoreError>;

/// A part of a list and how long the whole of it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub total: usize,
}

/// Which part of a list, newest first unless the method says otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    pub limit: usize,
    pub offset: usize,
}

/// How sure a commit must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives the process.
    Process,
    /// Survives the power.
    Power,
}

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    path: std::path::PathBuf,
    writer: Sender<Job>,
    idle_readers: Mutex<Vec<Connection>>,
    /// Held for as long as the store is open.
    _lock: Option<std::fs::File>,
}

struct Job {
    durability: Durability,
    /// Does the work and returns what to do when it is committed or lost.
    run: Box<dyn FnOnce(&Connection) -> Done + Send>,
}

type Done = Box<dyn FnOnce(Result<()>) + Send>;

/// How many jobs may share a commit.
const MOST_JOBS_PER_COMMIT: usize = 64;

impl Store {
    /// Opens the database at `path` and brings its tables up to date. A second process is turned away.
    pub fn open(path: &Path) -> Result<Store> {
        let lock = lock(path)?;
        Self::connected(path, Some(lock))
    }

    /// Like [`Store::open`], but beside an engine that may be serving: to look, or to add a token.
    pub fn open_beside(path: &Path) -> Result<Store> {
        Self::connected(path, None)
    }

    fn connected(path: &Path, lock: Option<std::fs::File>) -> Result<Store> {
        let connection = connect(path)?;
        connection.execute_batch(include_str!("store/schema.sql"))?;
        let (writer, jobs) = channel();
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || write(connection, &jobs))
            .map_err(|error| StoreError(format!("cannot start a thread: {error}")))?;
        let shared = Shared {
            path: path.to_path_buf(),
            writer,
            idle_readers: Mutex::default(),
            _lock: lock,
        };
        Ok(Store {
            shared: Arc::new(shared),
        })
    }

    /// The key, `None` when there is none or it has expired.
    pub async fn key(&self, scope: &str, name: &str) -> Result<Option<Key>> {
        self.read(|connection| rows::key(connection, scope, name))
    }

    /// Keys by name, of one scope or of all, whose name starts with `prefix`.
    pub async fn keys(&self, scope: Option<&str>, prefix: &str, range: Range) -> Result<Page<Key>> {
        self.read(|connection| rows::keys(connection, scope, prefix, range))
    }

    /// Writes the key (the one of the same scope and name keeps its id) and returns it once it is on the disk.
    pub async fn put_key(&self, key: Key) -> Result<Key> {
        self.write(Durability::Power, move |connection| {
            rows::put_key(connection, key)
        })
        .await
    }

    /// Whether there was such a key.
    pub async fn delete_key(&self, scope: &str, name: &str) -> Result<bool> {
        let (scope, name) = (scope.to_string(), name.to_string());
        self.write(Durability::Power, move |connection| {
            let was_there = rows::key(connection, &scope, &name)?.is_some();
            connection
                .prepare_cached("DELETE FROM keys WHERE scope = ? AND name = ?")?
                .execute([scope, name])?;
            Ok(was_there)
        })
        .await
    }

    /// Makes a new random token and returns its text, which is kept nowhere, with its record.
    pub async fn issue_token(
        &self,
        user: &str,
        kind: TokenKind,
        expires: Option<Timestamp>,
        execution: Option<&str>,
    ) -> Result<(String, Token)> {
        let (text, token) = new_token(user, kind, expires, execution)?;
        let (hash, record) = (token_hash(&text), token.clone());
        self.write(Durability::Process, move |connection| {
            rows::put_token(connection, &hash, &record)
        })
        .await?;
        Ok((text, token))
    }

    /// Registers a token whose text was chosen elsewhere, for example an API key from a file.
    pub async fn put_token(
        &self,
        text: &str,
        user: &str,
        kind: TokenKind,
        expires: Option<Timestamp>,
    ) -> Result<()> {
        let token = Token {
            id: new_id(),
            user: user.to_string(),
            kind,
            expires,
            execution: None,
        };
        let hash = token_hash(text);
        self.write(Durability::Process, move |connection| {
            rows::put_token(connection, &hash, &token)
        })
        .await
    }

    /// Who `text` speaks for; `None` when unknown or expired.
    pub async fn token(&self, text: &str, kind: TokenKind) -> Result<Option<Token>> {
        let hash = token_hash(text);
        self.read(|connection| rows::token(connection, &hash, kind))
    }

    /// Those of that kind that have not expired, oldest first.
    pub async fn tokens(&self, kind: TokenKind) -> Result<Vec<Token>> {
        self.read(|connection| rows::tokens(connection, kind))
    }

    /// Whether there was such a token; whoever holds it is turned away from now on.
    pub async fn delete_token(&self, id: &str, kind: TokenKind) -> Result<bool> {
        let id = id.to_string();
        self.write(Durability::Power, move |connection| {
            rows::delete_token(connection, &id, kind)
        })
        .await
    }

    /// Whether the rule, or the sensor of this uid, is enabled, if that was ever registered or changed.
    pub async fn rule_enabled(&self, rule: &str) -> Result<Option<bool>> {
        self.read(|connection| rows::rule_enabled(connection, rule))
    }

    /// Overrides what the files of these rules and sensors say; a sensor goes by its uid.
    pub async fn set_enabled(&self, states: Vec<(String, bool)>) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        self.set_enabled_then(states, move |result| _ = answer.send(result))?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    pub(crate) fn set_enabled_then(
        &self,
        states: Vec<(String, bool)>,
        then: impl FnOnce(Result<()>) + Send + 'static,
    ) -> Result<()> {
        let work = move |connection: &Connection| {
            let mut statement = connection
                .prepare_cached("INSERT OR REPLACE INTO rule_states (rule, enabled) VALUES (?, ?)")?;
            for (name, enabled) in states {
                statement.execute(params![name, enabled])?;
            }
            Ok(())
        };
        self.write_then(Durability::Process, work, then)
    }

    pub async fn execution(&self, id: &str) -> Result<Option<Execution>> {
        self.read(|connection| Ok(executions::load(connection, id)?.map(|stored| stored.execution)))
    }

    pub async fn executions(&self, filter: &ExecutionFilter, range: Range) -> Result<Page<Execution>> {
        self.read(|connection| executions::list(connection, filter, range))
    }

    /// What `id` asked for and, `depth` levels down (`None`: all), what those asked for, oldest first.
    pub async fn descendants(&self, id: &str, depth: Option<usize>) -> Result<Vec<Execution>> {
        self.read(|connection| executions::descendants(connection, id, depth))
    }

    pub async fn trigger_instance(&self, id: &str) -> Result<Option<TriggerInstance>> {
        self.read(|connection| rows::trigger_instance(connection, id))
    }

    /// Of one trigger type or of all.
    pub async fn trigger_instances(
        &self,
        trigger: Option<&str>,
        range: Range,
    ) -> Result<Page<TriggerInstance>> {
        self.read(|connection| rows::trigger_instances(connection, trigger, range))
    }

    pub async fn rule_enforcement(&self, id: &str) -> Result<Option<RuleEnforcement>> {
        self.read(|connection| rows::rule_enforcement(connection, id))
    }

    /// Of one rule or of all.
    pub async fn rule_enforcements(&self, rule: Option<&str>, range: Range) -> Result<Page<RuleEnforcement>> {
        self.read(|connection| rows::rule_enforcements(connection, rule, range))
    }

    pub async fn trace(&self, id: &str) -> Result<Option<Trace>> {
        self.read(|connection| rows::trace(connection, id))
    }

    /// Of one tag or of all.
    pub async fn traces(&self, tag: Option<&str>, range: Range) -> Result<Page<Trace>> {
        self.read(|connection| rows::traces(connection, tag, range))
    }

    /// Runs `work` on a connection of its own: it sees what was committed before.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = &self.shared.idle_readers;
        let reader = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let reader = match reader {
            Some(reader) => reader,
            None => connect(&self.shared.path)?,
        };
        let result = work(&reader);
        idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        result
    }

    /// Runs `work` within a transaction; when this returns the change is committed, or none of it has happened.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.write_then(durability, work, move |result| _ = answer.send(result))?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Like [`Store::write`], with `then` called on the writing thread right after the commit, even when nobody waits.
    pub(crate) fn write_then<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        then: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Result<()> {
        let run = move |connection: &Connection| -> Done {
            let result = within_savepoint(connection, work);
            Box::new(move |commit| then(commit.and(result)))
        };
        self.shared
            .writer
            .send(Job {
                durability,
                run: Box::new(run),
            })
            .map_err(|_| closed())
    }
}

/// A new random token and its text.
pub(crate) fn new_token(
    user: &str,
    kind: TokenKind,
    expires: Option<Timestamp>,
    execution: Option<&str>,
) -> Result<(String, Token)> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| StoreError(format!("no random numbers: {error}")))?;
    let text = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let execution = execution.map(str::to_string);
    Ok((
        text,
        Token {
            id: new_id(),
            user: user.to_string(),
            kind,
            expires,
            execution,
        },
    ))
}

/// What is kept of a token.
pub(crate) fn token_hash(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub(crate) fn put_token(connection: &Connection, text: &str, token: &Token) -> Result<()> {
    rows::put_token(connection, &token_hash(text), token)
}

pub(crate) use rows::{
    add_to_trace, drop_tokens_of, key, put_enforcement, put_trigger_instance, rule_enabled, trace_of_tag,
};

fn closed() -> StoreError {
    StoreError("it is closed".into())
}

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // What a savepoint may have to undo is small: it need not go through a file.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Two engines on one database would run every step twice.
///
/// A process that an engine was about to start when it was killed holds the lock until it has noticed; hence the
/// patience.
fn lock(path: &Path) -> Result<std::fs::File> {
    use std::os::fd::AsRawFd;
    let lock_path = path.with_extension("lock");
    let failed =
        |error: std::io::Error| StoreError(format!("cannot lock `{}`: {error}", lock_path.display()));
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path);
    let file = file.map_err(failed)?;
    for _ in 0..LOCK_ATTEMPTS {
        // SAFETY: the descriptor belongs to `file`, which is open.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(file);
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Err(StoreError(format!(
        "another engine holds `{}`; stop it first",
        lock_path.display()
    )))
}

/// Together two seconds.
const LOCK_ATTEMPTS: usize = 100;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

fn write(connection: Connection, jobs: &Receiver<Job>) {
    let mut synchronous = Durability::Process;
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        batch.extend(jobs.try_iter().take(MOST_JOBS_PER_COMMIT - 1));
        let power = batch.iter().any(|job| job.durability == Durability::Power);
        let wanted = if power {
            Durability::Power
        } else {
            Durability::Process
        };
        if wanted != synchronous {
            let word = if power { "FULL" } else { "NORMAL" };
            if let Err(error) = connection.pragma_update(None, "synchronous", word) {
                tracing::error!(%error, "the database does not change its durability");
            }
            synchronous = wanted;
        }
        commit(&connection, batch);
    }
}

fn commit(connection: &Connection, batch: Vec<Job>) {
    let begun = connection
        .execute_batch("BEGIN IMMEDIATE")
        .map_err(StoreError::from);
    let done: Vec<Done> = batch.into_iter().map(|job| (job.run)(connection)).collect();
    let committed = begun.and_then(|()| connection.execute_batch("COMMIT").map_err(StoreError::from));
    if let Err(error) = &committed {
        tracing::error!(%error, "a change is lost");
        // Fails when nothing was begun, which is as good.
        _ = connection.execute_batch("ROLLBACK");
    }
    for done in done {
        done(committed.clone());
    }
}

/// Undoes a job's changes alone when it fails, so that the others of its commit stand.
fn within_savepoint<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let result = work(connection);
    if result.is_err() {
        connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    connection.prepare_cached("RELEASE job")?.execute([])?;
    result
}

#[cfg(test)]
mod tests;
