//! Tenants' keys: one marked line per (booking, user, key).

use crate::probe;
use crate::ssh::{Output, Session, SshError};
use laas_core::names::AccountName;
use laas_core::ssh_key::PublicKey;

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

/// The key of a login that is being tried, or was when the process died.
fn trial_line(line: &[u8]) -> Option<PublicKey> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line
        .strip_suffix(probe::COMMENT)?
        .strip_suffix(' ')?
        .rsplitn(3, ' ');
    let (base64, kind, options) = (words.next()?, words.next()?, words.next());
    options
        .is_none_or(|options| options.starts_with("restrict"))
        .then_some(())?;
    format!("{kind} {base64}").parse().ok()
}

/// The file with exactly one marked line for each key, and without what a trial has left; every other line stays as it
/// is, whatever it holds.
fn with_keys(file: &[u8], keys: &[(PublicKey, Mark)]) -> Vec<u8> {
    let lines = keys.iter().map(|(key, mark)| format!("{} {mark}", key.line()));
    with_lines(without_trial(file), lines)
}

fn with_lines(mut file: Vec<u8>, lines: impl IntoIterator<Item = String>) -> Vec<u8> {
    for line in lines {
        if file.split(|c| *c == b'\n').any(|l| l == line.as_bytes()) {
            continue;
        }
        if file.last().is_some_and(|c| *c != b'\n') {
            file.push(b'\n');
        }
        file.extend_from_slice(line.as_bytes());
        file.push(b'\n');
    }
    file
}

fn without_trial(file: &[u8]) -> Vec<u8> {
    let lines = file.split_inclusive(|c| *c == b'\n');
    let kept = lines.filter(|line| trial_line(line.strip_suffix(b"\n").unwrap_or(line)).is_none());
    kept.flatten().copied().collect()
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

/// The file without these lines and what a trial has left, and the keys that stood there.
fn without(file: &[u8], lines: Lines) -> (Vec<u8>, Vec<PublicKey>) {
    let mut removed = Vec::new();
    let mut kept = Vec::with_capacity(file.len());
    for line in file.split_inclusive(|c| *c == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let own = own_line(text).filter(|(_, mark)| lines.include(*mark));
        match own.map(|(key, _)| key).or_else(|| trial_line(text)) {
            Some(key) => removed.push(key),
            None => kept.extend_from_slice(line),
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

/// Puts the line of a [`probe::Probe`] into the account's `authorized_keys`, or takes every such line out.
///
/// # Errors
/// The connection broke or the host refuses.
pub fn set_trial(session: &Session, account: &AccountName, line: Option<String>) -> Result<(), SshError> {
    let home = Home::find(session, account)?.ok_or_else(|| Home::without_home(account))?;
    let present = home.read(session)?;
    let wanted = with_lines(without_trial(&present), line);
    if wanted == present {
        return Ok(());
    }
    home.write(session, &wanted)
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
    fn what_a_trial_left_goes_with_every_write() {
        let key: PublicKey = ED25519.parse().unwrap();
        let mark = Mark { job: 1, user: 3 };
        let foreign = b"restrict ssh-rsa AAAA my laas-login-trial\n# laas-login-trial\n";
        for options in ["", "restrict ", "restrict,expiry-time=\"20260101\" "] {
            let left = format!("{options}{ED25519} laas-login-trial\n");
            let file = [&foreign[..], left.as_bytes()].concat();
            let ours = format!("{ED25519} {mark}\n");
            assert_eq!(
                with_keys(&file, &[(key.clone(), mark)]),
                [&foreign[..], ours.as_bytes()].concat()
            );
            let other = Lines::OfJob(9);
            assert_eq!(without(&file, other), (foreign.to_vec(), vec![key.clone()]));
        }
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
