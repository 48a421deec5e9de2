use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::jinja::tests::keys;

/// An action as its metadata would make it, without any file.
pub fn action(pack: &str, metadata: Value) -> Action {
    let text = |name: &str| metadata[name].as_str().unwrap_or_default().to_string();
    Action {
        reference: format!("{pack}.{}", text("name")),
        pack: pack.to_string(),
        name: text("name"),
        enabled: true,
        runner_type: text("runner_type"),
        parameters: metadata["parameters"].as_object().cloned().unwrap_or_default(),
        ..Action::default()
    }
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

const ACTION: &str = "name: act\nrunner_type: local-shell-script\nentry_point: act.sh\nparameters:\n  host: {type: string, required: true}\n  count: {type: integer, default: 1}\n";

fn problems(files: &[(&str, &str)]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        &[
            ("pack/pack.yaml", "name: lab\n"),
            ("pack/actions/act.yaml", ACTION),
        ],
    );
    write(directory.path(), files);
    let found = Packs::load(
        &[directory.path().join("pack")],
        &directory.path().join("configs"),
    )
    .err()
    .unwrap_or_default();
    let root = format!("{}/", directory.path().display());
    found.into_iter().map(|line| line.replace(&root, "")).collect()
}

#[test]
fn what_cannot_run_is_refused_with_file_and_line_all_at_once() {
    let wf = "name: wf\nrunner_type: orquesta\nentry_point: workflows/wf.yaml\n";
    let found = problems(&[
        (
            "pack/actions/py.yaml",
            "name: py\ndescription: x\nrunner_type: python-script\nentry_point: py.py\n",
        ),
        (
            "pack/actions/out.yaml",
            "name: out\nrunner_type: local-shell-script\nentry_point: ../out.sh\n",
        ),
        (
            "pack/actions/sudo.yaml",
            "name: s\nrunner_type: local-shell-script\nentry_point: s.sh\nparameters:\n  sudo: {default: true}\n  env:\n    secret: true\n",
        ),
        ("pack/actions/bad.yaml", "name: [\n"),
        ("pack/actions/wf.yaml", wf),
        (
            "pack/actions/workflows/wf.yaml",
            "version: 1.0\ntasks:\n  one:\n    action: lab.act\n    input: {host: h, nosuch: 1}\n    next: [{do: two}]\n  two:\n    action: lab.nosuch\n  three:\n    action: lab.act\n",
        ),
        (
            "pack/rules/r.yaml",
            "name: r\ntrigger: {type: lab.nosuch}\naction: {ref: lab.act, parameters: {host: h}}\n",
        ),
        ("configs/lab.yaml", "port: abc\n"),
        (
            "pack/config.schema.yaml",
            "port: {type: integer}\nname: {type: string, required: true}\n",
        ),
        (
            "pack/policies/p.yaml",
            "name: p\nresource_ref: lab.act\npolicy_type: action.retry\nparameters: {threshold: 1}\n",
        ),
    ]);
    let expected = [
        "configs/lab.yaml:1: the configuration does not fit `config.schema.yaml`: 'name' is a required property",
        "pack/actions/bad.yaml:2: bad YAML",
        "pack/actions/out.yaml:3: `entry_point` must lead below `actions/`, without `.` or `..`",
        "pack/actions/py.yaml:3: the runner `python-script` is not supported",
        "pack/actions/sudo.yaml:5: `sudo` is not supported",
        "pack/actions/sudo.yaml:7: the attribute `secret` of the runner's parameter `env` cannot be overridden",
        "pack/policies/p.yaml:3: the policy type `action.retry` is not supported",
        "pack/actions/workflows/wf.yaml:3: action `lab.act` has unexpected input `nosuch`",
        "pack/actions/workflows/wf.yaml:9: action `lab.act` is missing required input `host`",
        "pack/actions/workflows/wf.yaml:7: there is no action `lab.nosuch`",
        "pack/rules/r.yaml:2: there is no trigger type `lab.nosuch`",
    ];
    for line in expected {
        assert!(
            found.iter().any(|found| found.starts_with(line)),
            "{line}\nis not among\n{}",
            found.join("\n")
        );
    }
    assert_eq!(found.len(), expected.len(), "{}", found.join("\n"));
}

#[test]
fn a_configuration_gets_defaults_and_keys() {
    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        &[
            ("pack/pack.yaml", "name: lab\n"),
            (
                "pack/config.schema.yaml",
                "fog:\n  type: object\n  properties:\n    address: {type: string, required: true}\n    key: {type: string, secret: true}\n    port: {type: integer, default: 80}\nvpn:\n  type: object\n  properties:\n    root: {type: string, default: dc=x}\nplain: {type: string}\n",
            ),
            (
                "configs/lab.yaml",
                "fog: {address: a, key: '{{ st2kv.system.key }}'}\nplain: '{{ st2kv.system.nosuch }}'\nmore: 1\n",
            ),
        ],
    );
    let packs = Packs::load(
        &[directory.path().join("pack")],
        &directory.path().join("configs"),
    )
    .unwrap();
    let store = keys(&[("system.key", "[hunter2]")]);
    let config = config::resolve(&packs.packs["lab"], "me", &store).unwrap();
    let expected = json!({
        "fog": {"address": "a", "key": "hunter2", "port": 80}, "vpn": {"root": "dc=x"}, "plain": null, "more": 1,
    });
    assert_eq!(Value::Object(config), expected);
    assert_eq!(
        packs.packs["lab"].config.as_ref().unwrap()["fog"]["key"],
        "{{ st2kv.system.key }}"
    );
}

#[test]
fn secrets_are_masked() {
    let action = action(
        "lab",
        json!({"name": "a", "parameters": {"p": {"secret": true}, "q": {}}}),
    );
    let given = json!({"p": "x", "q": "y"});
    let masked = action.mask(given.as_object().unwrap());
    assert_eq!(Value::Object(masked), json!({"p": MASKED, "q": "y"}));
    assert_eq!(runner_types().len(), 2);
}
