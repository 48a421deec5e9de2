use crate::claims::Engine;
use crate::pack::{Ended, Pack, Running, wait_for};
use laas_lab::cabling::{Order, Os, PxeServer};
use laas_lab::faults::{Fault, Faults, Kind, Peer};
use laas_lab::fog::{Fog, TaskView, Version};
use laas_lab::http::Server;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::{Ipv4Addr, TcpListener};

pub const MAC: &str = "02:00:00:00:01:01";
pub const REQUEST: &str = "aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da:0a1b2c3d4e5f6071:0";
const NAME: &str = "laas aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da:0a1b2c3d4e5f6071:0 - pod1";

/// FOG's states.
pub const QUEUED: u32 = 1;
pub const COMPLETE: u32 = 4;
pub const CANCELLED: u32 = 5;
const FAILED: u32 = 6;

pub const VERSIONS: [Version; 2] = [Version::V1_5, Version::V1_6];

/// A FOG with the host `pod1`, and the pack.
pub struct Lab {
    pub fog: Fog,
    pub faults: Faults,
    pub pack: Pack,
    _server: Server,
    _runtime: tokio::runtime::Runtime,
}

impl Lab {
    pub fn new() -> Self {
        Self::of(Version::V1_5)
    }

    pub fn of(version: Version) -> Self {
        let faults = Faults::default();
        let fog = Fog::of(version, "api token", "user token", faults.clone());
        fog.add_host("pod1", [MAC.to_owned()], 22);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let server = Server::start(Ipv4Addr::LOCALHOST, Peer::Fog, fog.router(), faults.clone());
        let server = runtime.block_on(server).unwrap();
        let config = json!({
            "fog": {
                "address": format!("{}/fog", server.url()),
                "api_key": fog.shown_api_token(),
                "user_key": fog.shown_user_token(),
            },
            "timing": {"image": 100, "stall": 100, "call": 5, "poll_ms": 10},
        });
        Self {
            pack: pack(config),
            fog,
            faults,
            _server: server,
            _runtime: runtime,
        }
    }

    pub fn timing(mut self, name: &str, seconds: u64) -> Self {
        self.pack.config["timing"][name] = json!(seconds);
        self
    }

    /// Lets an engine run the actions, as the execution `a1`.
    pub fn under_an_engine(&mut self) -> (Engine, Server) {
        let engine = Engine::default();
        engine.live.lock().unwrap().push("a1");
        let keys = self.pack.keys().into_iter();
        engine
            .keys
            .lock()
            .unwrap()
            .extend(keys.map(|(k, v)| (k, v.to_string())));
        let server = Server::start(Ipv4Addr::LOCALHOST, Peer::Bot, engine.router(), Faults::default());
        let server = self._runtime.block_on(server).unwrap();
        self.pack.env = vec![
            ("LAAS_DATASTORE", String::new()),
            ("ST2_ACTION_API_URL", format!("{}/v1", server.url())),
            ("ST2_ACTION_AUTH_TOKEN", "token".to_owned()),
            ("ST2_ACTION_EXECUTION_ID", "a1".to_owned()),
        ];
        (engine, server)
    }

    pub fn start(&self, args: &[&str]) -> Running {
        let args = [&["--host=pod1"], args].concat();
        self.pack.start(env!("CARGO_BIN_EXE_fog_image"), &args)
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        self.start(args).end()
    }

    pub fn run_request(&self, args: &[&str]) -> Ended {
        self.run(&[&["--image=17", &format!("--request={REQUEST}")], args].concat())
    }

    pub fn start_request(&self) -> Running {
        self.start(&["--image=17", &format!("--request={REQUEST}")])
    }

    pub fn task(&self, id: u64) -> TaskView {
        self.fog
            .tasks()
            .into_iter()
            .find(|t| u64::from(t.id) == id)
            .unwrap()
    }

    /// Of the snapshot `web`: v1 is image 26, v2 is 27, v3 was never completed, and v10 of another is no v10 of this one.
    pub fn with_snapshots(self) -> Self {
        for name in [
            "web_v1",
            "web_v2",
            "web_v3_incomplete",
            "web_v2_v10",
            "db_v1_incomplete",
        ] {
            self.add_image(name);
        }
        self
    }

    pub fn add_image(&self, name: &str) -> u32 {
        let os = Os {
            id: "ubuntu".into(),
            version: "18.04".into(),
        };
        self.fog.add_image(name, os)
    }

    /// The requests from `from` on that could change anything.
    pub fn writes(&self, from: usize) -> Vec<String> {
        let mut requests = self.fog.requests().split_off(from);
        requests.retain(|r| !r.starts_with("GET"));
        requests
    }

    pub fn fault(&self, kind: Kind, skip: u32, times: Option<u32>) {
        self.faults.set(Peer::Fog, Fault { kind, skip, times }).unwrap();
    }

    pub fn met(&self) -> Option<()> {
        self.faults.all().is_empty().then_some(())
    }

    /// The host boots by PXE as soon as there is a task of our image, and is imaged.
    pub fn image_host(&self) {
        self.image_host_with(17);
    }

    pub fn image_host_with(&self, image: u32) {
        wait_for("a task of our image", || {
            self.fog
                .tasks()
                .iter()
                .any(|t| t.image == image && t.state == QUEUED)
                .then_some(())
        });
        let order = wait_for("a task", || match self.fog.boot(MAC) {
            Order::Deploy { task, os, .. } => Some((task, os)),
            _ => None,
        });
        for percent in [30, 60, 90] {
            self.fog.progress(order.0, percent);
        }
        self.fog.finished(order.0, &order.1);
    }

    /// Waits until the action has asked several times from now on whether the task has ended.
    pub fn wait_for_polling(&self) {
        let before = self.fog.requests().len();
        wait_for("polling", || {
            let requests = self.fog.requests().split_off(before);
            let polls = requests
                .into_iter()
                .rev()
                .take_while(|r| r == "GET /fog/task/active");
            (polls.count() > 3).then_some(())
        });
    }
}

fn pack(config: Value) -> Pack {
    let host = json!({
        "fog_name": "pod1", "hostname": "127.0.0.1", "ubuntu_image": 17, "centos_image": 25, "suse_image": 0,
    });
    Pack::new(config, &[("hosts", json!(["pod1"])), ("pod1", host)])
}

#[test]
fn a_request_is_deployed_once_however_often_it_is_run() {
    let lab = Lab::new();
    let started = lab.run_request(&["--start_only"]).done();
    assert_eq!(started["changed"], true);
    assert_eq!(started["before"]["image"], 22);
    assert_eq!(
        started["after"],
        json!({"image": 17, "tasks": [started["fog_task"]]})
    );
    assert_eq!(lab.fog.host_image("pod1"), Some(17));
    let task = lab.task(started["fog_task"].as_u64().unwrap());
    assert_eq!(
        (task.name.as_str(), task.task_type, task.image, task.state),
        (NAME, 1, 17, QUEUED)
    );

    let again = lab.run_request(&["--start_only"]).done();
    assert_eq!(
        (&again["changed"], &again["fog_task"]),
        (&json!(false), &started["fog_task"])
    );

    let waiting = lab.start_request();
    lab.wait_for_polling();
    let Order::Deploy { task, os, .. } = lab.fog.boot(MAC) else {
        panic!("no task for the host")
    };
    for percent in [30, 60, 90] {
        lab.fog.progress(task, percent);
        lab.wait_for_polling();
    }
    lab.fog.finished(task, &os);
    let waited = waiting.end();
    for words in [
        "queued",
        "in progress host=pod1 percent=60",
        "6.00GB/min",
        "deploy complete",
    ] {
        assert!(waited.stderr.contains(words), "{words}: {}", waited.stderr);
    }
    let waited = waited.done();
    assert_eq!(
        (&waited["changed"], &waited["state"]),
        (&json!(true), &json!("done"))
    );
    assert_eq!(waited["fog_task"], started["fog_task"]);

    let asked = lab.fog.requests().len();
    for args in [&["--start_only"][..], &[]] {
        let done = lab.run_request(args).done();
        assert_eq!(
            (&done["changed"], &done["state"]),
            (&json!(false), &json!("done"))
        );
    }
    assert_eq!(
        lab.fog.requests().len(),
        asked,
        "what is done is not asked for again"
    );
    assert_eq!(lab.fog.tasks().len(), 1);
    let destructive = lab
        .fog
        .requests()
        .into_iter()
        .filter(|r| r.starts_with("DELETE"))
        .count();
    assert_eq!(destructive, 0);
}

#[test]
fn a_request_with_another_image_is_refused() {
    let lab = Lab::new();
    lab.run_request(&["--start_only"]).done();
    let failure = lab
        .run(&["--image=22", &format!("--request={REQUEST}")])
        .failed(2);
    assert!(
        failure["error"].as_str().unwrap().contains("of image 17, not 22"),
        "{failure}"
    );
}

#[test]
fn what_others_left_is_cancelled_and_their_wait_fails() {
    let lab = Lab::new();
    let theirs = lab.start_request();
    lab.wait_for_polling();
    let ours = lab.run(&["--image=21", "--request=ours", "--start_only"]).done();
    assert_eq!(
        (&ours["changed"], &ours["before"]["tasks"]),
        (&json!(true), &json!([1]))
    );
    let failure = theirs.end().failed(1);
    assert!(
        failure["error"].as_str().unwrap().contains("cancelled"),
        "{failure}"
    );
    assert_eq!(
        (&failure["peer"], &failure["host"]),
        (&json!("fog"), &json!("pod1"))
    );
    let states: Vec<_> = lab
        .fog
        .tasks()
        .into_iter()
        .map(|t| (t.name, t.image, t.state))
        .collect();
    assert_eq!(
        states,
        [
            (NAME.into(), 17, CANCELLED),
            ("laas ours - pod1".into(), 21, QUEUED)
        ]
    );
}

#[test]
fn by_hand_what_is_under_way_is_picked_up_and_else_begun_anew() {
    let lab = Lab::new();
    let first = lab.run(&["--image=17", "--start_only"]).done();
    let again = lab.run(&["--image=17", "--start_only"]).done();
    assert_eq!(
        (&again["changed"], &again["fog_task"]),
        (&json!(false), &first["fog_task"])
    );
    lab.image_host();
    let anew = lab.run(&["--image=17", "--start_only"]).done();
    assert_eq!((&anew["changed"], &anew["fog_task"]), (&json!(true), &json!(2)));
    let other = lab.run(&["--image=22", "--start_only"]).done();
    assert_eq!((&other["changed"], &other["fog_task"]), (&json!(true), &json!(3)));
    let states: Vec<_> = lab.fog.tasks().into_iter().map(|t| (t.image, t.state)).collect();
    assert_eq!(states, [(17, COMPLETE), (17, CANCELLED), (22, QUEUED)]);
}

#[test]
fn a_dry_run_writes_nothing() {
    let lab = Lab::new();
    lab.run(&["--image=21", "--start_only"]).done();
    let (asked, record) = (lab.fog.requests().len(), lab.pack.key("image_pod1"));
    let dry = lab.run_request(&["--dry_run"]).done();
    assert_eq!(
        (&dry["changed"], &dry["before"]),
        (&json!(true), &json!({"image": 21, "tasks": [1]}))
    );
    assert_eq!(lab.writes(asked), Vec::<String>::new());
    assert_eq!(lab.pack.key("image_pod1"), record);
}

#[test]
fn a_deploy_that_gets_stuck_is_cancelled() {
    for (limit, words) in [
        ("stall", "has stalled after 1 s"),
        ("image", "is not complete after 1 s"),
    ] {
        let lab = Lab::new().timing(limit, 1);
        let failure = lab.run_request(&[]).failed(1);
        assert!(failure["error"].as_str().unwrap().contains(words), "{failure}");
        assert!(failure["hint"].as_str().unwrap().contains("PXE"), "{failure}");
        assert_eq!(lab.task(1).state, CANCELLED);
        // Run again, it starts anew.
        let again = lab.run_request(&["--start_only"]).done();
        assert_eq!((&again["changed"], &again["fog_task"]), (&json!(true), &json!(2)));
    }
}

#[test]
fn a_cancelled_execution_cancels_its_task() {
    let lab = Lab::new();
    let running = lab.start_request();
    lab.wait_for_polling();
    running.interrupt();
    running.end().failed(4);
    assert_eq!(lab.task(1).state, CANCELLED);
}

#[test]
fn under_an_engine_only_a_cancel_cancels_the_task() {
    for (canceling, signal, state) in [
        // The engine is stopped, or has lost its patience.
        (false, true, QUEUED),
        // As the embedded engine cancels.
        (true, true, CANCELLED),
        // As StackStorm does.
        (true, false, CANCELLED),
    ] {
        let mut lab = Lab::new();
        let (engine, _server) = lab.under_an_engine();
        let running = lab.start_request();
        lab.wait_for_polling();
        if canceling {
            engine.canceling.lock().unwrap().push("a1");
        }
        if signal {
            running.interrupt();
        }
        let failure = running.end().failed(4);
        assert_eq!(lab.task(1).state, state, "{failure}");
        // Whoever runs it again waits for the same deploy, unless that is gone.
        engine.canceling.lock().unwrap().clear();
        let again = lab.run_request(&["--start_only"]).done();
        assert_eq!(again["fog_task"] == 1, state == QUEUED, "{again}");
    }
}

#[test]
fn trouble_while_polling_is_neither_success_nor_failure() {
    let kinds = [
        Kind::Http500,
        Kind::Html,
        Kind::CutJson,
        // As while FOG is restarted.
        Kind::Refuse,
        Kind::WrongCredentials,
    ];
    for (version, kind) in VERSIONS.iter().flat_map(|v| kinds.map(|kind| (*v, kind))) {
        let lab = Lab::of(version);
        let running = lab.start_request();
        lab.wait_for_polling();
        lab.fault(kind, 0, Some(5));
        wait_for("the trouble to pass", || lab.met());
        assert_eq!(lab.task(1).state, QUEUED);
        lab.image_host();
        assert_eq!(running.end().done()["state"], "done", "{kind:?}");
    }
}

#[test]
fn a_fog_that_stays_silent_is_named_and_the_task_left_alone() {
    for kind in [Kind::Refuse, Kind::Hang, Kind::Html, Kind::Http500] {
        let lab = Lab::new().timing("stall", 1).timing("call", 1);
        lab.run_request(&["--start_only"]).done();
        // The first requests find the task again, the others poll.
        lab.fault(kind, 5, None);
        let failure = lab.run_request(&[]).failed(3);
        assert_eq!(
            (&failure["peer"], &failure["host"]),
            (&json!("fog"), &json!("pod1")),
            "{failure}"
        );
        assert_eq!(lab.task(1).state, QUEUED, "{kind:?}");
    }
}

#[test]
fn nothing_is_touched_when_anything_is_wrong_at_the_start() {
    type Trouble = fn(&Lab);
    let cases: [(Trouble, &[&str], i32, &str); 9] = [
        (|_| (), &["--image=23"], 2, "disabled"),
        (|_| (), &["--image=99"], 2, "image 99"),
        (|_| (), &["--image=0"], 2, "from 1 on"),
        (|lab| lab.fog.enable_api(false), &["--image=17"], 1, "API System"),
        (
            |lab| lab.fault(Kind::WrongCredentials, 0, None),
            &["--image=17"],
            1,
            "user_key",
        ),
        (
            |lab| lab.fault(Kind::Refuse, 0, None),
            &["--image=17"],
            3,
            "can't reach",
        ),
        (
            |lab| lab.fault(Kind::Html, 0, None),
            &["--image=17"],
            3,
            "text/html",
        ),
        (
            |lab| lab.fault(Kind::CutJson, 0, None),
            &["--image=17"],
            3,
            "not what FOG answers",
        ),
        (
            |lab| {
                lab.pack
                    .set_key("pod1", &json!({"fog_name": "POD1", "hostname": "h"}))
            },
            &["--image=17"],
            2,
            "fog_name",
        ),
    ];
    for (trouble, args, code, words) in cases {
        let lab = Lab::new();
        trouble(&lab);
        let failure = lab.run(args).failed(code);
        assert!(failure.to_string().contains(words), "{words}: {failure}");
        assert_eq!(
            (lab.fog.host_image("pod1"), lab.fog.tasks().len()),
            (Some(22), 0),
            "{words}"
        );
        assert_eq!(lab.pack.key("image_pod1"), Value::Null, "{words}");
    }
}

#[test]
fn a_fog_that_says_yes_and_does_nothing_is_not_believed() {
    // 1.6 has to be asked for an image's storage groups, which is two pages.
    for (version, more) in [(Version::V1_5, 0), (Version::V1_6, 2)] {
        // Which request is lied about: the order of an image, of a task, and the cancelling of one.
        for (skip, prepare, words) in [
            (4, None, "still says 22"),
            (7, None, "does not list it"),
            (6, Some("--image=21"), "does not cancel task 1"),
        ] {
            let lab = Lab::of(version).timing("call", 1);
            if let Some(image) = prepare {
                lab.run(&[image, "--start_only"]).done();
            }
            lab.fault(Kind::Lie, skip + more, Some(1));
            let failure = lab.run_request(&["--start_only"]).failed(1);
            assert!(
                failure["error"].as_str().unwrap().contains(words),
                "{version:?}: {failure}"
            );
        }
    }
}

#[test]
fn a_failure_on_the_host_is_told_at_once_where_fog_knows_it() {
    for (version, state, words) in [
        (Version::V1_5, CANCELLED, "has stalled after 1 s"),
        (Version::V1_6, FAILED, "is failed"),
    ] {
        let lab = Lab::of(version).timing("stall", if version == Version::V1_5 { 1 } else { 100 });
        let running = lab.start_request();
        let task = wait_for("the host's task", || match lab.fog.boot(MAC) {
            Order::Deploy { task, .. } => Some(task),
            _ => None,
        });
        lab.fog.progress(task, 30);
        lab.fog.client_failed(task);
        let failure = running.end().failed(1);
        assert!(
            failure["error"].as_str().unwrap().contains(words),
            "{version:?}: {failure}"
        );
        assert!(
            failure["hint"].as_str().unwrap().contains("console"),
            "{version:?}: {failure}"
        );
        assert_eq!(lab.task(u64::from(task)).state, state);
        let again = lab.run_request(&["--start_only"]).done();
        assert_eq!(
            (&again["changed"], &again["fog_task"]),
            (&json!(true), &json!(2)),
            "{version:?}"
        );
    }
}

/// The lab's FOG has no states beyond those known.
#[test]
fn only_fogs_state_4_is_success() {
    for (last, code, words) in [
        (
            r#"{"id":"5","name":"laas r","hostID":"7","imageID":"17","typeID":"1","stateID":"4"}"#,
            0,
            "",
        ),
        (
            r#"{"id":"5","name":"laas r","hostID":"7","imageID":"22","typeID":"1","stateID":"4"}"#,
            1,
            "another image",
        ),
        (
            r#"{"id":"5","name":"laas r","hostID":"7","imageID":"17","typeID":"1","stateID":"5"}"#,
            1,
            "cancelled",
        ),
        (
            r#"{"id":"5","name":"laas r","hostID":"7","imageID":"17","typeID":"1","stateID":"6"}"#,
            1,
            "failed",
        ),
        (
            r#"{"id":"5","name":"laas r","hostID":"7","imageID":"17","typeID":"1","stateID":"7"}"#,
            1,
            "unknown",
        ),
        (r#"{"id":"5"}"#, 1, "unknown"),
        ("", 1, "has lost its task 5"),
    ] {
        let pack = pack(json!({
            "fog": {"address": ending_fog(last), "api_key": "x", "user_key": "y"},
            "timing": {"poll_ms": 10},
        }));
        let args = ["--host=pod1", "--image=17", "--request=r"];
        let ended = pack.run(env!("CARGO_BIN_EXE_fog_image"), &args);
        assert_eq!(ended.code, Some(code), "{last}: {ended:?}");
        assert!(ended.document.to_string().contains(words), "{words}: {ended:?}");
        assert_eq!(
            pack.key("image_pod1")["state"],
            if code == 0 { "done" } else { "running" }
        );
    }
}

/// A FOG whose one task is active twice and then is what `last` says, not found if that is empty.
fn ending_fog(last: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/fog", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let active = r#"{"count":1,"tasks":[{"id":"5","name":"laas r","hostID":"7","imageID":"17","typeID":"1","stateID":"3"}]}"#;
        let mut looks = 0;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut first = String::new();
            let mut reader = BufReader::new(&stream);
            reader.read_line(&mut first).unwrap();
            while reader
                .by_ref()
                .lines()
                .next()
                .is_some_and(|line| !line.unwrap().is_empty())
            {}
            let body = match first.split_whitespace().nth(1).unwrap() {
                "/fog/host" => r#"{"count":1,"hosts":[{"id":"7","name":"pod1","imageID":"17"}]}"#,
                "/fog/image/17" => r#"{"id":"17","name":"ubuntu","isEnabled":"1","storagegroups":[1]}"#,
                "/fog/storagenode" => {
                    r#"{"count":1,"storagenodes":[{"storagegroupID":"1","isEnabled":"1","maxClients":"1"}]}"#
                }
                "/fog/task/active" => {
                    looks += 1;
                    if looks <= 2 {
                        active
                    } else {
                        r#"{"count":0,"tasks":[]}"#
                    }
                }
                _ => last,
            };
            let status = if body.is_empty() {
                "404 Not Found"
            } else {
                "200 OK"
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            // The client may be gone: a test has ended.
            let _ = stream.write_all((head + body).as_bytes());
        }
    });
    address
}
