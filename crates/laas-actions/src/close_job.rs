//! Forgets a job whose booking is over and of which nothing is left.

use crate::posting;
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::ledger::Record;
use laas_core::names::TaskId;
use laas_core::{Failure, ledger};
use laas_dashboard::{Dashboard, List, Work, is_over};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

const UNPROVEN: &str = "is not proven to be taken back";

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The job's id on the dashboard, e.g. 1.
    #[arg(long, value_name = "ID")]
    job_id: u64,
    /// Show what would be forgotten and forget nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    /// Whether nothing is left of the job.
    closed: bool,
    /// Why not: what is not proven to be taken back, by task.
    left: BTreeMap<TaskId, String>,
    /// What the operators have to look at, since no release has begun with it.
    unclaimed: Option<String>,
    /// The tasks that are not remembered any more.
    forgotten: Vec<TaskId>,
}

impl Action for Args {
    const NAME: &'static str = "close_job";
    const ABOUT: &'static str =
        "Forget a job whose booking is over, if everything that it gave is taken back";
    const EXAMPLE: &'static [&'static str] = &["--job_id=17"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let datastore = context.datastore()?;
        let dashboard = posting::connect(context)?;
        let known = ledger::all(datastore).at_peer("datastore")?;
        let known: BTreeMap<TaskId, Record> = known
            .into_iter()
            .filter(|(_, record)| record.job == self.job_id)
            .collect();
        let unclaimed: BTreeSet<TaskId> = known
            .iter()
            .filter(|(_, record)| !record.release)
            .map(|(task, _)| task.clone())
            .collect();
        let (left, settled) = self.left(&dashboard, known).at_peer("dashboard")?;
        let closed = left.is_empty();
        // What is still in a list is not judged.
        let unclaimed: Vec<_> = left
            .iter()
            .filter(|(task, why)| unclaimed.contains(*task) && why.ends_with(UNPROVEN))
            .map(|(_, why)| why.as_str())
            .collect();
        let unclaimed = (!unclaimed.is_empty()).then(|| {
            let what = unclaimed.join(", ");
            format!(
                "job {} is over, and no release has begun with what it gave: {what}",
                self.job_id
            )
        });
        let mut forgotten = Vec::new();
        if closed {
            for task in settled {
                if !self.dry_run {
                    // The ledger's record last: as long as it is there, this is done again.
                    let told = format!("told_{task}");
                    datastore.delete(&told).at_peer("datastore")?;
                    ledger::remove(datastore, &task).at_peer("datastore")?;
                }
                forgotten.push(task);
            }
        }
        Ok(Output {
            changed: !forgotten.is_empty(),
            closed,
            left,
            unclaimed,
            forgotten,
        })
    }
}

impl Args {
    /// What is not taken back of the job, and the records that may go if that is nothing.
    fn left(
        &self,
        dashboard: &Dashboard,
        known: BTreeMap<TaskId, Record>,
    ) -> Result<(BTreeMap<TaskId, String>, BTreeSet<TaskId>), Failure> {
        let mut left = BTreeMap::new();
        let all = dashboard.job(self.job_id)?;
        let is_there = |id: &TaskId| all.iter().flatten().any(|task| task.id == *id);
        let is_over = all.as_ref().is_none_or(is_over);
        // While the booking runs, it may only have lost hosts of which nothing is left.
        let known = known
            .into_iter()
            .filter(|(task, record)| is_over || record.release && !is_there(task));
        let known: BTreeMap<TaskId, Record> = known.collect();
        if known.is_empty() && !is_over {
            let error = format!("the booking of job {} is not over", self.job_id);
            return Err(Failure::input(error));
        }
        for (list, how) in [(List::New, "new"), (List::Current, "under way")] {
            let jobs = dashboard.jobs(list)?.into_iter();
            let tasks = jobs.filter(|job| job.id == self.job_id).flat_map(|job| job.tasks);
            for task in tasks.filter(|_| is_over) {
                left.insert(task.id, format!("{how} on the dashboard"));
            }
        }
        for (task, record) in &known {
            let about = match (&record.host, record.user) {
                (Some(host), _) => format!("host {host}"),
                (None, Some(user)) => format!("user {user}"),
                (None, None) => continue,
            };
            let is_taken_back = match record.release {
                true => record.state == 200,
                // Keys and snapshots go with their hosts, of which the job has other tasks.
                false => all.iter().flatten().any(|there| {
                    there.id == *task
                        && (matches!(there.work, Work::Key { .. } | Work::Snapshot { .. })
                            || !record.has_given())
                }),
            };
            if !is_taken_back {
                left.insert(task.clone(), format!("{about} {UNPROVEN}"));
            }
        }
        Ok((left, known.into_keys().collect()))
    }
}
