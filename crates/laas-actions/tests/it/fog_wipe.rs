use crate::fog_image::{CANCELLED, COMPLETE, Lab, MAC, QUEUED, REQUEST};
use crate::pack::{Ended, Running, wait_for};
use laas_lab::cabling::{Order, PxeServer};
use laas_lab::faults::Kind;
use serde_json::{Value, json};

impl Lab {
    fn start_wipe(&self, args: &[&str]) -> Running {
        let args = [&["--host=pod1", "--confirm=pod1"], args].concat();
        self.pack.start(env!("CARGO_BIN_EXE_fog_wipe"), &args)
    }

    fn start_request_wipe(&self, args: &[&str]) -> Running {
        self.start_wipe(&[&["--mode=fast", &format!("--request={REQUEST}")], args].concat())
    }

    fn wipe_request(&self, args: &[&str]) -> Ended {
        self.start_request_wipe(args).end()
    }

    fn wipe_disk(&self) {
        let task = wait_for("a wipe to do", || match self.fog.boot(MAC) {
            Order::Wipe { task } => Some(task),
            _ => None,
        });
        self.fog.wiped(task);
    }
}

#[test]
fn a_request_is_wiped_once_and_its_deploy_is_forgotten() {
    for (mode, task_type) in [("fast", 18), ("normal", 19), ("full", 20)] {
        let lab = Lab::new();
        let deploy = ["--host=pod1", "--image=17", "--request=deploy", "--start_only"];
        lab.pack.run(env!("CARGO_BIN_EXE_fog_image"), &deploy).done();
        let Order::Deploy { task, os, .. } = lab.fog.boot(MAC) else {
            panic!("no deploy")
        };
        lab.fog.finished(task, &os);
        lab.pack.run(env!("CARGO_BIN_EXE_fog_image"), &deploy).done();
        assert_eq!(lab.pack.key("image_pod1")["state"], "done");

        let mode_arg = format!("--mode={mode}");
        let args = [mode_arg.as_str(), "--request=wipe"];
        let started = lab
            .start_wipe(&[&args[..], &["--start_only"]].concat())
            .end()
            .done();
        assert_eq!(
            [&started["changed"], &started["state"], &started["mode"]],
            [&json!(true), &json!("running"), &json!(mode)]
        );
        assert_eq!(lab.types_and_states(), [(1, COMPLETE), (task_type, QUEUED)]);
        assert_eq!(
            lab.pack.key("image_pod1"),
            Value::Null,
            "the disk may be empty from now on"
        );
        let again = lab
            .start_wipe(&[&args[..], &["--start_only"]].concat())
            .end()
            .done();
        assert_eq!(
            (&again["changed"], &again["fog_task"]),
            (&json!(false), &started["fog_task"])
        );

        let waiting = lab.start_wipe(&args);
        lab.wait_for_polling();
        lab.wipe_disk();
        let done = waiting.end().done();
        assert_eq!((&done["changed"], &done["state"]), (&json!(true), &json!("done")));
        let again = lab.start_wipe(&args).end().done();
        assert_eq!(
            (&again["changed"], &again["state"]),
            (&json!(false), &json!("done"))
        );
        assert_eq!(lab.types_and_states(), [(1, COMPLETE), (task_type, COMPLETE)]);
        // The same deploy is not taken for done.
        let anew = lab.pack.run(env!("CARGO_BIN_EXE_fog_image"), &deploy).done();
        assert_eq!(
            (&anew["changed"], &anew["state"]),
            (&json!(true), &json!("running"))
        );
    }
}

#[test]
fn killed_before_any_request_it_is_finished_by_the_next_run() {
    let clean = Lab::new();
    clean.wipe_request(&["--start_only"]).done();
    for skip in 0..u32::try_from(clean.fog.requests().len()).unwrap() {
        let lab = Lab::new();
        lab.fault(Kind::Hang, skip, Some(1));
        let running = lab.start_request_wipe(&[]);
        wait_for("the request to kill at", || lab.met());
        running.kill();
        let next = lab.start_request_wipe(&[]);
        lab.wipe_disk();
        assert_eq!(next.end().done()["state"], "done", "{skip}");
        assert_eq!(lab.types_and_states(), [(18, COMPLETE)], "{skip}");
    }
}

#[test]
fn nothing_is_touched_unless_everything_is_right() {
    type Trouble = fn(&Lab);
    let nothing: Trouble = |_| ();
    let cases: [(Trouble, &[&str], i32, &str); 9] = [
        (nothing, &["--host=pod1", "--mode=fast"], 2, "required arguments"),
        (
            nothing,
            &["--host=pod1", "--confirm=", "--mode=fast"],
            2,
            "nothing was done",
        ),
        (
            nothing,
            &["--host=pod1", "--confirm=POD1", "--mode=fast"],
            2,
            "nothing was done",
        ),
        (
            nothing,
            &["--host=pod1", "--confirm=pod2", "--mode=fast"],
            2,
            "nothing was done",
        ),
        (
            nothing,
            &["--host=pod1", "--confirm=pod1"],
            2,
            "required arguments",
        ),
        (
            nothing,
            &["--host=pod1", "--confirm=pod1", "--mode=quick"],
            2,
            "quick",
        ),
        (
            |lab| lab.fog.enable_api(false),
            &["--host=pod1", "--confirm=pod1", "--mode=fast"],
            1,
            "API System",
        ),
        (
            |lab| lab.fault(Kind::Refuse, 0, None),
            &["--host=pod1", "--confirm=pod1", "--mode=fast"],
            3,
            "can't reach",
        ),
        (
            |lab| {
                let args = ["--host=pod1", "--snapshot=web", "--start_only"];
                lab.pack.run(env!("CARGO_BIN_EXE_fog_capture"), &args).done();
                lab.fog.boot(MAC);
            },
            &["--host=pod1", "--confirm=pod1", "--mode=full"],
            1,
            "is busy in FOG with task 1",
        ),
    ];
    for (trouble, args, code, words) in cases {
        let lab = Lab::new();
        let deployed = json!({"request": "r", "image": 17, "fog_task": 9, "state": "done"});
        lab.pack.set_key("image_pod1", &deployed);
        trouble(&lab);
        let tasks = lab.types_and_states();
        let failure = lab.pack.run(env!("CARGO_BIN_EXE_fog_wipe"), args).failed(code);
        assert!(failure.to_string().contains(words), "{words}: {failure}");
        assert_eq!(lab.types_and_states(), tasks, "{words}");
        assert_eq!(lab.pack.key("image_pod1"), deployed, "{words}");
        assert_eq!(lab.pack.key("wipe_pod1"), Value::Null, "{words}");
    }
    let lab = Lab::new();
    let asked = lab.fog.requests().len();
    let dry = lab.wipe_request(&["--dry_run"]).done();
    assert_eq!((&dry["changed"], &dry["fog_task"]), (&json!(true), &Value::Null));
    assert!(
        lab.fog
            .requests()
            .split_off(asked)
            .iter()
            .all(|r| r.starts_with("GET"))
    );
    lab.wipe_request(&["--start_only"]).done();
    let other = lab
        .start_wipe(&["--mode=full", &format!("--request={REQUEST}")])
        .end()
        .failed(2);
    assert!(
        other["error"].as_str().unwrap().contains("of a fast wipe"),
        "{other}"
    );
}

#[test]
fn a_wipe_is_silent_and_ends_at_its_own_deadline() {
    // No sign of life for longer than an image may take, and still it goes on.
    let lab = Lab::new().timing("stall", 1).timing("image", 1);
    let waiting = lab.start_request_wipe(&[]);
    lab.wait_for_polling();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    lab.wipe_disk();
    assert_eq!(waiting.end().done()["state"], "done");

    let lab = Lab::new().timing("wipe", 1);
    let failure = lab.wipe_request(&[]).failed(1);
    assert!(
        failure["error"]
            .as_str()
            .unwrap()
            .contains("is not complete after 1 s"),
        "{failure}"
    );
    assert_eq!(lab.types_and_states(), [(18, CANCELLED)]);

    let lab = Lab::new();
    let running = lab.start_request_wipe(&[]);
    lab.wait_for_polling();
    running.interrupt();
    running.end().failed(4);
    assert_eq!(lab.types_and_states(), [(18, CANCELLED)]);
}

#[test]
fn a_fog_in_trouble_is_neither_believed_nor_given_up() {
    for kind in [Kind::Http500, Kind::Html, Kind::CutJson, Kind::Refuse] {
        let lab = Lab::new();
        let running = lab.start_request_wipe(&[]);
        lab.wait_for_polling();
        lab.fault(kind, 0, Some(5));
        wait_for("the trouble to pass", || lab.met());
        lab.wipe_disk();
        assert_eq!(running.end().done()["state"], "done", "{kind:?}");
    }
    let lab = Lab::new().timing("call", 1);
    lab.wipe_request(&["--dry_run"]).done();
    // The looks of a dry run come before the order, and the one for the host's last task.
    let looks = u32::try_from(lab.fog.requests().len()).unwrap() + 1;
    lab.fault(Kind::Lie, looks, Some(1));
    let failure = lab.wipe_request(&["--start_only"]).failed(1);
    assert!(
        failure["error"].as_str().unwrap().contains("does not list it"),
        "{failure}"
    );
}
