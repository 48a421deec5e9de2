//! Network namespaces without names. One lives as long as somebody holds it, so a test that was killed leaves none
//! behind, nor the cables that ended in it.

use std::fs::File;
use std::io::Error;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

pub struct Namespace(File);

impl Namespace {
    pub fn new() -> Self {
        let made = std::thread::spawn(|| {
            // SAFETY: `unshare` takes no pointers; it moves this thread only, which ends here.
            let status = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            let error = Error::last_os_error();
            assert_eq!(
                status, 0,
                "a network namespace can't be made, which takes root: {error}"
            );
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Self(made.join().unwrap())
    }

    /// Where other processes find it while this one lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// What is run in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path()))
            .args(["--", program]);
        command
    }

    /// The same for a daemon, which the kernel kills when the thread that starts it is no more.
    pub fn daemon(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", "nsenter"])
            .arg(format!("--net={}", self.path()))
            .args(["--", program])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Calls `work` in it; the sockets it makes stay there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: `setns` takes no pointers, and the descriptor is open; it moves this thread only.
                let status = unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(status, 0, "{}", Error::last_os_error());
                work()
            });
            thread.join().unwrap()
        })
    }
}

/// What the command says, which must succeed.
pub fn said(mut command: Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        let program = command.get_program();
        panic!("{program:?} can't be started, whose package test.sh installs: {error}")
    });
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
