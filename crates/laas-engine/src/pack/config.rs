//! A pack's configuration: what its file says, what its schema adds, what the datastore holds.

use std::sync::Arc;

use minijinja::Value as Jinja;
use serde_json::Value;

use super::{Pack, schema};
use crate::jinja::{self, Datastore};
use crate::model::Object;

/// The configuration as actions of `user` see it: defaults filled in, templates rendered, secrets decrypted.
/// It must not be kept.
pub fn resolve(pack: &Pack, user: &str, store: &Arc<dyn Datastore>) -> Result<Object, String> {
    let mut config = Value::Object(pack.config.clone().unwrap_or_default());
    let context = Jinja::from_iter([
        ("st2kv".to_string(), jinja::key_lookup(store, user)),
        (jinja::DATASTORE.to_string(), jinja::datastore_value(store)),
    ]);
    let root = root_schema(pack);
    fill(&mut config, &root, &mut |template, is_secret| {
        let value = jinja::render(template, &context)?;
        match (value.is_empty(), is_secret) {
            (true, _) => Ok(Value::Null),
            (false, true) => store.decrypt(&value).map(Value::String),
            (false, false) => Ok(Value::String(value)),
        }
    })
    .map_err(|message| {
        format!(
            "the configuration of pack `{}` cannot be rendered: {message}",
            pack.name
        )
    })?;
    Ok(config.as_object().cloned().unwrap_or_default())
}

/// What is wrong with the configuration file. Values that are templates have no type yet, and names that the schema
/// does not know pass, as in StackStorm.
pub fn check(pack: &Pack) -> Result<(), schema::Violation> {
    let Some(config) = &pack.config else { return Ok(()) };
    let mut config = Value::Object(config.clone());
    let root = root_schema(pack);
    // Defaults count as given.
    _ = fill(&mut config, &root, &mut |template, _| Ok(Value::from(template)));
    check_value(&root, &config)
}

fn check_value(schema: &Object, value: &Value) -> Result<(), schema::Violation> {
    if value.as_str().is_some_and(jinja::is_template) {
        return Ok(());
    }
    let mut shallow = schema.clone();
    let nested: Vec<(Object, Value)> = match value {
        Value::Object(object) => {
            // Names and required ones are checked here, the values one by one below.
            let properties = shallow.get_mut("properties").and_then(Value::as_object_mut);
            let mut nested = Vec::new();
            for (name, property) in properties.into_iter().flatten() {
                if let (Some(value), Some(full)) = (object.get(name), property.as_object()) {
                    if !value.is_null() {
                        nested.push((full.clone(), value.clone()));
                    }
                    *property =
                        serde_json::json!({"required": full.get("required") == Some(&Value::Bool(true))});
                }
            }
            nested
        }
        Value::Array(items) => {
            let item_schema = shallow
                .remove("items")
                .and_then(|items| items.as_object().cloned())
                .unwrap_or_default();
            items
                .iter()
                .map(|item| (item_schema.clone(), item.clone()))
                .collect()
        }
        _ => Vec::new(),
    };
    schema::check(&shallow, value)?;
    nested
        .iter()
        .try_for_each(|(schema, value)| check_value(schema, value))
}

fn root_schema(pack: &Pack) -> Object {
    let mut root = Object::new();
    root.insert("type".into(), "object".into());
    root.insert("properties".into(), Value::Object(pack.config_schema.clone()));
    root
}

/// Renders templates and adds defaults, in place.
fn fill(
    value: &mut Value,
    schema: &Object,
    render: &mut dyn FnMut(&str, bool) -> Result<Value, String>,
) -> Result<(), String> {
    let none = Object::new();
    match value {
        Value::String(text) if jinja::is_template(text) => {
            let is_secret = schema.get("secret") == Some(&Value::Bool(true));
            *value = render(text, is_secret)?;
        }
        Value::Object(object) => {
            let properties = schema
                .get("properties")
                .and_then(Value::as_object)
                .unwrap_or(&none);
            for (name, property) in properties {
                let Some(property) = property.as_object() else {
                    continue;
                };
                if let (Some(default), false) = (property.get("default"), object.contains_key(name)) {
                    object.insert(name.clone(), default.clone());
                }
                // An object that is not there still gets the defaults of what it would hold.
                let is_object = property.get("type").is_some_and(|kind| kind == "object");
                if is_object && !object.contains_key(name) {
                    let mut inner = Value::Object(Object::new());
                    fill(&mut inner, property, render)?;
                    if inner.as_object().is_some_and(|inner| !inner.is_empty()) {
                        object.insert(name.clone(), inner);
                    }
                }
            }
            let others = schema
                .get("additionalProperties")
                .and_then(Value::as_object)
                .unwrap_or(&none);
            for (name, item) in object.iter_mut() {
                let property = properties.get(name).and_then(Value::as_object).unwrap_or(others);
                fill(item, property, render)?;
            }
        }
        Value::Array(items) => {
            let item_schema = schema.get("items").and_then(Value::as_object).unwrap_or(&none);
            for item in items {
                fill(item, item_schema, render)?;
            }
        }
        _ => {}
    }
    Ok(())
}
