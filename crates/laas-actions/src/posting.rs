//! Telling the dashboard how far a task is, so that nothing is posted for another delta, twice, or unproven.

use laas_core::action::Context;
use laas_core::engine::Engine;
use laas_core::failure::Context as _;
use laas_core::ledger::{self, Record};
use laas_core::names::TaskId;
use laas_core::wait::{Backoff, Deadline, Ended};
use laas_core::{Failure, Kind, inventory};
use laas_dashboard::{Dashboard, DashboardError, List, TaskRef};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

/// The (encrypted) datastore key of our token for the dashboard.
const TOKEN_KEY: &str = "lab_auth_token";
const DASHBOARD: &str = "dashboard";
const DATASTORE: &str = "datastore";
/// So often HTTP 500 is taken for a passing trouble before the lists are asked whether the task still exists.
const PASSING_500: u32 = 2;

/// What became of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    Posted,
    /// It had been posted before.
    Already,
    /// The dashboard has given the task out anew, so this work is no longer its.
    Superseded,
    /// The booking was deleted. What was done for the task is remembered until it is taken back.
    Gone,
}

/// The dashboard of the configuration, with the token of the datastore.
///
/// # Errors
/// Either is missing.
pub fn connect(context: &Context) -> Result<Dashboard, Failure> {
    let token = inventory::read(context.datastore()?, TOKEN_KEY).at_peer(DATASTORE)?;
    let config = context.config()?;
    Dashboard::new(config.dashboard()?, &token, config.timing.call()).at_peer(DASHBOARD)
}

/// The workflow that this action is a step of, which goes on when the step is over; without one, the action itself;
/// nothing if a person runs it.
///
/// # Errors
/// The engine can't be reached or refuses.
pub fn workflow(context: &Context) -> Result<Option<String>, Failure> {
    let Some(own) = context.execution() else {
        return Ok(None);
    };
    let parent = match Engine::from_env().at_peer(DATASTORE)? {
        Some(engine) => engine.parent(&own).at_peer(DATASTORE)?,
        None => None,
    };
    Ok(Some(parent.unwrap_or(own)))
}

/// Posts a task's status with a message for its user and, for a VPN user, the lab's own token. The task is read again
/// before, the ledger is written before, and the dashboard's answer is read after it.
///
/// # Errors
/// The dashboard or the datastore can't be reached in time, or refuses.
pub fn finish(
    context: &Context,
    task: &TaskRef,
    status: u16,
    message: &str,
    lab_token: Option<&str>,
) -> Result<Posted, Failure> {
    Poster::new(context)?.finish(task, status, message, lab_token)
}

/// For several posts in one go; all of them share one deadline and one look at the dashboard's lists.
pub struct Poster<'a> {
    context: &'a Context,
    dashboard: Dashboard,
    deadline: Deadline,
    /// The tasks of the lists that were read since the last failure, which may have changed them.
    lists: RefCell<Vec<(List, BTreeSet<TaskId>)>>,
}

/// One post on its way.
struct Post<'a> {
    task: &'a TaskRef,
    status: u16,
    message: &'a str,
    lab_token: Option<&'a str>,
    /// It was sent before, with an outcome that nobody knows.
    sent: bool,
    /// How often the task could not be read for HTTP 500.
    unreadable: u32,
}

impl<'a> Poster<'a> {
    /// # Errors
    /// As [`connect`].
    pub fn new(context: &'a Context) -> Result<Self, Failure> {
        Ok(Self {
            context,
            dashboard: connect(context)?,
            deadline: Deadline::after(4 * context.config()?.timing.call()),
            lists: RefCell::default(),
        })
    }

    /// # Errors
    /// As [`finish`].
    pub fn finish(
        &self,
        task: &TaskRef,
        status: u16,
        message: &str,
        lab_token: Option<&str>,
    ) -> Result<Posted, Failure> {
        let mut post = Post {
            task,
            status,
            message,
            lab_token,
            sent: false,
            unreadable: 0,
        };
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        self.deadline.check().map_err(|ended| {
            let kind = match ended {
                Ended::Cancelled => Kind::Cancelled,
                Ended::Deadline => Kind::Unreachable,
            };
            let error = format!("no time was left to post status {status} of task `{}`", task.task);
            Failure::new(kind, error).peer(DASHBOARD)
        })?;
        loop {
            let posted = self.attempt(&mut post);
            let mut failure = match posted.and_then(|posted| self.note(&post, posted)) {
                Ok(posted) => return Ok(posted),
                Err(failure) if failure.kind != Kind::Unreachable => return Err(failure),
                Err(failure) => failure,
            };
            self.lists.borrow_mut().clear();
            tracing::warn!(task = %task.task, status, error = failure.error, "not posted yet");
            if let Err(ended) = backoff.pause(&self.deadline) {
                if ended == Ended::Cancelled {
                    failure.kind = Kind::Cancelled;
                }
                return Err(failure);
            }
        }
    }

    fn attempt(&self, post: &mut Post) -> Result<Posted, Failure> {
        let task = post.task;
        match self.dashboard.task(task.job, &task.task) {
            Ok(delta) if laas_dashboard::digest(&delta) != task.digest => return Ok(Posted::Superseded),
            Ok(_) => {}
            Err(error) => {
                let is_500 = matches!(error, DashboardError::Answer { status: 500, .. });
                post.unreadable += u32::from(is_500);
                if is_500 && post.unreadable > PASSING_500 && !self.exists(task)? {
                    return Ok(Posted::Gone);
                }
                return Err(error).at_peer(DASHBOARD);
            }
        }
        let datastore = self.context.datastore()?;
        let known = ledger::get(datastore, &task.task).at_peer(DATASTORE)?;
        let record = match known {
            Some(record) if record.request(&task.task) != task.request => return Ok(Posted::Superseded),
            Some(record) => record,
            None => new_record(task, self.context.execution()),
        };
        if let Some(posted) = self.is_settled(post, record.state)? {
            return Ok(posted);
        }
        if record.state != post.status {
            let record = Record {
                state: post.status,
                time: ledger::now(),
                ..record
            };
            ledger::put(datastore, &task.task, &record).at_peer(DATASTORE)?;
        }
        post.sent = true;
        self.dashboard
            .post_task(task.job, &task.task, post.status, post.message, post.lab_token)
            .at_peer(DASHBOARD)?;
        Ok(Posted::Posted)
    }

    /// Remembers what was done although nobody is told: of a booking that is over only the ledger says what there may be
    /// to take back, and what has been.
    fn note(&self, post: &Post, posted: Posted) -> Result<Posted, Failure> {
        if post.status == 200 && matches!(posted, Posted::Superseded | Posted::Gone) {
            let (datastore, task) = (self.context.datastore()?, &post.task.task);
            let known = ledger::get(datastore, task).at_peer(DATASTORE)?;
            if let Some(record) = known.filter(|known| known.request(task) == post.task.request) {
                let record = Record { state: 200, ..record };
                ledger::put(datastore, task, &record).at_peer(DATASTORE)?;
            }
        }
        Ok(posted)
    }

    /// What the lists say about a task of which `state` was posted or at least begun to be posted.
    fn is_settled(&self, post: &Post, state: u16) -> Result<Option<Posted>, Failure> {
        if state < 100 {
            return Ok(None);
        }
        if self.is_listed(post.task, List::New)? {
            // Once it was under way only the dashboard can have put it back; a lost post of 100 is just repeated.
            let begun = state > 100 || post.status > 100;
            return Ok(begun.then_some(Posted::Superseded));
        }
        let settled = match post.status {
            100 => true,
            // What is proven done stays done, whatever fails afterwards.
            status => (state == status || state == 200) && !self.is_listed(post.task, List::Current)?,
        };
        let posted = if post.sent {
            Posted::Posted
        } else {
            Posted::Already
        };
        Ok(settled.then_some(posted))
    }

    /// Whether a task that can't be read is in any list. One at 300 is in none, but that could be read.
    fn exists(&self, task: &TaskRef) -> Result<bool, Failure> {
        for list in [List::New, List::Current, List::Done] {
            if self.is_listed(task, list)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_listed(&self, task: &TaskRef, list: List) -> Result<bool, Failure> {
        if let Some((_, tasks)) = self.lists.borrow().iter().find(|(known, _)| *known == list) {
            return Ok(tasks.contains(&task.task));
        }
        let jobs = self.dashboard.jobs(list).at_peer(DASHBOARD)?;
        let tasks: BTreeSet<_> = jobs
            .into_iter()
            .flat_map(|job| job.tasks)
            .map(|task| task.id)
            .collect();
        let listed = tasks.contains(&task.task);
        self.lists.borrow_mut().push((list, tasks));
        Ok(listed)
    }
}

/// The record of a task that the datastore has lost, or that a person posts by hand.
fn new_record(task: &TaskRef, execution: Option<String>) -> Record {
    let round = task.request.rsplit(':').next();
    Record {
        job: task.job,
        digest: task.digest.clone(),
        round: round.and_then(|round| round.parse().ok()).unwrap_or_default(),
        execution,
        time: ledger::now(),
        ..Record::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_is_begun_after_the_deadline() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let config = serde_json::from_value(json!({"address": address, "lab_name": "lab"})).unwrap();
        let token = laas_core::Secret::new("token");
        let poster = Poster {
            context: &Context::default(),
            dashboard: Dashboard::new(&config, &token, Duration::from_secs(1)).unwrap(),
            deadline: Deadline::after(Duration::ZERO),
            lists: RefCell::default(),
        };
        let task =
            json!({"job": 1, "task": "aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da", "digest": "", "request": ""});
        let task: TaskRef = serde_json::from_value(task).unwrap();
        let failure = poster.finish(&task, 100, "", None).unwrap_err();
        assert_eq!(
            (failure.kind, failure.peer.as_deref()),
            (Kind::Unreachable, Some(DASHBOARD))
        );
        assert!(failure.error.contains("no time was left"), "{failure}");
        let asked = listener.accept().map(drop).unwrap_err();
        assert_eq!(asked.kind(), std::io::ErrorKind::WouldBlock);
    }
}
