//! FOG does not call a task what it was asked to, and it has tasks that are not the pack's.

use crate::fog_image::{CANCELLED, COMPLETE, Lab, MAC, QUEUED, VERSIONS};
use crate::pack::{Ended, Running, wait_for};
use laas_lab::cabling::{Order, Os, PxeServer};
use laas_lab::faults::Kind;
use laas_lab::fog::TaskNames;
use serde_json::{Value, json};

const NAMES: [TaskNames; 3] = [
    TaskNames::AsAsked,
    TaskNames::WithHost,
    TaskNames::WithHostAndTime,
];
/// FOG's types of tasks.
const DEPLOY: u32 = 1;
const CAPTURE: u32 = 2;
const FAST_WIPE: u32 = 18;

/// The three actions that queue a task, and its type.
const ACTIONS: [(&str, &[&str], u32); 3] = [
    (env!("CARGO_BIN_EXE_fog_image"), &["--image=17"], DEPLOY),
    (env!("CARGO_BIN_EXE_fog_capture"), &["--snapshot=web"], CAPTURE),
    (
        env!("CARGO_BIN_EXE_fog_wipe"),
        &["--confirm=pod1", "--mode=fast"],
        FAST_WIPE,
    ),
];

impl Lab {
    fn start_action(&self, (action, own, _): (&str, &[&str], u32), args: &[&str]) -> Running {
        self.pack.start(action, &[&["--host=pod1"], own, args].concat())
    }

    fn run_action(&self, action: (&str, &[&str], u32), args: &[&str]) -> Ended {
        self.start_action(action, args).end()
    }

    /// The host boots from the network and does what it finds.
    fn boot_and_work(&self) {
        let os = Os {
            id: "ubuntu".into(),
            version: "18.04".into(),
        };
        match self.fog.boot(MAC) {
            Order::Deploy { task, os, .. } => self.fog.finished(task, &os),
            Order::Capture { task, .. } => self.fog.finished(task, &os),
            Order::Wipe { task } => self.fog.wiped(task),
            Order::Disk => panic!("nothing to do"),
        }
    }

    /// Lets the request fail by which the task is ordered.
    fn fail_at_the_order(&self, fault: Kind, action: (&str, &[&str], u32), request: &str) {
        let before = self.fog.requests().len();
        self.run_action(action, &[request, "--dry_run"]).done();
        let dry = self.fog.requests().len() - before;
        // The last task is asked for between the looks of a dry run and the order; the host has its image already.
        let skip = u32::try_from(dry).unwrap() + 1;
        self.fault(fault, skip, Some(1));
    }

    pub fn types_and_states(&self) -> Vec<(u32, u32)> {
        let tasks = self.fog.tasks().into_iter();
        tasks.map(|t| (t.task_type, t.state)).collect()
    }
}

#[test]
fn a_request_is_one_task_whatever_fog_calls_it() {
    for (names, action) in NAMES.iter().flat_map(|names| ACTIONS.map(|a| (*names, a))) {
        // One of them FOG would escape or cut, and one begins like the other's.
        let long = "ein „Wort\" & mehr - pod1 ".repeat(20);
        for request in ["r1", "r10", &long] {
            let words = format!("{names:?} {} {request}", action.0);
            let lab = Lab::new();
            lab.fog.name_tasks(names);
            let request = format!("--request={request}");
            let started = lab.run_action(action, &[&request, "--start_only"]).done();
            assert_eq!(
                (&started["changed"], &started["fog_task"]),
                (&json!(true), &json!(1)),
                "{words}"
            );
            let again = lab.run_action(action, &[&request, "--start_only"]).done();
            assert_eq!(
                (&again["changed"], &again["fog_task"]),
                (&json!(false), &json!(1)),
                "{words}"
            );
            let killed = lab.start_action(action, &[&request]);
            lab.wait_for_polling();
            killed.kill();
            let waiting = lab.start_action(action, &[&request]);
            lab.wait_for_polling();
            lab.boot_and_work();
            assert_eq!(waiting.end().done()["state"], "done", "{words}");
            // Another request of the same work is another task, and the first one stays done.
            let done = lab.run_action(action, &[&request]).done();
            assert_eq!(
                (&done["changed"], &done["state"]),
                (&json!(false), &json!("done")),
                "{words}"
            );
            assert_eq!(lab.types_and_states(), [(action.2, COMPLETE)], "{words}");
        }
    }
}

#[test]
fn killed_after_the_order_it_finds_its_task_by_the_name_that_fog_gave_it() {
    for (names, action) in NAMES.iter().flat_map(|names| ACTIONS.map(|a| (*names, a))) {
        for ended in [false, true] {
            let words = format!("{names:?} {} {ended}", action.0);
            let lab = Lab::new();
            lab.fog.name_tasks(names);
            // The order is taken, and whoever gave it is killed before it has found the task.
            let running = lab.start_action(action, &["--request=r1"]);
            wait_for("the task", || (!lab.fog.tasks().is_empty()).then_some(()));
            running.kill();
            if ended {
                lab.boot_and_work();
            }
            let next = lab.start_action(action, &["--request=r1"]);
            if !ended {
                lab.wait_for_polling();
                lab.boot_and_work();
            }
            assert_eq!(next.end().done()["state"], "done", "{words}");
            assert_eq!(lab.types_and_states(), [(action.2, COMPLETE)], "{words}");
        }
    }
}

#[test]
fn one_request_is_not_taken_for_another_that_begins_like_it() {
    for names in NAMES {
        let lab = Lab::new();
        lab.fog.name_tasks(names);
        let run = |request: &str| lab.run_action(ACTIONS[0], &[request, "--start_only"]).done();
        assert_eq!(run("--request=r10")["fog_task"], 1, "{names:?}");
        lab.boot_and_work();
        // The host's record is the other's by now, so that only the name tells.
        lab.pack.set_key(
            "image_pod1",
            &json!({"request": "r1", "image": 17, "fog_task": null, "state": "starting"}),
        );
        let other = run("--request=r1");
        assert_eq!(
            (&other["changed"], &other["fog_task"]),
            (&json!(true), &json!(2)),
            "{names:?}"
        );
    }
}

#[test]
fn a_task_that_cannot_be_found_again_is_cancelled_and_said() {
    for action in ACTIONS {
        let lab = Lab::new().timing("call", 1);
        lab.fog.name_tasks(TaskNames::Other);
        let failure = lab
            .run_action(action, &["--request=r1", "--start_only"])
            .failed(1);
        let error = failure["error"].as_str().unwrap();
        // Of a wipe FOG's yes is no proof that the one it lists is ours.
        let (state, came_to) = match action.2 {
            FAST_WIPE => (QUEUED, "but task 1"),
            _ => (CANCELLED, "it was cancelled"),
        };
        for words in ["does not list it", "task 1 `Task of pod1`", came_to] {
            assert!(error.contains(words), "{words}: {failure}");
        }
        assert_eq!(lab.types_and_states(), [(action.2, state)], "{failure}");
    }
    // FOG says yes to the cancelling, and does nothing.
    let lab = Lab::new();
    lab.fog.name_tasks(TaskNames::Other);
    let running = lab.start_action(ACTIONS[0], &["--request=r1", "--start_only"]);
    wait_for("the task", || (!lab.fog.tasks().is_empty()).then_some(()));
    lab.fault(Kind::Lie, 0, None);
    let failure = running.end().failed(1);
    for words in ["task 1 `Task of pod1`", "stays queued", "does not cancel task 1"] {
        assert!(
            failure["error"].as_str().unwrap().contains(words),
            "{words}: {failure}"
        );
    }
    assert_eq!(lab.types_and_states(), [(DEPLOY, QUEUED)]);
}

#[test]
fn a_stuck_task_that_stays_queued_is_named() {
    let lab = Lab::new().timing("image", 3).timing("call", 1);
    let running = lab.start_action(ACTIONS[0], &["--request=r1"]);
    lab.wait_for_polling();
    lab.fault(Kind::Lie, 0, None);
    let failure = running.end().failed(1);
    for words in ["is not complete after 3 s", "the task stays queued"] {
        assert!(
            failure["error"].as_str().unwrap().contains(words),
            "{words}: {failure}"
        );
    }
    assert!(
        failure["hint"].as_str().unwrap().contains("cancel task 1"),
        "{failure}"
    );
}

/// Whose tasks they are, and what a task is at, decide whether it may be cancelled for another one.
#[test]
fn what_somebody_else_does_with_the_host_is_never_cancelled() {
    // Multicast, inventory, a person's debugging, memory test, and a type of the future.
    let kinds = [DEPLOY, CAPTURE, FAST_WIPE, 8, 10, 3, 4];
    for (version, action) in VERSIONS.iter().flat_map(|v| ACTIONS.map(|a| (*v, a))) {
        for kind in kinds {
            for begun in [false, true] {
                let lab = Lab::of(version);
                lab.fog.queue_task("pod1", kind, "Task by admin").unwrap();
                if begun {
                    lab.fog.boot(MAC);
                }
                let before = (
                    lab.types_and_states(),
                    lab.fog.host_image("pod1"),
                    lab.fog.images(),
                );
                let failure = lab.run_action(action, &["--request=r1"]).failed(1);
                let error = failure["error"].as_str().unwrap();
                assert!(error.contains("task 1 `Task by admin - pod1"), "{failure}");
                assert!(
                    failure["hint"].as_str().unwrap().contains("Task Management"),
                    "{failure}"
                );
                let after = (
                    lab.types_and_states(),
                    lab.fog.host_image("pod1"),
                    lab.fog.images(),
                );
                assert_eq!(after, before, "{version:?} {} {kind}", action.0);
                let record = ["image_pod1", "wipe_pod1"].map(|key| lab.pack.key(key));
                assert_eq!(record, [Value::Null, Value::Null], "{failure}");
            }
        }
    }
}

#[test]
fn a_capture_or_a_wipe_of_the_packs_own_that_has_begun_is_not_cancelled() {
    for (running, next) in [(1, 0), (1, 2), (2, 0), (2, 1), (0, 1)] {
        let lab = Lab::new();
        lab.run_action(ACTIONS[running], &["--request=first", "--start_only"])
            .done();
        lab.fog.boot(MAC);
        let before = lab.fog.tasks();
        let failure = lab.run_action(ACTIONS[next], &["--request=next"]).failed(1);
        assert!(
            failure["error"]
                .as_str()
                .unwrap()
                .contains("task 1 `laas first - pod1`"),
            "{failure}"
        );
        assert_eq!(lab.fog.tasks(), before, "{failure}");
    }
}

/// What the disk was like before the last deploy or wipe says nothing of it now.
#[test]
fn an_old_task_of_the_same_request_is_not_the_new_one() {
    for (action, other) in [(0, 2), (2, 2)] {
        for fault in [None, Some(Kind::Http500), Some(Kind::Lie), Some(Kind::Hang)] {
            let lab = Lab::new().timing("call", 2);
            for (action, request) in [(action, "--request=r1"), (other, "--request=r2")] {
                lab.run_action(ACTIONS[action], &[request, "--start_only"]).done();
                lab.boot_and_work();
                lab.run_action(ACTIONS[action], &[request]).done();
            }
            let before = lab.types_and_states();
            let words = format!("{} {fault:?}", ACTIONS[action].0);
            let Some(fault) = fault else {
                // Killed right before the order.
                let key = ["image_pod1", "capture_pod1", "wipe_pod1"][action];
                let started = json!({"request": "r1", "image": 17, "mode": "fast", "fog_task": null, "after": 2, "state": "starting"});
                lab.pack.set_key(key, &started);
                let again = lab
                    .run_action(ACTIONS[action], &["--request=r1", "--start_only"])
                    .done();
                assert_eq!(
                    (&again["changed"], &again["fog_task"]),
                    (&json!(true), &json!(3)),
                    "{words}"
                );
                continue;
            };
            lab.fail_at_the_order(fault, ACTIONS[action], "--request=r1");
            let ended = lab.run_action(ACTIONS[action], &["--request=r1"]);
            assert_ne!(ended.code, Some(0), "{words}: {ended:?}");
            assert_eq!(lab.types_and_states(), before, "{words}");
        }
    }
}

#[test]
fn a_host_that_is_renamed_in_fog_keeps_its_task() {
    for action in ACTIONS {
        for (moment, begun) in ["queued", "begun", "complete"]
            .into_iter()
            .zip([false, true, true])
        {
            let lab = Lab::new();
            lab.run_action(action, &["--request=r1", "--start_only"]).done();
            if moment == "complete" {
                lab.boot_and_work();
            } else if begun {
                lab.fog.boot(MAC);
            }
            let images = lab.fog.images().len();
            lab.fog.rename_host("pod1", "new1");
            lab.pack
                .set_key("pod1", &json!({"fog_name": "new1", "hostname": "127.0.0.1"}));
            let again = lab.run_action(action, &["--request=r1", "--start_only"]).done();
            let words = format!("{} {moment}: {again}", action.0);
            assert_eq!(again["fog_task"], 1, "{words}");
            assert_eq!(lab.types_and_states().len(), 1, "{words}");
            assert_eq!(lab.fog.images().len(), images, "{words}");
        }
    }
}

#[test]
fn a_task_that_ends_before_the_first_look_is_found_and_judged() {
    for (action, state) in ACTIONS.iter().flat_map(|a| ["5", "6"].map(|state| (*a, state))) {
        let lab = Lab::new();
        let running = lab.start_action(action, &["--request=r1"]);
        wait_for("the task", || (!lab.fog.tasks().is_empty()).then_some(()));
        lab.fog.edit_task(1, &[("stateID", state)]);
        let failure = running.end().failed(1);
        let error = failure["error"].as_str().unwrap();
        assert!(error.contains("task 1, ") && error.contains(" is "), "{failure}");
    }
}

/// FOG 1.6 says yes to a wipe beside any other task, and makes none; 1.5 cancels what does not image.
#[test]
fn what_somebody_queues_in_the_same_moment_is_left_to_them() {
    for version in VERSIONS {
        let lab = Lab::of(version).timing("call", 1);
        lab.fog.race(DEPLOY);
        for action in ACTIONS {
            let failure = lab.run_action(action, &["--request=r1"]).failed(1);
            assert!(
                failure["error"]
                    .as_str()
                    .unwrap()
                    .contains("task 1 `Task by admin - pod1"),
                "{failure}"
            );
        }
        assert_eq!(lab.types_and_states(), [(DEPLOY, QUEUED)], "{version:?}");
    }
    let lab = Lab::of(VERSIONS[1]).timing("call", 1);
    lab.fog.race(FAST_WIPE);
    let failure = lab.run_action(ACTIONS[2], &["--request=r1"]).failed(1);
    assert!(
        failure["error"]
            .as_str()
            .unwrap()
            .contains("task 1 `Task by admin - pod1"),
        "{failure}"
    );
    assert_eq!(lab.types_and_states(), [(FAST_WIPE, QUEUED)]);
}

#[test]
fn a_second_task_of_the_same_request_is_not_left_queued() {
    for action in ACTIONS {
        for killed in [false, true] {
            let lab = Lab::new();
            lab.run_action(action, &["--request=r1", "--start_only"]).done();
            lab.fog.double_task(1).unwrap();
            if killed {
                lab.boot_and_work();
            }
            let waiting = lab.start_action(action, &["--request=r1"]);
            if !killed {
                lab.wait_for_polling();
                lab.boot_and_work();
            }
            assert_eq!(waiting.end().done()["fog_task"], 1);
            assert_eq!(
                lab.types_and_states(),
                [(action.2, COMPLETE), (action.2, CANCELLED)],
                "{} {killed}",
                action.0
            );
        }
    }
}

#[test]
fn an_order_that_was_taken_is_said_when_fog_then_refuses() {
    for action in ACTIONS {
        let clean = Lab::new();
        clean.run_action(action, &["--request=r1", "--start_only"]).done();
        let requests = clean.fog.requests();
        let order = requests
            .iter()
            .position(|r| r == "POST /fog/host/1/task")
            .unwrap();
        let lab = Lab::new();
        lab.fault(Kind::WrongCredentials, u32::try_from(order).unwrap() + 1, None);
        let failure = lab
            .run_action(action, &["--request=r1", "--start_only"])
            .failed(1);
        let error = failure["error"].as_str().unwrap();
        for words in ["FOG took the", "which may be queued", "refuses the user key"] {
            assert!(error.contains(words), "{words}: {failure}");
        }
    }
}

#[test]
fn an_id_that_is_anothers_by_now_is_not_the_end() {
    for action in ACTIONS {
        let lab = Lab::new();
        let running = lab.start_action(action, &["--request=r1"]);
        lab.wait_for_polling();
        lab.fog.add_host("pod2", ["02:00:00:00:02:01".to_owned()], 17);
        let other = [
            ("hostID", "2"),
            ("typeID", "1"),
            ("stateID", "4"),
            ("name", "Deploy by admin - pod2"),
        ];
        lab.fog.edit_task(1, &other);
        let failure = running.end().failed(1);
        assert!(
            failure["error"]
                .as_str()
                .unwrap()
                .contains("task 1 `Deploy by admin - pod2`"),
            "{failure}"
        );
    }
}

#[test]
fn a_state_that_nobody_knows_is_neither_an_end_nor_nothing() {
    for action in ACTIONS {
        // A plug-in's.
        let lab = Lab::new();
        lab.run_action(action, &["--request=r1", "--start_only"]).done();
        lab.fog.edit_task(1, &[("stateID", "7")]);
        let images = lab.fog.images().len();
        let failure = lab.run_action(action, &["--request=r1"]).failed(1);
        assert!(
            failure["error"].as_str().unwrap().contains("unknown to us"),
            "{failure}"
        );
        assert_eq!(lab.types_and_states(), [(action.2, 7)], "{failure}");
        assert_eq!(lab.fog.images().len(), images, "{failure}");
    }
}

#[test]
fn a_node_that_is_offline_is_waited_for_by_the_next_run() {
    for action in &ACTIONS[..2] {
        let lab = Lab::new();
        lab.fog.set_node_online(1, false);
        let failure = lab.run_action(*action, &["--request=r1"]).failed(3);
        let error = failure["error"].as_str().unwrap();
        assert!(
            error.contains("storage node `DefaultMember` is offline") && error.contains("FTP port, 21"),
            "{failure}"
        );
        assert_eq!(lab.types_and_states(), [], "{failure}");
        assert_eq!(lab.fog.images().len(), 6, "{failure}");
    }
}
