//! What a host does at FOG that boots from the network.

use time::OffsetDateTime;

use super::Version;
use super::rows::{id, now, set, text};
use super::state::{
    CAPTURE, CHECKED_IN, COMPLETE, DEPLOYS, FAILED, Host, IN_PROGRESS, State, Task, WIPES, is_active,
};
use crate::cabling::{Order, Os};

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
