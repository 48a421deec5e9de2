//! Looks at everything that a booking will need, and changes nothing.

mod directory;
mod executions;
mod fog;
mod hosts;
mod inventory;
mod machine;
mod peers;
mod rounds;

use crate::{side_by_side, table};
use laas_core::action::{Action, Context};
use laas_core::config::Config;
use laas_core::datastore::Datastore;
use laas_core::inventory::Host;
use laas_core::{Failure, Kind};
use rounds::{Check, Report};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nobody waits longer for a doctor; what has not answered by then is a finding.
const LIMIT: Duration = Duration::from_secs(17);
/// Of that, what the datastore may take, without which there is little to look at.
const DATASTORE_LIMIT: Duration = Duration::from_secs(7);
/// One exchange with one peer. A BMC that is silent takes ipmitool eight seconds.
const CALL: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {}

#[derive(Default, Serialize)]
pub struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    findings: Vec<Finding>,
    /// What can't be known without changing something.
    not_proven: Vec<NotProven>,
    versions: BTreeMap<String, String>,
    /// How much was looked at.
    checks: usize,
    hosts: usize,
}

/// Something that will make a booking fail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// `config`, `datastore`, `machine`, `engine`, `dns`, `fog`, `dashboard`, `ldap`, `bot`, `switch` or `bmc`.
    peer: String,
    /// The hosts that it is about, if it is not about all of them.
    host: Option<String>,
    what: String,
    hint: String,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NotProven {
    peer: String,
    what: String,
    hint: String,
}

/// What the checks have in common.
struct Lab {
    config: Config,
    hosts: Vec<Host>,
    entries: inventory::Entries,
    call: Duration,
}

impl Action for Args {
    const NAME: &'static str = "doctor";
    const ABOUT: &'static str = "Look at every peer, every credential and every host, and say what is wrong and what to do; changes nothing";
    const EXAMPLE: &'static [&'static str] = &[];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let begun = Instant::now();
        let mut report = Report::default();
        let config = context.config().cloned();
        let datastore = context.datastore().cloned();
        let engine = datastore.as_ref().ok().and_then(Datastore::engine);
        let entries = match datastore {
            Ok(datastore) => ask(datastore, config.as_ref().ok(), &mut report),
            Err(failure) => {
                report.failed("datastore", failure);
                None
            }
        };
        let hosts = entries.as_ref().map_or_else(Vec::new, |entries| entries.hosts());
        let count = hosts.len();
        if let Some(entries) = &entries {
            report.add(entries.judge());
        }
        let mut checks = match config {
            Ok(config) => {
                report.add(machine::of_config(&config));
                let call = config.timing.call().min(CALL);
                let lab = Lab {
                    config,
                    hosts,
                    entries: entries.unwrap_or_default(),
                    call,
                };
                checks(&Arc::new(lab))
            }
            Err(failure) => {
                report.failed("config", failure);
                Vec::new()
            }
        };
        checks.extend(engine.map(executions::check));
        let asked = checks.len();
        report.add(rounds::make(LIMIT.saturating_sub(begun.elapsed()), checks));
        Ok(output(report, asked, count))
    }

    fn verdict(output: &Output) -> Option<Kind> {
        output.error.is_some().then_some(Kind::Refused)
    }
}

/// The datastore's entries; `None` if it can't be read, which is a finding.
fn ask(datastore: Datastore, config: Option<&Config>, report: &mut Report) -> Option<inventory::Entries> {
    // On a thread that nobody waits for to its end: a connection may hang for longer than there is time.
    let wants_token = config.is_none_or(|config| config.dashboard().is_ok());
    let read = side_by_side::within(DATASTORE_LIMIT, move || {
        inventory::Entries::read(&datastore, wants_token)
    });
    match read {
        Some(Ok(entries)) => Some(entries),
        Some(Err(failure)) => {
            report.failed("datastore", failure);
            None
        }
        None => {
            let what = format!(
                "the datastore did not answer within {} s",
                DATASTORE_LIMIT.as_secs()
            );
            report.find(
                "datastore",
                None,
                what,
                "is the engine's API up (`st2ctl status`)?",
            );
            None
        }
    }
}

fn checks(lab: &Arc<Lab>) -> Vec<Check> {
    let mut checks = machine::checks(lab);
    checks.extend(fog::checks(lab));
    checks.extend(peers::checks(lab));
    checks.extend(directory::checks(lab));
    checks.extend(hosts::checks(lab));
    checks
}

fn output(report: Report, checks: usize, hosts: usize) -> Output {
    let Report {
        mut findings,
        mut not_proven,
        versions,
    } = report;
    findings.sort();
    findings.dedup();
    not_proven.sort();
    let row = |f: &Finding| {
        let host = f.host.clone().unwrap_or_else(|| "-".to_owned());
        [f.peer.clone(), host, f.what.clone(), f.hint.clone()]
    };
    table::print(["PEER", "HOST", "WHAT", "HINT"], findings.iter().map(row));
    let error = match findings.len() {
        0 => None,
        1 => Some("the doctor has 1 finding".to_owned()),
        many => Some(format!("the doctor has {many} findings")),
    };
    Output {
        error,
        hint: findings.first().map(|finding| finding.hint.clone()),
        findings,
        not_proven,
        versions,
        checks,
        hosts,
    }
}
