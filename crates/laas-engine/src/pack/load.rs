//! From directories to [`Packs`], with everything that is wrong reported at once.

mod kinds;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::yaml::{self, Kind, Node, Problem};
use super::{Pack, Packs, config};
use crate::model::{Object, id_of};

/// Loads every directory; see [`Packs::load`].
pub fn load(directories: &[PathBuf], config_dir: &Path) -> Result<Packs, Vec<String>> {
    let mut loader = Loader {
        packs: Packs::default(),
        problems: Vec::new(),
        later: Vec::new(),
    };
    for directory in directories.iter().flat_map(|directory| pack_dirs(directory)) {
        loader.pack(&directory, config_dir);
    }
    for check in std::mem::take(&mut loader.later) {
        let found = check.run(&loader.packs);
        loader
            .problems
            .extend(found.into_iter().map(|problem| at(&check.path, &problem)));
    }
    if loader.problems.is_empty() {
        Ok(loader.packs)
    } else {
        Err(loader.problems)
    }
}

/// The directory itself, if it is a pack's; else those below it that are, as StackStorm looks for them.
fn pack_dirs(directory: &Path) -> Vec<PathBuf> {
    let is_pack = |directory: &Path| directory.join("pack.yaml").is_file();
    if is_pack(directory) || !directory.is_dir() {
        return vec![directory.to_path_buf()];
    }
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| is_pack(path))
        .collect();
    found.sort();
    found
}

struct Loader {
    packs: Packs,
    problems: Vec<String>,
    /// What can be checked only when everything is loaded.
    later: Vec<Later>,
}

/// References from one file to actions and triggers of any pack.
struct Later {
    path: PathBuf,
    what: References,
}

enum References {
    /// A call of an action: line, reference, what it is given (`None`: not checked).
    Calls(Vec<(usize, String, Option<Object>)>),
    Trigger(usize, String),
}

impl Later {
    fn run(&self, packs: &Packs) -> Vec<Problem> {
        match &self.what {
            References::Calls(calls) => calls
                .iter()
                .flat_map(|(line, reference, given)| check_call(packs, *line, reference, given.as_ref()))
                .collect(),
            References::Trigger(line, reference) if !packs.triggers.contains_key(reference) => {
                vec![Problem::new(
                    *line,
                    format!("there is no trigger type `{reference}`"),
                )]
            }
            References::Trigger(..) => Vec::new(),
        }
    }
}

fn check_call(packs: &Packs, line: usize, reference: &str, given: Option<&Object>) -> Vec<Problem> {
    let Some(action) = packs.actions.get(reference) else {
        return vec![Problem::new(line, format!("there is no action `{reference}`"))];
    };
    let Some(given) = given else { return Vec::new() };
    let schema = crate::engine::params::full_schema(action);
    let mut problems = Vec::new();
    for (name, property) in &schema {
        if property["required"] == true && property["default"].is_null() && !given.contains_key(name) {
            problems.push(Problem::new(
                line,
                format!("action `{reference}` is missing required input `{name}`"),
            ));
        }
        if property["immutable"] == true && given.contains_key(name) {
            problems.push(Problem::new(
                line,
                format!("input `{name}` of action `{reference}` is immutable"),
            ));
        }
    }
    for name in given.keys().filter(|name| !schema.contains_key(*name)) {
        problems.push(Problem::new(
            line,
            format!("action `{reference}` has unexpected input `{name}`"),
        ));
    }
    problems
}

fn at(path: &Path, problem: &Problem) -> String {
    format!("{}:{}: {}", path.display(), problem.line, problem.message)
}

/// One file while it is read: its path for messages and its content.
struct File<'a> {
    loader: &'a mut Loader,
    path: PathBuf,
    node: Node,
    pack: String,
    /// Relative to the pack.
    relative: String,
}

impl Loader {
    fn pack(&mut self, directory: &Path, config_dir: &Path) {
        let path = directory.join("pack.yaml");
        let Some(node) = self.read(&path) else { return };
        let name = node
            .get("ref")
            .or(node.get("name"))
            .and_then(Node::as_str)
            .unwrap_or_default()
            .to_string();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.problems.push(at(
                &path,
                &Problem::new(node.line, "`name` must be letters, digits and `_`"),
            ));
            return;
        }
        if self.packs.packs.contains_key(&name) {
            self.problems.push(at(
                &path,
                &Problem::new(node.line, format!("there is a pack `{name}` already")),
            ));
            return;
        }
        let schema_path = directory.join("config.schema.yaml");
        let config_path = config_dir.join(format!("{name}.yaml"));
        let config_schema = if schema_path.exists() {
            self.read_object(&schema_path)
        } else {
            Object::new()
        };
        let config = config_path.exists().then(|| self.read_object(&config_path));
        let pack = Pack {
            id: id_of(&format!("pack:{name}")),
            path: directory.to_path_buf(),
            metadata: node.value().as_object().cloned().unwrap_or_default(),
            files: files_below(directory),
            config_schema,
            config,
            name: name.clone(),
        };
        if let Err(violation) = config::check(&pack) {
            let message = format!(
                "the configuration does not fit `config.schema.yaml`: {}",
                violation.message
            );
            self.problems.push(at(&config_path, &Problem::new(1, message)));
        }
        self.packs.packs.insert(name.clone(), pack);
        for folder in ["triggers", "actions", "sensors", "rules", "aliases", "policies"] {
            for path in yaml_files(&directory.join(folder)) {
                let Some(node) = self.read(&path) else { continue };
                let file_name = path.file_name().unwrap_or_default().to_string_lossy();
                let relative = format!("{folder}/{file_name}");
                let mut file = File {
                    loader: self,
                    path: path.clone(),
                    node,
                    pack: name.clone(),
                    relative,
                };
                if !file.belongs() {
                    continue;
                }
                match folder {
                    "triggers" => file.trigger(),
                    "actions" => file.action(),
                    "sensors" => file.sensor(),
                    "rules" => file.rule(),
                    "aliases" => file.alias(),
                    _ => file.policy(),
                }
            }
        }
    }

    fn read(&mut self, path: &Path) -> Option<Node> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                self.problems
                    .push(at(path, &Problem::new(1, format!("cannot be read: {error}"))));
                return None;
            }
        };
        match yaml::parse(&text) {
            Ok(node) => Some(node),
            Err(problem) => {
                self.problems.push(at(path, &problem));
                None
            }
        }
    }

    fn read_object(&mut self, path: &Path) -> Object {
        let Some(node) = self.read(path) else {
            return Object::new();
        };
        match node.value() {
            Value::Object(object) => object,
            Value::Null => Object::new(),
            _ => {
                self.problems
                    .push(at(path, &Problem::new(node.line, "this must be a mapping")));
                Object::new()
            }
        }
    }
}

impl File<'_> {
    fn problem(&mut self, line: usize, message: impl Into<String>) {
        self.loader
            .problems
            .push(at(&self.path, &Problem::new(line, message)));
    }

    /// Whether the file can be one of this pack.
    fn belongs(&mut self) -> bool {
        let line = self.node.line;
        if !matches!(self.node.kind, Kind::Map(_)) {
            self.problem(line, "this must be a mapping");
            return false;
        }
        let other = self.node.get("pack").map(|node| (node.line, node.value()));
        if let Some((line, other)) = other.filter(|(_, other)| *other != *self.pack) {
            self.problem(
                line,
                format!("`pack` says {other}, but this is pack `{}`", self.pack),
            );
        }
        true
    }

    /// Reports entries that are none of `known`.
    fn only(&mut self, what: &str, known: &[&str]) {
        let unknown = self
            .node
            .entries()
            .iter()
            .filter(|(key, _)| !known.contains(&key.name.as_str()));
        for (line, name) in unknown
            .map(|(key, _)| (key.line, key.name.clone()))
            .collect::<Vec<_>>()
        {
            self.problem(line, format!("{what} has no `{name}`"));
        }
    }

    fn text(&mut self, name: &str) -> String {
        let found = self
            .node
            .get(name)
            .map(|node| (node.line, node.as_str().map(str::to_string)));
        match found {
            Some((_, Some(text))) if !text.is_empty() => text,
            Some((line, _)) => {
                self.problem(line, format!("`{name}` must be a text"));
                String::new()
            }
            None => {
                let line = self.node.line;
                self.problem(line, format!("`{name}` is missing"));
                String::new()
            }
        }
    }

    fn text_or_empty(&self, name: &str) -> String {
        self.node
            .get(name)
            .and_then(Node::as_str)
            .unwrap_or_default()
            .to_string()
    }

    fn enabled(&self) -> bool {
        self.node
            .get("enabled")
            .is_none_or(|node| node.value() != Value::Bool(false))
    }

    fn object(&self, name: &str) -> Object {
        self.node
            .get(name)
            .and_then(|node| node.value().as_object().cloned())
            .unwrap_or_default()
    }

    fn tags(&self) -> Vec<Value> {
        self.node
            .get("tags")
            .and_then(|node| node.value().as_array().cloned())
            .unwrap_or_default()
    }

    fn definition(&self) -> Object {
        self.node.value().as_object().cloned().unwrap_or_default()
    }

    fn line(&self, name: &str) -> usize {
        self.node.get(name).map_or(self.node.line, |node| node.line)
    }

    fn later(&mut self, what: References) {
        self.loader.later.push(Later {
            path: self.path.clone(),
            what,
        });
    }

    fn add<T>(&mut self, name: &str, item: T, to: impl FnOnce(&mut Packs) -> &mut BTreeMap<String, T>) {
        if name.is_empty() {
            return;
        }
        let reference = format!("{}.{name}", self.pack);
        let line = self.line("name");
        match to(&mut self.loader.packs).entry(reference) {
            Entry::Vacant(place) => _ = place.insert(item),
            Entry::Occupied(known) => {
                let message = format!("`{}` is there already", known.key());
                self.problem(line, message);
            }
        }
    }
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| is_yaml(path) && path.is_file())
        .collect();
    files.sort();
    files
}

/// What StackStorm lists as a pack's files: the two at its root and those in the folders it knows.
fn files_below(directory: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for name in ["pack.yaml", "config.schema.yaml"] {
        if directory.join(name).is_file() {
            files.push(name.to_string());
        }
    }
    for folder in ["actions", "rules", "sensors", "triggers", "aliases", "policies"] {
        collect_files(&directory.join(folder), folder, &mut files, 0);
    }
    files
}

fn collect_files(folder: &Path, prefix: &str, files: &mut Vec<String>, depth: usize) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        // A symbolic link may lead round in a circle.
        if entry.path().is_dir() && depth < 3 {
            collect_files(&entry.path(), &name, files, depth + 1);
        } else if entry.path().is_file() {
            files.push(name);
        }
    }
}
