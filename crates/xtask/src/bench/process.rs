//! What a process has cost, from the kernel's own books.

use anyhow::{Context, bail, ensure};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What one run of a program has cost and said.
pub struct Run {
    /// From start to end, waiting included.
    pub wall: Duration,
    /// CPU of the program's own threads.
    pub own: Duration,
    /// CPU with the processes that it started and waited for.
    pub all: Duration,
    /// The program's own peak of resident memory in bytes.
    pub peak: u64,
    pub stdout: Vec<u8>,
}

/// Runs a program to its end. It must succeed.
///
/// `ru_maxrss` can't tell the peak: the kernel starts it, at exec, with the peak of the process that forked, and adds
/// that of every child. The program is therefore traced as far as its end, where the kernel halts it while its memory
/// is still there to be read: `VmHWM` begins anew at exec and knows no children. Its CPU clock is read when it is over
/// but not yet waited for, since waiting adds that of its children.
pub fn run(mut command: Command) -> anyhow::Result<Run> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?);
    // SAFETY: between fork and exec there is one system call, which touches no memory.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME) {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    let begin = Instant::now();
    let child = command.spawn().with_context(|| format!("can't run `{name}`"))?;
    let pid = child.id();
    let peak = peak_at_end(libc::pid_t::try_from(pid)?).with_context(|| format!("`{name}`"))?;
    let own = own_cpu_of_ended(pid)?;
    let (status, usage) = reap(libc::pid_t::try_from(pid)?)?;
    let wall = begin.elapsed();
    let seconds = |time: libc::timeval| {
        Duration::new(time.tv_sec.unsigned_abs(), 0) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    let (said, log) = (content(&mut stdout)?, content(&mut stderr)?);
    ensure!(
        status == 0,
        "`{name}` ended with wait status {status}: {}{}",
        String::from_utf8_lossy(&said),
        String::from_utf8_lossy(&log)
    );
    Ok(Run {
        wall,
        own,
        all: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak,
        stdout: said,
    })
}

/// Lets a traced child run until the kernel halts it at its end.
fn peak_at_end(pid: libc::pid_t) -> anyhow::Result<u64> {
    let go_on = |request, data: i32| {
        // SAFETY: these requests read no memory of ours; the number travels in place of a pointer.
        let done = unsafe { libc::ptrace(request, pid, 0, libc::c_long::from(data)) };
        ensure!(done != -1, "can't trace it: {}", std::io::Error::last_os_error());
        Ok(())
    };
    // The first halt is the one that exec causes.
    stopped_by(pid)?;
    go_on(
        libc::PTRACE_SETOPTIONS,
        libc::PTRACE_O_TRACEEXIT | libc::PTRACE_O_EXITKILL,
    )?;
    go_on(libc::PTRACE_CONT, 0)?;
    loop {
        let stop = stopped_by(pid)?;
        if stop >> 8 == libc::PTRACE_EVENT_EXIT {
            let peak = high_water(u32::try_from(pid)?)?;
            go_on(libc::PTRACE_CONT, 0)?;
            return Ok(peak);
        }
        // A signal on its way to the child.
        go_on(libc::PTRACE_CONT, stop)?;
    }
}

/// The signal that has halted a traced child, and above it the event.
fn stopped_by(pid: libc::pid_t) -> anyhow::Result<i32> {
    let mut status = 0;
    // SAFETY: the status is ours and outlives the call.
    let done = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    ensure!(
        done == pid,
        "can't wait for it: {}",
        std::io::Error::last_os_error()
    );
    ensure!(
        libc::WIFSTOPPED(status),
        "it ended before it could be looked at: {status}"
    );
    Ok(status >> 8)
}

fn own_cpu_of_ended(pid: u32) -> anyhow::Result<Duration> {
    // SAFETY: zeroes are valid for these plain structures, which are ours and outlive the calls.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let done = libc::waitid(
            libc::P_PID,
            pid,
            &raw mut info,
            libc::WEXITED | libc::WNOWAIT | libc::__WALL,
        );
        ensure!(
            done == 0,
            "can't wait for it: {}",
            std::io::Error::last_os_error()
        );
        let (mut clock, mut time) = (0, std::mem::zeroed::<libc::timespec>());
        ensure!(
            libc::clock_getcpuclockid(libc::pid_t::try_from(pid)?, &raw mut clock) == 0,
            "it has no CPU clock"
        );
        ensure!(
            libc::clock_gettime(clock, &raw mut time) == 0,
            "can't read its CPU clock"
        );
        Ok(Duration::from_secs(time.tv_sec.unsigned_abs())
            + Duration::from_nanos(time.tv_nsec.unsigned_abs()))
    }
}

fn reap(pid: libc::pid_t) -> anyhow::Result<(i32, libc::rusage)> {
    // SAFETY: zeroes are valid for this plain structure; both results are ours and outlive the call.
    unsafe {
        let (mut status, mut usage) = (0, std::mem::zeroed::<libc::rusage>());
        let done = libc::wait4(pid, &raw mut status, libc::__WALL, &raw mut usage);
        ensure!(
            done == pid,
            "can't wait for it: {}",
            std::io::Error::last_os_error()
        );
        Ok((status, usage))
    }
}

fn content(file: &mut File) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The peak of resident memory of a process that is there, in bytes.
pub fn high_water(pid: u32) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let Some(words) = line.map(|line| line.trim().trim_end_matches(" kB")) else {
        bail!("`/proc/{pid}/status` has no `VmHWM`");
    };
    Ok(words.parse::<u64>()? * 1024)
}

/// The CPU that a process which is there has used so far: its own, and that of its children that have ended.
pub fn cpu(pid: u32) -> anyhow::Result<(Duration, Duration)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name, which may hold anything; proc(5) counts utime as the 14th.
    let fields = text
        .rsplit_once(") ")
        .context("`stat` has no name")?
        .1
        .split_whitespace();
    let ticks: Vec<u64> = fields
        .skip(11)
        .take(4)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [user, system, children_user, children_system] = ticks[..] else {
        bail!("`/proc/{pid}/stat` is too short");
    };
    // SAFETY: no memory is involved.
    let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) })?;
    let time = |ticks| Duration::from_millis(ticks * 1000 / per_second);
    Ok((time(user + system), time(children_user + children_system)))
}
