//! Tools as child processes: a clean environment, a hard timeout, no orphans.

use crate::wait::{Deadline, Ended};
use crate::{Classify, Kind};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// More than any tool here prints; the rest is thrown away.
const OUTPUT_LIMIT: u64 = 4 << 20;
/// What a child keeps of our environment. Everything else could change what a tool does
/// (`IPMITOOL_PASSWORD` beats `IPMI_PASSWORD`, even when empty).
const KEPT: [&str; 2] = ["PATH", "HOME"];

/// A tool to run: `Tool::new("ipmitool").args(["-V"]).run(&deadline)`.
#[derive(Debug)]
pub struct Tool {
    program: String,
    command: Command,
    stdin: Option<Vec<u8>>,
}

/// What a tool that ran to its end left behind.
#[derive(Debug, Clone)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    #[error("can't start `{program}`")]
    Start { program: String, source: std::io::Error },
    #[error("`{program}` did not end in time and was killed")]
    Ended { program: String, source: Ended },
    #[error("lost `{program}`")]
    Lost { program: String, source: std::io::Error },
}

impl Classify for ChildError {
    fn kind(&self) -> Kind {
        match self {
            Self::Start { .. } => Kind::Input,
            Self::Ended {
                source: Ended::Cancelled,
                ..
            } => Kind::Cancelled,
            Self::Ended { .. } | Self::Lost { .. } => Kind::Unreachable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Start { program, .. } => Some(format!(
                "install `{program}` on the machine that runs the actions"
            )),
            _ => None,
        }
    }
}

impl Tool {
    /// `program` is looked up in `PATH`. It runs in the C locale.
    pub fn new(program: &str) -> Self {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C");
        for name in KEPT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        Self {
            program: program.to_owned(),
            command,
            stdin: None,
        }
    }

    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// The place for a secret that the tool takes from its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// The place for a secret that the tool takes from its standard input.
    #[must_use]
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Runs the tool to its end, whatever its exit status.
    ///
    /// # Errors
    /// It can't be started, or it was killed because the deadline passed or the execution was cancelled.
    pub fn run(mut self, deadline: &Deadline) -> Result<Output, ChildError> {
        let program = self.program;
        // SAFETY: prctl is async-signal-safe and touches nothing of the parent's memory.
        unsafe {
            self.command.pre_exec(|| {
                // A killed action must not leave a tool at work behind it.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let mut child = self
            .command
            .stdin(if self.stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| ChildError::Start {
                program: program.clone(),
                source,
            })?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        if let (Some(mut pipe), Some(text)) = (pipes.0, self.stdin) {
            std::thread::spawn(move || {
                // A tool that ends before it has read everything says so by its exit status.
                let _ = pipe.write_all(&text);
            });
        }
        let (sender, receiver) = mpsc::channel();
        read_on_thread(pipes.1, 0, sender.clone());
        read_on_thread(pipes.2, 1, sender);
        let mut texts = [String::new(), String::new()];
        for _ in 0..2 {
            let text = loop {
                if let Err(source) = deadline.check() {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(ChildError::Ended { program, source });
                }
                match receiver.recv_timeout(deadline.cap(Duration::from_millis(100))) {
                    Ok(text) => break Some(text),
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => break None,
                }
            };
            if let Some((which, text)) = text {
                texts[which] = text;
            }
        }
        let status = child
            .wait()
            .map_err(|source| ChildError::Lost { program, source })?;
        let [stdout, stderr] = texts;
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    }
}

impl Output {
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// How it ended, for a message: `exit status 1: <last line of stderr>`.
    pub fn explain(&self) -> String {
        let how = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            (None, None) => "unknown exit status".to_owned(),
        };
        match self.stderr.lines().rev().find(|l| !l.trim().is_empty()) {
            Some(line) => format!("{how}: {}", line.trim()),
            None => how,
        }
    }
}

fn read_on_thread(
    pipe: Option<impl Read + Send + 'static>,
    which: usize,
    sender: mpsc::Sender<(usize, String)>,
) {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.by_ref().take(OUTPUT_LIMIT).read_to_end(&mut bytes);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
        let _ = sender.send((which, String::from_utf8_lossy(&bytes).into_owned()));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_hung_tool_is_killed() {
        let start = Instant::now();
        let result = Tool::new("sleep")
            .args(["60"])
            .run(&Deadline::after(Duration::from_millis(50)));
        assert!(matches!(
            result,
            Err(ChildError::Ended {
                source: Ended::Deadline,
                ..
            })
        ));
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn stdin_environment_and_status_come_through() {
        let script = "cat; echo $SECRET; echo \"${CARGO:-clean}\"; echo oops >&2; exit 3";
        let tool = Tool::new("sh")
            .args(["-c", script])
            .env("SECRET", "s")
            .stdin("in\n");
        let output = tool.run(&Deadline::seconds(20)).unwrap();
        assert_eq!(output.stdout, "in\ns\nclean\n");
        assert_eq!(output.explain(), "exit status 3: oops");
    }

    #[test]
    fn a_missing_tool_is_named() {
        let error = Tool::new("no-such-tool").run(&Deadline::seconds(1)).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().contains("no-such-tool")),
            (Kind::Input, true)
        );
    }
}
