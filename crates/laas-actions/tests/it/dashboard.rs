//! A job from its plan to its last post, against a dashboard that behaves as the real one does.

use crate::pack::{Ended, Pack, wait_for};
use laas_lab::bot::Bot;
use laas_lab::dashboard::{CaptureBooking, Dashboard, TaskState, TaskType};
use laas_lab::faults::{Fault, Faults, Kind, Peer};
use laas_lab::http::Server;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::runtime::Runtime;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITestOnlyKeyForAlice {{ st2kv.system.lab_auth_token }}\n";

/// The captured booking as job 1, a bot, and the pack.
struct Lab {
    dashboard: Dashboard,
    bot: Bot,
    faults: Faults,
    pack: Pack,
    _servers: [Server; 2],
    _runtime: Runtime,
}

impl Lab {
    fn new() -> Self {
        let dashboard = Dashboard::new("UNH_IOL", "token", &[]);
        let booking = CaptureBooking {
            alice_key: Some(KEY.to_owned()),
            software: true,
            snapshot: true,
            ..CaptureBooking::default()
        };
        assert_eq!(dashboard.book_capture(booking), Ok(1));
        let (bot, faults, runtime) = (Bot::default(), Faults::default(), Runtime::new().unwrap());
        let serve = |peer, router| {
            let server = Server::start(Ipv4Addr::LOCALHOST, peer, router, faults.clone());
            runtime.block_on(server).unwrap()
        };
        let servers = [
            serve(Peer::Dashboard, dashboard.router()),
            serve(Peer::Bot, bot.router()),
        ];
        let config = json!({
            "dashboard": {"address": servers[0].url(), "lab_name": "UNH_IOL"},
            "bot": {"address": servers[1].url(), "endpoints": {"failure": "/chat/notify"}},
            "timing": {"call": 1, "concurrency": 5, "retries": 2, "retry_delay": 7},
        });
        Self {
            pack: Pack::new(config, &[("lab_auth_token", json!("token"))]),
            dashboard,
            bot,
            faults,
            _servers: servers,
            _runtime: runtime,
        }
    }

    fn plan(&self) -> Value {
        let plan = self.pack.run(env!("CARGO_BIN_EXE_plan_job"), &["--job_id=1"]);
        plan.done()
    }

    fn post(&self, status: u16, tasks: &Value) -> Ended {
        let args = [format!("--status={status}"), format!("--tasks={tasks}")];
        self.pack.run(
            env!("CARGO_BIN_EXE_task_status"),
            &args.each_ref().map(String::as_str),
        )
    }

    /// A post that was on its way when the dashboard changed the task.
    fn post_late(&self, planned: &Value) {
        let config = serde_json::from_value(self.pack.config["dashboard"].clone()).unwrap();
        let token = laas_core::Secret::new("token");
        let dashboard = laas_dashboard::Dashboard::new(&config, &token, Duration::from_secs(5)).unwrap();
        let task = planned["task"].as_str().unwrap().parse().unwrap();
        dashboard.post_task(1, &task, 200, "", None).unwrap();
    }

    fn report(&self, tasks: &Value, failure: &Value) -> Ended {
        let args = [
            "--host=pod1".to_owned(),
            format!("--tasks={tasks}"),
            format!("--failure={failure}"),
        ];
        let executable = env!("CARGO_BIN_EXE_report_failure");
        self.pack.run(executable, &args.each_ref().map(String::as_str))
    }

    /// What the dashboard knows of a task that was planned.
    fn task(&self, planned: &Value) -> TaskState {
        let tasks = self.dashboard.job(1).unwrap().tasks;
        let found = tasks
            .into_iter()
            .find(|t| t.id == planned["task"].as_str().unwrap());
        found.unwrap()
    }

    fn ledger(&self, planned: &Value) -> Value {
        self.pack
            .key(&format!("task_{}", planned["task"].as_str().unwrap()))
    }

    fn fault(&self, peer: Peer, kind: Kind, times: u32) {
        let fault = Fault {
            kind,
            skip: 0,
            times: Some(times),
        };
        self.faults.set(peer, fault).unwrap();
    }
}

/// The planned hardware task of pod1.
fn hardware(plan: &Value) -> Value {
    let mut task = plan["hosts"][0]["hardware"].clone();
    assert_eq!(plan["hosts"][0]["host"], "pod1");
    task["event"] = json!("hardware");
    task["facts"] = json!({"host": "pod1", "hostname": "jump"});
    task
}

#[test]
fn a_job_is_planned_begun_and_done_once() {
    let lab = Lab::new();
    let dry = lab
        .pack
        .run(env!("CARGO_BIN_EXE_plan_job"), &["--job_id=1", "--dry_run"]);
    assert_eq!(dry.done()["changed"], true);
    assert_eq!(lab.pack.keys().len(), 1);
    let plan = lab.plan();
    assert_eq!(
        plan["settings"],
        json!({"concurrency": 5, "retries": 2, "retry_delay": 7, "disk": "keep", "jenkins": false})
    );
    assert_eq!(plan["tasks"].as_array().unwrap().len(), 9);
    // What a tenant wrote into a key is no expression any more.
    let key = plan["users"][0]["key"]["key"].as_str().unwrap();
    assert!(
        key.starts_with("ssh-ed25519 AAAA") && !key.contains("{{"),
        "{key}"
    );
    let task = hardware(&plan);
    assert_eq!(lab.ledger(&task)["state"], 0);
    assert_eq!(lab.plan()["changed"], false);

    let begun = lab.post(100, &plan["tasks"]).done();
    assert_eq!(
        (&begun["changed"], begun["posted"].as_array().unwrap().len()),
        (&json!(true), 9)
    );
    // Nine tasks and one list: the next request would fail.
    let fault = Fault {
        kind: Kind::Http500,
        skip: 10,
        times: None,
    };
    lab.faults.set(Peer::Dashboard, fault).unwrap();
    assert_eq!(
        lab.post(100, &plan["tasks"]).done(),
        json!({"changed": false, "posted": [], "superseded": [], "gone": []})
    );
    lab.faults.clear(&Peer::Dashboard);
    assert_eq!(lab.dashboard.posts().len(), 9);

    assert_eq!(plan["unsupported"], json!([]));
    assert_eq!(
        plan["software"][0]["roles"][0],
        json!({"host": "pod1", "role": "Jumphost"})
    );

    let done = lab.post(200, &json!([task])).done();
    assert_eq!(done["posted"], json!([task["task"]]));
    let state = lab.task(&task);
    assert_eq!(state.status, 200);
    assert_eq!(
        state.message,
        "Host pod1 runs the image that you asked for. Its hostname is jump."
    );
    assert_eq!(lab.post(200, &json!([task])).done()["changed"], false);
    assert_eq!(lab.dashboard.posts().len(), 10);
    assert_eq!(lab.ledger(&task)["state"], 200);
    // What is done is not planned again; what is under way keeps its name.
    let again = lab.plan();
    assert_eq!(again["tasks"].as_array().unwrap().len(), 8);
    assert_eq!(
        again["hosts"][0]["network"]["request"],
        plan["hosts"][0]["network"]["request"]
    );
    assert_eq!(again["changed"], false);
}

#[test]
fn nothing_is_posted_for_work_that_is_no_longer_wanted() {
    type Change = fn(&Dashboard);
    let cases: [(&str, Change, &str); 4] = [
        ("the booking ended", |d| d.end(1).unwrap(), "superseded"),
        ("another image", |d| d.reimage("pod1", 22).unwrap(), "superseded"),
        (
            "the same image again",
            |d| d.reimage("pod1", 17).unwrap(),
            "superseded",
        ),
        ("the booking was deleted", |d| d.delete(1).unwrap(), "gone"),
    ];
    for (what, change, answer) in cases {
        let lab = Lab::new();
        let plan = lab.plan();
        lab.post(100, &plan["tasks"]).done();
        let task = hardware(&plan);
        change(&lab.dashboard);
        let posts = lab.dashboard.posts().len();
        let output = lab.post(200, &json!([task])).done();
        assert_eq!(output[answer], json!([task["task"]]), "{what}");
        assert_eq!(output["changed"], false, "{what}");
        assert_eq!(lab.dashboard.posts().len(), posts, "{what}");
        let again = lab.plan();
        if what.contains("image") {
            assert_ne!(hardware(&again)["request"], task["request"], "{what}");
            let begun = lab.post(100, &json!([hardware(&again)])).done();
            assert_eq!(begun["changed"], true, "{what}");
            // The execution that began the work before is late, and its word does not count any more.
            let late = lab.post(200, &json!([task])).done();
            assert_eq!(late["superseded"], json!([task["task"]]), "{what}");
            assert_eq!(lab.task(&task).status, 100, "{what}");
        } else {
            assert_eq!(again["hosts"], json!([]), "{what}");
            let hosts = again["release"]["hosts"].as_array().unwrap();
            let pod1 = hosts.iter().find(|host| host["host"] == "pod1").unwrap();
            assert_eq!(pod1["given"], true, "{what}: what was done is to be taken back");
        }
    }
}

/// A host that another job has begun with is left alone until that one is through; one with which it has failed, or of
/// which it was refused a snapshot, is taken back.
#[test]
fn a_release_waits_for_who_is_at_work_and_for_nobody_else() {
    for (state, waits) in [(100, true), (300, false)] {
        let lab = Lab::new();
        lab.dashboard.end(1).unwrap();
        let other =
            json!({"job": 9, "digest": "", "state": state, "execution": null, "time": 0, "host": "pod1"});
        let key = "task_45c425b2-8171-461c-87da-c6a79fcaabb0";
        lab.pack.set_key(key, &other);
        let plan = lab.plan();
        let waiting = if waits { json!({"pod1": 9}) } else { json!({}) };
        assert_eq!(plan["waiting"], waiting, "{plan:#}");
    }
}

/// The dashboard gives a host's network and its users' keys out anew with an image, and takes a post that was on its way
/// for their end.
#[test]
fn what_an_image_undoes_is_done_again_although_a_late_post_has_closed_it() {
    let lab = Lab::new();
    let plan = lab.plan();
    lab.post(100, &plan["tasks"]).done();
    lab.post(200, &plan["tasks"]).done();
    assert_eq!(lab.plan()["tasks"], json!([]));
    lab.dashboard.reimage("pod1", 22).unwrap();
    let network = &plan["hosts"][0]["network"];
    let key = &plan["users"][0]["key"];
    for late in [network, key] {
        lab.post_late(late);
    }
    let again = lab.plan();
    assert_eq!(again["hosts"].as_array().unwrap().len(), 1, "{again:#}");
    assert_eq!(again["hosts"][0]["hardware"]["image"], 22);
    for (again, before) in [
        (&again["hosts"][0]["network"], network),
        (&again["users"][0]["key"], key),
    ] {
        assert_eq!(again["task"], before["task"]);
        assert_eq!(lab.task(again).status, 200);
    }
    lab.post(100, &again["tasks"]).done();
    assert_eq!(lab.task(network).status, 100, "it is under way again");
}

#[test]
fn passing_trouble_is_outlasted() {
    for (kind, times) in [
        (Kind::Refuse, 2),
        (Kind::Hang, 1),
        (Kind::Http500, 3),
        (Kind::Html, 3),
        (Kind::CutJson, 4),
    ] {
        for skip in [0, 3] {
            let lab = Lab::new();
            let plan = lab.plan();
            let task = hardware(&plan);
            lab.post(100, &plan["tasks"]).done();
            // The fault hits the first look at the task, or the post itself.
            let fault = Fault {
                kind,
                skip,
                times: Some(times),
            };
            lab.faults.set(Peer::Dashboard, fault).unwrap();
            let output = lab.post(200, &json!([task])).done();
            assert_eq!(output["posted"], json!([task["task"]]), "{kind:?} after {skip}");
            assert_eq!(lab.task(&task).status, 200, "{kind:?} after {skip}");
            assert_eq!(lab.post(200, &json!([task])).done()["changed"], false);
        }
    }
}

#[test]
fn a_yes_without_a_deed_is_noticed() {
    let lab = Lab::new();
    let plan = lab.plan();
    lab.fault(Peer::Dashboard, Kind::Lie, 3);
    lab.post(100, &json!([hardware(&plan)])).done();
    assert_eq!(lab.task(&hardware(&plan)).status, 100);
    lab.faults.set(Peer::Dashboard, Kind::Lie).unwrap();
    let failure = lab.post(200, &json!([hardware(&plan)])).failed(3);
    assert_eq!(failure["peer"], "dashboard");
    // The next execution finds the task unfinished and its end unposted.
    lab.faults.clear(&Peer::Dashboard);
    let again = lab.plan();
    assert_eq!(hardware(&again)["request"], hardware(&plan)["request"]);
    lab.post(100, &json!([hardware(&again)])).done();
    let output = lab.post(200, &json!([hardware(&again)])).done();
    assert_eq!(output["changed"], true);
}

#[test]
fn a_lost_100_is_posted_again() {
    let lab = Lab::new();
    let plan = lab.plan();
    let task = hardware(&plan);
    lab.faults.set(Peer::Dashboard, Kind::Lie).unwrap();
    lab.post(100, &json!([task])).failed(3);
    assert_eq!(
        (lab.ledger(&task)["state"].as_u64(), lab.task(&task).status),
        (Some(100), 0)
    );
    lab.faults.clear(&Peer::Dashboard);
    assert_eq!(lab.post(100, &json!([task])).done()["changed"], true);
    assert_eq!(lab.task(&task).status, 100);
}

#[test]
fn all_is_done_although_the_mail_about_it_failed() {
    let lab = Lab::new();
    let plan = lab.plan();
    lab.dashboard.set_mail_down(true);
    let output = lab.post(200, &plan["tasks"]).done();
    assert_eq!(output["posted"].as_array().unwrap().len(), 9);
    let tasks = lab.dashboard.job(1).unwrap().tasks;
    assert!(tasks.iter().all(|t| t.status == 200));
    // The one that answered HTTP 500 is seen among the done ones, not posted again.
    assert_eq!(lab.dashboard.posts().len(), 9);
}

#[test]
fn a_dashboard_that_does_not_help_is_named() {
    let lab = Lab::new();
    let plan = lab.plan();
    let task = json!([hardware(&plan)]);
    for (kind, code, said) in [
        (Kind::Refuse, 3, "can't reach"),
        (Kind::Html, 3, "instead of JSON"),
        (Kind::WrongCredentials, 1, "refuses our token"),
    ] {
        lab.faults.set(Peer::Dashboard, kind).unwrap();
        let planned = lab.pack.run(env!("CARGO_BIN_EXE_plan_job"), &["--job_id=1"]);
        for failure in [planned.failed(code), lab.post(100, &task).failed(code)] {
            assert_eq!(failure["peer"], "dashboard", "{kind:?}");
            assert!(failure["error"].as_str().unwrap().contains(said), "{failure}");
        }
    }
    assert_eq!(lab.task(&task[0]).status, 0);
}

#[test]
fn a_failure_reaches_users_and_operators_once() {
    let lab = Lab::new();
    let plan = lab.plan();
    let tasks = &plan["hosts"][0]["tasks"];
    lab.post(100, &plan["tasks"]).done();
    // The hardware is proven; what fails is the network.
    lab.post(200, &json!([hardware(&plan)])).done();
    let failure = json!({"failed": true, "return_code": 1, "stdout":
        {"error": "port Ethernet1/34 is not there", "hint": "look at the cabling", "peer": "switch"}});
    let output = lab.report(tasks, &failure).done();
    let network = &plan["hosts"][0]["network"];
    assert_eq!(output["posted"], json!([network["task"]]));
    assert_eq!(output["told_operator"], true);
    let state = lab.task(network);
    assert_eq!(state.status, 300);
    let said = "FAILED: pod1: the switch failed: port Ethernet1/34 is not there\n";
    assert!(state.message.starts_with(said), "{}", state.message);
    assert!(!state.message.contains("look at the cabling"));
    assert_eq!(lab.task(&hardware(&plan)).status, 200);
    let told = lab.bot.messages();
    assert_eq!((told.len(), told[0].path.as_str()), (1, "/chat/notify"));
    let body: Value = serde_json::from_str(&told[0].body).unwrap();
    assert_eq!(
        body["text"],
        "pod1: switch: port Ethernet1/34 is not there (hint: look at the cabling)"
    );
    assert_eq!(body["job"], 1);
    let again = lab.report(tasks, &failure).done();
    assert_eq!(
        (&again["changed"], &again["told_operator"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(lab.bot.messages().len(), 1);
}

/// The page shows a task that has failed as done, so that its message says so, whoever has written it; a reset of the
/// host is named where it helps, with what it costs.
#[test]
fn the_page_of_a_task_that_failed_says_so() {
    let lab = Lab::new();
    let plan = lab.plan();
    let [alice, owner] = [&plan["users"][0]["key"], &hardware(&plan)].map(Value::clone);
    let snapshot = plan["snapshots"][0].clone();
    lab.post(100, &plan["tasks"]).done();
    let mut by_hand = alice.clone();
    by_hand["message"] = json!("the rack has no power");
    lab.post(300, &json!([by_hand])).done();
    assert_eq!(lab.task(&alice).message, "FAILED: the rack has no power");
    lab.post(300, &json!([plan["users"][0]["vpn"]])).done();
    assert_eq!(lab.task(&plan["users"][0]["vpn"]).message, "FAILED");

    let no_host = json!({"error": "no system answers", "peer": "host"});
    let no_switch = json!({"error": "the port is gone", "peer": "switch"});
    let network = plan["hosts"][0]["network"].clone();
    for (task, reset, failure, helps) in [
        (&owner, true, &no_host, true),
        (&network, true, &no_switch, false),
        (&snapshot, false, &no_host, false),
    ] {
        let mut args = vec![format!("--tasks=[{task}]"), format!("--failure={failure}")];
        args.extend(reset.then(|| "--reset".to_owned()));
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        lab.pack.run(env!("CARGO_BIN_EXE_report_failure"), &args).done();
        let said = lab.task(task).message;
        assert!(said.starts_with("FAILED: "), "{said}");
        assert_eq!(said.contains("Change/Reset"), helps, "{said}");
        assert_eq!(said.contains("this erases the disk"), helps, "{said}");
    }
}

#[test]
fn a_dead_bot_keeps_nobody_from_being_told() {
    for kind in [Kind::Refuse, Kind::Http500] {
        let lab = Lab::new();
        let plan = lab.plan();
        lab.faults.set(Peer::Bot, kind).unwrap();
        let tasks = json!([hardware(&plan)]);
        let output = lab.report(&tasks, &json!({"error": "no"})).done();
        assert_eq!(
            (&output["changed"], &output["told_operator"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(lab.task(&tasks[0]).status, 300);
    }
}

#[test]
fn a_dead_dashboard_keeps_nobody_from_being_told() {
    let lab = Lab::new();
    let plan = lab.plan();
    lab.faults.set(Peer::Dashboard, Kind::Refuse).unwrap();
    let failure = json!({"error": "out of luck"});
    // Another try at the posts tells the operators nothing new.
    for _ in 0..2 {
        let failed = lab.report(&json!([hardware(&plan)]), &failure).failed(3);
        assert_eq!(failed["peer"], "dashboard");
        assert_eq!(lab.bot.messages().len(), 1);
    }
    let nobody = lab.report(&json!([]), &failure).done();
    assert_eq!(nobody["told_operator"], true);
    assert_eq!(lab.bot.messages().len(), 2);
}

#[test]
fn operators_are_told_by_a_report_that_is_killed() {
    let lab = Lab::new();
    let plan = lab.plan();
    let tasks = json!([hardware(&plan)]);
    let failure = json!({"error": "out of luck"});
    lab.faults.set(Peer::Dashboard, Kind::Hang).unwrap();
    let args = [
        format!("--tasks={tasks}"),
        format!("--failure={failure}"),
        "--host=pod1".to_owned(),
    ];
    let args = args.each_ref().map(String::as_str);
    let report = lab.pack.start(env!("CARGO_BIN_EXE_report_failure"), &args);
    let key = format!("told_{}", tasks[0]["task"].as_str().unwrap());
    wait_for("the note of what was told", || {
        // Before the operators are told it has no digest.
        let told = lab.pack.key(&key);
        told["digest"]
            .as_str()
            .is_some_and(|digest| !digest.is_empty())
            .then_some(())
    });
    report.kill();
    assert_eq!(lab.bot.messages().len(), 1);
    lab.faults.clear(&Peer::Dashboard);
    let again = lab.report(&tasks, &failure).done();
    assert_eq!(
        (&again["changed"], &again["told_operator"]),
        (&json!(true), &json!(false))
    );
    // A failure that nobody has heard of is told, also about the same task.
    let other = lab.report(&tasks, &json!({"error": "out of time"})).done();
    assert_eq!(
        (&other["changed"], &other["told_operator"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(lab.bot.messages().len(), 2);
}

#[test]
fn access_tasks_are_told_apart() {
    let lab = Lab::new();
    let plan = lab.plan();
    let users: Vec<_> = plan["users"].as_array().unwrap().iter().collect();
    let shown: Vec<_> = users
        .iter()
        .map(|u| (u["user"].as_u64(), u["key"].is_null(), u["vpn"].is_null()))
        .collect();
    // Bob has no key.
    assert_eq!(shown, [(Some(3), false, false), (Some(4), true, false)]);
    assert_eq!(lab.task(&users[1]["vpn"]).task_type, TaskType::Access);
}
