//! The directories of a host that hold its network configuration: as they are, as they must be, and the way there.
//! Shared by all families.

use super::{Dialect, Interface, NetworkError};
use crate::ssh::{Session, SshError, TEMPORARY};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The first line of every file of ours: how one is known, whatever its name.
pub(super) const HEADER: &str =
    "# Written by the lab for this booking; changes are overwritten at the next one.\n";
/// The end of the name of a file that is kept for people; its beginning is a dot, which no system reads.
const ASIDE: &str = ".laas-aside";
const OWNER: &str = "root:root";

/// cloud-init writes a network configuration of its own at each first boot; this is how it is told not to
/// (<https://cloudinit.readthedocs.io>, "Disabling network configuration").
const CLOUD_INIT: &str = "/etc/cloud/cloud.cfg.d";

/// A file as it must be on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub path: String,
    pub content: String,
    /// Octal, as chmod(1) takes it.
    pub mode: &'static str,
}

impl File {
    /// `body` below the line that says whose file it is.
    pub fn new(path: impl Into<String>, mode: &'static str, body: &str) -> Self {
        Self {
            path: path.into(),
            content: format!("{HEADER}{body}"),
            mode,
        }
    }
}

/// A file as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub path: String,
    pub content: String,
    /// As `stat -c '%a %u:%g %F'` says it, e.g. `644 0:0 regular file`.
    pub state: String,
}

impl Found {
    fn is(&self, wanted: &File) -> bool {
        let state = format!("{} 0:0 regular file", wanted.mode.trim_start_matches('0'));
        self.content == wanted.content && self.state == state
    }

    fn is_ours(&self) -> bool {
        self.content.starts_with(HEADER)
    }

    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    fn mode(&self) -> &str {
        self.state.split(' ').next().unwrap_or("600")
    }
}

/// Everything that lies in the directories.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub files: Vec<Found>,
    cloud_init: bool,
}

/// Prints, per file, its name and content in base64 and what `stat` says; directories of which one is missing are
/// passed over. Nothing that configures a network is longer than 64 KiB.
const READ: &str = r#"for directory; do
[ -d "$directory" ] || continue
printf 'directory %s\n' "$directory"
for file in "$directory"/* "$directory"/.[!.]*; do
[ -f "$file" ] || [ -h "$file" ] || continue
state=$(stat -c '%a %u:%g %F' -- "$file") || continue
printf 'file %s %s %s\n' "$(printf %s "$file" | base64 -w0)" "$(head -c 65536 -- "$file" 2>/dev/null | base64 -w0)" "$state"
done
done"#;

impl Tree {
    /// # Errors
    /// The connection broke, or a file has a name that isn't text.
    pub fn read(session: &Session, directories: &[&str]) -> Result<Self, NetworkError> {
        let mut words = vec!["sh", "-c", READ, "sh"];
        words.extend(directories);
        words.push(CLOUD_INIT);
        Self::parse(&session.run(&words)?)
    }

    fn parse(text: &str) -> Result<Self, NetworkError> {
        let mut tree = Self::default();
        for line in text.lines() {
            if let Some(directory) = line.strip_prefix("directory ") {
                tree.cloud_init |= directory == CLOUD_INIT;
            } else if let Some(file) = line.strip_prefix("file ") {
                tree.files.push(found(file).ok_or(NetworkError::Listing)?);
            }
        }
        Ok(tree)
    }
}

fn found(line: &str) -> Option<Found> {
    let mut words = line.splitn(3, ' ');
    let mut decoded = || STANDARD.decode(words.next()?).ok();
    let (path, content) = (decoded()?, decoded()?);
    Some(Found {
        path: String::from_utf8(path).ok()?,
        content: String::from_utf8_lossy(&content).into_owned(),
        state: words.next()?.to_owned(),
    })
}

/// The difference between what is there and what must be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub write: Vec<File>,
    /// Files that aren't ours and that the system would read.
    pub set_aside: Vec<String>,
    /// Ours of an earlier booking, and what a killed run left half-written.
    pub remove: Vec<String>,
}

impl Plan {
    pub fn new(dialect: &Dialect, interfaces: &[Interface], tree: &Tree) -> Self {
        let mut wanted = (dialect.render)(interfaces);
        if tree.cloud_init {
            let path = format!("{CLOUD_INIT}/99-laas-network.cfg");
            wanted.push(File::new(path, "0644", "network: {config: disabled}\n"));
        }
        let mut plan = Self::default();
        for file in &tree.files {
            let own_place = wanted.iter().find(|w| w.path == file.path);
            if own_place.is_some_and(|w| file.is(w)) {
                continue;
            }
            let temporary = file.name().starts_with('.') && file.name().ends_with(TEMPORARY);
            if temporary || (own_place.is_none() && file.is_ours()) {
                plan.remove.push(file.path.clone());
            } else if !file.is_ours()
                && (own_place.is_some() || !file.name().starts_with('.') && (dialect.fights)(file))
            {
                plan.set_aside.push(file.path.clone());
            }
        }
        let missing = |w: &File| !tree.files.iter().any(|found| found.path == w.path && found.is(w));
        plan.write = wanted.into_iter().filter(missing).collect();
        plan
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// New files first: a host that loses its power in between has a network still.
    pub fn carry_out(&self, session: &Session) -> Result<(), SshError> {
        for file in &self.write {
            let directory = file.path.rsplit_once('/').map_or("/", |(directory, _)| directory);
            session.run(&["mkdir", "-p", "--", directory])?;
            if self.set_aside.contains(&file.path) {
                // Its place is never empty: the old file gets a second name before the new one takes the first.
                let script = r#"[ "$1" -ef "$2" ] || ln --backup=numbered -T -- "$1" "$2""#;
                let aside = aside(&file.path);
                session.run(&["sh", "-c", script, "sh", &file.path, &aside])?;
            }
            session.write_file(&file.path, &file.content, file.mode, OWNER)?;
        }
        for path in &self.set_aside {
            if !self.write.iter().any(|file| file.path == *path) {
                session.run(&["mv", "--backup=numbered", "-T", "--", path, &aside(path)])?;
            }
        }
        for path in &self.remove {
            session.run(&["rm", "-f", "--", path])?;
        }
        session.run(&["sync"]).map(drop)
    }

    /// Puts everything back as `tree` was.
    pub fn undo(&self, session: &Session, tree: &Tree) -> Result<(), SshError> {
        let before = |path: &str| tree.files.iter().find(|found| found.path == path);
        for path in &self.set_aside {
            session.run(&["mv", "-f", "-T", "--", &aside(path), path])?;
        }
        let written = self.write.iter().map(|file| &file.path);
        for path in written.filter(|path| !self.set_aside.contains(path)) {
            match before(path) {
                Some(old) => session.write_file(path, &old.content, old.mode(), OWNER)?,
                None => session.run(&["rm", "-f", "--", path]).map(drop)?,
            }
        }
        for old in self.remove.iter().filter_map(|path| before(path)) {
            if old.is_ours() {
                session.write_file(&old.path, &old.content, old.mode(), OWNER)?;
            }
        }
        session.run(&["sync"]).map(drop)
    }
}

/// What makes the configuration the image's own again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Restore {
    /// Files that were set aside, and where they were.
    pub put_back: Vec<(String, String)>,
    /// Ours.
    pub remove: Vec<String>,
}

impl Restore {
    pub fn new(tree: &Tree) -> Self {
        let put_back: Vec<_> = tree
            .files
            .iter()
            .filter_map(|file| {
                let name = file.name().strip_prefix('.')?.strip_suffix(ASIDE)?;
                let directory = file.path.rsplit_once('/')?.0;
                Some((file.path.clone(), format!("{directory}/{name}")))
            })
            .collect();
        let ours = tree
            .files
            .iter()
            .filter(|file| file.is_ours())
            .map(|file| file.path.clone());
        let remove = ours
            .filter(|path| !put_back.iter().any(|(_, to)| to == path))
            .collect();
        Self { put_back, remove }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Old files first: a host that loses its power in between has a network still.
    pub fn carry_out(&self, session: &Session) -> Result<(), SshError> {
        for (from, to) in &self.put_back {
            session.run(&["mv", "-f", "-T", "--", from, to])?;
        }
        for path in &self.remove {
            session.run(&["rm", "-f", "--", path])?;
        }
        session.run(&["sync"]).map(drop)
    }
}

fn aside(path: &str) -> String {
    let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
    format!("{directory}/.{name}{ASIDE}")
}
