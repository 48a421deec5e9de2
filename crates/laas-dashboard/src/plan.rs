//! What is to be done for a job, from its tasks and from what the lab remembers of them.
//!
//! A job whose booking runs is provisioned, see [`provision`]; one whose booking is over is released, see [`release`];
//! never both at once.

mod claim;
mod provision;
mod release;

use crate::job::{Part, Task, Work, powered};
use laas_core::ledger::Record;
use laas_core::names::TaskId;
use laas_core::{HostName, VlanId};
use provision::Sorted;
use release::Ended;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub use provision::{Cabling, Hardware, Host, Key, Network, Snapshot, Software, User};
pub use release::{HostTask, Release, ReleasedHost, ReleasedKey, ReleasedUser};

/// A task and the delta that is worked on. It travels through the workflow and back to where its end is posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRef {
    pub job: u64,
    pub task: TaskId,
    pub digest: String,
    /// What the work is called at the peers, see [`Record::request`].
    pub request: String,
}

/// All that a plan is made from.
#[derive(Clone, Debug, Default)]
pub struct Situation<'a> {
    pub job: u64,
    /// The job's tasks in `jobs/new`.
    pub new: Vec<Task>,
    /// The job's tasks in `jobs/current`.
    pub current: Vec<Task>,
    /// All tasks of the job, whatever their status. Of some, the dashboard shows the state of another day: it only
    /// says what there is. `None` if the dashboard has no such job any more.
    pub all: Option<Vec<Task>>,
    /// What the lab remembers of tasks of this job.
    pub known: BTreeMap<TaskId, Known>,
    /// Remembered tasks that the dashboard no longer has although the job is there.
    pub vanished: BTreeSet<TaskId>,
    /// What other jobs have to do with hosts.
    pub others: Vec<Other>,
    /// VLANs on which hosts can be reached.
    pub public: &'a [VlanId],
    /// The execution that will do the work.
    pub execution: Option<&'a str>,
    /// Seconds since 1970.
    pub now: u64,
}

impl Situation<'_> {
    /// Every task that anything says of the job; some of them twice.
    fn every_task(&self) -> impl Iterator<Item = &Task> {
        self.new
            .iter()
            .chain(&self.current)
            .chain(self.all.iter().flatten())
    }
}

/// What the lab remembers of a task.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub record: Option<Record>,
    /// Another execution that works on the task is still alive.
    pub busy: bool,
}

/// A host that another job has, or has not given back yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    pub host: HostName,
    pub job: u64,
    /// That job has written the host's disk: nothing is left there of anybody before.
    pub imaged: bool,
    /// That job has begun to work on the host.
    pub begun: bool,
}

/// A job, sorted by what kind of work its tasks are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    pub job: u64,
    /// All tasks that are worked on, also those that can only be refused.
    pub tasks: Vec<TaskRef>,
    pub hosts: Vec<Host>,
    pub users: Vec<User>,
    pub software: Vec<Software>,
    pub snapshots: Vec<Snapshot>,
    /// Set when the booking is over, and while it runs for hosts and users whose tasks the dashboard no longer has.
    pub release: Option<Release>,
    pub unsupported: Vec<Unsupported>,
    /// Tasks that another execution works on, or that wait for the rest of the job or for another job.
    pub skipped: Vec<TaskId>,
    /// Hosts that are waited for, because another job has not given them back.
    pub waiting: BTreeMap<HostName, u64>,
    /// What to remember before any work begins.
    #[serde(skip)]
    pub claims: BTreeMap<TaskId, Record>,
}

/// A task that the pack can't do, with what its user is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unsupported {
    #[serde(flatten)]
    pub task: TaskRef,
    /// `ended`, `unmade`, `unknown` or `malformed`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The message: always `unsupported`.
    pub event: &'static str,
    pub facts: Value,
}

/// The kind and the facts of [`Unsupported`].
type Refusal = (&'static str, Value);

/// Plans the job.
pub fn plan(situation: Situation<'_>) -> Plan {
    // A task can move on between the two lists; the later one is right.
    let mut tasks: BTreeMap<TaskId, (Task, bool)> = BTreeMap::new();
    for (list, is_new) in [(&situation.new, true), (&situation.current, false)] {
        tasks.extend(list.iter().map(|task| (task.id.clone(), (task.clone(), is_new))));
    }
    let listed = || tasks.values().map(|(task, _)| task);
    let powered = powered(listed().chain(situation.all.iter().flatten()));
    let mut every = listed().chain(situation.all.iter().flatten());
    let ended = every.any(|task| task.work.is_release(&powered));
    let deleted = situation.all.is_none() && tasks.is_empty();
    let mut draft = Draft::new(&situation);
    if ended || deleted {
        draft.hold_hosts(&powered);
        let mut over = Ended::default();
        for (id, (task, is_new)) in tasks {
            let work = task.work.clone();
            let is_held = work.host().is_some_and(|host| draft.held.contains(host));
            if is_held || release::waits(&work, &powered) || draft.is_busy(&id) {
                draft.plan.skipped.push(id);
                continue;
            }
            let task = draft.claim(&task, is_new, true);
            if let Err(refusal) = over.insert(task.clone(), work) {
                draft.refuse(task, refusal);
            }
        }
        draft.plan.release = Some(over.release(&mut draft, true));
    } else {
        let mut sorted = Sorted::default();
        // What a host is made by comes before what is given on it.
        let mut tasks: Vec<_> = tasks.into_iter().collect();
        tasks.sort_by_key(|(_, (task, _))| match task.makes() {
            Some((Part::Hardware, _)) => 0,
            Some((Part::Network, _)) => 1,
            None => 2,
        });
        for (id, (task, is_new)) in tasks {
            let unmade = draft.unmade_hosts(&task.work);
            if draft.is_busy(&id)
                || draft.waits_for_another(&task.work)
                || sorted.waits_for_its_turn(&task.work)
                || unmade.is_none()
            {
                draft.plan.skipped.push(id);
                continue;
            }
            let work = task.work.clone();
            let task = draft.claim(&task, is_new, false);
            if let Err(refusal) = sorted.insert(task.clone(), work, unmade.unwrap_or_default(), &situation) {
                draft.refuse(task, refusal);
            }
        }
        sorted.finish(&mut draft.plan);
        let vanished = Ended::default().release(&mut draft, false);
        draft.plan.release = (!vanished.hosts.is_empty() || !vanished.users.is_empty()).then_some(vanished);
    }
    draft.plan
}

/// How far a host is that the job asks for. The last one counts of what its tasks say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    /// Done, as the ledger proves, or part of this plan, whose workflow goes on with what has succeeded only.
    Made,
    /// Nobody is going to make it before its user or an operator asks for that again.
    Unmade,
    Awaited,
}

/// A plan that is being made.
struct Draft<'a> {
    situation: &'a Situation<'a>,
    /// All tasks that hosts are made by, whatever their status.
    makers: BTreeMap<HostName, BTreeMap<TaskId, Part>>,
    /// Hosts that are not released in this plan, because a part of their end is missing or somebody is at work there.
    held: BTreeSet<HostName>,
    plan: Plan,
}

impl<'a> Draft<'a> {
    fn new(situation: &'a Situation<'a>) -> Self {
        let mut makers: BTreeMap<HostName, BTreeMap<TaskId, Part>> = BTreeMap::new();
        for task in situation.every_task() {
            for (part, host) in task
                .makes()
                .into_iter()
                .flat_map(|(part, hosts)| hosts.into_iter().map(move |host| (part, host)))
            {
                makers.entry(host).or_default().insert(task.id.clone(), part);
            }
        }
        Self {
            situation,
            makers,
            held: BTreeSet::new(),
            plan: Plan {
                job: situation.job,
                tasks: Vec::new(),
                hosts: Vec::new(),
                users: Vec::new(),
                software: Vec::new(),
                snapshots: Vec::new(),
                release: None,
                unsupported: Vec::new(),
                skipped: Vec::new(),
                waiting: BTreeMap::new(),
                claims: BTreeMap::new(),
            },
        }
    }

    /// Finds the hosts whose release has to wait.
    fn hold_hosts(&mut self, powered: &BTreeSet<HostName>) {
        let mut held = BTreeSet::new();
        for task in self.situation.new.iter().chain(&self.situation.current) {
            if release::waits(&task.work, powered) {
                held.extend(task.work.host().cloned());
            }
        }
        for task in self.situation.every_task().filter(|task| self.is_busy(&task.id)) {
            match &task.work {
                Work::Key { hosts, .. } => held.extend(hosts.iter().cloned()),
                work => held.extend(work.host().cloned()),
            }
        }
        let known = self.situation.known.values().filter(|known| known.busy);
        held.extend(known.filter_map(|known| known.record.as_ref()?.host.clone()));
        self.held = held;
    }

    /// Of the hosts that the work is done on, those that this booking did not make: nobody is let in there. `None` if
    /// one is being made, so that the work has to wait.
    fn unmade_hosts(&self, work: &Work) -> Option<Vec<HostName>> {
        let (hosts, parts): (Vec<&HostName>, &[Part]) = match work {
            Work::Network { host, .. } => (vec![host], &[Part::Hardware]),
            Work::Snapshot { host, .. } => (vec![host], &Part::ALL),
            Work::Key { hosts, .. } => (hosts.iter().collect(), &Part::ALL),
            Work::Software(Some(opnfv)) => (opnfv.roles.iter().map(|role| &role.host).collect(), &Part::ALL),
            _ => return Some(Vec::new()),
        };
        let mut unmade = Vec::new();
        for host in hosts {
            match self.progress(host, parts) {
                Progress::Made => {}
                Progress::Unmade => unmade.push(host.clone()),
                Progress::Awaited => return None,
            }
        }
        Some(unmade)
    }

    fn progress(&self, host: &HostName, parts: &[Part]) -> Progress {
        let makers = self.makers.get(host).into_iter().flatten();
        let makers: Vec<_> = makers.filter(|(_, part)| parts.contains(part)).collect();
        if makers.iter().all(|(_, part)| **part != Part::Hardware) {
            return Progress::Unmade;
        }
        let of_tasks = makers.into_iter().map(|(task, _)| self.progress_of_task(task));
        of_tasks.max().unwrap_or(Progress::Unmade)
    }

    fn progress_of_task(&self, task: &TaskId) -> Progress {
        let lists = [&self.situation.new, &self.situation.current];
        if lists.into_iter().flatten().any(|listed| listed.id == *task) {
            let is_refused = || {
                self.plan
                    .unsupported
                    .iter()
                    .any(|refused| refused.task.task == *task)
            };
            return match self.plan.claims.contains_key(task) {
                true if is_refused() => Progress::Unmade,
                true => Progress::Made,
                false => Progress::Awaited,
            };
        }
        let Some(Known { record, busy }) = self.situation.known.get(task) else {
            return Progress::Unmade;
        };
        match record {
            None => Progress::Unmade,
            Some(record) if record.release => Progress::Unmade,
            Some(record) => match record.state {
                200 => Progress::Made,
                300 if !busy => Progress::Unmade,
                _ => Progress::Awaited,
            },
        }
    }

    fn is_busy(&self, task: &TaskId) -> bool {
        self.situation.known.get(task).is_some_and(|known| known.busy)
    }

    /// Whether the work is on a host that another job has not given back: it must not be imaged, cabled or opened as
    /// long as anything of that job is unproven.
    fn waits_for_another(&mut self, work: &Work) -> bool {
        let hosts: Vec<&HostName> = match work {
            Work::Key { hosts, .. } => hosts.iter().collect(),
            Work::Software(Some(opnfv)) => opnfv.roles.iter().map(|role| &role.host).collect(),
            other => other.host().into_iter().collect(),
        };
        let mut waits = false;
        for other in &self.situation.others {
            if hosts.contains(&&other.host) {
                self.plan.waiting.insert(other.host.clone(), other.job);
                waits = true;
            }
        }
        waits
    }

    /// Takes the task as ours, and gives what it is called from now on.
    fn claim(&mut self, task: &Task, is_new: bool, release: bool) -> TaskRef {
        let known = self.situation.known.get(&task.id);
        let record = known.and_then(|known| known.record.clone());
        let record = claim::claim(self.situation, task, is_new, release, record);
        self.take(task.id.clone(), record)
    }

    fn take(&mut self, task: TaskId, record: Record) -> TaskRef {
        let task_ref = self.remember(task, record);
        self.plan.tasks.push(task_ref.clone());
        task_ref
    }

    fn remember(&mut self, task: TaskId, record: Record) -> TaskRef {
        let task_ref = TaskRef {
            job: self.situation.job,
            task: task.clone(),
            digest: record.digest.clone(),
            request: record.request(&task),
        };
        self.plan.claims.insert(task, record);
        task_ref
    }

    fn refuse(&mut self, task: TaskRef, (kind, facts): Refusal) {
        // What was given before is taken back all the same, by what the lab remembers of it.
        if let Some(record) = self.plan.claims.get_mut(&task.task)
            && (kind == "ended" || !record.given)
        {
            record.release = false;
        }
        self.plan.unsupported.push(Unsupported {
            task,
            kind,
            event: "unsupported",
            facts,
        });
    }
}
