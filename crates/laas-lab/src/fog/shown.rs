//! FOG's objects as its API shows them.

use serde_json::{Value, json};

use super::Version;
use super::rows::{Row, id, text};
use super::state::{Host, Image, STATES, State, TASK_TYPES, Task, TaskView};

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
        if self.version == Version::V1_5 && image.says_groups {
            shown.insert("storagegroups".into(), groups.into());
        }
        shown.into()
    }

    /// An image without a storage group is taken for one of the first.
    pub fn groups_of(&self, image: &Image) -> Vec<u32> {
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

    /// The groups with their nodes, whose ids are numbers where all others are texts.
    pub fn group_jsons(&self) -> Vec<Value> {
        let shown = |(key, row): (&u32, &Row)| {
            let mut shown = row.clone();
            let nodes = |enabled: bool| -> Vec<u32> {
                let members = self.storage.nodes.iter();
                members
                    .filter(|(_, node)| id(node, "storagegroupID") == *key)
                    .filter(|(_, node)| !enabled || text(node, "isEnabled") == "1")
                    .map(|(node, _)| *node)
                    .collect()
            };
            shown.insert("allnodes".into(), nodes(false).into());
            shown.insert("enablednodes".into(), nodes(true).into());
            Value::from(shown)
        };
        self.storage.groups.iter().map(shown).collect()
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
