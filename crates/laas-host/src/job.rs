//! Long work as a job on the host.
//!
//! A job belongs to the host and not to the connection that began it: a lost connection leaves it at work. As long as it
//! lives it holds a lock, by which a second run finds it; at its very end it leaves the file `status`. What it starts
//! carries a mark in its environment, by which [`Job::stop`] finds all of it.

use crate::ssh::{Session, SshError};
use laas_core::{Classify, Kind};

const BEGIN: &str = include_str!("job/begin.sh");
const RUN: &str = include_str!("job/run.sh");
const LOOK: &str = include_str!("job/look.sh");
const STOP: &str = include_str!("job/stop.sh");
/// Lines of a log that are told, and how long each may be.
const LAST_LINES: usize = 15;
const LONGEST_LINE: usize = 200;

/// A kind of work, of which a host does one at a time.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// Where the job and what it leaves behind are: `log`, `status`, and what its script writes there.
    pub directory: &'a str,
    /// How the names of its units of systemd begin.
    pub unit: &'a str,
    /// A script for `sh`, which is given the directory and the arguments. It writes the file `status` last.
    pub script: &'a str,
}

/// What a call of [`Job::begin`] met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    Now,
    /// An earlier run's job, of this identity, is still at work.
    Before(String),
    /// An earlier run's job, of this identity, has ended and nobody has heard of it.
    Ended(String),
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub state: State,
    /// What [`Job::begin`] was told; empty if there has never been a job.
    pub identity: String,
    /// The last lines of its log.
    pub log: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There has never been one.
    None,
    Running,
    /// It left its status.
    Ended,
    /// By [`Job::stop`].
    Stopped,
    /// Without a status: somebody killed it.
    Died,
    /// Without a status, since the host has started anew.
    Rebooted,
}

#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("can't talk to the host")]
    Ssh(#[from] SshError),
    #[error("the job can't be begun: {said}")]
    Begin { directory: String, said: String },
    #[error("the job can't be stopped: {said}")]
    Stop { directory: String, said: String },
    #[error("the job's state `{said}` is unknown")]
    Look { directory: String, said: String },
}

impl Classify for JobError {
    fn kind(&self) -> Kind {
        match self {
            Self::Ssh(source) => source.kind(),
            Self::Begin { .. } | Self::Stop { .. } | Self::Look { .. } => Kind::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Ssh(source) => source.hint(),
            Self::Begin { directory, .. } | Self::Stop { directory, .. } | Self::Look { directory, .. } => {
                Some(format!("look into `{directory}` on the host"))
            }
        }
    }
}

impl Job<'_> {
    /// Begins the job unless one is under way, or has ended and left its status. `identity` is one line.
    ///
    /// # Errors
    /// The connection broke, or the host can't start the job.
    pub fn begin(&self, session: &Session, identity: &str, arguments: &[&str]) -> Result<Begun, JobError> {
        session.run(&["install", "-d", "-m", "0700", self.directory])?;
        for (name, script) in [("run", RUN), ("job", self.script)] {
            session.write_file(&format!("{}/{name}", self.directory), script, "0700", "root:root")?;
        }
        let mut words = vec!["sh", "-c", BEGIN, "sh", self.directory, self.unit, identity];
        words.extend(arguments);
        let output = session.exec(&words, b"")?;
        let (state, identity) = two_lines(&output.stdout);
        match (output.code, state) {
            (0, "begun") => Ok(Begun::Now),
            (0, "running") => Ok(Begun::Before(identity.to_owned())),
            (0, "ended") => Ok(Begun::Ended(identity.to_owned())),
            _ => Err(JobError::Begin {
                directory: self.directory.to_owned(),
                said: last_lines(&output.stderr).pop().unwrap_or_default(),
            }),
        }
    }

    /// # Errors
    /// The connection broke.
    pub fn look(&self, session: &Session) -> Result<Look, JobError> {
        let said = session.run(&["sh", "-c", LOOK, "sh", self.directory])?;
        let (state, rest) = said.split_once('\n').unwrap_or((&said, ""));
        let (identity, log) = rest.split_once('\n').unwrap_or((rest, ""));
        let state = match state {
            "none" => State::None,
            "running" => State::Running,
            "ended" => State::Ended,
            "stopped" => State::Stopped,
            "died" => State::Died,
            "rebooted" => State::Rebooted,
            other => {
                return Err(JobError::Look {
                    directory: self.directory.to_owned(),
                    said: other.escape_debug().take(LONGEST_LINE).collect(),
                });
            }
        };
        Ok(Look {
            state,
            identity: identity.to_owned(),
            log: last_lines(log),
        })
    }

    /// Ends the job and all that it has started. Whether there was anything to end.
    ///
    /// # Errors
    /// The connection broke, or something does not end.
    pub fn stop(&self, session: &Session) -> Result<bool, JobError> {
        let output = session.exec(&["sh", "-c", STOP, "sh", self.directory], b"")?;
        match (output.code, output.stdout.trim()) {
            (0, "stopped") => Ok(true),
            (0, "none") => Ok(false),
            _ => Err(JobError::Stop {
                directory: self.directory.to_owned(),
                said: last_lines(&output.stderr).pop().unwrap_or_default(),
            }),
        }
    }
}

fn two_lines(text: &str) -> (&str, &str) {
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    (first.trim(), second.trim())
}

/// What stands last in a log, which may hold anything.
pub fn last_lines(log: &str) -> Vec<String> {
    let clean = |line: &str| {
        let line: String = line
            .chars()
            .filter(|c| !c.is_control())
            .take(LONGEST_LINE)
            .collect();
        line.trim().to_owned()
    };
    // A progress bar writes over its own line.
    let lines: Vec<_> = log
        .split(['\n', '\r'])
        .map(clean)
        .filter(|l| !l.is_empty())
        .collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_may_hold_anything() {
        let log = format!(
            "{}\nGet:1\r 10%\r 99%\n\u{1b}[31mE: no\u{0} space\n\n{}",
            "x\n".repeat(50),
            "y".repeat(1 << 20)
        );
        let lines = last_lines(&log);
        assert_eq!(lines.len(), LAST_LINES);
        assert_eq!(lines[LAST_LINES - 3..LAST_LINES - 1], ["99%", "[31mE: no space"]);
        assert!(lines.iter().all(|line| line.len() <= LONGEST_LINE));
        assert!(last_lines("").is_empty());
    }
}
