//! The disk: what an image leaves on it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use super::network::stock;
use super::{System, packages};
use crate::inventory::HostSpec;

/// The account that the lab's images bring along, beside root.
pub const IMAGE_ACCOUNT: &str = "opnfv";

const IMAGE_ACCOUNT_ID: u32 = 1000;

const DIRECTORIES: [(&str, u32); 14] = [
    ("dev", 0o755),
    ("etc/pam.d", 0o755),
    ("etc/ssh/sshd_config.d", 0o755),
    ("etc/sudoers.d", 0o750),
    ("home", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root/.ssh", 0o700),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
];

const SSHD_CONFIG: &str = "\
Include /etc/ssh/sshd_config.d/*.conf
HostKey /etc/ssh/ssh_host_ed25519_key
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
Subsystem sftp internal-sftp
";

/// What stands for an OPNFV installer and for the hypervisor that it uses.
const INSTALLER: [(&str, &str, &str); 2] = [
    ("srv/fuel/ci", "deploy.sh", include_str!("tools/fuel")),
    ("opt/laas/bin", "virsh", include_str!("tools/virsh")),
];

/// Enough for `chpasswd` and `passwd`.
const PAM_OTHER: &str = "\
auth required pam_unix.so
account required pam_unix.so
password required pam_unix.so sha512
session optional pam_unix.so
";

/// Writes a system as its image holds it, with host keys of its own, to
/// `root`, which must not exist. `authorized_key` is what lets the lab in as
/// root. Nobody else's accounts are on it.
///
/// # Errors
/// What the file system or `ssh-keygen` says; the directory is of no use
/// then.
pub fn write(root: &Path, system: &System, host: &HostSpec, authorized_key: &str) -> io::Result<()> {
    fs::create_dir(root)?;
    for (directory, mode) in DIRECTORIES {
        let path = root.join(directory);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    for directory in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{directory}"), root.join(directory))?;
    }
    let account = IMAGE_ACCOUNT;
    let id = IMAGE_ACCOUNT_ID;
    for (file, mode, text) in [
        ("etc/os-release", 0o644, os_release(system)),
        ("etc/hostname", 0o644, format!("{}\n", system.os.id)),
        (
            "etc/hosts",
            0o644,
            "127.0.0.1 localhost\n::1 localhost ip6-localhost\n".to_owned(),
        ),
        ("etc/machine-id", 0o444, String::new()),
        (
            "etc/passwd",
            0o644,
            format!(
                "root:x:0:0:root:/root:/bin/bash\n\
                 sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n\
                 nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
                 {account}:x:{id}:{id}::/home/{account}:/bin/bash\n"
            ),
        ),
        (
            "etc/group",
            0o644,
            format!(
                "root:x:0:\ntty:x:5:\nadm:x:4:{account}\nsudo:x:27:{account}\nwheel:x:28:{account}\n\
                 users:x:100:\nnogroup:x:65534:\n{account}:x:{id}:\n"
            ),
        ),
        (
            "etc/shadow",
            0o600,
            format!("root:*:19000:0:99999:7:::\n{account}:*:19000:0:99999:7:::\n"),
        ),
        ("etc/gshadow", 0o600, "root:*::\nnogroup:*::\n".to_owned()),
        ("etc/shells", 0o644, "/bin/sh\n/bin/bash\n".to_owned()),
        (
            "etc/login.defs",
            0o644,
            "ENCRYPT_METHOD SHA512\nUID_MIN 1000\nGID_MIN 1000\nUSERGROUPS_ENAB yes\nCREATE_HOME yes\n"
                .to_owned(),
        ),
        (
            "etc/nsswitch.conf",
            0o644,
            "passwd: files\ngroup: files\nshadow: files\nhosts: files\n".to_owned(),
        ),
        ("etc/pam.d/other", 0o644, PAM_OTHER.to_owned()),
        ("etc/ssh/sshd_config", 0o600, SSHD_CONFIG.to_owned()),
        (
            "root/.ssh/authorized_keys",
            0o600,
            format!("{}\n", authorized_key.trim_end()),
        ),
    ] {
        put(root, file, mode, &text)?;
    }
    for (directory, file, text) in INSTALLER {
        fs::create_dir_all(root.join(directory))?;
        put(root, &format!("{directory}/{file}"), 0o755, text)?;
    }
    let home = root.join("home").join(account);
    fs::create_dir(&home)?;
    chown(&home, Some(id), Some(id))?;
    stock::write(root, &system.os, &host.nics)?;
    packages::write(root, &system.os.id)?;
    host_key(&root.join("etc/ssh/ssh_host_ed25519_key"))
}

/// Writes a system that was captured to `root`, which must not exist. Like
/// any system it makes itself host keys at its first boot if it has none.
///
/// # Errors
/// As [`write()`].
pub fn restore(root: &Path, files: &Path) -> io::Result<()> {
    copy(files, root)?;
    let key = root.join("etc/ssh/ssh_host_ed25519_key");
    if key.exists() { Ok(()) } else { host_key(&key) }
}

/// Copies a directory with everything that the file system knows of it.
///
/// # Errors
/// What `cp` says.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut command = Command::new("cp");
    run(command.arg("-a").arg(from).arg(to))
}

fn os_release(system: &System) -> String {
    let name = match system.os.id.as_str() {
        "ubuntu" => "Ubuntu",
        "centos" => "CentOS Linux",
        "debian" => "Debian GNU/Linux",
        id if id.contains("suse") => "openSUSE Leap",
        id => id,
    };
    let (id, version) = (&system.os.id, &system.os.version);
    let like = match id.as_str() {
        "ubuntu" => "ID_LIKE=debian\n",
        "centos" => "ID_LIKE=\"rhel fedora\"\n",
        id if id.contains("suse") => "ID_LIKE=\"suse opensuse\"\n",
        _ => "",
    };
    format!("NAME=\"{name}\"\nID={id}\n{like}VERSION_ID=\"{version}\"\nPRETTY_NAME=\"{name} {version}\"\n")
}

fn put(root: &Path, file: &str, mode: u32, text: &str) -> io::Result<()> {
    let path = root.join(file);
    fs::write(&path, text)?;
    fs::set_permissions(&path, Permissions::from_mode(mode))
}

fn host_key(path: &Path) -> io::Result<()> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "host", "-f"]);
    run(command.arg(path))
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}
