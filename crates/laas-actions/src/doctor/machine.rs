//! This machine: the tools, the key to the hosts, room on the disks; and the configuration itself.

use super::Lab;
use super::rounds::{Check, Report};
use laas_core::child::Tool;
use laas_core::config::Config;
use laas_core::inventory::BmcDriver;
use laas_core::lock;
use laas_core::wait::Deadline;
use laas_switch::Rules;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MACHINE: &str = "machine";
const CONFIG: &str = "config";
/// Locks and the files of tools are small; a disk with so little left is about to fail everything else.
const LEAST_SPACE: u64 = 64 << 20;
/// Longer than a tool takes to say its version, on a machine with other work.
const TOOL: u64 = 10;

/// What the configuration says, before anybody is asked.
pub fn of_config(config: &Config) -> Report {
    let mut report = Report::default();
    let failures = [
        config.fog().err(),
        config.vpn().err(),
        config.dashboard().err(),
        Rules::new(&config.networks).err().map(Into::into),
    ];
    for failure in failures.into_iter().flatten() {
        report.failed(CONFIG, failure);
    }
    report
}

pub fn checks(lab: &Arc<Lab>) -> Vec<Check> {
    let (key, tools) = (lab.clone(), lab.clone());
    vec![
        Check::new(MACHINE, None, move |report| {
            ssh_key(&key.config.ssh.key_file, report)
        }),
        Check::new(MACHINE, None, space),
        Check::new(MACHINE, None, move |report| versions(&tools, report)),
    ]
}

fn ssh_key(path: &Path, report: &mut Report) {
    let shown = path.display();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("the SSH key `{shown}` can't be read: {error}");
            let hint = "name the pack's private key in `ssh.key_file`; the user of the actions must be able to read it";
            return report.find(MACHINE, None, what, hint);
        }
    };
    if !text.starts_with("-----BEGIN ") || !text.contains("PRIVATE KEY") {
        let hint = "`ssh.key_file` is the private half, which `ssh-keygen` writes without an ending";
        report.find(MACHINE, None, format!("`{shown}` is no private SSH key"), hint);
    } else if fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
        let what = format!("the SSH key `{shown}` is open to other users, who could get onto every host");
        report.find(MACHINE, None, what, format!("`chmod 600 {shown}`"));
    }
}

/// Where the actions write: the locks, and the files of tools.
fn space(report: &mut Report) {
    let mut seen = Vec::new();
    for path in [lock::directory(), std::env::temp_dir()] {
        let Some((device, free)) = free_space(&path) else {
            continue;
        };
        if free < LEAST_SPACE && !seen.contains(&device) {
            seen.push(device);
            let what = format!("the disk of `{}` has {} MB left", path.display(), free >> 20);
            report.find(
                MACHINE,
                None,
                what,
                "make room: without it no lock and no file of a tool can be written",
            );
        }
    }
}

/// The file system that the path is on, or the first directory above it that is there, and the bytes that are free.
fn free_space(path: &Path) -> Option<(u64, u64)> {
    let present: PathBuf = path.ancestors().find(|p| p.exists())?.to_owned();
    let name = CString::new(present.as_os_str().as_bytes()).ok()?;
    // SAFETY: an all-zero `statvfs` is a valid one, and the call writes no more than that.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are good for the time of the call.
    let answer = unsafe { libc::statvfs(name.as_ptr(), &raw mut found) };
    (answer == 0).then(|| (found.f_fsid, found.f_bavail.saturating_mul(found.f_frsize)))
}

fn versions(lab: &Lab, report: &mut Report) {
    report
        .versions
        .insert("laas".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    let is_ipmi =
        |host: &laas_core::inventory::Host| host.bmc.as_ref().is_some_and(|b| b.driver == BmcDriver::Ipmi);
    let users: Vec<_> = lab.hosts.iter().filter(|host| is_ipmi(host)).collect();
    for (tool, flag, wanted) in [("ipmitool", "-V", !users.is_empty()), ("ssh", "-V", true)] {
        if !wanted {
            continue;
        }
        match Tool::new(tool).args([flag]).run(&Deadline::seconds(TOOL)) {
            Ok(said) => {
                let text = format!("{}{}", said.stdout, said.stderr);
                let line = text.lines().next().unwrap_or_default().chars().take(80).collect();
                report.versions.insert(tool.to_owned(), line);
            }
            Err(error) => report.failed(MACHINE, error),
        }
    }
}

/// Whether the tool is where programs are looked for.
pub fn has(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(tool).is_file())
}
