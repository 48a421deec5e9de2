//! Child processes that do not outlive the lab.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{OnceLock, mpsc};
use std::thread;

type Job = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Starts `command` so that the kernel kills it when the lab is no more.
///
/// The kernel's word for that, a parent-death signal, is about the *thread*
/// that forked. Threads of a runtime come and go, so one thread that lives as
/// long as the process starts all children.
///
/// # Errors
/// What starting the program says.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, answer) in queue {
                // Whoever asked may be gone; then so is its child.
                if let Err(mpsc::SendError(Ok(mut child))) = answer.send(command.spawn()) {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        });
        jobs
    });
    // SAFETY: `prctl` is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let (answer, child) = mpsc::sync_channel(1);
    starter
        .send((command, answer))
        .map_err(|_| io::Error::other("the thread that starts children is gone"))?;
    child
        .recv()
        .map_err(|_| io::Error::other("the thread that starts children is gone"))?
}

/// A child that is killed and waited for when it is dropped.
#[derive(Debug)]
pub struct Owned(pub Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
