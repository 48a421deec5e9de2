//! Tenants' keys: checked at the door, one marked line per (booking, user, key).

use crate::ssh::{Session, SshError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use laas_core::names::AccountName;
use laas_core::{Classify, Kind};
use std::str::FromStr;

/// Types that OpenSSH 9 accepts by default.
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// A public key without options; whatever comment the tenant gave it is left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: String,
    base64: String,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    #[error("there is no key")]
    Empty,
    #[error("there is more than one line; give one key")]
    Lines,
    #[error("`{0}` is not a type of key that OpenSSH accepts, or there are options before it")]
    Type(String),
    #[error("the key is cut or garbled: {0}")]
    Garbled(&'static str),
}

impl Classify for KeyError {
    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        Some("the user should submit the line of the `.pub` file again".to_owned())
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.lines().count() > 1 || text.contains('\r') {
            return Err(KeyError::Lines);
        }
        let mut words = text.split([' ', '\t']).filter(|w| !w.is_empty());
        let kind = words.next().ok_or(KeyError::Empty)?;
        if !TYPES.contains(&kind) {
            return Err(KeyError::Type(kind.escape_debug().take(40).collect()));
        }
        let base64 = words
            .next()
            .ok_or(KeyError::Garbled("nothing follows the type"))?;
        let blob = STANDARD
            .decode(base64)
            .map_err(|_| KeyError::Garbled("this is not base64"))?;
        check_blob(kind, &blob)?;
        // Encoded anew, so that what is written is what was checked.
        Ok(Self {
            kind: kind.to_owned(),
            base64: STANDARD.encode(blob),
        })
    }
}

/// RFC 4253 §6.6 and RFC 8709: length-prefixed fields, the first of which repeats the type.
fn check_blob(kind: &str, blob: &[u8]) -> Result<(), KeyError> {
    let mut rest = blob;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (length, tail) = rest
            .split_first_chunk::<4>()
            .ok_or(KeyError::Garbled("a field is cut"))?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let field = tail.get(..length).ok_or(KeyError::Garbled("a field is cut"))?;
        fields.push(field);
        rest = &tail[length..];
    }
    if fields.first() != Some(&kind.as_bytes()) {
        return Err(KeyError::Garbled("the type inside is another one"));
    }
    if fields.len() < 2 || (kind == "ssh-ed25519" && fields.get(1).map(|f| f.len()) != Some(32)) {
        return Err(KeyError::Garbled("the key has the wrong length"));
    }
    Ok(())
}

impl PublicKey {
    /// `type base64`, without a comment.
    pub fn line(&self) -> String {
        format!("{} {}", self.kind, self.base64)
    }
}

/// What marks a line as ours: this booking's, this user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub job: u64,
    pub user: u64,
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "laas-job-{}-user-{}", self.job, self.user)
    }
}

/// The file with exactly one marked line for the key; every other line stays as it is.
fn with_key(file: &str, key: &PublicKey, mark: Mark) -> String {
    let line = format!("{} {mark}", key.line());
    if file.lines().any(|l| l == line) {
        return file.to_owned();
    }
    let gap = if file.is_empty() || file.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    format!("{file}{gap}{line}\n")
}

/// Puts the key into the account's `authorized_keys`, creating the account if the system lacks it.
/// Returns whether anything changed.
///
/// # Errors
/// The connection broke or the host refuses.
pub fn add(session: &Session, account: &AccountName, key: &PublicKey, mark: Mark) -> Result<bool, SshError> {
    let (home, owner, created) = account_home(session, account)?;
    let dir = format!("{home}/.ssh");
    let path = format!("{dir}/authorized_keys");
    let present = session.read_file(&path)?.unwrap_or_default();
    let wanted = with_key(&present, key, mark);
    if wanted == present {
        return Ok(created);
    }
    session.run(&[
        "install", "-d", "-m", "0700", "-o", &owner.0, "-g", &owner.1, &dir,
    ])?;
    session.write_file(&path, &wanted, "0600", &format!("{}:{}", owner.0, owner.1))?;
    Ok(true)
}

/// The account's home, its numeric owner and group, and whether it had to be created.
fn account_home(
    session: &Session,
    account: &AccountName,
) -> Result<(String, (String, String), bool), SshError> {
    let lookup = || session.exec(&["getent", "passwd", account.as_str()], b"");
    let found = lookup()?;
    let created = found.code != 0;
    let line = if created {
        session.run(&["useradd", "-m", "-s", "/bin/bash", account.as_str()])?;
        lookup()?.stdout
    } else {
        found.stdout
    };
    // passwd(5): name:password:uid:gid:comment:home:shell
    let fields: Vec<_> = line.trim().split(':').collect();
    match fields.as_slice() {
        [_, _, uid, gid, _, home, ..] if home.starts_with('/') => Ok((
            (*home).to_owned(),
            ((*uid).to_owned(), (*gid).to_owned()),
            created,
        )),
        _ => Err(SshError::Failed {
            what: format!("getent passwd {account}"),
            how: "no entry with a home directory".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

    #[test]
    fn keys_at_the_door() {
        let key: PublicKey = format!(" {ED25519}  alice@example; rm -rf /\n").parse().unwrap();
        assert_eq!(key.line(), ED25519);
        let blob = "AAAAC3NzaC1lZDI1NTE5AAAAIAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
        let bad = [
            String::new(),
            format!("command=\"reboot\" {ED25519}"),
            format!("{ED25519}\n{ED25519}"),
            format!("ssh-dss {blob}"),
            format!("ssh-rsa {blob}"),
            "ssh-ed25519".to_owned(),
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITestOnlyKeyForBob bob@example".to_owned(),
            "ssh-ed25519 $(reboot)".to_owned(),
            "x".repeat(1 << 20),
        ];
        for text in bad {
            let error = text.parse::<PublicKey>().unwrap_err();
            assert!(error.to_string().len() < 200, "{error}");
        }
    }

    #[test]
    fn one_line_per_booking_user_and_key() {
        let key: PublicKey = ED25519.parse().unwrap();
        let (one, two) = (Mark { job: 1, user: 3 }, Mark { job: 2, user: 3 });
        let file = with_key("# the admin's\nssh-rsa AAAA admin", &key, one);
        assert_eq!(
            file,
            format!("# the admin's\nssh-rsa AAAA admin\n{ED25519} laas-job-1-user-3\n")
        );
        assert_eq!(with_key(&file, &key, one), file);
        assert_eq!(with_key(&file, &key, two).lines().count(), 4);
    }
}
