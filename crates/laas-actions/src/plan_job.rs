//! Reads a job of the dashboard and says what is to be done for it.

use crate::posting;
use crate::settings::Settings;
use laas_core::action::{Action, Context};
use laas_core::engine;
use laas_core::failure::Context as _;
use laas_core::ledger::Record;
use laas_core::names::TaskId;
use laas_core::wait::{Backoff, Deadline, Ended};
use laas_core::{Failure, HostName, Kind, ledger, lock};
use laas_dashboard::{
    Dashboard, DashboardError, Job, Known, List, Other, Plan, Situation, Task, Work, is_over, powered,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const DASHBOARD: &str = "dashboard";
const DATASTORE: &str = "datastore";
/// So long a job that the dashboard answers HTTP 500 for is looked for.
const LOOK_FOR_A_JOB: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The job's id on the dashboard, e.g. 1.
    #[arg(long, value_name = "ID")]
    job_id: u64,
    /// Take up the tasks that have ended with 300, too.
    #[arg(long)]
    resume: bool,
    /// Fail if the job's booking is not over.
    #[arg(long)]
    release: bool,
    /// Show the plan and claim nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
pub struct Output {
    /// Whether a task was claimed that this execution did not have before.
    changed: bool,
    settings: Settings,
    #[serde(flatten)]
    plan: Plan,
}

impl Action for Args {
    const NAME: &'static str = "plan_job";
    const ABOUT: &'static str = "Say what is to be done for a job of the dashboard, and claim its tasks";
    const EXAMPLE: &'static [&'static str] = &["--job_id=17", "--dry_run"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let config = context.config()?;
        let datastore = context.datastore()?;
        let dashboard = posting::connect(context)?;
        // Two executions that were started for the same job must not both find its tasks unclaimed.
        let deadline = Deadline::after(config.timing.call());
        let _lock = lock::acquire(&format!("job_{}", self.job_id), &deadline)?;
        let [new, current] = [List::New, List::Current].map(|list| dashboard.jobs(list).at_peer(DASHBOARD));
        let (new, current) = (new?, current?);
        let ledger = ledger::all(datastore).at_peer(DATASTORE)?;
        let execution = posting::workflow(context)?;
        let others = others(self.job_id, &ledger, new.iter().chain(&current));
        let known = self.known(context, ledger, execution.as_deref())?;
        let mut situation = Situation {
            job: self.job_id,
            all: self.find(&dashboard, &known).at_peer(DASHBOARD)?,
            known,
            vanished: BTreeSet::new(),
            others,
            new: self.ours(new),
            current: self.ours(current),
            public: &config.networks.public,
            execution: execution.as_deref(),
            now: ledger::now(),
        };
        if situation.all.is_none() && situation.known.is_empty() {
            return Err(
                Failure::input(format!("the dashboard has no job {}", self.job_id))
                    .hint("a job has another number than its booking")
                    .peer(DASHBOARD),
            );
        }
        self.read_whole_end(&dashboard, &mut situation)
            .at_peer(DASHBOARD)?;
        situation.vanished = self.vanished(&dashboard, &situation)?;
        self.take_up(&dashboard, &mut situation)?;
        let known = situation.known.clone();
        let plan = laas_dashboard::plan(situation);
        if self.release && !plan.release.as_ref().is_some_and(|release| release.over) {
            let error = format!("the booking of job {} is not over", self.job_id);
            return Err(Failure::input(error)
                .hint("end it on the dashboard first")
                .peer(DASHBOARD));
        }
        let mut changed = false;
        for (task, record) in &plan.claims {
            let before = known.get(task).and_then(|k| k.record.as_ref());
            if before != Some(record) {
                changed = true;
                if !self.dry_run {
                    ledger::put(datastore, task, record).at_peer(DATASTORE)?;
                }
            }
        }
        Ok(Output {
            changed,
            settings: Settings::of(config),
            plan,
        })
    }
}

impl Args {
    fn ours(&self, jobs: Vec<Job>) -> Vec<Task> {
        let ours = jobs.into_iter().filter(|job| job.id == self.job_id);
        ours.flat_map(|job| job.tasks).collect()
    }

    /// What is remembered of the job's tasks, and which of them another execution is at.
    fn known(
        &self,
        context: &Context,
        ledger: Vec<(TaskId, Record)>,
        execution: Option<&str>,
    ) -> Result<BTreeMap<TaskId, Known>, Failure> {
        let mut live: BTreeMap<String, bool> = BTreeMap::new();
        let mut known = BTreeMap::new();
        for (task, record) in ledger.into_iter().filter(|(_, record)| record.job == self.job_id) {
            let other = record
                .execution
                .as_deref()
                .filter(|other| execution != Some(*other));
            let busy = match other {
                None => false,
                Some(other) => match live.get(other) {
                    Some(live) => *live,
                    None => {
                        let status = context.datastore()?.execution_status(other).at_peer(DATASTORE)?;
                        let is_live = status.is_some_and(|status| engine::is_live(&status));
                        live.insert(other.to_owned(), is_live);
                        is_live
                    }
                },
            };
            let record = Some(record);
            known.insert(task, Known { record, busy });
        }
        Ok(known)
    }

    /// Of a job whose booking is over the dashboard changes one task after the other: it is read again until all of its
    /// end is there.
    fn read_whole_end(&self, dashboard: &Dashboard, situation: &mut Situation) -> Result<(), DashboardError> {
        let deadline = Deadline::after(LOOK_FOR_A_JOB);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));
        while let Some(all) = &situation.all {
            if !is_over(situation.new.iter().chain(&situation.current).chain(all)) {
                break;
            }
            let is_whole = is_wholly_over(all);
            if !is_whole && backoff.pause(&deadline).is_err() {
                break;
            }
            // After the job, so that nothing of what it shows is missing in them.
            situation.new = self.ours(dashboard.jobs(List::New)?);
            situation.current = self.ours(dashboard.jobs(List::Current)?);
            if is_whole {
                break;
            }
            if let Some(all) = dashboard.job(self.job_id)? {
                situation.all = Some(all);
            }
        }
        Ok(())
    }

    /// The remembered tasks that are not in the job any more, nor anywhere else: HTTP 500 has many reasons, a job that
    /// is shown without the task has one.
    fn vanished(&self, dashboard: &Dashboard, situation: &Situation) -> Result<BTreeSet<TaskId>, Failure> {
        let Some(all) = &situation.all else {
            return Ok(BTreeSet::new());
        };
        let there = || situation.new.iter().chain(&situation.current).chain(all);
        let mut vanished = BTreeSet::new();
        for task in situation.known.keys() {
            if there().any(|there| there.id == *task) {
                continue;
            }
            match dashboard.task(self.job_id, task) {
                Err(DashboardError::Answer { status: 500, .. }) => {
                    vanished.insert(task.clone());
                }
                Err(error) => return Err(error).at_peer(DASHBOARD),
                Ok(_) => {}
            }
        }
        Ok(vanished)
    }

    /// Takes tasks for current ones that are in no list of the dashboard: those that have failed, to resume them, and
    /// what is undone or untrue once a host gets an image or networks. The dashboard gives that out anew with the image,
    /// but a post that was on its way may have closed it again. Of a booking that is over, the SSH tasks, which the
    /// dashboard leaves as they were: their users would read for ever that their keys open something.
    fn take_up(&self, dashboard: &Dashboard, situation: &mut Situation) -> Result<(), Failure> {
        let Some(all) = situation.all.clone() else {
            return Ok(());
        };
        let record = |task: &Task| {
            let known = situation.known.get(&task.id);
            known.and_then(|known| known.record.as_ref())
        };
        if is_over(&all) {
            let is_open = |task: &&Task| {
                matches!(task.work, Work::Key { .. })
                    && record(task).is_some_and(|r| !r.release || r.state != 200)
            };
            for task in all.iter().filter(is_open).collect::<Vec<_>>() {
                // The rest of the booking is taken back nevertheless, and with its hosts this access.
                if let Err(failure) = self.take_up_this(dashboard, situation, task) {
                    tracing::warn!(task = %task.id, error = failure.error, "the task can't be read");
                }
            }
            return Ok(());
        }
        let has_failed =
            |task: &&Task| record(task).is_some_and(|record| record.state == 300 && !record.release);
        let failed = all.iter().filter(|task| self.resume && has_failed(task));
        for task in failed.collect::<Vec<_>>() {
            self.take_up_this(dashboard, situation, task)?;
        }
        let hardware = |work: &Work| matches!(work, Work::Hardware { .. });
        let imaged = hosts_of(situation, hardware);
        for task in &all {
            if matches!(&task.work, Work::Network { host, .. } if imaged.contains(host)) {
                self.take_up_this(dashboard, situation, task)?;
            }
        }
        let makes = |work: &Work| matches!(work, Work::Hardware { .. } | Work::Network { .. });
        let changed = hosts_of(situation, makes);
        for task in &all {
            if matches!(&task.work, Work::Key { hosts, .. } if hosts.iter().any(|host| changed.contains(host)))
            {
                self.take_up_this(dashboard, situation, task)?;
            }
        }
        Ok(())
    }

    fn take_up_this(
        &self,
        dashboard: &Dashboard,
        situation: &mut Situation,
        task: &Task,
    ) -> Result<(), Failure> {
        let mut listed = situation.new.iter().chain(&situation.current);
        if listed.all(|listed| listed.id != task.id) {
            let delta = dashboard.task(self.job_id, &task.id).at_peer(DASHBOARD)?;
            situation.current.push(task.with_delta(delta));
        }
        Ok(())
    }

    /// All tasks of the job; nothing if the job was deleted. For that the dashboard has nothing but HTTP 500, as for
    /// much else that passes: it is believed when no list has the job and none of its tasks can be read either.
    fn find(
        &self,
        dashboard: &Dashboard,
        known: &BTreeMap<TaskId, Known>,
    ) -> Result<Option<Vec<Task>>, Failure> {
        let unclear = || {
            let error = format!("the dashboard has job {} and does not show it", self.job_id);
            Failure::new(Kind::Unreachable, error)
        };
        let deadline = Deadline::after(LOOK_FOR_A_JOB);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));
        loop {
            if let Some(tasks) = dashboard.job(self.job_id)? {
                return Ok(Some(tasks));
            }
            match backoff.pause(&deadline) {
                Ok(()) => {}
                Err(Ended::Deadline) => break,
                Err(Ended::Cancelled) => return Err(unclear()),
            }
        }
        for list in [List::New, List::Current, List::Done] {
            if dashboard.jobs(list)?.iter().any(|job| job.id == self.job_id) {
                return Err(unclear());
            }
        }
        for task in known.keys() {
            match dashboard.task(self.job_id, task) {
                Err(DashboardError::Answer { status: 500, .. }) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Err(unclear()),
            }
        }
        Ok(None)
    }
}

/// The hosts of those tasks in the dashboard's lists that are such work.
fn hosts_of(situation: &Situation<'_>, is_such: impl Fn(&Work) -> bool) -> BTreeSet<HostName> {
    let listed = situation.new.iter().chain(&situation.current);
    let such = listed.filter(|task| is_such(&task.work));
    such.filter_map(|task| task.work.host().cloned()).collect()
}

/// Whether none of these tasks is as it was while the booking ran.
fn is_wholly_over(tasks: &[Task]) -> bool {
    let powered = powered(tasks);
    let mut changed = tasks.iter().filter(|task| {
        matches!(
            task.work,
            Work::Hardware { .. } | Work::Network { .. } | Work::Vpn { .. }
        )
    });
    changed.all(|task| task.work.is_release(&powered))
}

/// The hosts that other jobs have: as the ledger says, and as their tasks say that are to take them back.
fn others<'a>(job: u64, ledger: &[(TaskId, Record)], listed: impl Iterator<Item = &'a Job>) -> Vec<Other> {
    let mut others: BTreeMap<(u64, HostName), Other> = BTreeMap::new();
    let mut note = |of: u64, host: &HostName, begun: bool, imaged: bool| {
        let key = (of, host.clone());
        let other = others.entry(key).or_insert_with(|| Other {
            host: host.clone(),
            job: of,
            imaged: false,
            begun: false,
        });
        other.begun |= begun;
        other.imaged |= imaged;
    };
    for (_, record) in ledger.iter().filter(|(_, record)| record.job != job) {
        if let Some(host) = &record.host {
            // What has failed is not at work any more, and what was refused never was.
            let imaged = !record.release && record.state == 200;
            let begun = imaged || !record.release && record.state == 100;
            note(record.job, host, begun, imaged);
        }
    }
    for listed in listed.filter(|listed| listed.id != job) {
        for host in listed.returned_hosts() {
            note(listed.id, &host, false, false);
        }
    }
    others.into_values().collect()
}
