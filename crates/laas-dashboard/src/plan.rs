//! What is to be done for a job, from its tasks and from what the lab remembers of them.

use crate::job::{Task, Vlan, Work};
use laas_core::ledger::Record;
use laas_core::names::{SystemHostname, TaskId};
use laas_core::{HostName, Mac, VlanId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A task and the delta that is worked on. It travels through the workflow and back to where its end is posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRef {
    pub job: u64,
    pub task: TaskId,
    pub digest: String,
    /// What the work is called at the peers, see [`Record::request`].
    pub request: String,
}

/// A job, sorted by what kind of work its tasks are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    pub job: u64,
    /// All tasks that are worked on, also those that can only be refused.
    pub tasks: Vec<TaskRef>,
    pub hosts: Vec<Host>,
    pub users: Vec<User>,
    pub unsupported: Vec<Unsupported>,
    /// Tasks that another execution works on, or that wait for the rest of the job.
    pub skipped: Vec<TaskId>,
    /// What to remember before any work begins.
    #[serde(skip)]
    pub claims: BTreeMap<TaskId, Record>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Host {
    pub host: HostName,
    pub hardware: Option<Hardware>,
    pub network: Option<Network>,
    pub tasks: Vec<TaskRef>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hardware {
    #[serde(flatten)]
    pub task: TaskRef,
    pub image: u64,
    pub hostname: SystemHostname,
    pub ipmi: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Network {
    #[serde(flatten)]
    pub task: TaskRef,
    pub interfaces: BTreeMap<Mac, Vec<Vlan>>,
    /// Where to look for the host: public VLANs first (untagged before tagged), then the other untagged ones.
    pub vlans: Vec<VlanId>,
}

/// The access of one user.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct User {
    /// The dashboard's id of the user; there is no name.
    pub user: u64,
    pub key: Option<Key>,
    pub vpn: Option<TaskRef>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Key {
    #[serde(flatten)]
    pub task: TaskRef,
    pub key: String,
    pub hosts: Vec<HostName>,
}

/// A task that the pack can't do, with what its user is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Unsupported {
    #[serde(flatten)]
    pub task: TaskRef,
    /// `software`, `snapshot`, `release`, `ended`, `unknown` or `malformed`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The message: always `unsupported`.
    pub event: &'static str,
    pub facts: Value,
}

/// What the lab remembers of a task.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub record: Option<Record>,
    /// Another execution that works on the task is still alive.
    pub busy: bool,
}

/// Plans the job from its tasks in `jobs/new` and in `jobs/current`. `execution` is the one that will do the work;
/// `public` are the VLANs on which hosts can be reached; `now` is in seconds since 1970.
pub fn plan(
    job: u64,
    new: Vec<Task>,
    current: Vec<Task>,
    known: &BTreeMap<TaskId, Known>,
    public: &[VlanId],
    execution: Option<&str>,
    now: u64,
) -> Plan {
    // A task can move on between the two lists; the later one is right.
    let mut tasks: BTreeMap<TaskId, (Task, bool)> = BTreeMap::new();
    for (list, is_new) in [(new, true), (current, false)] {
        tasks.extend(list.into_iter().map(|task| (task.id.clone(), (task, is_new))));
    }
    let powered: BTreeSet<HostName> = tasks
        .values()
        .filter_map(|(task, _)| match &task.work {
            Work::Hardware {
                host, power: true, ..
            } => Some(host.clone()),
            _ => None,
        })
        .collect();
    let ended = tasks.values().any(|(task, _)| is_release(&task.work, &powered));
    let mut plan = Plan {
        job,
        tasks: Vec::new(),
        hosts: Vec::new(),
        users: Vec::new(),
        unsupported: Vec::new(),
        skipped: Vec::new(),
        claims: BTreeMap::new(),
    };
    let mut sorted = Sorted::default();
    for (id, (task, is_new)) in tasks {
        let known = known.get(&id).cloned().unwrap_or_default();
        // Provisioning beside a release is a look at the dashboard in the middle of a change: the next one is clear.
        let waits = ended && is_provisioning(&task.work, &powered);
        if known.busy || waits {
            plan.skipped.push(id);
            continue;
        }
        let record = claim(&task, is_new, job, known.record, execution, now);
        let task_ref = TaskRef {
            job,
            task: id.clone(),
            digest: record.digest.clone(),
            request: record.request(&id),
        };
        plan.claims.insert(id, record);
        plan.tasks.push(task_ref.clone());
        let sorted_in = if is_release(&task.work, &powered) {
            Err(("release", release_facts(&task.work)))
        } else {
            sorted.insert(task_ref.clone(), task.work, ended, public)
        };
        if let Err((kind, facts)) = sorted_in {
            plan.unsupported.push(Unsupported {
                task: task_ref,
                kind,
                event: "unsupported",
                facts,
            });
        }
    }
    plan.hosts = sorted.hosts.into_values().collect();
    plan.users = sorted.users.into_values().collect();
    plan
}

/// The record of the work on the task. The same delta given out anew is a new round, so that a host that is reset to
/// the image it has is written again; one that was merely begun goes on under its old name.
fn claim(
    task: &Task,
    is_new: bool,
    job: u64,
    record: Option<Record>,
    execution: Option<&str>,
    now: u64,
) -> Record {
    let digest = task.digest();
    let execution = execution.map(str::to_owned);
    match record {
        // Whatever was posted, it is undone: the dashboard has put the task back, or it never took the post of 100,
        // before which no work begins.
        Some(old) if old.digest != digest || (is_new && old.state >= 100) => Record {
            job,
            digest,
            // Also another delta gets another number: the one before may come back.
            round: old.round + 1,
            state: 0,
            execution,
            time: now,
        },
        // Still unfinished on the dashboard although an end was to be posted: that post was lost.
        Some(old) => Record {
            job,
            state: if old.state > 100 { 0 } else { old.state },
            execution,
            ..old
        },
        None => Record {
            job,
            digest,
            round: 0,
            state: 0,
            execution,
            time: now,
        },
    }
}

/// The tasks that can be done, by what they are about.
#[derive(Default)]
struct Sorted {
    hosts: BTreeMap<HostName, Host>,
    users: BTreeMap<u64, User>,
}

impl Sorted {
    /// Puts the task where it belongs, or says why it can't be done: the kind and the facts of [`Unsupported`].
    fn insert(
        &mut self,
        task: TaskRef,
        work: Work,
        ended: bool,
        public: &[VlanId],
    ) -> Result<(), (&'static str, Value)> {
        let malformed = |kind: &str, why: String| Err(("malformed", json!({"kind": kind, "why": why})));
        match work {
            Work::Key { .. } if ended => Err(("ended", json!({"what": "SSH access"}))),
            Work::Snapshot { host } if ended => {
                Err(("ended", json!({"what": format!("the snapshot of {host}")})))
            }
            Work::Hardware {
                host,
                image: Some(image),
                hostname: Some(hostname),
                ipmi,
                ..
            } => {
                let entry = self.host(host);
                if entry.hardware.is_some() {
                    return malformed("hardware", format!("there is another one for {}", entry.host));
                }
                entry.tasks.push(task.clone());
                entry.hardware = Some(Hardware {
                    task,
                    image,
                    hostname,
                    ipmi,
                });
                Ok(())
            }
            Work::Hardware { .. } => malformed("hardware", "the image or the hostname is missing".to_owned()),
            Work::Network { host, interfaces } => {
                let entry = self.host(host);
                if entry.network.is_some() {
                    return malformed("network", format!("there is another one for {}", entry.host));
                }
                let vlans = reachable(&interfaces, public);
                entry.tasks.push(task.clone());
                entry.network = Some(Network {
                    task,
                    interfaces,
                    vlans,
                });
                Ok(())
            }
            Work::Key { user, key, hosts, .. } => {
                let entry = self.user(user);
                if entry.key.is_some() {
                    return malformed("SSH", "there is another one for the same user".to_owned());
                }
                entry.key = Some(Key { task, key, hosts });
                Ok(())
            }
            Work::Vpn { user, .. } => {
                let entry = self.user(user);
                if entry.vpn.is_some() {
                    return malformed("VPN", "there is another one for the same user".to_owned());
                }
                entry.vpn = Some(task);
                Ok(())
            }
            Work::Software { installer, scenario } => {
                Err(("software", json!({"installer": installer, "scenario": scenario})))
            }
            Work::Snapshot { host } => Err(("snapshot", json!({"host": host}))),
            Work::Unknown { kind } => Err(("unknown", json!({"kind": kind}))),
            Work::Malformed { kind, why } => malformed(&kind, why),
        }
    }

    fn host(&mut self, host: HostName) -> &mut Host {
        self.hosts.entry(host.clone()).or_insert_with(|| Host {
            host,
            hardware: None,
            network: None,
            tasks: Vec::new(),
        })
    }

    fn user(&mut self, user: u64) -> &mut User {
        self.users.entry(user).or_insert(User {
            user,
            key: None,
            vpn: None,
        })
    }
}

/// Nothing in a job says that its booking is over; only the shape of its tasks does. A host that is to be powered on
/// and has no network is just that.
fn is_release(work: &Work, powered: &BTreeSet<HostName>) -> bool {
    match work {
        Work::Hardware { power, .. } => !power,
        Work::Network { host, interfaces } => {
            interfaces.values().all(Vec::is_empty) && !powered.contains(host)
        }
        Work::Key { revoke, .. } | Work::Vpn { revoke, .. } => *revoke,
        Work::Software { installer, .. } => installer.is_none(),
        Work::Snapshot { .. } | Work::Unknown { .. } | Work::Malformed { .. } => false,
    }
}

/// Work that makes something for a running booking. Orders for SSH access and snapshots are not meant: the dashboard
/// leaves them behind when the booking ends.
fn is_provisioning(work: &Work, powered: &BTreeSet<HostName>) -> bool {
    let stays_behind = matches!(
        work,
        Work::Key { .. } | Work::Snapshot { .. } | Work::Unknown { .. } | Work::Malformed { .. }
    );
    !stays_behind && !is_release(work, powered)
}

fn release_facts(work: &Work) -> Value {
    let (what, host) = match work {
        Work::Hardware { host, .. } => ("hardware", Some(host)),
        Work::Network { host, .. } => ("network", Some(host)),
        Work::Vpn { .. } => ("vpn", None),
        Work::Key { .. } => ("ssh", None),
        _ => ("software", None),
    };
    let mut facts = Map::from_iter([("what".to_owned(), json!(what))]);
    if let Some(host) = host {
        facts.insert("host".to_owned(), json!(host));
    }
    Value::Object(facts)
}

fn reachable(interfaces: &BTreeMap<Mac, Vec<Vlan>>, public: &[VlanId]) -> Vec<VlanId> {
    let all = || interfaces.values().flatten();
    let is_public = |vlan: &&Vlan| public.contains(&vlan.vlan_id);
    let mut vlans = Vec::new();
    let in_order = all()
        .filter(|vlan| is_public(vlan) && !vlan.tagged)
        .chain(all().filter(|vlan| is_public(vlan) && vlan.tagged))
        .chain(all().filter(|vlan| !vlan.tagged));
    for vlan in in_order {
        if !vlans.contains(&vlan.vlan_id) {
            vlans.push(vlan.vlan_id);
        }
    }
    vlans
}
