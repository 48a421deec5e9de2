//! What is known of a host's BIOS password: the value of the (encrypted) key `bios_<host>`.
//!
//! It is written before the BMC is told anything, and no password leaves it before another one is proven.

use laas_core::action::Context;
use laas_core::failure::Context as _;
use laas_core::{Failure, HostName, Secret};
use serde::Deserialize;
use serde_json::{Value, json};

/// Passwords that were asked for and refused are kept for as long as they may yet turn out to be the right one.
const DOUBTFUL: usize = 5;

#[derive(Clone, Default, Deserialize)]
pub struct Record {
    /// The one that counts until another one is proven; empty if there is none.
    pub password: Secret,
    /// Whether it was seen to be the right one. The one that the operator gives is not, nor is none at all.
    #[serde(default)]
    pub proven: bool,
    /// What it was made for.
    #[serde(default)]
    pub request: Option<String>,
    /// The one that is under way.
    #[serde(default)]
    pub next: Option<Next>,
    #[serde(default)]
    pub doubtful: Vec<Secret>,
}

/// A change that is under way.
#[derive(Clone, Deserialize)]
pub struct Next {
    pub password: Secret,
    pub request: Option<String>,
    pub stage: Stage,
    /// What the firmware's last settings were when this stage began: with another mark it has taken some since.
    pub mark: String,
    /// Whether the BMC is known to have taken it at some time.
    #[serde(default)]
    pub taken: bool,
    /// Whether the host was reset for it.
    #[serde(default)]
    pub reset: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The BMC may have been told, or not.
    Stored,
    /// The BMC took it.
    Sent,
    /// The firmware has taken settings of which it can't be known whether they were these. The BMC may have been told
    /// to check, or not.
    Doubt,
    /// The BMC took a change from the new one to itself, which the firmware makes only if the new one is in force.
    Checked,
}

impl Record {
    /// # Errors
    /// The datastore can't be read, or the key holds something else: what may be the only copy of a password is never
    /// taken for none.
    pub fn load(context: &Context, host: &HostName) -> Result<Option<Self>, Failure> {
        let key = key(host);
        let value = context
            .datastore()?
            .get(&key)
            .at_peer("datastore")
            .of_host(host)?;
        let Some(value) = value else {
            return Ok(None);
        };
        // The parser's words could quote the password.
        serde_json::from_str(value.expose()).map(Some).map_err(|_| {
            Failure::input(format!(
                "the datastore's key `{key}` holds no record of this action"
            ))
            .hint(
                "it may hold the BIOS's password: move it to another key and name that as `old_password_key`",
            )
            .peer("datastore")
            .host(host)
        })
    }

    /// # Errors
    /// The datastore can't be written.
    pub fn store(&self, context: &Context, host: &HostName) -> Result<(), Failure> {
        let next = self.next.as_ref().map(|next| {
            json!({
                "password": next.password.expose(),
                "request": next.request,
                "stage": match next.stage {
                    Stage::Stored => "stored",
                    Stage::Sent => "sent",
                    Stage::Doubt => "doubt",
                    Stage::Checked => "checked",
                },
                "mark": next.mark,
                "taken": next.taken,
                "reset": next.reset,
            })
        });
        let value = json!({
            "password": self.password.expose(),
            "proven": self.proven,
            "request": self.request,
            "next": next,
            "doubtful": self.doubtful.iter().map(|s| json!(s.expose())).collect::<Vec<Value>>(),
        });
        let value = Secret::new(value.to_string());
        let stored = context.datastore()?.put_secret(&key(host), &value);
        stored.at_peer("datastore").of_host(host)
    }

    /// The new one is in force.
    pub fn promote(&mut self) {
        if let Some(next) = self.next.take() {
            self.password = next.password;
            self.request = next.request;
            self.proven = true;
            self.doubtful.clear();
        }
    }

    /// The firmware refused the new one.
    pub fn give_up(&mut self) {
        if let Some(next) = self.next.take() {
            self.doubt(next.password);
        }
    }

    /// Keeps what may yet turn out to be the right one.
    pub fn doubt(&mut self, password: Secret) {
        if !password.is_empty() {
            self.doubtful.insert(0, password);
            self.doubtful.truncate(DOUBTFUL);
        }
    }
}

/// The datastore's key.
pub fn key(host: &HostName) -> String {
    format!("bios_{host}")
}
