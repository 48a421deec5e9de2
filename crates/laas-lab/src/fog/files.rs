//! The storage node's directory, which holds what was captured.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

/// Images by their directories, and captures under way in `dev`.
#[derive(Debug, Default)]
pub struct Files(OnceLock<TempDir>);

impl Files {
    /// The files of the image with this directory; `None` for one that was
    /// there before the lab opened.
    pub fn of(&self, path: &str) -> Option<PathBuf> {
        let found = self.0.get()?.path().join(path);
        found.is_dir().then_some(found)
    }

    /// Takes what a host sends.
    pub fn receive(&self, task: u32, root: &Path) -> io::Result<()> {
        let incoming = self.incoming(task)?;
        if incoming.exists() {
            fs::remove_dir_all(&incoming)?;
        }
        crate::machine::copy(root, &incoming)
    }

    /// Moves a capture to where its image's files are, as FOG does: whatever
    /// is there, of whichever image, goes.
    pub fn move_in(&self, task: u32, path: &str) -> io::Result<()> {
        let incoming = self.incoming(task)?;
        if !incoming.exists() {
            return Ok(());
        }
        let place = self.directory()?.join(path);
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::rename(incoming, place)
    }

    fn incoming(&self, task: u32) -> io::Result<PathBuf> {
        let dev = self.directory()?.join("dev");
        fs::create_dir_all(&dev)?;
        Ok(dev.join(task.to_string()))
    }

    fn directory(&self) -> io::Result<&Path> {
        if self.0.get().is_none() {
            // Somebody else may have been quicker.
            let _ = self.0.set(TempDir::new()?);
        }
        let made = self.0.get().ok_or_else(|| io::Error::other("no directory"));
        made.map(TempDir::path)
    }
}
