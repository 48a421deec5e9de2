//! All checks side by side, none of which can hold up the others or the end.

use super::{Finding, NotProven};
use crate::side_by_side::{self, Job};
use laas_core::Failure;
use std::collections::BTreeMap;
use std::time::Duration;

/// What checks have to say.
#[derive(Debug, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
    pub not_proven: Vec<NotProven>,
    pub versions: BTreeMap<String, String>,
}

impl Report {
    pub fn find(&mut self, peer: &str, host: Option<&str>, what: impl Into<String>, hint: impl Into<String>) {
        self.findings.push(Finding {
            peer: peer.to_owned(),
            host: host.map(str::to_owned),
            what: what.into(),
            hint: hint.into(),
        });
    }

    /// A failure as any action would end with.
    pub fn failed(&mut self, peer: &str, failure: impl Into<Failure>) {
        self.failed_for(peer, None, failure);
    }

    pub fn failed_for(&mut self, peer: &str, host: Option<&str>, failure: impl Into<Failure>) {
        let failure = failure.into();
        let host = host.map(str::to_owned).or(failure.host);
        let hint = failure.hint.unwrap_or_else(|| usual(peer).to_owned());
        let peer = failure.peer.unwrap_or_else(|| peer.to_owned());
        self.find(&peer, host.as_deref(), failure.error, hint);
    }

    pub fn not_proven(&mut self, peer: &str, what: impl Into<String>, hint: impl Into<String>) {
        self.not_proven.push(NotProven {
            peer: peer.to_owned(),
            what: what.into(),
            hint: hint.into(),
        });
    }

    pub fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.not_proven.extend(other.not_proven);
        self.versions.extend(other.versions);
    }
}

/// What helps where the failure itself knows nothing better.
fn usual(peer: &str) -> &'static str {
    match peer {
        "fog" => "is FOG's web server up, and `fog.address` right?",
        "dashboard" => "is the dashboard up, and `dashboard.address` right?",
        "ldap" => "is the directory up, and `vpn.server` right?",
        "bot" => "is the bot up, and `bot.address` right? Nothing but its messages depends on it",
        "switch" => "is the switch up, and does its management network reach this machine?",
        "bmc" => {
            "is the BMC up, and `bmc` of the host right? `ipmitool -I lanplus -H … chassis status` asks it by hand"
        }
        "datastore" => "is the engine's API up (`st2ctl status`), and its token good?",
        _ => "compare it with `config.schema.yaml` and `laas.yaml.example` of the pack",
    }
}

/// One thing to look at, and about whom it is.
pub struct Check {
    peer: &'static str,
    host: Option<String>,
    look: Box<dyn FnOnce(&mut Report) + Send>,
}

impl Check {
    pub fn new(
        peer: &'static str,
        host: Option<&str>,
        look: impl FnOnce(&mut Report) + Send + 'static,
    ) -> Self {
        Self {
            peer,
            host: host.map(str::to_owned),
            look: Box::new(look),
        }
    }
}

/// Makes all checks; one that has not come to its end in time is a finding.
pub fn make(limit: Duration, checks: Vec<Check>) -> Report {
    let (about, jobs): (Vec<_>, Vec<_>) = checks
        .into_iter()
        .map(|Check { peer, host, look }| {
            let job = || {
                let mut report = Report::default();
                look(&mut report);
                report
            };
            ((peer, host), Box::new(job) as Job<Report>)
        })
        .unzip();
    let mut whole = Report::default();
    for ((peer, host), report) in about.into_iter().zip(side_by_side::all(limit, jobs)) {
        match report {
            Some(report) => whole.add(report),
            None => {
                let what = format!("it was not looked at to the end within {} s", limit.as_secs());
                whole.find(peer, host.as_deref(), what, usual(peer));
            }
        }
    }
    whole
}
