//! The work for a booking that is over: what was given is taken back, host by host and user by user.

use super::{Draft, Known, Refusal, Situation, TaskRef};
use crate::job::Work;
use laas_core::HostName;
use laas_core::ledger::Record;
use laas_core::names::{AccountName, TaskId};
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// All keys of a release together, in bytes: they travel in one variable of the environment, of which Linux takes
/// 128 KiB (`MAX_ARG_STRLEN`).
const MOST_KEYS: usize = 64 << 10;

/// What is to be taken back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Release {
    /// Whether the whole booking is over; otherwise only this of it is.
    pub over: bool,
    pub hosts: Vec<ReleasedHost>,
    /// The tasks of the hosts, which end last and together.
    pub host_tasks: Vec<HostTask>,
    pub users: Vec<ReleasedUser>,
    /// The users' SSH keys, as far as the dashboard still says them: hosts must refuse them.
    pub user_keys: Vec<ReleasedKey>,
    /// Tasks that are done when all hosts and users are: SSH access, software.
    pub others: Vec<TaskRef>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReleasedHost {
    pub host: HostName,
    /// Its hardware and its network.
    pub tasks: Vec<TaskRef>,
    /// Its users were let in at some time, and it is not proven since that all of it was taken back. Without that there
    /// are no keys of theirs on it.
    pub given: bool,
    /// Another job has already written its disk, so that nothing is left there of this one, and nothing may be touched.
    pub taken: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostTask {
    pub host: HostName,
    #[serde(flatten)]
    pub task: TaskRef,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReleasedUser {
    pub user: u64,
    /// The name of the VPN account, if the dashboard says it; the lab remembers it, too.
    pub account: Option<AccountName>,
    pub tasks: Vec<TaskRef>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReleasedKey {
    pub user: u64,
    pub key: String,
}

/// Whether a task of a job that is over is not yet what it will be. The dashboard changes hosts, networks and VPN
/// accounts when a booking ends: one that is not changed was looked at in the middle of it, and the next look is
/// clear. Everything else it leaves behind as it is.
pub fn waits(work: &Work, powered: &BTreeSet<HostName>) -> bool {
    matches!(
        work,
        Work::Hardware { .. } | Work::Network { .. } | Work::Vpn { .. }
    ) && !work.is_release(powered)
}

/// The tasks of a job that is over, by what they are about.
#[derive(Default)]
pub struct Ended {
    hosts: BTreeMap<HostName, Vec<TaskRef>>,
    users: BTreeMap<u64, ReleasedUser>,
    others: Vec<TaskRef>,
}

impl Ended {
    /// Puts the task where it belongs.
    ///
    /// # Errors
    /// Why nothing is done for it.
    pub fn insert(&mut self, task: TaskRef, work: Work) -> Result<(), Refusal> {
        match work {
            Work::Hardware { host, .. } | Work::Network { host, .. } => {
                self.hosts.entry(host).or_default().push(task);
                Ok(())
            }
            Work::Vpn { user, account, .. } => {
                let entry = self.user(user);
                entry.account = entry.account.take().or(account);
                entry.tasks.push(task);
                Ok(())
            }
            // An order for SSH access that nobody has carried out, or that is already undone with its hosts.
            Work::Key { .. } | Work::Software(None) => {
                self.others.push(task);
                Ok(())
            }
            Work::Software(Some(_)) => Err(("ended", json!({"what": "the software"}))),
            Work::Snapshot { host, .. } => Err(("ended", json!({"what": format!("the snapshot of {host}")}))),
            Work::Unknown { kind } => Err(("unknown", json!({"kind": kind}))),
            Work::Malformed { kind, why } => Err(("malformed", json!({"kind": kind, "why": why}))),
        }
    }

    /// All that is to be taken back: what the dashboard says now, and what only the lab remembers: releases that
    /// failed, which the dashboard never hands out again, all of a job that was deleted, and what has vanished from a job
    /// that is there, which while the booking runs (not `over`) is all.
    pub fn release(mut self, draft: &mut Draft<'_>, over: bool) -> Release {
        let deleted = draft.situation.all.is_none();
        let listed: BTreeSet<TaskId> = draft
            .plan
            .claims
            .keys()
            .chain(&draft.plan.skipped)
            .cloned()
            .collect();
        for (id, known) in &draft.situation.known {
            let Known {
                record: Some(record),
                busy: false,
            } = known
            else {
                continue;
            };
            let settled = record.release && record.state == 200;
            let vanished = draft.situation.vanished.contains(id);
            let wanted = match over {
                true => record.release || deleted || vanished,
                false => vanished && !draft.is_still_booked(record),
            };
            let is_held = record.host.as_ref().is_some_and(|host| draft.held.contains(host));
            if listed.contains(id) || settled || is_held || !wanted {
                continue;
            }
            let record = Record {
                // That it was given is no proof that it is taken back.
                state: 0,
                release: true,
                given: record.has_given(),
                execution: draft.situation.execution.map(str::to_owned),
                ..record.clone()
            };
            let (host, user) = (record.host.clone(), record.user);
            let task = match over {
                true => draft.take(id.clone(), record),
                // The dashboard has nobody who could be told that it is begun.
                false => draft.remember(id.clone(), record),
            };
            match (host, user) {
                (Some(host), _) => self.hosts.entry(host).or_default().push(task),
                (_, Some(user)) => self.user(user).tasks.push(task),
                (None, None) => self.others.push(task),
            }
        }
        let others = &draft.situation.others;
        let mut hosts = Vec::new();
        for (host, tasks) in self.hosts {
            let other = others.iter().find(|other| other.host == host && other.begun);
            match other {
                // Whatever is done there now would be done to the next tenant.
                Some(other) if !other.imaged => {
                    draft.plan.waiting.insert(host, other.job);
                    for task in tasks {
                        draft.drop(&task);
                    }
                }
                other => hosts.push(ReleasedHost {
                    given: draft.has_given(&host),
                    host,
                    tasks,
                    taken: other.map(|other| other.job),
                }),
            }
        }
        let host_task = |host: &ReleasedHost, task: &TaskRef| HostTask {
            host: host.host.clone(),
            task: task.clone(),
        };
        let host_tasks = hosts
            .iter()
            .flat_map(|host| host.tasks.iter().map(move |task| host_task(host, task)))
            .collect();
        Release {
            over,
            hosts,
            host_tasks,
            users: self.users.into_values().collect(),
            user_keys: user_keys(draft.situation),
            others: self.others,
        }
    }

    fn user(&mut self, user: u64) -> &mut ReleasedUser {
        self.users.entry(user).or_insert(ReleasedUser {
            user,
            account: None,
            tasks: Vec::new(),
        })
    }
}

fn user_keys(situation: &Situation<'_>) -> Vec<ReleasedKey> {
    let mut keys = Vec::new();
    let mut left = MOST_KEYS;
    for task in situation.every_task() {
        let Work::Key { user, key, .. } = &task.work else {
            continue;
        };
        let found = ReleasedKey {
            user: *user,
            key: key.clone(),
        };
        if !keys.contains(&found) && key.len() <= left {
            left -= key.len();
            keys.push(found);
        }
    }
    keys
}

impl Draft<'_> {
    /// Whether something of the host was given and it is not proven since that all of it was taken back, which is proven
    /// of a host as a whole.
    fn has_given(&self, host: &HostName) -> bool {
        let known = self.situation.known.values();
        let records = known.filter_map(|known| known.record.as_ref());
        let records: Vec<_> = records.filter(|r| r.host.as_ref() == Some(host)).collect();
        let is_taken_back = records.iter().any(|record| record.release && record.state == 200);
        !is_taken_back && records.into_iter().any(Record::has_given)
    }

    /// Whether the dashboard still asks for what the record is about, by another task.
    fn is_still_booked(&self, record: &Record) -> bool {
        match (&record.host, record.user) {
            (Some(host), _) => self.makers.contains_key(host),
            (None, Some(user)) => {
                let mut tasks = self.situation.every_task();
                tasks.any(|task| matches!(task.work, Work::Vpn { user: of, .. } if of == user))
            }
            (None, None) => true,
        }
    }

    /// Gives a claimed task back.
    fn drop(&mut self, task: &TaskRef) {
        self.plan.claims.remove(&task.task);
        self.plan.tasks.retain(|t| t.task != task.task);
        self.plan.skipped.push(task.task.clone());
    }
}
