use crate::fog_image::{CANCELLED, COMPLETE, Lab, MAC, QUEUED, REQUEST};
use crate::pack::{Ended, Running, wait_for};
use laas_lab::cabling::{Order, Os, PxeServer};
use laas_lab::faults::Kind;
use laas_lab::fog::Version;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// The image that the host has in FOG.
const BEFORE: u32 = 22;
/// The one that FOG makes next.
const NEXT: u32 = 26;

/// What the disk holds when it is captured.
fn tenants() -> Os {
    Os {
        id: "ubuntu".into(),
        version: "20.04.tenant".into(),
    }
}

impl Lab {
    fn start_capture(&self, args: &[&str]) -> Running {
        let args = [&["--host=pod1"], args].concat();
        self.pack.start(env!("CARGO_BIN_EXE_fog_capture"), &args)
    }

    fn start_web(&self, args: &[&str]) -> Running {
        self.start_capture(&[&["--snapshot=web", &format!("--request={REQUEST}")], args].concat())
    }

    fn web(&self, args: &[&str]) -> Ended {
        self.start_web(args).end()
    }

    /// The host boots from the network as soon as there is a capture, and does it; whether it did.
    fn work(&self) -> bool {
        let tasks = self.fog.tasks();
        let waits = tasks
            .iter()
            .find(|t| t.state <= 3)
            .is_some_and(|t| t.task_type == 2);
        let Some(Order::Capture { task, .. }) = waits.then(|| self.fog.boot(MAC)) else {
            return false;
        };
        for percent in [30, 60, 90] {
            self.fog.progress(task, percent);
        }
        self.fog.finished(task, &tenants());
        true
    }

    fn capture_host(&self) {
        wait_for("a capture to do", || self.work().then_some(()));
    }

    fn image(&self, id: u32) -> Value {
        let found = self.fog.images().into_iter().find(|i| i["id"] == *id.to_string());
        found.unwrap_or_default()
    }

    /// The names of the images that the lab's FOG did not have from the beginning.
    fn new_images(&self) -> Vec<String> {
        let images = self.fog.images().into_iter();
        let new = images.filter(|i| i["id"].as_str().unwrap().parse::<u32>().unwrap() >= NEXT);
        new.map(|i| i["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Nothing is left of the capture.
    fn assert_undone(&self, words: &str) {
        assert_eq!(self.new_images(), [""; 0], "{words}");
        assert_eq!(self.fog.host_image("pod1"), Some(BEFORE), "{words}");
        assert_eq!(self.pack.key("capture_pod1"), Value::Null, "{words}");
        assert!(self.fog.tasks().iter().all(|t| t.state > 3), "{words}");
    }

    /// The one version is complete and everything else as before.
    fn assert_captured(&self, name: &str, words: &str) {
        assert_eq!(self.new_images(), [name], "{words}");
        assert_eq!(self.fog.host_image("pod1"), Some(BEFORE), "{words}");
        assert_eq!(self.pack.key("capture_pod1")["state"], "done", "{words}");
        assert_eq!(self.fog.image_os(NEXT), Some(tenants()), "{words}");
    }
}

#[test]
fn a_request_becomes_the_next_version_once_and_the_host_gets_its_image_back() {
    for version in [Version::V1_5, Version::V1_6] {
        let lab = Lab::of(version);
        let started = lab.web(&["--start_only"]).done();
        assert_eq!(
            [&started["changed"], &started["state"], &started["name"]],
            [&json!(true), &json!("running"), &json!("web_v1_incomplete")]
        );
        assert_eq!(started["before"], json!({"image": BEFORE, "tasks": []}));
        assert_eq!(
            started["after"],
            json!({"image": NEXT, "tasks": [started["fog_task"]]})
        );
        let task = lab.task(started["fog_task"].as_u64().unwrap());
        assert_eq!((task.task_type, task.image, task.state), (2, NEXT, QUEUED));
        let (old, new) = (lab.image(BEFORE), lab.image(NEXT));
        for column in [
            "osID",
            "imageTypeID",
            "imagePartitionTypeID",
            "compress",
            "format",
        ] {
            assert_eq!(new[column], old[column], "{column}");
        }
        assert!(new["path"].as_str().unwrap().starts_with("web_v1_"), "{new}");

        let again = lab.web(&["--start_only"]).done();
        assert_eq!(
            (&again["changed"], &again["fog_task"]),
            (&json!(false), &started["fog_task"])
        );
        let waiting = lab.start_web(&[]);
        lab.wait_for_polling();
        assert_eq!(lab.new_images(), ["web_v1_incomplete"]);
        lab.capture_host();
        let done = waiting.end().done();
        assert_eq!(
            [
                &done["changed"],
                &done["state"],
                &done["name"],
                &done["version"],
                &done["image"]
            ],
            [
                &json!(true),
                &json!("done"),
                &json!("web_v1"),
                &json!(1),
                &json!(NEXT)
            ]
        );
        assert_eq!(done["after"], json!({"image": BEFORE, "tasks": []}));
        lab.assert_captured("web_v1", "");

        let asked = lab.fog.requests().len();
        let again = lab.web(&[]).done();
        assert_eq!(
            [&again["changed"], &again["name"], &again["fog_task"]],
            [&json!(false), &json!("web_v1"), &started["fog_task"]]
        );
        assert_eq!(lab.writes(asked), [""; 0]);

        let other = lab.start_capture(&["--snapshot=web", "--request=other"]);
        lab.capture_host();
        let other = other.end().done();
        assert_eq!((&other["name"], &other["version"]), (&json!("web_v2"), &json!(2)));
        assert_eq!(lab.new_images(), ["web_v1", "web_v2"]);
        assert_ne!(lab.image(NEXT)["path"], lab.image(NEXT + 1)["path"]);
    }
}

#[test]
fn what_is_replaced_is_kept_under_another_name() {
    let lab = Lab::new();
    let replacing = lab.start_web(&["--replace=ubuntu-18.04"]);
    lab.capture_host();
    let done = replacing.end().done();
    assert_eq!(
        (&done["name"], &done["image"]),
        (&json!("ubuntu-18.04"), &json!(NEXT))
    );
    assert_eq!(
        done["replaced"],
        json!({"image": 17, "name": "ubuntu-18.04", "kept_as": "ubuntu-18.04_replaced_17"})
    );
    assert_eq!(lab.image(17)["name"], "ubuntu-18.04_replaced_17");
    assert_ne!(lab.image(17)["path"], lab.image(NEXT)["path"]);
    lab.assert_captured("ubuntu-18.04", "");
    // One that fails leaves the old one as it was.
    let lab = Lab::new();
    lab.web(&["--replace=ubuntu-18.04", "--start_only"]).done();
    lab.fault(Kind::LieDone, 0, Some(1));
    lab.work();
    lab.web(&["--replace=ubuntu-18.04"]).failed(1);
    assert_eq!(lab.image(17)["name"], "ubuntu-18.04");
    lab.assert_undone("replace");
}

/// Every moment between two requests: before the host has done its work, and after.
#[test]
fn killed_before_any_request_it_is_finished_by_the_next_run() {
    let replace = "--replace=ubuntu-18.04";
    let prepared = || {
        let lab = Lab::new();
        // Another one's task has to be cancelled first.
        lab.pack.run(
            env!("CARGO_BIN_EXE_fog_image"),
            &["--host=pod1", "--image=22", "--start_only"],
        );
        lab
    };
    let clean = prepared();
    let asked = clean.fog.requests().len();
    clean.web(&[replace, "--start_only"]).done();
    let begin = clean.fog.requests().len() - asked;
    clean.capture_host();
    let asked = clean.fog.requests().len();
    clean.web(&[replace]).done();
    let end = clean.fog.requests().len() - asked;
    clean.assert_captured("ubuntu-18.04", "clean");
    assert!(begin > 12 && end > 12, "{begin} {end}");
    for (done, requests) in [(false, begin), (true, end)] {
        for skip in 0..u32::try_from(requests).unwrap() {
            let words = format!("killed at request {skip}, captured: {done}");
            let lab = prepared();
            if done {
                lab.web(&[replace, "--start_only"]).done();
                lab.capture_host();
            }
            lab.fault(Kind::Hang, skip, Some(1));
            let running = lab.start_web(&[replace]);
            wait_for("the request to kill at", || lab.met());
            running.kill();
            let next = lab.start_web(&[replace]);
            if !done {
                lab.capture_host();
            }
            assert_eq!(next.end().done()["state"], "done", "{words}");
            lab.assert_captured("ubuntu-18.04", &words);
            assert_eq!(lab.image(17)["name"], "ubuntu-18.04_replaced_17", "{words}");
            let captures = lab.fog.tasks().into_iter().filter(|t| t.task_type == 2);
            assert_eq!(
                captures.map(|t| t.state).collect::<Vec<_>>(),
                [COMPLETE],
                "{words}"
            );
        }
    }
}

#[test]
fn killed_at_ten_moments_it_makes_one_version() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = seed;
    let lab = Lab::new();
    let (kills, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Half of the kills come before the host has done its work, and half after.
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
                if kills.load(Ordering::Relaxed) >= 5 {
                    lab.work();
                }
            }
        });
        while kills.fetch_add(1, Ordering::Relaxed) < 10 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let running = lab.start_web(&[]);
            std::thread::sleep(Duration::from_millis(random >> 33 & 0x7f));
            running.kill();
        }
        let last = lab.web(&[]);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(last.done()["state"], "done", "seed {seed}");
    });
    lab.assert_captured("web_v1", &format!("seed {seed}"));
}

#[test]
fn two_runs_of_a_request_make_one_version() {
    let lab = Lab::new();
    let both = [lab.start_web(&[]), lab.start_web(&[])];
    wait_for("both to poll", || {
        let requests = lab.fog.requests();
        let polls = requests.iter().rev().take_while(|r| *r == "GET /fog/task/active");
        (polls.count() > 6).then_some(())
    });
    lab.capture_host();
    for run in both {
        assert_eq!(run.end().done()["name"], "web_v1");
    }
    lab.assert_captured("web_v1", "");
}

#[test]
fn a_capture_that_fails_is_undone() {
    type Trouble = fn(&Lab);
    let cases: [(Version, Trouble, &str); 5] = [
        // Says that it is complete, and nothing was captured.
        (
            Version::V1_5,
            |lab| {
                lab.fault(Kind::LieDone, 0, Some(1));
                lab.fog.boot(MAC);
            },
            "nothing was ever captured",
        ),
        (
            Version::V1_6,
            |lab| {
                lab.fault(Kind::LieDone, 0, Some(1));
                lab.fog.boot(MAC);
            },
            "nothing was ever captured",
        ),
        (Version::V1_6, |lab| lab.fog.client_failed(1), "is failed"),
        // A deploy by somebody else.
        (
            Version::V1_5,
            |lab| {
                let args = ["--host=pod1", "--image=22", "--start_only"];
                lab.pack.run(env!("CARGO_BIN_EXE_fog_image"), &args).done();
                lab.fog.boot(MAC);
                lab.fog.finished(2, &tenants());
            },
            "is cancelled",
        ),
        (Version::V1_5, |_| (), "has stalled after 1 s"),
    ];
    for (version, trouble, words) in cases {
        let mut lab = Lab::of(version);
        if words.contains("stalled") {
            lab = lab.timing("stall", 1);
        }
        let waiting = lab.start_web(&[]);
        lab.wait_for_polling();
        trouble(&lab);
        let failure = waiting.end().failed(1);
        assert!(
            failure["error"].as_str().unwrap().contains(words),
            "{words}: {failure}"
        );
        assert_eq!(
            (&failure["peer"], &failure["host"]),
            (&json!("fog"), &json!("pod1"))
        );
        lab.assert_undone(words);
        // Run again, it starts anew.
        let again = lab.web(&["--start_only"]).done();
        assert_eq!(
            (&again["changed"], &again["version"]),
            (&json!(true), &json!(1)),
            "{words}"
        );
    }
}

#[test]
fn only_a_cancel_undoes_and_a_signal_leaves_it_to_the_next_run() {
    for canceling in [true, false] {
        let mut lab = Lab::new();
        let (engine, _server) = lab.under_an_engine();
        let running = lab.start_web(&[]);
        lab.wait_for_polling();
        if canceling {
            engine.canceling.lock().unwrap().push("a1");
        }
        running.interrupt();
        running.end().failed(4);
        engine.canceling.lock().unwrap().clear();
        let state = lab.task(1).state;
        if canceling {
            assert_eq!((state, lab.new_images()), (CANCELLED, vec![]));
            assert_eq!(lab.fog.host_image("pod1"), Some(BEFORE));
            assert!(!engine.keys.lock().unwrap().contains_key("capture_pod1"));
            continue;
        }
        assert_eq!(state, QUEUED);
        let next = lab.start_web(&[]);
        lab.capture_host();
        assert_eq!(next.end().done()["fog_task"], 1);
        assert_eq!(lab.new_images(), ["web_v1"]);
    }
}

#[test]
fn what_is_complete_before_it_is_cancelled_is_kept() {
    let mut lab = Lab::new();
    // It does not look again before it is cancelled.
    lab.pack.config["timing"]["poll_ms"] = json!(60_000);
    let running = lab.start_web(&[]);
    lab.capture_host();
    running.interrupt();
    assert_eq!(running.end().done()["name"], "web_v1");
    lab.assert_captured("web_v1", "");
}

#[test]
fn an_unfinished_capture_is_brought_to_its_end_by_the_next_request() {
    for (work, names) in [
        (true, vec!["web_v1", "web_v2_incomplete"]),
        (false, vec!["web_v1_incomplete"]),
    ] {
        let lab = Lab::new();
        lab.web(&["--start_only"]).done();
        if work {
            lab.capture_host();
        }
        let next = lab.start_capture(&["--snapshot=web", "--request=other", "--start_only"]);
        let next = next.end().done();
        assert_eq!(next["before"]["image"], BEFORE);
        assert_eq!(lab.new_images(), names);
        let first = if work { COMPLETE } else { CANCELLED };
        assert_eq!((lab.task(1).state, lab.task(2).state), (first, QUEUED));
    }
    // One that the host is at work on is left alone, and so is a host that is being imaged.
    for (action, args) in [
        (
            env!("CARGO_BIN_EXE_fog_capture"),
            ["--snapshot=web", "--request=r"],
        ),
        (env!("CARGO_BIN_EXE_fog_image"), ["--image=17", "--request=r"]),
    ] {
        let lab = Lab::new();
        let args = [&["--host=pod1", "--start_only"], &args[..]].concat();
        lab.pack.run(action, &args).done();
        let (images, assigned) = (lab.new_images(), lab.fog.host_image("pod1"));
        lab.fog.boot(MAC);
        lab.fog.progress(1, 30);
        let failure = lab.web(&[]).failed(1);
        assert!(
            failure["error"]
                .as_str()
                .unwrap()
                .contains("is busy in FOG with task 1"),
            "{failure}"
        );
        assert_eq!(
            (lab.new_images(), lab.fog.host_image("pod1"), lab.task(1).state),
            (images, assigned, 3)
        );
    }
}

#[test]
fn by_hand_what_is_under_way_is_picked_up_and_else_begun_anew() {
    let lab = Lab::new();
    let by_hand = |args: &[&str]| lab.start_capture(&[&["--snapshot=web"], args].concat());
    let first = by_hand(&["--start_only"]).end().done();
    let again = by_hand(&["--start_only"]).end().done();
    assert_eq!(
        (&again["changed"], &again["fog_task"]),
        (&json!(false), &first["fog_task"])
    );
    let waiting = by_hand(&[]);
    lab.capture_host();
    assert_eq!(waiting.end().done()["name"], "web_v1");
    let anew = by_hand(&["--start_only"]).end().done();
    assert_eq!((&anew["changed"], &anew["version"]), (&json!(true), &json!(2)));
}

#[test]
fn a_dry_run_writes_nothing() {
    let lab = Lab::new();
    for (started, changed, name) in [(false, true, "web_v1"), (true, false, "web_v1_incomplete")] {
        if started {
            lab.web(&["--start_only"]).done();
        }
        let (asked, record) = (lab.fog.requests().len(), lab.pack.key("capture_pod1"));
        let dry = lab.web(&["--dry_run"]).done();
        assert_eq!((&dry["changed"], &dry["name"]), (&json!(changed), &json!(name)));
        // Whoever else captures would first undo what is there.
        let other = lab.start_capture(&["--snapshot=web", "--dry_run"]).end().done();
        assert_eq!(other["changed"], true);
        assert_eq!(lab.writes(asked), [""; 0]);
        assert_eq!(lab.pack.key("capture_pod1"), record);
    }
}

#[test]
fn trouble_while_polling_is_neither_success_nor_failure() {
    for kind in [Kind::Http500, Kind::Html, Kind::CutJson, Kind::Refuse] {
        let lab = Lab::new();
        let running = lab.start_web(&[]);
        lab.wait_for_polling();
        lab.fault(kind, 0, Some(5));
        wait_for("the trouble to pass", || lab.met());
        lab.capture_host();
        assert_eq!(running.end().done()["state"], "done", "{kind:?}");
        lab.assert_captured("web_v1", &format!("{kind:?}"));
    }
}

/// FOG goes away for good before any request of a run: worth a retry, and the retry finishes it.
#[test]
fn a_fog_that_goes_away_is_waited_for_by_the_next_run() {
    let clean = Lab::new();
    clean.web(&["--start_only"]).done();
    let begin = u32::try_from(clean.fog.requests().len()).unwrap();
    for skip in 0..begin {
        let lab = Lab::new();
        lab.fault(Kind::Refuse, skip, None);
        let failure = lab.web(&["--start_only"]).failed(3);
        assert_eq!(
            (&failure["peer"], &failure["host"]),
            (&json!("fog"), &json!("pod1"))
        );
        lab.faults.clear(&laas_lab::faults::Peer::Fog);
        let next = lab.start_web(&[]);
        lab.capture_host();
        next.end().done();
        lab.assert_captured("web_v1", &format!("away from request {skip}"));
    }
}

#[test]
fn a_fog_that_says_yes_and_does_nothing_is_not_believed() {
    let clean = Lab::new();
    clean.web(&["--start_only"]).done();
    let begin = clean.fog.requests();
    clean.capture_host();
    clean.web(&[]).done();
    let end = clean.fog.requests().split_off(begin.len());
    let writes = |requests: &[String]| {
        let writes = requests.iter().zip(0..).filter(|(r, _)| !r.starts_with("GET"));
        writes
            .map(|(r, skip)| (r.clone(), skip))
            .collect::<Vec<(String, u32)>>()
    };
    let (begin, end) = (writes(&begin), writes(&end));
    assert_eq!((begin.len(), end.len()), (3, 2), "{begin:?} {end:?}");
    for (request, skip) in begin {
        let lab = Lab::new().timing("call", 1);
        lab.fault(Kind::Lie, skip, Some(1));
        let failure = lab.web(&["--start_only"]).failed(1);
        assert_eq!(failure["peer"], "fog", "{request}: {failure}");
        lab.assert_undone(&request);
    }
    for (request, skip) in end {
        let lab = Lab::new();
        lab.web(&["--start_only"]).done();
        lab.capture_host();
        lab.fault(Kind::Lie, skip, Some(1));
        lab.web(&[]).failed(1);
        assert_eq!(lab.new_images(), ["web_v1_incomplete"], "{request}");
        lab.web(&[]).done();
        lab.assert_captured("web_v1", &request);
    }
    // What can't be undone is said, and undone by the next run.
    let failing = || {
        let lab = Lab::new();
        lab.web(&["--start_only"]).done();
        lab.fault(Kind::LieDone, 0, Some(1));
        lab.fog.boot(MAC);
        lab
    };
    let clean = failing();
    let asked = clean.fog.requests().len();
    clean.web(&[]).failed(1);
    let undoing = writes(&clean.fog.requests().split_off(asked));
    assert_eq!(undoing.len(), 2, "{undoing:?}");
    for (request, skip) in undoing {
        let lab = failing();
        lab.fault(Kind::Lie, skip, Some(1));
        let failure = lab.web(&[]).failed(1);
        let error = failure["error"].as_str().unwrap();
        assert!(
            error.contains("nothing was ever captured") && error.contains("not undone"),
            "{request}: {error}"
        );
        let next = lab.start_capture(&["--snapshot=other", "--request=other", "--start_only"]);
        next.end().done();
        assert_eq!(lab.new_images(), ["other_v1_incomplete"], "{request}");
        assert_eq!(lab.pack.key("capture_pod1")["previous"], BEFORE, "{request}");
    }
}

#[test]
fn nothing_is_touched_when_anything_is_wrong_at_the_start() {
    type Trouble = fn(&Lab);
    let nothing: Trouble = |_| ();
    let cases: [(Trouble, &[&str], i32, &str); 11] = [
        (nothing, &["--snapshot=../x"], 2, "name of a snapshot"),
        (
            nothing,
            &["--snapshot=web", "--replace=nobody"],
            2,
            "no image called `nobody`",
        ),
        (
            nothing,
            &["--snapshot=web", "--replace=UBUNTU-18.04"],
            2,
            "spelling",
        ),
        (
            |lab| {
                lab.fog.add_image("x_v1_incomplete", tenants());
            },
            &["--snapshot=web", "--replace=x_v1_incomplete"],
            2,
            "not finished",
        ),
        (
            |lab| {
                lab.pack
                    .set_key("pod1", &json!({"fog_name": "POD1", "hostname": "h"}))
            },
            &["--snapshot=web"],
            2,
            "fog_name",
        ),
        (
            |lab| {
                lab.fog.add_host("pod2", [], 0);
                lab.pack
                    .set_key("pod1", &json!({"fog_name": "pod2", "hostname": "h"}));
            },
            &["--snapshot=web"],
            2,
            "has no image in FOG",
        ),
        (
            |lab| lab.fog.enable_api(false),
            &["--snapshot=web"],
            1,
            "API System",
        ),
        (
            |lab| lab.fault(Kind::WrongCredentials, 0, None),
            &["--snapshot=web"],
            1,
            "user_key",
        ),
        (
            |lab| lab.fault(Kind::Refuse, 0, None),
            &["--snapshot=web"],
            3,
            "can't reach",
        ),
        (
            |lab| lab.fault(Kind::Html, 0, None),
            &["--snapshot=web"],
            3,
            "text/html",
        ),
        (
            |lab| lab.fault(Kind::CutJson, 0, None),
            &["--snapshot=web"],
            3,
            "not what FOG answers",
        ),
    ];
    for (trouble, args, code, words) in cases {
        let lab = Lab::new();
        trouble(&lab);
        let images = lab.new_images();
        let failure = lab.start_capture(args).end().failed(code);
        assert!(failure.to_string().contains(words), "{words}: {failure}");
        assert_eq!(
            (lab.new_images(), lab.fog.host_image("pod1")),
            (images, Some(BEFORE)),
            "{words}"
        );
        assert_eq!(
            (lab.fog.tasks().len(), lab.pack.key("capture_pod1")),
            (0, Value::Null),
            "{words}"
        );
    }
}

#[test]
fn a_request_is_of_one_snapshot_and_what_is_gone_is_not_done() {
    let lab = Lab::new();
    lab.web(&["--start_only"]).done();
    for args in [
        &["--snapshot=other"][..],
        &["--snapshot=web", "--replace=ubuntu-18.04"],
    ] {
        let request = format!("--request={REQUEST}");
        let failure = lab.start_capture(&[args, &[&request]].concat()).end().failed(2);
        assert!(
            failure["error"]
                .as_str()
                .unwrap()
                .contains("of the snapshot `web`"),
            "{failure}"
        );
    }
    lab.capture_host();
    lab.web(&[]).done();
    lab.fog.delete_image(NEXT);
    let failure = lab.web(&[]).failed(1);
    assert!(
        failure["error"].as_str().unwrap().contains("no longer has"),
        "{failure}"
    );
}
