//! A private directory for the files that a tool wants, gone when dropped.

use crate::Secret;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A directory that only this user gets into. A killed process leaves it behind; nothing in it is a secret.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// # Errors
    /// The directory for temporary files can't be written.
    pub fn new() -> io::Result<Self> {
        let name = Secret::random(16).map_err(|e| io::Error::other(e.to_string()))?;
        let path = std::env::temp_dir().join(format!("laas-{}", name.expose()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file below the directory, with the directories above it, and gives its path.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&self, name: &str, content: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, content)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
