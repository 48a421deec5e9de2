//! Whose a task is, and the how manieth time it is worked on.

use super::Situation;
use crate::job::{Task, Work};
use laas_core::ledger::Record;

/// The record of the work on the task. The same delta given out anew is a new round, so that a host that is reset to
/// the image it has is written again; one that was merely begun goes on under its old name.
pub fn claim(
    situation: &Situation<'_>,
    task: &Task,
    is_new: bool,
    release: bool,
    record: Option<Record>,
) -> Record {
    let digest = task.digest();
    let user = match &task.work {
        Work::Key { user, .. } | Work::Vpn { user, .. } => Some(*user),
        _ => None,
    };
    let fresh = Record {
        job: situation.job,
        digest,
        execution: situation.execution.map(str::to_owned),
        time: situation.now,
        host: task.work.host().cloned(),
        user,
        release,
        ..Record::default()
    };
    // What was given stays given, also if the task can't be understood any more.
    let fresh = Record {
        given: record.as_ref().is_some_and(Record::has_given),
        host: fresh.host.or_else(|| record.as_ref()?.host.clone()),
        user: fresh.user.or_else(|| record.as_ref()?.user),
        ..fresh
    };
    match record {
        // Whatever was posted, it is undone: the dashboard has put the task back, or it never took the post of 100,
        // before which no work begins.
        Some(old) if old.digest != fresh.digest || (is_new && old.state >= 100) => Record {
            // Also another delta gets another number: the one before may come back.
            round: old.round + 1,
            ..fresh
        },
        // Still unfinished on the dashboard although an end was to be posted: that post was lost.
        Some(old) => Record {
            round: old.round,
            state: if old.state > 100 { 0 } else { old.state },
            time: old.time,
            ..fresh
        },
        None => fresh,
    }
}
