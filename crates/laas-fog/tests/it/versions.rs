//! The client against the lab's FOG, of both versions, which share no code with it.

use laas_core::{Classify, Kind, Secret, config};
use laas_fog::{Fog, FogError, Id, NewImage, State, TaskType};
use laas_lab::cabling::{Order, Os, PxeServer};
use laas_lab::faults::{self, Faults, Peer};
use laas_lab::fog::{TaskNames, Version};
use laas_lab::http::Server;
use std::net::Ipv4Addr;
use std::time::Duration;

const MAC: &str = "02:00:00:00:01:01";
const VERSIONS: [Version; 2] = [Version::V1_5, Version::V1_6];

struct Stand {
    lab: laas_lab::fog::Fog,
    faults: Faults,
    client: Fog,
    server: Server,
    _runtime: tokio::runtime::Runtime,
}

impl Stand {
    /// A FOG with the hosts pod1 to pod5 of the ids 1 to 5.
    fn new(version: Version) -> Self {
        let faults = Faults::default();
        let lab = laas_lab::fog::Fog::of(version, "the api token", "the user token", faults.clone());
        lab.add_host("pod1", [MAC.to_owned()], 17);
        for number in 2..=5 {
            lab.add_host(&format!("pod{number}"), [format!("02:00:00:00:0{number}:01")], 22);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let server = Server::start(Ipv4Addr::LOCALHOST, Peer::Fog, lab.router(), faults.clone());
        let server = runtime.block_on(server).unwrap();
        Self {
            client: client(&server, &lab.shown_api_token(), &lab.shown_user_token()),
            lab,
            faults,
            server,
            _runtime: runtime,
        }
    }

    fn deploy(&self, host: u64) -> Id {
        self.client
            .start_task(id(host), TaskType::Deploy, "laas x")
            .unwrap();
        let active = self.client.active_tasks(id(host)).unwrap();
        active[0].id.unwrap()
    }

    fn state(&self, task: Id) -> State {
        self.client.task(task).unwrap().unwrap().state
    }
}

fn client(server: &Server, api_key: &str, user_key: &str) -> Fog {
    let config = config::Fog {
        address: format!("{}/fog", server.url()),
        api_key: Secret::new(api_key),
        user_key: Secret::new(user_key),
        tls: Default::default(),
    };
    Fog::new(&config, Duration::from_secs(10)).unwrap()
}

fn id(id: u64) -> Id {
    Id::new(id).unwrap()
}

fn os() -> Os {
    Os {
        id: "ubuntu".into(),
        version: "18.04".into(),
    }
}

#[test]
fn hosts_and_images_are_found_over_all_pages() {
    for version in VERSIONS {
        let stand = Stand::new(version);
        let host = stand.client.host("pod5").unwrap();
        assert_eq!((host.id, host.image), (id(5), Some(id(22))), "{version:?}");
        let names: Vec<_> = stand
            .client
            .images()
            .unwrap()
            .into_iter()
            .map(|i| i.name)
            .collect();
        assert_eq!((names.len(), names[5].as_str()), (6, "centos-7"), "{version:?}");
        for (groups, said) in [
            (&[1][..], vec![id(1)]),
            (&[2, 1], vec![id(2), id(1)]),
            (&[], vec![id(1)]),
        ] {
            stand.lab.store_image(25, groups);
            let image = stand.client.image(id(25)).unwrap();
            assert_eq!(image.storage_groups, said, "{version:?}");
            let like = [image.os, image.kind, image.partitions].map(|i| i.map(Id::get));
            assert_eq!(
                (like, image.compress),
                ([Some(50), Some(1), Some(1)], Some(6)),
                "{version:?}"
            );
        }
        let missing = stand.client.image(id(99)).unwrap_err();
        assert!(
            matches!(missing, FogError::Missing { .. }),
            "{version:?}: {missing}"
        );
    }
}

#[test]
fn a_deploy_is_followed_to_its_end_and_nobody_is_woken() {
    for version in VERSIONS {
        let stand = Stand::new(version);
        let mut magic_packets = stand.lab.magic_packets();
        // Enough of others that ours is on no first page.
        let others = [2, 3, 4, 5].map(|host| stand.deploy(host));
        let task = stand.deploy(1);
        assert!(!others.contains(&task));
        let Order::Deploy { task: number, .. } = stand.lab.boot(MAC) else {
            panic!("{version:?}: no task for the host")
        };
        assert_eq!(u64::from(number), task.get());
        assert_eq!(stand.state(task), State::CheckedIn);
        let mut signs = Vec::new();
        for percent in [30, 60] {
            stand.lab.progress(number, percent);
            let active = stand.client.active_tasks(id(1)).unwrap();
            assert_eq!(active.len(), 1);
            let (listed, single) = (&active[0], stand.client.task(task).unwrap().unwrap());
            for seen in [listed, &single] {
                assert_eq!(
                    (seen.is_called("laas x", "pod1"), seen.state),
                    (true, State::InProgress),
                    "{version:?}: {}",
                    seen.name
                );
                assert_eq!(
                    (seen.percent, seen.speed.as_str()),
                    (f64::from(percent), "6.00GB/min")
                );
                assert_eq!((seen.host, seen.image), (Some(id(1)), Some(id(17))));
                assert!(seen.is(TaskType::Deploy) && !seen.is(TaskType::Capture));
            }
            signs.push(listed.sign_of_life.clone());
        }
        assert_ne!(signs[0], signs[1], "{version:?}");
        stand.lab.finished(number, &os());
        assert_eq!(stand.client.active_tasks(id(1)).unwrap(), []);
        assert_eq!(stand.state(task), State::Complete);
        assert_eq!(stand.client.all_tasks(id(1)).unwrap().len(), 1);
        assert!(magic_packets.try_recv().is_err(), "{version:?}");
    }
}

#[test]
fn a_cancel_meets_its_task_and_no_other_even_if_it_is_gone() {
    for version in VERSIONS {
        let stand = Stand::new(version);
        let (ours, theirs) = (stand.deploy(1), stand.deploy(2));
        for task in [ours, ours, id(99)] {
            stand.client.cancel(task).unwrap();
            assert_eq!(stand.state(ours), State::Cancelled, "{version:?}");
            assert_eq!(stand.state(theirs), State::Queued, "{version:?}");
        }
    }
}

#[test]
fn a_failure_on_the_host_is_told_by_1_6_only() {
    for (version, state) in [(Version::V1_5, State::CheckedIn), (Version::V1_6, State::Failed)] {
        let stand = Stand::new(version);
        let task = stand.deploy(1);
        stand.lab.boot(MAC);
        stand.lab.client_failed(u32::try_from(task.get()).unwrap());
        assert_eq!(stand.state(task), state);
        let active = stand.client.active_tasks(id(1)).unwrap();
        assert_eq!(active.is_empty(), state == State::Failed);
    }
}

#[test]
fn an_image_that_fog_would_refuse_is_not_deployable() {
    type Trouble = fn(&Stand);
    let cases: [(Trouble, u64, &str); 7] = [
        (|_| (), 17, ""),
        (|stand| stand.lab.store_image(17, &[2, 1]), 17, ""),
        (|_| (), 23, "disabled"),
        (
            |stand| assert_eq!(stand.lab.add_image("web_v1", os()), 26),
            26,
            "",
        ),
        (
            |stand| assert_eq!(stand.lab.add_image("web_v1_incomplete", os()), 26),
            26,
            "not completed",
        ),
        (
            |stand| stand.lab.store_image(17, &[2]),
            17,
            "storage group 2 has no node",
        ),
        (|stand| stand.lab.enable_node(1, false), 17, "is disabled"),
    ];
    for version in VERSIONS {
        for (trouble, image, words) in &cases {
            let stand = Stand::new(version);
            trouble(&stand);
            let checked = stand
                .client
                .check_deployable(&stand.client.image(id(*image)).unwrap());
            let Err(error) = checked else {
                assert_eq!(*words, "", "{version:?}");
                continue;
            };
            assert!(
                !words.is_empty() && error.to_string().contains(words),
                "{version:?} {words}: {error}"
            );
            assert_eq!((error.kind(), error.hint().is_some()), (Kind::Input, true));
        }
    }
}

#[test]
fn an_image_is_set_and_a_lie_is_seen_through() {
    for version in VERSIONS {
        let stand = Stand::new(version);
        let host = stand.client.host("pod1").unwrap();
        stand.client.set_image(&host, id(22)).unwrap();
        assert_eq!(stand.lab.host_image("pod1"), Some(22));
        let lie = faults::Fault {
            kind: faults::Kind::Lie,
            skip: 0,
            times: Some(1),
        };
        stand.faults.set(Peer::Fog, lie).unwrap();
        let error = stand.client.set_image(&host, id(21)).unwrap_err();
        assert!(
            error.to_string().contains("still says 22"),
            "{version:?}: {error}"
        );
    }
}

#[test]
fn keys_are_the_two_of_1_5_or_the_one_that_1_6_has_issued() {
    for version in VERSIONS {
        let stand = Stand::new(version);
        let (api, user, bearer) = (
            stand.lab.shown_api_token(),
            stand.lab.shown_user_token(),
            stand.lab.bearer(),
        );
        let new = version == Version::V1_6;
        for (api_key, user_key, said) in [
            (api.as_str(), user.as_str(), ""),
            (&user, &user, "API key"),
            (&api, &api, "user key"),
            ("", &bearer, if new { "" } else { "API key" }),
            (&api, "fog_another", if new { "user key" } else { "API key" }),
        ] {
            let asked = client(&stand.server, api_key, user_key).host("pod1");
            let said_it = asked.map_or_else(|error| error.to_string(), |_| String::new());
            assert!(
                said_it.contains(said) && said_it.is_empty() == said.is_empty(),
                "{version:?} {said}: {said_it}"
            );
        }
        stand.lab.enable_api(false);
        assert!(
            matches!(stand.client.host("pod1"), Err(FogError::ApiOff { .. })),
            "{version:?}"
        );
    }
}

#[test]
fn what_a_web_server_does_to_an_answer_is_no_answer() {
    for version in VERSIONS {
        for (kind, words) in [
            (faults::Kind::Http500, "broke down"),
            (faults::Kind::Html, "text/html"),
            (faults::Kind::CutJson, "not what FOG answers"),
            (faults::Kind::Refuse, "can't be asked"),
        ] {
            let stand = Stand::new(version);
            stand.deploy(1);
            stand.faults.set(Peer::Fog, kind).unwrap();
            let asked = [
                stand.client.host("pod1").map(drop),
                stand.client.image(id(17)).map(drop),
                stand.client.task(id(1)).map(drop),
                stand.client.active_tasks(id(1)).map(drop),
            ];
            for error in asked.map(Result::unwrap_err) {
                assert!(error.to_string().contains(words), "{version:?} {kind:?}: {error}");
                assert_eq!(error.kind(), Kind::Unreachable, "{version:?} {kind:?}: {error}");
            }
        }
    }
}

#[test]
fn a_task_is_called_after_its_host_and_found_all_the_same() {
    let all = [
        TaskNames::AsAsked,
        TaskNames::WithHost,
        TaskNames::WithHostAndTime,
    ];
    for (version, names) in VERSIONS.iter().flat_map(|v| all.map(|names| (*v, names))) {
        let stand = Stand::new(version);
        stand.lab.name_tasks(names);
        let task = stand.deploy(1);
        let found = stand.client.task(task).unwrap().unwrap();
        assert!(found.is_called("laas x", "pod1"), "{version:?}: {}", found.name);
        assert!(!found.is_called("laas y", "pod1"), "{version:?}: {}", found.name);
    }
    // What the running ones were seen to do, and what 1.6's source says.
    let suffix = |version| {
        let stand = Stand::new(version);
        stand.deploy(1);
        stand.lab.tasks()[0].name["laas x".len()..].to_owned()
    };
    assert_eq!(suffix(Version::V1_5), " - pod1");
    assert_eq!(suffix(Version::V1_6).len(), " - pod1 2026-09-01 10:00:00".len());
}

/// Seen on a running FOG 1.5.8.
#[test]
fn version_1_5_answers_as_it_was_seen_to() {
    let stand = Stand::new(Version::V1_5);
    let ask = |method: &str, path: &str, body: &str| {
        let url = format!("{}/fog/{path}", stand.server.url());
        let client = reqwest::blocking::Client::new();
        let request = client
            .request(method.parse().unwrap(), url)
            .header("fog-api-token", stand.lab.shown_api_token())
            .header("fog-user-token", stand.lab.shown_user_token())
            .body(body.to_owned());
        let answer = request.send().unwrap();
        (answer.status().as_u16(), answer.text().unwrap())
    };
    let order = r#"{"taskTypeID":1,"taskName":"x","wol":false}"#;
    assert_eq!(ask("POST", "host/1/task", order), (200, "\"\"".to_owned()));
    let (status, busy) = ask("POST", "host/1/task", order);
    assert_eq!(status, 500);
    assert!(
        busy.contains("Host is already a member of an active task"),
        "{busy}"
    );
    for _ in ["active", "ended"] {
        assert_eq!(ask("DELETE", "task/1/cancel", ""), (200, "null".to_owned()));
        assert_eq!(stand.state(id(1)), State::Cancelled);
    }
    let (status, invalid) = ask("POST", "host/1/task", r#"{"taskTypeID":99}"#);
    assert_eq!(status, 501);
    assert!(invalid.contains("Invalid tasking type passed"), "{invalid}");
    let (_, node) = ask("GET", "storagenode", "");
    assert!(
        node.contains("\"online\": true") && node.contains("\"pass\""),
        "{node}"
    );
    // Ids are texts but for those of a group's nodes.
    let (_, group) = ask("GET", "storagegroup", "");
    let group: serde_json::Value = serde_json::from_str(&group).unwrap();
    let group = &group["storagegroups"][0];
    assert_eq!(
        (&group["id"], &group["allnodes"]),
        (&serde_json::json!("1"), &serde_json::json!([1]))
    );
}

#[test]
fn the_client_reads_what_version_1_5_was_seen_to_answer() {
    let stand = Stand::new(Version::V1_5);
    let task = stand.deploy(1);
    // A host that is busy is refused in FOG's words, and keeps its task.
    let busy = stand
        .client
        .start_task(id(1), TaskType::Deploy, "laas y")
        .unwrap_err();
    assert!(
        busy.to_string().contains("already a member of an active task"),
        "{busy}"
    );
    assert_eq!(busy.kind(), Kind::Refused);
    // Twice: the second time it has ended.
    for _ in 0..2 {
        stand.client.cancel(task).unwrap();
        assert_eq!(stand.state(task), State::Cancelled);
    }
    // A task that fails on the host stays in progress for ever.
    let task = stand.deploy(1);
    let Order::Deploy { task: started, .. } = stand.lab.boot(MAC) else {
        panic!("no deploy")
    };
    stand.lab.progress(started, 30);
    stand.lab.client_failed(started);
    assert_eq!(stand.state(task), State::InProgress);
    // An image whose object does not say its groups lies where its associations say.
    stand.lab.store_image(25, &[2]);
    stand.lab.hide_storage_groups(25);
    assert_eq!(stand.client.image(id(25)).unwrap().storage_groups, [id(2)]);
    // Nothing was ever captured into a new one.
    let like = stand.client.image(id(22)).unwrap();
    let new = NewImage {
        name: "new",
        path: "new",
        description: "mark",
        like: &like,
    };
    assert_eq!(stand.client.create_image(&new).unwrap().captured, Some(false));
    // A node that is offline is said to be, and takes a task all the same.
    stand.lab.set_node_online(1, false);
    let offline = stand.client.check_deployable(&like).unwrap_err();
    assert!(offline.to_string().contains("FTP port"), "{offline}");
    stand
        .client
        .start_task(id(2), TaskType::Deploy, "laas z")
        .unwrap();
    assert_eq!(stand.client.active_tasks(id(2)).unwrap().len(), 1);
}
