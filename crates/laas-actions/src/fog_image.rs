//! Writes an image to a host's disk by FOG. One request makes one deploy, however often it is run.

mod record;
mod watch;

use crate::hosts;
use laas_core::action::{Action, Context};
use laas_core::config::Timing;
use laas_core::failure::Context as _;
use laas_core::wait::{Backoff, Deadline};
use laas_core::{Classify, Failure, HostName, Kind, ledger, lock};
use laas_fog::{Fog, FogError, Id, State, Task};
use record::{Record, Stage};
use serde::Serialize;
use std::time::Duration;

const PEER: &str = "fog";

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// The image's id in FOG, e.g. 17.
    #[arg(long, value_name = "ID", value_parser = image_id)]
    image: Id,
    /// The piece of work that this deploy is for, e.g. aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da:0a1b2c3d4e5f6071:0; the
    /// same request is deployed once only.
    #[arg(long, value_name = "REQUEST")]
    request: Option<String>,
    /// Queue the deploy and don't wait for its end, so that the host can be powered on.
    #[arg(long)]
    start_only: bool,
    /// Show what would be done and do nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
pub struct Output {
    /// Whether a deploy was queued or came to its end in this run.
    changed: bool,
    host: HostName,
    /// FOG's id of the deploy task.
    fog_task: Option<Id>,
    state: Stage,
    before: Assigned,
    after: Assigned,
}

/// What FOG has in store for the host.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Assigned {
    image: Option<Id>,
    /// The tasks that have not ended.
    tasks: Vec<Id>,
}

/// One deploy, wanted or under way.
struct Deploy<'a> {
    context: &'a Context,
    timing: &'a Timing,
    fog: Fog,
    name: &'a HostName,
    host: laas_fog::Host,
    image: Id,
    request: Option<String>,
}

/// What is already there of a deploy.
enum Standing {
    Nothing,
    Running(Id),
    Done(Option<Id>),
}

impl Action for Args {
    const NAME: &'static str = "fog_image";
    const ABOUT: &'static str = "Write an image to a host's disk by FOG";
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let config = context.config()?;
        // An engine passes a parameter without a value as an empty one.
        let request = self.request.filter(|r| !r.is_empty());
        let fog_name = hosts::load(context, &self.host)?.fog_name;
        let mut record = Record::load(context, &self.host)?;
        if let (Some(record), Some(request)) = (&record, &request)
            && record.is_of(request, self.image)?
            && record.state == Stage::Done
        {
            let now = Assigned {
                image: Some(self.image),
                tasks: Vec::new(),
            };
            return Ok(Output {
                changed: false,
                host: self.host,
                fog_task: record.fog_task,
                state: Stage::Done,
                before: now.clone(),
                after: now,
            });
        }
        let deadline = Deadline::after(config.timing.call());
        let held = lock::acquire(&format!("image_{}", self.host), &deadline).of_host(&self.host)?;
        let found = (|| {
            let fog = Fog::new(config.fog()?, config.timing.call())?;
            let host = fog.host(&fog_name)?;
            fog.image(self.image)?;
            let active = fog.active_tasks(host.id)?;
            Ok::<_, Failure>((fog, host, active))
        })();
        let (fog, host, active) = found.at_peer(PEER).of_host(&self.host)?;
        let before = Assigned {
            image: host.image,
            tasks: active.iter().filter_map(|t| t.id).collect(),
        };
        let deploy = Deploy {
            context,
            timing: &config.timing,
            fog,
            name: &self.host,
            host,
            image: self.image,
            request,
        };
        let standing = deploy.at_fog(deploy.standing(&active, record.take()))?;
        let (mut changed, fog_task, mut state) = match standing {
            Standing::Done(task) => (false, task, Stage::Done),
            Standing::Running(task) => (false, Some(task), Stage::Running),
            Standing::Nothing if self.dry_run => (true, None, Stage::Starting),
            Standing::Nothing => (true, Some(deploy.start(&active)?), Stage::Running),
        };
        if !self.dry_run {
            deploy.remember(fog_task, state)?;
            drop(held);
            if let (Stage::Running, Some(task), false) = (state, fog_task, self.start_only) {
                deploy.at_fog(watch::until_complete(&deploy, task))?;
                deploy.remember(fog_task, Stage::Done)?;
                (changed, state) = (true, Stage::Done);
            }
        }
        let after = Assigned {
            image: Some(self.image),
            tasks: fog_task.into_iter().filter(|_| state == Stage::Running).collect(),
        };
        Ok(Output {
            changed,
            host: self.host,
            fog_task,
            state,
            before,
            after,
        })
    }
}

/// Whether the deploy of `request` has been begun, so that the host may run its system already.
///
/// # Errors
/// The datastore can't be read.
pub fn has_begun(context: &Context, host: &HostName, request: &str) -> Result<bool, Failure> {
    let record = Record::load(context, host)?;
    Ok(record.is_some_and(|r| r.request.as_deref() == Some(request)))
}

impl Deploy<'_> {
    /// Looks for what an earlier run, which may have been killed anywhere, has left of this deploy.
    fn standing(&self, active: &[Task], record: Option<Record>) -> Result<Standing, FogError> {
        if let Some(task) = active
            .iter()
            .filter(|t| self.is_ours(t))
            .filter_map(|t| t.id)
            .max()
        {
            return Ok(Standing::Running(task));
        }
        // Without a request nothing tells an old deploy that has ended from the one that is wanted now.
        let unfinished = record.filter(|r| self.request.is_some() && r.request == self.request);
        let Some(record) = unfinished else {
            return Ok(Standing::Nothing);
        };
        let tasks = match record.fog_task {
            Some(task) => Vec::from_iter(self.fog.task(task)?),
            None => self.fog.all_tasks(self.host.id)?,
        };
        let ours = || {
            tasks
                .iter()
                .filter(|t| self.is_ours(t) && t.host == Some(self.host.id))
        };
        if let Some(task) = ours().find(|t| t.state == State::Complete) {
            return Ok(Standing::Done(task.id));
        }
        let running = ours().find(|t| t.state.is_active()).and_then(|t| t.id);
        Ok(running.map_or(Standing::Nothing, Standing::Running))
    }

    fn is_ours(&self, task: &Task) -> bool {
        let named = match &self.request {
            Some(_) => task.name == self.task_name(),
            None => task.name.starts_with("laas "),
        };
        named && task.is_deploy() && self.is_our_image(task)
    }

    /// Old versions of FOG don't say a task's image.
    fn is_our_image(&self, task: &Task) -> bool {
        task.image.is_none_or(|image| image == self.image)
    }

    fn task_name(&self) -> String {
        match &self.request {
            Some(request) => format!("laas {request}"),
            // The time makes it different from every earlier one of the same image.
            None => format!("laas image {} at {}", self.image, ledger::now()),
        }
    }

    /// Queues the deploy with nothing else in the host's queue.
    fn start(&self, active: &[Task]) -> Result<Id, Failure> {
        if self.host.image != Some(self.image) {
            self.at_fog(self.fog.set_image(&self.host, self.image))?;
        }
        self.at_fog(self.clear(active))?;
        // From here on a run after a crash looks for the task by its name.
        self.remember(None, Stage::Starting)?;
        let name = self.task_name();
        let posted = self.fog.start_deploy(self.host.id, &name);
        let task = self.at_fog(self.find_started(&name, posted))?;
        tracing::info!(host = %self.name, image = %self.image, task = %task, "deploy queued");
        Ok(task)
    }

    /// Cancels the tasks that others, or an older request, have left, and sees them gone.
    fn clear(&self, stale: &[Task]) -> Result<(), Failure> {
        let stale: Vec<Id> = stale.iter().filter_map(|t| t.id).collect();
        for task in &stale {
            tracing::warn!(host = %self.name, task = %task, "cancelling a stale task");
            self.fog.cancel(*task)?;
        }
        let deadline = Deadline::after(self.timing.call());
        let mut backoff = pauses();
        while !stale.is_empty() {
            let active = self.fog.active_tasks(self.host.id)?;
            let Some(left) = active.iter().filter_map(|t| t.id).find(|id| stale.contains(id)) else {
                break;
            };
            backoff.pause(&deadline).map_err(|ended| {
                Failure::refused(format!(
                    "FOG does not cancel task {left} of `{}`: {ended}",
                    self.name
                ))
                .hint("cancel it in FOG's Task Management")
            })?;
        }
        Ok(())
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
                if self.is_our_image(task) && task.is_deploy() {
                    return Ok(id);
                }
                // It must not run: it would write something else to the disk.
                self.fog.cancel(id)?;
                return Err(Failure::refused(format!(
                    "FOG queued task {id} of `{}` for another image than {}",
                    self.name, self.image
                )));
            }
            if refused || backoff.pause(&deadline).is_err() {
                posted?;
                let error = format!("FOG took the deploy of `{}` and does not list it", self.name);
                let hint = "look at FOG's Task Management and at the error log of its web server";
                return Err(Failure::refused(error).hint(hint));
            }
        }
    }

    fn remember(&self, fog_task: Option<Id>, state: Stage) -> Result<(), Failure> {
        let record = Record {
            request: self.request.clone(),
            image: self.image,
            fog_task,
            state,
        };
        record.store(self.context, self.name)
    }

    fn at_fog<T, E: Into<Failure>>(&self, result: Result<T, E>) -> Result<T, Failure> {
        result.map_err(Into::into).at_peer(PEER).of_host(self.name)
    }
}

/// Between two looks at something that FOG does at once.
fn pauses() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(3))
}

fn image_id(text: &str) -> Result<Id, String> {
    let id = text.parse().ok().and_then(Id::new);
    id.ok_or_else(|| "an image has a number from 1 on".to_owned())
}
