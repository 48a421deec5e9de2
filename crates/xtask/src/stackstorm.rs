//! Whether StackStorm 3.9 would register the pack: each of its files against the model that StackStorm has of it
//! (`st2common/models/api`), as a JSON schema of the kind that StackStorm itself uses, with `required: true` in the
//! property. On top comes what this house asks for: whatever an operator fills in is described, with an example.

use anyhow::Context;
use laas_engine::model::Object;
use laas_engine::pack::{Packs, schema};
use serde_json::Value;
use std::path::Path;

/// By folder of the pack.
const FOLDERS: &[(&str, &str)] = &[
    ("actions", include_str!("../schemas/action.json")),
    ("aliases", include_str!("../schemas/alias.json")),
    ("policies", include_str!("../schemas/policy.json")),
    ("rules", include_str!("../schemas/rule.json")),
    ("sensors", include_str!("../schemas/sensor.json")),
    ("triggers", include_str!("../schemas/trigger.json")),
];
const PACK: &str = include_str!("../schemas/pack.json");
/// A parameter of an action, an entry of `config.schema.yaml`, and whatever is nested in them.
const PARAMETER: &str = include_str!("../schemas/parameter.json");

/// What a parameter of the runner may say, beside its type (`RUNNER_PARAM_OVERRIDABLE_ATTRS`).
const RUNNER_PARAMETERS: &[&str] = &["timeout", "env", "cwd", "sudo", "kwarg_op"];
const OVERRIDABLE: &[&str] = &["default", "description", "enum", "immutable", "required", "type"];

/// Everything that is wrong, one line each, beginning with the file.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    let pack = read(&root.join("pack.yaml"))?;
    problems.extend(against("pack.yaml", PACK, &pack)?);
    for (folder, model) in FOLDERS {
        for entry in std::fs::read_dir(root.join(folder))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("{folder}/{name}");
            let value = read(&path)?;
            problems.extend(against(&name, model, &value)?);
            for (parameter, schema) in value["parameters"].as_object().into_iter().flatten() {
                if *folder == "actions" {
                    problems.extend(check_parameter(
                        &format!("{name}: {parameter}"),
                        parameter,
                        schema,
                    )?);
                }
            }
        }
    }
    let config_schema = read(&root.join("config.schema.yaml"))?;
    for (name, schema) in config_schema.as_object().into_iter().flatten() {
        problems.extend(check_schema(
            &format!("config.schema.yaml: {name}"),
            schema,
            true,
        )?);
    }
    let example = read(&root.join("laas.yaml.example"))?;
    if let (Some(properties), Some(example)) = (config_schema.as_object(), example.as_object()) {
        let fits = schema::check_properties(properties, false, example);
        problems.extend(
            fits.err()
                .map(|found| format!("laas.yaml.example: {}", found.message)),
        );
    }
    // What one file says about another, and what the engine would not run.
    let nowhere = tempfile::tempdir()?;
    let loaded = Packs::load(&[root.to_owned()], nowhere.path());
    problems.extend(loaded.err().into_iter().flatten());
    Ok(problems)
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read `{}`", path.display()))?;
    serde_yaml::from_str(&text).with_context(|| format!("`{}` is not YAML", path.display()))
}

/// The first thing about the value that the model has otherwise.
fn against(name: &str, model: &str, value: &Value) -> anyhow::Result<Option<String>> {
    let model: Object = serde_json::from_str(model)?;
    let found = schema::check(&model, value).err();
    Ok(found.map(|found| format!("{name}: {}", found.message)))
}

fn check_parameter(place: &str, name: &str, parameter: &Value) -> anyhow::Result<Vec<String>> {
    let Some(attributes) = parameter
        .as_object()
        .filter(|_| RUNNER_PARAMETERS.contains(&name))
    else {
        let mut problems = check_schema(place, parameter, true)?;
        let described = parameter["description"].as_str().unwrap_or_default();
        let is_plain = matches!(parameter["type"].as_str(), Some("string" | "integer" | "number"));
        if is_plain && parameter["enum"].is_null() && !described.contains("e.g.") {
            problems.push(format!("{place}: its description has no example (`e.g. …`)"));
        }
        return Ok(problems);
    };
    let refused = attributes
        .keys()
        .filter(|name| !OVERRIDABLE.contains(&name.as_str()));
    let problem =
        |attribute: &String| format!("{place}: StackStorm refuses `{attribute}` for a runner's parameter");
    Ok(refused.map(problem).collect())
}

/// A schema and those nested in it; `described` says whether it must have a description.
fn check_schema(place: &str, schema: &Value, described: bool) -> anyhow::Result<Vec<String>> {
    let mut problems: Vec<String> = against(place, PARAMETER, schema)?.into_iter().collect();
    if described && schema["description"].as_str().unwrap_or_default().is_empty() {
        problems.push(format!("{place} has no description"));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        problems.extend(check_schema(&format!("{place}.{name}"), property, true)?);
    }
    for nested in ["items", "additionalProperties"] {
        if schema[nested].is_object() {
            problems.extend(check_schema(
                &format!("{place}.{nested}"),
                &schema[nested],
                false,
            )?);
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_pack_of_this_repository_is_sound() {
        let root = crate::root();
        assert_eq!(check(&root).unwrap(), [""; 0]);
    }

    #[test]
    fn what_stackstorm_refuses_is_said_with_its_place() {
        let model = |folder: &str| FOLDERS.iter().find(|(name, _)| *name == folder).unwrap().1;
        let cases = [
            (
                PACK,
                json!({"name": "x", "description": "d", "version": "1.0", "author": "a", "email": "a@b"}),
                "'1.0' does not match",
            ),
            (
                PACK,
                json!({"name": "x", "description": "d", "version": "1.0.0", "author": "a"}),
                "'email' is a required property",
            ),
            (
                PACK,
                json!({"name": "x", "description": "d", "version": "1.0.0", "author": "a", "email": "a@b", "python_versions": ["3.9"]}),
                "'3.9' is not one of ['2', '3']",
            ),
            (
                model("actions"),
                json!({"name": "x", "description": "d", "runner_type": "orquesta", "parameters": {"a-b": {}}}),
                "'a-b' was unexpected",
            ),
            (
                model("actions"),
                json!({"name": "x", "description": "d", "runner_type": "orquesta", "timeout": 5}),
                "'timeout' was unexpected",
            ),
            (
                model("aliases"),
                json!({"name": "x", "pack": "p", "description": "d", "action_ref": "p.a", "formats": [5]}),
                "5 is not valid under any of the given schemas",
            ),
            (
                model("policies"),
                json!({"name": "x", "description": "d", "enabled": true, "resource_ref": "p.a",
                    "policy_type": "action.concurrency", "parameters": {"threshold": 0}}),
                "0 is less than the minimum of 1",
            ),
            (
                model("rules"),
                json!({"name": "x", "description": "d", "enabled": true, "trigger": {}, "action": {"ref": "p.a"}}),
                "'type' is a required property",
            ),
            (
                model("sensors"),
                json!({"class_name": "X", "description": "d"}),
                "'entry_point' is a required property",
            ),
            (
                model("triggers"),
                json!({"name": "x", "description": "d", "payload": {}}),
                "'payload' was unexpected",
            ),
        ];
        for (model, value, expected) in cases {
            let found = against("file", model, &value).unwrap().unwrap_or_default();
            assert!(
                found.starts_with("file: ") && found.contains(expected),
                "{value}: {found}"
            );
        }
    }

    #[test]
    fn parameters_are_described_and_have_an_example() {
        let cases = [
            (
                "host",
                json!({"type": "string", "description": "A host, e.g. pod1"}),
                None,
            ),
            (
                "host",
                json!({"type": "string", "description": "A host"}),
                Some("no example"),
            ),
            (
                "host",
                json!({"type": "string", "enum": ["a"], "description": "A host"}),
                None,
            ),
            (
                "host",
                json!({"type": "text", "description": "A host, e.g. pod1"}),
                Some("'text' is not one of"),
            ),
            (
                "host",
                json!({"type": "object", "description": "d", "properties": {"a": {"type": "string"}}}),
                Some("host.a has no description"),
            ),
            (
                "host",
                json!({"type": "boolean", "description": "d", "required": ["host"]}),
                Some("is not of type 'boolean'"),
            ),
            ("timeout", json!({"default": 5}), None),
            (
                "env",
                json!({"type": "object", "secret": true}),
                Some("refuses `secret`"),
            ),
        ];
        for (name, parameter, expected) in cases {
            let found = check_parameter(name, name, &parameter).unwrap();
            match expected {
                Some(expected) => assert!(
                    found.iter().any(|problem| problem.contains(expected)),
                    "{parameter}: {found:?}"
                ),
                None => assert_eq!(found, [""; 0], "{parameter}"),
            }
        }
    }
}
