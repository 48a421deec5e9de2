//! One writer per device: an advisory lock that the kernel drops when its holder dies, however it dies.
//!
//! The locks are those of one machine: executions on two machines do not see each other's. They are shared by all of
//! its users, so that an action that is run by hand as root neither misses the engine's lock nor shuts it out.

use crate::env_vars;
use crate::wait::{Backoff, Deadline, Ended};
use crate::{Classify, Kind};
use std::fs::{File, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the Filesystem Hierarchy Standard puts locks; on Debian everyone may write there, on Red Hat only root.
const SHARED: &str = "/run/lock";
/// Everyone may write, and delete what is theirs.
const STICKY: u32 = 0o1777;
/// How often somebody who is turned away tries again, and how soon.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("can't open the lock file `{path}`")]
    Open { path: PathBuf, source: std::io::Error },
    #[error("another execution still works on `{name}`")]
    Busy { name: String, source: Ended },
}

impl Classify for LockError {
    fn kind(&self) -> Kind {
        match self {
            Self::Open { .. } => Kind::Input,
            Self::Busy {
                source: Ended::Cancelled,
                ..
            } => Kind::Cancelled,
            Self::Busy { .. } => Kind::Unreachable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Open { .. } => Some(format!(
                "may this user read and write its directory? Another one can be named in `{}`",
                env_vars::LAAS_LOCK_DIR
            )),
            Self::Busy { .. } => None,
        }
    }
}

/// Waits for the lock called `name` (`switch_10.0.0.1`, `host_pod1`), until the deadline.
///
/// # Errors
/// The lock directory can't be written, or another execution holds the lock until the deadline.
pub fn acquire(name: &str, deadline: &Deadline) -> Result<Lock, LockError> {
    let dir = directory();
    let path = dir.join(name.replace(['/', '\0'], "_"));
    let file = open(&dir, &path).map_err(|source| LockError::Open {
        path: path.clone(),
        source,
    })?;
    let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(250));
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(LockError::Open { path, source }),
        }
        backoff.pause(deadline).map_err(|source| LockError::Busy {
            name: name.to_owned(),
            source,
        })?;
    }
}

/// Where the lock files are.
pub fn directory() -> PathBuf {
    std::env::var_os(env_vars::LAAS_LOCK_DIR).map_or_else(shared_dir, PathBuf::from)
}

/// The same for every user of the machine, or they would not see each other's locks.
fn shared_dir() -> PathBuf {
    match std::fs::metadata(SHARED) {
        Ok(found) if found.is_dir() && found.permissions().mode() & STICKY == STICKY => {
            Path::new(SHARED).join("laas")
        }
        _ => std::env::temp_dir().join("laas-locks"),
    }
}

/// Opens for reading, which is all that flock(2) needs, so that the file may be another user's. What is missing is made
/// for all users, whatever the umask. Between the making and the permissions another user is turned away, and tries
/// again.
fn open(dir: &Path, path: &Path) -> io::Result<File> {
    let mut tries = 0;
    loop {
        match File::open(path).or_else(|_| make(dir, path)) {
            Ok(file) => return Ok(file),
            Err(error) if error.kind() != ErrorKind::PermissionDenied || tries == TRIES => return Err(error),
            Err(_) => tries += 1,
        }
        std::thread::sleep(PAUSE);
    }
}

fn make(dir: &Path, path: &Path) -> io::Result<File> {
    if !dir.is_dir() {
        std::fs::create_dir_all(dir)?;
        std::fs::set_permissions(dir, Permissions::from_mode(STICKY))?;
    }
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    // Not ours: then it is as its owner made it.
    let _ = file.set_permissions(Permissions::from_mode(0o666));
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_user_makes_others_can_use() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("not/yet");
        let path = dir.join("switch_10.0.0.1");
        let first = open(&dir, &path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&dir), mode(&path)), (STICKY, 0o666));
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(dir.parent().unwrap()).unwrap().count(), 1);
        // A file that may only be read is as good.
        std::fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        let second = open(&dir, &path).unwrap();
        first.try_lock().unwrap();
        assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));
        drop(first);
        second.try_lock().unwrap();
    }

    #[test]
    fn all_meet_at_one_file() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("locks");
        let path = dir.join("host_pod1");
        let files: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| open(&dir, &path).unwrap()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        use std::os::unix::fs::MetadataExt;
        let mut inodes: Vec<_> = files.iter().map(|file| file.metadata().unwrap().ino()).collect();
        inodes.dedup();
        assert_eq!(inodes.len(), 1);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
    }
}
