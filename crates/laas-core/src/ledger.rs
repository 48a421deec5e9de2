//! What the pack remembers about each task of the dashboard, so that a crash of anything is survived.

use crate::HostName;
use crate::datastore::{Datastore, DatastoreError, Entry};
use crate::names::TaskId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The value of the key `task_<task id>`. One key, one writer: the execution that works on the task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub job: u64,
    /// Of the delta that was worked on, see [`digest`].
    pub digest: String,
    /// Counts how often the dashboard has given out this delta anew: a host can be reset to the same image.
    #[serde(default)]
    pub round: u32,
    /// 0 when planned, else the status posted: 100, 200 or 300. Written before the post, so that a task that is
    /// new again on the dashboard while this says 200 or 300 is a new round and never taken for the old one.
    pub state: u16,
    /// The execution that posted it.
    pub execution: Option<String>,
    /// Seconds since 1970.
    pub time: u64,
    /// The host that the task is about. It belongs to the job as long as a record says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// The dashboard's id of the user that the task is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u64>,
    /// The booking is over, and the work takes away what was given before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub release: bool,
    /// The task was done once, so that there may be something to take back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given: bool,
}

impl Record {
    /// Whether the task has been done, now or in an earlier round, and is not proven to be taken back.
    pub fn has_given(&self) -> bool {
        match self.state {
            200 => !self.release,
            _ => self.given,
        }
    }

    /// What a piece of work is called at the peers: the same work has the same name, however often it is run.
    pub fn request(&self, task: &TaskId) -> String {
        format!("{task}:{}:{}", self.digest, self.round)
    }
}

/// A short fingerprint of a task's delta: the same delta gives the same text, whatever the order of its keys.
pub fn digest(delta: &serde_json::Value) -> String {
    let hash = Sha256::digest(sorted(delta).to_string());
    hash.iter().take(8).map(|b| format!("{b:02x}")).collect()
}

fn sorted(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            Value::Object(entries.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// What is known about a task; a record that can't be read counts as none, since work can always be repeated.
///
/// # Errors
/// The datastore can't be read.
pub fn get(datastore: &Datastore, task: &TaskId) -> Result<Option<Record>, DatastoreError> {
    datastore.get_record(&key(task))
}

/// # Errors
/// The datastore can't be written.
pub fn put(datastore: &Datastore, task: &TaskId, record: &Record) -> Result<(), DatastoreError> {
    datastore.put_record(&key(task), record)
}

/// Every task that the lab remembers.
///
/// # Errors
/// The datastore can't be read.
pub fn all(datastore: &Datastore) -> Result<Vec<(TaskId, Record)>, DatastoreError> {
    let entries = datastore.list(PREFIX)?;
    let read = |entry: &Entry| {
        let task = entry.name.strip_prefix(PREFIX)?.parse().ok()?;
        Some((task, serde_json::from_str(entry.value.expose()).ok()?))
    };
    Ok(entries.iter().filter_map(read).collect())
}

/// # Errors
/// The datastore can't be written.
pub fn remove(datastore: &Datastore, task: &TaskId) -> Result<(), DatastoreError> {
    datastore.delete(&key(task))
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

const PREFIX: &str = "task_";

fn key(task: &TaskId) -> String {
    format!("{PREFIX}{task}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let one: serde_json::Value = serde_json::from_str(r#"{"a":1,"b":{"c":[1,2],"d":null}}"#).unwrap();
        let two: serde_json::Value = serde_json::from_str(r#"{"b":{"d":null,"c":[1,2]},"a":1}"#).unwrap();
        assert_eq!(digest(&one), digest(&two));
        assert_ne!(
            digest(&one),
            digest(&json!({"a": 1, "b": {"c": [2, 1], "d": null}}))
        );
        assert_eq!(digest(&one).len(), 16);
    }
}
