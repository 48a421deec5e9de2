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
