//! What the lab remembers of a host's last task of a kind.

use laas_core::action::Context;
use laas_core::failure::Context as _;
use laas_core::{Failure, HostName};
use laas_fog::Id;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// How far a task has come. It is a part of the values of `image_<host>` and the like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// `None` for what a person started by hand.
    pub request: Option<String>,
    /// Not known between the order to FOG and the first look at its queue.
    pub fog_task: Option<Id>,
    /// The host's last task before the order: an older one of the same name is of another day.
    #[serde(default)]
    pub after: Option<Id>,
    pub state: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Starting,
    Running,
    Done,
}

/// What FOG may be doing with a host, and the prefix of the record that tells of it.
const KINDS: [(&str, &str); 3] = [("deploy", "image"), ("capture", "capture"), ("wipe", "wipe")];

/// A task of the host that was begun and whose end was not seen, in words that name its key; also one that no job has
/// asked for.
///
/// # Errors
/// The datastore can't be read.
pub fn unfinished(context: &Context, host: &HostName) -> Result<Option<String>, Failure> {
    for (kind, prefix) in KINDS {
        let record: Option<Begun> = load(context, prefix, host)?;
        if record.is_some_and(|begun| begun.state != Stage::Done) {
            return Ok(Some(format!(
                "the {kind} that `{prefix}_{host}` tells of has not ended"
            )));
        }
    }
    Ok(None)
}

/// The record of the host below this prefix, `image` for `image_<host>`. One that can't be read counts as none, since a
/// task can always be repeated.
///
/// # Errors
/// The datastore can't be read.
pub fn load<R: DeserializeOwned>(
    context: &Context,
    prefix: &str,
    host: &HostName,
) -> Result<Option<R>, Failure> {
    let found = context.datastore()?.get_record(&format!("{prefix}_{host}"));
    found.at_peer("datastore").of_host(host)
}

/// # Errors
/// The datastore can't be written.
pub fn store(
    context: &Context,
    prefix: &str,
    host: &HostName,
    record: &impl Serialize,
) -> Result<(), Failure> {
    let stored = context
        .datastore()?
        .put_record(&format!("{prefix}_{host}"), record);
    stored.at_peer("datastore").of_host(host)
}

/// # Errors
/// The datastore can't be written.
pub fn remove(context: &Context, prefix: &str, host: &HostName) -> Result<(), Failure> {
    let removed = context.datastore()?.delete(&format!("{prefix}_{host}"));
    removed.at_peer("datastore").of_host(host)
}
