//! What the ports of each host are to carry by the dashboard's lists, for those who look whether they do.

use crate::job::{Job, Vlan, Work};
use laas_core::names::TaskId;
use laas_core::{HostName, Mac};
use std::collections::{BTreeMap, BTreeSet};

/// All three lists. Tasks with status 300 are in none of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lists {
    pub new: Vec<Job>,
    pub current: Vec<Job>,
    pub done: Vec<Job>,
}

/// What the ports of a host are to carry.
#[derive(Clone, Debug, PartialEq)]
pub enum Carried {
    /// No booking has the host, or the one that had it is over and cleaned up.
    Nothing,
    /// Exactly this: the job's network task is done.
    Exactly {
        job: u64,
        interfaces: BTreeMap<Mac, Vec<Vlan>>,
    },
    /// A task that moves the host's ports is not done yet, so that nobody can say what they carry now.
    InProgress { job: u64, tasks: Vec<TaskId> },
    /// The dashboard does not say.
    Unknown { why: String },
}

/// What the jobs in the lists say of each host that they name. The newest job that names a host counts: the one before
/// may have left tasks behind.
pub fn carried(lists: &Lists) -> BTreeMap<HostName, Carried> {
    let mut open: BTreeMap<HostName, (u64, BTreeSet<TaskId>)> = BTreeMap::new();
    for job in lists.new.iter().chain(&lists.current) {
        for task in &job.tasks {
            if let Some(host) = task.work.host() {
                let entry = open.entry(host.clone()).or_default();
                entry.0 = entry.0.max(job.id);
                entry.1.insert(task.id.clone());
            }
        }
    }
    let mut newest: BTreeMap<HostName, &Job> = BTreeMap::new();
    for job in &lists.done {
        for host in job.tasks.iter().filter_map(|task| task.work.host()) {
            let known = newest.entry(host.clone()).or_insert(job);
            if known.id < job.id {
                *known = job;
            }
        }
    }
    let settled = newest.into_iter().filter(|(host, _)| !open.contains_key(host));
    let settled: Vec<_> = settled
        .map(|(host, job)| (host.clone(), of_job(&host, job)))
        .collect();
    let open = open.into_iter().map(|(host, (job, tasks))| {
        let tasks = tasks.into_iter().collect();
        (host, Carried::InProgress { job, tasks })
    });
    open.chain(settled).collect()
}

impl Carried {
    /// With the dashboard's own word on whether the host is booked; `None` if it does not know the host.
    pub fn confirmed(found: Option<Self>, booked: Option<bool>) -> Self {
        let unknown = |why: &str| Self::Unknown { why: why.to_owned() };
        match (found, booked) {
            (Some(progress @ Self::InProgress { .. }), _) => progress,
            (_, None) => unknown("the dashboard does not know the host"),
            // Its network task is in no list, which is how it is with one that ended in an error.
            (None, Some(true)) => unknown("it is booked, and its network task is neither open nor done"),
            (None, Some(false)) => Self::Nothing,
            (Some(Self::Exactly { job, .. }), Some(false)) => {
                let why =
                    format!("job {job} gives it networks, and the dashboard says that it is not booked");
                Self::Unknown { why }
            }
            (Some(other), Some(_)) => other,
        }
    }
}

/// From a job of which all of the host's tasks that are in a list are done.
fn of_job(host: &HostName, job: &Job) -> Carried {
    let of_host = job.tasks.iter().filter(|task| task.work.host() == Some(host));
    let (mut network, mut power) = (None, None);
    for task in of_host {
        match &task.work {
            Work::Network { interfaces, .. } => network = Some(interfaces),
            Work::Hardware { power: on, .. } => power = Some(*on),
            _ => {}
        }
    }
    match (network, power) {
        (Some(interfaces), _) if interfaces.values().all(Vec::is_empty) => Carried::Nothing,
        // Nothing says that a booking is over but that all of its hosts' tasks do.
        (Some(_), Some(false)) => Carried::Unknown {
            why: format!("job {} powers it off and gives it networks", job.id),
        },
        (Some(interfaces), _) => Carried::Exactly {
            job: job.id,
            interfaces: interfaces.clone(),
        },
        (None, _) => Carried::Unknown {
            why: format!("its network task of job {} is neither open nor done", job.id),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const MAC: &str = "02:00:00:00:01:01";

    fn task(number: u64) -> String {
        format!("00000000-0000-4000-8000-{number:012}")
    }

    fn hardware(power: &str) -> Value {
        json!({"id": "pod1", "image": 17, "hostname": "a", "power": power, "ipmi_create": true})
    }

    fn network(vlans: &[u64]) -> Value {
        let vlans: Vec<_> = vlans
            .iter()
            .map(|id| json!({"vlan_id": id, "tagged": true}))
            .collect();
        json!({"pod1": {MAC: vlans}, "lab_token": "null"})
    }

    /// Each task is `(job, kind, delta)`.
    fn list(tasks: &[(u64, &str, Value)]) -> Vec<Job> {
        let mut jobs: BTreeMap<u64, Value> = BTreeMap::new();
        for (number, (job, kind, delta)) in tasks.iter().enumerate() {
            let entry = jobs
                .entry(*job)
                .or_insert_with(|| json!({"id": job, "payload": {}}));
            let id = task(*job * 100 + u64::try_from(number).unwrap());
            entry["payload"][*kind][id] = delta.clone();
        }
        Job::read_whole_list(&jobs.into_values().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn the_newest_job_counts_and_open_work_is_not_judged() {
        type Tasks = Vec<(u64, &'static str, Value)>;
        let (on, off) = (|| hardware("on"), || hardware("off"));
        let cases: [(Tasks, Tasks, Tasks, Option<bool>, &str); 13] = [
            (vec![], vec![], vec![], Some(false), "nothing"),
            (vec![], vec![], vec![], Some(true), "unknown"),
            (vec![], vec![], vec![], None, "unknown"),
            (
                vec![],
                vec![],
                vec![(1, "hardware", on()), (1, "network", network(&[11]))],
                Some(true),
                "11 of 1",
            ),
            // Given to another booking since.
            (
                vec![],
                vec![],
                vec![
                    (1, "network", network(&[])),
                    (1, "hardware", off()),
                    (2, "network", network(&[12])),
                ],
                Some(true),
                "12 of 2",
            ),
            (
                vec![],
                vec![],
                vec![(1, "network", network(&[])), (1, "hardware", off())],
                Some(false),
                "nothing",
            ),
            // Over, cleaned up and not yet freed.
            (
                vec![],
                vec![],
                vec![(1, "network", network(&[])), (1, "hardware", off())],
                Some(true),
                "nothing",
            ),
            (
                vec![(1, "network", network(&[]))],
                vec![],
                vec![(1, "hardware", off())],
                Some(true),
                "progress",
            ),
            (
                vec![],
                vec![(2, "hardware", on())],
                vec![(1, "network", network(&[11]))],
                Some(true),
                "progress",
            ),
            (
                vec![(1, "snapshot", json!({"dashboard_id": 5, "host": "pod1"}))],
                vec![],
                vec![(1, "network", network(&[11]))],
                Some(true),
                "progress",
            ),
            // The network task ended with 300.
            (vec![], vec![], vec![(1, "hardware", on())], Some(true), "unknown"),
            (
                vec![],
                vec![],
                vec![(2, "hardware", on()), (1, "network", network(&[11]))],
                Some(true),
                "unknown",
            ),
            // A booking that nobody has any more.
            (
                vec![],
                vec![],
                vec![(1, "hardware", on()), (1, "network", network(&[11]))],
                Some(false),
                "unknown",
            ),
        ];
        for (new, current, done, booked, expected) in cases {
            let lists = Lists {
                new: list(&new),
                current: list(&current),
                done: list(&done),
            };
            let found = Carried::confirmed(
                carried(&lists).remove(&"pod1".parse::<HostName>().unwrap()),
                booked,
            );
            let shown = match &found {
                Carried::Nothing => "nothing".to_owned(),
                Carried::InProgress { .. } => "progress".to_owned(),
                Carried::Unknown { .. } => "unknown".to_owned(),
                Carried::Exactly { job, interfaces } => {
                    let vlan = interfaces[&MAC.parse::<Mac>().unwrap()][0].vlan_id;
                    format!("{vlan} of {job}")
                }
            };
            assert_eq!(shown, expected, "{lists:?} {booked:?}");
        }
    }

    #[test]
    fn a_list_with_a_gap_is_none() {
        for list in [
            json!([{"payload": {}}]),
            json!([{"id": 1}]),
            json!([{"id": 1, "payload": {"network": []}}]),
            json!([{"id": 1, "payload": {"network": {"x": network(&[11])}}}]),
            json!([{"id": 1, "payload": {"network": {task(1): {"pod1": {"no mac": []}}}}}]),
        ] {
            assert!(Job::read_whole_list(list.as_array().unwrap()).is_err(), "{list}");
        }
    }
}
