//! Forgets a job whose booking is over and of which nothing is left.

use crate::posting;
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::ledger::Record;
use laas_core::names::TaskId;
use laas_core::{Failure, ledger};
use laas_dashboard::{Dashboard, List, is_over};
use serde::Serialize;
use std::collections::BTreeMap;

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
        let left = self.left(&dashboard, &known).at_peer("dashboard")?;
        let closed = left.is_empty();
        let mut forgotten = Vec::new();
        if closed {
            for task in known.into_keys() {
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
            forgotten,
        })
    }
}

impl Args {
    fn left(
        &self,
        dashboard: &Dashboard,
        known: &BTreeMap<TaskId, Record>,
    ) -> Result<BTreeMap<TaskId, String>, Failure> {
        let mut left = BTreeMap::new();
        for (list, how) in [(List::New, "new"), (List::Current, "under way")] {
            let jobs = dashboard.jobs(list)?.into_iter();
            for task in jobs.filter(|job| job.id == self.job_id).flat_map(|job| job.tasks) {
                left.insert(task.id, format!("{how} on the dashboard"));
            }
        }
        let all = dashboard.job(self.job_id)?;
        if let Some(all) = &all
            && !is_over(all)
        {
            let error = format!("the booking of job {} is not over", self.job_id);
            return Err(Failure::input(error));
        }
        for (task, record) in known {
            let about = match (&record.host, record.user) {
                (Some(host), _) => format!("host {host}"),
                (None, Some(user)) => format!("user {user}"),
                (None, None) => continue,
            };
            // Of a job that was deleted nothing but the ledger says what it had.
            if record.state != 200 && record.release || all.is_none() && !record.release {
                left.insert(task.clone(), format!("{about} is not proven to be taken back"));
            }
        }
        Ok(left)
    }
}
