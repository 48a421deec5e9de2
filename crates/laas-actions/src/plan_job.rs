//! Reads a job of the dashboard and says what is to be done for it.

use crate::posting;
use laas_core::action::{Action, Context};
use laas_core::engine;
use laas_core::failure::Context as _;
use laas_core::wait::Deadline;
use laas_core::{Failure, ledger, lock};
use laas_dashboard::{Known, List, Plan, Task};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The job's id on the dashboard, e.g. 1.
    #[arg(long = "job_id", value_name = "ID")]
    job_id: u64,
    /// Show the plan and claim nothing.
    #[arg(long = "dry_run")]
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

/// What the workflow needs of the configuration, which it can't see itself.
#[derive(Serialize)]
pub struct Settings {
    concurrency: u64,
    retries: u64,
    retry_delay: u64,
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
        let read = |list| -> Result<Vec<Task>, Failure> {
            let jobs = dashboard.jobs(list).at_peer("dashboard")?;
            let ours = jobs.into_iter().filter(|job| job.id == self.job_id);
            Ok(ours.flat_map(|job| job.tasks).collect())
        };
        let new = read(List::New)?;
        let current = read(List::Current)?;
        let execution = posting::workflow(context)?;
        let mut known = BTreeMap::new();
        for task in new.iter().chain(&current) {
            let record = ledger::get(datastore, &task.id).at_peer("datastore")?;
            let other = record.as_ref().and_then(|r| r.execution.as_deref());
            let busy = match other.filter(|other| execution.as_deref() != Some(*other)) {
                Some(other) => {
                    let status = datastore.execution_status(other).at_peer("datastore")?;
                    status.is_some_and(|status| engine::is_live(&status))
                }
                None => false,
            };
            known.insert(task.id.clone(), Known { record, busy });
        }
        let public = &config.networks.public;
        let now = ledger::now();
        let plan = laas_dashboard::plan(
            self.job_id,
            new,
            current,
            &known,
            public,
            execution.as_deref(),
            now,
        );
        let mut changed = false;
        for (task, record) in &plan.claims {
            let before = known.get(task).and_then(|k| k.record.as_ref());
            if before != Some(record) {
                changed = true;
                if !self.dry_run {
                    ledger::put(datastore, task, record).at_peer("datastore")?;
                }
            }
        }
        let settings = Settings {
            concurrency: config.timing.concurrency,
            retries: config.timing.retries,
            retry_delay: config.timing.retry_delay,
        };
        Ok(Output {
            changed,
            settings,
            plan,
        })
    }
}
