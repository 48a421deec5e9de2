//! One task of a job: what is asked of the lab, and the texts the lab sees of it.

use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::spec::Vlan;

/// The table a task lives in; the names are the application's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum TaskType {
    #[serde(rename = "HostHardwareRelation")]
    Hardware,
    #[serde(rename = "HostNetworkRelation")]
    Network,
    #[serde(rename = "AccessRelation")]
    Access,
    #[serde(rename = "SoftwareRelation")]
    Software,
    #[serde(rename = "SnapshotRelation")]
    Snapshot,
}

impl TaskType {
    /// The payload's groups in the order in which the application writes them, with their keys.
    pub(super) const PAYLOAD: [(Self, &str); 5] = [
        (Self::Access, "access"),
        (Self::Software, "software"),
        (Self::Hardware, "hardware"),
        (Self::Network, "network"),
        (Self::Snapshot, "snapshot"),
    ];

    /// The order in which users see the tasks, with the words they see.
    pub(super) const PAGE: [(Self, &str); 5] = [
        (Self::Hardware, "Hardware Configuration Task"),
        (Self::Access, "Access Task"),
        (Self::Network, "Network Configuration Task"),
        (Self::Software, "Software Configuration Task"),
        (Self::Snapshot, "Snapshot Task"),
    ];
}

/// A task as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub id: String,
    pub status: i32,
    pub message: String,
    pub lab_token: String,
    pub work: Work,
}

/// What a task asks for.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Hardware {
        host: String,
        image: i64,
        hostname: String,
        released: bool,
    },
    Network {
        host: String,
        ports: Vec<(String, Vec<Vlan>)>,
    },
    Vpn {
        user: i64,
        revoke: bool,
    },
    Ssh {
        user: i64,
        key: String,
        hosts: Vec<String>,
    },
    Software {
        opnfv: Value,
        released: bool,
    },
    Snapshot {
        host: String,
        dashboard_id: i64,
    },
}

impl Task {
    /// A task that the lab has not seen yet.
    pub fn new(work: Work) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            status: 0,
            message: String::new(),
            // The application's default is the word, not an absent value.
            lab_token: "null".to_owned(),
            work,
        }
    }

    pub fn task_type(&self) -> TaskType {
        match self.work {
            Work::Hardware { .. } => TaskType::Hardware,
            Work::Network { .. } => TaskType::Network,
            Work::Vpn { .. } | Work::Ssh { .. } => TaskType::Access,
            Work::Software { .. } => TaskType::Software,
            Work::Snapshot { .. } => TaskType::Snapshot,
        }
    }

    /// Whom the task is about: a host's lab id or a user's id; empty for software.
    pub fn subject(&self) -> String {
        match &self.work {
            Work::Hardware { host, .. } | Work::Network { host, .. } | Work::Snapshot { host, .. } => {
                host.clone()
            }
            Work::Vpn { user, .. } | Work::Ssh { user, .. } => user.to_string(),
            Work::Software { .. } => String::new(),
        }
    }

    /// The user whose secret the task's message may hold.
    pub fn secret_of(&self) -> Option<i64> {
        match self.work {
            Work::Vpn { user, .. } | Work::Ssh { user, .. } => Some(user),
            _ => None,
        }
    }

    /// The task after a post of any of these fields; nothing when the database would refuse one of them.
    pub fn posted(
        &self,
        status: Option<&str>,
        message: Option<&str>,
        lab_token: Option<&str>,
    ) -> Option<Self> {
        let storable = [status, message, lab_token]
            .into_iter()
            .flatten()
            .all(|text| !text.contains('\0'));
        // The column's width.
        let fits = lab_token.is_none_or(|token| token.chars().count() <= 50);
        let status = match status {
            Some(text) => text.trim().parse().ok()?,
            None => self.status,
        };
        let pick =
            |posted: Option<&str>, stored: &String| posted.map_or_else(|| stored.clone(), str::to_owned);
        (storable && fits).then(|| Self {
            status,
            message: pick(message, &self.message),
            lab_token: pick(lab_token, &self.lab_token),
            ..self.clone()
        })
    }

    /// The configuration of the three lists, of `GET …/<task>` and of the answer to a post.
    pub fn delta(&self) -> Value {
        let lab_token = &self.lab_token;
        match &self.work {
            Work::Hardware {
                host, released: true, ..
            } => json!({"id": host, "lab_token": lab_token, "power": "off"}),
            Work::Hardware {
                host,
                image,
                hostname,
                released: false,
            } => json!({
                "id": host, "lab_token": lab_token, "image": image, "hostname": hostname, "power": "on", "ipmi_create": true
            }),
            Work::Network { host, ports } => json!({host: port_map(ports), "lab_token": lab_token}),
            Work::Vpn { user, revoke } => {
                json!({"lab_token": lab_token, "access_type": "vpn", "revoke": revoke, "user": user})
            }
            Work::Ssh { user, key, hosts } => json!({
                "lab_token": lab_token, "context": {"key": key, "hosts": hosts},
                "access_type": "ssh", "revoke": false, "user": user
            }),
            Work::Software { released: true, .. } => json!({"opnfv": {}, "lab_token": lab_token}),
            Work::Software {
                opnfv,
                released: false,
            } => json!({"opnfv": opnfv, "lab_token": lab_token}),
            Work::Snapshot { host, dashboard_id } => json!({"dashboard_id": dashboard_id, "host": host}),
        }
    }

    /// The configuration of `GET jobs/<id>`, which differs from the delta in types, in tokens and after the end.
    pub fn full(&self) -> Value {
        match &self.work {
            Work::Hardware {
                host,
                image,
                hostname,
                released,
            } => json!({
                "image": image.to_string(), "power": if *released { "off" } else { "on" },
                "hostname": hostname, "ipmi_create": "True", "id": host
            }),
            Work::Network { host, ports } => json!({host: port_map(ports)}),
            Work::Vpn { user, revoke } => json!({"access_type": "vpn", "user": user, "revoke": revoke}),
            Work::Ssh { user, key, hosts } => json!({
                "access_type": "ssh", "user": user, "revoke": false, "context": {"key": key, "hosts": hosts}
            }),
            Work::Software { opnfv, .. } => json!({"opnfv": opnfv, "lab_token": self.lab_token}),
            Work::Snapshot { host, dashboard_id } => json!({"host": host, "dashboard_id": dashboard_id}),
        }
    }
}

/// A job's `payload`: the given tasks by group, each rendered; groups without a task are absent.
pub(super) fn payload(tasks: &[&Task], render: fn(&Task) -> Value) -> Value {
    let mut groups = Map::new();
    for (task_type, key) in TaskType::PAYLOAD {
        let group: Map<String, Value> = tasks
            .iter()
            .filter(|task| task.task_type() == task_type)
            .map(|task| (task.id.clone(), render(task)))
            .collect();
        if !group.is_empty() {
            groups.insert(key.to_owned(), Value::Object(group));
        }
    }
    Value::Object(groups)
}

fn port_map(ports: &[(String, Vec<Vlan>)]) -> Map<String, Value> {
    ports
        .iter()
        .map(|(mac, vlans)| (mac.clone(), json!(vlans)))
        .collect()
}
