//! What the dashboard stores, and how it finds it again.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::spec::{BookedHost, HostSpec, OpnfvSpec, UserSpec};
use super::task::{Task, payload};
use super::view::{Mail, Post};

pub(super) struct State {
    /// The first is the lab that a host belongs to when its spec names none.
    pub labs: Vec<Lab>,
    pub hosts: Vec<Host>,
    pub users: BTreeMap<i64, UserSpec>,
    pub bookings: BTreeMap<u32, Booking>,
    /// Bookings and jobs are made in pairs, so one number counts both; deleted ones are not given again.
    pub last_booking: u32,
    /// The row id of the newest image.
    pub last_image: i64,
    pub mails: Vec<Mail>,
    pub mail_down: bool,
    pub done_broken: bool,
    pub posts: Vec<Post>,
    pub shuffle: Option<Shuffle>,
    /// Whether tasks are created one by one, and then whether the last ones come first.
    pub one_by_one: Option<bool>,
    /// The tasks that ask for the users of the VPN, by job.
    pub active_users: BTreeMap<u32, String>,
    /// How far the dashboard's clock is ahead of the machine's.
    pub ahead: Duration,
}

pub(super) struct Lab {
    pub name: String,
    pub token: String,
    pub downtime: Option<Downtime>,
}

#[derive(Clone)]
pub(super) struct Downtime {
    pub start: OffsetDateTime,
    pub end: OffsetDateTime,
    pub description: String,
}

pub(super) struct Host {
    pub spec: HostSpec,
    pub lab: String,
    pub working: bool,
    pub bmc: Option<Bmc>,
    /// The booking that holds the host until it is freed.
    pub booking: Option<u32>,
}

/// What the lab reported of a host's management controller.
#[derive(Clone)]
pub(super) struct Bmc {
    pub address: String,
    pub mac_address: String,
    pub user: String,
    pub password: String,
    pub versions: String,
}

pub(super) struct Booking {
    pub id: u32,
    pub lab: String,
    pub owner: i64,
    pub collaborators: Vec<i64>,
    pub end: OffsetDateTime,
    /// Absent once the hosts were freed.
    pub hosts: Option<Vec<BookedHost>>,
    pub opnfv: Option<OpnfvSpec>,
    pub pdf: String,
    pub idf: String,
    /// Whether the job was turned into its cleanup.
    pub complete: bool,
    pub told_ready: bool,
    pub told_over: bool,
    pub tasks: Vec<Task>,
    /// Tasks that are still to be created, the next one last.
    pub uncreated: Vec<Task>,
}

impl State {
    pub fn new<'a>(labs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let labs = labs
            .map(|(name, token)| Lab {
                name: name.to_owned(),
                token: token.to_owned(),
                downtime: None,
            })
            .collect();
        Self {
            labs,
            hosts: Vec::new(),
            users: BTreeMap::new(),
            bookings: BTreeMap::new(),
            last_booking: 0,
            // The observed dashboard had four images, so its first snapshot was number 5.
            last_image: 4,
            mails: Vec::new(),
            mail_down: false,
            done_broken: false,
            posts: Vec::new(),
            shuffle: None,
            one_by_one: None,
            active_users: BTreeMap::new(),
            ahead: Duration::ZERO,
        }
    }

    pub fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.ahead
    }

    pub fn host(&self, labid: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.spec.labid == labid)
    }

    pub fn host_mut(&mut self, labid: &str) -> Option<&mut Host> {
        self.hosts.iter_mut().find(|host| host.spec.labid == labid)
    }

    /// The task and its job's number; the application looks for it in the jobs of all labs.
    pub fn task_mut(&mut self, id: &str) -> Option<(u32, &mut Task)> {
        self.bookings.values_mut().find_map(|booking| {
            let task = booking.tasks.iter_mut().find(|task| task.id == id)?;
            Some((booking.id, task))
        })
    }

    /// The lab's jobs with a task in exactly this status, each with only those tasks.
    pub fn list(&mut self, lab: &str, status: i32) -> Value {
        for booking in self.bookings.values_mut() {
            booking.tasks.extend(booking.uncreated.pop());
        }
        let mut shuffle = self.shuffle.take();
        let mut jobs = Vec::new();
        for booking in self.bookings.values().filter(|booking| booking.lab == lab) {
            let mut tasks: Vec<&Task> = booking
                .tasks
                .iter()
                .filter(|task| task.status == status)
                .collect();
            if tasks.is_empty() {
                continue;
            }
            if let Some(shuffle) = &mut shuffle {
                shuffle.apply(&mut tasks);
            }
            jobs.push(json!({"id": booking.id, "payload": payload(&tasks, Task::delta)}));
        }
        if status == 0 {
            self.add_active_users(&mut jobs);
        }
        if let Some(shuffle) = &mut shuffle {
            shuffle.apply(&mut jobs);
        }
        self.shuffle = shuffle;
        Value::Array(jobs)
    }

    /// The application gives no information with these tasks.
    fn add_active_users(&self, jobs: &mut Vec<Value>) {
        for (id, task) in &self.active_users {
            let group = json!({task: {}});
            match jobs.iter_mut().find(|job| job["id"] == *id) {
                Some(job) => job["payload"]["active users task"] = group,
                None => jobs.push(json!({"id": id, "payload": {"active users task": group}})),
            }
        }
    }
}

impl Lab {
    /// The downtime that `now` falls into.
    pub fn downtime_at(&self, now: OffsetDateTime) -> Option<&Downtime> {
        self.downtime
            .as_ref()
            .filter(|downtime| downtime.start < now && now < downtime.end)
    }
}

impl Booking {
    pub fn is_over(&self, now: OffsetDateTime) -> bool {
        self.end <= now
    }

    /// The job with all its tasks, as `GET jobs/<id>` shows it.
    pub fn whole_job(&self) -> Value {
        let tasks: Vec<&Task> = self.tasks.iter().collect();
        json!({"id": self.id, "payload": payload(&tasks, Task::full)})
    }
}

/// A repeatable disorder: the database gives rows in no order that a lab could rely on.
pub(super) struct Shuffle(u64);

impl Shuffle {
    pub fn new(seed: u64) -> Self {
        // Zero is the one state that xorshift never leaves.
        Self(seed.max(1))
    }

    fn apply<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
