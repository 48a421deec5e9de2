//! The conductor against what Orquesta 1.6 made of the same workflows (`tests/orquesta/`).

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::conductor::{Conductor, Request};
use super::spec::Spec;
use super::state::{Phase, State};
use crate::jinja::tests::keys;
use crate::model::Object;
use crate::pack::yaml;

fn cases() -> Vec<Value> {
    let cases = yaml::parse(include_str!("../../tests/orquesta/cases.yaml")).unwrap();
    cases.value().as_array().unwrap().clone()
}

fn object(value: &Value) -> Object {
    value.as_object().cloned().unwrap_or_default()
}

fn names(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|name| name.as_str().unwrap().to_string())
        .collect()
}

/// Runs a case as the recorder does. Between any two events the state goes through its written form.
fn run(case: &Value) -> Value {
    // JSON is YAML.
    let Ok(spec) = Spec::parse(&case["workflow"].to_string()) else {
        return json!({"refused": true});
    };
    let context = object(&json!({"st2": {"user": "me"}, "parent": {}}));
    let mut conductor = Conductor::new(&spec, &object(&case["inputs"]), context, keys(&[]));
    let mut outcomes: BTreeMap<String, VecDeque<Value>> = object(&case["outcomes"])
        .into_iter()
        .map(|(key, list)| (key, list.as_array().unwrap().iter().cloned().collect()))
        .collect();
    let mut pending: VecDeque<Request> = VecDeque::new();
    let mut requests = Vec::new();
    let mut steer = case.get("steer").cloned();
    let mut rerun = case.get("rerun").cloned();
    let mut done = 0;
    loop {
        for request in conductor.start() {
            requests.push(json!({
                "task": request.task, "route": request.route, "item": request.item, "action": request.action,
                "input": request.input, "delay": request.delay,
            }));
            pending.push_back(request);
        }
        conductor.finish();
        let written = serde_json::to_string(&conductor.state).unwrap();
        let read: State = serde_json::from_str(&written).unwrap();
        assert_eq!(read, conductor.state);
        conductor.state = read;
        if let Some(asked) = steer.take_if(|steer| steer["after"] == done) {
            conductor.steer(if asked["ask"] == "paused" {
                Phase::Paused
            } else {
                Phase::Canceled
            });
        }
        if pending.is_empty() && conductor.state.status == Phase::Paused {
            conductor.steer(Phase::Resuming);
            continue;
        }
        let has_ended = conductor.state.status.is_completed();
        if let Some(asked) = rerun.take_if(|_| pending.is_empty() && has_ended) {
            conductor
                .rerun(&names(&asked["tasks"]), &names(&asked["reset"]))
                .unwrap();
            continue;
        }
        let request = if case["order"] == "last" {
            pending.pop_back()
        } else {
            pending.pop_front()
        };
        let Some(request) = request else { break };
        done += 1;
        let key = match request.item {
            None => request.task.clone(),
            Some(item) => format!("{}#{item}", request.task),
        };
        let scripted = outcomes.get_mut(&key).and_then(VecDeque::pop_front);
        let outcome =
            scripted.unwrap_or_else(|| json!({"status": "succeeded", "result": {"of": request.task}}));
        let phase = match outcome["status"].as_str() {
            Some("succeeded") => Phase::Succeeded,
            Some("canceled") => Phase::Canceled,
            _ => Phase::Failed,
        };
        conductor.report(
            &request.task,
            request.route,
            request.item,
            phase,
            outcome["result"].clone(),
        );
    }
    json!({
        "requests": requests,
        "status": conductor.state.status.as_str(),
        "output": conductor.state.output,
        "errors": conductor.state.errors,
    })
}

/// What stands behind the expression is Python's wording.
fn without_wording(mut outcome: Value) -> Value {
    for error in outcome["errors"].as_array_mut().into_iter().flatten() {
        let message = error["message"].as_str().unwrap();
        let end = message.find("'. ").unwrap_or(message.len());
        error["message"] = message[..end].into();
    }
    outcome
}

#[test]
fn workflows_run_as_orquesta_runs_them() {
    let recorded: Value = serde_json::from_str(include_str!("../../tests/orquesta/recorded.json")).unwrap();
    // Orquesta forgets to say why a workflow failed when it was a timeout.
    let added = BTreeMap::from([("timeout is a failure", 1)]);
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let mut outcome = without_wording(run(&case));
        for _ in 0..added.get(name).copied().unwrap_or(0) {
            outcome["errors"].as_array_mut().unwrap().pop();
        }
        let expected = without_wording(recorded[name].clone());
        assert_eq!(outcome, expected, "{name}\n{outcome:#}\n{expected:#}");
    }
    assert_eq!(recorded.as_object().unwrap().len(), cases().len());
}

#[test]
fn what_is_outside_the_subset_is_refused_with_its_line() {
    let task = |line: &str| format!("version: 1.0\ntasks:\n  a:\n    action: x.y\n{line}");
    let next = |line: &str| task(&format!("    next:\n      - {line}\n"));
    let cases = [
        (
            task("    input: {v: \"<% ctx(x) %>\"}\n"),
            5,
            "YAQL (`<% %>`) is not supported",
        ),
        (task("    input: {v: \"{{ ctx(x) }}\"}\n"), 5, "`ctx(x)` is YAQL"),
        (
            task("    input: {v: \"{{ ctx().x | nosuch }}\"}\n"),
            5,
            "bad expression `{{ ctx().x | nosuch }}`: the filter",
        ),
        (
            task("    input: {v: \"{{ ctx().nosuch }}\"}\n"),
            5,
            "variable `nosuch` is read before it is set",
        ),
        (
            task("    input: v=1\n"),
            5,
            "`input` of task `a` must be a mapping",
        ),
        (task("    nosuch: 1\n"), 5, "task `a` has no `nosuch`"),
        (
            task("    join: some\n"),
            5,
            "`join` of task `a` must be `all` or a number of tasks",
        ),
        (
            task("    join: 2\n"),
            3,
            "task `a` joins 2 tasks, but 0 lead to it",
        ),
        (
            task("    retry: {delay: 1}\n"),
            5,
            "`retry` of task `a` needs a `count`",
        ),
        (
            task("    delay: soon\n"),
            5,
            "`delay` must be a whole number or an expression",
        ),
        (
            task("    with: {items: 5}\n"),
            5,
            "`with` of task `a` needs `items`",
        ),
        (
            task("    with: {items: \"x of {{ [1] }}\"}\n"),
            5,
            "`items` of task `a` must be",
        ),
        (
            next("{publish: x=1, do: b}"),
            6,
            "`publish` as a text is not supported",
        ),
        (
            next("{publish: {x: 1}}"),
            6,
            "`publish` must be a list of one-entry mappings",
        ),
        (
            next("{when: true, do: b}"),
            6,
            "`when` must be an expression in quotes",
        ),
        (
            next("{do: nosuch}"),
            3,
            "task `a` leads to `nosuch`, which is no task",
        ),
        (next("{do: retry}"), 3, "`do: retry` is not supported"),
        (next("{do: [noop, noop]}"), 6, "`do` names `noop` twice"),
        (
            "tasks:\n  fail: {action: x.y}\n".into(),
            2,
            "`fail` is a command and cannot name a task",
        ),
        (
            "tasks:\n  a-b: {action: x.y}\n".into(),
            2,
            "the task name `a-b` may have only letters, digits and `_`",
        ),
        (
            "tasks:\n  a: {action: x.y v=1}\n".into(),
            2,
            "parameters within `action` are not supported",
        ),
        (
            "tasks:\n  a: {with: \"{{ [1] }}\"}\n".into(),
            2,
            "task `a` has `with` but no `action`",
        ),
        (
            "input: [x, x]\ntasks:\n  a: {action: x.y}\n".into(),
            1,
            "`input` has `x` twice",
        ),
        ("version: 1.0\ntask: {}\n".into(), 2, "a workflow has no `task`"),
        (
            "tasks:\n  a: {action: x.y, next: [{do: a}]}\n".into(),
            2,
            "no task starts the workflow",
        ),
    ];
    for (text, line, message) in cases {
        let problems = Spec::parse(&text).err().unwrap_or_default();
        let found = problems
            .iter()
            .any(|problem| problem.line == line && problem.message.starts_with(message));
        assert!(found, "{text}\n{line}: {message}\nis not among {problems:#?}");
    }
}
