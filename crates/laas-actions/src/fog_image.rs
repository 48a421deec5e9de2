//! Writes an image to a host's disk by FOG. One request makes one deploy, however often it is run.

use crate::fog_tasks::{self, Begun, HostTask, PEER, Stage, Standing};
use crate::hosts;
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName, lock};
use laas_fog::{Fog, Id, Task, TaskType};
use serde::{Deserialize, Serialize};

/// The prefix of the key that holds a host's [`Record`].
const RECORD: &str = "image";

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
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let config = context.config()?;
        // An engine passes a parameter without a value as an empty one.
        let request = self.request.filter(|r| !r.is_empty());
        let fog_name = hosts::load(context, &self.host)?.fog_name;
        let record: Option<Record> = fog_tasks::load(context, RECORD, &self.host)?;
        if let (Some(record), Some(request)) = (&record, &request)
            && record.is_of(request, self.image)?
            && record.begun.state == Stage::Done
        {
            let now = Assigned {
                image: Some(self.image),
                tasks: Vec::new(),
            };
            return Ok(Output {
                changed: false,
                host: self.host,
                fog_task: record.begun.fog_task,
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
            fog.check_deployable(&fog.image(self.image)?)?;
            let active = fog.active_tasks(host.id)?;
            Ok::<_, Failure>((fog, host, active))
        })();
        let (fog, host, active) = found.at_peer(PEER).of_host(&self.host)?;
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
            image: Some(self.image),
            request: request.clone(),
        };
        let remember = |fog_task, state| {
            let begun = Begun {
                request: request.clone(),
                fog_task,
                state,
            };
            let image = self.image;
            fog_tasks::store(context, RECORD, &self.host, &Record { image, begun })
        };
        let standing = deploy.standing(&active, record.as_ref().map(|r| &r.begun))?;
        let (mut changed, fog_task, mut state) = match standing {
            Standing::Done(task) => (false, task, Stage::Done),
            Standing::Running(task) => (false, Some(task), Stage::Running),
            Standing::Nothing if self.dry_run => (true, None, Stage::Starting),
            Standing::Nothing => {
                prepare(&deploy, self.image, &active)?;
                // From here on a run after a crash looks for the task by its name.
                remember(None, Stage::Starting)?;
                (true, Some(deploy.queue()?), Stage::Running)
            }
        };
        if !self.dry_run {
            remember(fog_task, state)?;
            drop(held);
            if let (Stage::Running, Some(task), false) = (state, fog_task, self.start_only) {
                deploy.wait_until_complete(task)?;
                remember(fog_task, Stage::Done)?;
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

/// Makes the image the one that is deployed, with nothing else in the host's queue.
fn prepare(deploy: &HostTask, image: Id, active: &[Task]) -> Result<(), Failure> {
    if deploy.host.image != Some(image) {
        deploy.at_fog(deploy.fog.set_image(&deploy.host, image))?;
    }
    deploy.clear(active)
}

/// Whether the deploy of `request` has been begun, so that the host may run its system already.
///
/// # Errors
/// The datastore can't be read.
pub fn has_begun(context: &Context, host: &HostName, request: &str) -> Result<bool, Failure> {
    let record: Option<Record> = fog_tasks::load(context, RECORD, host)?;
    Ok(record.is_some_and(|r| r.begun.request.as_deref() == Some(request)))
}

impl Record {
    /// Whether this is the deploy of `request`.
    ///
    /// # Errors
    /// It is, but of another image: a request has one image for all time.
    fn is_of(&self, request: &str, image: Id) -> Result<bool, Failure> {
        if self.begun.request.as_deref() != Some(request) {
            return Ok(false);
        }
        if self.image != image {
            let error = format!("the request `{request}` is of image {}, not {image}", self.image);
            return Err(Failure::input(error).hint("give another `request` for another image"));
        }
        Ok(true)
    }
}

fn image_id(text: &str) -> Result<Id, String> {
    let id = text.parse().ok().and_then(Id::new);
    id.ok_or_else(|| "an image has a number from 1 on".to_owned())
}
