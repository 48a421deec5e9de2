//! The operating system's own updates, as a job on the host.

use crate::job::{self, Begun, Job, JobError, State};
use crate::ssh::{Session, SshError};
use crate::system::Os;
use laas_core::{Classify, Kind};
use std::collections::{BTreeMap, BTreeSet};

/// Where the job and what it leaves behind are. Gone when the updates are done, since an image may be taken next.
pub const DIRECTORY: &str = "/var/lib/laas-update";
const JOB: Job<'_> = Job {
    directory: DIRECTORY,
    unit: "laas-update",
    script: include_str!("update/job.sh"),
};
/// How much is told of a status that can't be read.
const LONGEST: usize = 200;
/// Packages whose new version runs only after a reboot, by how their names begin.
const BOOTED: [&str; 4] = ["linux-image-", "kernel", "linux-firmware", "systemd"];

/// The system's tool for packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    Apt,
    Dnf,
    Yum,
    Zypper,
}

#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    #[error("can't talk to the host")]
    Ssh(#[from] SshError),
    #[error("can't do the updates")]
    Job(#[from] JobError),
    #[error("don't know how `{os}` is updated")]
    UnknownSystem { os: String },
    #[error("`{tool}` left no readable status: `{status}`")]
    Status { tool: &'static str, status: String },
}

impl Classify for UpdateError {
    fn kind(&self) -> Kind {
        match self {
            Self::Ssh(source) => source.kind(),
            Self::UnknownSystem { .. } => Kind::Input,
            Self::Job(source) => source.kind(),
            Self::Status { .. } => Kind::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Ssh(source) => source.hint(),
            Self::UnknownSystem { .. } => {
                Some("systems that call themselves like debian, rhel or suse are known".to_owned())
            }
            Self::Job(source) => source.hint(),
            Self::Status { .. } => Some(format!("look into `{DIRECTORY}` on the host")),
        }
    }
}

/// How far the job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The last line of its log.
    Running(String),
    Ended(Ended),
    /// It died without a status: the host fell over, or somebody killed it.
    Gone,
}

/// What the updates came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The tool's exit status, 0 for success.
    pub status: u32,
    /// Packages that are new, gone, or of another version or state.
    pub packages: BTreeSet<String>,
    /// Whether something new runs only after a reboot.
    pub reboot_needed: bool,
    /// The end of the log.
    pub log: Vec<String>,
}

impl Tool {
    /// By what the system calls itself; Red Hat's family has had two tools.
    ///
    /// # Errors
    /// No family that is known, or the connection broke.
    pub fn detect(session: &Session) -> Result<Self, UpdateError> {
        let os = Os::read(session)?;
        if os.is("debian") || os.is("ubuntu") {
            return Ok(Self::Apt);
        }
        if os.is("suse") {
            return Ok(Self::Zypper);
        }
        if ["rhel", "fedora", "centos"].iter().any(|family| os.is(family)) {
            let found = session.exec(&["sh", "-c", "command -v dnf"], b"")?;
            return Ok(if found.code == 0 { Self::Dnf } else { Self::Yum });
        }
        Err(UpdateError::UnknownSystem {
            os: format!("{} {}", os.id, os.version).trim().to_owned(),
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Dnf => "dnf",
            Self::Yum => "yum",
            Self::Zypper => "zypper",
        }
    }
}

/// Begins the updates unless they are under way, or have ended and are still to be told of.
///
/// # Errors
/// The connection broke, or the host can't start the job.
pub fn begin(session: &Session, tool: Tool) -> Result<Begun, UpdateError> {
    Ok(JOB.begin(session, tool.name(), &[tool.name()])?)
}

/// # Errors
/// The connection broke, or what the job left can't be read.
pub fn look(session: &Session, tool: Tool) -> Result<Progress, UpdateError> {
    let mut look = JOB.look(session)?;
    match look.state {
        State::Running => Ok(Progress::Running(look.log.pop().unwrap_or_default())),
        State::Ended => ended(session, tool).map(Progress::Ended),
        State::None | State::Stopped | State::Died | State::Rebooted => Ok(Progress::Gone),
    }
}

fn ended(session: &Session, tool: Tool) -> Result<Ended, UpdateError> {
    let read = |name: &str| {
        let content = session.read_file(&format!("{DIRECTORY}/{name}"))?;
        Ok::<_, SshError>(content.unwrap_or_default())
    };
    let text = read("status")?;
    let mut words = text.split_whitespace().map(str::parse);
    let (Some(Ok(status)), Some(Ok(wanted))) = (words.next(), words.next()) else {
        return Err(UpdateError::Status {
            tool: tool.name(),
            status: text.escape_debug().take(LONGEST).collect(),
        });
    };
    let packages = differences(&read("before")?, &read("after")?);
    let booted = |name: &String| BOOTED.iter().any(|begin| name.starts_with(begin));
    let log = session.run(&["tail", "-c", "8000", &format!("{DIRECTORY}/log")])?;
    Ok(Ended {
        status,
        reboot_needed: wanted == 1_u32 || packages.iter().any(booted),
        packages,
        log: job::last_lines(&log),
    })
}

/// Takes note that the end of a job has been told: the next [`begin`] begins anew. A log of a failure stays for the
/// operator to read.
///
/// # Errors
/// The connection broke.
pub fn forget(session: &Session, ended: &Ended) -> Result<(), UpdateError> {
    if ended.status == 0 {
        session.run(&["rm", "-rf", DIRECTORY])?;
    } else {
        session.run(&["rm", "-f", &format!("{DIRECTORY}/status")])?;
    }
    Ok(())
}

/// The names of packages of which not all lines are the same in both lists; a kernel has one line per version.
fn differences(before: &str, after: &str) -> BTreeSet<String> {
    fn by_name(list: &str) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (name, rest) in list.lines().filter_map(|line| line.split_once(' ')) {
            found.entry(name).or_default().insert(rest.trim());
        }
        found
    }
    let (before, after) = (by_name(before), by_name(after));
    let names = before.keys().chain(after.keys());
    let differ = names.filter(|name| before.get(*name) != after.get(*name));
    differ.map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_differ() {
        let before = "bash 5.1 ii \nkernel 4.18-1.x86_64\nmc 1 rc \nold 1 ii \nvim 8 iF \n";
        let after =
            "bash 5.1 ii \nkernel 4.18-1.x86_64\nkernel 4.18-2.x86_64\nmc 1 rc \nnew 1 ii \nvim 8 ii \n";
        let found = differences(before, after);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["kernel", "new", "old", "vim"]
        );
        assert!(differences(after, after).is_empty());
    }
}
