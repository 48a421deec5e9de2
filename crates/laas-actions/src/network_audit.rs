//! Compares the switch ports of all hosts with what the dashboard's bookings say, and repairs them on demand.

use crate::hosts::{self, Failed};
use crate::posting;
use crate::switches::{self, Read, Socket, Switched, Work};
use laas_core::action::{Action, Context};
use laas_core::engine;
use laas_core::failure::Context as _;
use laas_core::json_arg::JsonArg;
use laas_core::names::TaskId;
use laas_core::{Failure, HostName, ledger};
use laas_dashboard::{Carried, Dashboard, carried};
use laas_switch::{Difference, Port, Rules, Wish, differences};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// The hosts, all of the inventory if not given, e.g. ["pod1", "pod2"].
    #[arg(
        long,
        env = "LAAS_HOSTS",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    hosts: JsonArg<Option<Vec<HostName>>>,
    /// Set the ports that differ as they should be, and save what is not saved.
    #[arg(long)]
    repair: bool,
    /// Show what a repair would change and change nothing.
    #[arg(long = "dry_run")]
    dry_run: bool,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    hosts: BTreeMap<HostName, Judged>,
    /// Switches whose running configuration would not survive a restart.
    unsaved: BTreeSet<String>,
    /// What the repair did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    switches: Vec<Switched>,
}

/// What was found at one host.
#[derive(Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Judged {
    /// Every port is as it should be.
    AsBooked { job: Option<u64> },
    Differs {
        /// The booking; there is none if the host should carry nothing.
        job: Option<u64>,
        ports: Vec<Finding>,
    },
    /// Its ports are being moved: not judged and never repaired.
    InProgress {
        job: u64,
        /// The execution that works on it, if one is alive.
        execution: Option<String>,
    },
    /// The dashboard does not say what it should carry, or its switch can't be asked.
    Unknown { why: String },
}

#[derive(Serialize)]
struct Finding {
    switch: String,
    port: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<Difference>,
    /// Why the port can't be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Action for Args {
    const NAME: &'static str = "network_audit";
    const ABOUT: &'static str =
        "Compare the switch ports of hosts with what the bookings say, and repair them on demand";
    const EXAMPLE: &'static [&'static str] = &[r#"--hosts=["pod1"]"#];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let names = switches::hosts_or_all(context, self.hosts.get("hosts")?)?;
        let rules = Rules::new(&context.config()?.networks)?;
        let dashboard = posting::connect(context)?;
        let said = ask(&dashboard, &names)?;
        let mut ports = BTreeMap::new();
        for (name, carried) in &said {
            if let Some(wanted) = wanted(context, &rules, name, carried) {
                ports.insert(name.clone(), wanted);
            }
        }
        let (work, mut failed) = switches::gather(context, &rules, ports)?;
        let read = switches::each(&work, &mut failed, |work| work.read(context));
        // What the dashboard has moved meanwhile nobody can judge.
        let again = ask(&dashboard, &names)?;
        let mut hosts = BTreeMap::new();
        for (name, carried) in said {
            let judged = if again.get(&name) != Some(&carried) {
                Judged::Unknown {
                    why: "its booking changed during the audit".to_owned(),
                }
            } else if failed.iter().any(|f| f.hosts.contains(&name)) {
                Judged::Unknown {
                    why: "its ports could not be read".to_owned(),
                }
            } else {
                judge(context, &name, &carried, &work, &read)?
            };
            hosts.insert(name, judged);
        }
        let unsaved = read.into_iter().filter(|r| !r.saved).map(|r| r.address).collect();
        let mut output = Output {
            changed: false,
            hosts,
            unsaved,
            switches: Vec::new(),
        };
        if self.repair {
            repair(
                context,
                &dashboard,
                work,
                &again,
                self.dry_run,
                &mut output,
                &mut failed,
            )?;
        } else if let Some(failure) = output.failure() {
            let differing = output.differing();
            failed.push(Failed {
                hosts: differing,
                failure,
            });
        }
        match hosts::merged(failed) {
            None => Ok(output),
            Some(failure) => Err(Failure {
                done: serde_json::to_value(&output).ok(),
                ..failure
            }),
        }
    }
}

/// What each host should carry.
///
/// # Errors
/// The dashboard can't be read completely; then nothing may be judged.
fn ask(dashboard: &Dashboard, names: &BTreeSet<HostName>) -> Result<BTreeMap<HostName, Carried>, Failure> {
    let incomplete = |failure: Failure| Failure {
        kind: laas_core::Kind::Unreachable,
        ..failure
    };
    let jobs = dashboard.all_jobs().at_peer("dashboard").map_err(incomplete)?;
    let mut found = carried(&jobs);
    let ask = |name: &HostName| {
        let booked = dashboard
            .is_booked(name)
            .at_peer("dashboard")
            .map_err(incomplete)?;
        Ok((name.clone(), Carried::confirmed(found.remove(name), booked)))
    };
    names.iter().map(ask).collect()
}

/// The host's ports as they should be; nothing if nobody can say.
fn wanted(
    context: &Context,
    rules: &Rules,
    name: &HostName,
    carried: &Carried,
) -> Option<Result<Vec<(Socket, Port)>, Failure>> {
    let mut interfaces = match carried {
        Carried::Nothing => BTreeMap::new(),
        Carried::Exactly { interfaces, .. } => interfaces.clone(),
        Carried::InProgress { .. } | Carried::Unknown { .. } => return None,
    };
    Some(hosts::load(context, name).and_then(|host| {
        if let Some(mac) = interfaces.keys().find(|mac| host.interface(mac).is_none()) {
            let text = format!("`{name}`, `{mac}`: the inventory has no such interface");
            return Err(Failure::input(text));
        }
        switches::ports_of(&host, |interface| {
            let vlans = interfaces.remove(&interface.mac).unwrap_or_default();
            let wish = Wish::new(vlans.iter().map(|vlan| (vlan.vlan_id, vlan.tagged)));
            let wish = wish.map_err(|e| Failure::input(format!("`{name}`, `{}`: {e}", interface.mac)))?;
            Ok(wish.port(rules.parking))
        })
    }))
}

fn judge(
    context: &Context,
    name: &HostName,
    carried: &Carried,
    work: &[Work],
    read: &[Read],
) -> Result<Judged, Failure> {
    let job = match carried {
        Carried::Nothing => None,
        Carried::Exactly { job, .. } => Some(*job),
        Carried::Unknown { why } => return Ok(Judged::Unknown { why: why.clone() }),
        Carried::InProgress { job, tasks } => {
            return Ok(Judged::InProgress {
                job: *job,
                execution: live_execution(context, tasks)?,
            });
        }
    };
    let mut ports = Vec::new();
    for work in work {
        let Some(present) = read
            .iter()
            .find(|r| r.address == work.address)
            .map(|r| &r.present)
        else {
            continue;
        };
        for (port, _) in work.owners.iter().filter(|(_, owner)| *owner == name) {
            let found = present.ports.get(port);
            let finding = Finding {
                switch: work.address.clone(),
                port: port.to_string(),
                differences: found.map_or(Vec::new(), |now| differences(present, now, &work.wanted[port])),
                problem: match found {
                    Some(_) => None,
                    None => Some(
                        present
                            .untouchable
                            .get(port)
                            .map_or("the switch did not show it", |why| &why.0)
                            .to_owned(),
                    ),
                },
            };
            if !finding.differences.is_empty() || finding.problem.is_some() {
                ports.push(finding);
            }
        }
    }
    Ok(match ports.is_empty() {
        true => Judged::AsBooked { job },
        false => Judged::Differs { job, ports },
    })
}

fn live_execution(context: &Context, tasks: &[TaskId]) -> Result<Option<String>, Failure> {
    let datastore = context.datastore()?;
    for task in tasks {
        let record = ledger::get(datastore, task).at_peer("datastore")?;
        let Some(execution) = record.and_then(|record| record.execution) else {
            continue;
        };
        let status = datastore.execution_status(&execution).at_peer("datastore")?;
        if status.is_some_and(|status| engine::is_live(&status)) {
            return Ok(Some(execution));
        }
    }
    Ok(None)
}

/// Sets the ports of the hosts that differ, one switch at a time, and saves what is not saved. Within the lock of a
/// switch the dashboard is asked once more: what it has moved since belongs to a workflow.
fn repair(
    context: &Context,
    dashboard: &Dashboard,
    work: Vec<Work>,
    said: &BTreeMap<HostName, Carried>,
    dry_run: bool,
    output: &mut Output,
    failed: &mut Vec<Failed>,
) -> Result<(), Failure> {
    let differing = output.differing();
    let unsaved = std::mem::take(&mut output.unsaved);
    let work: Vec<Work> = work.into_iter().map(|work| work.of_hosts(&differing)).collect();
    let mut repaired = Vec::new();
    for work in work {
        let is_unsaved = unsaved.contains(&work.address);
        if work.wanted.is_empty() && !is_unsaved {
            continue;
        }
        let lock = work.lock(context)?;
        let now = ask(dashboard, &differing)?;
        let (same, moved): (BTreeSet<_>, BTreeSet<_>) = differing
            .iter()
            .cloned()
            .partition(|name| now.get(name) == said.get(name));
        for name in moved {
            let why = "its booking changed during the audit".to_owned();
            output.hosts.insert(name, Judged::Unknown { why });
        }
        let work = work.of_hosts(&same);
        let set = work.set(context, dry_run, &lock).and_then(|mut switched| {
            if is_unsaved && !switched.saved && !dry_run {
                work.open(context)?.save()?;
                switched.saved = true;
            }
            Ok(switched)
        });
        match set {
            Ok(switched) => {
                output.changed |= switched.saved || !switched.commands.is_empty() || (dry_run && is_unsaved);
                output.switches.push(switched);
            }
            Err(failure) => failed.push(Failed {
                hosts: work.owners.values().cloned().collect(),
                failure: failure.peer(switches::PEER),
            }),
        }
        repaired.push(work);
    }
    switches::take_failed(&repaired, &mut output.switches, failed);
    Ok(())
}

impl Output {
    fn differing(&self) -> BTreeSet<HostName> {
        let differs = |(_, judged): &(&HostName, &Judged)| matches!(judged, Judged::Differs { .. });
        self.hosts
            .iter()
            .filter(differs)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Every difference in one sentence each.
    fn failure(&self) -> Option<Failure> {
        let mut said = Vec::new();
        for (name, judged) in &self.hosts {
            let Judged::Differs { job, ports } = judged else {
                continue;
            };
            let of = job.map_or("not booked".to_owned(), |job| format!("job {job}"));
            for finding in ports {
                let words: Vec<_> = finding.differences.iter().map(ToString::to_string).collect();
                let words = finding.problem.clone().unwrap_or_else(|| words.join(", "));
                said.push(format!(
                    "{name} ({of}): {} of {} {words}",
                    finding.port, finding.switch
                ));
            }
        }
        let unsaved = self.unsaved.iter();
        said.extend(unsaved.map(|switch| format!("{switch}: the running configuration is not saved")));
        (!said.is_empty()).then(|| {
            Failure::refused(said.join("; "))
                .hint("look at it, then run `laas.network_audit repair=true`")
                .peer(switches::PEER)
        })
    }
}
