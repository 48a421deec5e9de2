//! The records the engine keeps and hands out: executions, trigger instances, traces, keys, tokens.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// A JSON object; keys keep the order they came in, which is also the order of a command line's arguments.
pub type Object = Map<String, Value>;

/// A point in time in microseconds since 1970-01-01 UTC, the precision StackStorm's API prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

const TIMESTAMP_FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

impl Timestamp {
    /// The clock's present reading.
    pub fn now() -> Self {
        let nanoseconds = OffsetDateTime::now_utc().unix_timestamp_nanos();
        Timestamp(i64::try_from(nanoseconds / 1000).unwrap_or(i64::MAX))
    }

    /// This point moved by `seconds`, fractions included.
    pub fn plus_seconds(self, seconds: f64) -> Self {
        Timestamp(self.0.saturating_add((seconds * 1e6) as i64))
    }

    /// Seconds from `earlier` to this point.
    pub fn seconds_since(self, earlier: Timestamp) -> f64 {
        (self.0 - earlier.0) as f64 / 1e6
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000)
            .ok()
            .and_then(|moment| moment.format(TIMESTAMP_FORMAT).ok());
        f.write_str(text.as_deref().unwrap_or("1970-01-01T00:00:00.000000Z"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The last part of an id.
static ID_COUNTER: AtomicU32 = AtomicU32::new(0);

/// A new id of 24 hexadecimal digits: seconds, random, counter, so that ids sort by the second they were made in and,
/// within one process, by the order they were made in.
pub fn new_id() -> String {
    use std::sync::OnceLock;
    static PROCESS: OnceLock<[u8; 5]> = OnceLock::new();
    let process = PROCESS.get_or_init(|| {
        let mut bytes = [0; 5];
        if getrandom::fill(&mut bytes).is_err() {
            let seed = u64::from(std::process::id()) ^ (Timestamp::now().0 as u64) << 16;
            bytes.copy_from_slice(&seed.to_be_bytes()[3..]);
        }
        bytes
    });
    let seconds = (Timestamp::now().0 / 1_000_000) as u32;
    let count = ID_COUNTER.fetch_add(1, Ordering::Relaxed) & 0x00ff_ffff;
    let [a, b, c, d, e] = *process;
    format!("{seconds:08x}{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{count:06x}")
}

/// The same 24 hexadecimal digits for the same text at every start: the id of what comes from a pack's files.
pub fn id_of(uid: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(uid.as_bytes());
    digest[..12].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where an execution stands, in StackStorm's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Requested,
    Scheduled,
    Delayed,
    Running,
    Pausing,
    Paused,
    Resuming,
    Canceling,
    Canceled,
    Succeeded,
    Failed,
    Timeout,
    Abandoned,
}

impl Status {
    const ALL: [(Status, &'static str); 13] = [
        (Status::Requested, "requested"),
        (Status::Scheduled, "scheduled"),
        (Status::Delayed, "delayed"),
        (Status::Running, "running"),
        (Status::Pausing, "pausing"),
        (Status::Paused, "paused"),
        (Status::Resuming, "resuming"),
        (Status::Canceling, "canceling"),
        (Status::Canceled, "canceled"),
        (Status::Succeeded, "succeeded"),
        (Status::Failed, "failed"),
        (Status::Timeout, "timeout"),
        (Status::Abandoned, "abandoned"),
    ];

    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(status, _)| *status == self)
            .map_or("", |(_, word)| word)
    }

    /// Nothing more will happen to an execution in this state.
    pub fn is_final(self) -> bool {
        use Status::*;
        matches!(self, Canceled | Succeeded | Failed | Timeout | Abandoned)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is none of StackStorm's states.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not the status of an execution")]
pub struct UnknownStatus(String);

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(word: &str) -> Result<Self, UnknownStatus> {
        let known = Self::ALL.iter().find(|(_, candidate)| *candidate == word);
        known
            .map(|(status, _)| *status)
            .ok_or_else(|| UnknownStatus(word.to_string()))
    }
}

/// A line of an execution's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogEntry {
    pub timestamp: Timestamp,
    pub status: Status,
}

/// One run of an action or of a workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// 24 hexadecimal digits.
    pub id: String,
    pub liveaction_id: String,
    /// `pack.name`.
    pub action: String,
    pub is_workflow: bool,
    pub status: Status,
    pub start: Timestamp,
    pub end: Option<Timestamp>,
    /// As given by whoever asked, unmasked: see [`crate::pack::Action::mask`].
    pub parameters: Object,
    /// `user`, `pack`, and where they apply `parent`, `orquesta`, `workflow_execution`, `trigger_instance`, `rule`,
    /// `re-run`, `trace_context`, `cancelled_by`, exactly as the API shows them.
    pub context: Object,
    /// `None` until there is one.
    pub result: Option<Value>,
    pub log: Vec<LogEntry>,
    /// The execution of the workflow that asked for this one.
    pub parent: Option<String>,
    /// For a workflow its own record, for a step that of the workflow it belongs to.
    pub workflow_execution: Option<String>,
    /// For a step: one id per task, shared by its items.
    pub task_execution: Option<String>,
    /// Executions asked for by this one, oldest first.
    pub children: Vec<String>,
    /// The trace this execution belongs to.
    pub trace: Option<String>,
    /// Process id of the engine that started it, 0 before that.
    pub runner_pid: u32,
}

impl Execution {
    /// The user in whose name it runs.
    pub fn user(&self) -> &str {
        self.context
            .get("user")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// No workflow, and being cancelled.
    pub fn is_canceling_action(&self) -> bool {
        !self.is_workflow && self.status == Status::Canceling
    }

    /// Seconds from start to end; `None` while it goes on.
    pub fn elapsed_seconds(&self) -> Option<f64> {
        self.end.map(|end| end.seconds_since(self.start))
    }
}

/// What to ask the engine to run.
#[derive(Debug, Clone, Default)]
pub struct NewExecution {
    /// `pack.name`.
    pub action: String,
    pub parameters: Object,
    pub user: String,
    /// Put into one trace with everything else of this tag.
    pub trace_tag: Option<String>,
}

/// How to run an execution once more.
#[derive(Debug, Clone, Default)]
pub struct Rerun {
    /// Override those of the first run.
    pub parameters: Object,
    /// Tasks of a failed workflow to continue from; empty: the whole execution once more.
    pub tasks: Vec<String>,
    /// Those of `tasks` whose succeeded items run again too.
    pub reset: Vec<String>,
    pub user: String,
}

/// Which executions to list.
#[derive(Debug, Clone, Default)]
pub struct ExecutionFilter {
    pub action: Option<String>,
    pub status: Option<Status>,
    pub user: Option<String>,
    pub trigger_instance: Option<String>,
    pub trace_tag: Option<String>,
    pub started_after: Option<Timestamp>,
    pub started_before: Option<Timestamp>,
    /// Only what no workflow asked for.
    pub top_level: bool,
    pub ascending: bool,
}

/// A key of the datastore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub id: String,
    /// `system`, or `user:<name>`.
    pub scope: String,
    pub name: String,
    /// Ciphertext when `secret`.
    pub value: String,
    pub secret: bool,
    pub expires: Option<Timestamp>,
}

/// An event that a trigger type describes.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerInstance {
    pub id: String,
    /// `pack.name` of the trigger type.
    pub trigger: String,
    pub payload: Value,
    pub occurred: Timestamp,
    /// `processed`, or `processed_no_rules` style words are not kept: this engine processes at once.
    pub status: String,
}

/// That a rule acted on a trigger instance, or failed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleEnforcement {
    pub id: String,
    pub rule: String,
    pub trigger_instance: String,
    pub execution: Option<String>,
    pub failure_reason: Option<String>,
    pub enforced: Timestamp,
}

/// What belongs together under one tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    pub id: String,
    pub tag: String,
    pub start: Timestamp,
    pub items: Vec<TraceItem>,
}

/// One member of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceItem {
    pub kind: TraceKind,
    pub object_id: String,
    pub reference: String,
    pub updated: Timestamp,
    /// Kind and id of what caused it, for example (`rule`, `<rule id>:<trigger instance id>`).
    pub caused_by: Option<(String, String)>,
}

/// The list of a trace that an item stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceKind {
    TriggerInstance,
    Rule,
    Execution,
}

/// Who a token or an API key speaks for. The text itself is not kept, only its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: String,
    pub user: String,
    pub kind: TokenKind,
    pub expires: Option<Timestamp>,
    /// The execution whose end deletes it.
    pub execution: Option<String>,
}

/// Which header a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// `X-Auth-Token`.
    Token,
    /// `St2-Api-Key`.
    ApiKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_print_like_the_api() {
        assert_eq!(
            Timestamp(1_795_450_473_482_000).to_string(),
            "2026-11-23T16:14:33.482000Z"
        );
        assert_eq!(
            Timestamp(1_795_450_473_482_000).plus_seconds(1.5).to_string(),
            "2026-11-23T16:14:34.982000Z"
        );
    }

    #[test]
    fn ids_are_24_digits_unique_and_sort_by_time() {
        let ids: Vec<String> = (0..100).map(|_| new_id()).collect();
        assert!(
            ids.iter()
                .all(|id| id.len() == 24 && id.bytes().all(|b| b.is_ascii_hexdigit()))
        );
        let mut sorted = ids.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted, ids);
        assert_eq!(id_of("action:lab:power"), id_of("action:lab:power"));
        assert_eq!(id_of("action:lab:power").len(), 24);
    }

    #[test]
    fn every_status_reads_back() {
        for (status, word) in Status::ALL {
            assert_eq!(word.parse::<Status>().unwrap(), status);
            assert_eq!(serde_json::to_value(status).unwrap(), word);
        }
        assert!("done".parse::<Status>().is_err());
    }
}
