//! What the engine says that runs, although no process is at it.

use super::rounds::Check;
use laas_core::datastore::Datastore;
use laas_core::engine::{Engine, RunningAction};
use laas_core::failure::Context as _;
use laas_core::wait::Deadline;
use laas_core::{Failure, heartbeat};
use std::collections::BTreeSet;
use std::time::Duration;

const ENGINE: &str = "engine";
const PACK: &str = "laas";
/// An action that has given no sign of life by then gives none at all.
const FIRST_SIGN: Duration = heartbeat::POLL.saturating_add(Duration::from_secs(3));
const PAUSE: Duration = Duration::from_secs(1);

/// Names the actions without a sign of life.
pub fn check(engine: Engine) -> Check {
    Check::new(ENGINE, None, move |report| match silent(&engine) {
        Ok(silent) => {
            for action in silent {
                let what = format!(
                    "execution `{}` of `{}` gives no sign of life: the process that was at it is gone, or its machine",
                    action.execution, action.action
                );
                let hint = format!(
                    "the pack's sensor ends it within two minutes and has it tried again: does it run (`st2 sensor list \
                     --pack laas`)? By hand: `st2 execution cancel {}`",
                    action.execution
                );
                report.find(ENGINE, action.host.as_deref(), what, hint);
            }
        }
        Err(failure) => report.failed(ENGINE, failure),
    })
}

/// Without looking at a clock: they run, and give no sign for longer than any action needs for its first one.
fn silent(engine: &Engine) -> Result<Vec<RunningAction>, Failure> {
    let datastore = Datastore::of(engine.clone());
    let deadline = Deadline::after(FIRST_SIGN);
    let mut silent: Option<BTreeSet<String>> = None;
    loop {
        let mut running = engine.running_actions(PACK).at_peer(ENGINE)?;
        let signs = heartbeat::all(&datastore).at_peer(ENGINE)?;
        running.retain(|action| {
            let was_silent = silent
                .as_ref()
                .is_none_or(|silent| silent.contains(&action.execution));
            was_silent && !signs.contains_key(&action.execution)
        });
        // The doctor is one of them, and over before it gives a sign.
        if let Some(own) = laas_core::action::execution() {
            running.retain(|action| action.execution != own);
        }
        if running.is_empty() || deadline.sleep(PAUSE).is_err() {
            return Ok(running);
        }
        silent = Some(running.into_iter().map(|action| action.execution).collect());
    }
}
