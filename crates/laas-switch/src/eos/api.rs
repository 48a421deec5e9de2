//! eAPI: JSON-RPC over HTTP, one request for a list of commands.

use crate::SwitchError;
use laas_core::http::Http;
use laas_core::{Secret, inventory};
use serde_json::{Value, json};
use std::time::Duration;

/// A commit and a copy to the flash take a real switch many seconds.
const SLOW: u32 = 4;

#[derive(Debug)]
pub struct Api {
    address: String,
    http: Http,
    slow: Http,
    user: String,
    password: Secret,
    enable: Option<Secret>,
}

/// How long the commands may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    Quick,
    Slow,
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
            enable: entry.enable_password.clone(),
        })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Runs the commands in privileged mode, one after the other until one fails, and gives what each of them says.
    ///
    /// # Errors
    /// The switch can't be reached, lets us not in, refuses a command, or answers something else.
    pub fn run(&self, pace: Pace, commands: &[String]) -> Result<Vec<String>, SwitchError> {
        let enable = match &self.enable {
            Some(password) => json!({"cmd": "enable", "input": password.expose()}),
            None => json!("enable"),
        };
        let all: Vec<Value> = std::iter::once(enable)
            .chain(commands.iter().map(|command| json!(command)))
            .collect();
        let body = json!({
            "jsonrpc": "2.0",
            "method": "runCmds",
            "params": {"version": 1, "cmds": all, "format": "text"},
            "id": "laas",
        });
        let http = match pace {
            Pace::Quick => &self.http,
            Pace::Slow => &self.slow,
        };
        let request = http
            .post(&["command-api"])
            .basic_auth(&self.user, Some(self.password.expose()));
        let failed = |source| SwitchError::Http {
            switch: self.address.clone(),
            source,
        };
        let answer = http.send(request.json(&body)).map_err(failed)?;
        if let status @ (401 | 403) = answer.status {
            return Err(SwitchError::Login {
                switch: self.address.clone(),
                status,
            });
        }
        if answer.status == 413 {
            return Err(SwitchError::TooLarge {
                switch: self.address.clone(),
                lines: commands.len(),
            });
        }
        let document: Value = answer.json().map_err(failed)?;
        if let Some(error) = document.get("error").filter(|error| error.is_object()) {
            return Err(self.refused(error, commands));
        }
        let output = |result: &Value| {
            result
                .get("output")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        match document.get("result") {
            Some(Value::Array(results)) if results.len() == commands.len() + 1 && answer.ok() => {
                Ok(results.iter().skip(1).map(output).collect())
            }
            _ => Err(self.garbled(commands, answer.status, "outputs that do not match the commands")),
        }
    }

    pub fn garbled(&self, commands: &[String], status: u16, what: &'static str) -> SwitchError {
        SwitchError::Garbled {
            switch: self.address.clone(),
            command: commands.first().cloned().unwrap_or_default(),
            status,
            what,
        }
    }

    /// The error says what the commands before it said, and last what is wrong with the one that failed.
    fn refused(&self, error: &Value, commands: &[String]) -> SwitchError {
        let data = error
            .get("data")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let errors = data
            .last()
            .and_then(|last| last.get("errors"))
            .and_then(Value::as_array);
        let said: Vec<&str> = errors.into_iter().flatten().filter_map(Value::as_str).collect();
        let said = match said.is_empty() {
            true => error
                .get("message")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            false => said.join(" "),
        };
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let code = error.get("code").cloned().unwrap_or_default();
        // The first one is `enable`.
        let place = data.len().saturating_sub(2);
        let command = match data.len() {
            0 => None,
            1 => Some("enable"),
            _ => commands.get(place).map(String::as_str),
        };
        SwitchError::Refused {
            switch: self.address.clone(),
            command: command.unwrap_or("the request").to_owned(),
            on: crate::cli::opened_by(commands, place).map(str::to_owned),
            said: format!("{} (code {code})", said.chars().take(200).collect::<String>()),
        }
    }
}
