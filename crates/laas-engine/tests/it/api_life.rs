//! The engine's life: what it keeps, what it takes up again, what it starts and ends.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, Site, answer, eventually, refusal};

#[test]
fn two_engines_never_share_a_state() {
    let site = Site::new();
    let server = site.start();
    let why = refusal(site.serve("127.0.0.1:0"));
    assert!(why.contains("another engine holds"), "{why}");
    assert_eq!(server.stop(), Some(0));
    site.start();
}

#[test]
fn secrets_are_not_in_the_state() {
    let site = Site::new();
    // As somebody makes it who thinks of nothing.
    std::fs::set_permissions(site.path("state"), Permissions::from_mode(0o755)).unwrap();
    site.set_password("ops", "open sesame");
    let server = site.start();
    let body = json!({"name": "bmc", "value": "hunter2hunter2", "secret": true});
    assert_eq!(server.send(Method::PUT, "/v1/keys/bmc", &body).0, 200);
    let (_, shown) = server.get("/v1/keys/bmc?decrypt=true");
    assert_eq!(shown["value"], "hunter2hunter2");
    let execution = server.run("lab.power", json!({"host": "pod1"}));
    assert_eq!(execution["status"], "succeeded", "{execution}");
    for name in ["engine.db", "engine.db-wal", "datastore.key", "users"] {
        let mode = site
            .path("state")
            .join(name)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "others may read `{name}`");
    }
    server.stop();
    let secrets = ["hunter2hunter2", "open sesame", &site.key, "s3cret"];
    let files: Vec<_> = std::fs::read_dir(site.path("state"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    for path in files {
        let content = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        for secret in secrets {
            assert!(
                !content.contains(secret),
                "`{secret}` stands in `{}`",
                path.display()
            );
        }
    }
}

#[test]
fn keys_and_rules_outlive_the_engine() {
    let site = Site::new();
    let server = site.start();
    for body in [
        json!({"name": "plain", "value": "p"}),
        json!({"name": "enc", "value": "e", "secret": true}),
    ] {
        assert_eq!(
            server
                .send(
                    Method::PUT,
                    &format!("/v1/keys/{}", body["name"].as_str().unwrap()),
                    &body
                )
                .0,
            200
        );
    }
    let (_, mut rule) = server.get("/v1/rules/lab.on_job");
    assert_eq!(rule["enabled"], true);
    rule["enabled"] = false.into();
    let by_id = format!("/v1/rules/{}", rule["id"].as_str().unwrap());
    assert_eq!(server.send(Method::PUT, &by_id, &rule).1["enabled"], false);
    let mut changed = rule.clone();
    changed["criteria"] = json!({"trigger.x": {"type": "exists"}});
    let (status, answer) = server.send(Method::PUT, &by_id, &changed);
    assert_eq!(status, 400, "{answer}");
    assert_eq!(server.stop(), Some(0));

    let server = site.start();
    assert_eq!(server.get("/v1/keys/plain").1["value"], "p");
    assert_eq!(server.get("/v1/keys/enc?decrypt=true").1["value"], "e");
    assert_eq!(server.get("/v1/rules?pack=lab").1[0]["enabled"], false);
    assert_eq!(dispatch(&server, "lab.job_ready", json!({"job_id": 1})).0, 202);
    rule["enabled"] = true.into();
    assert_eq!(server.send(Method::PUT, &by_id, &rule).1["enabled"], true);
    assert_eq!(dispatch(&server, "lab.job_ready", json!({"job_id": 2})).0, 202);
    let started = eventually(|| {
        let (_, executions) = server.get("/v1/executions?action=lab.fulfill");
        executions
            .as_array()
            .filter(|executions| !executions.is_empty())
            .cloned()
    });
    assert_eq!(started.len(), 1);
    assert_eq!(started[0]["parameters"]["job_id"], 2);
}

fn dispatch(server: &Server, trigger: &str, payload: Value) -> (u16, Value) {
    server.send(
        Method::POST,
        "/v1/webhooks/st2",
        &json!({"trigger": trigger, "payload": payload}),
    )
}

#[test]
fn an_actions_token_ends_with_it() {
    let site = Site::new();
    let script = "cd \"${1#--dir=}\"; echo \"$ST2_ACTION_API_URL $ST2_ACTION_AUTH_TOKEN\" > t; mv t token\n\
                  while [ ! -e go ]; do sleep 0.05; done";
    site.add_action("hold", "{dir: {type: string}}", script);
    let server = site.start();
    let new = json!({"action": "lab.hold", "parameters": {"dir": site.dir.path()}});
    let (_, started) = server.send(Method::POST, "/v1/executions", &new);
    let text = eventually(|| std::fs::read_to_string(site.path("token")).ok());
    let (url, token) = text.trim().split_once(' ').unwrap();
    assert_eq!(url, format!("{}/v1", server.url));
    let whoami = || {
        answer(
            server
                .anonymous(Method::GET, "/v1/user")
                .header("X-Auth-Token", token)
                .send()
                .unwrap(),
        )
    };
    let (status, user) = whoami();
    assert_eq!((status, &user["username"]), (200, &json!("st2admin")), "{user}");
    std::fs::write(site.path("go"), "").unwrap();
    server.wait_for(started["id"].as_str().unwrap(), &["succeeded"]);
    eventually(|| (whoami().0 == 401).then_some(()));
}

#[test]
fn what_ran_at_sigterm_runs_again() {
    let site = Site::new();
    let server = site.start();
    let (_, started) = server.send(
        Method::POST,
        "/v1/executions",
        &json!({"action": "lab.wait", "parameters": {"seconds": 1}}),
    );
    let id = started["id"].as_str().unwrap();
    server.wait_for(id, &["running"]);
    assert_eq!(server.stop(), Some(0));
    let server = site.start();
    let execution = server.wait_for(id, &["succeeded", "failed", "abandoned", "canceled", "timeout"]);
    assert_eq!(execution["result"]["stdout"], json!({"waited": 1}), "{execution}");
}

#[test]
fn a_broken_pack_is_refused_before_anything_listens() {
    let site = Site::new();
    site.add(
        "actions/bad.yaml",
        "name: bad\npack: lab\nrunner_type: python-script\nentry_point: bad.py\n",
    );
    let why = refusal(site.serve("127.0.0.1:0"));
    assert!(why.contains("bad.yaml") && why.contains("python-script"), "{why}");
}
const SENSOR: &str = "class_name: Watch\nentry_point: watch.py\ndescription: Watches\n";

#[test]
fn a_sensor_is_started_again_when_it_fails_and_ended_with_the_engine() {
    let site = Site::new();
    site.add("sensors/watch.yaml", SENSOR);
    site.add("sensors/watch.py", "");
    site.add(
        "actions/bin/watch",
        "#!/bin/sh\ncd \"$(dirname \"$0\")\"; echo started >> starts\n\
         [ \"$(wc -l < starts)\" -gt 1 ] || exit 1\n\
         trap 'echo ended > ended; exit 0' TERM\n\
         printf '%s\\n' \"$ST2_API_URL\" \"$ST2_AUTH_TOKEN\" \"$LAB_CONFIG\" > e; mv e environment\n\
         while :; do sleep 0.05; done\n",
    );
    let server = site.start_with(&["--sensors"]);
    let bin = site.path("packs/lab/actions/bin");
    let environment = eventually(|| std::fs::read_to_string(bin.join("environment")).ok());
    let [url, token, config] = environment.lines().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(url, format!("{}/v1", server.url));
    let user = server
        .anonymous(Method::GET, "/v1/user")
        .header("X-Auth-Token", token)
        .send()
        .unwrap();
    assert_eq!(answer(user).0, 200);
    let config: Value = serde_json::from_str(config).unwrap();
    assert_eq!(
        config,
        json!({"fog": {"address": "http://127.0.0.1:1/fog", "api_key": "s3cret"}})
    );
    // As in StackStorm a registration starts it anew, so that the executable of now runs.
    std::fs::remove_file(bin.join("environment")).unwrap();
    let (status, registered) = server.send(Method::POST, "/v1/packs/register", &json!({"packs": ["lab"]}));
    assert_eq!((status, &registered["sensors"]), (200, &json!(1)), "{registered}");
    eventually(|| bin.join("environment").exists().then_some(()));
    std::fs::remove_file(bin.join("ended")).unwrap();
    assert_eq!(server.stop(), Some(0));
    assert_eq!(std::fs::read_to_string(bin.join("ended")).unwrap(), "ended\n");
    let starts = std::fs::read_to_string(bin.join("starts")).unwrap();
    assert_eq!(starts.lines().count(), 3);

    for left in ["environment", "ended"] {
        std::fs::remove_file(bin.join(left)).unwrap();
    }
    let server = site.start_with(&["--sensors"]);
    eventually(|| bin.join("environment").exists().then_some(()));
    // Dropping a server is `kill -9`, and that ends the sensor too.
    drop(server);
    eventually(|| bin.join("ended").exists().then_some(()));
}

#[test]
fn a_sensor_that_was_not_built_is_missed_at_once() {
    let site = Site::new();
    site.add("sensors/watch.yaml", SENSOR);
    site.add("sensors/watch.py", "");
    let mut command = site.serve("127.0.0.1:0");
    command.arg("--sensors");
    let why = refusal(command);
    assert!(why.contains("actions/bin/watch"), "{why}");
    // Without sensors nothing of it is needed.
    site.start();
}
