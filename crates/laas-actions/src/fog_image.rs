//! Writes an image to a host's disk by FOG. One request makes one deploy, however often it is run.

mod choice;

use crate::bookings::Guard;
use crate::fog_tasks::{self, Assigned, Begun, HostTask, PEER, Stage, Standing};
use crate::hosts;
use crate::prepare_capture::Prepared;
use choice::{Choice, Wanted};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName, lock};
use laas_fog::{Fog, FogError, Id, TaskType};
use serde::{Deserialize, Serialize};

/// The prefix of the key that holds a host's [`Record`].
const RECORD: &str = "image";

#[derive(clap::Args)]
// The pack's version would have the flag that a snapshot's has.
#[command(rename_all = "snake_case", disable_version_flag = true)]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    #[command(flatten)]
    wanted: Wanted,
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
    #[command(flatten)]
    guard: Guard,
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

/// The value of the key `image_<host>`: the host's last deploy.
#[derive(Serialize, Deserialize)]
struct Record {
    image: Id,
    #[serde(flatten)]
    begun: Begun,
}

impl Action for Args {
    const NAME: &'static str = "fog_image";
    const ABOUT: &'static str = "Write an image to a host's disk by FOG";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1", "--image=17"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        if !self.dry_run {
            self.guard.check(context, &self.host, self.request.as_deref())?;
        }
        let config = context.config()?;
        // An engine passes a parameter without a value as an empty one.
        let request = self.request.filter(|r| !r.is_empty());
        let inventory = hosts::load_alone(context, &self.host)?;
        let choice = self.wanted.choice(&inventory)?;
        let load = || fog_tasks::load::<Record>(context, RECORD, &self.host);
        let done = |record: Option<&Record>, image| match (record, &request) {
            (Some(record), Some(request)) => record.done_of(&self.host, request, image),
            _ => Ok(None),
        };
        // Whose image needs no look at FOG is not asked for again.
        if let Choice::Id(image) = &choice
            && let Some(done) = done(load()?.as_ref(), *image)?
        {
            return Ok(done);
        }
        let deadline = Deadline::after(config.timing.call());
        let held = lock::acquire(&format!("image_{}", self.host), &deadline).of_host(&self.host)?;
        // Whoever had the lock may have written it.
        let record = load()?;
        let found = (|| {
            let fog = Fog::new(config.fog()?, config.timing.call())?;
            let host = fog.host(&inventory.fog_name)?;
            let begun = record
                .as_ref()
                .filter(|r| request.is_some() && r.begun.request == request);
            let image = choice.resolve(&fog, begun.map(|r| r.image))?;
            let active = fog.active_tasks(host.id)?;
            Ok::<_, Failure>((fog, host, image, active))
        })();
        let (fog, host, image, active) = found.at_peer(PEER).of_host(&self.host)?;
        if let Some(done) = done(record.as_ref(), image)? {
            return Ok(done);
        }
        let before = Assigned {
            image: host.image,
            tasks: active.iter().filter_map(|t| t.id).collect(),
        };
        let deploy = HostTask {
            timing: &config.timing,
            fog,
            name: &self.host,
            host,
            kind: TaskType::Deploy,
            image: Some(image),
            request: request.clone(),
        };
        let remember = |fog_task, after, state| {
            let begun = Begun {
                request: request.clone(),
                fog_task,
                after,
                state,
            };
            fog_tasks::store(context, RECORD, &self.host, &Record { image, begun })
        };
        let standing = deploy.standing(&active, record.as_ref().map(|r| &r.begun))?;
        let (mut changed, fog_task, mut state) = match standing {
            Standing::Done(task) => (false, task, Stage::Done),
            Standing::Running(task) => (false, Some(task), Stage::Running),
            Standing::Nothing => {
                deploy.at_fog(check(&deploy.fog, image))?;
                let stale = deploy.stale(&active)?;
                if self.dry_run {
                    (true, None, Stage::Starting)
                } else {
                    prepare(&deploy, image, &stale)?;
                    Prepared::forget(context, &self.host)?;
                    // From here on a run after a crash looks for the task by its name.
                    let after = deploy.last_task()?;
                    remember(None, after, Stage::Starting)?;
                    (true, Some(deploy.queue(after)?), Stage::Running)
                }
            }
        };
        if !self.dry_run {
            if state == Stage::Done {
                deploy.disarm_twins(fog_task)?;
            }
            remember(fog_task, None, state)?;
            drop(held);
            if let (Stage::Running, Some(task), false) = (state, fog_task, self.start_only) {
                deploy.wait_until_complete(task)?;
                remember(fog_task, None, Stage::Done)?;
                (changed, state) = (true, Stage::Done);
            }
        }
        let after = Assigned {
            image: Some(image),
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

/// Whether FOG would deploy the image, before anything is touched for it.
fn check(fog: &Fog, image: Id) -> Result<(), FogError> {
    let image = fog.image(image)?;
    fog.check_deployable(&image)?;
    tracing::info!(image = %image.id, name = image.name, "the image can be deployed");
    Ok(())
}

/// Makes the image the one that is deployed, with nothing else in the host's queue.
fn prepare(deploy: &HostTask, image: Id, stale: &[Id]) -> Result<(), Failure> {
    if deploy.host.image != Some(image) {
        deploy.at_fog(deploy.fog.set_image(&deploy.host, image))?;
    }
    deploy.cancel(stale)
}

/// Whether the deploy of `request` has been begun, so that the host may run its system already.
///
/// # Errors
/// The datastore can't be read.
pub fn has_begun(context: &Context, host: &HostName, request: &str) -> Result<bool, Failure> {
    let record: Option<Record> = fog_tasks::load(context, RECORD, host)?;
    Ok(record.is_some_and(|r| r.begun.request.as_deref() == Some(request)))
}

/// Lets a host's last deploy be forgotten, since it is not on the disk any more.
///
/// # Errors
/// The datastore can't be written.
pub fn forget(context: &Context, host: &HostName) -> Result<(), Failure> {
    fog_tasks::remove(context, RECORD, host)
}

impl Record {
    /// What to say if this is the deploy of `request` and has come to its end.
    ///
    /// # Errors
    /// It is the deploy of `request`, but of another image: a request has one image for all time.
    fn done_of(&self, host: &HostName, request: &str, image: Id) -> Result<Option<Output>, Failure> {
        if self.begun.request.as_deref() != Some(request) {
            return Ok(None);
        }
        if self.image != image {
            let error = format!("the request `{request}` is of image {}, not {image}", self.image);
            return Err(Failure::input(error).hint("give another `request` for another image"));
        }
        let now = Assigned {
            image: Some(image),
            tasks: Vec::new(),
        };
        Ok((self.begun.state == Stage::Done).then(|| Output {
            changed: false,
            host: host.clone(),
            fog_task: self.begun.fog_task,
            state: Stage::Done,
            before: now.clone(),
            after: now,
        }))
    }
}
