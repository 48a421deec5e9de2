//! One task of one host at FOG, wanted or under way: found again after a crash, queued with nothing else in the host's
//! queue, waited for. What kind of task it is makes little difference.

mod record;
mod watch;

use laas_core::config::Timing;
use laas_core::failure::Context as _;
use laas_core::wait::{Backoff, Deadline};
use laas_core::{Classify, Failure, HostName, Kind, ledger};
use laas_fog::{Fog, FogError, Id, State, Task, TaskType};
pub use record::{Begun, Stage, load, remove, store, unfinished};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;

pub const PEER: &str = "fog";

/// What an error begins with after an order that FOG has said yes to.
const TAKEN: &str = "FOG took";
/// What the names of the pack's tasks in FOG begin with.
const PREFIX: &str = "laas ";
/// FOG's column `tasks.taskName` holds 250 characters, and FOG appends the host's name and the time.
const MAX_NAME: usize = 100;

pub struct HostTask<'a> {
    pub timing: &'a Timing,
    pub fog: Fog,
    pub name: &'a HostName,
    pub host: laas_fog::Host,
    pub kind: TaskType,
    /// The image that is written or read; a wipe has none.
    pub image: Option<Id>,
    /// The same request is the same task, however often it is run. `None` for what a person starts by hand.
    pub request: Option<String>,
}

/// What FOG has in store for a host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Assigned {
    pub image: Option<Id>,
    /// The tasks that have not ended.
    pub tasks: Vec<Id>,
}

/// What is already there of a task.
pub enum Standing {
    Nothing,
    Running(Id),
    Done(Option<Id>),
}

impl HostTask<'_> {
    /// Looks for what an earlier run, which may have been killed anywhere, has left of this task. `active` are the
    /// host's tasks that have not ended.
    ///
    /// # Errors
    /// FOG can't be asked, or has the task in a state that nobody knows.
    pub fn standing(&self, active: &[Task], begun: Option<&Begun>) -> Result<Standing, Failure> {
        let mut ours = Vec::from_iter(active.iter().filter(|t| self.is_ours(t)).cloned());
        // Without a request nothing tells an old task that has ended from the one that is wanted now.
        if let Some(begun) = begun.filter(|b| self.request.is_some() && b.request == self.request) {
            let mut more = match begun.fog_task {
                Some(task) => Vec::from_iter(self.at_fog(self.fog.task(task))?),
                None => self.at_fog(self.fog.all_tasks(self.host.id))?,
            };
            more.retain(|t| match begun.fog_task {
                Some(_) => self.is_still_ours(t),
                None => self.is_ours(t) && t.id > begun.after,
            });
            ours.extend(more);
        }
        if let Some(task) = ours.iter().find(|t| t.state == State::Unknown) {
            let error = format!("FOG has {} for `{}`", described(task), self.name);
            return self.at_fog(Err(Failure::refused(error).hint("end it in FOG, then run again")));
        }
        if let Some(task) = ours.iter().find(|t| t.state == State::Complete) {
            return Ok(Standing::Done(task.id));
        }
        let running = ours
            .iter()
            .filter(|t| t.state.is_active())
            .filter_map(|t| t.id)
            .min();
        Ok(running.map_or(Standing::Nothing, Standing::Running))
    }

    /// The host's last task, of whatever kind; what is queued from now on has a greater id.
    ///
    /// # Errors
    /// FOG can't be asked.
    pub fn last_task(&self) -> Result<Option<Id>, Failure> {
        let tasks = self.at_fog(self.fog.all_tasks(self.host.id))?;
        Ok(tasks.iter().filter_map(|t| t.id).max())
    }

    /// Cancels what FOG has queued a second time for the same request, as it does when an order that nobody waited for
    /// any more is carried out after the one that repeated it. `done` is the task that counts.
    ///
    /// # Errors
    /// FOG can't be asked, or one of them stays.
    pub fn disarm_twins(&self, done: Option<Id>) -> Result<(), Failure> {
        if self.request.is_none() {
            return Ok(());
        }
        let active = self.at_fog(self.fog.active_tasks(self.host.id))?;
        let twins = active.iter().filter(|t| self.is_ours(t) && t.id != done);
        self.cancel(&Vec::from_iter(twins.filter_map(|t| t.id)))
    }

    /// Which of the host's active tasks may be cancelled to make room for this one: a deploy or capture that the pack has
    /// queued before, and a deploy of the pack's own, which this one would overwrite.
    ///
    /// # Errors
    /// There is a task that is somebody else's, or a capture or wipe that may have begun: cancelling it would destroy an
    /// image, or leave a disk half wiped.
    pub fn stale(&self, active: &[Task]) -> Result<Vec<Id>, Failure> {
        let is_stale = |task: &Task| {
            let overwritten = task.is(TaskType::Deploy) && self.kind != TaskType::Capture;
            // A client that wipes does not check in: its task stays queued until it is complete.
            let waits =
                task.state == State::Queued && (task.is(TaskType::Deploy) || task.is(TaskType::Capture));
            task.name.starts_with(PREFIX) && (waits || overwritten)
        };
        if let Some(task) = active.iter().find(|task| !is_stale(task)) {
            let error = format!("`{}` is busy in FOG with {}", self.name, described(task));
            let hint = "wait for its end, or cancel it in FOG's Task Management";
            return self.at_fog(Err(Failure::refused(error).hint(hint)));
        }
        Ok(active.iter().filter_map(|task| task.id).collect())
    }

    /// Cancels tasks of the host, and sees them gone.
    ///
    /// # Errors
    /// FOG can't be asked, or one of them stays.
    pub fn cancel(&self, tasks: &[Id]) -> Result<(), Failure> {
        for task in tasks {
            tracing::warn!(host = %self.name, task = %task, "cancelling a task");
            self.at_fog(self.fog.cancel(*task))?;
        }
        let deadline = Deadline::after(self.timing.call());
        let mut backoff = pauses();
        while !tasks.is_empty() {
            let active = self.at_fog(self.fog.active_tasks(self.host.id))?;
            let Some(left) = active.iter().filter_map(|t| t.id).find(|id| tasks.contains(id)) else {
                break;
            };
            self.at_fog(backoff.pause(&deadline).map_err(|ended| {
                Failure::refused(format!(
                    "FOG does not cancel task {left} of `{}`: {ended}",
                    self.name
                ))
                .hint("cancel it in FOG's Task Management")
            }))?;
        }
        Ok(())
    }

    /// Queues the task; `after` is the host's last one before. After a crash in here it is found by its name, which needs
    /// [`Begun`] to be stored before.
    ///
    /// # Errors
    /// FOG can't be asked, refuses, or queues something else.
    pub fn queue(&self, after: Option<Id>) -> Result<Id, Failure> {
        let name = self.task_name();
        let posted = self.fog.start_task(self.host.id, self.kind, &name);
        let taken = posted.is_ok();
        let found = self
            .find_started(&name, after, posted)
            .map_err(|failure| match failure.kind {
                // It is final, and nobody would look again.
                Kind::Refused if taken && !failure.error.starts_with(TAKEN) => Failure {
                    error: format!(
                        "{TAKEN} {}, which may be queued; {}",
                        self.subject(),
                        failure.error
                    ),
                    ..failure
                },
                _ => failure,
            });
        let task = self.at_fog(found)?;
        tracing::info!(host = %self.name, image = self.image.map(Id::get), task = %task, "{} queued", self.kind);
        Ok(task)
    }

    /// Returns when FOG says that the task is complete.
    ///
    /// # Errors
    /// It ended otherwise or got stuck, in which case it is cancelled, or FOG stayed silent.
    pub fn wait_until_complete(&self, task: Id) -> Result<(), Failure> {
        self.at_fog(watch::until_complete(self, task))?;
        self.disarm_twins(Some(task))
    }

    /// # Errors
    /// The same error, as a failure that names FOG and the host.
    pub fn at_fog<T, E: Into<Failure>>(&self, result: Result<T, E>) -> Result<T, Failure> {
        result.map_err(Into::into).at_peer(PEER).of_host(self.name)
    }

    fn is_ours(&self, task: &Task) -> bool {
        let named = match &self.request {
            Some(_) => task.is_called(&self.task_name(), &self.host.name),
            None => task.name.starts_with(PREFIX),
        };
        named && self.is_of_this_work(task)
    }

    /// Whether a task whose id is known to be this one's still is: ids come again when FOG's database is restored. Of its
    /// name only what was asked for counts, since the host may have been renamed.
    fn is_still_ours(&self, task: &Task) -> bool {
        let rest = task.name.strip_prefix(&self.task_name());
        let named = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" -"));
        named && self.is_of_this_work(task)
    }

    fn is_of_this_work(&self, task: &Task) -> bool {
        task.host == Some(self.host.id) && task.is(self.kind) && self.is_our_image(task)
    }

    /// Old versions of FOG don't say a task's image.
    fn is_our_image(&self, task: &Task) -> bool {
        self.image.is_none() || task.image.is_none() || task.image == self.image
    }

    /// What FOG is asked to call the task. FOG has nothing to escape or to cut in it.
    fn task_name(&self) -> String {
        match (&self.request, self.image) {
            (Some(request), _) if is_plain(request) => format!("{PREFIX}{request}"),
            (Some(request), _) => format!("{PREFIX}#{}", ledger::digest(&json!(request))),
            // The time makes it different from every earlier one of the same image.
            (None, Some(image)) => format!("{PREFIX}image {image} at {}", ledger::now()),
            (None, None) => format!("{PREFIX}{} at {}", self.kind, ledger::now()),
        }
    }

    /// As messages call it.
    fn subject(&self) -> String {
        let image = self
            .image
            .map_or(String::new(), |image| format!(", image {image}"));
        format!("the {} of `{}`{image}", self.kind, self.name)
    }

    /// FOG says neither the id of a new task nor, when the answer is lost or an error, whether there is one.
    fn find_started(
        &self,
        name: &str,
        after: Option<Id>,
        posted: Result<(), FogError>,
    ) -> Result<Id, Failure> {
        // After a lost answer FOG may still be at work on the order.
        let refused = matches!(&posted, Err(error) if error.kind() != Kind::Unreachable);
        let deadline = Deadline::after(self.timing.call());
        let mut backoff = pauses();
        loop {
            let active = self.fog.active_tasks(self.host.id)?;
            let is_new = |task: &&Task| task.id > after && task.is_called(name, &self.host.name);
            let mut found: Vec<Task> = active.iter().filter(is_new).cloned().collect();
            if found.is_empty() {
                // It can have ended before we look.
                found = self.fog.all_tasks(self.host.id)?;
                found.retain(|task| is_new(&task));
            }
            if let Some((task, id)) = found
                .iter()
                .filter_map(|t| Some((t, t.id?)))
                .min_by_key(|(_, id)| *id)
            {
                if self.is_our_image(task) && task.is(self.kind) {
                    return Ok(id);
                }
                let error = format!("{TAKEN} {} and queued {}", self.subject(), described(task));
                return Err(self.disarmed(error, &[id]));
            }
            if refused || backoff.pause(&deadline).is_err() {
                return Err(self.not_found(after, posted, &active));
            }
        }
    }

    /// What to say when FOG lists no task of the name that it was asked for. Only what is certainly ours is cancelled: FOG
    /// has said that it made one, and refuses a host a second one that images; of wipes it may have made none beside
    /// another's.
    fn not_found(&self, after: Option<Id>, posted: Result<(), FogError>, active: &[Task]) -> Failure {
        let others: Vec<String> = active.iter().map(described).collect();
        match posted {
            Ok(()) => {
                let error = format!("{TAKEN} {} and does not list it", self.subject());
                let is_ours = |t: &&Task| {
                    let new = t.id > after && t.state == State::Queued;
                    new && !self.kind.is_wipe() && self.is_of_this_work(t)
                };
                let ours: Vec<Id> = active.iter().filter(is_ours).filter_map(|t| t.id).collect();
                if others.is_empty() {
                    let hint = "look at FOG's Task Management and at the error log of its web server";
                    return Failure::refused(error).hint(hint);
                }
                self.disarmed(format!("{error}, but {}", others.join(", ")), &ours)
            }
            Err(error) if others.is_empty() => error.into(),
            Err(error) => {
                let failure = Failure::from(error);
                let error = format!("{}; the host has {}", failure.error, others.join(", "));
                Failure { error, ..failure }
            }
        }
    }

    /// The failure, after tasks have been cancelled that must not run: they would do something else to the disk.
    fn disarmed(&self, error: String, tasks: &[Id]) -> Failure {
        match self.cancel(tasks) {
            Ok(()) if tasks.is_empty() => {
                Failure::refused(error).hint("cancel in FOG's Task Management what is not wanted")
            }
            Ok(()) => Failure::refused(format!("{error}; it was cancelled"))
                .hint("look at FOG's Task Management and at the error log of its web server"),
            Err(left) => Failure::refused(format!("{error}, and it stays queued: {}", left.error))
                .hint("cancel it in FOG's Task Management before the host boots from the network"),
        }
    }
}

/// As messages name a task of FOG's: ``task 5 `Deploy by admin` (Multi-Cast, queued)``.
pub fn described(task: &Task) -> String {
    let id = task.id.map_or("without an id".to_owned(), |id| id.to_string());
    format!("task {id} `{}` ({}, {})", task.name, task.kind_name, task.state)
}

/// Whether FOG stores the request as it is, and it can't be taken for another one's followed by a host's name.
fn is_plain(request: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || " ._:-/".contains(c);
    request.len() <= MAX_NAME
        && request.chars().all(plain)
        && request.trim() == request
        && !request.contains("  ")
        && !format!("{request} ").contains(" - ")
}

/// Between two looks at something that FOG does at once.
fn pauses() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(3))
}
