//! Says which tasks of a job have failed, of which host or user, and why: for the result of the job's workflow.

use crate::posting;
use crate::report_failure::{Told, reasons};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::json_arg::JsonArg;
use laas_core::ledger::Record;
use laas_core::names::TaskId;
use laas_core::{Failure, ledger};
use laas_dashboard::Work;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The job's id on the dashboard, e.g. 1.
    #[arg(long, value_name = "ID")]
    job_id: u64,
    /// The result of a step that failed for the whole job.
    #[arg(
        long,
        env = "LAAS_FAILURE",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    failure: JsonArg<Value>,
}

#[derive(Serialize)]
pub struct Output {
    /// A sentence each.
    failed: Vec<String>,
}

impl Action for Args {
    const NAME: &'static str = "failed_tasks";
    const ABOUT: &'static str = "Say which tasks of a job have failed, of which host or user, and why";
    const EXAMPLE: &'static [&'static str] = &["--job_id=17"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let datastore = context.datastore()?;
        let failure = self.failure.get("failure")?;
        let mut failed = match failure {
            Value::Null => Vec::new(),
            failure => reasons(&failure),
        };
        let known = ledger::all(datastore).at_peer("datastore")?;
        let known = known
            .into_iter()
            .filter(|(_, record)| record.job == self.job_id && record.state == 300);
        // What they are called is a help, not worth failing for.
        let kinds = kinds(self.job_id, context).unwrap_or_default();
        for (task, record) in known {
            let told: Option<Told> = datastore
                .get_record(&format!("told_{task}"))
                .at_peer("datastore")?;
            let said = told.filter(|told| told.request == record.request(&task));
            let said = said.map(|told| told.said.replace('\n', "; "));
            failed.push(sentence(kinds.get(&task).copied(), &record, said));
        }
        Ok(Output { failed })
    }
}

/// What sort of task each is.
fn kinds(job: u64, context: &Context) -> Result<BTreeMap<TaskId, &'static str>, Failure> {
    let dashboard = posting::connect(context)?;
    let tasks = dashboard.job(job).at_peer("dashboard")?;
    let kinds = tasks.into_iter().flatten().filter_map(|task| {
        let kind = match task.work {
            Work::Hardware { .. } => "hardware",
            Work::Network { .. } => "network",
            Work::Key { .. } => "SSH access",
            Work::Vpn { .. } => "VPN account",
            Work::Software(_) => "software",
            Work::Snapshot { .. } => "snapshot",
            Work::Unknown { .. } | Work::Malformed { .. } => return None,
        };
        Some((task.id, kind))
    });
    Ok(kinds.collect())
}

fn sentence(kind: Option<&str>, record: &Record, said: Option<String>) -> String {
    let about = match (&record.host, record.user) {
        (Some(host), _) => format!(" of {host}"),
        (None, Some(user)) => format!(" of user {user}"),
        (None, None) => String::new(),
    };
    let said = said.filter(|said| !said.is_empty());
    let said = said.as_deref().unwrap_or("its user was told why");
    // It begins with the host itself.
    let named = record.host.as_ref().map(|host| format!("{host}: "));
    let said = named.and_then(|name| said.strip_prefix(&name)).unwrap_or(said);
    format!("{}{about}: {said}", kind.unwrap_or("a task"))
}
