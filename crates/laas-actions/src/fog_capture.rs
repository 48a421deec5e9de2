//! Reads a host's disk into a new version of a snapshot by FOG. One request makes one version, however often it is run.
//!
//! The version is an image called `<snapshot>_v<n>_incomplete` until FOG says that the capture is complete and when it
//! was moved into place; then it gets its name. Meanwhile the host has that image in FOG, since a capture goes into the
//! host's image. What the host had before stands in the record `capture_<host>`, which is written before FOG is changed
//! and says `done` after everything is in order. So a run that dies
//! - before the record: has changed nothing;
//! - with the image made and not recorded: the next run knows it by its description, which names host and request;
//! - with the host's image changed: the next run goes on, and in the end gives the host back what the record says;
//! - with the task queued and not recorded: the next run finds it by its name;
//! - while it waits: the next run asks FOG how the task ended;
//! - amid the end: the next run does what is missing of it.
//!
//! A capture that fails or is cancelled is undone: the task is cancelled, the host gets its image back, the incomplete
//! image is deleted, then the record. A failure that is worth a retry undoes nothing. Whoever finds the unfinished
//! record of another request, which nobody will run again, brings that to its end first. An image whose capture is
//! proven is never deleted.
//!
//! FOG can't overwrite an image safely: it would delete the old files first. To `replace` an image the new one is
//! captured and proven under its own name; only then the old one is renamed, and stays, and the new one gets its name.

mod record;
mod steps;

use crate::bookings::Guard;
use crate::fog_tasks::{Assigned, PEER, Stage, Standing};
use crate::hosts;
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::{Failure, HostName};
use laas_fog::{Fog, Id, Snapshot};
use record::{Record, Replaced};
use serde::Serialize;
use std::num::NonZeroU16;
use steps::Capture;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The host's name in the inventory, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: HostName,
    /// The snapshot that the capture is the next version of, e.g. snapshot_5; it becomes FOG's image snapshot_5_v1.
    #[arg(long, value_name = "NAME")]
    snapshot: Snapshot,
    /// The image that the new one takes the place of, by its exact name in FOG, e.g. ubuntu-22.04; the old one is kept
    /// under another name.
    #[arg(long, value_name = "NAME")]
    replace: Option<String>,
    /// The piece of work that this capture is for, e.g. aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da:0a1b2c3d4e5f6071:0; the
    /// same request is captured once only.
    #[arg(long, value_name = "REQUEST")]
    request: Option<String>,
    /// Queue the capture and don't wait for its end, so that the host can be powered on.
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
    /// Whether a capture was queued or came to its end in this run.
    changed: bool,
    host: HostName,
    /// FOG's id of the new image.
    image: Option<Id>,
    /// What the new image is called in FOG, or will be.
    name: Option<String>,
    snapshot: Snapshot,
    version: Option<NonZeroU16>,
    /// FOG's id of the capture task.
    fog_task: Option<Id>,
    state: Stage,
    /// The image that the new one takes the place of.
    replaced: Option<Replaced>,
    before: Assigned,
    after: Assigned,
}

impl Action for Args {
    const NAME: &'static str = "fog_capture";
    const ABOUT: &'static str = "Read a host's disk into a new version of a snapshot by FOG";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1", "--snapshot=web"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        if !self.dry_run {
            self.guard.check(context, &self.host, self.request.as_deref())?;
        }
        let config = context.config()?;
        let fog_name = hosts::load_alone(context, &self.host)?.fog_name;
        let fog = Fog::new(config.fog()?, config.timing.call());
        let capture = Capture {
            context,
            timing: &config.timing,
            fog: fog.at_peer(PEER).of_host(&self.host)?,
            name: &self.host,
            fog_name: &fog_name,
        };
        // An engine passes a parameter without a value as an empty one.
        let wanted = Wanted {
            snapshot: &self.snapshot,
            request: self.request.as_deref().filter(|r| !r.is_empty()),
            replace: self.replace.as_deref().filter(|r| !r.is_empty()),
        };
        let held = capture.lock()?;
        let (ours, other) = match Record::load(context, &self.host)? {
            Some(record) if record.is_of(&wanted)? => (Some(record), None),
            other => (None, other.filter(|r| r.begun.state != Stage::Done)),
        };
        if let Some(record) = ours.as_ref().filter(|r| r.begun.state == Stage::Done) {
            let now = capture.confirm(record)?;
            return Ok(self.output(record, false, now.clone(), now));
        }
        let mut present = None;
        if let Some(mut other) = other {
            if self.dry_run {
                present = Some(other.previous);
            } else {
                capture.settle(&mut other)?;
            }
        }
        let before = capture.assigned()?;
        let mut record = match ours {
            Some(record) => record,
            None => capture.plan(&wanted, present.or(before.image))?,
        };
        if self.dry_run {
            let changed = !capture.foresee(&mut record)?;
            return Ok(self.output(&record, changed, before.clone(), before));
        }
        let mut changed = false;
        match capture.standing(&mut record)? {
            Standing::Done(task) => {
                record.begun.fog_task = task;
                changed = true;
                capture.disarm_twins(&record)?;
                capture.end(&mut record, Ok(()))?;
            }
            Standing::Running(task) => capture.remember_task(&mut record, task)?,
            Standing::Nothing => {
                changed = true;
                if let Err(failure) = capture.start(&mut record) {
                    capture.end(&mut record, Err(failure))?;
                }
            }
        }
        if let (Stage::Running, Some(task), false) =
            (record.begun.state, record.begun.fog_task, self.start_only)
        {
            drop(held);
            let waited = capture.wait(&record, task);
            changed = true;
            let _held = capture.lock()?;
            match Record::load(context, &self.host)? {
                // Another run of the same request has been quicker.
                Some(now) if now.is_done_of(&record) => record = now,
                _ => capture.end(&mut record, waited)?,
            }
        }
        let after = capture.assigned()?;
        Ok(self.output(&record, changed, before, after))
    }
}

/// Whether the capture of `request` has been begun, so that the host may be off or have booted again.
///
/// # Errors
/// The datastore can't be read.
pub fn has_begun(context: &Context, host: &HostName, request: &str) -> Result<bool, Failure> {
    let record = Record::load(context, host)?;
    Ok(record.is_some_and(|record| record.begun.request.as_deref() == Some(request)))
}

/// What a run is asked for.
pub struct Wanted<'a> {
    snapshot: &'a Snapshot,
    request: Option<&'a str>,
    replace: Option<&'a str>,
}

impl Args {
    fn output(self, record: &Record, changed: bool, before: Assigned, after: Assigned) -> Output {
        Output {
            changed,
            host: self.host,
            image: record.image,
            name: record.name.clone(),
            snapshot: self.snapshot,
            version: record.version,
            fog_task: record.begun.fog_task,
            state: record.begun.state,
            replaced: record.replaced.clone(),
            before,
            after,
        }
    }
}
