//! What survives `kill -9`, and how much goes on at once.

use std::collections::BTreeMap;
use std::time::Duration;

use laas_engine::model::Status;
use reqwest::Method;
use serde_json::{Value, json};

use crate::orquesta::{engine_with, request};
use crate::support::{Site, eventually};

/// Notes its beginning and its end, and whether another run of the same step is still there.
const STEP: &str = r#"#!/bin/bash
for argument in "$@"; do case "$argument" in --step=*) step=${argument#--step=};; --directory=*) directory=${argument#--directory=};; esac; done
exec 9>"$directory/$step.lock"
flock -n 9 || echo "$step" >>"$directory/overlaps"
echo begun >>"$directory/$step"
sleep 0.04
echo ended >>"$directory/$step"
echo "{\"step\":\"$step\"}"
"#;

const STEP_METADATA: &str = "name: step
runner_type: local-shell-script
entry_point: step.sh
parameters:
  step: {type: string, required: true}
  directory: {type: string, required: true}
";

const WORKFLOW_METADATA: &str = "name: steps
runner_type: orquesta
entry_point: workflows/steps.yaml
parameters:
  directory: {type: string, required: true}
";

/// A sequence, two branches that join, items, a retry and a sub-workflow.
const WORKFLOW: &str = r#"version: 1.0
input: [directory]
vars:
  - done: []
tasks:
  one:
    action: lab.step
    input: {step: one, directory: "{{ ctx().directory }}"}
    next:
      - when: "{{ succeeded() }}"
        publish: [{done: "{{ ctx().done + [result().stdout.step] }}"}]
        do: [left, right]
  left:
    action: lab.step
    input: {step: left, directory: "{{ ctx().directory }}"}
    next: [{when: "{{ succeeded() }}", do: meet}]
  right:
    with: {items: "name in {{ ['a', 'b', 'c'] }}", concurrency: 2}
    action: lab.step
    input: {step: "right_{{ item('name') }}", directory: "{{ ctx().directory }}"}
    next: [{when: "{{ succeeded() }}", do: meet}]
  meet:
    join: all
    action: lab.step
    input: {step: meet, directory: "{{ ctx().directory }}"}
    delay: 1
    next:
      - when: "{{ succeeded() }}"
        publish: [{done: "{{ ctx().done + [result().stdout.step] }}"}]
        do: below
  below:
    action: lab.inner
    input: {directory: "{{ ctx().directory }}"}
    next: [{when: "{{ succeeded() }}", publish: [{done: "{{ ctx().done + [result().output.step] }}"}]}]
output:
  - done: "{{ ctx().done }}"
"#;

const INNER_METADATA: &str = "name: inner
runner_type: orquesta
entry_point: workflows/inner.yaml
parameters:
  directory: {type: string, required: true}
";

const INNER: &str = r#"version: 1.0
input: [directory]
tasks:
  inner:
    action: lab.step
    input: {step: inner, directory: "{{ ctx().directory }}"}
    next: [{publish: [{step: "{{ result().stdout.step }}"}]}]
output:
  - step: "{{ ctx().step }}"
"#;

fn files() -> [(&'static str, &'static str); 6] {
    [
        ("actions/step.sh", STEP),
        ("actions/step.yaml", STEP_METADATA),
        ("actions/steps.yaml", WORKFLOW_METADATA),
        ("actions/workflows/steps.yaml", WORKFLOW),
        ("actions/inner.yaml", INNER_METADATA),
        ("actions/workflows/inner.yaml", INNER),
    ]
}

#[test]
fn a_workflow_goes_on_after_every_kill() {
    let site = Site::new();
    for (name, text) in files() {
        site.add(name, text);
    }
    let effects = site.path("effects");
    std::fs::create_dir(&effects).unwrap();
    let mut server = site.start();
    let body = json!({"action": "lab.steps", "parameters": {"directory": effects}});
    let (status, started) = server.send(Method::POST, "/v1/executions", &body);
    assert_eq!(status, 201, "{started}");
    let path = format!("/v1/executions/{}", started["id"].as_str().unwrap());
    let mut kills = 0;
    // Each life is a little longer than the one before, so that death comes at another moment each time.
    for life in (5..400).step_by(9) {
        std::thread::sleep(Duration::from_millis(life));
        let status = server.get(&path).1["status"].clone();
        if status != "running" && status != "requested" {
            break;
        }
        // Dropping a server is `kill -9`.
        drop(server);
        kills += 1;
        server = site.start();
    }
    assert!(kills >= 5, "only {kills} kills");
    let execution = eventually(|| {
        let execution = server.get(&path).1;
        (execution["end_timestamp"].is_string()).then_some(execution)
    });
    assert_eq!(execution["status"], "succeeded", "{execution:#}");
    assert_eq!(
        execution["result"],
        json!({"output": {"done": ["one", "meet", "inner"]}})
    );
    let (_, children) = server.get(&format!("{path}/children"));
    let mut starts: BTreeMap<String, usize> = BTreeMap::new();
    for child in children.as_array().unwrap() {
        assert_eq!(child["status"], "succeeded");
        if let Some(step) = child["parameters"]["step"].as_str() {
            let log = child["log"].as_array().unwrap();
            let running = log.iter().filter(|line| line["status"] == "running").count();
            assert!(
                starts.insert(step.to_string(), running).is_none(),
                "`{step}` has two executions"
            );
        }
    }
    let expected = ["inner", "left", "meet", "one", "right_a", "right_b", "right_c"];
    assert_eq!(starts.keys().collect::<Vec<_>>(), expected);
    for (step, starts) in &starts {
        let noted = std::fs::read_to_string(effects.join(step)).unwrap();
        let begun = noted.lines().filter(|line| *line == "begun").count();
        assert!(
            begun >= 1 && begun <= *starts,
            "`{step}` began {begun} times in {starts} starts"
        );
        assert!(noted.ends_with("ended\n"), "`{step}` was cut: {noted}");
    }
    assert!(
        !effects.join("overlaps").exists(),
        "a step ran beside what was left of it"
    );
}

/// Ten steps in a row.
fn ten_steps() -> String {
    let mut text = String::from("version: 1.0\ntasks:\n");
    for step in 1..=10 {
        text.push_str(&format!("  step_{step:02}:\n    action: lab.nothing\n"));
        if step < 10 {
            text.push_str(&format!(
                "    next: [{{when: \"{{{{ succeeded() }}}}\", do: step_{:02}}}]\n",
                step + 1
            ));
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_workflows_of_ten_steps_run_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let steps = ten_steps();
    let files = [
        ("actions/nothing.sh", "#!/bin/sh\necho '{\"done\": true}'\n"),
        (
            "actions/nothing.yaml",
            "name: nothing\nrunner_type: local-shell-script\nentry_point: nothing.sh\n",
        ),
        (
            "actions/ten.yaml",
            "name: ten\nrunner_type: orquesta\nentry_point: workflows/ten.yaml\n",
        ),
        ("actions/workflows/ten.yaml", steps.as_str()),
    ];
    let engine = engine_with(directory.path(), &files).await;
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(request(&engine, "lab.ten", json!({})).await.id);
    }
    for id in &ids {
        let execution = engine.wait(id, Duration::from_secs(300)).await.unwrap().unwrap();
        assert_eq!(execution.status, Status::Succeeded, "{execution:?}");
        let children = engine.store().descendants(id, Some(1)).await.unwrap();
        let tasks: Vec<Value> = children
            .iter()
            .map(|child| child.context["orquesta"]["task_name"].clone())
            .collect();
        let expected: Vec<String> = (1..=10).map(|step| format!("step_{step:02}")).collect();
        assert_eq!(tasks, expected);
    }
}
