//! Packs as loaded from their directories: what the engine can run, checked as a whole before anything runs.

pub mod config;
mod load;
pub mod schema;
pub mod yaml;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::model::Object;

/// Everything that was loaded, by reference (`pack.name`).
#[derive(Debug, Default)]
pub struct Packs {
    /// By pack name.
    pub packs: BTreeMap<String, Pack>,
    pub actions: BTreeMap<String, Arc<Action>>,
    pub rules: BTreeMap<String, Arc<Rule>>,
    pub triggers: BTreeMap<String, TriggerType>,
    pub aliases: BTreeMap<String, Alias>,
    pub sensors: BTreeMap<String, Sensor>,
    pub policies: BTreeMap<String, Policy>,
}

/// One pack directory.
#[derive(Debug, Clone)]
pub struct Pack {
    pub id: String,
    /// Also its `ref`.
    pub name: String,
    pub path: PathBuf,
    /// `pack.yaml` as written.
    pub metadata: Object,
    /// Regular files below `path`, relative to it.
    pub files: Vec<String>,
    /// `config.schema.yaml` as written, empty without one.
    pub config_schema: Object,
    /// The configuration file as written: no defaults, templates unresolved. `None` without a file.
    pub config: Option<Object>,
}

/// An action or a workflow.
#[derive(Debug, Clone, Default)]
pub struct Action {
    pub id: String,
    pub reference: String,
    pub pack: String,
    pub name: String,
    pub description: String,
    pub enabled: bool,
    /// Relative to the pack's `actions/`.
    pub entry_point: String,
    /// `local-shell-script` or `orquesta`.
    pub runner_type: String,
    /// Name to schema, as written and in that order.
    pub parameters: Object,
    /// Relative to the pack.
    pub metadata_file: String,
    pub tags: Vec<Value>,
    pub output_schema: Object,
    pub notify: Object,
    /// Entry point on this machine.
    pub path: PathBuf,
    /// The definition, for a workflow.
    pub workflow: Option<Workflow>,
}

/// A workflow's definition.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// Of `text`: running workflows keep the definition they began with.
    pub digest: String,
    pub text: String,
    pub spec: Arc<crate::orquesta::spec::Spec>,
}

/// What to run when a trigger fires.
#[derive(Debug, Clone)]
pub struct Rule {
    pub id: String,
    pub reference: String,
    pub pack: String,
    pub name: String,
    pub description: String,
    /// As written; [`crate::store::Store::rule_enabled`] overrides it.
    pub enabled: bool,
    /// `pack.name` of the trigger type.
    pub trigger: String,
    pub trigger_parameters: Object,
    pub criteria: Object,
    /// `pack.name`.
    pub action: String,
    pub action_parameters: Object,
    pub tags: Vec<Value>,
    pub metadata_file: String,
}

/// A kind of event and the shape of its payload.
#[derive(Debug, Clone)]
pub struct TriggerType {
    pub id: String,
    pub reference: String,
    pub pack: String,
    pub name: String,
    pub description: String,
    pub payload_schema: Object,
    pub parameters_schema: Object,
    pub tags: Vec<Value>,
    pub metadata_file: String,
}

/// A chat command.
#[derive(Debug, Clone)]
pub struct Alias {
    pub id: String,
    pub reference: String,
    pub pack: String,
    pub name: String,
    /// The file as written, `formats`, `ack` and `result` among it.
    pub definition: Object,
    pub metadata_file: String,
}

/// A process that watches the outside and dispatches triggers.
#[derive(Debug, Clone)]
pub struct Sensor {
    pub id: String,
    pub reference: String,
    pub pack: String,
    pub class_name: String,
    pub enabled: bool,
    /// Entry point on this machine.
    pub path: PathBuf,
    /// The file as written.
    pub definition: Object,
    pub metadata_file: String,
}

impl Sensor {
    /// As the API names it, unlike any rule.
    pub fn uid(&self) -> String {
        format!("sensor_type:{}:{}", self.pack, self.class_name)
    }
}

/// A limit on an action's executions.
#[derive(Debug, Clone)]
pub struct Policy {
    pub id: String,
    pub reference: String,
    pub pack: String,
    pub name: String,
    pub enabled: bool,
    pub resource_ref: String,
    pub policy_type: String,
    pub parameters: Object,
    pub metadata_file: String,
}

impl Packs {
    /// Loads every directory, with the configuration files below `config_dir`. The error is everything that is wrong
    /// with any of them, one line each, beginning with file and line.
    pub fn load(directories: &[PathBuf], config_dir: &std::path::Path) -> Result<Packs, Vec<String>> {
        load::load(directories, config_dir)
    }
}

/// The runner types as the API shows them, recorded from StackStorm 3.9 but for their ids.
pub fn runner_types() -> &'static [Value] {
    static RUNNER_TYPES: LazyLock<Vec<Value>> = LazyLock::new(|| {
        serde_json::from_str(include_str!("pack/runner_types.json"))
            .expect("the file is part of this crate and a test reads it")
    });
    &RUNNER_TYPES
}

/// What StackStorm prints for a secret.
pub const MASKED: &str = "********";

impl Action {
    /// `parameters` with the secret ones as [`MASKED`].
    pub fn mask(&self, parameters: &Object) -> Object {
        let is_secret = |name: &str| {
            self.parameters
                .get(name)
                .is_some_and(|schema| schema["secret"] == Value::Bool(true))
        };
        let masked = |(name, value): (&String, &Value)| {
            let value = if is_secret(name) {
                Value::from(MASKED)
            } else {
                value.clone()
            };
            (name.clone(), value)
        };
        parameters.iter().map(masked).collect()
    }

    /// The runner is Orquesta.
    pub fn is_workflow(&self) -> bool {
        self.runner_type == "orquesta"
    }
}

#[cfg(test)]
pub mod tests;
