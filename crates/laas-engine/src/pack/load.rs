//! From directories to [`Packs`], with everything that is wrong reported at once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::yaml::{self, Kind, Node, Problem};
use super::{Action, Alias, Pack, Packs, Policy, Rule, Sensor, TriggerType, Workflow, config, runner_types};
use crate::jinja;
use crate::model::{Object, id_of};
use crate::orquesta::spec::Spec;

/// Loads every directory; see [`Packs::load`].
pub fn load(directories: &[PathBuf], config_dir: &Path) -> Result<Packs, Vec<String>> {
    let mut loader = Loader {
        packs: Packs::default(),
        problems: Vec::new(),
        later: Vec::new(),
    };
    for directory in directories {
        loader.pack(directory, config_dir);
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

    fn action(&mut self) {
        self.only(
            "an action",
            &[
                "name",
                "pack",
                "description",
                "enabled",
                "entry_point",
                "runner_type",
                "parameters",
                "tags",
                "notify",
                "output_schema",
                "metadata_file",
                "ref",
                "uid",
            ],
        );
        let name = self.text("name");
        let runner_type = self.text("runner_type");
        let line = self.line("runner_type");
        if !runner_type.is_empty() && !runner_types().iter().any(|runner| runner["name"] == *runner_type) {
            self.problem(
                line,
                format!(
                    "the runner `{runner_type}` is not supported; use `local-shell-script` or `orquesta`"
                ),
            );
        }
        let entry_point = self.text("entry_point");
        let path = self.entry_point("actions", &entry_point);
        let mut action = Action {
            id: id_of(&format!("action:{}:{name}", self.pack)),
            reference: format!("{}.{name}", self.pack),
            pack: self.pack.clone(),
            name: name.clone(),
            description: self.text_or_empty("description"),
            enabled: self.enabled(),
            entry_point,
            runner_type,
            parameters: self.object("parameters"),
            metadata_file: self.relative.clone(),
            tags: self.tags(),
            output_schema: self.object("output_schema"),
            notify: self.object("notify"),
            path,
            workflow: None,
        };
        self.parameters(&action);
        if action.is_workflow() && !action.entry_point.is_empty() {
            action.workflow = self.workflow(&action);
        }
        self.add(&name, Arc::new(action), |packs| &mut packs.actions);
    }

    /// As StackStorm: below the folder, and written the shortest way.
    fn entry_point(&mut self, folder: &str, entry_point: &str) -> PathBuf {
        let relative = Path::new(entry_point);
        let is_plain = relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
            && relative.components().collect::<PathBuf>().as_os_str() == relative.as_os_str();
        let line = self.line("entry_point");
        if !is_plain {
            self.problem(
                line,
                format!("`entry_point` must lead below `{folder}/`, without `.` or `..`"),
            );
        }
        let pack = self
            .loader
            .packs
            .packs
            .get(&self.pack)
            .map(|pack| pack.path.clone())
            .unwrap_or_default();
        let path = pack.join(folder).join(relative);
        std::path::absolute(&path).unwrap_or(path)
    }

    fn parameters(&mut self, action: &Action) {
        let runner = runner_types()
            .iter()
            .find(|runner| runner["name"] == *action.runner_type);
        let runner_parameters = runner.map_or(&Value::Null, |runner| &runner["runner_parameters"]);
        let Some(node) = self.node.get("parameters").cloned() else {
            return;
        };
        if !matches!(node.kind, Kind::Map(_) | Kind::Scalar(Value::Null)) {
            self.problem(node.line, "`parameters` must be a mapping");
        }
        for (key, property) in node.entries() {
            let name = &key.name;
            let Value::Object(schema) = property.value() else {
                self.problem(property.line, format!("parameter `{name}` must be a mapping"));
                continue;
            };
            let types = [
                "string", "integer", "number", "boolean", "array", "object", "null",
            ];
            if let Some(kind) = schema
                .get("type")
                .filter(|kind| !types.iter().any(|known| *kind == known))
            {
                self.problem(
                    property.line,
                    format!("parameter `{name}` has the unknown type {kind}"),
                );
            }
            if schema.contains_key("position") {
                self.problem(
                    property.line,
                    format!("parameter `{name}` is positional, which is not supported; pass it by name"),
                );
            }
            if runner_parameters.get(name).is_some() {
                let allowed = ["default", "description", "enum", "immutable", "required", "type"];
                for attribute in schema
                    .keys()
                    .filter(|attribute| !allowed.contains(&attribute.as_str()))
                {
                    self.problem(property.line, format!("the attribute `{attribute}` of the runner's parameter `{name}` cannot be overridden"));
                }
                if name.starts_with("sudo")
                    && schema
                        .get("default")
                        .is_some_and(|default| *default != Value::Bool(false))
                {
                    self.problem(property.line, "`sudo` is not supported");
                }
            }
            if let Some(default) = property.get("default") {
                self.default_template(action, name, default);
            }
        }
    }

    fn default_template(&mut self, action: &Action, name: &str, node: &Node) {
        match &node.kind {
            Kind::Scalar(Value::String(text)) if jinja::is_template(text) => {
                if let Err(message) = jinja::check(text, false) {
                    self.problem(
                        node.line,
                        format!("the default of parameter `{name}` cannot be rendered: {message}"),
                    );
                }
                if action.is_workflow() && (text.contains("config_context") || text.contains("decrypt_kv")) {
                    let message =
                        format!("parameter `{name}` of a workflow may not hold a secret: it would be stored");
                    self.problem(node.line, message);
                }
            }
            Kind::Scalar(_) => {}
            Kind::List(items) => items
                .iter()
                .for_each(|item| self.default_template(action, name, item)),
            Kind::Map(entries) => entries
                .iter()
                .for_each(|(_, item)| self.default_template(action, name, item)),
        }
    }

    fn workflow(&mut self, action: &Action) -> Option<Workflow> {
        let text = match std::fs::read_to_string(&action.path) {
            Ok(text) => text,
            Err(error) => {
                let line = self.line("entry_point");
                self.problem(
                    line,
                    format!("the workflow `{}` cannot be read: {error}", action.entry_point),
                );
                return None;
            }
        };
        let path = self
            .loader
            .packs
            .packs
            .get(&self.pack)?
            .path
            .join("actions")
            .join(&action.entry_point);
        match Spec::parse(&text) {
            Ok(spec) => {
                let calls = spec.tasks.values().filter_map(|task| {
                    let reference = task.action.clone()?;
                    (!jinja::is_template(&reference))
                        .then(|| (task.line, reference, Some(task.input.clone())))
                });
                self.loader.later.push(Later {
                    path,
                    what: References::Calls(calls.collect()),
                });
                let digest = crate::store::token_hash(&text);
                Some(Workflow {
                    digest,
                    text,
                    spec: Arc::new(spec),
                })
            }
            Err(problems) => {
                self.loader
                    .problems
                    .extend(problems.iter().map(|problem| at(&path, problem)));
                None
            }
        }
    }

    fn trigger(&mut self) {
        let name = self.text("name");
        let definition = self.definition();
        let trigger = trigger_type(&self.pack, &name, &definition, &self.relative);
        self.add(&name, trigger, |packs| &mut packs.triggers);
    }

    fn sensor(&mut self) {
        let class_name = self.text("class_name");
        let entry_point = self.text("entry_point");
        let path = self.entry_point("sensors", &entry_point);
        let definition = self.definition();
        // A sensor may bring its trigger types along; those of `triggers/` come first.
        for trigger in definition
            .get("trigger_types")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let (Some(name), Some(trigger)) = (trigger["name"].as_str(), trigger.as_object()) else {
                continue;
            };
            let reference = format!("{}.{name}", self.pack);
            let trigger = trigger_type(&self.pack, name, trigger, &self.relative);
            self.loader.packs.triggers.entry(reference).or_insert(trigger);
        }
        let sensor = Sensor {
            id: id_of(&format!("sensor_type:{}:{class_name}", self.pack)),
            reference: format!("{}.{class_name}", self.pack),
            pack: self.pack.clone(),
            class_name: class_name.clone(),
            enabled: self.enabled(),
            path,
            definition,
            metadata_file: self.relative.clone(),
        };
        self.add(&class_name, sensor, |packs| &mut packs.sensors);
    }

    fn rule(&mut self) {
        self.only(
            "a rule",
            &[
                "name",
                "pack",
                "description",
                "enabled",
                "trigger",
                "criteria",
                "action",
                "type",
                "tags",
                "metadata_file",
                "ref",
                "uid",
            ],
        );
        let name = self.text("name");
        let trigger_line = self.line("trigger");
        let trigger = self.object("trigger");
        let trigger_type = trigger
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_string();
        let trigger_parameters = trigger
            .get("parameters")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        if trigger_type.is_empty() {
            self.problem(trigger_line, "`trigger` must have a `type`");
        } else {
            self.later(References::Trigger(trigger_line, trigger_type.clone()));
        }
        if !trigger_parameters.is_empty() {
            self.problem(
                trigger_line,
                "parameters of a trigger are not supported; use `criteria`",
            );
        }
        let criteria = self.object("criteria");
        for (key, criterion) in &criteria {
            let line = self.line("criteria");
            if let Err(message) = crate::engine::rules::check_criterion(key, criterion) {
                self.problem(line, message);
            }
        }
        let action_line = self.line("action");
        let action = self.object("action");
        let reference = action
            .get("ref")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_string();
        let parameters = action
            .get("parameters")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        if reference.is_empty() {
            self.problem(action_line, "`action` must have a `ref`");
        } else {
            self.later(References::Calls(vec![(
                action_line,
                reference.clone(),
                Some(parameters.clone()),
            )]));
        }
        for (parameter, value) in &parameters {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
            if let Err(message) = if jinja::is_template(&text) {
                jinja::check(&text, false)
            } else {
                Ok(())
            } {
                self.problem(
                    action_line,
                    format!("parameter `{parameter}` cannot be rendered: {message}"),
                );
            }
        }
        let rule = Rule {
            id: id_of(&format!("rule:{}:{name}", self.pack)),
            reference: format!("{}.{name}", self.pack),
            pack: self.pack.clone(),
            name: name.clone(),
            description: self.text_or_empty("description"),
            enabled: self.enabled(),
            trigger: trigger_type,
            trigger_parameters,
            criteria,
            action: reference,
            action_parameters: parameters,
            tags: self.tags(),
            metadata_file: self.relative.clone(),
        };
        self.add(&name, Arc::new(rule), |packs| &mut packs.rules);
    }

    fn alias(&mut self) {
        let name = self.text("name");
        let action = self.text("action_ref");
        let line = self.line("action_ref");
        if !action.is_empty() {
            self.later(References::Calls(vec![(line, action, None)]));
        }
        let alias = Alias {
            id: id_of(&format!("action_alias:{}:{name}", self.pack)),
            reference: format!("{}.{name}", self.pack),
            pack: self.pack.clone(),
            name: name.clone(),
            definition: self.definition(),
            metadata_file: self.relative.clone(),
        };
        self.add(&name, alias, |packs| &mut packs.aliases);
    }

    fn policy(&mut self) {
        self.only(
            "a policy",
            &[
                "name",
                "pack",
                "description",
                "enabled",
                "resource_ref",
                "policy_type",
                "parameters",
                "ref",
                "uid",
            ],
        );
        let name = self.text("name");
        let resource_ref = self.text("resource_ref");
        let policy_type = self.text("policy_type");
        let parameters = self.object("parameters");
        let line = self.line("resource_ref");
        if !resource_ref.is_empty() {
            self.later(References::Calls(vec![(line, resource_ref.clone(), None)]));
        }
        let line = self.line("policy_type");
        if !policy_type.is_empty() && policy_type != "action.concurrency" {
            self.problem(
                line,
                format!("the policy type `{policy_type}` is not supported; there is `action.concurrency`"),
            );
        }
        let line = self.line("parameters");
        let delays = parameters.get("action").is_none_or(|action| action == "delay");
        let threshold = parameters.get("threshold").and_then(Value::as_u64).unwrap_or(0);
        if threshold == 0 || !delays {
            self.problem(
                line,
                "`action.concurrency` needs a `threshold` above 0 and the action `delay`",
            );
        }
        let policy = Policy {
            id: id_of(&format!("policy:{}:{name}", self.pack)),
            reference: format!("{}.{name}", self.pack),
            pack: self.pack.clone(),
            name: name.clone(),
            enabled: self.enabled(),
            resource_ref,
            policy_type,
            parameters,
            metadata_file: self.relative.clone(),
        };
        self.add(&name, policy, |packs| &mut packs.policies);
    }
}

fn trigger_type(pack: &str, name: &str, definition: &Object, metadata_file: &str) -> TriggerType {
    let text = |key: &str| {
        definition
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_string()
    };
    let object = |key: &str| {
        definition
            .get(key)
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    TriggerType {
        id: id_of(&format!("trigger_type:{pack}:{name}")),
        reference: format!("{pack}.{name}"),
        pack: pack.to_string(),
        name: name.to_string(),
        description: text("description"),
        payload_schema: object("payload_schema"),
        parameters_schema: object("parameters_schema"),
        tags: definition
            .get("tags")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default(),
        metadata_file: metadata_file.to_string(),
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
