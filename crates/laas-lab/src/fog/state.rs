//! The tables of FOG and what happens to them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::Version;
use super::rows::{Row, edit, host_row, id, image_row, now, row, set, task_row, text};
use super::storage::Storage;
use crate::cabling::{Order, Os};

/// The task types by id, of which the lab's hosts do the imaging ones.
const TASK_TYPES: [(u32, &str); 20] = [
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
const DEPLOYS: [u32; 2] = [1, 17];
const CAPTURE: u32 = 2;
const WIPES: std::ops::RangeInclusive<u32> = 18..=20;

const QUEUED: u32 = 1;
const CHECKED_IN: u32 = 2;
const IN_PROGRESS: u32 = 3;
const COMPLETE: u32 = 4;
const CANCELLED: u32 = 5;
const FAILED: u32 = 6;
const WAKE_UP: u32 = 14;
const STATES: [(u32, &str); 6] = [
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
    pub api_enabled: bool,
    pub hosts: BTreeMap<u32, Host>,
    pub images: BTreeMap<u32, Image>,
    pub tasks: BTreeMap<u32, Task>,
    pub storage: Storage,
    pub requests: Vec<String>,
    /// The MACs that get a magic packet when the request is through.
    pub woken: Vec<String>,
    last_task: u32,
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
}

#[derive(Debug, Clone)]
pub struct Task {
    pub row: Row,
    started: Option<OffsetDateTime>,
    snapins: bool,
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
        Self { row, os, groups }
    }
}

/// What the API shows.
impl State {
    pub fn host_json(&self, host: &Host) -> Value {
        let image = self.images.get(&id(&host.row, "imageID"));
        let mut shown = host.row.clone();
        shown.insert(
            "image".into(),
            image.map_or_else(|| json!({}), |image| image.row.clone().into()),
        );
        shown.insert(
            "imagename".into(),
            image.map_or("", |image| text(&image.row, "name")).into(),
        );
        shown.insert("pingstatuscode".into(), 6.into());
        shown.insert("pingstatustext".into(), "No such device or address".into());
        shown.insert(
            "primac".into(),
            host.macs.first().cloned().unwrap_or_default().into(),
        );
        shown.insert("macs".into(), host.macs.clone().into());
        shown.into()
    }

    pub fn image_json(&self, image: &Image) -> Value {
        let mut shown = image.row.clone();
        shown.insert(
            "os".into(),
            json!({"id": "50", "name": "Linux", "description": ""}),
        );
        shown.insert("osname".into(), "Linux".into());
        shown.insert("imagetypename".into(), "Single Disk - Resizable".into());
        shown.insert("imageparttypename".into(), "Everything".into());
        let groups = self.groups_of(image);
        let group = groups.first().and_then(|key| self.storage.groups.get(key));
        shown.insert(
            "storagegroupname".into(),
            group.map_or("", |row| text(row, "name")).into(),
        );
        // 1.6 has the groups in `imageassociation` only.
        if self.version == Version::V1_5 {
            shown.insert("storagegroups".into(), groups.into());
        }
        shown.into()
    }

    /// An image without a storage group is taken for one of the first.
    fn groups_of(&self, image: &Image) -> Vec<u32> {
        match &*image.groups {
            [] => vec![self.storage.first_group()],
            groups => groups.to_vec(),
        }
    }

    pub fn node_jsons(&self) -> Vec<Value> {
        let old = self.version == Version::V1_5;
        let nodes = self.storage.nodes.values();
        nodes.map(|node| self.storage.node_json(node, old)).collect()
    }

    /// Which image is in which storage group.
    pub fn association_jsons(&self) -> Vec<Value> {
        let pairs = self.images.iter().flat_map(|(image, has)| {
            has.groups
                .iter()
                .enumerate()
                .map(move |(place, group)| (*image, *group, place == 0))
        });
        let association = |(place, (image, group, primary)): (usize, (u32, u32, bool))| {
            let text = |number: u32| number.to_string();
            json!({
                "id": (place + 1).to_string(), "imageID": text(image), "storagegroupID": text(group),
                "primary": u8::from(primary).to_string(),
            })
        };
        pairs.enumerate().map(association).collect()
    }

    pub fn task_json(&self, task: &Task) -> Value {
        let named = |table: &[(u32, &str)], key: u32| {
            let name = table
                .iter()
                .find(|(id, _)| *id == key)
                .map_or("", |(_, name)| name);
            json!({"id": key.to_string(), "name": name})
        };
        let image = self.images.get(&id(&task.row, "imageID"));
        let host = self.hosts.get(&id(&task.row, "hostID"));
        let mut shown = task.row.clone();
        shown.insert(
            "image".into(),
            image.map_or_else(|| json!({}), |image| image.row.clone().into()),
        );
        shown.insert(
            "host".into(),
            host.map_or(Value::Null, |host| self.host_json(host)),
        );
        shown.insert("type".into(), named(&TASK_TYPES, id(&task.row, "typeID")));
        shown.insert("state".into(), named(&STATES, id(&task.row, "stateID")));
        shown.into()
    }

    pub fn views(&self) -> Vec<TaskView> {
        let view = |task: &Task| TaskView {
            id: id(&task.row, "id"),
            name: text(&task.row, "name").into(),
            host: self
                .hosts
                .get(&id(&task.row, "hostID"))
                .map_or("", |host| text(&host.row, "name"))
                .into(),
            task_type: id(&task.row, "typeID"),
            image: id(&task.row, "imageID"),
            state: id(&task.row, "stateID"),
            percent: text(&task.row, "pct").parse().unwrap_or_default(),
            snapins: task.snapins,
        };
        self.tasks.values().map(view).collect()
    }

    pub fn host_image(&self, name: &str) -> Option<u32> {
        let host = self.hosts.values().find(|host| text(&host.row, "name") == name)?;
        Some(id(&host.row, "imageID"))
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
        if self.active_tasks().any(|task| id(&task.row, "hostID") == host) {
            return Err(Refusal::Error("Host is already a member of an active task"));
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

/// What a host does that boots from the network.
impl State {
    /// The imaging task that waits for the host with this MAC.
    pub fn task_for(&self, mac: &str) -> Option<u32> {
        let has_mac = |host: &Host| host.macs.iter().any(|one| one.eq_ignore_ascii_case(mac));
        let (host, _) = self.hosts.iter().find(|(_, host)| has_mac(host))?;
        let task = self.active_tasks().find(|task| {
            let kind = id(&task.row, "typeID");
            let works = DEPLOYS.contains(&kind) || kind == CAPTURE || WIPES.contains(&kind);
            id(&task.row, "hostID") == *host && works
        })?;
        Some(id(&task.row, "id"))
    }

    /// The host checks in and is about to begin, or to begin anew.
    pub fn start(&mut self, key: u32) -> Order {
        let Some(task) = self.tasks.get_mut(&key) else {
            return Order::Disk;
        };
        // The client that wipes does not check in, and tells nothing until it
        // has done.
        if WIPES.contains(&id(&task.row, "typeID")) {
            return Order::Wipe { task: key };
        }
        task.started = Some(OffsetDateTime::now_utc());
        set(&mut task.row, "stateID", CHECKED_IN);
        set(&mut task.row, "checkInTime", now());
        set(&mut task.row, "pct", "0000000000");
        set(&mut task.row, "percent", "");
        let image = id(&task.row, "imageID");
        let found = self.images.get_mut(&image);
        if id(&task.row, "typeID") == CAPTURE {
            if let Some(image) = found {
                set(&mut image.row, "size", "");
            }
            return Order::Capture { task: key, image };
        }
        match found.and_then(|image| image.os.clone()) {
            Some(os) => Order::Deploy {
                task: key,
                image,
                os,
                files: None,
            },
            // There are no files to write.
            None => {
                self.client_failed(key);
                Order::Disk
            }
        }
    }

    /// The client stops with an error. In 1.5 the task stays as it is for
    /// ever.
    pub fn client_failed(&mut self, key: u32) {
        let task = self.tasks.get_mut(&key).filter(|task| is_active(task));
        if let (Version::V1_6, Some(task)) = (self.version, task) {
            set(&mut task.row, "stateID", FAILED);
        }
    }

    pub fn progress(&mut self, key: u32, percent: u8) {
        let reports = |task: &&mut Task| is_active(task) && !WIPES.contains(&id(&task.row, "typeID"));
        let Some(task) = self.tasks.get_mut(&key).filter(reports) else {
            return;
        };
        let seconds = task
            .started
            .map_or(0, |started| (OffsetDateTime::now_utc() - started).whole_seconds());
        set(&mut task.row, "stateID", IN_PROGRESS);
        set(&mut task.row, "checkInTime", now());
        set(&mut task.row, "pct", format_args!("{percent:010}"));
        set(&mut task.row, "percent", format_args!("{percent}.00%"));
        set(&mut task.row, "bpm", "6.00GB/min");
        set(
            &mut task.row,
            "timeElapsed",
            format_args!(
                "{:02}:{:02}:{:02}",
                seconds / 3600,
                seconds / 60 % 60,
                seconds % 60
            ),
        );
        set(
            &mut task.row,
            "dataCopied",
            format_args!("{:.2} MiB", f32::from(percent) * 102.4),
        );
        set(&mut task.row, "dataTotal", "10240.00 MiB");
    }

    /// The capture that has not ended, and its image's directory.
    pub fn capture(&self, key: u32) -> Option<String> {
        let task = self.tasks.get(&key).filter(|task| is_active(task))?;
        let image = self.images.get(&id(&task.row, "imageID"))?;
        (id(&task.row, "typeID") == CAPTURE).then(|| text(&image.row, "path").to_owned())
    }

    /// The directory of an image's files.
    pub fn path_of(&self, image: u32) -> Option<String> {
        let image = self.images.get(&image)?;
        Some(text(&image.row, "path").to_owned())
    }

    /// A capture was moved into its image.
    pub fn store_capture(&mut self, key: u32, os: &Os) {
        let image = self.tasks.get(&key).map(|task| id(&task.row, "imageID"));
        if let Some(image) = image.and_then(|image| self.images.get_mut(&image)) {
            image.os = Some(os.clone());
            set(&mut image.row, "deployed", now());
            set(&mut image.row, "size", "10737418240.000000:");
        }
    }

    /// The task is complete, unless somebody cancelled it meanwhile.
    pub fn finish(&mut self, key: u32) {
        self.progress(key, 100);
        let Some(task) = self.tasks.get_mut(&key).filter(|task| is_active(task)) else {
            return;
        };
        set(&mut task.row, "stateID", COMPLETE);
        set(&mut task.row, "pct", "0000000100");
        if DEPLOYS.contains(&id(&task.row, "typeID"))
            && let Some(host) = self.hosts.get_mut(&id(&task.row, "hostID"))
        {
            set(&mut host.row, "deployed", now());
        }
    }
}

fn is_active(task: &Task) -> bool {
    (QUEUED..=IN_PROGRESS).contains(&id(&task.row, "stateID"))
}

fn cancel(task: &mut Task) {
    if is_active(task) {
        set(&mut task.row, "stateID", CANCELLED);
    }
}
