//! The agent of a build server as a service of the host: its files, how it does, and what is left of it.

use crate::ssh::{Session, SshError};
use laas_core::Secret;

/// Where its files are. What lies here belongs to the agent alone and goes with it.
pub const DIRECTORY: &str = "/var/lib/laas-jenkins";
pub const UNIT: &str = "laas-jenkins.service";
const SCRIPT: &str = include_str!("agent/agent.sh");

/// How the service does.
#[derive(Debug, Clone)]
pub struct Look {
    /// What systemd calls its state: `active`, `activating`, `failed`, …
    pub state: String,
    /// The number of its main process, 0 if it has none.
    pub main: u32,
    /// Whether that process has said that the server let it in.
    pub connected: bool,
    /// The end of its log, which may hold anything.
    pub log: String,
}

/// Whether the host's services are systemd's, as sd_booted(3) finds out.
///
/// # Errors
/// The connection broke.
pub fn has_systemd(session: &Session) -> Result<bool, SshError> {
    let output = session.exec(&["test", "-d", "/run/systemd/system"], b"")?;
    Ok(output.code == 0)
}

/// Whether the files are these, and closed to others.
///
/// # Errors
/// The connection broke, or a file can't be read.
pub fn has_files(session: &Session, unit: &str, secret: &Secret) -> Result<bool, SshError> {
    let [file, unit_file] = [
        format!("{DIRECTORY}/secret"),
        format!("/etc/systemd/system/{UNIT}"),
    ];
    let script = r#"[ ! -e "$1" ] || stat -c '%a %u' -- "$1""#;
    let mode = session.run(&["sh", "-c", script, "sh", &file])?;
    Ok(mode.trim() == "600 0"
        && session.read_file(&file)?.as_deref() == Some(secret.expose())
        && session.read_file(&unit_file)?.as_deref() == Some(unit))
}

/// Writes the files, and starts the service now and at every boot. `unit` ends with one line break, `secret` has none.
///
/// # Errors
/// The connection broke, or the host refuses; a service that fails at once is none.
pub fn start(session: &Session, unit: &str, secret: &Secret) -> Result<(), SshError> {
    let stdin = format!("{}\n{unit}", secret.expose());
    let length = unit.len().to_string();
    let words = ["sh", "-c", SCRIPT, "sh", "start", DIRECTORY, UNIT, &length];
    session
        .exec(&words, stdin.as_bytes())?
        .success("start the agent")
        .map(drop)
}

/// # Errors
/// The connection broke.
pub fn look(session: &Session) -> Result<Look, SshError> {
    let said = call(session, "state")?;
    let mut lines = said.splitn(4, '\n');
    let mut next = || lines.next().unwrap_or_default();
    Ok(Look {
        state: next().to_owned(),
        main: next().parse().unwrap_or(0),
        connected: next().parse().unwrap_or(0) > 0,
        log: next().to_owned(),
    })
}

/// What there is of an agent: files, the unit, processes.
///
/// # Errors
/// The connection broke.
pub fn left(session: &Session) -> Result<Vec<String>, SshError> {
    Ok(lines(&call(session, "left")?))
}

/// Ends the service and whatever else runs by its files, and deletes it all. What is left all the same.
///
/// # Errors
/// The connection broke.
pub fn remove(session: &Session) -> Result<Vec<String>, SshError> {
    Ok(lines(&call(session, "remove")?))
}

fn call(session: &Session, verb: &str) -> Result<String, SshError> {
    session.run(&["sh", "-c", SCRIPT, "sh", verb, DIRECTORY, UNIT])
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
