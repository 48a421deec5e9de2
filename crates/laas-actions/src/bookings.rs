//! Whose a host is. Asked before anything is done to it by hand, so that no tenant is hurt by mistake.

use crate::posting;
use laas_core::action::Context;
use laas_core::failure::{Context as _, chain};
use laas_core::{Failure, HostName, Kind, ledger};
use laas_dashboard::{Dashboard, DashboardError, Job, List, is_over};
use std::collections::BTreeSet;

const DASHBOARD: &str = "dashboard";
const DATASTORE: &str = "datastore";

/// The argument of every action that changes something under a tenant.
#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Guard {
    /// Do it although a booking has the host.
    #[arg(long)]
    booked: bool,
}

impl Guard {
    /// Refuses a host that a booking has, unless the operator has said that they know. A step of a workflow is not
    /// asked: the workflow has been, before its first step.
    ///
    /// # Errors
    /// A booking has the host, or nobody can say whether one has.
    pub fn check(&self, context: &Context, host: &HostName, request: Option<&str>) -> Result<(), Failure> {
        let is_step = || Ok::<_, Failure>(posting::workflow(context)? != context.execution());
        if self.booked || is_step()? {
            return Ok(());
        }
        check_free(context, host, request, None)
    }
}

/// Refuses a host that a booking has, other than that of `request`, which its ledger must know, or the ended one of the
/// job `ended`.
///
/// # Errors
/// A booking has the host, or nobody can say whether one has.
pub fn check_free(
    context: &Context,
    host: &HostName,
    request: Option<&str>,
    ended: Option<u64>,
) -> Result<(), Failure> {
    let ledger = ledger::all(context.datastore()?).at_peer(DATASTORE)?;
    let of_request = ledger
        .iter()
        .find(|(task, record)| !record.release && Some(record.request(task).as_str()) == request);
    let own = of_request.map(|(_, record)| record.job).or(ended);
    let on_host = ledger
        .iter()
        .filter(|(_, record)| record.host.as_ref() == Some(host));
    let jobs: BTreeSet<u64> = on_host.map(|(_, record)| record.job).collect();
    if let Some(job) = jobs.iter().find(|job| Some(**job) != own) {
        return Err(refusal(host, &format!("job {job} has it")));
    }
    // Without a dashboard there are no bookings but those that the ledger knows.
    if of_request.is_some() && !jobs.is_empty() || !context.config()?.has_dashboard() {
        return Ok(());
    }
    let dashboard = posting::connect(context)?;
    let tenant = match ended {
        None => booked(&dashboard, host),
        Some(job) => other_than(&dashboard, host, job),
    };
    match tenant {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(refusal(host, &why)),
        Err(error) => {
            let error = format!("nobody knows whether a booking has `{host}`: {}", chain(&error));
            Err(Failure::new(Kind::Unreachable, error)
                .hint("try again when the dashboard answers; `booked=true` does it whoever has the host")
                .peer(DASHBOARD)
                .host(host))
        }
    }
}

/// Why the host is booked, if it is.
fn booked(dashboard: &Dashboard, host: &HostName) -> Result<Option<String>, DashboardError> {
    let booked = dashboard.is_booked(host)?.unwrap_or(false);
    Ok(booked.then(|| "the dashboard says so".to_owned()))
}

/// Why the host is booked by another job than this one, or by this one still, if it is. The dashboard lets a host be
/// booked anew before everything of its last booking is taken back.
fn other_than(dashboard: &Dashboard, host: &HostName, job: u64) -> Result<Option<String>, DashboardError> {
    for list in [List::New, List::Current] {
        let has = |listed: &&Job| {
            let mut hosts = listed.tasks.iter().filter_map(|task| task.work.host());
            listed.id != job && hosts.any(|of| of == host)
        };
        if let Some(other) = dashboard.jobs(list)?.iter().find(has) {
            return Ok(Some(format!("job {} has it", other.id)));
        }
    }
    match dashboard.job(job)? {
        Some(tasks) if is_over(&tasks) => Ok(None),
        Some(_) => Ok(Some(format!("the booking of job {job} is not over"))),
        // It was deleted; whoever the dashboard gives the host to now is another.
        None => booked(dashboard, host),
    }
}

fn refusal(host: &HostName, why: &str) -> Failure {
    Failure::input(format!("`{host}` is booked: {why}; nothing was touched"))
        .hint("if its tenant knows, say `booked=true`")
        .host(host)
}
