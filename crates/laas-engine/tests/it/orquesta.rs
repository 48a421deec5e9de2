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
