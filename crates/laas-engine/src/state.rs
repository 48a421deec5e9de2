//! The directory in which the engine keeps everything that outlives it.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Holds the database, the key of the datastore and the users.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
}

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot create `{path}`")]
    Create { path: PathBuf, source: io::Error },
}

impl StateDir {
    /// Creates it, for its owner only, when there is none.
    pub fn open(path: PathBuf) -> Result<StateDir, StateError> {
        let failed = |path: &Path, source| StateError::Create {
            path: path.to_path_buf(),
            source,
        };
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        created.map_err(|source| failed(&path, source))?;
        let state = StateDir { path };
        // Parameters of executions may be secret. SQLite gives its other files the permissions of this one.
        let database = state.database();
        let created = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&database);
        created.map_err(|source| failed(&database, source))?;
        Ok(state)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where [`laas_engine::store::Store`] keeps everything.
    pub fn database(&self) -> PathBuf {
        self.path.join("engine.db")
    }

    /// What [`crate::crypto::DatastoreCipher`] is opened with.
    pub fn datastore_key(&self) -> PathBuf {
        self.path.join("datastore.key")
    }
}
