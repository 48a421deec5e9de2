//! The signs of life that a running action gives, by which the sensor tells work from what no process is at any more:
//! StackStorm shows an action as running for ever when the runner that waited for it was killed.
//!
//! A sign is the key `alive_<execution>` with a new value. It is compared with what was read before and never with a
//! clock, so that clocks may differ; and it is only missed by somebody who could read it, so that an engine may be away.

use crate::config::{Config, Timing};
use crate::datastore::{Datastore, DatastoreError, Entry};
use crate::engine::{self, Engine};
use crate::wait::Stop;
use crate::{env_vars, ledger};
use serde_json::json;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// The keys of all signs of life begin so.
const PREFIX: &str = "alive_";
/// So many times between two signs the engine keeps the last one.
const KEPT: u32 = 8;
/// How often the engine is asked what became of the execution; StackStorm does not stop the process of a cancelled one.
/// Also how long an action lives before its first sign: most are over by then.
pub const POLL: Duration = Duration::from_secs(5);
/// So often in a row our own token has to be refused.
const REFUSALS: u32 = 2;
/// How long the end of an action waits for the removal of its last sign, which the engine removes later in any case.
const REMOVAL: Duration = Duration::from_secs(2);

fn key(execution: &str) -> String {
    format!("{PREFIX}{execution}")
}

/// The last sign of life of each execution that has given one.
///
/// # Errors
/// The datastore can't be read.
pub fn all(datastore: &Datastore) -> Result<BTreeMap<String, String>, DatastoreError> {
    let signs = datastore.list(PREFIX)?.into_iter();
    let sign = |entry: Entry| {
        let execution = entry.name.strip_prefix(PREFIX)?.to_owned();
        Some((execution, entry.value.expose().to_owned()))
    };
    Ok(signs.filter_map(sign).collect())
}

/// Gives signs of life from a thread of its own.
pub struct Heartbeat {
    datastore: Datastore,
    key: String,
    has_beaten: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
}

impl Heartbeat {
    /// Begins for this execution, and calls `end` when the process is to end: it was cancelled or given up, nobody reads
    /// what it will print, or its token is refused. `None` without an engine.
    pub fn begin(execution: &str, end: impl Fn(Stop) + Send + 'static) -> Option<Self> {
        let engine = Engine::from_env().ok().flatten()?;
        let heartbeat = Self {
            datastore: Datastore::of(engine),
            key: key(execution),
            has_beaten: Arc::default(),
            is_over: Arc::default(),
        };
        let beating = Self {
            datastore: heartbeat.datastore.clone(),
            key: heartbeat.key.clone(),
            has_beaten: heartbeat.has_beaten.clone(),
            is_over: heartbeat.is_over.clone(),
        };
        let execution = execution.to_owned();
        std::thread::spawn(move || {
            if let Some(why) = beating.beat(&execution, interval()) {
                end(why);
            }
        });
        Some(heartbeat)
    }

    /// Until it is over, or the process has to end.
    fn beat(&self, execution: &str, interval: Duration) -> Option<Stop> {
        let mut last: Option<Instant> = None;
        let mut refusals = 0;
        loop {
            std::thread::sleep(interval.min(POLL));
            if self.is_over.load(Ordering::SeqCst) {
                return None;
            }
            if !is_read(std::io::stdout()) {
                return Some(Stop::GivenUp);
            }
            match self.datastore.execution_status(execution) {
                Ok(Some(status)) if status == "canceling" || status == "canceled" => {
                    return Some(Stop::Cancelled);
                }
                Ok(Some(status)) if !engine::is_live(&status) => return Some(Stop::GivenUp),
                Ok(_) => refusals = 0,
                Err(DatastoreError::Token { status: 401, .. }) => {
                    refusals += 1;
                    if refusals == REFUSALS {
                        return Some(Stop::Token);
                    }
                }
                Err(error) => tracing::debug!(%error, "the engine does not say whether this is still wanted"),
            }
            if last.is_none_or(|last| last.elapsed() >= interval) {
                self.has_beaten.store(true, Ordering::SeqCst);
                let sign = json!({"process": std::process::id(), "time": ledger::now()});
                match self
                    .datastore
                    .put_for(&self.key, &sign.to_string(), KEPT * interval)
                {
                    Ok(()) => last = Some(Instant::now()),
                    Err(error) => tracing::debug!(%error, "no sign of life could be given"),
                }
            }
        }
    }

    /// No more signs, and the last one is taken away.
    pub fn stop(self) {
        self.is_over.store(true, Ordering::SeqCst);
        if !self.has_beaten.load(Ordering::SeqCst) {
            return;
        }
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || tell.send(self.datastore.delete(&self.key).is_ok()));
        // The engine removes it later.
        let _ = told.recv_timeout(REMOVAL);
    }
}

/// As the configuration says that the engine gave.
fn interval() -> Duration {
    let config = std::env::var(env_vars::LAAS_CONFIG).ok();
    let config = config.and_then(|text| serde_json::from_str::<Config>(&text).ok());
    config
        .map_or_else(Timing::default, |config| config.timing)
        .heartbeat()
}

/// Whether anybody can still read what is written there. A pipe whose reader was killed is one that nobody reads.
fn is_read(file: impl AsFd) -> bool {
    let mut poll = libc::pollfd {
        fd: file.as_fd().as_raw_fd(),
        events: 0,
        revents: 0,
    };
    // SAFETY: one entry, which outlives the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready < 1 || poll.revents & libc::POLLERR == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_without_a_reader_is_not_read() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(is_read(&writer));
        drop(reader);
        assert!(!is_read(&writer));
        let file = tempfile::tempfile().unwrap();
        assert!(is_read(&file));
    }
}
