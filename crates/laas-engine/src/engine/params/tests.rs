use super::*;
use crate::jinja::tests::keys;
use serde_json::json;

fn action(parameters: Value) -> Action {
    let yaml = json!({"name": "a", "runner_type": "local-shell-script", "parameters": parameters});
    crate::pack::tests::action("lab", yaml)
}

fn context() -> Context {
    Context {
        config: json!({"fog": {"key": "s3\"cret", "n": 5}}),
        action_context: json!({"user": "me", "pack": "lab"}).as_object().unwrap().clone(),
        more: Object::new(),
        store: keys(&[("system.plain", "text"), ("system.secret", "[hunter2]")]),
    }
}

fn object(value: Value) -> Object {
    value.as_object().unwrap().clone()
}

#[test]
fn what_is_given_is_rendered_cast_and_kept_in_its_order() {
    let action = action(json!({
        "host": {"type": "string", "required": true},
        "command": {"type": "string", "default": "status"},
        "count": {"type": "integer"},
        "list": {"type": "array"},
        "copy": {"type": "array", "default": "{{ list }}"},
    }));
    let given =
        object(json!({"count": "{{ 1 + 2 }}", "list": ["{{ st2kv.system.plain }}", "b"], "host": "h"}));
    let live = accept(&action, &given, &context()).unwrap();
    let expected = json!({"count": 3, "list": ["text", "b"], "host": "h", "copy": ["text", "b"]});
    assert_eq!(
        serde_json::to_string(&live.parameters).unwrap(),
        expected.to_string()
    );
    let done = complete(&action, &live, &context()).unwrap();
    let expected =
        json!({"count": 3, "list": ["text", "b"], "host": "h", "copy": ["text", "b"], "command": "status"});
    assert_eq!(serde_json::to_string(&done.action).unwrap(), expected.to_string());
    assert_eq!(done.runner["timeout"], 60);
}

#[test]
fn secrets_are_rendered_late_and_kept_nowhere() {
    let action = action(json!({
        "key": {"type": "string"},
        "other": {"type": "string", "default": "{{ key }}!"},
        "env": {"type": "object", "immutable": true, "default": {
            "CONFIG": "{{ config_context | to_json_string | json_escape }}",
            "KEY": "{{ st2kv.system.secret | decrypt_kv | json_escape }}",
        }},
    }));
    for given in [
        "{{ config_context.fog.key }}",
        "{{ st2kv.system.secret | decrypt_kv }}",
    ] {
        let live = accept(&action, &object(json!({"key": given})), &context()).unwrap();
        assert_eq!(Value::Object(live.parameters.clone()), json!({"key": given}));
        let done = complete(&action, &live, &context()).unwrap();
        let secret = if given.contains("config") {
            "s3\"cret"
        } else {
            "hunter2"
        };
        assert_eq!(
            Value::Object(done.action),
            json!({"key": secret, "other": format!("{secret}!")})
        );
        let config: Value = serde_json::from_str(done.runner["env"]["CONFIG"].as_str().unwrap()).unwrap();
        assert_eq!(config, context().config);
        assert_eq!(done.runner["env"]["KEY"], "hunter2");
    }
}

#[test]
fn bad_parameters_are_refused_in_stackstorms_words() {
    let action = action(json!({
        "host": {"type": "string", "required": true},
        "command": {"type": "string", "enum": ["status", "on", "off"], "default": "status"},
        "count": {"type": "integer"},
        "fixed": {"type": "string", "immutable": true, "default": "x"},
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
            json!({"host": "a", "count": "abc"}),
            "invalid literal for int() with base 10: 'abc'",
        ),
        (
            json!({"host": "a", "fixed": "y"}),
            "Override of immutable parameter(s) ['fixed'] is unsupported.",
        ),
        (
            json!({"host": "{{ nosuch }}"}),
            "Dependency unsatisfied in variable \"nosuch\"",
        ),
        (
            json!({"host": 5}),
            "Value \"5\" must either be a string or None. Got \"int\".",
        ),
        (
            json!({"host": "{{ host }}"}),
            "Cyclic dependency found in the following variables: host. Likely the variable is referencing itself",
        ),
    ];
    for (given, message) in cases {
        assert_eq!(
            accept(&action, &object(given.clone()), &context()),
            Err(message.to_string()),
            "{given}"
        );
    }
    let missing = accept(
        &action,
        &object(json!({"host": "{{ config_context.nosuch }}"})),
        &context(),
    )
    .unwrap_err();
    assert!(
        missing.starts_with("Failed to render parameter \"host\": UndefinedError"),
        "{missing}"
    );
}
