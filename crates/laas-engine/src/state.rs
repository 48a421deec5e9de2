//! The directory in which the engine keeps everything that outlives it.

use std::fs::DirBuilder;
use std::io;
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
}

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
}
