//! Finds actions that no process is at any more, ends them and tells the operators. Their workflow then tries the step
//! again; a job whose workflow has ended is handed out again like any other unfinished one.

use laas_core::datastore::{Datastore, DatastoreError};
use laas_core::engine::{Engine, EngineError, RunningAction};
use laas_core::{failure, heartbeat};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const PACK: &str = "laas";
/// It tells the operators when it is given no tasks.
const REPORT: &str = "laas.report_failure";
/// So many looks in a row must have missed a sign of life, with the time between two signs between two looks.
const PATIENCE: u32 = 4;

#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("can't see which actions run")]
    Engine(#[from] EngineError),
    #[error("can't read the signs of life")]
    Datastore(#[from] DatastoreError),
}

/// What was seen of one action that runs.
#[derive(Debug, Default)]
struct Seen {
    /// The last sign of life.
    sign: Option<String>,
    /// How many looks in a row have found no new one.
    missed: u32,
    is_told: bool,
}

/// The actions that ran at the last look.
#[derive(Debug, Default)]
pub struct Watch(BTreeMap<String, Seen>);

impl Watch {
    /// One look at `running` and the signs of life by execution. The actions that have given none for too long.
    pub fn look<'a>(
        &mut self,
        running: &'a [RunningAction],
        signs: &BTreeMap<String, String>,
    ) -> Vec<&'a RunningAction> {
        let mut before = std::mem::take(&mut self.0);
        let mut lost = Vec::new();
        for action in running {
            let sign = signs.get(&action.execution);
            let seen = match before.remove(&action.execution) {
                Some(seen) if sign.is_none() || sign == seen.sign.as_ref() => Seen {
                    missed: seen.missed + 1,
                    ..seen
                },
                // Seen for the first time, or alive.
                seen => Seen {
                    sign: sign.cloned(),
                    missed: 0,
                    is_told: seen.is_some_and(|seen| seen.is_told),
                },
            };
            if seen.missed >= PATIENCE {
                lost.push(action);
            }
            self.0.insert(action.execution.clone(), seen);
        }
        lost
    }

    /// Whether the operators still have to be told; they are from now on.
    fn is_news(&mut self, action: &RunningAction) -> bool {
        let seen = self.0.get_mut(&action.execution);
        seen.is_some_and(|seen| !std::mem::replace(&mut seen.is_told, true))
    }

    /// The engine was away, and nobody could give it a sign of life.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

/// Looks again and again, from a thread of its own: a dashboard that is away must not hold it up.
pub fn watch(engine: Engine, datastore: Datastore, interval: Duration) {
    std::thread::spawn(move || {
        let mut watch = Watch::default();
        let mut is_well = true;
        loop {
            let looked = look(&engine, &datastore, interval, &mut watch);
            if let Err(error) = &looked {
                watch.forget();
                if is_well {
                    let error = failure::chain(error);
                    tracing::warn!(error, "lost actions are not found until this works again");
                }
            }
            is_well = looked.is_ok();
            std::thread::sleep(interval);
        }
    });
}

fn look(
    engine: &Engine,
    datastore: &Datastore,
    interval: Duration,
    watch: &mut Watch,
) -> Result<(), LookError> {
    let running = engine.running_actions(PACK)?;
    let signs = heartbeat::all(datastore)?;
    for action in watch.look(&running, &signs) {
        let silence = (PATIENCE * interval).as_secs();
        let why = format!(
            "`{}` has given no sign of life for {silence} s: the process that was at it is gone, or its machine",
            action.action
        );
        tracing::warn!(
            execution = action.execution,
            action = action.action,
            "it gives no sign of life and is ended"
        );
        // Before its end, after which nobody would find it again.
        if watch.is_news(action)
            && let Err(error) = engine.request(REPORT, &report(action, &why))
        {
            tracing::warn!(error = failure::chain(&error), "the operators could not be told");
        }
        // What cannot be ended now is found again.
        if let Err(error) = engine.end(action, &why) {
            tracing::warn!(
                error = failure::chain(&error),
                execution = action.execution,
                "it could not be ended"
            );
        }
    }
    Ok(())
}

fn report(action: &RunningAction, why: &str) -> serde_json::Value {
    let next = match (&action.parent, action.is_canceling) {
        (_, true) => "it is cancelled now, as somebody had asked",
        (Some(_), false) => "its workflow tries the step again",
        (None, false) => "it was no step of a workflow, so nobody tries it again",
    };
    let hint = format!(
        "it was ended and {next}; was an action runner killed, or is its machine down? `st2 execution get {}`",
        action.execution
    );
    let failure = json!({"error": why, "hint": hint, "peer": "engine", "host": action.host});
    json!({"tasks": [], "failure": failure})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(execution: &str) -> RunningAction {
        RunningAction {
            execution: execution.to_owned(),
            action: "laas.fog_image".to_owned(),
            host: None,
            parent: None,
            is_canceling: false,
        }
    }

    /// Each look has a letter for the sign of the execution `one`, or `-` for none.
    fn lost_at(looks: &str) -> Vec<usize> {
        let running = [action("one")];
        let mut watch = Watch::default();
        let mut lost = Vec::new();
        for (number, sign) in looks.chars().enumerate() {
            if sign == '!' {
                watch.forget();
                continue;
            }
            let sign = (sign != '-').then(|| ("one".to_owned(), sign.to_string()));
            if !watch.look(&running, &sign.into_iter().collect()).is_empty() {
                lost.push(number);
            }
        }
        lost
    }

    #[test]
    fn what_gives_no_new_sign_for_four_looks_is_lost() {
        for (looks, lost) in [
            // Most are over before their first sign.
            ("----", vec![]),
            ("-----", vec![4]),
            ("---a", vec![]),
            ("abcdefgh", vec![]),
            ("aaaa", vec![]),
            ("aaaaaa", vec![4, 5]),
            ("abbbb", vec![]),
            ("abbbbb", vec![5]),
            // That the engine has removed the last one is no sign of life, and neither is that it shows it again.
            ("aa--a", vec![4]),
            // It was late once, and is alive.
            ("aaaabbbbcccc", vec![]),
            // While the engine was away nobody could give a sign.
            ("aaaa!aaaa", vec![]),
            ("aaaa!aaaaa", vec![9]),
        ] {
            assert_eq!(lost_at(looks), lost, "{looks}");
        }
    }

    #[test]
    fn what_has_ended_is_forgotten_and_operators_are_told_once() {
        let mut watch = Watch::default();
        let none = BTreeMap::new();
        let both = [action("one"), action("two")];
        for _ in 0..PATIENCE {
            assert!(watch.look(&both, &none).is_empty());
        }
        let lost: Vec<_> = watch.look(&both, &none);
        assert_eq!(lost.len(), 2);
        assert!(watch.is_news(lost[0]) && !watch.is_news(lost[0]));
        assert_eq!(watch.look(&both[..1], &none).len(), 1);
        assert!(!watch.is_news(&both[0]));
        assert!(
            watch.look(&both[1..], &none).is_empty(),
            "it is seen for the first time"
        );
    }
}
