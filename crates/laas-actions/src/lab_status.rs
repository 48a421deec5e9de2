//! How every host stands, from everybody who knows something of it; a peer that is down costs its own cells only.

mod ask;
mod rows;

use crate::side_by_side;
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::inventory::{self, Host};
use laas_core::{Failure, HostName, parallel};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const DATASTORE: &str = "datastore";
/// Of a person's patience: what is not known by then is not shown.
const LIMIT: Duration = Duration::from_secs(12);
/// One exchange with one peer.
const CALL: Duration = Duration::from_secs(6);
/// Reads of the datastore side by side.
const AT_ONCE: u64 = 8;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// Show this host only, e.g. pod1.
    #[arg(long, value_name = "HOST")]
    host: Option<HostName>,
}

#[derive(Serialize)]
pub struct Output {
    hosts: Vec<Row>,
    /// Work that has not come to its end and is about no host, or about one that is not shown.
    unfinished: Cell<Vec<Unfinished>>,
}

/// What is known of one thing, or why it is not known.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell<T> {
    Value(T),
    Error(String),
}

#[derive(Serialize)]
pub struct Row {
    host: HostName,
    /// `null`: the dashboard does not know the host.
    booked: Cell<Option<bool>>,
    /// The dashboard's unfinished tasks for it.
    jobs: Cell<Vec<Task>>,
    power: Cell<String>,
    /// The last deploy; `null` if none is remembered.
    image: Cell<Option<Image>>,
    ports: Cell<Vec<Port>>,
    access: Cell<Access>,
    unfinished: Cell<Vec<Unfinished>>,
    last_error: Cell<Option<String>>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Task {
    job: u64,
    what: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub struct Image {
    id: Value,
    /// What the inventory says that it holds.
    system: Option<&'static str>,
    /// `starting`, `running` or `done`.
    state: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Port {
    interface: String,
    switch: String,
    port: String,
    /// What is configured on it.
    carries: Cell<String>,
}

/// Who may be on the host.
#[derive(Clone, Debug, Serialize)]
pub struct Access {
    /// The tenant's account on the BMC, if it has one.
    bmc_user: Option<String>,
    /// The host's own SSH key, which is known from its deploy on.
    ssh_host_key: Option<String>,
}

/// A task that has not come to its end, by the ledger.
#[derive(Clone, Debug, Serialize)]
pub struct Unfinished {
    task: String,
    job: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<HostName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<u64>,
    /// 0 planned, 100 begun, 300 failed.
    state: u16,
    /// A failed release, which is tried again.
    tried_again: bool,
    /// Seconds since 1970.
    time: u64,
}

impl Action for Args {
    const NAME: &'static str = "lab_status";
    const ABOUT: &'static str = "Show how every host stands: booking, power, image, ports, access, unfinished work and the last error";
    const EXAMPLE: &'static [&'static str] = &["--host=pod1"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let datastore = context.datastore()?;
        let mut names = inventory::names(datastore).at_peer(DATASTORE)?;
        if let Some(host) = &self.host {
            if !names.contains(host) {
                let error = format!("host `{host}` is not in the datastore's list `hosts`");
                return Err(Failure::input(error).host(host));
            }
            names.retain(|name| name == host);
        }
        // An entry that can't be used makes a row of errors and hides no other host.
        let entries = parallel::map(&names, AT_ONCE, |name| Host::load(datastore, name));
        let entries: Vec<(HostName, Result<Host, String>)> = names
            .into_iter()
            .zip(entries)
            .map(|(name, entry)| (name, entry.map_err(|error| Failure::from(error).error)))
            .collect();
        let config = context.config().cloned().map_err(|failure| failure.error);
        let lab = Arc::new(ask::Lab {
            call: config
                .as_ref()
                .map_or(CALL, |config| config.timing.call().min(CALL)),
            config,
            datastore: datastore.clone(),
            entries,
        });
        let (jobs, addresses) = ask::jobs(&lab);
        let jobs = jobs;
        let answers = side_by_side::all(LIMIT, jobs);
        let output = rows::of(&lab, answers, &addresses);
        rows::print(&output);
        Ok(output)
    }
}

impl<T> Cell<T> {
    /// Nothing was heard in time.
    fn late() -> Self {
        Self::Error(format!("no answer within {} s", LIMIT.as_secs()))
    }

    fn map<U>(self, change: impl FnOnce(T) -> U) -> Cell<U> {
        match self {
            Self::Value(value) => Cell::Value(change(value)),
            Self::Error(error) => Cell::Error(error),
        }
    }
}

impl<T, E: Into<Failure>> From<Result<T, E>> for Cell<T> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::Value(value),
            Err(error) => Self::Error(error.into().error),
        }
    }
}
