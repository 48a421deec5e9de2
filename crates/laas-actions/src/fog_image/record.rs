//! What the lab remembers of a host's last deploy.

use laas_core::action::Context;
use laas_core::failure::Context as _;
use laas_core::{Failure, HostName};
use laas_fog::Id;
use serde::{Deserialize, Serialize};

/// The value of the key `image_<host>`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// `None` for a deploy that a person started by hand.
    pub request: Option<String>,
    pub image: Id,
    /// Not known between the order to FOG and the first look at its queue.
    pub fog_task: Option<Id>,
    pub state: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Starting,
    Running,
    Done,
}

impl Record {
    /// A record that can't be read counts as none, since a deploy can always be repeated.
    ///
    /// # Errors
    /// The datastore can't be read.
    pub fn load(context: &Context, host: &HostName) -> Result<Option<Self>, Failure> {
        let found = context.datastore()?.get_record(&key(host));
        found.at_peer("datastore").of_host(host)
    }

    /// # Errors
    /// The datastore can't be written.
    pub fn store(&self, context: &Context, host: &HostName) -> Result<(), Failure> {
        let stored = context.datastore()?.put_record(&key(host), self);
        stored.at_peer("datastore").of_host(host)
    }

    /// Whether this is the deploy of `request`.
    ///
    /// # Errors
    /// It is, but of another image: a request has one image for all time.
    pub fn is_of(&self, request: &str, image: Id) -> Result<bool, Failure> {
        if self.request.as_deref() != Some(request) {
            return Ok(false);
        }
        if self.image != image {
            let error = format!("the request `{request}` is of image {}, not {image}", self.image);
            return Err(Failure::input(error).hint("give another `request` for another image"));
        }
        Ok(true)
    }
}

fn key(host: &HostName) -> String {
    format!("image_{host}")
}
