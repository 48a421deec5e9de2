use crate::canned::{Canned, Then, answer, typed};
use laas_core::{Classify, Kind, Secret, config};
use laas_fog::{Fog, FogError, Host, Id, Image, NewImage, TaskType};
use std::time::Duration;

fn fog(address: &str) -> Fog {
    let config = config::Fog {
        address: address.to_owned(),
        api_key: Secret::new("YWJj"),
        user_key: Secret::new("ZGVm"),
        tls: Default::default(),
    };
    Fog::new(&config, Duration::from_millis(500)).unwrap()
}

fn id(id: u64) -> Id {
    Id::new(id).unwrap()
}

fn pod1() -> Host {
    Host {
        id: id(7),
        name: "pod1".into(),
        image: None,
    }
}

#[test]
fn every_bad_answer_says_what_to_do() {
    let page = "<!DOCTYPE html><html><body>Sign in</body></html>";
    let secret = r#"{"count":1,"hosts":[{"id":"7","ADPass":"hunter2","name"#;
    let cases = [
        (answer(403, ""), Kind::Refused, "fog.api_key"),
        (answer(401, ""), Kind::Refused, "fog.user_key"),
        (typed(302, "text/html", page), Kind::Refused, "API System"),
        (answer(501, ""), Kind::Refused, "web root"),
        (typed(404, "text/html", page), Kind::Refused, "web root"),
        (answer(404, ""), Kind::Input, "register it"),
        (answer(417, ""), Kind::Refused, "required field"),
        (
            answer(500, r#"{"error":"Already created"}"#),
            Kind::Refused,
            "Already created",
        ),
        (typed(500, "text/html", page), Kind::Unreachable, "error log"),
        (answer(500, ""), Kind::Unreachable, "error log"),
        (typed(200, "text/html", page), Kind::Unreachable, "web root"),
        (answer(200, ""), Kind::Unreachable, "web root"),
        (answer(200, "null"), Kind::Unreachable, "web root"),
        (answer(200, r#"{"hosts":[17]}"#), Kind::Unreachable, "web root"),
        (
            typed(
                200,
                "text/html",
                "<br />\n<b>Warning</b>:  Undefined array key \"hunter2\" in <b>/var/www/fog/a.php</b> on line \
                 <b>7</b><br />\n{\"count\":0,\"hosts\":[]}",
            ),
            Kind::Unreachable,
            "display_errors",
        ),
        (
            answer(
                200,
                "PHP Fatal error:  Allowed memory size of 134217728 bytes exhausted in /a.php on line 3",
            ),
            Kind::Unreachable,
            "error log",
        ),
        (answer(200, secret), Kind::Unreachable, "web root"),
        (
            Then::Say("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".into()),
            Kind::Unreachable,
            "broke off",
        ),
        (Then::Say(String::new()), Kind::Unreachable, "can't reach"),
        (Then::Hang, Kind::Unreachable, "did not answer"),
    ];
    for (said, kind, told) in cases {
        let server = Canned::start(vec![said]);
        let error = fog(&server.address).host("pod1").unwrap_err();
        let failure = laas_core::Failure::from(error);
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.to_string().contains(told), "{told}: {failure}");
        assert!(!failure.to_string().contains("hunter2"), "{failure}");
    }
}

#[test]
fn a_host_is_the_one_of_exactly_this_name() {
    let list = r#"{"count":"4","hosts":[{"id":"1","name":"pod10"},{"id":"2","name":"POD1"},
        {"id":"3","name":"pod1","imageID":"0"},{"id":4,"name":"twin"},{"id":5,"name":"twin"}]}"#;
    let server = Canned::start(vec![answer(200, list)]);
    let fog = fog(&server.address);
    let found = fog.host("pod1").unwrap();
    assert_eq!((found.id, found.image), (id(3), None));
    for (name, count) in [("pod2", 0), ("twin", 2), ("", 0)] {
        let error = fog.host(name).unwrap_err();
        assert!(
            matches!(&error, FogError::HostNotUnique { count: c, .. } if *c == count),
            "{error}"
        );
    }
}

#[test]
fn the_pages_of_1_6_are_followed_but_never_to_another_server() {
    let first = r#"{"recordsTotal":2,"data":[{"id":1,"name":"pod1"}],"nextUrl":"http://evil/fog/host?start=1&length=1"}"#;
    let second = r#"{"recordsTotal":2,"data":[{"id":2,"name":"pod2","imageID":17}],"nextUrl":null}"#;
    let server = Canned::start(vec![answer(200, first), answer(200, second)]);
    assert_eq!(fog(&server.address).host("pod2").unwrap().image, Some(id(17)));
    assert_eq!(
        server.asked(),
        ["GET /fog/host", "GET /fog/host?start=1&length=1"]
    );
}

#[test]
fn setting_the_image_sends_nothing_else_and_believes_only_what_it_reads_back() {
    let (taken, old) = (
        r#"{"id":"7","name":"pod1","imageID":"17"}"#,
        r#"{"id":"7","name":"pod1","imageID":"3"}"#,
    );
    let cases = [
        (answer(200, taken), answer(200, taken), None),
        (
            answer(500, r#"{"error":"Already created"}"#),
            answer(200, taken),
            None,
        ),
        (answer(200, taken), answer(200, old), Some("still says 3")),
        (
            answer(500, r#"{"error":"no space"}"#),
            answer(200, old),
            Some("no space"),
        ),
    ];
    for (put, read, error) in cases {
        let server = Canned::start(vec![put, read]);
        let result = fog(&server.address).set_image(&pod1(), id(17));
        assert_eq!(
            server.asked(),
            [r#"PUT /fog/host/7 {"imageID":17}"#, "GET /fog/host/7"]
        );
        match error {
            None => result.unwrap(),
            Some(words) => assert!(result.unwrap_err().to_string().contains(words)),
        }
    }
}

#[test]
fn a_list_that_changes_while_it_is_read_is_read_again() {
    let page = |total: u64, name: &str, next: &str| {
        let body = format!(
            r#"{{"recordsFiltered":{total},"data":[{{"id":{total},"name":"{name}"}}],"nextUrl":{next}}}"#
        );
        answer(200, &body)
    };
    let more = r#""/fog/image?start=1&length=1""#;
    // What was on the second page has slipped to the first one, which had been read.
    let calm = [
        page(2, "a", more),
        page(1, "c", "null"),
        page(2, "b", more),
        page(2, "c", "null"),
    ];
    let server = Canned::start(calm.to_vec());
    let names: Vec<_> = fog(&server.address)
        .images()
        .unwrap()
        .into_iter()
        .map(|i| i.name)
        .collect();
    assert_eq!(names, ["b", "c"]);
    assert_eq!(server.asked().len(), 4);

    let restless: Vec<_> = (0..10).map(|n| page(n + 1, "a", more)).collect();
    let server = Canned::start(restless);
    let error = fog(&server.address).images().unwrap_err();
    assert!(matches!(error, FogError::Restless { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Unreachable);
}

#[test]
fn a_list_that_does_not_say_where_it_goes_on_is_no_list() {
    let rows = r#""recordsFiltered":9,"data":[{"id":1,"name":"a"}]"#;
    let empty = r#""recordsFiltered":9,"data":[]"#;
    for rest in [
        format!(r#"{{{rows},"truncated":true}}"#),
        format!(r#"{{{empty},"nextUrl":"/fog/image?start=1"}}"#),
        format!(r#"{{{rows},"nextUrl":"/fog/image?start=1"}}"#),
    ] {
        let server = Canned::start(vec![answer(200, &rest)]);
        let error = fog(&server.address).images().unwrap_err();
        assert!(matches!(error, FogError::Endless { .. }), "{rest}: {error}");
        assert_eq!(error.kind(), Kind::Refused);
    }
}

#[test]
fn an_image_without_any_storage_group_is_not_deployable() {
    let server = Canned::start(vec![
        answer(200, r#"{"id":17,"name":"a","storagegroups":[0]}"#),
        answer(200, r#"{"data":[]}"#),
    ]);
    let fog = fog(&server.address);
    let error = fog.check_deployable(&fog.image(id(17)).unwrap()).unwrap_err();
    assert!(matches!(error, FogError::ImageNowhere { .. }), "{error}");
    assert_eq!(
        server.asked(),
        [
            "GET /fog/image/17",
            "GET /fog/imageassociation",
            "GET /fog/storagegroup"
        ]
    );
}

#[test]
fn a_storage_node_serves_if_it_is_enabled_online_and_takes_clients() {
    for (node, refusal) in [
        (
            r#"{"storagegroupID":"1","isEnabled":"1","maxClients":"10"}"#,
            None,
        ),
        (
            r#"{"storagegroupID":1,"isEnabled":1,"maxClients":10,"online":true}"#,
            None,
        ),
        (
            r#"{"name":"big","ip":"10.0.0.5","storagegroupID":1,"isEnabled":1,"maxClients":10,"online":false}"#,
            Some(
                "storage node `big` is offline: FOG can't connect to 10.0.0.5 within a second (FOG 1.5: to its FTP port, 21)",
            ),
        ),
        (
            r#"{"name":"big","storagegroupID":1,"isEnabled":1,"maxClients":0,"online":false}"#,
            Some("storage node `big` takes no clients"),
        ),
        (
            r#"{"name":"big","storagegroupID":1,"isEnabled":"","maxClients":10}"#,
            Some("storage node `big` is disabled"),
        ),
        (
            r#"{"name":"big","storagegroupID":2,"isEnabled":1,"maxClients":10}"#,
            Some("storage group 1 has no node for it"),
        ),
        (
            r#"{"name":"big","storagegroupID":0,"isEnabled":1,"maxClients":10}"#,
            Some("storage group 1 has no node for it"),
        ),
    ] {
        let server = Canned::start(vec![
            answer(200, r#"{"id":17,"name":"a","storagegroups":[1]}"#),
            answer(200, &format!(r#"{{"count":1,"storagenodes":[{node}]}}"#)),
        ]);
        let fog = fog(&server.address);
        let checked = fog.check_deployable(&fog.image(id(17)).unwrap());
        let said = checked.err().map(|error| error.to_string());
        let expected = refusal.map(|words| format!("FOG has no node to serve image 17 (`a`): {words}"));
        assert_eq!(said, expected, "{node}");
    }
}

#[test]
fn an_image_that_says_only_its_groups_name_lies_there() {
    let groups = r#"{"count":2,"storagegroups":[{"id":"1","name":"default","allnodes":[1]},
        {"id":"2","name":"archive","allnodes":[2]}]}"#;
    for (name, group) in [("archive", 2), ("default", 1), ("gone", 1)] {
        let image = format!(r#"{{"id":"17","name":"a","storagegroupname":"{name}"}}"#);
        let server = Canned::start(vec![
            answer(200, &image),
            answer(200, r#"{"count":0,"imageassociations":[]}"#),
            answer(200, groups),
        ]);
        let image = fog(&server.address).image(id(17)).unwrap();
        assert_eq!(image.storage_groups, [id(group)], "{name}");
    }
}

#[test]
fn a_deploy_names_itself_and_wakes_nobody() {
    let server = Canned::start(vec![answer(200, "\"\"")]);
    fog(&server.address)
        .start_task(id(7), TaskType::Deploy, "laas x")
        .unwrap();
    let asked = server.asked();
    for part in [
        "POST /fog/host/7/task ",
        r#""taskTypeID":1"#,
        r#""taskName":"laas x""#,
        r#""wol":false"#,
    ] {
        assert!(asked[0].contains(part), "{asked:?}");
    }
}

#[test]
fn a_cancel_names_its_task_and_is_judged_by_reading_again() {
    for (said, fine) in [
        (answer(200, "\"\""), true),
        (answer(500, ""), true),
        (answer(409, r#"{"msg":"already ended"}"#), true),
        (answer(409, r#"{"error":"already ended"}"#), true),
        (answer(409, ""), true),
        (answer(403, ""), false),
    ] {
        let server = Canned::start(vec![said]);
        assert_eq!(fog(&server.address).cancel(id(5)).is_ok(), fine);
        assert_eq!(server.asked(), [r#"DELETE /fog/task/5/cancel {"id":5}"#]);
    }
}

#[test]
fn only_the_tasks_of_the_host_are_given() {
    let list = r#"{"count":3,"tasks":[{"id":"1","host":{"id":"7"},"name":"a","stateID":"1"},
        {"id":"2","hostID":"8","name":"b"},{"id":"3","hostID":"0"}]}"#;
    let server = Canned::start(vec![answer(200, list)]);
    let fog = fog(&server.address);
    let given = [fog.active_tasks(id(7)), fog.all_tasks(id(7))];
    for tasks in given {
        assert_eq!(
            tasks.unwrap().iter().map(|t| t.id).collect::<Vec<_>>(),
            [Some(id(1))]
        );
    }
    assert_eq!(server.asked(), ["GET /fog/task/active", "GET /fog/task"]);
}

#[test]
fn an_address_that_is_none_is_bad_input() {
    let config = config::Fog {
        address: "fog.example".to_owned(),
        api_key: Secret::default(),
        user_key: Secret::default(),
        tls: Default::default(),
    };
    assert_eq!(
        Fog::new(&config, Duration::from_secs(1)).unwrap_err().kind(),
        Kind::Input
    );
}

#[test]
fn an_image_is_made_renamed_and_deleted_when_fogs_own_list_says_so() {
    let like: Image = serde_json::from_str(
        r#"{"id":"17","name":"ubuntu","osID":"50","imageTypeID":"1","imagePartitionTypeID":"1","compress":"6",
            "format":"5","storagegroups":[2]}"#,
    )
    .unwrap();
    let new = NewImage {
        name: "web_v1_incomplete",
        path: "web_v1_0a1b2c3d",
        description: "mark",
        like: &like,
    };
    let list = |description: &str, path: &str| {
        let image = format!(
            r#"{{"id":"26","name":"web_v1_incomplete","description":"{description}","path":"{path}","osID":"50",
                "imageTypeID":"1"}}"#
        );
        answer(200, &format!(r#"{{"count":1,"images":[{image}]}}"#))
    };
    let broken = || answer(500, "");
    for (posted, listed, error) in [
        (answer(200, "{}"), list("mark", "web_v1_0a1b2c3d"), None),
        // Seen at a real one: an error, and the image was made.
        (broken(), list("mark", "web_v1_0a1b2c3d"), None),
        (
            answer(200, "{}"),
            list("another's", "web_v1_0a1b2c3d"),
            Some("did not make the image"),
        ),
        (
            answer(200, "{}"),
            list("mark", "ubuntu"),
            Some("as it was asked to"),
        ),
        (
            answer(500, r#"{"error":"Already created"}"#),
            list("another's", "x"),
            Some("Already created"),
        ),
        (broken(), list("another's", "x"), Some("broke down")),
    ] {
        let server = Canned::start(vec![posted, listed]);
        let made = fog(&server.address).create_image(&new);
        let asked = server.asked();
        assert!(asked[0].starts_with("POST /fog/image {"), "{asked:?}");
        for part in [
            r#""storagegroups":[2]"#,
            r#""osID":50"#,
            r#""compress":6"#,
            r#""format":5"#,
        ] {
            assert!(asked[0].contains(part), "{asked:?}");
        }
        match error {
            None => assert_eq!(made.unwrap().id, id(26)),
            Some(words) => assert!(made.unwrap_err().to_string().contains(words), "{words}"),
        }
    }
    let named = |name: &str| answer(200, &format!(r#"{{"id":"26","name":"{name}"}}"#));
    for (put, read, error) in [
        (named("web_v1"), named("web_v1"), None),
        (broken(), named("web_v1"), None),
        (
            named("web_v1"),
            named("web_v1_incomplete"),
            Some("did not rename image 26"),
        ),
        (
            answer(500, r#"{"error":"Already created"}"#),
            named("x"),
            Some("Already created"),
        ),
    ] {
        let server = Canned::start(vec![put, read]);
        let renamed = fog(&server.address).rename_image(id(26), "web_v1");
        assert_eq!(
            server.asked(),
            [r#"PUT /fog/image/26 {"name":"web_v1"}"#, "GET /fog/image/26"]
        );
        match error {
            None => renamed.unwrap(),
            Some(words) => assert!(renamed.unwrap_err().to_string().contains(words), "{words}"),
        }
    }
    for (deleted, read, error) in [
        (answer(200, "\"\""), answer(404, ""), None),
        (answer(404, ""), answer(404, ""), None),
        (broken(), answer(404, ""), None),
        (answer(200, "\"\""), named("x"), Some("did not delete image 26")),
        (broken(), named("x"), Some("broke down")),
    ] {
        let server = Canned::start(vec![deleted, read]);
        let gone = fog(&server.address).delete_image(id(26));
        assert_eq!(server.asked(), ["DELETE /fog/image/26", "GET /fog/image/26"]);
        match error {
            None => gone.unwrap(),
            Some(words) => assert!(gone.unwrap_err().to_string().contains(words), "{words}"),
        }
    }
}
