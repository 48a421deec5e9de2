//! Orquesta's expressions: `{{ … }}` anywhere in a text; a text that is one expression keeps the type of its value.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value as Jinja};
use regex::Regex;
use serde_json::Value;

use crate::jinja::{self, Datastore};
use crate::model::Object;
use crate::python::to_text;

/// What expressions can see at one moment of a workflow.
#[derive(Clone)]
pub struct Scope {
    pub vars: Jinja,
    /// The task that has just ended, or is about to start.
    pub task: Option<CurrentTask>,
    pub item: Option<Jinja>,
    /// The last status of every task as `task_status()` sees it.
    pub statuses: Arc<BTreeMap<String, String>>,
    pub store: Arc<dyn Datastore>,
}

/// What `succeeded()`, `failed()`, `completed()` and `result()` speak of.
#[derive(Clone)]
pub struct CurrentTask {
    pub status: String,
    pub result: Jinja,
}

impl Scope {
    /// The same scope within one item of `with`.
    pub fn with_item(&self, item: &Value) -> Scope {
        Scope {
            item: Some(jinja::from_json(item)),
            ..self.clone()
        }
    }

    /// Replaces every expression within `value`, names of entries included.
    pub fn evaluate(&self, value: &Value) -> Result<Value, String> {
        if !has_expression(value) {
            return Ok(value.clone());
        }
        evaluate(value, &self.context())
    }

    /// Evaluates a condition: true when Python would call the value true.
    pub fn is_true(&self, condition: &str) -> Result<bool, String> {
        Ok(match self.evaluate(&Value::from(condition))? {
            Value::Null => false,
            Value::Bool(value) => value,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(entries) => !entries.is_empty(),
        })
    }

    fn context(&self) -> Jinja {
        let vars = self.vars.clone();
        let ctx = move |key: Option<String>| match key {
            None => Ok(vars.clone()),
            Some(key) => match vars.get_attr(&key) {
                Ok(value) if !value.is_undefined() => Ok(value),
                _ => Err(raise(format!(
                    "VariableUndefinedError: The variable \"{key}\" is undefined."
                ))),
            },
        };
        let item = self.item.clone();
        let item = move |key: Option<String>| {
            let item = item.clone().ok_or_else(|| raise("KeyError: '__current_item'"))?;
            let Some(key) = key else { return Ok(item) };
            if item.kind() != minijinja::value::ValueKind::Map {
                return Err(raise(
                    "ExpressionEvaluationException: Item is not type of collections.abc.Mapping.",
                ));
            }
            let value = item.get_attr(&key)?;
            if value.is_undefined() {
                return Err(raise(format!(
                    "ExpressionEvaluationException: Item does not have key \"{key}\"."
                )));
            }
            Ok(value)
        };
        let task = self.task.clone();
        let status_is = move |wanted: &'static [&'static str]| {
            let task = task.clone();
            Jinja::from_function(move || {
                let task = task.as_ref().ok_or_else(no_task)?;
                Ok::<_, Error>(wanted.contains(&task.status.as_str()))
            })
        };
        let task = self.task.clone();
        let result = move || task.as_ref().map(|task| task.result.clone()).ok_or_else(no_task);
        let statuses = self.statuses.clone();
        let task_status = move |name: String| statuses.get(&name).cloned().unwrap_or_else(|| "null".into());
        let store = self.store.clone();
        let st2kv = move |name: String, options: Kwargs| read_key(&store, &name, options);
        Jinja::from_iter([
            ("ctx", Jinja::from_function(ctx)),
            ("item", Jinja::from_function(item)),
            ("succeeded", status_is(&["succeeded"])),
            ("failed", status_is(&["failed"])),
            (
                "completed",
                status_is(&["succeeded", "failed", "timeout", "abandoned", "canceled"]),
            ),
            ("result", Jinja::from_function(result)),
            ("task_status", Jinja::from_function(task_status)),
            ("st2kv", Jinja::from_function(st2kv)),
            ("json", Jinja::from_function(parse_json)),
            ("zip", Jinja::from_function(zip)),
        ])
    }
}

/// The expression, when `text` is nothing else.
pub fn whole(text: &str) -> Option<&str> {
    let found = INLINE.find(text)?;
    (found.start() == 0 && found.end() == text.len()).then(|| strip(found.as_str()))
}

/// The variables that `text` reads by `ctx().x`, `ctx('x')` or `ctx("x")`.
pub fn variables(text: &str) -> Vec<String> {
    static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"\bctx\(\)\.([a-zA-Z0-9_-]+)(\(?)|\bctx\(\s*['"]([a-zA-Z0-9_-]+)['"]\s*\)"#)
            .expect("a constant pattern")
    });
    let mut names = Vec::new();
    for expression in INLINE.find_iter(text) {
        for found in VARIABLE.captures_iter(expression.as_str()) {
            // `ctx().get('x')` calls a method of the whole context and names no variable.
            let is_call = found.get(2).is_some_and(|bracket| !bracket.as_str().is_empty());
            let name = found.get(1).filter(|_| !is_call).or_else(|| found.get(3));
            names.extend(name.map(|name| name.as_str().to_string()));
        }
    }
    names
}

/// Why `text` can never be evaluated.
pub fn check(text: &str) -> Result<(), String> {
    if text.contains("<%") {
        return Err("YAQL (`<% %>`) is not supported; write the expression in Jinja (`{{ }}`)".into());
    }
    if text.contains("{% raw %}") {
        return Err("raw blocks are not supported".into());
    }
    if text.contains("{{") && INLINE.find(text).is_none() {
        return Err("an expression that starts with `{{` must end with `}}` on the same line".into());
    }
    let is_block = BLOCK.is_match(text);
    if is_block {
        jinja::check(text, false).map_err(|message| format!("bad expression: {message}"))?;
    }
    for expression in INLINE.find_iter(text) {
        let inner = strip(expression.as_str());
        jinja::check(inner, true)
            .map_err(|message| format!("bad expression `{}`: {message}", expression.as_str()))?;
        static CALL: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r#"'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\|\s*\w+|\bis\s+(?:not\s+)?\w+|(^|[^.\w])([A-Za-z_]\w*)\s*\(\s*([A-Za-z_]\w*\s*\))?"#)
                .expect("a constant pattern")
        });
        for call in CALL.captures_iter(inner) {
            let Some(name) = call.get(2).map(|name| name.as_str()) else {
                continue;
            };
            if !FUNCTIONS.contains(&name) {
                return Err(format!("the function `{name}()` is not supported"));
            }
            if let (Some(argument), "ctx" | "item") = (call.get(3), name) {
                let argument = argument.as_str().trim_end_matches(')').trim();
                return Err(format!(
                    "`{name}({argument})` is YAQL; Jinja wants `{name}('{argument}')`"
                ));
            }
        }
    }
    Ok(())
}

/// Functions of Orquesta and StackStorm, those of Jinja, and words that may stand before a bracket.
const FUNCTIONS: [&str; 20] = [
    "ctx",
    "item",
    "succeeded",
    "failed",
    "completed",
    "result",
    "task_status",
    "st2kv",
    "json",
    "zip",
    "range",
    "dict",
    "namespace",
    "in",
    "and",
    "or",
    "not",
    "is",
    "if",
    "else",
];

static INLINE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{\{.*?\}\}").expect("a constant pattern"));
static BLOCK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{%.*?%\}").expect("a constant pattern"));

fn strip(expression: &str) -> &str {
    expression.trim_start_matches("{{").trim_end_matches("}}").trim()
}

fn has_expression(value: &Value) -> bool {
    match value {
        Value::String(text) => jinja::is_template(text),
        Value::Array(items) => items.iter().any(has_expression),
        Value::Object(entries) => entries
            .iter()
            .any(|(name, item)| jinja::is_template(name) || has_expression(item)),
        _ => false,
    }
}

fn evaluate(value: &Value, context: &Jinja) -> Result<Value, String> {
    match value {
        Value::String(text) => {
            let output = expand(text, context)?;
            let unresolved: Vec<&str> = match &output {
                Value::String(text) => INLINE
                    .find_iter(text)
                    .map(|found| strip(found.as_str()))
                    .collect(),
                _ => Vec::new(),
            };
            if unresolved.is_empty() {
                Ok(output)
            } else {
                Err(format!(
                    "JinjaEvaluationException: There are unresolved variables: {}",
                    unresolved.join(", ")
                ))
            }
        }
        Value::Array(items) => items.iter().map(|item| evaluate(item, context)).collect(),
        Value::Object(entries) => {
            let mut rendered = Object::new();
            for (name, item) in entries {
                let name = to_text(&evaluate(&Value::from(name.as_str()), context)?);
                rendered.insert(name, evaluate(item, context)?);
            }
            Ok(Value::Object(rendered))
        }
        other => Ok(other.clone()),
    }
}

/// As in Orquesta, what an expression yields is expanded again while it is a text.
fn expand(text: &str, context: &Jinja) -> Result<Value, String> {
    let failed = |expression: &str, message: String| {
        format!("JinjaEvaluationException: Unable to evaluate expression '{expression}'. {message}")
    };
    if BLOCK.is_match(text) {
        let rendered = jinja::render(text, context).map_err(|message| failed(text, message))?;
        return if BLOCK.is_match(&rendered) {
            Ok(Value::String(rendered))
        } else {
            expand(&rendered, context)
        };
    }
    let mut output = text.to_string();
    let expressions: Vec<&str> = INLINE.find_iter(text).map(|found| found.as_str()).collect();
    for expression in &expressions {
        let value =
            jinja::evaluate(strip(expression), context).map_err(|message| failed(expression, message))?;
        let value = match value {
            None => continue,
            Some(Value::String(inner)) if jinja::is_template(&inner) && inner != *expression => {
                expand(&inner, context)?
            }
            Some(value) => value,
        };
        if expressions.len() == 1 && output.len() == expression.len() {
            return Ok(value);
        }
        output = output.replace(expression, &to_text(&value));
    }
    Ok(Value::String(output))
}

fn raise(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

fn no_task() -> Error {
    raise("ExpressionEvaluationException: The current task is not set in the context.")
}

fn read_key(store: &Arc<dyn Datastore>, name: &str, options: Kwargs) -> Result<Jinja, Error> {
    let decrypt = options.get::<Option<bool>>("decrypt")?.unwrap_or(false);
    let default = options.get::<Option<Jinja>>("default")?;
    options.assert_all_used()?;
    let key = name
        .strip_prefix("system.")
        .ok_or_else(|| raise(format!("the key `{name}` must start with `system.`")))?;
    match (store.get("system", key).map_err(raise)?, default) {
        (Some(value), _) if decrypt => Ok(Jinja::from(store.decrypt(&value).map_err(raise)?)),
        (Some(value), _) => Ok(Jinja::from(value)),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(raise(format!(
            "The key \"{key}\" does not exist in the StackStorm datastore."
        ))),
    }
}

fn parse_json(value: Jinja) -> Result<Jinja, Error> {
    match value.as_str() {
        Some(text) => {
            let parsed: Value =
                serde_json::from_str(text).map_err(|error| raise(format!("JSONDecodeError: {error}")))?;
            Ok(jinja::from_json(&parsed))
        }
        None if value.kind() == minijinja::value::ValueKind::Map => Ok(value),
        None => Err(raise("TypeError: Given object is not typeof string.")),
    }
}

fn zip(left: Vec<Jinja>, right: Vec<Jinja>) -> Jinja {
    let length = left.len().max(right.len());
    let at = |list: &[Jinja], position: usize| list.get(position).cloned().unwrap_or(Jinja::from(()));
    Jinja::from_iter((0..length).map(|position| Jinja::from(vec![at(&left, position), at(&right, position)])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jinja::tests::keys;
    use serde_json::json;

    fn scope() -> Scope {
        Scope {
            vars: jinja::from_json(
                &json!({"x": [1, 2], "host": "pod1", "none": null, "indirect": "{{ ctx().host }}"}),
            ),
            task: Some(CurrentTask {
                status: "failed".into(),
                result: jinja::from_json(&json!({"stdout": {"a": 1}})),
            }),
            item: Some(jinja::from_json(&json!({"host": "h"}))),
            statuses: Arc::new(BTreeMap::from([("one".to_string(), "succeeded".to_string())])),
            store: keys(&[("system.k", "[v]")]),
        }
    }

    #[test]
    fn a_whole_expression_keeps_its_type() {
        let cases = [
            (json!("{{ ctx().x }}"), json!([1, 2])),
            (json!("{{ ctx('none') }}"), json!(null)),
            (json!("{{ ctx().x }}-{{ ctx().host }}"), json!("[1, 2]-pod1")),
            (json!(" {{ ctx().x }}"), json!(" [1, 2]")),
            (
                json!({"{{ ctx().host }}": ["{{ result().stdout.a }}", 5]}),
                json!({"pod1": [1, 5]}),
            ),
            (
                json!("{{ failed() and not succeeded() and completed() }}"),
                json!(true),
            ),
            (json!("{{ item('host') }}{{ item().host }}"), json!("hh")),
            (json!("{{ ctx().indirect }}"), json!("pod1")),
            (
                json!("{{ task_status('one') }} {{ task_status('two') }}"),
                json!("succeeded null"),
            ),
            (
                json!("{{ st2kv('system.k') }} {{ st2kv('system.k', decrypt=true) }}"),
                json!("[v] v"),
            ),
            (json!("{{ st2kv('system.z', default='d') }}"), json!("d")),
            (json!("{{ ctx().get('nosuch', 4) }}"), json!(4)),
            (json!("{% for x in ctx().x %}{{ x }},{% endfor %}"), json!("1,2,")),
            (json!("{{ zip(ctx().x, ['a']) }}"), json!([[1, "a"], [2, null]])),
            (json!("plain }} text"), json!("plain }} text")),
        ];
        for (value, expected) in cases {
            assert_eq!(scope().evaluate(&value), Ok(expected), "{value}");
        }
    }

    #[test]
    fn errors_use_the_words_of_orquesta() {
        let cases = [
            (
                "{{ ctx('y') }}",
                "JinjaEvaluationException: Unable to evaluate expression '{{ ctx('y') }}'. \
                 VariableUndefinedError: The variable \"y\" is undefined.",
            ),
            (
                "{{ ctx().y }}",
                "JinjaEvaluationException: There are unresolved variables: ctx().y",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(scope().evaluate(&json!(text)), Err(message.to_string()));
        }
        assert!(scope().evaluate(&json!("{{ ctx().y.z }}")).is_err());
        assert!(scope().evaluate(&json!("{{ st2kv('system.z') }}")).is_err());
    }

    #[test]
    fn what_can_never_work_is_found_early() {
        for good in [
            "",
            "plain",
            "{{ ctx().x }}",
            "{{ ctx('x') | selectattr('a') | list }}",
            "{{ 'f(x)' }}",
            "{{ x.split(',') }}",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let cases = [
            (
                "<% ctx(x) %>",
                "YAQL (`<% %>`) is not supported; write the expression in Jinja (`{{ }}`)",
            ),
            (
                "{{ item(host) }}",
                "`item(host)` is YAQL; Jinja wants `item('host')`",
            ),
            ("{{ nosuch('x') }}", "the function `nosuch()` is not supported"),
        ];
        for (bad, message) in cases {
            assert_eq!(check(bad), Err(message.to_string()));
        }
        assert!(check("{{ ctx( }}").is_err());
        assert!(check("{{ ctx().x").is_err());
        assert!(check("{{ ctx().x | version_match('1') }}").is_err());
    }

    #[test]
    fn variables_are_found() {
        assert_eq!(
            variables("{{ ctx().a.b }}{{ ctx('c') }} ctx().d {{ ctx().get('e') }}"),
            ["a", "c"]
        );
        assert_eq!(whole("{{ a }}"), Some("a"));
        assert_eq!(whole("x {{ a }}"), None);
    }
}
