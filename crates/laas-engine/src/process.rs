//! One action as a process: the command line and environment StackStorm gives it, its output, its end.

mod spawn;

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::oneshot;

use crate::model::{Object, Status};
use crate::python::{repr, to_text};

/// How to run an action.
#[derive(Debug)]
pub struct Launch {
    /// The executable.
    pub path: PathBuf,
    /// Named arguments in their order.
    pub arguments: Object,
    /// Added to the environment of this process.
    pub environment: HashMap<String, String>,
    /// `None`: that of this process.
    pub directory: Option<PathBuf>,
    pub timeout: Duration,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
}

/// How an action ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub status: Status,
    /// As the execution shows it.
    pub result: Value,
    /// `None`: there never was one.
    pub process: Option<i32>,
}

impl Outcome {
    /// Whether the end of the process is to be overlooked, see [`crate::engine::Options::unnoticed`].
    pub fn goes_unnoticed(&self, unnoticed: Option<&Path>) -> bool {
        let file = unnoticed
            .zip(self.process)
            .map(|(directory, process)| directory.join(process.to_string()));
        file.is_some_and(|file| file.exists())
    }
}

/// What one stream may bring; a program that writes without end must not take this one with it.
const MOST_OUTPUT: usize = 8 * 1024 * 1024;

/// Names the execution in the environment of everything an action starts.
pub const EXECUTION_VARIABLE: &str = "ST2_ACTION_EXECUTION_ID";

/// Runs an action to its end, or stops it when `stop` fires; what was running is gone when this returns.
pub async fn run(launch: Launch, stop: oneshot::Receiver<()>) -> Outcome {
    let Launch {
        path,
        timeout,
        grace,
        environment,
        directory,
        ..
    } = launch;
    let line = command_line(&path, &launch.arguments);
    let spawn::Child {
        id: group,
        stdout,
        stderr,
        exit,
    } = match spawn::spawn(spawn::Command {
        line,
        environment,
        directory,
    })
    .await
    {
        Ok(child) => child,
        Err(error) => return failure(&format!("cannot start `{}`: {error}", path.display())),
    };
    let mut out = Captured::default();
    let mut err = Captured::default();
    let mut timed_out = false;
    let code = {
        let whole = async {
            let (code, (), ()) = tokio::join!(exit.status(), out.read(stdout), err.read(stderr));
            code
        };
        tokio::pin!(whole);
        let ended = tokio::select! {
            code = &mut whole => Some(code),
            () = tokio::time::sleep(timeout) => { timed_out = true; None }
            // A dropped sender means that nobody can stop it any more, not that it should stop.
            () = stopped(stop) => None,
        };
        match ended {
            Some(code) => code,
            None => {
                signal_group(group, libc::SIGTERM);
                match tokio::time::timeout(grace, &mut whole).await {
                    Ok(code) => code,
                    Err(_) => {
                        signal_group(group, libc::SIGKILL);
                        // What has left the session may hold the pipes for ever.
                        tokio::time::timeout(grace.max(Duration::from_secs(1)), &mut whole)
                            .await
                            .unwrap_or_else(|_| Err(std::io::Error::other("the process does not end")))
                    }
                }
            }
        }
    };
    // Whatever it left behind in its session after closing its pipes.
    if timed_out {
        signal_group(group, libc::SIGKILL);
    }
    let code = code.map_or(-1, |status| {
        status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
    });
    Outcome {
        process: Some(group),
        ..finish(code, timed_out.then_some(timeout), out, err)
    }
}

async fn stopped(stop: oneshot::Receiver<()>) {
    if stop.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The command line that the shell gets: `X --name=value …`, made executable first where it is not.
///
/// The shell is replaced (`exec`), so that a signal reaches the action and its end is seen as it was, whatever the
/// shell of the machine does with the last command of a line.
pub fn command_line(path: &Path, arguments: &Object) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path_text = quote(&path.to_string_lossy());
    let is_executable = path
        .metadata()
        .is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0);
    // StackStorm calls `chmod` each time; once is enough.
    let mut line = if is_executable {
        String::new()
    } else {
        format!("chmod +x {path_text} ; ")
    };
    line.push_str("exec ");
    line.push_str(&path_text);
    for (name, value) in arguments {
        match value {
            Value::Null | Value::Bool(false) => {}
            Value::String(text) if text.is_empty() => {}
            Value::Bool(true) => {
                line.push_str(" --");
                line.push_str(name);
            }
            other => {
                line.push(' ');
                line.push_str(&quote(&format!("--{name}")));
                line.push('=');
                line.push_str(&quote(&to_text(other)));
            }
        }
    }
    line
}

/// As Python's `shlex.quote`.
fn quote(text: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !text.is_empty() && text.chars().all(is_safe) {
        return text.to_string();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

/// Environment variables from the `env` parameter. StackStorm fails an action whose values are not texts.
pub fn environment(env: &Value) -> Result<HashMap<String, String>, String> {
    let mut variables = HashMap::new();
    for (name, value) in env.as_object().into_iter().flatten() {
        let Value::String(text) = value else {
            return Err(format!("the environment variable `{name}` must be a text"));
        };
        if name.is_empty() || name.contains(['=', '\0']) || text.contains('\0') {
            return Err(format!(
                "the environment variable {} cannot be set",
                repr(&name.as_str().into())
            ));
        }
        variables.insert(name.clone(), text.clone());
    }
    Ok(variables)
}

fn signal_group(group: i32, signal: i32) {
    // SAFETY: no memory is involved. The group's id stays taken while any member lives.
    unsafe { libc::kill(-group, signal) };
}

#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    dropped: bool,
}

impl Captured {
    /// Reads to the end, keeping no more than [`MOST_OUTPUT`].
    async fn read(&mut self, mut stream: impl AsyncRead + Unpin) {
        let mut buffer = [0; 4096];
        while let Ok(count) = stream.read(&mut buffer).await {
            if count == 0 {
                break;
            }
            let room = MOST_OUTPUT - self.bytes.len();
            self.bytes.extend_from_slice(&buffer[..count.min(room)]);
            self.dropped |= count > room;
        }
    }

    /// One line end less, as StackStorm strips it, and parsed where the whole is JSON.
    fn value(&self) -> Value {
        let text = String::from_utf8_lossy(&self.bytes);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
    }

    fn is_text(&self) -> bool {
        std::str::from_utf8(&self.bytes).is_ok()
    }
}

fn finish(code: i32, timeout: Option<Duration>, out: Captured, err: Captured) -> Outcome {
    // StackStorm reports what it stopped at its timeout as killed.
    let code = if timeout.is_some() { -libc::SIGKILL } else { code };
    let mut error =
        timeout.map(|timeout| format!("Action failed to complete in {} seconds", timeout.as_secs()));
    let mut status = match code {
        0 => Status::Succeeded,
        code if code == -libc::SIGKILL => Status::Timeout,
        code if code == -libc::SIGTERM => Status::Abandoned,
        _ => Status::Failed,
    };
    if !out.is_text() || !err.is_text() {
        error = Some("the output is not UTF-8".into());
        status = Status::Failed;
    } else if out.dropped || err.dropped {
        error = Some(format!(
            "the output is longer than {MOST_OUTPUT} bytes; the rest is dropped"
        ));
    }
    let succeeded = status == Status::Succeeded;
    let mut result = json!({
        "failed": !succeeded,
        "succeeded": succeeded,
        "return_code": code,
        "stdout": out.value(),
        "stderr": err.value(),
    });
    if let Some(error) = error {
        result["error"] = error.into();
    }
    Outcome {
        status,
        result,
        process: None,
    }
}

/// An action that could not even be started.
pub fn failure(message: &str) -> Outcome {
    Outcome {
        status: Status::Failed,
        result: json!({"failed": true, "succeeded": false, "error": message}),
        process: None,
    }
}

/// Kills whatever an earlier engine has left of these executions, and waits until it is gone.
pub fn kill_leftovers(executions: &[String]) {
    if executions.is_empty() {
        return;
    }
    for _ in 0..100 {
        let left = processes_of(executions);
        if left.is_empty() {
            return;
        }
        for process in left {
            tracing::warn!(process, "kills what an earlier engine has left");
            // SAFETY: no memory is involved.
            unsafe { libc::kill(process, libc::SIGKILL) };
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn processes_of(executions: &[String]) -> Vec<i32> {
    let own = std::process::id();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|id| *id != own);
    ids.filter(|id| {
        // What is gone meanwhile, or another user's, cannot be read and is none of ours.
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        let mut variables = environment
            .split(|byte| *byte == 0)
            .filter_map(|variable| std::str::from_utf8(variable).ok());
        variables.any(|variable| {
            let value = variable
                .strip_prefix(EXECUTION_VARIABLE)
                .and_then(|rest| rest.strip_prefix('='));
            value.is_some_and(|value| executions.iter().any(|id| id == value))
        })
    })
    .filter_map(|id| i32::try_from(id).ok())
    .collect()
}

#[cfg(test)]
mod tests;
