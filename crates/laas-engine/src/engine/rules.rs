//! Whether a trigger instance meets a rule's criteria.

use serde_json::Value;

use crate::model::Object;
use crate::python::to_text;

/// Why a criterion can never be checked.
pub fn check_criterion(key: &str, criterion: &Value) -> Result<(), String> {
    if !key.starts_with("trigger.") {
        return Err(format!("the criterion `{key}` must begin with `trigger.`"));
    }
    let kind = criterion["type"].as_str().unwrap_or_default();
    if !OPERATORS.contains(&kind) {
        return Err(format!(
            "the criterion `{key}` has the type `{kind}`, which is not supported; there is {}",
            OPERATORS.join(", ")
        ));
    }
    let pattern = &criterion["pattern"];
    if pattern.as_str().is_some_and(crate::jinja::is_template) {
        return Err(format!(
            "the pattern of the criterion `{key}` is a template, which is not supported"
        ));
    }
    if matches!(kind, "matchregex" | "regex") && regex::Regex::new(&to_text(pattern)).is_err() {
        return Err(format!(
            "the pattern of the criterion `{key}` is no regular expression"
        ));
    }
    Ok(())
}

/// Whether every criterion holds.
pub fn meets(criteria: &Object, payload: &Value) -> bool {
    criteria.iter().all(|(key, criterion)| {
        let mut path = key.strip_prefix("trigger.").unwrap_or(key).split('.');
        let value = path
            .try_fold(payload, |value, part| value.get(part))
            .filter(|value| !value.is_null());
        holds(
            criterion["type"].as_str().unwrap_or_default(),
            value,
            &criterion["pattern"],
        )
    })
}

const OPERATORS: [&str; 18] = [
    "equals",
    "eq",
    "nequals",
    "neq",
    "iequals",
    "contains",
    "icontains",
    "ncontains",
    "startswith",
    "endswith",
    "matchregex",
    "regex",
    "exists",
    "nexists",
    "greaterthan",
    "lessthan",
    "inside",
    "ninside",
];

fn holds(kind: &str, value: Option<&Value>, pattern: &Value) -> bool {
    let Some(value) = value else {
        return kind == "nexists";
    };
    let (text, wanted) = (to_text(value), to_text(pattern));
    let contains = |list: &Value, item: &Value| match list {
        Value::Array(items) => items.contains(item),
        other => to_text(other).contains(&to_text(item)),
    };
    let matches = || regex::Regex::new(&wanted).is_ok_and(|regex| regex.is_match(&text));
    match kind {
        "equals" | "eq" => value == pattern || text == wanted,
        "nequals" | "neq" => value != pattern && text != wanted,
        "iequals" => text.to_lowercase() == wanted.to_lowercase(),
        "contains" => contains(value, pattern),
        "ncontains" => !contains(value, pattern),
        "icontains" => text.to_lowercase().contains(&wanted.to_lowercase()),
        "startswith" => text.starts_with(&wanted),
        "endswith" => text.ends_with(&wanted),
        "matchregex" | "regex" => matches(),
        "exists" => true,
        "greaterthan" => value.as_f64() > pattern.as_f64(),
        "lessthan" => value.as_f64() < pattern.as_f64(),
        "inside" => contains(pattern, value),
        "ninside" => !contains(pattern, value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn criteria_decide() {
        let payload = json!({"id": 7, "job": {"name": "Pod1", "tags": ["a", "b"]}, "none": null});
        let cases = [
            ("trigger.id", "equals", json!(7), true),
            ("trigger.id", "greaterthan", json!(7), false),
            ("trigger.job.name", "iequals", json!("pod1"), true),
            ("trigger.job.name", "matchregex", json!("^Pod\\d$"), true),
            ("trigger.job.tags", "contains", json!("b"), true),
            ("trigger.job.tags", "ncontains", json!("b"), false),
            ("trigger.id", "inside", json!([1, 7]), true),
            ("trigger.nosuch", "exists", json!(null), false),
            ("trigger.none", "nexists", json!(null), true),
            ("trigger.nosuch", "equals", json!("x"), false),
        ];
        for (key, kind, pattern, expected) in cases {
            let criterion = json!({"type": kind, "pattern": pattern});
            assert_eq!(check_criterion(key, &criterion), Ok(()));
            let criteria = Object::from_iter([(key.to_string(), criterion)]);
            assert_eq!(meets(&criteria, &payload), expected, "{key} {kind}");
        }
        assert!(check_criterion("trigger.id", &json!({"type": "timediff_lt"})).is_err());
        assert!(check_criterion("id", &json!({"type": "equals"})).is_err());
    }
}
