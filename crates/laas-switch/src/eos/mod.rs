//! Arista EOS over eAPI. What is written goes through a configuration session: all of it counts, or none.

mod api;

use crate::cli::{self, Dialect};
use crate::{Change, Mode, PortName, Present, Switch, SwitchError};
use api::{Api, Pace};
use laas_core::inventory;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// VLANs and all interfaces in one answer.
const SHOW_CONFIG: &str = "show running-config";
const SHOW_SESSIONS: &str = "show configuration sessions";
const SHOW_UNSAVED: &str = "show running-config diffs";
const SAVE: &str = "copy running-config startup-config";
/// How the names of our sessions begin.
const SESSION: &str = "laas-";

const DIALECT: Dialect = Dialect {
    plain: Mode::Access,
    shut: false,
    revive: &["state active"],
};

/// One Arista switch.
#[derive(Debug)]
pub struct Eos {
    api: Api,
    /// Sessions that runs before us have left open, as of the last read. The switch has room for few.
    left_open: RefCell<Vec<String>>,
}

impl Eos {
    /// # Errors
    /// The address or the certificate authorities are unusable. Nothing is sent.
    pub fn new(address: &str, entry: &inventory::Switch, call: Duration) -> Result<Self, SwitchError> {
        Ok(Self {
            api: Api::new(address, entry, call)?,
            left_open: RefCell::default(),
        })
    }

    fn one(&self, pace: Pace, command: &str) -> Result<String, SwitchError> {
        Ok(self.api.run(pace, &[command.to_owned()])?.concat())
    }
}

impl Switch for Eos {
    fn address(&self) -> &str {
        self.api.address()
    }

    fn read(&self, ports: &BTreeSet<PortName>) -> Result<Present, SwitchError> {
        let commands = [SHOW_CONFIG, SHOW_SESSIONS].map(str::to_owned);
        let said = self.api.run(Pace::Quick, &commands)?;
        let garbled = |what| self.api.garbled(&commands, 200, what);
        let [config, sessions] = said.as_slice() else {
            return Err(garbled("another number of outputs"));
        };
        *self.left_open.borrow_mut() = left_open(sessions);
        let ports = cli::ports(config, ports, DIALECT).ok_or_else(|| garbled("no interfaces"))?;
        Ok(Present {
            vlans: cli::config_vlans(config).ok_or_else(|| garbled("a list of VLANs that can't be read"))?,
            ports: ports.ports,
            untouchable: ports.untouchable,
            elsewhere: ports.elsewhere,
        })
    }

    fn commands(&self, changes: &[Change]) -> Vec<String> {
        cli::commands(changes, DIALECT)
    }

    fn write(&self, commands: &[String]) -> Result<(), SwitchError> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let session = format!("{SESSION}{:x}", since_1970.as_nanos());
        let drop_session = |name: &String| format!("no configure session {name}");
        let mut lines: Vec<String> = self.left_open.take().iter().map(drop_session).collect();
        lines.push(format!("configure session {session}"));
        lines.extend_from_slice(commands);
        lines.push("commit".to_owned());
        match self.api.run(Pace::Slow, &lines) {
            Ok(_) => Ok(()),
            Err(error @ SwitchError::Refused { .. }) => {
                // The session is still there, and its lines count for nobody.
                if let Err(error) = self.one(Pace::Quick, &drop_session(&session)) {
                    tracing::warn!(switch = self.address(), %error, session, "the session is left to the next run");
                }
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    fn save(&self) -> Result<(), SwitchError> {
        let said = self.one(Pace::Slow, SAVE)?;
        match said.trim().is_empty() || said.contains("Copy completed successfully") {
            true => Ok(()),
            false => Err(SwitchError::not_saved(self.address(), &said)),
        }
    }

    fn is_saved(&self) -> Result<bool, SwitchError> {
        Ok(self.one(Pace::Quick, SHOW_UNSAVED)?.trim().is_empty())
    }
}

/// Our sessions in the table of all, of which each row holds a name and a state; a mark stands before the current one.
fn left_open(table: &str) -> Vec<String> {
    let row = |line: &str| {
        let mut words = line.split_whitespace().skip_while(|word| *word == "*");
        let name = words.next().filter(|name| name.starts_with(SESSION))?;
        let is_hex = name[SESSION.len()..].chars().all(|c| c.is_ascii_hexdigit());
        (is_hex && words.next() == Some("pending")).then(|| name.to_owned())
    };
    table.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_ours_that_are_open_are_found() {
        let table = "Maximum number of completed sessions: 1\nMaximum number of pending sessions: 5\n\n\
            \x20 Name        State         User     Terminal\n  ----------- ------------- -------- --------\n\
            \x20 laas-18ab   pending       admin    \n  laas-17     completed\n  somebody    pending\n\
            * laas-19     pending\n  laas-x;y    pending\n";
        assert_eq!(left_open(table), ["laas-18ab", "laas-19"]);
        assert!(left_open("").is_empty());
    }
}
