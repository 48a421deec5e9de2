//! One kind of file after the other.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::super::yaml::{Kind, Node};
use super::super::{Action, Alias, Policy, Rule, Sensor, TriggerType, Workflow, runner_types};
use super::{File, Later, References, at};
use crate::jinja;
use crate::model::{Object, id_of};
use crate::orquesta::spec::Spec;

impl File<'_> {
    pub(super) fn action(&mut self) {
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

    pub(super) fn trigger(&mut self) {
        let name = self.text("name");
        let definition = self.definition();
        let trigger = trigger_type(&self.pack, &name, &definition, &self.relative);
        self.add(&name, trigger, |packs| &mut packs.triggers);
    }

    pub(super) fn sensor(&mut self) {
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

    pub(super) fn rule(&mut self) {
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

    pub(super) fn alias(&mut self) {
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

    pub(super) fn policy(&mut self) {
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
        // What is not enforced may be there as long as it is switched off.
        if !policy_type.is_empty() && policy_type != "action.concurrency" && self.enabled() {
            self.problem(
                line,
                format!(
                    "the policy type `{policy_type}` is not supported: use `action.concurrency` or say `enabled: false`"
                ),
            );
        }
        let line = self.line("parameters");
        let delays = parameters.get("action").is_none_or(|action| action == "delay");
        let threshold = parameters.get("threshold").and_then(Value::as_u64).unwrap_or(0);
        if policy_type == "action.concurrency" && (threshold == 0 || !delays) {
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
