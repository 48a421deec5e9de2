//! What system a host runs, and its hostname.

use crate::ssh::{Session, SshError};
use laas_core::names::SystemHostname;

/// The file that marks a system as set up by the pack for one request. An image that has just been written has none,
/// so a marker of another request means that the old system still answers.
pub const MARKER: &str = "/etc/laas-request";

/// What `/etc/os-release` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Os {
    /// `ubuntu`, `debian`, `centos`, `opensuse-leap`, …
    pub id: String,
    pub version: String,
    /// `ID` and the families it is like, for questions such as "is this a SUSE?".
    pub like: Vec<String>,
}

impl Os {
    /// # Errors
    /// The file can't be read.
    pub fn read(session: &Session) -> Result<Self, SshError> {
        let text = session.read_file("/etc/os-release")?.unwrap_or_default();
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let value = |key: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default()
                .trim()
                .trim_matches(['"', '\''])
                .to_owned()
        };
        let id = value("ID");
        let mut like = vec![id.clone()];
        like.extend(value("ID_LIKE").split_whitespace().map(str::to_owned));
        Self {
            id,
            version: value("VERSION_ID"),
            like,
        }
    }

    /// Whether this is the system that the inventory calls `ubuntu`, `centos` or `suse`.
    pub fn is(&self, family: &str) -> bool {
        self.like
            .iter()
            .any(|l| l == family || (family == "suse" && l.contains("suse")))
    }
}

/// The host's name, as the running kernel and `/etc/hostname` say it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Hostnames {
    pub running: String,
    pub stored: String,
}

/// # Errors
/// The connection broke.
pub fn hostnames(session: &Session) -> Result<Hostnames, SshError> {
    let running = session.run(&["uname", "-n"])?.trim().to_owned();
    let stored = session
        .read_file("/etc/hostname")?
        .unwrap_or_default()
        .trim()
        .to_owned();
    Ok(Hostnames { running, stored })
}

/// The number that the kernel gave to this boot (random(4)); another one proves a reboot.
///
/// # Errors
/// The connection broke, or the kernel gives none.
pub fn boot_id(session: &Session) -> Result<String, SshError> {
    let id = session.run(&["cat", "/proc/sys/kernel/random/boot_id"])?;
    Ok(id
        .trim()
        .chars()
        .filter(|c| c.is_ascii_hexdigit() || *c == '-')
        .take(64)
        .collect())
}

/// Asks the system to reboot in a moment, so that the answer gets through.
///
/// # Errors
/// The connection broke, which may be the reboot itself, or the system refuses.
pub fn reboot(session: &Session) -> Result<(), SshError> {
    session.run(&["shutdown", "-r", "now"]).map(drop)
}

/// Sets the hostname now and for every later boot, and lets it resolve on the host itself.
///
/// # Errors
/// The host refuses.
pub fn set_hostname(session: &Session, name: &SystemHostname) -> Result<(), SshError> {
    session.write_file("/etc/hostname", &format!("{name}\n"), "0644", "root:root")?;
    let hosts = session
        .read_file("/etc/hosts")?
        .unwrap_or_else(|| "127.0.0.1\tlocalhost\n".to_owned());
    session.write_file("/etc/hosts", &with_own_name(&hosts, name), "0644", "root:root")?;
    session.run(&["hostname", name.as_str()]).map(drop)
}

/// Prints what makes a system this one and no other, which an image must not bring along: OpenSSH's host keys,
/// machine-id(5) in its two places, systemd's random seed, and [`MARKER`].
const IDENTITY: &str = r#"for file in /etc/laas-request /etc/ssh/ssh_host_* /var/lib/systemd/random-seed; do
[ -e "$file" ] && echo "$file"; done; for file in /etc/machine-id /var/lib/dbus/machine-id; do
[ -f "$file" ] && [ ! -L "$file" ] && [ -s "$file" ] && echo "$file"; done; exit 0"#;

/// The files that make the system this one and no other, as far as they are there. The marker of its deploy is the first:
/// with it a system that has new keys is taken for an old one.
///
/// # Errors
/// The connection broke.
pub fn identity(session: &Session) -> Result<Vec<String>, SshError> {
    let found = session.run(&["sh", "-c", IDENTITY])?;
    Ok(found.lines().map(str::to_owned).collect())
}

/// Deletes or empties them: the system makes its own at its next boot.
///
/// # Errors
/// The host refuses.
pub fn forget_identity(session: &Session) -> Result<(), SshError> {
    for file in identity(session)? {
        match file.as_str() {
            // An empty one is filled at the next boot; without any, systemd takes that boot for the very first.
            "/etc/machine-id" => session.run(&["truncate", "-s", "0", &file])?,
            _ => session.run(&["rm", "-f", &file])?,
        };
    }
    session.run(&["sync"]).map(drop)
}

/// Debian's convention: 127.0.1.1 is the host's own name.
fn with_own_name(hosts: &str, name: &SystemHostname) -> String {
    let own = |line: &&str| line.split_whitespace().next() == Some("127.0.1.1");
    let mut lines: Vec<String> = hosts.lines().filter(|l| !own(l)).map(str::to_owned).collect();
    let short = name.as_str().split('.').next().unwrap_or_default();
    let names = if short == name.as_str() {
        short.to_owned()
    } else {
        format!("{name} {short}")
    };
    lines.push(format!("127.0.1.1\t{names}"));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_of_the_families() {
        let cases = [
            (
                "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"22.04\"\n",
                "ubuntu",
                "22.04",
                "ubuntu",
            ),
            (
                "NAME=\"CentOS Linux\"\nID=\"centos\"\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"7\"",
                "centos",
                "7",
                "centos",
            ),
            (
                "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\nVERSION_ID='15.5'\n",
                "opensuse-leap",
                "15.5",
                "suse",
            ),
        ];
        for (text, id, version, family) in cases {
            let os = Os::parse(text);
            assert_eq!((os.id.as_str(), os.version.as_str()), (id, version));
            assert!(os.is(family) && !os.is("windows"), "{os:?}");
        }
        assert!(!Os::parse("").is("ubuntu"));
    }

    #[test]
    fn the_own_name_replaces_the_old_one() {
        let hosts = "127.0.0.1\tlocalhost\n127.0.1.1 old\n10.0.0.1 fog\n";
        let new = with_own_name(hosts, &"jump.lab".parse().unwrap());
        assert_eq!(
            new,
            "127.0.0.1\tlocalhost\n10.0.0.1 fog\n127.0.1.1\tjump.lab jump\n"
        );
        assert_eq!(with_own_name(&new, &"jump.lab".parse().unwrap()), new);
    }
}
