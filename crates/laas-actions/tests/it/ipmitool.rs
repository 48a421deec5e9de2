//! A stand-in before the real ipmitool: it notes each command line, and does what a test wants to go wrong.

use crate::pack::Pack;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// What ipmitool says when nobody answers.
pub const SILENCE: &str = "echo 'Error: Unable to establish IPMI v2 / RMCP+ session' >&2; exit 1";
/// What it says when the BMC is busy (completion code 0xC0).
pub const BUSY: &str = "echo 'Unable to send RAW command (channel=0x0 netfn=0x0 lun=0x0 cmd=0x2 rsp=0xc0): Node busy' >&2; exit 1";

pub struct StandIn {
    dir: TempDir,
}

impl StandIn {
    /// Puts itself first in the `PATH` of the pack's actions.
    pub fn before(pack: &mut Pack) -> Self {
        let this = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let dir = this.dir.path().display();
        // The lock makes the count right when actions go side by side. `real` leaves room for what comes after.
        let script = format!(
            "#!/bin/sh\n\
             count=$(flock {dir}/lock sh -c 'echo \"$0 $*\" >> {dir}/log; wc -l < {dir}/log' $$ \"$@\")\n\
             real() {{ PATH=/usr/sbin:/usr/bin:/sbin:/bin ipmitool \"$@\"; }}\n\
             [ -e {dir}/plan ] && . {dir}/plan\n\
             PATH=/usr/sbin:/usr/bin:/sbin:/bin exec ipmitool \"$@\"\n"
        );
        let path = this.file("ipmitool");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        pack.env.retain(|(name, _)| *name != "PATH");
        pack.env
            .push(("PATH", format!("{dir}:/usr/sbin:/usr/bin:/sbin:/bin")));
        this
    }

    /// What it does before (and, with `exit`, instead of) the real one, for command lines that hold `words`.
    pub fn when(&self, words: &str, script: &str) {
        self.plan(&format!("case \"$*\" in *\"{words}\"*) {script} ;; esac\n"));
    }

    /// Kills the action at this call, counted from now and from 1: before the BMC hears of it, or after.
    pub fn kill_at(&self, call: usize, after: bool) {
        let call = self.lines().len() + call;
        let after = if after { "real \"$@\" >/dev/null 2>&1;" } else { "" };
        self.plan(&format!(
            "if [ $count -eq {call} ]; then {after} kill -9 $PPID; exit 1; fi\n"
        ));
    }

    /// As the real one from now on.
    pub fn behave(&self) {
        let _ = std::fs::remove_file(self.file("plan"));
    }

    /// The command lines so far, each after the number of its process.
    pub fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.file("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Whether any of its processes is still there.
    pub fn is_at_work(&self) -> bool {
        let lines = self.lines();
        let mut pids = lines.iter().filter_map(|line| line.split(' ').next());
        pids.any(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let state = status.rsplit(") ").next().unwrap_or_default();
            !state.is_empty() && !state.starts_with('Z')
        })
    }

    fn plan(&self, script: &str) {
        // Whole or not at all: a call may be reading it.
        std::fs::write(self.file("new"), script).unwrap();
        std::fs::rename(self.file("new"), self.file("plan")).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Ten moments among the calls of a run, drawn from `seed`: the call, and whether it comes before or after the kill.
pub fn ten_moments(seed: u64, calls: usize) -> Vec<(usize, bool)> {
    let mut state = seed;
    let mut draw = || {
        // Knuth's MMIX generator; its high bits are the good ones.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    (0..10).map(|_| (draw() % calls + 1, draw() % 2 == 1)).collect()
}
