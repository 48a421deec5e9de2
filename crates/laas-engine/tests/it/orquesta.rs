//! Workflows from their file to their result, within this process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use laas_engine::engine::{Cipher, CipherError, Engine, Options};
use laas_engine::model::{Execution, NewExecution, Rerun, Status};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::captures;

/// Ciphertext is the plain text in brackets.
pub struct Brackets;

impl Cipher for Brackets {
    fn encrypt(&self, plain: &str) -> Result<String, CipherError> {
        Ok(format!("[{plain}]"))
    }

    fn decrypt(&self, cipher: &str) -> Result<String, CipherError> {
        let inner = cipher.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        inner
            .map(str::to_string)
            .ok_or_else(|| CipherError("this is not encrypted".into()))
    }
}

/// An engine with the recorded pack and `files` beside it.
pub async fn engine_with(directory: &Path, files: &[(&str, &str)]) -> Engine {
    let pack = directory.join("lab");
    crate::support::copy(&captures().join("pack"), &pack);
    for (name, text) in files {
        let path = pack.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let config = directory.join("configs");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("lab.yaml"), "fog: {address: a, api_key: s3cret}\n").unwrap();
    open(directory).await
}

pub async fn open(directory: &Path) -> Engine {
    let options = Options {
        unnoticed: None,
        pack_dirs: vec![directory.join("lab")],
        config_dir: directory.join("configs"),
        database: directory.join("engine.db"),
        api_url: "http://127.0.0.1:1/v1".into(),
        cipher: Arc::new(Brackets),
        max_processes: 64,
        kill_grace: Duration::from_millis(500),
    };
    Engine::open(options)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

pub async fn run(engine: &Engine, action: &str, parameters: Value) -> Execution {
    let execution = request(engine, action, parameters).await;
    engine
        .wait(&execution.id, Duration::from_secs(60))
        .await
        .unwrap()
        .unwrap()
}

pub async fn request(engine: &Engine, action: &str, parameters: Value) -> Execution {
    let parameters = parameters.as_object().unwrap().clone();
    let new = NewExecution {
        action: action.into(),
        parameters,
        user: "me".into(),
        trace_tag: None,
    };
    engine
        .request(new)
        .await
        .unwrap_or_else(|error| panic!("{error}"))
}

fn bodies(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(captures().join(name)).unwrap();
    let recording: Value = serde_json::from_str(&text).unwrap();
    let exchanges = recording["exchanges"].as_array().unwrap();
    exchanges
        .iter()
        .map(|exchange| exchange["response"]["body"].clone())
        .collect()
}

/// The execution as StackStorm's client saw it last.
fn recorded(name: &str) -> Value {
    bodies(name)
        .into_iter()
        .rfind(|body| body["status"].is_string())
        .unwrap()
}

fn words(execution: &Execution) -> Vec<&'static str> {
    execution.log.iter().map(|entry| entry.status.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_runs_come_out_as_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine_with(directory.path(), &[]).await;
    let names = [
        "05-run.json",
        "07-run-flag.json",
        "08-run-fail.json",
        "13-run-workflow.json",
        "14-run-workflow-fail.json",
    ];
    for name in names {
        let expected = recorded(name);
        let action = expected["action"]["ref"].as_str().unwrap();
        let execution = run(&engine, action, expected["parameters"].clone()).await;
        assert_eq!(execution.result.as_ref(), Some(&expected["result"]), "{name}");
        assert_eq!(execution.status.as_str(), expected["status"], "{name}");
        let log: Vec<&str> = expected["log"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["status"].as_str().unwrap())
            .collect();
        assert_eq!(words(&execution), log, "{name}");
        assert_eq!(
            execution.children.len(),
            expected["children"].as_array().map_or(0, Vec::len),
            "{name}"
        );
        let keys = |context: &Value| context.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            keys(&Value::Object(execution.context.clone())),
            keys(&expected["context"]),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_know_their_workflow_and_task() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine_with(directory.path(), &[]).await;
    let execution = run(
        &engine,
        "lab.fulfill",
        json!({"job_id": 7, "hosts": ["pod1", "ghost"]}),
    )
    .await;
    let children = engine.store().descendants(&execution.id, None).await.unwrap();
    let expected = bodies("57-execution-children.json").remove(0);
    for (child, expected) in children.iter().zip(expected.as_array().unwrap()) {
        assert_eq!(child.parent.as_ref(), Some(&execution.id));
        assert_eq!(child.result.as_ref(), Some(&expected["result"]));
        assert_eq!(Value::Object(child.parameters.clone()), expected["parameters"]);
        let place = &child.context["orquesta"];
        for key in ["task_name", "task_id", "task_route", "item_id"] {
            assert_eq!(place[key], expected["context"]["orquesta"][key], "{key}");
        }
        assert_eq!(
            child.context["parent"],
            json!({"execution_id": execution.id, "user": "me", "pack": "lab"})
        );
        assert_eq!(child.task_execution, children[0].task_execution);
        assert_eq!(
            child.workflow_execution.as_deref(),
            execution.context["workflow_execution"].as_str()
        );
    }
    assert_eq!(children.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rerun_of_a_task_goes_on_with_the_same_workflow() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine_with(directory.path(), &[]).await;
    let first = run(
        &engine,
        "lab.fulfill",
        json!({"job_id": 7, "hosts": ["pod1", "ghost"]}),
    )
    .await;
    let tasks = vec!["power_hosts".to_string()];
    let rerun = Rerun {
        tasks: tasks.clone(),
        reset: tasks,
        user: "me".into(),
        ..Rerun::default()
    };
    let second = engine.rerun(&first.id, rerun).await.unwrap();
    let second = engine
        .wait(&second.id, Duration::from_secs(30))
        .await
        .unwrap()
        .unwrap();
    let expected = recorded("22-execution-rerun.json");
    assert_eq!(second.result.as_ref(), Some(&expected["result"]));
    assert_eq!(second.children.len(), 2);
    assert_eq!(
        second.context["workflow_execution"],
        first.context["workflow_execution"]
    );
    let again = engine
        .rerun(
            &first.id,
            Rerun {
                user: "me".into(),
                ..Rerun::default()
            },
        )
        .await
        .unwrap();
    let again = engine
        .wait(&again.id, Duration::from_secs(30))
        .await
        .unwrap()
        .unwrap();
    assert_ne!(
        again.context["workflow_execution"],
        first.context["workflow_execution"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cancelled_stops_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("ended");
    let script = format!("#!/bin/sh\nsleep 60\ntouch {}\n", mark.display());
    let long = "name: long\nrunner_type: local-shell-script\nentry_point: long.sh\nparameters: {timeout: {default: 100}}\n";
    let wf = "name: wf\nrunner_type: orquesta\nentry_point: workflows/wf.yaml\n";
    let spec =
        "version: 1.0\ntasks:\n  a:\n    action: lab.long\n    next: [{do: b}]\n  b:\n    action: lab.long\n";
    let outer = "name: outer\nrunner_type: orquesta\nentry_point: workflows/outer.yaml\n";
    let outer_spec = "version: 1.0\ntasks:\n  sub:\n    action: lab.wf\n";
    let files = [
        ("actions/long.sh", script.as_str()),
        ("actions/long.yaml", long),
        ("actions/wf.yaml", wf),
        ("actions/workflows/wf.yaml", spec),
        ("actions/outer.yaml", outer),
        ("actions/workflows/outer.yaml", outer_spec),
    ];
    let engine = engine_with(directory.path(), &files).await;
    for action in ["lab.long", "lab.outer"] {
        let execution = request(&engine, action, json!({})).await;
        wait_for_process(&engine, action).await;
        let canceling = engine.cancel(&execution.id, "boss").await.unwrap();
        assert!(matches!(canceling.status, Status::Canceling | Status::Canceled));
        let message = json!({"message": "Action canceled by user.", "user": "boss"});
        assert_eq!(canceling.result.as_ref(), Some(&message));
        let execution = engine
            .wait(&execution.id, Duration::from_secs(20))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            words(&execution),
            ["requested", "scheduled", "running", "canceling", "canceled"],
            "{action}"
        );
        assert_eq!(execution.context["cancelled_by"], "boss");
        for child in engine.store().descendants(&execution.id, None).await.unwrap() {
            assert_eq!(child.status, Status::Canceled);
        }
    }
    assert!(!mark.exists());
}

/// Waits until an execution of some action is running below `action`.
async fn wait_for_process(engine: &Engine, action: &str) {
    let mut changes = engine.changes();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let filter = laas_engine::model::ExecutionFilter {
            status: Some(Status::Running),
            ..Default::default()
        };
        let range = laas_engine::store::Range { limit: 10, offset: 0 };
        let running = engine.store().executions(&filter, range).await.unwrap();
        if running.items.iter().any(|execution| !execution.is_workflow) {
            return;
        }
        tokio::time::timeout_at(deadline, changes.recv())
            .await
            .unwrap_or_else(|_| panic!("{action} does not run"))
            .ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_kept_nowhere() {
    let directory: TempDir = tempfile::tempdir().unwrap();
    let show = "name: show\nrunner_type: local-shell-script\nentry_point: show.sh\nparameters:\n  env:\n    type: object\n    immutable: true\n    default: {LAB: '{{ config_context | to_json_string | json_escape }}'}\n";
    let script = "#!/bin/sh\n[ \"$LAB\" = '{\"fog\": {\"address\": \"a\",\"api_key\": \"s3cret\"}}' ] && echo '{\"same\": true}' || echo $LAB | wc -c\n";
    let engine = engine_with(
        directory.path(),
        &[("actions/show.yaml", show), ("actions/show.sh", script)],
    )
    .await;
    let execution = run(&engine, "lab.show", json!({})).await;
    assert_eq!(execution.result.unwrap()["stdout"], json!({"same": true}));
    for entry in std::fs::read_dir(directory.path())
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_file())
    {
        let bytes = std::fs::read(entry.path()).unwrap();
        assert!(
            !bytes.windows(6).any(|window| window == b"s3cret"),
            "{}",
            entry.path().display()
        );
    }
}

/// A script action `name` of the recorded pack that runs `body`.
fn script(name: &str, body: &str, more: &str) -> [(String, String); 2] {
    let metadata = format!("name: {name}\nrunner_type: local-shell-script\nentry_point: {name}.sh\n{more}");
    [
        (format!("actions/{name}.yaml"), metadata),
        (format!("actions/{name}.sh"), format!("#!/bin/bash\n{body}\n")),
    ]
}

fn workflow(name: &str, spec: &str) -> [(String, String); 2] {
    let metadata = format!("name: {name}\nrunner_type: orquesta\nentry_point: workflows/{name}.yaml\n");
    [
        (format!("actions/{name}.yaml"), metadata),
        (format!("actions/workflows/{name}.yaml"), spec.to_string()),
    ]
}

async fn engine_of(directory: &Path, files: Vec<[(String, String); 2]>) -> Engine {
    let files: Vec<(&str, &str)> = files
        .iter()
        .flatten()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    engine_with(directory, &files).await
}

/// Makes `path` appear and waits until somebody has taken it away, or the other way round.
async fn until(mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(tokio::time::Instant::now() < deadline, "waited for half a minute");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_workflow_starts_nothing_until_it_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let body = format!(
        "touch {0}.reached; until [ -e {0} ]; do sleep 0.01; done",
        gate.display()
    );
    let spec = "version: 1.0\ntasks:\n  a: {action: lab.gate, next: [{do: b}]}\n  b: {action: lab.gate}\n";
    let engine = engine_of(
        directory.path(),
        vec![script("gate", &body, ""), workflow("two", spec)],
    )
    .await;
    let execution = request(&engine, "lab.two", json!({})).await;
    until(|| directory.path().join("gate.reached").exists()).await;
    let paused = engine.pause(&execution.id, "me").await.unwrap();
    assert_eq!(paused.status, Status::Pausing);
    std::fs::write(&gate, "").unwrap();
    let mut paused = Status::Pausing;
    while paused != Status::Paused {
        paused = engine
            .store()
            .execution(&execution.id)
            .await
            .unwrap()
            .unwrap()
            .status;
        tokio::task::yield_now().await;
    }
    assert_eq!(
        engine
            .store()
            .descendants(&execution.id, None)
            .await
            .unwrap()
            .len(),
        1
    );
    engine.resume(&execution.id, "me").await.unwrap();
    let execution = engine
        .wait(&execution.id, Duration::from_secs(30))
        .await
        .unwrap()
        .unwrap();
    let expected = [
        "requested",
        "scheduled",
        "running",
        "pausing",
        "paused",
        "running",
        "succeeded",
    ];
    assert_eq!(words(&execution), expected);
    assert_eq!(execution.children.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_lets_only_so_many_run() {
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let body = format!("until [ -e {} ]; do sleep 0.01; done", gate.display());
    let policy = "name: one\nresource_ref: lab.gate\npolicy_type: action.concurrency\nparameters: {action: delay, threshold: 1}\n";
    let policy = [
        ("policies/one.yaml".to_string(), policy.to_string()),
        ("README".to_string(), String::new()),
    ];
    let engine = engine_of(directory.path(), vec![script("gate", &body, ""), policy]).await;
    let mut changes = engine.changes();
    let first = request(&engine, "lab.gate", json!({})).await;
    while changes.recv().await.unwrap().status != Status::Running {}
    let second = request(&engine, "lab.gate", json!({})).await;
    while changes.recv().await.unwrap().status != Status::Delayed {}
    std::fs::write(&gate, "").unwrap();
    let first = engine
        .wait(&first.id, Duration::from_secs(30))
        .await
        .unwrap()
        .unwrap();
    let second = engine
        .wait(&second.id, Duration::from_secs(30))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        words(&second),
        ["requested", "delayed", "scheduled", "running", "succeeded"]
    );
    let started = second
        .log
        .iter()
        .find(|entry| entry.status == Status::Running)
        .unwrap()
        .timestamp;
    assert!(started >= first.end.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_closing_engine_stops_runs_again() {
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    let body = format!(
        "echo $ST2_ACTION_EXECUTION_ID >> {0}.runs; until [ -e {0} ]; do sleep 0.01; done",
        gate.display()
    );
    let engine = engine_of(directory.path(), vec![script("gate", &body, "")]).await;
    let execution = request(&engine, "lab.gate", json!({})).await;
    let runs = || std::fs::read_to_string(directory.path().join("gate.runs")).unwrap_or_default();
    until(|| runs().lines().count() == 1).await;
    engine.shutdown().await;
    drop(engine);
    std::fs::write(&gate, "").unwrap();
    let engine = open(directory.path()).await;
    let ended = engine
        .wait(&execution.id, Duration::from_secs(30))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ended.status, Status::Succeeded);
    assert_eq!(runs(), format!("{0}\n{0}\n", execution.id));
    let expected = [
        "requested",
        "scheduled",
        "running",
        "requested",
        "scheduled",
        "running",
        "succeeded",
    ];
    assert_eq!(words(&ended), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_runs_its_rules() {
    let directory = tempfile::tempdir().unwrap();
    let rule = "name: odd\ntrigger: {type: lab.job_ready}\ncriteria:\n  trigger.job_id: {type: inside, pattern: [9]}\naction: {ref: lab.wait, parameters: {seconds: '{{ trigger.nosuch }}'}}\n";
    let rule = [
        ("rules/odd.yaml".to_string(), rule.to_string()),
        ("README".to_string(), String::new()),
    ];
    let engine = engine_of(directory.path(), vec![rule]).await;
    let instance = engine
        .dispatch("lab.job_ready", json!({"job_id": 9}), Some("job-9"))
        .await
        .unwrap();
    let range = laas_engine::store::Range { limit: 10, offset: 0 };
    let enforcements = engine.store().rule_enforcements(None, range).await.unwrap().items;
    let good = enforcements
        .iter()
        .find(|enforcement| enforcement.rule == "lab.on_job")
        .unwrap();
    let bad = enforcements
        .iter()
        .find(|enforcement| enforcement.rule == "lab.odd")
        .unwrap();
    assert!(
        bad.failure_reason
            .as_ref()
            .unwrap()
            .contains("Failed to render parameter \"seconds\""),
        "{bad:?}"
    );
    let id = good.execution.clone().unwrap();
    let execution = engine.wait(&id, Duration::from_secs(30)).await.unwrap().unwrap();
    assert_eq!(
        (execution.status, &execution.parameters["job_id"]),
        (Status::Succeeded, &json!(9))
    );
    let trace = engine
        .store()
        .traces(Some("job-9"), range)
        .await
        .unwrap()
        .items
        .remove(0);
    let members: Vec<(&str, Option<&str>)> = trace
        .items
        .iter()
        .map(|item| {
            (
                item.reference.as_str(),
                item.caused_by.as_ref().map(|(kind, _)| kind.as_str()),
            )
        })
        .collect();
    let mut expected = vec![
        ("lab.job_ready", None),
        ("lab.odd", Some("trigger_instance")),
        ("lab.on_job", Some("trigger_instance")),
        ("lab.fulfill", Some("rule")),
        ("lab.power", Some("action_execution")),
        ("lab.power", Some("action_execution")),
        ("lab.wait", Some("action_execution")),
    ];
    let mut found = members.clone();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    engine
        .store()
        .set_enabled(vec![("lab.on_job".into(), false)])
        .await
        .unwrap();
    engine
        .dispatch("lab.job_ready", json!({"job_id": 1}), None)
        .await
        .unwrap();
    let enforcements = engine
        .store()
        .rule_enforcements(Some("lab.on_job"), range)
        .await
        .unwrap();
    assert_eq!(enforcements.total, 1, "a disabled rule does nothing");
    assert_eq!(
        engine.store().trigger_instance(&instance.id).await.unwrap(),
        Some(instance)
    );
    let refused = engine
        .dispatch("lab.job_ready", json!({"job": "x"}), None)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        refused,
        bodies("49-webhook-bad-payload.json")[0]["faultstring"]
            .as_str()
            .unwrap()
    );
    let refused = engine
        .dispatch("lab.nosuch", json!({}), None)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        refused,
        bodies("50-webhook-unknown.json")[0]["faultstring"]
            .as_str()
            .unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_knows_where_it_runs_and_until_when() {
    let directory = tempfile::tempdir().unwrap();
    let body = "echo \"{\\\"pack\\\": \\\"$ST2_ACTION_PACK_NAME\\\", \\\"url\\\": \\\"$ST2_ACTION_API_URL\\\", \\\"token\\\": \\\"$ST2_ACTION_AUTH_TOKEN\\\", \\\"cwd\\\": \\\"$PWD\\\"}\"";
    let more = "parameters: {cwd: {default: /tmp}}\n";
    let late = "trap '' TERM; echo partial; sleep 60";
    let files = vec![
        script("show", body, more),
        script("late", late, "parameters: {timeout: {default: 1}}\n"),
    ];
    let engine = engine_of(directory.path(), files).await;
    let shown = run(&engine, "lab.show", json!({})).await.result.unwrap()["stdout"].clone();
    assert_eq!(
        (&shown["pack"], &shown["url"], &shown["cwd"]),
        (&json!("lab"), &json!("http://127.0.0.1:1/v1"), &json!("/tmp"))
    );
    let token = shown["token"].as_str().unwrap();
    let known = engine
        .store()
        .token(token, laas_engine::model::TokenKind::Token)
        .await
        .unwrap();
    assert_eq!(known, None, "a token ends with its action");
    let late = run(&engine, "lab.late", json!({})).await;
    assert_eq!(late.status, Status::Timeout);
    let result = late.result.unwrap();
    assert_eq!(
        (&result["stdout"], &result["error"]),
        (
            &json!("partial"),
            &json!("Action failed to complete in 1 seconds")
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_cannot_be_requested_fails_its_workflow() {
    let directory = tempfile::tempdir().unwrap();
    let spec = "version: 1.0\nvars: [{who: 5}, {name: nosuch}]\ntasks:\n  a: {action: lab.wait, input: {seconds: 0}, next: [{do: [b, c]}]}\n  b: {action: lab.power, input: {host: '{{ ctx().who }}'}}\n  c: {action: 'lab.{{ ctx().name }}'}\n";
    let engine = engine_of(directory.path(), vec![workflow("bad", spec)]).await;
    let execution = run(&engine, "lab.bad", json!({})).await;
    assert_eq!(execution.status, Status::Failed);
    let message = "ParamException: Value \"5\" must either be a string or None. Got \"int\".";
    let errors = json!([{"type": "error", "message": message, "task_id": "b", "route": 0}]);
    assert_eq!(execution.result, Some(json!({"output": null, "errors": errors})));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_output_of_a_rerun_stays_that_of_the_first_run() {
    let directory = tempfile::tempdir().unwrap();
    let fixed = directory.path().join("fixed");
    let body = format!("[ -e {} ]", fixed.display());
    let spec = "version: 1.0\nvars: [{got: none}]\ntasks:\n  a:\n    action: lab.maybe\n    next: [{when: '{{ succeeded() }}', publish: [{got: '{{ result().return_code }}'}], do: b}]\n  b: {action: lab.wait, input: {seconds: 0}}\noutput: [{got: '{{ ctx().got }}'}]\n";
    let engine = engine_of(
        directory.path(),
        vec![script("maybe", &body, ""), workflow("again", spec)],
    )
    .await;
    let first = run(&engine, "lab.again", json!({})).await;
    assert_eq!(first.status, Status::Failed);
    std::fs::write(&fixed, "").unwrap();
    let rerun = Rerun {
        tasks: vec!["a".into()],
        user: "me".into(),
        ..Rerun::default()
    };
    let second = engine.rerun(&first.id, rerun).await.unwrap();
    let second = engine
        .wait(&second.id, Duration::from_secs(30))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(second.status, Status::Succeeded);
    assert_eq!(second.result, Some(json!({"output": {"got": "none"}})));
    let tasks: Vec<Value> = engine
        .store()
        .descendants(&second.id, None)
        .await
        .unwrap()
        .iter()
        .map(|step| step.context["orquesta"]["task_name"].clone())
        .collect();
    assert_eq!(tasks, ["a", "b"]);
}
