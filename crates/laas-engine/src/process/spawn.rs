//! Starting a process without copying this one.
//!
//! `fork` copies the page tables of the engine and makes every thread fault on what it writes until the child has
//! called `exec`; with thousands of short steps that is most of what a step costs. So the child borrows the memory and
//! the caller waits until it has called `exec` (`CLONE_VM | CLONE_VFORK`), as `posix_spawn` does it. `posix_spawn`
//! itself cannot ask for `PR_SET_PDEATHSIG`.

use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::ptr::{null, null_mut};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};

use libc::{c_char, c_int, c_void, pid_t};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;

/// What to start.
pub struct Command {
    /// Given to `/bin/sh -c`.
    pub line: String,
    /// Added to the environment of this process.
    pub environment: HashMap<String, String>,
    /// `None`: that of this process.
    pub directory: Option<PathBuf>,
}

/// A running process, leader of a session of its own, that dies with this one.
pub struct Child {
    /// Also the id of its session and its process group.
    pub id: pid_t,
    pub stdout: Receiver,
    pub stderr: Receiver,
    pub exit: Exit,
}

/// The end of a process, yet to come.
pub struct Exit {
    id: pid_t,
    end: AsyncFd<OwnedFd>,
}

impl Exit {
    /// Waits for it.
    pub async fn status(self) -> io::Result<ExitStatus> {
        _ = self.end.readable().await?;
        reap(self.id)
    }
}

/// Starts a process.
pub async fn spawn(command: Command) -> io::Result<Child> {
    let (answer, answered) = oneshot::channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    SPAWNER.send((command, answer)).map_err(|_| gone())?;
    let started = answered.await.map_err(|_| gone())??;
    let id = started.id;
    attach(started).inspect_err(|_| {
        // SAFETY: no memory is involved; the child has not been waited for, so the id is still its own.
        unsafe { libc::kill(-id, libc::SIGKILL) };
        // It has no status that anybody wants.
        _ = reap(id);
    })
}

fn attach(started: Started) -> io::Result<Child> {
    // SAFETY: the descriptor is owned by what is registered, and nobody closes or replaces it.
    let end = unsafe { AsyncFd::register_with_interest(started.end, Interest::READABLE) };
    Ok(Child {
        id: started.id,
        stdout: Receiver::from_owned_fd(started.stdout)?,
        stderr: Receiver::from_owned_fd(started.stderr)?,
        exit: Exit {
            id: started.id,
            end: end.map_err(io::Error::from)?,
        },
    })
}

fn reap(id: pid_t) -> io::Result<ExitStatus> {
    let mut status = 0;
    // SAFETY: the process is a child of this one that nobody else waits for.
    if unsafe { libc::waitpid(id, &raw mut status, 0) } != id {
        return Err(io::Error::last_os_error());
    }
    Ok(ExitStatus::from_raw(status))
}

struct Started {
    id: pid_t,
    stdout: OwnedFd,
    stderr: OwnedFd,
    end: OwnedFd,
}

/// Children die with the *thread* that started them (`PR_SET_PDEATHSIG`), so one thread that never ends starts them all.
static SPAWNER: LazyLock<Sender<(Command, oneshot::Sender<io::Result<Started>>)>> = LazyLock::new(|| {
    let (sender, requests) = channel::<(Command, oneshot::Sender<io::Result<Started>>)>();
    std::thread::spawn(move || {
        let mut stack = vec![0_u128; STACK_BYTES / size_of::<u128>()];
        for (command, answer) in requests {
            // Who asked may be gone; the process then ends by itself or with this one.
            _ = answer.send(start(&command, &mut stack));
        }
    });
    sender
});

/// The child only makes system calls before `exec`.
const STACK_BYTES: usize = 64 * 1024;

/// Everything the child needs, made before it exists: it must not allocate.
struct Plan {
    arguments: *const *const c_char,
    environment: *const *const c_char,
    /// Null: stay.
    directory: *const c_char,
    files: [c_int; 3],
    parent: pid_t,
    /// The error that kept it from `exec`.
    error: c_int,
}

fn start(command: &Command, stack: &mut [u128]) -> io::Result<Started> {
    let line = text(command.line.as_bytes())?;
    let arguments = [c"sh".as_ptr(), c"-c".as_ptr(), line.as_ptr(), null()];
    let environment = environment(&command.environment)?;
    let pointers: Vec<*const c_char> = environment
        .iter()
        .map(|variable| variable.as_ptr())
        .chain([null()])
        .collect();
    let directory = command
        .directory
        .as_ref()
        .map(|path| text(path.as_os_str().as_bytes()))
        .transpose()?;
    let input = File::open("/dev/null")?;
    let (stdout, stdout_end) = pipe()?;
    let (stderr, stderr_end) = pipe()?;
    let mut plan = Plan {
        arguments: arguments.as_ptr(),
        environment: pointers.as_ptr(),
        directory: directory.as_ref().map_or(null(), |path| path.as_ptr()),
        files: [input.as_raw_fd(), stdout_end.as_raw_fd(), stderr_end.as_raw_fd()],
        // SAFETY: no memory is involved.
        parent: unsafe { libc::getpid() },
        error: 0,
    };
    // SAFETY: the stack is this thread's, and with `CLONE_VFORK` the child has left it and `plan` when `clone` returns.
    // Signals are blocked meanwhile, so that no handler of this process runs within the child.
    let id = unsafe {
        let mut all = std::mem::zeroed();
        let mut before = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let top = stack.as_mut_ptr().add(stack.len()).cast::<c_void>();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let id = libc::clone(child, top, flags, (&raw mut plan).cast());
        let failure = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, null_mut());
        if id < 0 { Err(failure) } else { Ok(id) }
    }?;
    // SAFETY: `plan` was written by the child only before `clone` returned.
    let error = unsafe { (&raw const plan.error).read_volatile() };
    if error != 0 {
        // It has no status that anybody wants.
        _ = reap(id);
        return Err(io::Error::from_raw_os_error(error));
    }
    // SAFETY: no memory is involved; the child cannot be gone before it has been waited for.
    let end = unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) };
    let Some(end) = c_int::try_from(end).ok().filter(|end| *end >= 0) else {
        return Err(io::Error::last_os_error());
    };
    // SAFETY: the kernel has just made this descriptor, and it is nobody else's.
    let end = unsafe { OwnedFd::from_raw_fd(end) };
    Ok(Started {
        id,
        stdout,
        stderr,
        end,
    })
}

/// Runs in the borrowed memory until `execve`: only system calls, no allocation, no lock.
extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: the caller waits, so nobody else uses `plan`; everything it points to lives as long.
    unsafe {
        let plan = &mut *plan.cast::<Plan>();
        for signal in 1..=libc::SIGRTMAX() {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, null(), &raw mut action);
            let is_handled = action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != libc::SIG_IGN;
            // Rust ignores SIGPIPE, which a program it starts does not expect.
            if is_handled || signal == libc::SIGPIPE {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        libc::setsid();
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // The parent may have died before the line above.
        if libc::getppid() != plan.parent {
            libc::_exit(1);
        }
        let mut is_ready = true;
        for (target, file) in plan.files.into_iter().enumerate() {
            is_ready = is_ready && libc::dup2(file, target as c_int) >= 0;
        }
        is_ready = is_ready && (plan.directory.is_null() || libc::chdir(plan.directory) == 0);
        if is_ready {
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, null_mut());
            libc::execve(c"/bin/sh".as_ptr(), plan.arguments, plan.environment);
        }
        plan.error = *libc::__errno_location();
        libc::_exit(127)
    }
}

/// The reading and the writing end.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((reader.into(), writer.into()))
}

fn text(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a zero byte within a text"))
}

/// `NAME=value` for every variable of this process and those added.
fn environment(added: &HashMap<String, String>) -> io::Result<Vec<CString>> {
    let own =
        std::env::vars_os().filter(|(name, _)| name.to_str().is_none_or(|name| !added.contains_key(name)));
    let added = added
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let joined = |(name, value): (OsString, OsString)| {
        let mut variable = name.into_vec();
        variable.extend_from_slice(OsStr::as_bytes(OsStr::new("=")));
        variable.extend(value.into_vec());
        text(&variable)
    };
    own.chain(added).map(joined).collect()
}
