//! Jinja as StackStorm has it: strict about what is undefined, its own filters, and texts written as Python writes them.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use minijinja::value::{Object as JinjaObject, ObjectRepr};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, Value as Jinja};
use serde_json::Value;

use crate::pack::yaml;
use crate::python::{JsonStyle, json_dumps, to_text};

/// The keys and their decryption, as templates see them.
pub trait Datastore: Send + Sync {
    /// The value as kept: ciphertext when it is secret. `None` when there is no such key.
    fn get(&self, scope: &str, name: &str) -> Result<Option<String>, String>;
    /// The plain text of a secret value.
    fn decrypt(&self, cipher: &str) -> Result<String, String>;
}

/// The name under which templates carry the datastore for `decrypt_kv`; no template can spell it.
pub const DATASTORE: &str = "st2 datastore";

/// Wraps the datastore for [`DATASTORE`].
pub fn datastore_value(store: &Arc<dyn Datastore>) -> Jinja {
    Jinja::from_object(DatastoreObject(store.clone()))
}

/// `st2kv` in parameters and configuration: `st2kv.system.name`, `st2kv.user.name`. A missing key is an empty text.
pub fn key_lookup(store: &Arc<dyn Datastore>, user: &str) -> Jinja {
    let lookup = |scope: &str| {
        Jinja::from_object(KeyLookup {
            store: store.clone(),
            scope: scope.to_string(),
            name: String::new(),
        })
    };
    let user_scope = format!("user:{user}");
    Jinja::from_iter([("system", lookup("system")), ("user", lookup(&user_scope))])
}

/// Whether StackStorm takes the text for a template.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// The names a template asks its context for; `Err` when it is no template after all.
pub fn variables(template: &str) -> Result<HashSet<String>, String> {
    let template = ENVIRONMENT
        .template_from_str(template)
        .map_err(|error| describe(&error))?;
    Ok(template.undeclared_variables(false))
}

/// Renders a whole text.
pub fn render(template: &str, context: &Jinja) -> Result<String, String> {
    ENVIRONMENT
        .render_str(template, context)
        .map_err(|error| describe(&error))
}

/// Evaluates one expression; the result keeps its type. `Ok(None)`: it is undefined.
pub fn evaluate(expression: &str, context: &Jinja) -> Result<Option<Value>, String> {
    let compiled = ENVIRONMENT
        .compile_expression(expression)
        .map_err(|error| describe(&error))?;
    let result = compiled.eval(context).map_err(|error| describe(&error))?;
    if result.is_undefined() {
        return Ok(None);
    }
    to_json(&result).map(Some).map_err(|error| describe(&error))
}

/// Why a template or, with `is_expression`, a single expression can never work: its syntax, or a filter or test that
/// this engine does not have.
pub fn check(text: &str, is_expression: bool) -> Result<(), String> {
    if is_expression {
        ENVIRONMENT
            .compile_expression(text)
            .map(drop)
            .map_err(|error| describe(&error))?;
    } else {
        ENVIRONMENT
            .template_from_str(text)
            .map(drop)
            .map_err(|error| describe(&error))?;
    }
    static FILTER: LazyLock<regex::Regex> = LazyLock::new(|| {
        regex::Regex::new(r#"'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\|\s*([A-Za-z_]\w*)"#)
            .expect("a constant pattern")
    });
    for name in FILTER.captures_iter(text).filter_map(|found| found.get(1)) {
        let known = evaluate("name is filter", &Jinja::from_iter([("name", name.as_str())]));
        if known != Ok(Some(Value::Bool(true))) {
            return Err(format!("the filter `{}` is not supported", name.as_str()));
        }
    }
    Ok(())
}

/// A JSON value as templates see it.
pub fn from_json(value: &Value) -> Jinja {
    Jinja::from_serialize(value)
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_formatter(|out, _state, value| {
        if value.is_undefined() {
            return Err(Error::from(ErrorKind::UndefinedError));
        }
        out.write_str(&text_of(value)?)
            .map_err(|_| Error::new(ErrorKind::WriteFailure, "out of memory"))
    });
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("to_json_string", to_json_string);
    environment.add_filter("to_complex", to_complex);
    environment.add_filter("json_escape", json_escape);
    environment.add_filter("tojson", tojson);
    environment.add_filter("from_json_string", from_json_string);
    environment.add_filter("from_yaml_string", from_yaml_string);
    environment.add_filter("decrypt_kv", decrypt_kv);
    environment.add_filter("use_none", |value: Jinja| {
        if value.is_none() {
            Jinja::from(NONE_IN_TEXT)
        } else {
            value
        }
    });
    environment.add_filter("regex_match", |text: &str, pattern: &str| {
        // As in Python, a match starts at the beginning.
        Ok::<_, Error>(regex(pattern)?.find(text).is_some_and(|found| found.start() == 0))
    });
    environment.add_filter("regex_search", |text: &str, pattern: &str| {
        Ok::<_, Error>(regex(pattern)?.is_match(text))
    });
    environment.add_filter("regex_replace", regex_replace);
    environment.add_filter("regex_substring", regex_substring);
    environment.add_filter("basename", |path: &str| {
        path.rsplit('/').next().unwrap_or_default().to_string()
    });
    environment.add_filter("dirname", |path: &str| {
        path.rsplit_once('/')
            .map_or(
                "",
                |(directory, _)| if directory.is_empty() { "/" } else { directory },
            )
            .to_string()
    });
    environment
});

/// What `use_none` writes for null, so that a cast finds it again. StackStorm's constant of the same purpose.
pub const NONE_IN_TEXT: &str = "%*****__%NONE%__*****%";

struct DatastoreObject(Arc<dyn Datastore>);

impl fmt::Debug for DatastoreObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("datastore")
    }
}

impl JinjaObject for DatastoreObject {}

/// A key, or the beginning of the name of one: `st2kv.system.a.b` is the key `a.b`.
struct KeyLookup {
    store: Arc<dyn Datastore>,
    scope: String,
    name: String,
}

impl fmt::Debug for KeyLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "st2kv.{}.{}", self.scope, self.name)
    }
}

impl JinjaObject for KeyLookup {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        let part = key.as_str()?;
        let name = if self.name.is_empty() {
            part.to_string()
        } else {
            format!("{}.{part}", self.name)
        };
        Some(Jinja::from_object(KeyLookup {
            store: self.store.clone(),
            scope: self.scope.clone(),
            name,
        }))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.store.get(&self.scope, &self.name).map_err(|_| fmt::Error)?;
        f.write_str(&value.unwrap_or_default())
    }
}

fn describe(error: &Error) -> String {
    let what = match error.kind() {
        ErrorKind::UndefinedError => "something is undefined".to_string(),
        kind => error.detail().map_or_else(|| kind.to_string(), str::to_string),
    };
    match error.kind() {
        ErrorKind::UndefinedError => format!("UndefinedError: {what}"),
        _ => what,
    }
}

fn to_json(value: &Jinja) -> Result<Value, Error> {
    if let Some(lookup) = value.downcast_object_ref::<KeyLookup>() {
        let found = lookup.store.get(&lookup.scope, &lookup.name);
        return found
            .map(|text| Value::from(text.unwrap_or_default()))
            .map_err(invalid);
    }
    serde_json::to_value(value).map_err(|error| invalid(error.to_string()))
}

fn text_of(value: &Jinja) -> Result<String, Error> {
    match value.as_str() {
        Some(text) => Ok(text.to_string()),
        None => Ok(to_text(&to_json(value)?)),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

fn defined(value: &Jinja) -> Result<Value, Error> {
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    to_json(value)
}

fn to_json_string(value: Jinja) -> Result<String, Error> {
    Ok(json_dumps(
        &defined(&value)?,
        JsonStyle {
            comma: ",",
            sort_keys: false,
        },
    ))
}

fn to_complex(value: Jinja) -> Result<String, Error> {
    Ok(json_dumps(
        &defined(&value)?,
        JsonStyle {
            comma: ", ",
            sort_keys: false,
        },
    ))
}

/// Like StackStorm's, this strips *every* quote at both ends: a text that ends in a quote comes out broken there too.
fn json_escape(value: Jinja) -> Result<String, Error> {
    Ok(to_complex(value)?.trim_matches('"').to_string())
}

/// Jinja's own filter sorts the keys and keeps HTML out.
fn tojson(value: Jinja) -> Result<String, Error> {
    let text = json_dumps(
        &defined(&value)?,
        JsonStyle {
            comma: ", ",
            sort_keys: true,
        },
    );
    Ok(text
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\'', "\\u0027"))
}

fn from_json_string(value: Jinja) -> Result<Jinja, Error> {
    defined(&value)?;
    let parsed: Value = serde_json::from_str(&text_of(&value)?)
        .map_err(|error| invalid(format!("this is not JSON: {error}")))?;
    Ok(from_json(&parsed))
}

fn from_yaml_string(value: Jinja) -> Result<Jinja, Error> {
    defined(&value)?;
    let parsed = yaml::parse(&text_of(&value)?).map_err(|problem| invalid(problem.message))?;
    Ok(from_json(&parsed.value()))
}

fn decrypt_kv(state: &State<'_, '_>, value: Jinja) -> Result<String, Error> {
    let store = state
        .lookup(DATASTORE)
        .ok_or_else(|| invalid("there is no datastore here"))?;
    let store = store
        .downcast_object::<DatastoreObject>()
        .ok_or_else(|| invalid("there is no datastore here"))?;
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    let cipher = text_of(&value)?;
    if let (true, Some(lookup)) = (cipher.is_empty(), value.downcast_object_ref::<KeyLookup>()) {
        return Err(invalid(format!(
            "Referenced datastore item \"st2kv.{}.{}\" doesn't exist or it contains an empty string",
            lookup.scope, lookup.name
        )));
    }
    store.0.decrypt(&cipher).map_err(invalid)
}

fn regex(pattern: &str) -> Result<regex::Regex, Error> {
    regex::Regex::new(pattern).map_err(|error| invalid(error.to_string()))
}

fn regex_replace(text: &str, pattern: &str, replacement: &str) -> Result<String, Error> {
    // Python writes a group as `\1`.
    static GROUP: LazyLock<regex::Regex> =
        LazyLock::new(|| regex::Regex::new(r"\\(\d+)").expect("a constant pattern"));
    let replacement = replacement.replace('$', "$$");
    let replacement = GROUP.replace_all(&replacement, "$${$1}");
    Ok(regex(pattern)?
        .replace_all(text, replacement.as_ref())
        .into_owned())
}

fn regex_substring(text: &str, pattern: &str, index: Option<usize>) -> Result<String, Error> {
    let regex = regex(pattern)?;
    let found = regex.captures_iter(text).nth(index.unwrap_or(0));
    let group = found
        .as_ref()
        .and_then(|captures| captures.get(1).or_else(|| captures.get(0)));
    group
        .map(|text| text.as_str().to_string())
        .ok_or_else(|| invalid("list index out of range"))
}

#[cfg(test)]
pub mod tests;
