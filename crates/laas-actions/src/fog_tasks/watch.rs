//! Waits for the end of a task, and knows success from everything else.

use super::HostTask;
use laas_core::failure::chain;
use laas_core::wait::{self, Deadline, Ended};
use laas_core::{Failure, HostName, Kind};
use laas_fog::{FogError, Id, State, Task};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two lines of a log that nobody watches live.
const SPARSE_PERCENT: f64 = 10.0;

/// Returns when FOG says that the task is complete.
///
/// # Errors
/// It ended otherwise or got stuck, in which case it is cancelled, or FOG stayed silent.
pub fn until_complete(wanted: &HostTask, task: Id) -> Result<(), Failure> {
    let Err(stop) = watch(wanted, task) else {
        return Ok(());
    };
    if !stop.cancel {
        return Err(stop.failure);
    }
    match wanted.cancel(&[task]) {
        Ok(()) => Err(stop.failure),
        Err(left) => {
            let error = format!("{}; the task stays queued: {}", stop.failure.error, left.error);
            let hint =
                format!("cancel task {task} in FOG's Task Management before the host boots from the network");
            Err(Failure {
                error,
                ..stop.failure
            }
            .hint(hint))
        }
    }
}

struct Stop {
    failure: Failure,
    /// Whether the task still waits for a host that must not do it any more.
    cancel: bool,
}

impl Stop {
    fn cancelling(failure: Failure) -> Self {
        Self {
            failure,
            cancel: true,
        }
    }

    fn leaving(failure: Failure) -> Self {
        Self {
            failure,
            cancel: false,
        }
    }
}

fn watch(wanted: &HostTask, id: Id) -> Result<(), Stop> {
    let timing = wanted.timing;
    // A client that wipes tells nothing until it has done.
    let (limit, stalls) = match wanted.kind.is_wipe() {
        true => (timing.wipe, false),
        false => (timing.image, true),
    };
    let deadline = Deadline::seconds(limit);
    let stall = Duration::from_secs(timing.stall);
    let mut progress = Progress::new(wanted.name);
    let mut last: Option<Task> = None;
    let mut alive = Instant::now();
    let mut silent: Option<(Instant, Failure)> = None;
    loop {
        match look(wanted, id) {
            // Plug-ins of FOG add states of their own: what it lists as active has not ended.
            Ok((Some(task), listed)) if listed || task.state.is_active() => {
                let sign = last.as_ref().is_none_or(|l| l.sign_of_life != task.sign_of_life);
                // What the host did while FOG was silent is not known.
                let silence_ended = silent.take().is_some();
                if sign || silence_ended {
                    alive = Instant::now();
                }
                progress.show(&task);
                last = Some(task);
            }
            Ok((ended, _)) => {
                // The terminal's line must be whole before anything is logged below it.
                drop(progress);
                return verdict(wanted, id, ended).map_err(Stop::leaving);
            }
            // An error while polling says nothing about the task.
            Err(error) => {
                if silent.is_none() {
                    tracing::warn!(
                        error = chain(&error),
                        "FOG does not answer; the {} may go on",
                        wanted.kind
                    );
                }
                let since = silent.map_or_else(Instant::now, |(since, _)| since);
                silent = Some((since, error.into()));
            }
        }
        let ended = match &silent {
            Some((since, _)) if since.elapsed() >= stall => Err(Ended::Deadline),
            None if stalls && alive.elapsed() >= stall => {
                return Err(stuck(wanted, id, last.as_ref(), "has stalled", timing.stall));
            }
            _ => deadline.sleep(timing.poll()),
        };
        match (ended, silent) {
            (Ok(()), still) => silent = still,
            (Err(Ended::Cancelled), _) => {
                return Err(interrupted(wanted));
            }
            // The next run finds the task again by its name.
            (Err(Ended::Deadline), Some((_, failure))) => return Err(Stop::leaving(failure)),
            (Err(Ended::Deadline), None) => {
                return Err(stuck(wanted, id, last.as_ref(), "is not complete", limit));
            }
        }
    }
}

/// The task as FOG has it now, `None` if FOG has forgotten it, and whether FOG lists it as active.
fn look(wanted: &HostTask, id: Id) -> Result<(Option<Task>, bool), FogError> {
    let active = wanted.fog.active_tasks(wanted.host.id)?;
    match active.into_iter().find(|t| t.id == Some(id)) {
        Some(task) => Ok((Some(task), true)),
        // No longer active alone is not success.
        None => Ok((wanted.fog.task(id)?, false)),
    }
}

fn verdict(wanted: &HostTask, id: Id, task: Option<Task>) -> Result<(), Failure> {
    let subject = wanted.subject();
    let Some(task) = task else {
        let error = format!("FOG has lost its task {id}, {subject}: it knows no such task any more");
        return Err(Failure::refused(error).hint("look at FOG's imaging log whether it was done"));
    };
    if task.host != Some(wanted.host.id) || !task.is(wanted.kind) {
        let error = format!("FOG's {} is not {subject}", super::described(&task));
        let hint = "look who changed FOG's database meanwhile, and run again";
        return Err(Failure::refused(error).hint(hint));
    }
    let state = task.state;
    let image = wanted.is_our_image(&task);
    let hint = match state {
        State::Complete if image => {
            tracing::info!(host = %wanted.name, image = wanted.image.map(Id::get), "{} complete", wanted.kind);
            return Ok(());
        }
        State::Complete => {
            let error = format!("FOG's task {id} was of another image than {subject}");
            return Err(
                Failure::refused(error).hint("look who changed the host in FOG meanwhile, and run again")
            );
        }
        State::Cancelled => "somebody cancelled it in FOG; run again if it is still wanted",
        State::Failed => "look at the host's console and at FOG's imaging log",
        _ => "look at FOG's imaging log whether it was done",
    };
    let error = format!("FOG says that task {id}, {subject}, is {state}");
    Err(Failure::refused(error).hint(hint))
}

fn interrupted(wanted: &HostTask) -> Stop {
    let subject = wanted.subject();
    if wait::stopped() == Some(wait::Stop::Cancelled) {
        let error = format!("{subject} was cancelled");
        return Stop::cancelling(Failure::new(Kind::Cancelled, error));
    }
    // The host may be at work on its disk, and nobody would power-cycle it for another task.
    let error = format!(
        "the wait for {subject} was stopped by a signal; the {} goes on",
        wanted.kind
    );
    Stop::leaving(
        Failure::new(Kind::Cancelled, error).hint("run again with the same `request` to wait for its end"),
    )
}

fn stuck(wanted: &HostTask, id: Id, last: Option<&Task>, how: &str, seconds: u64) -> Stop {
    let seen = last.map_or_else(
        || "never seen".to_owned(),
        |t| format!("{} at {} %", t.state, t.percent),
    );
    let error = format!(
        "FOG's task {id}, {}, {how} after {seconds} s: {seen}",
        wanted.subject()
    );
    let hint = match last.map(|t| t.state) {
        Some(State::Queued) => "the host never asked FOG for it: see on its console whether it boots by PXE",
        _ => "look at the host's console",
    };
    Stop::cancelling(Failure::refused(error).hint(hint))
}

/// Percent and speed for whoever watches: a line that moves on a terminal, a few lines in a log.
struct Progress<'a> {
    host: &'a HostName,
    terminal: bool,
    shown: Option<(State, f64)>,
}

impl<'a> Progress<'a> {
    fn new(host: &'a HostName) -> Self {
        Self {
            host,
            terminal: std::io::stderr().is_terminal(),
            shown: None,
        }
    }

    fn show(&mut self, task: &Task) {
        if self.terminal {
            let done = (task.percent / 5.0) as usize;
            let bar = "#".repeat(done.min(20));
            // Nobody is left to watch when stderr is gone.
            let _ = write!(
                std::io::stderr(),
                "\r\x1b[K{} [{bar:20}] {:3.0} % {} {}",
                self.host,
                task.percent,
                task.state,
                task.speed
            );
            self.shown = Some((task.state, task.percent));
            return;
        }
        let news = self.shown.is_none_or(|(state, percent)| {
            state != task.state || task.percent >= percent + SPARSE_PERCENT || task.percent < percent
        });
        if news {
            tracing::info!(host = %self.host, percent = task.percent, speed = task.speed, "{}", task.state);
            self.shown = Some((task.state, task.percent));
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.terminal && self.shown.is_some() {
            let _ = writeln!(std::io::stderr());
        }
    }
}
