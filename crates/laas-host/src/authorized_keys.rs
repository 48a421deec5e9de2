//! Tenants' keys: checked at the door, one marked line per (booking, user, key).

use crate::ssh::{Output, Session, SshError};
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

/// RSA with 16384 bits, the most that OpenSSH knows, takes 2800; the rest is for a comment.
const LONGEST: usize = 16 << 10;

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
    #[error("it is longer than {LONGEST} bytes, which no key is")]
    Long,
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
        if text.len() > LONGEST {
            return Err(KeyError::Long);
        }
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

/// Length-prefixed fields, the first of which repeats the type (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4, OpenSSH's
/// PROTOCOL.u2f).
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
    let curve = kind.strip_prefix("ecdsa-sha2-").map(str::as_bytes);
    let fits = match (kind, &fields[1..]) {
        ("ssh-ed25519", [key]) | ("sk-ssh-ed25519@openssh.com", [key, _]) => key.len() == 32,
        // Exponent and modulus; OpenSSH refuses less than 1024 bits.
        ("ssh-rsa", [_, modulus]) => modulus.len() >= 128,
        ("sk-ecdsa-sha2-nistp256@openssh.com", [curve, key, _]) => *curve == b"nistp256" && !key.is_empty(),
        (_, [name, key]) => Some(*name) == curve && !key.is_empty(),
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(KeyError::Garbled("the key has the wrong length"))
    }
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

impl Mark {
    /// Of a line's comment, if it is exactly one that the pack writes.
    fn parse(comment: &str) -> Option<Self> {
        let (job, user) = comment.strip_prefix("laas-job-")?.split_once("-user-")?;
        let mark = Self {
            job: job.parse().ok()?,
            user: user.parse().ok()?,
        };
        (mark.to_string() == comment).then_some(mark)
    }
}

/// A line that the pack has written: nothing else is touched.
fn own_line(line: &[u8]) -> Option<(PublicKey, Mark)> {
    let line = std::str::from_utf8(line).ok()?;
    let (key, comment) = line.rsplit_once(' ')?;
    let (mark, key) = (Mark::parse(comment)?, key.parse::<PublicKey>().ok()?);
    (line == format!("{} {mark}", key.line())).then_some((key, mark))
}

/// The file with exactly one marked line for each key; every other line stays as it is, whatever it holds.
fn with_keys(file: &[u8], keys: &[(PublicKey, Mark)]) -> Vec<u8> {
    let mut wanted = file.to_vec();
    for (key, mark) in keys {
        let line = format!("{} {mark}", key.line());
        if wanted.split(|c| *c == b'\n').any(|l| l == line.as_bytes()) {
            continue;
        }
        if wanted.last().is_some_and(|c| *c != b'\n') {
            wanted.push(b'\n');
        }
        wanted.extend_from_slice(line.as_bytes());
        wanted.push(b'\n');
    }
    wanted
}

/// Which of our lines are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// Those of every booking: an image brings along whom its last host let in.
    All,
    OfJob(u64),
    Of(Mark),
}

impl Lines {
    fn include(self, mark: Mark) -> bool {
        match self {
            Self::All => true,
            Self::OfJob(job) => mark.job == job,
            Self::Of(one) => mark == one,
        }
    }
}

/// The file without these lines, and the keys that stood there.
fn without(file: &[u8], lines: Lines) -> (Vec<u8>, Vec<PublicKey>) {
    let mut removed = Vec::new();
    let mut kept = Vec::with_capacity(file.len());
    for line in file.split_inclusive(|c| *c == b'\n') {
        match own_line(line.strip_suffix(b"\n").unwrap_or(line)) {
            Some((key, mark)) if lines.include(mark) => {
                removed.push(key);
            }
            _ => kept.extend_from_slice(line),
        }
    }
    (kept, removed)
}

/// Puts the keys into the account's `authorized_keys`, creating the account if the system lacks it.
/// Returns whether anything changed.
///
/// # Errors
/// The connection broke or the host refuses.
pub fn add(session: &Session, account: &AccountName, keys: &[(PublicKey, Mark)]) -> Result<bool, SshError> {
    let found = Home::find(session, account)?;
    let created = found.is_none();
    let home = match found {
        Some(home) => home,
        None => Home::create(session, account)?,
    };
    let present = home.read(session)?;
    let wanted = with_keys(&present, keys);
    if wanted == present {
        return Ok(created);
    }
    home.write(session, &wanted)?;
    Ok(true)
}

/// What [`remove`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    pub changed: bool,
    /// The keys whose lines are gone.
    pub keys: Vec<PublicKey>,
    /// Keys that another booking still has a line for: they still open the account, and may.
    pub others: Vec<PublicKey>,
}

/// Takes these lines out of the account's `authorized_keys`.
///
/// # Errors
/// The connection broke or the host refuses.
pub fn remove(session: &Session, account: &AccountName, lines: Lines) -> Result<Removed, SshError> {
    let Some(home) = Home::find(session, account)? else {
        return Ok(Removed::default());
    };
    let present = home.read(session)?;
    let (wanted, keys) = without(&present, lines);
    if wanted != present {
        home.write(session, &wanted)?;
    }
    let others = wanted.split(|c| *c == b'\n').filter_map(own_line);
    Ok(Removed {
        changed: wanted != present,
        keys,
        others: others.map(|(key, _)| key).collect(),
    })
}

/// An account's home directory. All work there is done as the account: its owner can put a link anywhere, and root
/// would follow it.
struct Home<'a> {
    account: &'a AccountName,
    /// `.ssh` in it.
    dir: String,
}

impl<'a> Home<'a> {
    /// `None` if there is no such account.
    fn find(session: &Session, account: &'a AccountName) -> Result<Option<Self>, SshError> {
        let found = session.exec(&["getent", "passwd", account.as_str()], b"")?;
        if found.code != 0 {
            return Ok(None);
        }
        // passwd(5): name:password:uid:gid:comment:home:shell
        let fields: Vec<_> = found.stdout.trim().split(':').collect();
        let [_, _, uid, gid, _, home, ..] = fields.as_slice() else {
            return Err(Self::without_home(account));
        };
        if !home.starts_with('/') {
            return Err(Self::without_home(account));
        }
        // A `useradd` that was killed may have left the account without it.
        let script = r#"[ -d "$1" ] || install -d -m 0755 -o "$2" -g "$3" "$1""#;
        session.run(&["sh", "-c", script, "sh", home, uid, gid])?;
        Ok(Some(Self {
            account,
            dir: format!("{home}/.ssh"),
        }))
    }

    /// An account that no password opens. `*` and not `!`, which sshd without PAM takes for a locked account.
    fn create(session: &Session, account: &'a AccountName) -> Result<Self, SshError> {
        session.run(&["useradd", "-m", "-s", "/bin/bash", "-p", "*", account.as_str()])?;
        Self::find(session, account)?.ok_or_else(|| Self::without_home(account))
    }

    fn without_home(account: &AccountName) -> SshError {
        SshError::Failed {
            what: format!("getent passwd {account}"),
            how: "no entry with a home directory".to_owned(),
        }
    }

    /// The file; nothing if there is none.
    fn read(&self, session: &Session) -> Result<Vec<u8>, SshError> {
        let script = r#"[ ! -e "$1/authorized_keys" ] || cat -- "$1/authorized_keys""#;
        let (output, file) = self.exec(session, script, &[], b"")?;
        output.success(&format!("read {}/authorized_keys", self.dir))?;
        Ok(file)
    }

    /// Whole, and moved into place: at no moment is there half a file.
    fn write(&self, session: &Session, file: &[u8]) -> Result<(), SshError> {
        let script = r#"set -e; umask 077; mkdir -p -m 0700 -- "$1"; new=$1/.authorized_keys.laas-new; rm -rf -- "$new"
cat >"$new"; [ "$(wc -c <"$new")" = "$2" ]; sync "$new"; mv -f -- "$new" "$1/authorized_keys""#;
        let length = file.len().to_string();
        let (output, _) = self.exec(session, script, &[&length], file)?;
        output
            .success(&format!("write {}/authorized_keys", self.dir))
            .map(drop)
    }

    fn exec(
        &self,
        session: &Session,
        script: &str,
        args: &[&str],
        stdin: &[u8],
    ) -> Result<(Output, Vec<u8>), SshError> {
        let account = self.account.as_str();
        let mut words = vec![
            "runuser", "-u", account, "--", "sh", "-c", script, "sh", &self.dir,
        ];
        words.extend(args);
        session.exec_bytes(&words, stdin)
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

    fn key(kind: &str, fields: &[&[u8]]) -> String {
        let mut blob = Vec::new();
        for field in [&[kind.as_bytes()], fields].concat() {
            blob.extend_from_slice(&u32::try_from(field.len()).unwrap().to_be_bytes());
            blob.extend_from_slice(field);
        }
        format!("{kind} {}", STANDARD.encode(blob))
    }

    #[test]
    fn the_inside_of_a_key_fits_its_type() {
        let (short, long) = (&[7; 32][..], &[7; 256][..]);
        for good in [
            key("ssh-rsa", &[b"\x01\0\x01", long]),
            key("ecdsa-sha2-nistp384", &[b"nistp384", long]),
            key("sk-ssh-ed25519@openssh.com", &[short, b"ssh:"]),
            key(
                "sk-ecdsa-sha2-nistp256@openssh.com",
                &[b"nistp256", long, b"ssh:"],
            ),
        ] {
            assert_eq!(good.parse::<PublicKey>().unwrap().line(), good);
        }
        for bad in [
            key("ssh-rsa", &[b"\x01\0\x01", short]),
            key("ssh-rsa", &[long]),
            key("ssh-ed25519", &[long]),
            key("ssh-ed25519", &[short, short]),
            key("ecdsa-sha2-nistp256", &[b"nistp521", long]),
            key("ssh-rsa", &[b"\x01\0\x01", &vec![7; 1 << 20]]),
        ] {
            bad.parse::<PublicKey>().unwrap_err();
        }
    }

    #[test]
    fn one_line_per_booking_user_and_key() {
        let key: PublicKey = ED25519.parse().unwrap();
        let (one, two) = (Mark { job: 1, user: 3 }, Mark { job: 2, user: 3 });
        let foreign = b"# the admin's \xff\nssh-rsa AAAA admin";
        let ours = format!("\n{ED25519} laas-job-1-user-3\n");
        let file = with_keys(foreign, &[(key.clone(), one), (key.clone(), one)]);
        assert_eq!(file, [&foreign[..], ours.as_bytes()].concat());
        assert_eq!(with_keys(&file, &[(key.clone(), one)]), file);
        let file = with_keys(&file, &[(key.clone(), two)]);
        assert_eq!(file.split(|c| *c == b'\n').count(), 5);

        let (kept, removed) = without(&file, Lines::OfJob(2));
        assert_eq!((removed.len(), without(&kept, Lines::OfJob(2)).1.len()), (1, 0));
        assert_eq!(
            without(&file, Lines::Of(Mark { job: 2, user: 4 })),
            (file.clone(), vec![])
        );
        let (kept, removed) = without(&kept, Lines::Of(Mark { job: 1, user: 3 }));
        assert_eq!((kept, removed), ([&foreign[..], b"\n"].concat(), vec![key]));
    }

    #[test]
    fn a_foreign_line_is_never_ours() {
        for line in [
            format!("{ED25519} laas-job-1-user-3 "),
            format!("{ED25519} laas-job-01-user-3"),
            format!("{ED25519} laas-job-1-user-3\r"),
            format!("{ED25519}  laas-job-1-user-3"),
            format!("{ED25519} my laas-job-1-user-3"),
            format!("no-pty {ED25519} laas-job-1-user-3"),
            format!("# {ED25519} laas-job-1-user-3"),
            "ssh-ed25519 AAAA laas-job-1-user-3".to_owned(),
            "laas-job-1-user-3".to_owned(),
            String::new(),
        ] {
            let (kept, removed) = without(line.as_bytes(), Lines::All);
            assert_eq!((kept.as_slice(), removed.len()), (line.as_bytes(), 0), "{line:?}");
        }
    }
}
