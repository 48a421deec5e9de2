//! From what was asked for to what an action gets: templates rendered, types cast, schema checked.
//!
//! StackStorm renders twice: what was given when the action is asked for (and keeps the result), and the defaults when
//! it starts. This engine does the same but keeps no value that comes from the configuration or from a decrypted key:
//! such a parameter is kept as the template it was and rendered when the action starts.

use std::collections::BTreeSet;
use std::sync::Arc;

use minijinja::Value as Jinja;
use serde_json::Value;

use crate::jinja::{self, Datastore, NONE_IN_TEXT};
use crate::model::Object;
use crate::pack::{Action, schema};
use crate::python::{parse_literal, repr};

/// What templates of parameters can see.
pub struct Context {
    /// The pack's configuration with defaults and datastore values.
    pub config: Value,
    /// `user`, `pack` and the like.
    pub action_context: Object,
    /// More names, such as `trigger` for a rule.
    pub more: Object,
    pub store: Arc<dyn Datastore>,
}

/// What to keep of an accepted request.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    pub parameters: Object,
    /// Those of them that are templates still.
    pub deferred: Vec<String>,
}

/// Parameters of an action about to start, in the order of its command line.
#[derive(Debug, Clone, PartialEq)]
pub struct Final {
    /// Those of the runner: `env`, `timeout`, `cwd`.
    pub runner: Object,
    pub action: Object,
}

/// Renders and checks what was given. The error is what StackStorm answers with 400.
pub fn accept(action: &Action, given: &Object, context: &Context) -> Result<Live, String> {
    let schema = full_schema(action);
    for (name, property) in &schema {
        if property["immutable"] == true && given.contains_key(name) {
            return Err(format!(
                "Override of immutable parameter(s) {} is unsupported.",
                repr(&vec![name.as_str()].into())
            ));
        }
    }
    let mut graph = Graph::new(given, &schema, true)?;
    let rendered = graph.render(context)?;
    let mut live = Object::new();
    for name in given.keys() {
        live.insert(name.clone(), cast(&rendered[name], schema.get(name))?);
    }
    let mut checked = live.clone();
    for (name, property) in &schema {
        let is_template = property["default"].as_str().is_some_and(jinja::is_template);
        if given.contains_key(name) || !is_template || property["immutable"] == true {
            continue;
        }
        let value = cast(&rendered[name], Some(property))?;
        checked.insert(name.clone(), value.clone());
        if !graph.secret.contains(name) {
            live.insert(name.clone(), value);
        }
    }
    for (name, property) in &schema {
        // Null stands for nothing given.
        let is_given = checked.get(name).is_some_and(|value| !value.is_null());
        if !is_given && !property["default"].is_null() {
            checked.insert(name.clone(), property["default"].clone());
        }
    }
    schema::check_properties(&schema, false, &checked).map_err(|violation| violation.message)?;
    let deferred: Vec<String> = given
        .keys()
        .filter(|name| graph.secret.contains(*name))
        .cloned()
        .collect();
    for name in &deferred {
        live[name] = given[name].clone();
    }
    Ok(Live {
        parameters: live,
        deferred,
    })
}

/// Renders everything an action gets.
pub fn complete(action: &Action, live: &Live, context: &Context) -> Result<Final, String> {
    let schema = full_schema(action);
    let mut graph = Graph::new(&Object::new(), &Object::new(), true)?;
    for (name, value) in &live.parameters {
        let node = if live.deferred.contains(name) {
            Node::new(value, true)?
        } else {
            Node::Value(value.clone())
        };
        graph.add(name, node);
    }
    graph.add_defaults(&schema)?;
    let rendered = graph.render(context)?;
    let runner_parameters = runner_schema(action);
    let mut done = Final {
        runner: Object::new(),
        action: Object::new(),
    };
    for name in &graph.order {
        let Some(property) = schema.get(name) else {
            continue;
        };
        let value = cast(&rendered[name], Some(property))?;
        let target = if runner_parameters.contains_key(name) {
            &mut done.runner
        } else {
            &mut done.action
        };
        target.insert(name.clone(), value);
    }
    Ok(done)
}

/// The runner's parameters with what the action overrides of them, then the action's own.
pub fn full_schema(action: &Action) -> Object {
    let mut schema = action.parameters.clone();
    for (name, property) in runner_schema(action) {
        match schema.get_mut(&name) {
            Some(Value::Object(overrides)) => {
                for (key, value) in property.as_object().into_iter().flatten() {
                    if !overrides.contains_key(key) {
                        overrides.insert(key.clone(), value.clone());
                    }
                }
            }
            _ => _ = schema.insert(name, property),
        }
    }
    schema
}

fn runner_schema(action: &Action) -> Object {
    let runner = crate::pack::runner_types()
        .iter()
        .find(|runner| runner["name"] == *action.runner_type);
    runner
        .and_then(|runner| runner["runner_parameters"].as_object().cloned())
        .unwrap_or_default()
}

#[derive(Debug, Clone)]
enum Node {
    Value(Value),
    Template {
        text: String,
        is_complex: bool,
        needs: BTreeSet<String>,
    },
}

impl Node {
    fn new(value: &Value, templates: bool) -> Result<Node, String> {
        let is_complex = value.is_array() || value.is_object();
        let text = match value {
            Value::String(text) => text.clone(),
            _ if is_complex => value.to_string(),
            _ => return Ok(Node::Value(value.clone())),
        };
        if !templates || !jinja::is_template(&text) {
            return Ok(Node::Value(value.clone()));
        }
        // What only looks like a template is a value, as in StackStorm.
        match jinja::variables(&text) {
            Ok(needs) => Ok(Node::Template {
                text,
                is_complex,
                needs: needs.into_iter().collect(),
            }),
            Err(_) => Ok(Node::Value(value.clone())),
        }
    }
}

/// Parameters and what they need of each other. StackStorm renders them generation by generation, and that is the order
/// in which they come on the command line.
struct Graph {
    nodes: Vec<(String, Node)>,
    /// Names whose value comes from the configuration or from a secret key, found while rendering.
    secret: BTreeSet<String>,
    order: Vec<String>,
}

const CONFIG: &str = "config_context";
const GIVEN: [&str; 3] = ["st2kv", "action_context", CONFIG];

impl Graph {
    fn new(given: &Object, schema: &Object, templates: bool) -> Result<Graph, String> {
        let mut graph = Graph {
            nodes: Vec::new(),
            secret: BTreeSet::new(),
            order: Vec::new(),
        };
        for (name, value) in given {
            graph.add(name, Node::new(value, templates)?);
        }
        graph.add_defaults(schema)?;
        Ok(graph)
    }

    fn add(&mut self, name: &str, node: Node) {
        match self.nodes.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = node,
            None => self.nodes.push((name.to_string(), node)),
        }
    }

    fn add_defaults(&mut self, schema: &Object) -> Result<(), String> {
        for (name, property) in schema {
            let known = self
                .nodes
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, node)| node);
            let is_null = matches!(known, None | Some(Node::Value(Value::Null)));
            if is_null || property["immutable"] == true {
                self.add(name, Node::new(&property["default"], true)?);
            }
        }
        Ok(())
    }

    fn render(&mut self, context: &Context) -> Result<Object, String> {
        let is_given = |name: &String| GIVEN.contains(&name.as_str()) || context.more.contains_key(name);
        for (_, node) in &self.nodes {
            let Node::Template { needs, .. } = node else {
                continue;
            };
            let known = |name: &String| is_given(name) || self.nodes.iter().any(|(known, _)| known == name);
            if let Some(name) = needs.iter().find(|name| !known(name)) {
                return Err(format!("Dependency unsatisfied in variable \"{name}\""));
            }
        }
        let user = context
            .action_context
            .get("user")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let mut names: Vec<(String, Jinja)> = vec![
            ("st2kv".into(), jinja::key_lookup(&context.store, user)),
            (
                "action_context".into(),
                jinja::from_json(&Value::Object(context.action_context.clone())),
            ),
            (CONFIG.into(), jinja::from_json(&context.config)),
            (jinja::DATASTORE.into(), jinja::datastore_value(&context.store)),
        ];
        names.extend(
            context
                .more
                .iter()
                .map(|(name, value)| (name.clone(), jinja::from_json(value))),
        );
        let mut rendered = Object::new();
        let mut waiting: Vec<&(String, Node)> = self.nodes.iter().collect();
        let mut is_first = true;
        while !waiting.is_empty() {
            let ready = |node: &Node| match node {
                Node::Value(_) => true,
                Node::Template { needs, .. } => needs.iter().all(|name| {
                    if is_given(name) {
                        !is_first
                    } else {
                        rendered.contains_key(name)
                    }
                }),
            };
            let (now, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, node)| ready(node));
            if now.is_empty() && !is_first {
                let mut names: Vec<&str> = later.iter().map(|(name, _)| name.as_str()).collect();
                names.sort_unstable();
                return Err(format!(
                    "Cyclic dependency found in the following variables: {}. Likely the variable is referencing itself",
                    names.join(", ")
                ));
            }
            for (name, node) in now {
                let value = match node {
                    Node::Value(value) => value.clone(),
                    Node::Template {
                        text,
                        is_complex,
                        needs,
                    } => {
                        if needs.contains(CONFIG)
                            || text.contains("decrypt_kv")
                            || needs.iter().any(|name| self.secret.contains(name))
                        {
                            self.secret.insert(name.clone());
                        }
                        let context = Jinja::from_iter(names.iter().cloned());
                        render_node(text, *is_complex, &context)
                            .map_err(|error| format!("Failed to render parameter \"{name}\": {error}"))?
                    }
                };
                names.push((name.clone(), jinja::from_json(&value)));
                self.order.push(name.clone());
                rendered.insert(name.clone(), value);
            }
            waiting = later;
            is_first = false;
        }
        Ok(rendered)
    }
}

fn render_node(text: &str, is_complex: bool, context: &Jinja) -> Result<Value, String> {
    if !is_complex {
        return jinja::render(text, context).map(Value::String);
    }
    static WHOLE: std::sync::LazyLock<regex::Regex> = std::sync::LazyLock::new(|| {
        regex::Regex::new(r#""\{\{\s*([A-Za-z0-9_-]+)\s*\}\}""#).expect("a constant pattern")
    });
    let text = WHOLE.replace_all(text, "{{ $1 | to_complex }}");
    let rendered = jinja::render(&text, context)?;
    serde_json::from_str(&rendered).map_err(|error| format!("the rendered text is not JSON: {error}"))
}

/// Turns a rendered text into the type its schema asks for.
fn cast(value: &Value, property: Option<&Value>) -> Result<Value, String> {
    let Some(kind) = property.and_then(|property| property["type"].as_str()) else {
        return Ok(value.clone());
    };
    let text = match value {
        Value::String(text) if text == NONE_IN_TEXT => return Ok(Value::Null),
        Value::String(text) => text,
        Value::Number(number) if kind == "integer" && number.is_f64() => {
            return Ok(number
                .as_f64()
                .map_or(value.clone(), |float| Value::from(float.trunc() as i64)));
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) if kind == "string" => {
            let type_name = match value {
                Value::Bool(_) => "bool",
                Value::Number(number) if number.is_f64() => "float",
                Value::Number(_) => "int",
                Value::Array(_) => "list",
                _ => "dict",
            };
            return Err(format!(
                "Value \"{}\" must either be a string or None. Got \"{type_name}\".",
                repr(value)
            ));
        }
        other => return Ok(other.clone()),
    };
    match kind {
        "integer" => {
            let number = text.trim().parse::<i64>().map(Value::from);
            number.map_err(|_| format!("invalid literal for int() with base 10: {}", repr(value)))
        }
        "number" => {
            let number = text
                .trim()
                .parse::<f64>()
                .ok()
                .and_then(serde_json::Number::from_f64);
            number
                .map(Value::Number)
                .ok_or_else(|| format!("could not convert string to float: {}", repr(value)))
        }
        "boolean" => match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(format!("malformed node or string: {}", repr(value))),
        },
        "array" | "object" => {
            let parsed = serde_json::from_str(text).ok().or_else(|| parse_literal(text));
            parsed.ok_or_else(|| format!("malformed node or string: {}", repr(value)))
        }
        _ => Ok(value.clone()),
    }
}

#[cfg(test)]
mod tests;
