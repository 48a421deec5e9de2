//! Reading and writing the files of an inventory.

use super::Mistake;
use super::lab::Entry;
use super::tree::{self, Kind};
use laas_core::{Failure, Secret};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// # Errors
/// The file can't be read.
pub fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| {
        Failure::input(format!("can't read `{}`: {e}", path.display())).hint("name another `file`")
    })
}

/// The entries of a file like `hosts.json`, as far as they are any.
pub fn entries(text: &str, mistakes: &mut Vec<Mistake>) -> Vec<Entry> {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        mistakes.push(Mistake::new(error.line(), format!("no JSON: {error}")));
        return Vec::new();
    }
    let root = match tree::parse(&spaced(text), mistakes) {
        Ok(root) => root,
        Err(mistake) => {
            mistakes.push(mistake);
            return Vec::new();
        }
    };
    let Kind::List(items) = &root.kind else {
        mistakes.push(Mistake::new(root.line, "it is no list of `{name, value}`"));
        return Vec::new();
    };
    let mut entries = Vec::new();
    for item in items {
        let text = |name: &str| match item.get(name).map(|node| &node.kind) {
            Some(Kind::Scalar { text, quoted: true }) => Some(text.clone()),
            _ => None,
        };
        let Some((name, value)) = text("name").zip(text("value")) else {
            let mistake = Mistake::new(item.line, "an entry wants `name` and `value`, both text");
            mistakes.push(mistake.hint("the value is JSON in a string: its quotes are written `\\\"`"));
            continue;
        };
        let secret = item.get("secret").and_then(|node| node.text()) == Some("true");
        entries.push(Entry {
            name,
            value: Secret::new(value),
            secret,
            line: item.get("value").map_or(item.line, |node| node.line),
        });
    }
    entries
}

/// The text of a file like `hosts.json`.
pub fn text(entries: &[&Entry]) -> String {
    let entry = |entry: &&Entry| match entry.secret {
        true => json!({"name": entry.name, "value": entry.value.expose(), "secret": true}),
        false => json!({"name": entry.name, "value": entry.value.expose()}),
    };
    let entries: Vec<Value> = entries.iter().map(entry).collect();
    format!("{:#}\n", Value::from(entries))
}

/// JSON as YAML takes it: a tab, which JSON has between its values only, is a space.
pub fn spaced(json: &str) -> String {
    json.replace('\t', " ")
}

/// Writes the file unless it is like that already, and says whether it did. One with passwords is for its owner only.
///
/// # Errors
/// The file can't be written.
pub fn write(path: &Path, text: &str, mode: u32, dry_run: bool) -> Result<bool, Failure> {
    if std::fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(false);
    }
    let put = || -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let new = PathBuf::from(name);
        // One that is left from before may be open to others.
        match std::fs::remove_file(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut options = std::fs::File::options();
        let mut file = options.create_new(true).write(true).mode(mode).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    if !dry_run {
        put().map_err(|e| Failure::input(format!("can't write `{}`: {e}", path.display())))?;
    }
    Ok(true)
}
