//! What the lab remembers of a host's last capture.

use super::Wanted;
use crate::fog_tasks::{self, Begun, Stage};
use laas_core::action::Context;
use laas_core::{Failure, HostName, ledger};
use laas_fog::{Id, Image, Snapshot};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU16;

const PREFIX: &str = "capture";
/// FOG's column `images.imageName` holds so many characters.
const LONGEST_NAME: usize = 40;

/// The value of the key `capture_<host>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// There is always a request; one that was made up for a person says so in `by_hand`.
    #[serde(flatten)]
    pub begun: Begun,
    pub by_hand: bool,
    pub snapshot: Snapshot,
    /// The new image, as soon as it is known to be there.
    pub image: Option<Id>,
    pub name: Option<String>,
    pub version: Option<NonZeroU16>,
    /// The image that the host had in FOG, and has again in the end.
    pub previous: Id,
    pub replaced: Option<Replaced>,
}

/// An image that another takes the place of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replaced {
    pub image: Id,
    /// The name that passes to the new image.
    pub name: String,
    /// What the old one is called from then on.
    pub kept_as: String,
}

impl Record {
    pub fn new(wanted: &Wanted, previous: Id, replaced: Option<&Image>) -> Self {
        // A second capture in the same second is another one.
        let by_hand = || format!("by hand at {} by process {}", ledger::now(), std::process::id());
        Self {
            begun: Begun {
                request: Some(wanted.request.map_or_else(by_hand, str::to_owned)),
                fog_task: None,
                after: None,
                state: Stage::Starting,
            },
            by_hand: wanted.request.is_none(),
            snapshot: wanted.snapshot.clone(),
            image: None,
            name: None,
            version: None,
            previous,
            replaced: replaced.map(Replaced::new),
        }
    }

    /// # Errors
    /// The datastore can't be read.
    pub fn load(context: &Context, host: &HostName) -> Result<Option<Self>, Failure> {
        fog_tasks::load(context, PREFIX, host)
    }

    /// # Errors
    /// The datastore can't be written.
    pub fn store(&self, context: &Context, host: &HostName) -> Result<(), Failure> {
        fog_tasks::store(context, PREFIX, host, self)
    }

    /// # Errors
    /// The datastore can't be written.
    pub fn remove(context: &Context, host: &HostName) -> Result<(), Failure> {
        fog_tasks::remove(context, PREFIX, host)
    }

    /// Whether this is the capture that is wanted. What a person began is the one that is wanted until it is done.
    ///
    /// # Errors
    /// The request is the same and the rest is not.
    pub fn is_of(&self, wanted: &Wanted) -> Result<bool, Failure> {
        let replaces = self.replaced.as_ref().map(|r| r.name.as_str());
        let same = self.snapshot == *wanted.snapshot && replaces == wanted.replace;
        let Some(request) = wanted.request else {
            return Ok(same && self.by_hand && self.begun.state != Stage::Done);
        };
        if self.begun.request.as_deref() != Some(request) {
            return Ok(false);
        }
        if !same {
            let replacing = replaces.map_or(String::new(), |name| format!(" that replaces `{name}`"));
            let error = format!(
                "the request `{request}` is of the snapshot `{}`{replacing}",
                self.snapshot
            );
            return Err(Failure::input(error).hint("give another `request` for another capture"));
        }
        Ok(true)
    }

    pub fn is_done_of(&self, other: &Self) -> bool {
        self.begun.state == Stage::Done && self.begun.request == other.begun.request
    }

    /// The image's description in FOG, by which it is known before its id is.
    pub fn mark(&self, host: &HostName) -> String {
        format!(
            "laas capture of {host} for {}",
            self.begun.request.as_deref().unwrap_or_default()
        )
    }
}

impl Replaced {
    fn new(image: &Image) -> Self {
        let suffix = format!("_replaced_{}", image.id);
        let kept: String = image.name.chars().take(LONGEST_NAME - suffix.len()).collect();
        Self {
            image: image.id,
            name: image.name.clone(),
            kept_as: kept + &suffix,
        }
    }
}
