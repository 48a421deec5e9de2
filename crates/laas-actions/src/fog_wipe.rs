//! Wipes a host's disk by FOG. One request makes one wipe, however often it is run.
//!
//! FOG's word is all that there is: the client reports nothing before the end, and older ones say that they are done
//! whatever the disk said. Only a full or normal wipe overwrites the data, and on a solid-state disk neither does for
//! certain.

use crate::bookings::Guard;
use crate::fog_tasks::{self, Assigned, Begun, HostTask, PEER, Stage, Standing};
use crate::{fog_image, hosts};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::wait::Deadline;
use laas_core::{Failure, HostName, lock};
use laas_fog::{Fog, Id, TaskType};
use serde::{Deserialize, Serialize};

/// The prefix of the key that holds a host's [`Record`].
const RECORD: &str = "wipe";

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// The host's name once more, e.g. pod1, since what is on the disk is lost.
    #[arg(long, value_name = "HOST")]
    confirm: String,
    /// How thoroughly: fast makes the disk unbootable within a minute, normal overwrites it once, full four times.
    #[arg(long, value_enum, value_name = "MODE")]
    mode: Mode,
    /// The piece of work that this wipe is for, e.g. aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da:0a1b2c3d4e5f6071:0; the
    /// same request is wiped once only.
    #[arg(long, value_name = "REQUEST")]
    request: Option<String>,
    /// Queue the wipe and don't wait for its end, so that the host can be powered on.
    #[arg(long)]
    start_only: bool,
    /// Show what would be done and do nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Fast,
    Normal,
    Full,
}

#[derive(Serialize)]
pub struct Output {
    /// Whether a wipe was queued or came to its end in this run.
    changed: bool,
    host: HostName,
    mode: Mode,
    /// FOG's id of the wipe task.
    fog_task: Option<Id>,
    state: Stage,
    before: Assigned,
    after: Assigned,
}

/// The value of the key `wipe_<host>`: the host's last wipe.
#[derive(Serialize, Deserialize)]
struct Record {
    mode: Mode,
    #[serde(flatten)]
    begun: Begun,
}

impl Action for Args {
    const NAME: &'static str = "fog_wipe";
    const ABOUT: &'static str = "Wipe a host's disk by FOG";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1", "--confirm=pod1", "--mode=fast", "--dry_run"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        if self.confirm != self.host.as_str() {
            let error = format!("`confirm` is not `{}`; nothing was done", self.host);
            let hint = "the wipe destroys what is on the disk: give the host's name twice";
            return Err(Failure::input(error).hint(hint).host(&self.host));
        }
        if !self.dry_run {
            self.guard.check(context, &self.host, self.request.as_deref())?;
        }
        let config = context.config()?;
        // An engine passes a parameter without a value as an empty one.
        let request = self.request.filter(|r| !r.is_empty());
        let fog_name = hosts::load_alone(context, &self.host)?.fog_name;
        let deadline = Deadline::after(config.timing.call());
        let held = lock::acquire(&format!("image_{}", self.host), &deadline).of_host(&self.host)?;
        let record: Option<Record> = fog_tasks::load(context, RECORD, &self.host)?;
        let ours = match &request {
            Some(request) => record.filter(|r| r.begun.request.as_ref() == Some(request)),
            None => None,
        };
        if let Some(record) = ours.as_ref().filter(|r| r.mode != self.mode) {
            let error = format!("the request is of a {}", record.mode.task_type());
            let hint = "give another `request` for another `mode`";
            return Err(Failure::input(error).hint(hint).host(&self.host));
        }
        let found = (|| {
            let fog = Fog::new(config.fog()?, config.timing.call())?;
            let host = fog.host(&fog_name)?;
            let active = fog.active_tasks(host.id)?;
            Ok::<_, Failure>((fog, host, active))
        })();
        let (fog, host, active) = found.at_peer(PEER).of_host(&self.host)?;
        let before = Assigned {
            image: host.image,
            tasks: active.iter().filter_map(|t| t.id).collect(),
        };
        let wipe = HostTask {
            timing: &config.timing,
            fog,
            name: &self.host,
            host,
            kind: self.mode.task_type(),
            image: None,
            request: request.clone(),
        };
        let remember = |fog_task, after, state| {
            let begun = Begun {
                request: request.clone(),
                fog_task,
                after,
                state,
            };
            let mode = self.mode;
            fog_tasks::store(context, RECORD, &self.host, &Record { mode, begun })
        };
        let standing = match ours.as_ref().map(|r| &r.begun) {
            Some(begun) if begun.state == Stage::Done => Standing::Done(begun.fog_task),
            begun => wipe.standing(&active, begun)?,
        };
        let (mut changed, fog_task, mut state) = match standing {
            Standing::Done(task) => (false, task, Stage::Done),
            Standing::Running(task) => (false, Some(task), Stage::Running),
            Standing::Nothing => {
                let stale = wipe.stale(&active)?;
                if self.dry_run {
                    (true, None, Stage::Starting)
                } else {
                    wipe.cancel(&stale)?;
                    // From here on the last deploy may be gone from the disk, and a run after a crash looks for the
                    // task by its name.
                    fog_image::forget(context, &self.host)?;
                    let after = wipe.last_task()?;
                    remember(None, after, Stage::Starting)?;
                    (true, Some(wipe.queue(after)?), Stage::Running)
                }
            }
        };
        if !self.dry_run {
            if state == Stage::Done {
                wipe.disarm_twins(fog_task)?;
            }
            remember(fog_task, None, state)?;
            drop(held);
            if let (Stage::Running, Some(task), false) = (state, fog_task, self.start_only) {
                wipe.wait_until_complete(task)?;
                remember(fog_task, None, Stage::Done)?;
                (changed, state) = (true, Stage::Done);
            }
        }
        let after = Assigned {
            image: before.image,
            tasks: match state {
                Stage::Starting => before.tasks.clone(),
                Stage::Running => fog_task.into_iter().collect(),
                Stage::Done => Vec::new(),
            },
        };
        Ok(Output {
            changed,
            host: self.host,
            mode: self.mode,
            fog_task,
            state,
            before,
            after,
        })
    }
}

impl Mode {
    fn task_type(self) -> TaskType {
        match self {
            Self::Fast => TaskType::FastWipe,
            Self::Normal => TaskType::NormalWipe,
            Self::Full => TaskType::FullWipe,
        }
    }
}
