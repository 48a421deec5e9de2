//! The steps of a capture. Each looks first and does what is missing, so that it can run again after a crash in it.

use super::Wanted;
use super::record::{Record, Replaced};
use crate::fog_tasks::{Assigned, HostTask, PEER, Stage, Standing, described};
use laas_core::action::Context;
use laas_core::config::Timing;
use laas_core::failure::Context as _;
use laas_core::lock::Lock;
use laas_core::wait::{self, Deadline, Stop};
use laas_core::{Failure, HostName, Kind, ledger, lock};
use laas_fog::{Fog, Host, Id, Image, NewImage, SnapshotImage, State, TaskType};
use serde_json::json;

/// How much of a request's digest keeps an image's directory apart from all others.
const PATH_DIGITS: usize = 8;

pub struct Capture<'a> {
    pub context: &'a Context,
    pub timing: &'a Timing,
    pub fog: Fog,
    pub name: &'a HostName,
    pub fog_name: &'a str,
}

impl Capture<'_> {
    /// Keeps other runs from changing the host in FOG. It is not held while the capture is waited for.
    pub fn lock(&self) -> Result<Lock, Failure> {
        let deadline = Deadline::after(self.timing.call());
        lock::acquire(&format!("image_{}", self.name), &deadline).of_host(self.name)
    }

    /// What FOG has in store for the host.
    pub fn assigned(&self) -> Result<Assigned, Failure> {
        let host = self.host()?;
        let active = self.at_fog(self.fog.active_tasks(host.id))?;
        Ok(Assigned {
            image: host.image,
            tasks: active.iter().filter_map(|t| t.id).collect(),
        })
    }

    /// A capture of which nothing is there yet. The host's image is `present`.
    ///
    /// # Errors
    /// What it would be made like, or what it is to replace, is not there.
    pub fn plan(&self, wanted: &Wanted, present: Option<Id>) -> Result<Record, Failure> {
        let like = self.pattern(present)?;
        self.at_fog(self.fog.check_capturable(&like))?;
        let images = self.at_fog(self.fog.images())?;
        let replaced = match wanted.replace {
            Some(name) => {
                let found = images.iter().find(|i| i.name == name).ok_or_else(|| {
                    Failure::input(format!("FOG has no image called `{name}` that could be replaced"))
                        .hint("the spelling must be the same")
                });
                Some(self.at_fog(found.and_then(complete))?)
            }
            None => None,
        };
        Ok(Record::new(wanted, like.id, replaced))
    }

    /// Tells what a run would do; whether there is a task already.
    pub fn foresee(&self, record: &mut Record) -> Result<bool, Failure> {
        let standing = self.standing(record)?;
        if record.image.is_none() {
            let images = self.at_fog(self.fog.images())?;
            let next = self.at_fog(record.snapshot.next_of(&images).map_err(no_version))?;
            record.version = Some(next.version);
            record.name = Some(next.completed().to_string());
        }
        Ok(!matches!(standing, Standing::Nothing))
    }

    /// Looks for what an earlier run has left of this capture's task.
    pub fn standing(&self, record: &mut Record) -> Result<Standing, Failure> {
        let host = self.host()?;
        let active = self.at_fog(self.fog.active_tasks(host.id))?;
        if self.adopt(record)?.is_none() {
            return Ok(Standing::Nothing);
        }
        self.task(record, host).standing(&active, Some(&record.begun))
    }

    pub fn remember_task(&self, record: &mut Record, task: Id) -> Result<(), Failure> {
        record.begun.fog_task = Some(task);
        record.begun.state = Stage::Running;
        record.store(self.context, self.name)
    }

    /// Makes the image, gives it to the host and queues the capture with nothing else in the host's queue.
    pub fn start(&self, record: &mut Record) -> Result<(), Failure> {
        // From here on a run after a crash knows what to go on with, or to undo.
        record.begun.fog_task = None;
        record.begun.state = Stage::Starting;
        record.store(self.context, self.name)?;
        let host = self.host()?;
        let active = self.at_fog(self.fog.active_tasks(host.id))?;
        let stale = self.task(record, host.clone()).stale(&active)?;
        if self.adopt(record)?.is_none() {
            self.make_image(record)?;
            self.adopt(record)?;
        }
        record.begun.after = self.task(record, host.clone()).last_task()?;
        record.store(self.context, self.name)?;
        let task = self.task(record, host);
        task.cancel(&stale)?;
        if let Some(image) = record.image.filter(|image| task.host.image != Some(*image)) {
            self.at_fog(self.fog.set_image(&task.host, image))?;
        }
        let queued = task.queue(record.begun.after)?;
        self.remember_task(record, queued)
    }

    pub fn wait(&self, record: &Record, task: Id) -> Result<(), Failure> {
        self.task(record, self.host()?).wait_until_complete(task)
    }

    /// Cancels what FOG has queued a second time for the task that is complete.
    pub fn disarm_twins(&self, record: &Record) -> Result<(), Failure> {
        self.task(record, self.host()?)
            .disarm_twins(record.begun.fog_task)
    }

    /// Brings the capture to its end: everything is in order, or it is undone, or it stays as it is for the next run.
    pub fn end(&self, record: &mut Record, came: Result<(), Failure>) -> Result<(), Failure> {
        let failure = match came.and_then(|()| self.prove(record)) {
            Ok(image) => return self.finish(record, image),
            Err(failure) => failure,
        };
        let is_final = match failure.kind {
            Kind::Unreachable => false,
            // The process has to go, and the capture is still wanted.
            Kind::Cancelled => wait::stopped() == Some(Stop::Cancelled),
            Kind::Refused | Kind::Input => true,
        };
        if !is_final {
            return Err(failure);
        }
        match self.undo(record) {
            // It was complete before it could be cancelled.
            Ok(Ended::Finished) => Ok(()),
            Ok(Ended::Undone) => Err(failure),
            Err(left) => {
                let error = format!(
                    "{}; what there is of the capture was not undone: {}",
                    failure.error, left.error
                );
                let hint = "the next capture of this host undoes it first";
                Err(Failure { error, ..failure }.hint(hint))
            }
        }
    }

    /// Brings the unfinished capture of another request, which nobody may run again, to its end.
    pub fn settle(&self, other: &mut Record) -> Result<(), Failure> {
        tracing::warn!(host = %self.name, request = other.begun.request, "an earlier capture was not finished");
        let host = self.host()?;
        let active = self.at_fog(self.fog.active_tasks(host.id))?;
        self.task(other, host).stale(&active)?;
        self.undo(other).map(drop)
    }

    /// What is done is still there.
    pub fn confirm(&self, record: &Record) -> Result<Assigned, Failure> {
        let image = match record.image {
            Some(id) => self.at_fog(self.fog.find_image(id))?,
            None => None,
        };
        if image.is_none() {
            let name = record.name.as_deref().unwrap_or_default();
            let error = format!(
                "`{}` was captured into the image `{name}`, which FOG no longer has",
                self.name
            );
            let hint = "give another `request` to capture again";
            return self.at_fog(Err(Failure::refused(error).hint(hint)));
        }
        self.assigned()
    }

    /// What FOG can say for it: the task is complete, and a capture was moved into the image.
    fn prove(&self, record: &mut Record) -> Result<Image, Failure> {
        let image = self.adopt(record)?.ok_or_else(|| {
            Failure::refused(format!(
                "the image that `{}` was captured into is gone from FOG",
                self.name
            ))
        });
        let image = self.at_fog(image)?;
        if image.captured == Some(false) {
            let error = format!(
                "FOG says that the capture of `{}` is complete, and that nothing was ever captured into image {} (`{}`)",
                self.name, image.id, image.name
            );
            let hint = "look at the host's console and at the storage node's `images/dev`";
            return self.at_fog(Err(Failure::refused(error).hint(hint)));
        }
        Ok(image)
    }

    /// Everything that comes after the proof.
    fn finish(&self, record: &mut Record, image: Image) -> Result<(), Failure> {
        self.give_back(record, image.id)?;
        let mut name = image.name;
        if let Some(incomplete) = SnapshotImage::parse(&name).filter(|n| !n.complete) {
            name = incomplete.completed().to_string();
            self.at_fog(self.fog.rename_image(image.id, &name))?;
        }
        if let Some(replaced) = &record.replaced
            && name != replaced.name
        {
            self.step_aside(replaced)?;
            self.at_fog(self.fog.rename_image(image.id, &replaced.name))?;
            name = replaced.name.clone();
        }
        tracing::info!(host = %self.name, image = %image.id, name, "captured");
        record.image = Some(image.id);
        record.name = Some(name);
        record.begun.state = Stage::Done;
        record.store(self.context, self.name)
    }

    /// The old image keeps everything but its name.
    fn step_aside(&self, replaced: &Replaced) -> Result<(), Failure> {
        let old = self.at_fog(self.fog.find_image(replaced.image))?;
        if old.is_some_and(|old| old.name == replaced.name) {
            self.at_fog(self.fog.rename_image(replaced.image, &replaced.kept_as))?;
        }
        Ok(())
    }

    /// Undoes what there is of a capture that is not complete.
    fn undo(&self, record: &mut Record) -> Result<Ended, Failure> {
        let image = self.adopt(record)?;
        if let Some(image) = &image {
            let complete = match self.standing(record)? {
                Standing::Nothing => false,
                Standing::Done(_) => true,
                Standing::Running(task) => self.cancel(record, task)?,
            };
            if complete && image.captured != Some(false) {
                let image = self.prove(record)?;
                return self.finish(record, image).map(|()| Ended::Finished);
            }
        }
        if let Some(id) = image.as_ref().map(|i| i.id).or(record.image) {
            self.give_back(record, id)?;
        }
        let incomplete = |image: &Image| SnapshotImage::parse(&image.name).is_some_and(|n| !n.complete);
        if let Some(image) = image.filter(incomplete) {
            self.refuse_in_use(&image)?;
            self.at_fog(self.fog.delete_image(image.id))?;
            tracing::info!(host = %self.name, image = %image.id, name = image.name, "incomplete image deleted");
        }
        Record::remove(self.context, self.name)?;
        Ok(Ended::Undone)
    }

    /// Whether the task was complete before it could be cancelled.
    fn cancel(&self, record: &Record, task: Id) -> Result<bool, Failure> {
        self.task(record, self.host()?).cancel(&[task])?;
        let state = self.at_fog(self.fog.task(task))?.map(|t| t.state);
        Ok(state == Some(State::Complete))
    }

    /// An image that a task is about, whatever that is called, is not deleted under it.
    fn refuse_in_use(&self, image: &Image) -> Result<(), Failure> {
        let active = self.at_fog(self.fog.active_tasks(self.host()?.id))?;
        let Some(task) = active.iter().find(|task| task.image == Some(image.id)) else {
            return Ok(());
        };
        let error = format!(
            "FOG has {} for image {} (`{}`)",
            described(task),
            image.id,
            image.name
        );
        let hint = "wait for its end, or cancel it in FOG's Task Management";
        self.at_fog(Err(Failure::refused(error).hint(hint)))
    }

    /// Gives the host the image back that it had, unless somebody has given it another one meanwhile.
    fn give_back(&self, record: &Record, captured: Id) -> Result<(), Failure> {
        let host = self.host()?;
        // FOG takes an image that is deleted from the hosts that have it.
        if host.image.is_some_and(|image| image != captured) {
            return Ok(());
        }
        if self.at_fog(self.fog.find_image(record.previous))?.is_none() {
            tracing::warn!(host = %self.name, image = %record.previous, "the host's image is gone from FOG meanwhile");
            return Ok(());
        }
        self.at_fog(self.fog.set_image(&host, record.previous))
    }

    /// Finds the new image, whatever it is called by now, and puts it into the record.
    fn adopt(&self, record: &mut Record) -> Result<Option<Image>, Failure> {
        let mark = record.mark(self.name);
        let found = match record.image {
            Some(id) => self.at_fog(self.fog.find_image(id))?,
            None => {
                let images = self.at_fog(self.fog.images())?;
                images.into_iter().find(|i| i.description == mark)
            }
        };
        let Some(image) = found.filter(|i| i.description == mark) else {
            return Ok(None);
        };
        record.image = Some(image.id);
        record.name = Some(image.name.clone());
        if let Some(name) = SnapshotImage::parse(&image.name) {
            record.version = Some(name.version);
        }
        Ok(Some(image))
    }

    fn make_image(&self, record: &Record) -> Result<(), Failure> {
        let deadline = Deadline::after(self.timing.call());
        // Two hosts can be captured into versions of the same snapshot.
        let name = format!("snapshot_{}", record.snapshot.as_str().to_ascii_lowercase());
        let _held = lock::acquire(&name, &deadline).of_host(self.name)?;
        let images = self.at_fog(self.fog.images())?;
        let next = self.at_fog(record.snapshot.next_of(&images).map_err(no_version))?;
        let mark = record.mark(self.name);
        let digest = ledger::digest(&json!(mark));
        let path = format!("{}_v{}_{}", next.snapshot, next.version, &digest[..PATH_DIGITS]);
        if let Some(other) = images.iter().find(|i| i.path.eq_ignore_ascii_case(&path)) {
            let error = format!("FOG's image `{}` has the directory `{path}`", other.name);
            return self.at_fog(Err(Failure::refused(error).hint("give that image another path")));
        }
        let like = self.pattern(Some(record.previous))?;
        let made = self.fog.create_image(&NewImage {
            name: &next.to_string(),
            path: &path,
            description: &mark,
            like: &like,
        });
        self.at_fog(made).map(drop)
    }

    /// The host's image, which says what is on the disk.
    fn pattern(&self, present: Option<Id>) -> Result<Image, Failure> {
        let found = match present {
            // With its storage groups, which a list of FOG 1.6 leaves out.
            Some(id) => self.fog.image(id).map_err(Failure::from),
            None => {
                let error = format!(
                    "`{}` has no image in FOG that says what its disk holds",
                    self.name
                );
                let hint = "give it one of the same type and system in FOG's Host Management";
                Err(Failure::input(error).hint(hint))
            }
        };
        let image = self.at_fog(found)?;
        self.at_fog(complete(&image))?;
        if image.kind.is_none() || image.os.is_none() {
            let error = format!("FOG does not say the type and the system of image {}", image.id);
            return self.at_fog(Err(
                Failure::input(error).hint("set both in FOG's Image Management")
            ));
        }
        Ok(image)
    }

    fn task(&self, record: &Record, host: Host) -> HostTask<'_> {
        HostTask {
            timing: self.timing,
            fog: self.fog.clone(),
            name: self.name,
            host,
            kind: TaskType::Capture,
            image: record.image,
            request: record.begun.request.clone(),
        }
    }

    fn host(&self) -> Result<Host, Failure> {
        self.at_fog(self.fog.host(self.fog_name))
    }

    fn at_fog<T, E: Into<Failure>>(&self, result: Result<T, E>) -> Result<T, Failure> {
        result.map_err(Into::into).at_peer(PEER).of_host(self.name)
    }
}

/// How a capture that was to be undone ended.
enum Ended {
    Undone,
    /// It was complete already.
    Finished,
}

/// The unfinished image of a capture is neither a pattern for another one nor anything to replace.
fn complete(image: &Image) -> Result<&Image, Failure> {
    if SnapshotImage::parse(&image.name).is_some_and(|name| !name.complete) {
        let error = format!(
            "FOG's image `{}` is of a capture that was not finished",
            image.name
        );
        let hint = "give the host its real image in FOG's Host Management, then delete the incomplete one";
        return Err(Failure::input(error).hint(hint));
    }
    Ok(image)
}

fn no_version(error: laas_fog::SnapshotError) -> Failure {
    Failure::input(error.to_string()).hint("give another `snapshot`, or delete old versions in FOG")
}
