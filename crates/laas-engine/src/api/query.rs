//! What all requests share: JSON bodies, lists with limit and offset, the choice of attributes.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Query, Request};
use axum::response::{IntoResponse, Response};
use laas_engine::model::Object;
use laas_engine::store::Range;
use serde_json::{Map, Value};

use super::ApiError;

/// The query of a request; of a name that comes twice the last counts.
pub type Params = Query<BTreeMap<String, String>>;

/// A JSON object as the body of a request.
pub struct Body(pub Object);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let failed = |why: String| ApiError::bad_request(format!("Failed to parse request body: {why}"));
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|error| failed(error.body_text()))?;
        serde_json::from_slice(&bytes)
            .map(Body)
            .map_err(|error| failed(error.to_string()))
    }
}

impl Body {
    /// The text of that name; `None` when absent or null.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(other, "string")),
        }
    }

    /// Like [`Body::text`], and absence is refused as well.
    pub fn required_text(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name)?
            .ok_or_else(|| ApiError::bad_request(format!("'{name}' is a required property")))
    }

    /// The object of that name, empty when absent or null.
    pub fn object(&self, name: &str) -> Result<Object, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(other) => Err(wrong_type(other, "object")),
        }
    }

    /// The list of texts of that name, empty when absent or null.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, ApiError> {
        let items = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(wrong_type(other, "array")),
        };
        let text = |item: &Value| {
            item.as_str()
                .map(str::to_string)
                .ok_or_else(|| wrong_type(item, "string"))
        };
        items.iter().map(text).collect()
    }

    /// The flag of that name, false when absent or null.
    pub fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(wrong_type(other, "boolean")),
        }
    }
}

/// The words of Python's `jsonschema`.
pub fn wrong_type(value: &Value, wanted: &str) -> ApiError {
    ApiError::bad_request(format!(
        "{} is not of type '{wanted}'",
        laas_engine::python::repr(value)
    ))
}

/// Which attributes of an object to send.
#[derive(Debug, Default)]
pub struct View {
    include: Option<Vec<String>>,
    exclude: Vec<String>,
}

impl View {
    /// As the query's `include_attributes` and `exclude_attributes` say.
    pub fn of(params: &Params) -> View {
        let names = |list: &String| {
            list.split(',')
                .map(|name| name.trim().to_string())
                .collect::<Vec<_>>()
        };
        View {
            include: params.get("include_attributes").map(names),
            exclude: params.get("exclude_attributes").map(names).unwrap_or_default(),
        }
    }

    /// `value` without what was not asked for. A dotted name asks for the whole of its first part, as StackStorm
    /// answers, but for `action.…`, of which it adds to the named ones those that its database cannot leave out.
    pub fn apply(&self, value: Value) -> Value {
        let Value::Object(mut object) = value else {
            return value;
        };
        object.retain(|name, _| !self.exclude.contains(name));
        let Some(include) = &self.include else {
            return Value::Object(object);
        };
        const ALWAYS_IN_ACTION: [&str; 5] = ["uid", "ref", "pack", "parameters", "output_schema"];
        let asked = |name: &str, prefix: &str| include.iter().any(|i| i.strip_prefix(prefix) == Some(name));
        if !asked("action", "")
            && let Some(Value::Object(action)) = object.get_mut("action")
        {
            action.retain(|name, _| ALWAYS_IN_ACTION.contains(&name.as_str()) || asked(name, "action."));
        }
        let first_part = |name: &String| name.split('.').next().unwrap_or_default().to_string();
        let wanted: Vec<String> = include.iter().map(first_part).collect();
        object.retain(|name, _| name == "id" || wanted.contains(name));
        Value::Object(object)
    }
}

/// Which part of a list to send.
#[derive(Debug)]
pub struct Listing {
    pub range: Range,
    view: View,
}

/// StackStorm's `api.max_page_size`.
const DEFAULT_LIMIT: usize = 100;

impl Listing {
    /// As the query says; -1 as the limit means everything.
    pub fn of(params: &Params) -> Result<Listing, ApiError> {
        let number = |name: &str, default: i64| match params.get(name) {
            Some(text) => text.parse().map_err(|_| {
                ApiError::bad_request(format!(
                    "Parameter \"{name}\" must be a number, but is \"{text}\""
                ))
            }),
            None => Ok(default),
        };
        let limit = match number("limit", DEFAULT_LIMIT as i64)? {
            -1 => usize::MAX,
            limit if limit > 0 => limit as usize,
            limit => {
                let fault = format!("Limit, \"{limit}\" specified, must be a positive number.");
                return Err(ApiError::bad_request(fault));
            }
        };
        let offset = usize::try_from(number("offset", 0)?).unwrap_or(0);
        Ok(Listing {
            range: Range { limit, offset },
            view: View::of(params),
        })
    }

    /// Answers with what is already the asked part of a list of `total` items.
    pub fn answer(&self, part: impl IntoIterator<Item = Value>, total: usize) -> Response {
        let items: Vec<Value> = part.into_iter().map(|item| self.view.apply(item)).collect();
        let limit = i64::try_from(self.range.limit).unwrap_or(-1);
        let headers = [
            ("x-total-count", total.to_string()),
            ("x-limit", limit.to_string()),
        ];
        (headers, Json(items)).into_response()
    }

    /// Answers with the asked part of `all`.
    pub fn answer_part_of(&self, all: Vec<Value>) -> Response {
        let total = all.len();
        self.answer(
            all.into_iter().skip(self.range.offset).take(self.range.limit),
            total,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn params(query: &str) -> Params {
        Query::try_from_uri(&format!("http://x/?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn a_view_keeps_what_was_asked_for() {
        let action =
            json!({"uid": "u", "name": "n", "ref": "r", "pack": "p", "parameters": {}, "output_schema": {}});
        let whole = json!({"action": action, "status": "running", "context": {"user": "x"}, "id": "1"});
        let cases = [
            ("", json!(["action", "status", "context", "id"])),
            ("include_attributes=status", json!(["status", "id"])),
            ("include_attributes=context.user", json!(["context", "id"])),
            ("include_attributes=action", json!(["action", "id"])),
            ("exclude_attributes=action,context", json!(["status", "id"])),
        ];
        for (query, expected) in cases {
            let seen = View::of(&params(query)).apply(whole.clone());
            let names: Vec<_> = seen.as_object().unwrap().keys().cloned().collect();
            assert_eq!(json!(names), expected, "{query}");
        }
        let seen = View::of(&params("include_attributes=action.ref")).apply(whole.clone());
        assert_eq!(seen["action"].get("name"), None);
        assert_eq!(seen["action"]["uid"], "u");
        let seen = View::of(&params("include_attributes=action.name")).apply(whole);
        assert_eq!(seen["action"]["name"], "n");
    }

    #[test]
    fn limits_are_checked() {
        let good = [
            ("", 100, 0),
            ("limit=5&offset=2", 5, 2),
            ("limit=-1", usize::MAX, 0),
            ("offset=-3", 100, 0),
        ];
        for (query, limit, offset) in good {
            let range = Listing::of(&params(query)).unwrap().range;
            assert_eq!((range.limit, range.offset), (limit, offset), "{query}");
        }
        for query in ["limit=0", "limit=-2", "limit=x", "offset=y"] {
            assert!(Listing::of(&params(query)).is_err(), "{query}");
        }
    }
}
