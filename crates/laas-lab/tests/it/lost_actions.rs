//! Actions that no process is at any more, of which the engine says for ever that they run.

use std::path::Path;
use std::time::{Duration, Instant};

use laas_lab::stack::{is_over, signal};
use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, LIMIT, of_action};
use crate::kills::{children, running, until};

/// Of an action that is waited for. It is taken for dead after four times that.
const HEARTBEAT: u64 = 2;

async fn house() -> House {
    House::with_config(json!({"timing": {"heartbeat": HEARTBEAT, "retries": 5, "retry_delay": 0}})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_die_unnoticed_and_the_job_ends_as_if_nothing_had_happened() {
    let house = house().await;
    let job = house.book();
    let victims = ["switch_vlan", "fog_image", "wait_for_host", "copy_keys"];
    for action in victims {
        kill_one(&house, action).await;
    }
    let job = house.settled(job).await;
    house.assert_whole(&job).await;
    let executions = house.executions().await;
    for action in victims {
        let lost: Vec<_> = of_action(&executions, action)
            .into_iter()
            .filter(|execution| execution["status"] == "abandoned")
            .collect();
        assert_eq!(lost.len(), 1, "{}", house.story().await);
        let id = lost[0]["id"].as_str().unwrap();
        let told = house.lab.bot().messages();
        let about: Vec<_> = told.iter().filter(|message| message.body.contains(id)).collect();
        assert_eq!(about.len(), 1, "{told:?}");
        assert!(
            about[0]
                .body
                .contains(&format!("`laas.{action}` has given no sign of life")),
            "{about:?}"
        );
    }
    let signs = house.stack.call(Method::GET, "keys?prefix=alive_", None).await;
    let signs = signs.unwrap();
    for sign in signs.as_array().unwrap() {
        assert!(sign["expire_timestamp"].is_string(), "it goes by itself: {sign}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_although_a_worker_has_died_unnoticed() {
    let house = house().await;
    let job = house.book();
    kill_one(&house, "fog_image").await;
    let executions = house.executions().await;
    let workflow = of_action(&executions, "fulfill_job")[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("executions/{workflow}");
    let cancelled = house.stack.call(Method::DELETE, &path, None).await.unwrap();
    assert_eq!(cancelled["status"], "canceling");
    let ended = |executions: &[Value]| {
        let mut found = executions.iter();
        found.any(|e| e["id"] == workflow.as_str() && e["status"] == "canceled")
    };
    until(&house, "the cancelled workflow has ended", ended).await;
    let executions = house.executions().await;
    let abandoned = executions.iter().filter(|e| e["status"] == "abandoned");
    assert_eq!(abandoned.count(), 0, "what is cancelled is not tried again");
    // The dashboard still wants it.
    let job = house.settled(job).await;
    house.assert_done(&job).await;
}

/// Nobody sees from outside whether a process that says nothing will ever go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stands_still_is_given_up_and_does_nothing_more() {
    let house = house().await;
    let job = house.book();
    let process = process_of(&house, "fog_image").await;
    signal(process, libc::SIGSTOP);
    let given_up = |executions: &[Value]| {
        let mut images = of_action(executions, "fog_image").into_iter();
        images.any(|image| image["status"] == "abandoned")
    };
    until(&house, "it is given up", given_up).await;
    signal(process, libc::SIGCONT);
    let started = Instant::now();
    while Path::new(&format!("/proc/{process}")).exists() {
        assert!(started.elapsed() < LIMIT, "it goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let job = house.settled(job).await;
    house.assert_whole(&job).await;
}

/// As StackStorm answers: https://docs.stackstorm.com/api/ has the call, and `abandoned` is what it says of the steps of
/// an action runner that was stopped.
#[tokio::test(flavor = "multi_thread")]
async fn the_engine_shows_what_it_has_not_noticed_as_stackstorm_does() {
    // Nobody looks for lost actions.
    let mut house = House::with_config(json!({"timing": {"retries": 5, "retry_delay": 0}})).await;
    house.stack.stop_engine().await.unwrap();
    house.stack.start_engine(false).await.unwrap();
    let job = house.book();
    let body = json!({"action": "laas.fulfill_job", "parameters": {"job_id": job}});
    let workflow = house
        .stack
        .call(Method::POST, "executions", Some(body))
        .await
        .unwrap();
    let workflow = workflow["id"].as_str().unwrap();
    kill_one(&house, "fog_image").await;
    let executions = house.executions().await;
    let mut images = of_action(&executions, "fog_image").into_iter();
    let image = images.find(|image| image["status"] == "running").unwrap();
    let image = image["id"].as_str().unwrap();
    let doctor = house.stack.run("laas.doctor", json!({})).await.unwrap();
    let findings = doctor["result"]["stdout"]["findings"].as_array().unwrap().clone();
    assert!(
        findings
            .iter()
            .any(|finding| finding["peer"] == "engine" && finding["what"].as_str().unwrap().contains(image)),
        "{findings:?}"
    );
    // The other host's goes on by itself.
    house
        .stack
        .call(Method::DELETE, &format!("executions/{workflow}"), None)
        .await
        .unwrap();
    let others = |executions: &[Value]| {
        let mut leaves = executions
            .iter()
            .filter(|e| e["action"]["runner_type"] != "orquesta" && e["id"] != image);
        leaves.all(is_over)
    };
    until(&house, "the other steps have ended", others).await;
    assert_eq!(status(&house, workflow).await, "canceling");
    assert_eq!(status(&house, image).await, "running");
    house
        .stack
        .call(Method::DELETE, &format!("executions/{image}"), None)
        .await
        .unwrap();
    assert_eq!(status(&house, image).await, "canceled");
    until(&house, "all has ended", |all| all.iter().all(is_over)).await;
    assert_eq!(status(&house, workflow).await, "canceled");
    let put = json!({"status": "abandoned"});
    let refused = house
        .stack
        .call(Method::PUT, &format!("executions/{image}"), Some(put))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("already in completed state"),
        "{refused}"
    );
}

async fn status(house: &House, execution: &str) -> String {
    let path = format!("executions/{execution}?include_attributes=status");
    let execution = house.stack.call(Method::GET, &path, None).await.unwrap();
    execution["status"].as_str().unwrap().to_owned()
}

/// Kills the first process of this action, unnoticed.
async fn kill_one(house: &House, action: &str) {
    let process = process_of(house, action).await;
    house.stack.kill_unnoticed(process).unwrap();
}

async fn process_of(house: &House, action: &str) -> u32 {
    running(house, action).await;
    let engine = house.stack.engine_pid().unwrap();
    let started = Instant::now();
    loop {
        let found = children(engine).into_iter().find(|(_, name)| name == action);
        if let Some((process, _)) = found {
            return process;
        }
        assert!(started.elapsed() < LIMIT, "`{action}` never runs");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
