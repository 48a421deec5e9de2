//! NX-API: one request, and the many shapes of its answer.

use crate::SwitchError;
use laas_core::http::{Answer, Http, HttpError};
use laas_core::wait::{Backoff, Deadline};
use laas_core::{Secret, inventory};
use serde_json::{Value, json};
use std::time::Duration;

/// Configuring with a checkpoint to roll back to, and saving, take a real switch the better part of a minute.
const SLOW: u32 = 4;
/// Between two tries to get a session.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

#[derive(Debug)]
pub struct Api {
    address: String,
    http: Http,
    slow: Http,
    user: String,
    password: Secret,
    patience: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Show,
    ShowText,
    Configure,
    Save,
}

/// What the switch says to one command.
#[derive(Debug)]
pub struct Item {
    /// `200` or an error.
    pub code: String,
    pub body: Value,
    words: String,
}

impl Item {
    pub fn failed(&self) -> bool {
        self.code != "200"
    }

    /// The switch's words for an error.
    pub fn said(&self) -> String {
        format!("{} (code {})", self.words, self.code)
    }
}

impl Api {
    pub fn new(address: &str, entry: &inventory::Switch, call: Duration) -> Result<Self, SwitchError> {
        let http = |timeout| crate::http(address, entry, timeout);
        Ok(Self {
            address: address.to_owned(),
            http: http(call)?,
            slow: http(call * SLOW)?,
            user: entry.user.clone(),
            password: entry.password.clone(),
            patience: call,
        })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends the commands in one request. There is an item for each of them, or fewer (but one) if the last one
    /// failed.
    ///
    /// # Errors
    /// The switch can't be reached, lets us not in, or answers something else.
    pub fn call(&self, kind: Type, commands: &[String]) -> Result<Vec<Item>, SwitchError> {
        let deadline = Deadline::after(self.patience);
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        loop {
            let answer = self.send(kind, commands)?;
            let Some(items) = self.items(&answer, kind, commands)? else {
                tracing::warn!(switch = self.address, "no session is free");
                backoff.pause(&deadline).map_err(|source| SwitchError::Busy {
                    switch: self.address.clone(),
                    source,
                })?;
                continue;
            };
            return Ok(items);
        }
    }

    /// The body of an item that must have succeeded.
    pub fn body<'a>(&self, item: Option<&'a Item>, command: &str) -> Result<&'a Value, SwitchError> {
        match item {
            Some(item) if !item.failed() => Ok(&item.body),
            Some(item) => Err(SwitchError::Refused {
                switch: self.address.clone(),
                command: command.to_owned(),
                on: None,
                said: item.said(),
            }),
            None => Err(self.garbled(command, "nothing")),
        }
    }

    pub fn garbled(&self, command: &str, what: &'static str) -> SwitchError {
        let (switch, command) = (self.address.clone(), command.to_owned());
        SwitchError::Garbled {
            switch,
            command,
            status: 200,
            what,
        }
    }

    fn send(&self, kind: Type, commands: &[String]) -> Result<Answer, SwitchError> {
        let (name, http) = match kind {
            Type::Show => ("cli_show", &self.http),
            Type::ShowText => ("cli_show_ascii", &self.http),
            Type::Configure => ("cli_conf", &self.slow),
            Type::Save => ("cli_show_ascii", &self.slow),
        };
        // The order counts: `type` must come before `input`.
        let mut body = json!({
            "version": "1.0",
            "type": name,
            "chunk": "0",
            "sid": "1",
            "input": commands.join(" ;"),
            "output_format": "json",
        });
        if kind == Type::Configure {
            // A line that is refused must not leave the ports before it half configured.
            body["rollback"] = "rollback-on-error".into();
        }
        let request = http
            .post(&["ins"])
            .basic_auth(&self.user, Some(self.password.expose()));
        let answer = http.send(request.json(&json!({ "ins_api": body })));
        answer.map_err(|source| self.http_error(source))
    }

    /// The items of an answer; `None` if there was no session for us.
    fn items(
        &self,
        answer: &Answer,
        kind: Type,
        commands: &[String],
    ) -> Result<Option<Vec<Item>>, SwitchError> {
        let switch = || self.address.clone();
        match answer.status {
            status @ (401 | 403) => {
                return Err(SwitchError::Login {
                    switch: switch(),
                    status,
                });
            }
            413 => {
                return Err(SwitchError::TooLarge {
                    switch: switch(),
                    lines: commands.len(),
                });
            }
            429 => return Ok(None),
            // Whatever else the status is, the body says what happened.
            _ => {}
        }
        let body: Value = answer.json().map_err(|source| self.http_error(source))?;
        let outputs = match body.pointer("/ins_api/outputs/output") {
            Some(Value::Array(outputs)) => outputs.as_slice(),
            Some(output @ Value::Object(_)) => std::slice::from_ref(output),
            _ => &[],
        };
        let items: Vec<Item> = outputs.iter().map(item).collect();
        let code = |wanted: &str| items.iter().any(|i| i.code == wanted);
        if code("429") {
            return Ok(None);
        }
        if code("413") {
            return Err(SwitchError::TooLarge {
                switch: switch(),
                lines: commands.len(),
            });
        }
        let failed = items.iter().any(Item::failed);
        // A request stops at the command that failed; after a configuration there can be words on its rollback.
        let stopped = kind == Type::Configure || items.len() <= commands.len();
        let whole = items.len() == commands.len() && answer.ok();
        if whole || (failed && stopped) {
            return Ok(Some(items));
        }
        let what = if items.is_empty() {
            "no output"
        } else {
            "outputs that do not match the commands"
        };
        let command = commands.first().cloned().unwrap_or_default();
        Err(SwitchError::Garbled {
            switch: switch(),
            command,
            status: answer.status,
            what,
        })
    }

    fn http_error(&self, source: HttpError) -> SwitchError {
        SwitchError::Http {
            switch: self.address.clone(),
            source,
        }
    }
}

fn item(output: &Value) -> Item {
    let text = |key: &str| match output.get(key) {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let words = [text("clierror"), text("msg")]
        .into_iter()
        .find(|w| !w.is_empty())
        .unwrap_or_default();
    Item {
        code: text("code"),
        body: output.get("body").cloned().unwrap_or_default(),
        words: words
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .take(200)
            .collect(),
    }
}
