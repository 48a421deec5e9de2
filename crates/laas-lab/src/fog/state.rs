//! The tables of FOG and what happens to them.

use std::collections::BTreeMap;

use serde_json::Value;
use time::OffsetDateTime;

use super::Version;
use super::rows::{Row, edit, host_row, id, image_row, now, row, set, task_row, text};
use super::storage::Storage;
use crate::cabling::Os;

/// The task types by id, of which the lab's hosts do the imaging ones.
pub const TASK_TYPES: [(u32, &str); 20] = [
    (1, "Deploy"),
    (2, "Capture"),
    (3, "Debug"),
    (4, "Memory Test"),
    (5, "Test Disk"),
    (6, "Disk Surface Test"),
    (7, "Recover"),
    (8, "Multi-Cast"),
    (10, "Hardware Inventory"),
    (11, "Password Reset"),
    (12, "All Snapins"),
    (13, "Single Snapin"),
    (14, "Wake-Up"),
    (15, "Deploy - Debug"),
    (16, "Capture - Debug"),
    (17, "Deploy - No Snapins"),
    (18, "Fast Wipe"),
    (19, "Normal Wipe"),
    (20, "Full Wipe"),
    (21, "Virus Scan"),
];
pub const DEPLOYS: [u32; 2] = [1, 17];
pub const CAPTURE: u32 = 2;
/// The types beside which FOG makes no other task of these for a host.
const IMAGING: [u32; 7] = [1, 2, 8, 15, 16, 17, 24];
pub const WIPES: std::ops::RangeInclusive<u32> = 18..=20;

pub const QUEUED: u32 = 1;
pub const CHECKED_IN: u32 = 2;
pub const IN_PROGRESS: u32 = 3;
pub const COMPLETE: u32 = 4;
pub const CANCELLED: u32 = 5;
pub const FAILED: u32 = 6;
pub const WAKE_UP: u32 = 14;
pub const STATES: [(u32, &str); 6] = [
    (QUEUED, "Queued"),
    (CHECKED_IN, "Checked In"),
    (IN_PROGRESS, "In-Progress"),
    (COMPLETE, "Complete"),
    (CANCELLED, "Cancelled"),
    (FAILED, "Failed"),
];

/// Everything FOG knows.
#[derive(Debug, Clone)]
pub struct State {
    pub version: Version,
    pub task_names: TaskNames,
    pub api_enabled: bool,
    pub hosts: BTreeMap<u32, Host>,
    pub images: BTreeMap<u32, Image>,
    pub tasks: BTreeMap<u32, Task>,
    pub storage: Storage,
    pub requests: Vec<String>,
    /// The MACs that get a magic packet when the request is through.
    pub woken: Vec<String>,
    pub last_task: u32,
    /// Somebody queues a task of this type right before the next order.
    pub race: Option<u32>,
}

#[derive(Debug, Clone)]
pub struct Host {
    pub row: Row,
    /// The first one is the primary.
    pub macs: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Image {
    pub row: Row,
    /// Nothing until the first capture.
    pub os: Option<Os>,
    /// The storage groups that it is associated with, the primary one first.
    pub groups: Vec<u32>,
    /// Whether its object says the groups; some of 1.5 say only the name of one.
    pub says_groups: bool,
}

#[derive(Debug, Clone)]
pub struct Task {
    pub row: Row,
    pub started: Option<OffsetDateTime>,
    pub snapins: bool,
}

/// A task, for those who run the lab.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TaskView {
    /// Its id.
    pub id: u32,
    /// The name it was given.
    pub name: String,
    /// The host's name, empty if the host was deleted.
    pub host: String,
    /// 1 is deploy, 2 is capture.
    pub task_type: u32,
    /// The image that the host had when the task was made.
    pub image: u32,
    /// 1 queued, 2 checked in, 3 in progress, 4 complete, 5 cancelled, 6
    /// failed.
    pub state: u32,
    /// How much of it is done.
    pub percent: u8,
    /// Whether all of the host's snapins are run afterwards.
    pub snapins: bool,
}

/// What FOG calls a task that it was asked to call something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskNames {
    /// Before 1.5.
    AsAsked,
    /// `asked - pod1`, seen of 1.5.8.
    WithHost,
    /// `asked - pod1 2026-09-01 10:00:00`, read in 1.6.
    WithHostAndTime,
    /// Whatever it likes, which no version is known to do.
    Other,
}

/// Why something was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 404.
    NotFound,
    /// 500 with this text.
    Error(&'static str),
    /// 500 with no body: PHP died.
    Fatal,
    /// 409 with this text.
    Conflict(&'static str),
    /// 417 with this text.
    Incomplete(&'static str),
    /// 501 with this text.
    NoSuchType(&'static str),
}

impl State {
    pub fn new(version: Version) -> Self {
        Self {
            version,
            task_names: match version {
                Version::V1_5 => TaskNames::WithHost,
                Version::V1_6 => TaskNames::WithHostAndTime,
            },
            api_enabled: true,
            hosts: BTreeMap::new(),
            images: super::stock_images()
                .map(|image| (id(&image.row, "id"), image))
                .collect(),
            tasks: BTreeMap::new(),
            storage: Storage::default(),
            requests: Vec::new(),
            woken: Vec::new(),
            last_task: 0,
            race: None,
        }
    }
}

impl Image {
    pub fn new(id: u32, name: &str, os: Option<Os>, enabled: bool) -> Self {
        let mut row = image_row(id, name, enabled);
        match os {
            Some(_) => set(&mut row, "deployed", now()),
            // There are no files yet.
            None => {
                set(&mut row, "size", "");
                set(&mut row, "srvsize", 0);
            }
        }
        let groups = vec![1];
        Self {
            row,
            os,
            groups,
            says_groups: true,
        }
    }
}

/// What people and clients do.
impl State {
    pub fn add_host(&mut self, name: &str, macs: Vec<String>, image: u32) -> u32 {
        let key = self.hosts.keys().last().copied().unwrap_or_default() + 1;
        let row = host_row(key, name, image);
        self.hosts.insert(key, Host { row, macs });
        key
    }

    pub fn edit_host(&mut self, key: u32, wanted: &Row) -> Result<(), Refusal> {
        let name = text(wanted, "name");
        let taken = self
            .hosts
            .values()
            .any(|host| text(&host.row, "name").eq_ignore_ascii_case(name));
        let host = self.hosts.get_mut(&key).ok_or(Refusal::NotFound)?;
        if taken {
            return Err(Refusal::Error("Already created"));
        }
        edit(&mut host.row, wanted);
        if let Some(Value::Array(macs)) = wanted.get("macs") {
            host.macs = macs
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_lowercase)
                .collect();
        }
        Ok(())
    }

    pub fn create_image(&mut self, wanted: &Row) -> Result<u32, Refusal> {
        let name = text(wanted, "name");
        if self
            .images
            .values()
            .any(|image| text(&image.row, "name").eq_ignore_ascii_case(name))
        {
            return Err(Refusal::Error("Already created"));
        }
        let present = |column: &&str| !matches!(wanted.get(*column), None | Some(Value::Null));
        if name.is_empty() || !["path", "imageTypeID", "osID"].iter().all(present) {
            return Err(Refusal::Incomplete("Required database field is empty"));
        }
        let key = self.add_image(name, None);
        if let Some(image) = self.images.get_mut(&key) {
            edit(&mut image.row, wanted);
            if let Some(Value::Array(groups)) = wanted.get("storagegroups") {
                let group = |value: &Value| match value {
                    Value::String(text) => text.parse().ok(),
                    other => other.as_u64().and_then(|number| u32::try_from(number).ok()),
                };
                image.groups = groups.iter().filter_map(group).collect();
            }
        }
        Ok(key)
    }

    pub fn add_image(&mut self, name: &str, os: Option<Os>) -> u32 {
        let key = self.images.keys().last().copied().unwrap_or_default() + 1;
        self.images.insert(key, Image::new(key, name, os, true));
        key
    }

    pub fn store_image(&mut self, key: u32, groups: &[u32]) {
        if let Some(image) = self.images.get_mut(&key) {
            image.groups = groups.to_vec();
        }
    }

    pub fn edit_image(&mut self, key: u32, wanted: &Row) -> Result<(), Refusal> {
        let name = text(wanted, "name");
        let taken = self
            .images
            .values()
            .any(|image| text(&image.row, "name").eq_ignore_ascii_case(name));
        let image = self.images.get_mut(&key).ok_or(Refusal::NotFound)?;
        if taken && text(&image.row, "name").to_lowercase() != name {
            return Err(Refusal::Error("Already created"));
        }
        edit(&mut image.row, wanted);
        Ok(())
    }

    /// Deletes the entry and keeps the files; whether there was one.
    pub fn delete_image(&mut self, key: u32) -> bool {
        for host in self.hosts.values_mut() {
            if id(&host.row, "imageID") == key {
                set(&mut host.row, "imageID", 0);
            }
        }
        self.images.remove(&key).is_some()
    }

    pub fn create_task(&mut self, host: u32, wanted: &Row) -> Result<(), Refusal> {
        let known = self.hosts.get(&host).ok_or(Refusal::NotFound)?;
        let (image_id, macs) = (id(&known.row, "imageID"), known.macs.clone());
        let host_name = text(&known.row, "name").to_owned();
        let wake = match self.version {
            Version::V1_5 => "0",
            Version::V1_6 => "1",
        };
        let mut asked = row([
            ("deploySnapins", ""),
            ("taskTypeID", "0"),
            ("taskName", ""),
            ("shutdown", "0"),
            ("debug", "0"),
            ("passreset", ""),
            ("wol", wake),
        ]);
        edit(&mut asked, wanted);
        let kind = id(&asked, "taskTypeID");
        if !TASK_TYPES.iter().any(|(id, _)| *id == kind) {
            return Err(match self.version {
                Version::V1_5 => Refusal::NoSuchType("Invalid tasking type passed"),
                Version::V1_6 => Refusal::NotFound,
            });
        }
        // Builds of 1.6 take `true` for none.
        let snapins = match wanted.get("deploySnapins") {
            Some(Value::Bool(all)) => *all && self.version == Version::V1_5,
            _ => text(&asked, "deploySnapins") == "-1",
        };
        if let Some(kind) = self.race.take() {
            let kind = kind.to_string();
            let wanted = row([
                ("taskTypeID", kind.as_str()),
                ("taskName", "Task by admin"),
                ("wol", "0"),
            ]);
            self.create_task(host, &wanted)?;
        }
        if self.is_in_the_way(host, kind)? {
            return Ok(());
        }
        if DEPLOYS.contains(&kind) || kind == CAPTURE {
            let image = self.images.get(&image_id);
            let image = image.ok_or(Refusal::Error("Image is not valid"))?;
            if text(&image.row, "isEnabled") != "1" {
                return Err(Refusal::Error("Image is not enabled"));
            }
            let group = self.groups_of(image).first().copied().unwrap_or_default();
            self.storage.node_for(group, kind == CAPTURE)?;
        }
        if text(&asked, "wol") == "1" || kind == WAKE_UP {
            self.woken.extend(macs);
        }
        let name = match (self.task_names, text(&asked, "taskName")) {
            (TaskNames::AsAsked, name) => name.to_owned(),
            (TaskNames::WithHost, name) => format!("{name} - {host_name}"),
            (TaskNames::WithHostAndTime, name) => format!("{name} - {host_name} {}", now()),
            (TaskNames::Other, _) => format!("Task of {host_name}"),
        };
        set(&mut asked, "taskName", name);
        self.last_task += 1;
        let row = task_row(self.last_task, host, image_id, &asked);
        let task = Task {
            row,
            started: None,
            snapins,
        };
        self.tasks.insert(self.last_task, task);
        Ok(())
    }

    /// What becomes of an order for a host that has active tasks; whether FOG says yes and makes nothing.
    fn is_in_the_way(&mut self, host: u32, kind: u32) -> Result<bool, Refusal> {
        let of_host = self.active_tasks().filter(|task| id(&task.row, "hostID") == host);
        let active: Vec<_> = of_host
            .map(|task| (id(&task.row, "id"), IMAGING.contains(&id(&task.row, "typeID"))))
            .collect();
        for (task, is_imaging) in active {
            match self.version {
                Version::V1_6 if !IMAGING.contains(&kind) => return Ok(true),
                _ if is_imaging => return Err(Refusal::Error("Host is already a member of an active task")),
                _ => self.cancel_task(Some(task), &Row::new()),
            }
        }
        Ok(false)
    }

    pub fn active_tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().filter(|task| is_active(task))
    }

    /// Cancels one task. Without an id, or with one that no task has, FOG
    /// cancels all that have the columns sent in the body.
    pub fn cancel_task(&mut self, key: Option<u32>, wanted: &Row) {
        if let Some(task) = key.and_then(|key| self.tasks.get_mut(&key)) {
            return cancel(task);
        }
        let has = |row: &Row, (column, value): (&String, &Value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            !row.contains_key(column) || text(row, column) == value
        };
        let tasks = self.tasks.values_mut();
        tasks
            .filter(|task| wanted.iter().all(|pair| has(&task.row, pair)))
            .for_each(cancel);
    }

    /// As [`State::cancel_task`]; 1.6 says no to a task that has ended.
    pub fn cancel_named_task(&mut self, key: Option<u32>, wanted: &Row) -> Result<(), Refusal> {
        let ended = key
            .and_then(|key| self.tasks.get(&key))
            .is_some_and(|task| !is_active(task));
        if ended && self.version == Version::V1_6 {
            return Err(Refusal::Conflict("Task is not active and cannot be canceled"));
        }
        self.cancel_task(key, wanted);
        Ok(())
    }

    pub fn cancel_host(&mut self, host: Option<u32>) -> Result<(), Refusal> {
        let host = host
            .filter(|host| self.hosts.contains_key(host))
            .ok_or(Refusal::NotFound)?;
        let mut tasks = self.tasks.values_mut();
        let task = tasks.find(|task| is_active(task) && id(&task.row, "hostID") == host);
        // Cancelling the task of an idle host calls a method of nothing.
        cancel(task.ok_or(match self.version {
            Version::V1_5 => Refusal::Fatal,
            Version::V1_6 => Refusal::Conflict("Host has no active task to cancel"),
        })?);
        Ok(())
    }
}

pub fn is_active(task: &Task) -> bool {
    (QUEUED..=IN_PROGRESS).contains(&id(&task.row, "stateID"))
}

fn cancel(task: &mut Task) {
    if is_active(task) {
        set(&mut task.row, "stateID", CANCELLED);
    }
}
