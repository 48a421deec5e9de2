use std::collections::HashMap;

use super::*;
use serde_json::json;

/// A datastore in memory whose ciphertext is the plain text in brackets.
pub struct Keys(pub HashMap<String, String>);

impl Datastore for Keys {
    fn get(&self, scope: &str, name: &str) -> Result<Option<String>, String> {
        Ok(self.0.get(&format!("{scope}.{name}")).cloned())
    }

    fn decrypt(&self, cipher: &str) -> Result<String, String> {
        let inner = cipher.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        inner
            .map(str::to_string)
            .ok_or_else(|| "this is not encrypted".to_string())
    }
}

pub fn keys(entries: &[(&str, &str)]) -> Arc<dyn Datastore> {
    Arc::new(Keys(
        entries
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
    ))
}

fn context(values: Value) -> Jinja {
    let store = keys(&[
        ("system.plain", "text"),
        ("system.a.b", "dotted"),
        ("system.secret", "[hunter2]"),
    ]);
    let mut entries: Vec<(String, Jinja)> = values
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), from_json(value)))
        .collect();
    entries.push(("st2kv".into(), key_lookup(&store, "me")));
    entries.push((DATASTORE.into(), datastore_value(&store)));
    Jinja::from_iter(entries)
}

#[test]
fn templates_render_as_in_stackstorm() {
    let context = context(json!({
        "flag": true, "none": null, "list": ["a", 1], "map": {"k": "v \"q\""}, "text": "x", "n": 1.0,
    }));
    let cases = [
        (
            "{{ flag }} {{ none }} {{ list }} {{ map }} {{ n }}",
            "True None ['a', 1] {'k': 'v \"q\"'} 1.0",
        ),
        ("{{ map | to_json_string }}", r#"{"k": "v \"q\""}"#),
        (
            "{{ map | to_json_string | json_escape }}",
            r#"{\"k\": \"v \\\"q\\\"\"}"#,
        ),
        (
            "{{ text | json_escape }}{{ none | to_json_string | json_escape }}",
            "xnull",
        ),
        ("{{ map.k.upper() }}{{ map.get('z', 'd') }}", "V \"Q\"d"),
        ("{{ '<' | tojson }}", "\"\\u003c\""),
        ("{{ '[1]' | from_json_string | length }}", "1"),
        ("{{ missing | default('d') }}{{ map.z | default('e') }}", "de"),
        (
            "{{ st2kv.system.plain }}{{ st2kv.system.a.b }}{{ st2kv.system.nosuch }}",
            "textdotted",
        ),
        (
            "{{ st2kv.system.secret }}{{ st2kv.system.secret | decrypt_kv }}",
            "[hunter2]hunter2",
        ),
        ("{{ 'a1' | regex_replace('([a-z])(\\\\d)', '\\\\2\\\\1') }}", "1a"),
        ("{% for x in list %}{{ x }}{% endfor %}", "a1"),
    ];
    for (template, expected) in cases {
        assert_eq!(render(template, &context).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn what_is_missing_is_an_error() {
    let context = context(json!({"map": {}}));
    for template in [
        "{{ map.nosuch }}",
        "{{ nosuch }}",
        "{{ map.a.b }}",
        "{{ map.a | to_json_string }}",
    ] {
        assert!(
            render(template, &context).unwrap_err().contains("undefined"),
            "{template}"
        );
    }
    let missing = render("{{ st2kv.system.nosuch | decrypt_kv }}", &context).unwrap_err();
    assert!(
        missing.contains("\"st2kv.system.nosuch\" doesn't exist"),
        "{missing}"
    );
    assert!(render("{{ st2kv.system.plain | decrypt_kv }}", &context).is_err());
}

#[test]
fn expressions_keep_their_type() {
    let context = context(json!({"list": [{"n": "a", "ok": true}, {"n": "b", "ok": false}]}));
    let cases = [
        (
            "list | selectattr('ok') | map(attribute='n') | list",
            json!(["a"]),
        ),
        ("list | length", json!(2)),
        ("{'a': list[0].n, 'b': none}", json!({"a": "a", "b": null})),
        ("list[0].ok and 'yes'", json!("yes")),
        ("1 == 1", json!(true)),
    ];
    for (expression, expected) in cases {
        assert_eq!(evaluate(expression, &context), Ok(Some(expected)), "{expression}");
    }
    assert_eq!(evaluate("list[0].nosuch", &context), Ok(None));
}

#[test]
fn what_can_never_work_is_found_early() {
    assert_eq!(check("{{ x | to_json_string | json_escape }}", false), Ok(()));
    assert_eq!(check("{{ 'a | nosuch' }}", false), Ok(()));
    assert_eq!(
        check("x | version_compare('1')", true),
        Err("the filter `version_compare` is not supported".into())
    );
    assert!(check("{{ x", false).is_err());
    assert!(check("x +", true).is_err());
}

#[test]
fn variables_are_what_the_context_must_have() {
    assert_eq!(
        variables("{{ a.b | default(c) }}").unwrap(),
        HashSet::from(["a".to_string(), "c".to_string()])
    );
    assert!(variables("{{ a").is_err());
}

#[test]
fn a_chat_is_told_which_task_has_failed() {
    let failed = json!({"failed": ["hardware of pod1: fog: away", "network of pod1: fog: away"]});
    let aliases = [
        include_str!("../../../../aliases/job.yaml"),
        include_str!("../../../../aliases/release.yaml"),
    ];
    for alias in aliases {
        let alias: Value = serde_yaml::from_str(alias).unwrap();
        let format = alias["result"]["format"].as_str().unwrap();
        for (status, result, expected) in [
            ("succeeded", json!({"output": {"failed": []}}), "job 7: succeeded"),
            (
                "failed",
                json!({"output": failed, "errors": []}),
                "job 7: failed\nhardware of pod1: fog: away\nnetwork of pod1: fog: away",
            ),
            ("failed", json!({"output": null}), "job 7: failed"),
            (
                "canceled",
                json!({"message": "Action canceled by user."}),
                "job 7: canceled",
            ),
        ] {
            let execution = json!({"parameters": {"job_id": 7}, "status": status, "result": result});
            let said = render(format, &context(json!({"execution": execution}))).unwrap();
            assert!(said.ends_with(expected), "{said}");
        }
    }
}
