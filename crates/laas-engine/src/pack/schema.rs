//! The part of JSON schema that packs use, checked as StackStorm checks it, with the words of Python's `jsonschema`.
//!
//! StackStorm marks a required property by `required: true` inside the property itself.

use serde_json::Value;

use crate::model::Object;
use crate::python::{indented, repr};

/// The first thing wrong with a value: the words of `jsonschema` and what they are about.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    pub message: String,
    /// The keyword of the schema that is not met.
    pub keyword: String,
    /// The part of the schema that holds that keyword.
    pub schema: Value,
    /// The part of the value that does not meet it.
    pub instance: Value,
    /// Where that part of the schema is, from the outside in.
    schema_path: Vec<Value>,
    /// Where that part of the value is, from the outside in.
    instance_path: Vec<Value>,
}

impl Violation {
    fn new(message: String, keyword: &str, schema: &Object, instance: &Value) -> Self {
        Violation {
            message,
            keyword: keyword.into(),
            schema: Value::Object(schema.clone()),
            instance: instance.clone(),
            schema_path: Vec::new(),
            instance_path: Vec::new(),
        }
    }

    /// All of it, as Python prints the exception.
    pub fn report(&self) -> String {
        let index = |path: &[Value]| {
            path.iter()
                .map(|step| format!("[{}]", repr(step)))
                .collect::<String>()
        };
        format!(
            "{}\n\nFailed validating {} in schema{}:\n    {}\n\nOn instance{}:\n    {}",
            self.message,
            repr(&self.keyword.as_str().into()),
            index(&self.schema_path),
            indented(&self.schema, 4),
            index(&self.instance_path),
            indented(&self.instance, 4)
        )
    }

    fn below(mut self, schema_steps: &[&str], instance_step: Option<Value>) -> Self {
        self.schema_path
            .splice(0..0, schema_steps.iter().map(|step| Value::from(*step)));
        self.instance_path.splice(0..0, instance_step);
        self
    }
}

/// Checks an object against its properties; `more` says whether other names are welcome.
/// As StackStorm does, null is taken for a property that is not required and has no enum
/// (`st2common/util/schema/__init__.py`, `modify_schema_allow_default_none`).
pub fn check_properties(properties: &Object, more: bool, value: &Object) -> Result<(), Violation> {
    let mut schema = Object::new();
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), Value::Object(properties.clone()));
    schema.insert("additionalProperties".into(), more.into());
    check(&schema, &Value::Object(value.clone()))
}

/// Checks any value against any schema; null passes where the schema has no `required: true`.
///
/// What is wrong further outside is reported first, as `jsonschema` does.
pub fn check(schema: &Object, value: &Value) -> Result<(), Violation> {
    let is_nested = |keyword: &str| matches!(keyword, "properties" | "patternProperties" | "items");
    for nested in [false, true] {
        for (keyword, wanted) in schema.iter().filter(|(keyword, _)| is_nested(keyword) == nested) {
            if let Some(message) = violated(keyword, wanted, schema, value)? {
                return Err(Violation::new(message, keyword, schema, value));
            }
        }
    }
    Ok(())
}

fn violated(
    keyword: &str,
    wanted: &Value,
    schema: &Object,
    value: &Value,
) -> Result<Option<String>, Violation> {
    let message = match (keyword, wanted) {
        ("type", Value::String(name)) => {
            (!is_type(name, value)).then(|| format!("{} is not of type {}", repr(value), repr(wanted)))
        }
        ("type", Value::Array(names)) => {
            let fits = names
                .iter()
                .filter_map(Value::as_str)
                .any(|name| is_type(name, value));
            let names = names.iter().map(repr).collect::<Vec<_>>().join(", ");
            (!fits).then(|| format!("{} is not of type {names}", repr(value)))
        }
        ("enum", Value::Array(words)) => {
            (!words.contains(value)).then(|| format!("{} is not one of {}", repr(value), repr(wanted)))
        }
        ("pattern", Value::String(pattern)) => match (value, regex::Regex::new(pattern)) {
            (Value::String(text), Ok(regex)) if !regex.is_match(text) => {
                Some(format!("{} does not match {}", repr(value), repr(wanted)))
            }
            _ => None,
        },
        ("minimum", Value::Number(limit)) => (value.as_f64() < limit.as_f64() && value.is_number())
            .then(|| format!("{value} is less than the minimum of {limit}")),
        ("maximum", Value::Number(limit)) => (value.as_f64() > limit.as_f64() && value.is_number())
            .then(|| format!("{value} is greater than the maximum of {limit}")),
        ("minLength", Value::Number(limit)) => match value {
            Value::String(text) if (text.chars().count() as u64) < limit.as_u64().unwrap_or(0) => {
                Some(format!("{} is too short", repr(value)))
            }
            _ => None,
        },
        ("maxLength", Value::Number(limit)) => match value {
            Value::String(text) if text.chars().count() as u64 > limit.as_u64().unwrap_or(u64::MAX) => {
                Some(format!("{} is too long", repr(value)))
            }
            _ => None,
        },
        ("minItems", Value::Number(limit)) => match value {
            Value::Array(items) if (items.len() as u64) < limit.as_u64().unwrap_or(0) => {
                Some(format!("{} is too short", repr(value)))
            }
            _ => None,
        },
        ("maxItems", Value::Number(limit)) => match value {
            Value::Array(items) if items.len() as u64 > limit.as_u64().unwrap_or(u64::MAX) => {
                Some(format!("{} is too long", repr(value)))
            }
            _ => None,
        },
        ("uniqueItems", Value::Bool(true)) => match value {
            Value::Array(items) => {
                let repeats = items
                    .iter()
                    .enumerate()
                    .any(|(at, item)| items[..at].contains(item));
                repeats.then(|| format!("{} has non-unique elements", repr(value)))
            }
            _ => None,
        },
        ("items", Value::Object(item_schema)) => {
            for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                check(item_schema, item).map_err(|found| found.below(&["items"], Some(at.into())))?;
            }
            None
        }
        ("properties", Value::Object(properties)) => {
            if let Value::Object(object) = value {
                check_each(properties, object)?;
            }
            None
        }
        ("patternProperties", Value::Object(patterns)) => {
            for (name, item) in value.as_object().into_iter().flatten() {
                for (pattern, property) in patterns {
                    if let (true, Value::Object(property)) = (has_pattern(name, pattern), property) {
                        let step = Some(Value::from(name.as_str()));
                        check(property, item)
                            .map_err(|found| found.below(&["patternProperties", pattern], step))?;
                    }
                }
            }
            None
        }
        ("anyOf", Value::Array(schemas)) => {
            let mut objects = schemas.iter().filter_map(Value::as_object);
            let fits = objects.any(|schema| check(schema, value).is_ok());
            (!fits).then(|| format!("{} is not valid under any of the given schemas", repr(value)))
        }
        ("required", Value::Array(names)) => value.as_object().and_then(|object| {
            let missing = names
                .iter()
                .find(|name| name.as_str().is_some_and(|name| !object.contains_key(name)));
            missing.map(|name| format!("{} is a required property", repr(name)))
        }),
        ("additionalProperties", Value::Bool(false)) => unexpected(schema, value),
        ("additionalProperties", Value::Object(other_schema)) => {
            for (name, item) in value.as_object().into_iter().flatten() {
                if !is_named(schema, name) {
                    let step = Some(Value::from(name.as_str()));
                    check(other_schema, item)
                        .map_err(|found| found.below(&["additionalProperties"], step))?;
                }
            }
            None
        }
        _ => None,
    };
    Ok(message)
}

fn check_each(properties: &Object, object: &Object) -> Result<(), Violation> {
    for (name, property) in properties {
        let Value::Object(property) = property else {
            continue;
        };
        let required = property.get("required") == Some(&Value::Bool(true));
        match object.get(name) {
            None if required => {
                let message = format!("{} is a required property", repr(&Value::from(name.as_str())));
                return Err(Violation::new(
                    message,
                    "required",
                    property,
                    &Value::Object(object.clone()),
                ));
            }
            None => {}
            // Of what a property says only its type is made to let null through: an enum does not.
            Some(Value::Null) if !required => {
                let words = property
                    .get("enum")
                    .map(|words| violated("enum", words, property, &Value::Null));
                if let Some(message) = words.transpose()?.flatten() {
                    let step = Some(Value::from(name.as_str()));
                    let found = Violation::new(message, "enum", property, &Value::Null);
                    return Err(found.below(&["properties", name], step));
                }
            }
            Some(value) => {
                let step = Some(Value::from(name.as_str()));
                check(property, value).map_err(|found| found.below(&["properties", name], step))?;
            }
        }
    }
    Ok(())
}

fn is_named(schema: &Object, name: &str) -> bool {
    let listed = schema
        .get("properties")
        .and_then(Value::as_object)
        .is_some_and(|known| known.contains_key(name));
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    listed || patterns.is_some_and(|known| known.keys().any(|pattern| has_pattern(name, pattern)))
}

fn has_pattern(name: &str, pattern: &str) -> bool {
    regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match(name))
}

fn unexpected(schema: &Object, value: &Value) -> Option<String> {
    let extra: Vec<String> = value
        .as_object()?
        .keys()
        .filter(|name| !is_named(schema, name))
        .map(|name| repr(&Value::from(name.as_str())))
        .collect();
    let verb = if extra.len() == 1 { "was" } else { "were" };
    (!extra.is_empty()).then(|| {
        format!(
            "Additional properties are not allowed ({} {verb} unexpected)",
            extra.join(", ")
        )
    })
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|float| float.fract() == 0.0)
        }
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_report_is_what_python_prints() {
        let schema = object(json!({
            "type": "object",
            "properties": {"job_id": {"type": "integer", "required": true}},
            "additionalProperties": false,
        }));
        let report = check(&schema, &json!({"job": "x"})).unwrap_err().report();
        let expected = "Additional properties are not allowed ('job' was unexpected)\n\n\
            Failed validating 'additionalProperties' in schema:\n    \
            {'additionalProperties': False,\n     \
            'properties': {'job_id': {'required': True, 'type': 'integer'}},\n     \
            'type': 'object'}\n\nOn instance:\n    {'job': 'x'}";
        assert_eq!(report, expected);
        let report = check(&schema, &json!({"job_id": "x"})).unwrap_err().report();
        assert!(
            report.contains("in schema['properties']['job_id']:\n"),
            "{report}"
        );
        assert!(report.ends_with("On instance['job_id']:\n    'x'"), "{report}");
    }

    #[test]
    fn violations_use_the_words_of_jsonschema() {
        let schema = object(json!({
            "host": {"type": "string", "required": true},
            "command": {"type": "string", "enum": ["status", "on", "off"]},
            "count": {"type": "integer", "minimum": 1},
            "names": {"type": "array", "items": {"type": "string"}},
            "id": {"type": "string", "pattern": "^[a-z]+$"},
            "ports": {"type": "object", "patternProperties": {"^Eth": {"type": "integer"}}},
            "either": {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]},
        }));
        let cases = [
            (json!({}), "'host' is a required property"),
            (
                json!({"host": "a", "command": "explode"}),
                "'explode' is not one of ['status', 'on', 'off']",
            ),
            (
                json!({"host": "a", "nosuch": "1"}),
                "Additional properties are not allowed ('nosuch' was unexpected)",
            ),
            (
                json!({"host": "a", "x": 1, "y": 1}),
                "Additional properties are not allowed ('x', 'y' were unexpected)",
            ),
            (json!({"host": 1}), "1 is not of type 'string'"),
            (json!({"host": null}), "None is not of type 'string'"),
            (
                json!({"host": "a", "command": null}),
                "None is not one of ['status', 'on', 'off']",
            ),
            (json!({"host": "a", "count": "1"}), "'1' is not of type 'integer'"),
            (
                json!({"host": "a", "count": 0}),
                "0 is less than the minimum of 1",
            ),
            (
                json!({"host": "a", "names": ["b", 1]}),
                "1 is not of type 'string'",
            ),
            (json!({"host": "a", "id": "A"}), "'A' does not match '^[a-z]+$'"),
            (
                json!({"host": "a", "ports": {"Eth1": "x"}}),
                "'x' is not of type 'integer'",
            ),
            (
                json!({"host": "a", "either": 0}),
                "0 is not valid under any of the given schemas",
            ),
        ];
        for (value, message) in cases {
            assert_eq!(
                check_properties(&schema, false, &object(value.clone()))
                    .unwrap_err()
                    .message,
                message,
                "{value}"
            );
        }
        for good in [
            json!({"host": "a"}),
            json!({"host": "a", "command": "on", "count": null, "names": []}),
            json!({"host": "a", "ports": {"Eth1": 1, "mgmt": "x"}, "either": "b"}),
        ] {
            assert_eq!(check_properties(&schema, false, &object(good)), Ok(()));
        }
    }
}
