//! What FOG says about hosts, images and tasks, in the shapes of 1.5 and 1.6.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::fmt;
use std::num::NonZeroU64;

/// The id of anything in FOG. It is never zero: a path built with no id would mean all objects of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(#[serde(deserialize_with = "text_or_number")] NonZeroU64);

/// A machine that is registered in FOG.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Host {
    pub id: Id,
    pub name: String,
    /// The image that a deploy task would write; FOG says 0 if there is none.
    #[serde(default, rename = "imageID", deserialize_with = "optional_id")]
    pub image: Option<Id>,
}

/// A disk image.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Image {
    pub id: Id,
    pub name: String,
    /// FOG writes `"1"` and `"0"`.
    #[serde(default = "yes", rename = "isEnabled", deserialize_with = "truth")]
    pub enabled: bool,
    /// The directory of its files on the storage nodes.
    #[serde(default, deserialize_with = "any_text")]
    pub path: String,
    /// `os` in FOG's database, 50 is Linux.
    #[serde(default, rename = "osID", deserialize_with = "optional_id")]
    pub os: Option<Id>,
    /// 1 is one disk, resizable; 2 is one disk with several partitions; 3 is all disks; 4 is raw.
    #[serde(default, rename = "imageTypeID", deserialize_with = "optional_id")]
    pub kind: Option<Id>,
    /// 1 is everything.
    #[serde(default, rename = "imagePartitionTypeID", deserialize_with = "optional_id")]
    pub partitions: Option<Id>,
    #[serde(default, deserialize_with = "any_text")]
    pub description: String,
    /// How its files are written, 5 is zstd.
    #[serde(default, deserialize_with = "optional_number")]
    pub format: Option<u64>,
    /// Whether FOG has ever moved a capture into it; `None` if FOG doesn't say. Its `deployed` is the time of that (of
    /// the last deploy as well, since August 2026).
    #[serde(default, rename = "deployed", deserialize_with = "ever")]
    pub captured: Option<bool>,
    /// How hard it is compressed.
    #[serde(default, deserialize_with = "optional_number")]
    pub compress: Option<u64>,
    /// Where its files are. A list of FOG 1.6 does not say it; [`crate::Fog::image`] finds it out.
    #[serde(default, rename = "storagegroups", deserialize_with = "ids")]
    pub storage_groups: Vec<Id>,
    /// The name of its primary storage group.
    #[serde(default, rename = "storagegroupname", deserialize_with = "any_text")]
    pub(crate) storage_group_name: String,
}

/// What a task does, `tasktypes` in FOG's database; the number is the type's id there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskType {
    /// Writes the host's image to its disk.
    Deploy = 1,
    /// Reads the host's disk into its image.
    Capture = 2,
    /// Writes zeros to the start of the disk, so that nothing boots from it; the data can be recovered.
    FastWipe = 18,
    /// Overwrites the disk once.
    NormalWipe = 19,
    /// Overwrites the disk three times, and then with zeros.
    FullWipe = 20,
}

/// A task, queued, running or ended.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "RawTask")]
pub struct Task {
    pub id: Option<Id>,
    /// As FOG stores it, which is not what it was asked to: see [`Task::is_called`].
    pub name: String,
    pub host: Option<Id>,
    pub image: Option<Id>,
    kind: Option<Id>,
    /// FOG's name of its type, for messages; `type 8` where FOG gives only the id.
    pub kind_name: String,
    pub state: State,
    /// How far the imaging is, from 0 to 100.
    pub percent: f64,
    /// FOG's words for the speed, `5.2GB/min`; empty before there is one.
    pub speed: String,
    /// Changes whenever the client on the host gives a sign of life.
    pub sign_of_life: String,
}

/// Where a task is, `taskstates` in FOG's database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Queued,
    CheckedIn,
    InProgress,
    Complete,
    Cancelled,
    /// Since August 2026, with a matching client; before, a failed task stays in progress for ever.
    Failed,
    /// None of the states that FOG is known to have.
    Unknown,
}

/// A list is `{"count":n,"<class>s":[…]}` in 1.5 and `{"data":[…],"nextUrl":…}` in 1.6.
#[derive(Debug, Deserialize)]
pub(crate) struct List {
    #[serde(default, rename = "nextUrl")]
    pub next: Option<String>,
    /// How many there are on all pages.
    #[serde(default, rename = "recordsFiltered")]
    pub filtered: Value,
    /// Whether this is not all of them.
    #[serde(default, deserialize_with = "truth")]
    pub truncated: bool,
    #[serde(flatten)]
    members: serde_json::Map<String, Value>,
}

/// In 1.5 a task holds whole objects beside their ids, and some ids only there.
#[derive(Deserialize)]
struct RawTask {
    id: Value,
    #[serde(default)]
    name: Value,
    #[serde(default, rename = "hostID")]
    host_id: Value,
    #[serde(default)]
    host: Value,
    #[serde(default, rename = "imageID")]
    image_id: Value,
    #[serde(default)]
    image: Value,
    #[serde(default, rename = "typeID")]
    type_id: Value,
    #[serde(default, rename = "type")]
    kind: Value,
    #[serde(default, rename = "stateID")]
    state_id: Value,
    #[serde(default)]
    state: Value,
    #[serde(default)]
    pct: Value,
    #[serde(default)]
    percent: Value,
    #[serde(default)]
    bpm: Value,
    #[serde(default, rename = "timeElapsed")]
    time_elapsed: Value,
    #[serde(default, rename = "dataCopied")]
    data_copied: Value,
    #[serde(default, rename = "checkInTime")]
    check_in_time: Value,
}

impl Id {
    /// `None` for zero.
    pub fn new(id: u64) -> Option<Self> {
        NonZeroU64::new(id).map(Self)
    }

    pub fn get(self) -> u64 {
        self.0.get()
    }

    fn from_value(value: &Value) -> Option<Self> {
        number(value).and_then(Self::new)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Task {
    /// Whether it does this, and nothing else.
    pub fn is(&self, kind: TaskType) -> bool {
        self.kind.map(Id::get) == Some(kind as u64)
    }

    /// Whether this is the task that FOG was asked to call `asked`, for the host that it knows as `host`.
    ///
    /// FOG appends ` - <host>` (1.5), or ` - <host> 2026-09-01 10:00:00` (1.6), or nothing (before 1.5)
    /// (`Host::createImagePackage`). It may cut the name where its column ends, and write quotes and the like as HTML
    /// entities. A name that merely begins with `asked` is another task's.
    pub fn is_called(&self, asked: &str, host: &str) -> bool {
        let (name, host) = (unescaped(&self.name), unescaped(host));
        let of_host = format!("{} - {host}", unescaped(asked));
        match name.strip_prefix(&of_host) {
            Some(time) => is_start_of_time(time),
            None => name.len() >= unescaped(asked).len() && of_host.starts_with(&name),
        }
    }
}

impl State {
    /// Whether the task can still come to an end by itself.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Queued | Self::CheckedIn | Self::InProgress)
    }
}

impl TaskType {
    pub fn is_wipe(self) -> bool {
        matches!(self, Self::FastWipe | Self::NormalWipe | Self::FullWipe)
    }
}

impl fmt::Display for TaskType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deploy => "deploy",
            Self::Capture => "capture",
            Self::FastWipe => "fast wipe",
            Self::NormalWipe => "normal wipe",
            Self::FullWipe => "full wipe",
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::CheckedIn => "checked in",
            Self::InProgress => "in progress",
            Self::Complete => "complete",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Unknown => "in a state unknown to us",
        })
    }
}

impl List {
    /// The objects of a list, whose key in 1.5 is `class` and an `s`; `None` if this is no list of them.
    pub fn items(&mut self, class: &str) -> Option<Vec<Value>> {
        let key = format!("{class}s");
        let found = ["data", &key].into_iter().find_map(|k| self.members.remove(k));
        match found? {
            Value::Array(items) => Some(items),
            // PHP writes a list whose first index is not 0 as an object.
            Value::Object(items) => Some(items.into_iter().map(|(_, item)| item).collect()),
            _ => None,
        }
    }
}

impl From<RawTask> for Task {
    fn from(raw: RawTask) -> Self {
        let id =
            |plain: &Value, object: &Value| Id::from_value(plain).or_else(|| Id::from_value(&object["id"]));
        let percent = [&raw.percent, &raw.pct]
            .into_iter()
            .find_map(|v| text(v).trim_end_matches('%').trim().parse::<f64>().ok());
        let signs = [
            &raw.state_id,
            &raw.pct,
            &raw.percent,
            &raw.time_elapsed,
            &raw.data_copied,
            &raw.check_in_time,
        ];
        let kind = id(&raw.type_id, &raw.kind);
        let kind_name = raw.kind["name"].as_str().map(str::to_owned);
        let type_id = || kind.map_or("of an unknown type".to_owned(), |kind| format!("type {kind}"));
        Self {
            id: Id::from_value(&raw.id),
            name: text(&raw.name),
            host: id(&raw.host_id, &raw.host),
            image: id(&raw.image_id, &raw.image),
            kind,
            kind_name: kind_name.unwrap_or_else(type_id),
            state: match id(&raw.state_id, &raw.state).map(Id::get) {
                Some(1) => State::Queued,
                Some(2) => State::CheckedIn,
                Some(3) => State::InProgress,
                Some(4) => State::Complete,
                Some(5) => State::Cancelled,
                Some(6) => State::Failed,
                _ => State::Unknown,
            },
            percent: percent.filter(|p| p.is_finite()).unwrap_or(0.0).clamp(0.0, 100.0),
            speed: text(&raw.bpm),
            sign_of_life: signs.map(text).join("|"),
        }
    }
}

/// Whether this is ` 2026-09-01 10:00:00`, or its beginning, or nothing.
fn is_start_of_time(text: &str) -> bool {
    let form = " 0000-00-00 00:00:00";
    let fits = |(form, c): (char, char)| {
        if form == '0' {
            c.is_ascii_digit()
        } else {
            c == form
        }
    };
    text.len() <= form.len() && form.chars().zip(text.chars()).all(fits)
}

/// Without the entities that PHP's `htmlspecialchars` writes.
fn unescaped(text: &str) -> String {
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#039;", "'"),
        ("&#39;", "'"),
    ];
    let plain = entities
        .into_iter()
        .fold(text.to_owned(), |text, (entity, c)| text.replace(entity, c));
    plain.replace("&amp;", "&")
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// FOG writes numbers as texts and as numbers.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU64, D::Error> {
    let id = Id::from_value(&Value::deserialize(deserializer)?);
    id.map(|i| i.0).ok_or_else(|| serde::de::Error::custom("no id"))
}

pub(crate) fn optional_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Id>, D::Error> {
    Ok(Id::from_value(&Value::deserialize(deserializer)?))
}

pub(crate) fn optional_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(number(&Value::deserialize(deserializer)?))
}

pub(crate) fn any_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(text(&Value::deserialize(deserializer)?))
}

/// Whether a date is one: what never happened is year 0 in FOG 1.5, and words in the lists of 1.6.
fn ever<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let date = text(&Value::deserialize(deserializer)?);
    Ok(Some(date.starts_with(|c: char| matches!(c, '1'..='9'))))
}

/// The ids of a list; PHP writes one whose first index is not 0 as an object.
fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Id>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Array(items) => items.iter().filter_map(Id::from_value).collect(),
        Value::Object(items) => items.values().filter_map(Id::from_value).collect(),
        _ => Vec::new(),
    })
}

pub(crate) fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Bool(truth) => truth,
        other => !matches!(text(&other).as_str(), "" | "0"),
    })
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_are_texts_or_numbers_and_never_zero() {
        for (value, id) in [
            (json!("17"), Some(17)),
            (json!(17), Some(17)),
            (json!("0"), None),
            (json!(0), None),
            (json!(-1), None),
            (json!(1.5), None),
            (json!(""), None),
            (json!(null), None),
            (json!("1/../2"), None),
        ] {
            assert_eq!(Id::from_value(&value).map(Id::get), id, "{value}");
            assert_eq!(
                serde_json::from_value::<Id>(value.clone()).ok().map(Id::get),
                id,
                "{value}"
            );
        }
    }

    #[test]
    fn lists_of_both_versions_are_read() {
        for (list, count) in [
            (
                json!({"count": 1, "hosts": [{"id": "1", "name": "pod1"}]}),
                Some(1),
            ),
            (
                json!({"count": 1, "hosts": {"3": {"id": "1", "name": "pod1"}}}),
                Some(1),
            ),
            (
                json!({"draw": 0, "recordsTotal": "2", "data": [{}, {}], "_lang": "host"}),
                Some(2),
            ),
            (json!({"count": 0, "hosts": []}), Some(0)),
            (json!({"count": 0, "images": []}), None),
            (json!({"error": "x"}), None),
        ] {
            let mut read: List = serde_json::from_value(list.clone()).unwrap();
            assert_eq!(read.items("host").map(|i| i.len()), count, "{list}");
        }
    }

    #[test]
    fn tasks_are_read_whatever_their_shape() {
        let nested = json!({
            "id": "5", "name": "laas x", "checkInTime": "2026-01-01 10:00:00", "pct": "0000000042",
            "percent": "42.5", "bpm": "5.2GB/min", "timeElapsed": "00:01:00", "dataCopied": "1 GiB",
            "host": {"id": "7", "name": "pod1"}, "image": {"id": "17"}, "type": {"id": "1"}, "state": {"id": "3"},
        });
        let flat = json!({
            "id": 5, "name": "laas x", "checkInTime": "2026-01-01 10:00:00", "pct": 42, "percent": "", "bpm": null,
            "hostID": 7, "imageID": 17, "typeID": 1, "stateID": 3,
        });
        for (shape, percent) in [(nested, 42.5), (flat, 42.0)] {
            let task: Task = serde_json::from_value(shape).unwrap();
            let ids = [task.id, task.host, task.image, task.kind].map(|i| i.map(Id::get));
            assert_eq!(ids, [Some(5), Some(7), Some(17), Some(1)]);
            assert_eq!((task.state, task.percent), (State::InProgress, percent));
        }
        let bare: Task = serde_json::from_value(json!({"id": null, "pct": "NaN", "stateID": 99})).unwrap();
        assert_eq!((bare.id, bare.state, bare.percent), (None, State::Unknown, 0.0));
    }

    #[test]
    fn a_task_is_known_by_its_name_whatever_fog_makes_of_it() {
        let asked = "laas r1";
        for (stored, host, ours) in [
            ("laas r1", "pod1", true),
            ("laas r1 - pod1", "pod1", true),
            ("laas r1 - pod1 2026-09-01 10:00:00", "pod1", true),
            ("laas r1 - vm-1.1", "vm-1.1", true),
            ("laas r1 - o&#039;neil", "o'neil", true),
            ("laas r1 - a&amp;b 2026-09-01 10:00:00", "a&b", true),
            ("laas r1 - a&amp;b", "a&amp;b", true),
            // Cut at the end of its column.
            ("laas r1 - po", "pod1", true),
            ("laas r1 -", "pod1", true),
            ("laas r1 - pod1 2026-09-", "pod1", true),
            ("laas r", "pod1", false),
            ("", "pod1", false),
            // Another request, another host, another's words.
            ("laas r10", "pod1", false),
            ("laas r10 - pod1", "pod1", false),
            ("laas r1 - pod10", "pod1", false),
            ("laas r1 - pod", "pod10", true),
            ("laas r1 - pod1 2026-09-01 10:00:00 again", "pod1", false),
            ("laas r1 - pod1 by admin", "pod1", false),
            ("laas r1 pod1", "pod1", false),
            ("LAAS R1 - pod1", "pod1", false),
        ] {
            let task: Task = serde_json::from_value(json!({"id": 1, "name": stored})).unwrap();
            assert_eq!(task.is_called(asked, host), ours, "{stored} for {host}");
        }
    }

    #[test]
    fn an_image_says_what_it_is_and_where_it_lies() {
        let texts = json!({"id": "7", "name": "a", "path": "a", "osID": "50", "imageTypeID": "1",
            "imagePartitionTypeID": "1", "compress": "6", "storagegroups": [2, 1]});
        let numbers = json!({"id": 7, "name": "a", "path": "a", "osID": 50, "imageTypeID": 1,
            "imagePartitionTypeID": 1, "compress": 6, "storagegroups": {"1": "2", "3": 1}});
        for said in [texts, numbers] {
            let image: Image = serde_json::from_value(said).unwrap();
            let ids = [image.os, image.kind, image.partitions].map(|i| i.map(Id::get));
            assert_eq!(ids, [Some(50), Some(1), Some(1)]);
            assert_eq!((image.path.as_str(), image.compress), ("a", Some(6)));
            let groups: Vec<_> = image.storage_groups.into_iter().map(Id::get).collect();
            assert_eq!(groups, [2, 1]);
        }
        // Without any storage group FOG 1.6 says one of the id 0.
        let nowhere = json!({"id": 7, "name": "a", "path": null, "osID": 0, "storagegroups": [0]});
        let image: Image = serde_json::from_value(nowhere).unwrap();
        assert_eq!((image.os, image.storage_groups), (None, vec![]));
    }

    #[test]
    fn an_image_was_captured_when_fog_says_the_time() {
        for (said, captured) in [
            (json!({"deployed": "2026-08-01 10:00:00"}), Some(true)),
            (json!({"deployed": "0000-00-00 00:00:00"}), Some(false)),
            (json!({"deployed": "No Data"}), Some(false)),
            (json!({"deployed": ""}), Some(false)),
            (json!({"deployed": null}), Some(false)),
            (json!({}), None),
        ] {
            let mut image = json!({"id": 1, "name": "a"});
            image
                .as_object_mut()
                .unwrap()
                .extend(said.as_object().unwrap().clone());
            let image: Image = serde_json::from_value(image).unwrap();
            assert_eq!(image.captured, captured, "{said}");
        }
    }

    #[test]
    fn an_image_is_enabled_unless_fog_says_no() {
        for (said, enabled) in [
            (json!({"id": 1, "name": "a", "isEnabled": "1"}), true),
            (json!({"id": 1, "name": "a", "isEnabled": "0"}), false),
            (json!({"id": 1, "name": "a", "isEnabled": false}), false),
            (json!({"id": 1, "name": "a", "isEnabled": ""}), false),
            (json!({"id": 1, "name": "a"}), true),
        ] {
            let image: Image = serde_json::from_value(said.clone()).unwrap();
            assert_eq!(image.enabled, enabled, "{said}");
        }
    }
}
