//! The directory in which the engine keeps everything that outlives it.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Holds the database, the key of the datastore and the users.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
}

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot create the state directory `{path}`")]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot lock the state directory with `{path}`")]
    Lock { path: PathBuf, source: io::Error },
    #[error("another `laas-engine` serves from `{0}`; stop it first")]
    InUse(PathBuf),
}

/// While it lives no other engine runs what is in the directory. The kernel lets go of it when the process dies.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, never read")] File);

impl StateDir {
    /// Creates it, for its owner only, when there is none.
    pub fn open(path: PathBuf) -> Result<StateDir, StateError> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        created.map_err(|source| StateError::Create {
            path: path.clone(),
            source,
        })?;
        Ok(StateDir { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn database(&self) -> PathBuf {
        self.path.join("engine.db")
    }

    pub fn datastore_key(&self) -> PathBuf {
        self.path.join("datastore.key")
    }

    /// Two engines on one database would run every step twice.
    pub fn lock(&self) -> Result<Lock, StateError> {
        let path = self.path.join("lock");
        let failed = |source| StateError::Lock {
            path: path.clone(),
            source,
        };
        let file = File::create(&path).map_err(failed)?;
        // SAFETY: the descriptor is open for as long as `file` lives, which is beyond this call.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(Lock(file));
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock => Err(StateError::InUse(self.path.clone())),
            _ => Err(failed(error)),
        }
    }
}
