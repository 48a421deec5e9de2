//! One writer per device: an advisory lock that the kernel drops when its holder dies, however it dies.

use crate::env_vars;
use crate::wait::{Backoff, Deadline, Ended};
use crate::{Classify, Kind};
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;

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
}

/// Waits for the lock called `name` (`switch_10.0.0.1`, `host_pod1`), until the deadline.
///
/// # Errors
/// The lock directory can't be written, or another execution holds the lock until the deadline.
pub fn acquire(name: &str, deadline: &Deadline) -> Result<Lock, LockError> {
    let dir = std::env::var_os(env_vars::LAAS_LOCK_DIR)
        .map_or_else(|| std::env::temp_dir().join("laas-locks"), PathBuf::from);
    let path = dir.join(name.replace(['/', '\0'], "_"));
    let open = || {
        std::fs::create_dir_all(&dir)?;
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
    };
    let file = open().map_err(|source| LockError::Open {
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
