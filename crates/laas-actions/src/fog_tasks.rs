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
use std::time::Duration;

pub const PEER: &str = "fog";

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
    /// FOG can't be asked.
    pub fn standing(&self, active: &[Task], begun: Option<&Begun>) -> Result<Standing, Failure> {
        let ours = |tasks: &[Task]| Vec::from_iter(tasks.iter().filter(|t| self.is_ours(t)).cloned());
        if let Some(task) = ours(active).iter().filter_map(|t| t.id).max() {
            return Ok(Standing::Running(task));
        }
        // Without a request nothing tells an old task that has ended from the one that is wanted now.
        let unfinished = begun.filter(|b| self.request.is_some() && b.request == self.request);
        let Some(begun) = unfinished else {
            return Ok(Standing::Nothing);
        };
        let tasks = match begun.fog_task {
            Some(task) => Vec::from_iter(self.at_fog(self.fog.task(task))?),
            None => self.at_fog(self.fog.all_tasks(self.host.id))?,
        };
        let mut tasks = ours(&tasks);
        tasks.retain(|t| t.host == Some(self.host.id));
        if let Some(task) = tasks.iter().find(|t| t.state == State::Complete) {
            return Ok(Standing::Done(task.id));
        }
        let running = tasks.iter().find(|t| t.state.is_active()).and_then(|t| t.id);
        Ok(running.map_or(Standing::Nothing, Standing::Running))
    }

    /// Leaves a host alone that is at work on its disk for somebody else.
    ///
    /// # Errors
    /// One of the tasks, of a kind that must not be cancelled, has begun.
    pub fn refuse_busy(&self, active: &[Task], kinds: &[TaskType]) -> Result<(), Failure> {
        let begun = |t: &&Task| t.state != State::Queued && kinds.iter().any(|kind| t.is(*kind));
        let Some(task) = active.iter().find(begun) else {
            return Ok(());
        };
        let id = task.id.map_or("without an id".to_owned(), |id| id.to_string());
        let error = format!("`{}` is at work on FOG's task {id} (`{}`)", self.name, task.name);
        self.at_fog(Err(
            Failure::refused(error).hint("wait for its end, or cancel it in FOG's Task Management")
        ))
    }

    /// Cancels the tasks that others, or an older request, have left, and sees them gone.
    ///
    /// # Errors
    /// FOG can't be asked, or one of them stays.
    pub fn clear(&self, stale: &[Task]) -> Result<(), Failure> {
        let stale: Vec<Id> = stale.iter().filter_map(|t| t.id).collect();
        for task in &stale {
            tracing::warn!(host = %self.name, task = %task, "cancelling a stale task");
            self.at_fog(self.fog.cancel(*task))?;
        }
        let deadline = Deadline::after(self.timing.call());
        let mut backoff = pauses();
        while !stale.is_empty() {
            let active = self.at_fog(self.fog.active_tasks(self.host.id))?;
            let Some(left) = active.iter().filter_map(|t| t.id).find(|id| stale.contains(id)) else {
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

    /// Queues the task. After a crash in here it is found by its name, which needs [`Begun`] to be stored before.
    ///
    /// # Errors
    /// FOG can't be asked, refuses, or queues something else.
    pub fn queue(&self) -> Result<Id, Failure> {
        let name = self.task_name();
        let posted = self.fog.start_task(self.host.id, self.kind, &name);
        let task = self.at_fog(self.find_started(&name, posted))?;
        tracing::info!(host = %self.name, image = self.image.map(Id::get), task = %task, "{} queued", self.kind);
        Ok(task)
    }

    /// Returns when FOG says that the task is complete.
    ///
    /// # Errors
    /// It ended otherwise or got stuck, in which case it is cancelled, or FOG stayed silent.
    pub fn wait_until_complete(&self, task: Id) -> Result<(), Failure> {
        self.at_fog(watch::until_complete(self, task))
    }

    /// # Errors
    /// The same error, as a failure that names FOG and the host.
    pub fn at_fog<T, E: Into<Failure>>(&self, result: Result<T, E>) -> Result<T, Failure> {
        result.map_err(Into::into).at_peer(PEER).of_host(self.name)
    }

    fn is_ours(&self, task: &Task) -> bool {
        let named = match &self.request {
            Some(_) => task.name == self.task_name(),
            None => task.name.starts_with("laas "),
        };
        named && task.is(self.kind) && self.is_our_image(task)
    }

    /// Old versions of FOG don't say a task's image.
    fn is_our_image(&self, task: &Task) -> bool {
        self.image.is_none() || task.image.is_none() || task.image == self.image
    }

    fn task_name(&self) -> String {
        match (&self.request, self.image) {
            (Some(request), _) => format!("laas {request}"),
            // The time makes it different from every earlier one of the same image.
            (None, Some(image)) => format!("laas image {image} at {}", ledger::now()),
            (None, None) => format!("laas {} at {}", self.kind, ledger::now()),
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
    fn find_started(&self, name: &str, posted: Result<(), FogError>) -> Result<Id, Failure> {
        // After a lost answer FOG may still be at work on the order.
        let refused = matches!(&posted, Err(error) if error.kind() != Kind::Unreachable);
        let deadline = Deadline::after(self.timing.call());
        let mut backoff = pauses();
        loop {
            let mut tasks = self.fog.active_tasks(self.host.id)?;
            if !tasks.iter().any(|t| t.name == name) {
                // A machine that already waits for its task can be done before we look.
                tasks = self.fog.all_tasks(self.host.id)?;
                tasks.retain(|t| t.state.is_active() || t.state == State::Complete);
            }
            let newest = tasks.iter().filter(|t| t.name == name).max_by_key(|t| t.id);
            if let Some((task, id)) = newest.and_then(|t| Some((t, t.id?))) {
                if self.is_our_image(task) && task.is(self.kind) {
                    return Ok(id);
                }
                // It must not run: it would do something else to the disk.
                self.fog.cancel(id)?;
                return Err(Failure::refused(format!(
                    "FOG queued task {id} for something else than {}",
                    self.subject()
                )));
            }
            if refused || backoff.pause(&deadline).is_err() {
                posted?;
                let error = format!("FOG took {} and does not list it", self.subject());
                let hint = "look at FOG's Task Management and at the error log of its web server";
                return Err(Failure::refused(error).hint(hint));
            }
        }
    }
}

/// Between two looks at something that FOG does at once.
fn pauses() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(3))
}
