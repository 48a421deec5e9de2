//! FOG over HTTP, and hosts that boot from it.

use std::net::Ipv4Addr;

use laas_lab::cabling::{Order, Os, PxeServer};
use laas_lab::faults::{Faults, Kind, Peer};
use laas_lab::fog::{Fog, Version};
use laas_lab::http::Server;
use reqwest::{Client, Method, StatusCode, redirect};
use serde_json::{Value, json};

const MAC: &str = "02:00:00:00:01:01";

struct Stand {
    fog: Fog,
    faults: Faults,
    server: Server,
    client: Client,
}

impl Stand {
    /// A FOG 1.5 with hosts `pod1` (id 1, image 17) and `pod2` (id 2, image 22).
    async fn new() -> Self {
        Self::of(Version::V1_5).await
    }

    async fn of(version: Version) -> Self {
        let faults = Faults::default();
        let fog = Fog::of(version, "the api token", "the user token", faults.clone());
        fog.add_host("pod1", [MAC.into()], 17);
        fog.add_host("pod2", ["02:00:00:00:02:01".into()], 22);
        let server = Server::start(Ipv4Addr::LOCALHOST, Peer::Fog, fog.router(), faults.clone())
            .await
            .expect("a free port");
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .build()
            .expect("a client");
        Self {
            fog,
            faults,
            server,
            client,
        }
    }

    async fn raw(&self, method: Method, path: &str, body: &Value, tokens: [&str; 2]) -> (StatusCode, String) {
        let mut request = self
            .client
            .request(method, format!("{}/fog{path}", self.server.url()))
            .header("fog-api-token", tokens[0])
            .header("fog-user-token", tokens[1]);
        if !body.is_null() {
            request = request.json(body);
        }
        let response = request.send().await.expect("an answer");
        (response.status(), response.text().await.expect("a body"))
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let tokens = [self.fog.shown_api_token(), self.fog.shown_user_token()];
        let method = method.parse().expect("a method");
        let (status, text) = self.raw(method, path, &body, [&tokens[0], &tokens[1]]).await;
        (status.as_u16(), text)
    }

    async fn json(&self, path: &str) -> Value {
        let (status, text) = self.call("GET", path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).expect(path)
    }

    async fn deploy(&self, host: u32) {
        let body = json!({"taskTypeID": 1, "taskName": "a name", "wol": false});
        let answer = self.call("POST", &format!("/host/{host}/task"), body).await;
        assert_eq!(answer, (200, "\"\"".into()));
    }

    fn states(&self) -> Vec<u32> {
        self.fog.tasks().iter().map(|task| task.state).collect()
    }
}

fn ubuntu() -> Os {
    Os {
        id: "ubuntu".into(),
        version: "18.04".into(),
    }
}

#[tokio::test]
async fn the_tokens_are_compared_as_the_web_pages_show_them() {
    let stand = Stand::new().await;
    let api = stand.fog.shown_api_token();
    let user = stand.fog.shown_user_token();
    for (tokens, status) in [
        ([api.as_str(), user.as_str()], 200),
        (["the api token", &user], 403),
        (["", ""], 403),
        ([&api, "the user token"], 401),
        ([&user, &api], 403),
    ] {
        let (answered, body) = stand.raw(Method::GET, "/host", &Value::Null, tokens).await;
        assert_eq!(answered.as_u16(), status, "{tokens:?}");
        assert_eq!(body.is_empty(), status != 200, "{body}");
    }
    stand.fog.enable_api(false);
    assert_eq!(stand.call("GET", "/host", Value::Null).await.0, 302);
}

#[tokio::test]
async fn errors_and_traps_are_those_of_1_5() {
    let image = json!({"name": "new", "path": "new", "imageTypeID": 1, "osID": 50});
    for (method, path, body, status, text) in [
        ("GET", "/system/info", Value::Null, 200, "success"),
        ("GET", "/nothing", Value::Null, 501, ""),
        ("GET", "/host/99", Value::Null, 404, ""),
        ("PUT", "/host/99", json!({"imageID": 17}), 404, ""),
        (
            "PUT",
            "/host/1",
            json!({"imageID": 22, "name": "pod1"}),
            500,
            "Already created",
        ),
        (
            "PUT",
            "/host/1/edit",
            json!({"imageID": 22}),
            200,
            "\"imageID\": \"22\"",
        ),
        ("POST", "/host/99/task", json!({"taskTypeID": 1}), 404, ""),
        (
            "POST",
            "/host/1/task",
            json!({"taskTypeID": 99}),
            501,
            "Invalid tasking type passed",
        ),
        (
            "POST",
            "/host/1/task",
            Value::Null,
            501,
            "Invalid tasking type passed",
        ),
        ("POST", "/image", image.clone(), 200, "\"id\": \"26\""),
        ("POST", "/image/create", json!({"name": "x"}), 417, "error"),
        (
            "POST",
            "/image",
            json!({"name": "centos-7", "path": "p"}),
            500,
            "Already created",
        ),
        ("DELETE", "/host/1/cancel", Value::Null, 500, ""),
        ("DELETE", "/host/cancel", Value::Null, 404, ""),
        ("DELETE", "/host/99", Value::Null, 404, ""),
    ] {
        let stand = Stand::new().await;
        let (answered, body) = stand.call(method, path, body.clone()).await;
        assert_eq!(answered, status, "{method} {path}: {body}");
        assert!(
            body.contains(text) && body.is_empty() == text.is_empty(),
            "{method} {path}: {body}"
        );
    }
}

#[tokio::test]
async fn a_careless_delete_destroys() {
    for path in ["/task/cancel", "/task/99/cancel"] {
        let stand = Stand::new().await;
        stand.deploy(1).await;
        stand.deploy(2).await;
        stand.call("DELETE", path, Value::Null).await;
        assert_eq!(stand.states(), [5, 5], "{path} cancels every task");
    }
    let stand = Stand::new().await;
    assert_eq!(stand.call("DELETE", "/host/1", Value::Null).await.0, 200);
    assert_eq!(stand.fog.host_image("pod1"), None);
    assert_eq!(stand.fog.host_image("pod2"), Some(22));
}

#[tokio::test]
async fn lists_have_a_count_and_texts_for_numbers() {
    let stand = Stand::new().await;
    stand.deploy(2).await;
    for (path, class, count) in [
        ("/host", "hosts", 2),
        ("/host/search/POD2", "hosts", 1),
        ("/image", "images", 6),
        ("/task/active", "tasks", 1),
        ("/task/current", "tasks", 1),
    ] {
        let list = stand.json(path).await;
        assert_eq!(list["count"], count, "{path}");
        assert_eq!(list[class].as_array().map(Vec::len), Some(count), "{path}");
        assert!(list[class][0]["id"].is_string(), "{path}");
    }
    let task = stand.json("/task/1").await;
    assert_eq!(task["host"]["name"], "pod2");
    assert_eq!(task["image"]["id"], "22");
    assert_eq!(task["name"], "a name - pod2");
    assert_eq!(task["state"]["name"], "Queued");
}

#[tokio::test]
async fn a_task_moves_only_when_its_host_boots_from_the_network() {
    let stand = Stand::new().await;
    assert_eq!(stand.fog.boot(MAC), Order::Disk);
    stand.deploy(1).await;
    let again = stand.call("POST", "/host/1/task", json!({"taskTypeID": 1})).await;
    assert_eq!(again.0, 500);
    assert!(again.1.contains("already a member of an active task"));
    assert_eq!(stand.fog.boot("02:00:00:00:02:01"), Order::Disk, "another host");
    assert_eq!(stand.states(), [1]);

    let order = Order::Deploy {
        task: 1,
        image: 17,
        os: ubuntu(),
        files: None,
    };
    assert_eq!(stand.fog.boot(&MAC.to_uppercase()), order);
    assert_eq!(stand.states(), [2], "checked in");
    stand.fog.progress(1, 40);
    let task = stand.json("/task/1").await;
    assert_eq!(
        (&task["stateID"], &task["pct"]),
        (&"3".into(), &"0000000040".into())
    );
    // The power went; the next boot begins anew.
    assert_eq!(stand.fog.boot(MAC), order);
    assert_eq!(stand.json("/task/1").await["pct"], "0000000000");
    stand.fog.finished(1, &ubuntu());
    assert_eq!(stand.states(), [4]);
    assert_eq!(stand.json("/task/active").await["count"], 0);
    assert_eq!(stand.fog.boot(MAC), Order::Disk);
}

#[tokio::test]
async fn a_cancelled_task_stays_cancelled_whatever_the_host_does() {
    let stand = Stand::new().await;
    stand.deploy(1).await;
    stand.fog.boot(MAC);
    assert_eq!(stand.call("DELETE", "/task/1/cancel", Value::Null).await.0, 200);
    stand.fog.progress(1, 90);
    stand.fog.finished(1, &ubuntu());
    assert_eq!(stand.states(), [5]);
    assert_eq!(stand.call("DELETE", "/task/1/cancel", Value::Null).await.0, 200);
}

#[tokio::test]
async fn an_image_has_nothing_in_it_until_a_disk_was_captured() {
    let stand = Stand::new().await;
    let image = json!({"name": "snapshot", "path": "s", "imageTypeID": 1, "osID": 50});
    stand.call("POST", "/image", image).await;
    stand.call("PUT", "/host/1", json!({"imageID": 26})).await;
    stand.deploy(1).await;
    assert_eq!(stand.fog.boot(MAC), Order::Disk);
    assert_eq!(
        stand.states(),
        [2],
        "the client fails and FOG does not hear of it"
    );
    stand.call("DELETE", "/task/1/cancel", Value::Null).await;
    stand.call("POST", "/host/1/task", json!({"taskTypeID": 2})).await;
    assert_eq!(stand.fog.boot(MAC), Order::Capture { task: 2, image: 26 });
    assert_eq!(stand.json("/image/26").await["deployed"], "0000-00-00 00:00:00");
    stand.fog.finished(2, &ubuntu());
    assert_eq!(stand.fog.image_os(26), Some(ubuntu()));
    let image = stand.json("/image/26").await;
    assert_ne!(image["deployed"], "0000-00-00 00:00:00");

    let name = |name: &str| json!({"name": name});
    let taken = stand.call("PUT", "/image/26", name("centos-7")).await;
    assert_eq!((taken.0, taken.1.contains("Already created")), (500, true));
    assert_eq!(stand.call("PUT", "/image/26", name("kept")).await.0, 200);
    assert_eq!(stand.json("/image/26").await["name"], "kept");
    assert_eq!(stand.call("DELETE", "/image/26", Value::Null).await.0, 200);
    assert_eq!(stand.call("GET", "/image/26", Value::Null).await.0, 404);
    assert_eq!(stand.fog.host_image("pod1"), Some(0), "its hosts lose it");
}

#[tokio::test]
async fn a_wipe_is_silent_until_it_is_done() {
    let stand = Stand::new().await;
    stand
        .call("POST", "/host/1/task", json!({"taskTypeID": 19}))
        .await;
    assert_eq!(stand.fog.boot(MAC), Order::Wipe { task: 1 });
    stand.fog.progress(1, 50);
    assert_eq!(stand.states(), [1]);
    stand.fog.wiped(1);
    assert_eq!(stand.states(), [4]);
}

#[tokio::test]
async fn a_disabled_image_is_refused() {
    let stand = Stand::new().await;
    stand.call("PUT", "/host/1", json!({"imageID": 23})).await;
    let (status, body) = stand.call("POST", "/host/1/task", json!({"taskTypeID": 1})).await;
    assert_eq!(status, 500);
    assert!(body.contains("not enabled"), "{body}");
}

#[tokio::test]
async fn fog_can_lie() {
    let stand = Stand::new().await;
    stand.faults.set(Peer::Fog, Kind::Lie).expect("FOG can");
    stand.deploy(1).await;
    let (_, host) = stand.call("PUT", "/host/1", json!({"imageID": 22})).await;
    assert!(host.contains("\"imageID\": \"22\""));
    assert_eq!(stand.fog.host_image("pod1"), Some(17));
    assert!(stand.fog.tasks().is_empty());

    stand.faults.set(Peer::Fog, Kind::LieDone).expect("FOG can");
    stand.deploy(1).await;
    assert_eq!(stand.fog.boot(MAC), Order::Disk);
    assert_eq!(stand.states(), [4], "complete, and nothing was written");
}

#[tokio::test]
async fn an_image_whose_storage_has_no_node_is_refused() {
    for version in [Version::V1_5, Version::V1_6] {
        for (groups, enabled, kind, said) in [
            (&[2][..], true, 1, Some("No nodes available")),
            (&[2, 1], true, 1, Some("No nodes available")),
            (&[1], false, 1, Some("No nodes available")),
            (&[1], false, 2, Some("No master nodes available")),
            (&[1, 2], true, 1, None),
            (&[], true, 1, None),
        ] {
            let stand = Stand::of(version).await;
            stand.fog.store_image(17, groups);
            stand.fog.enable_node(1, enabled);
            let task = json!({"taskTypeID": kind, "wol": false});
            let (status, body) = stand.call("POST", "/host/1/task", task).await;
            assert_eq!(
                status,
                if said.is_some() { 500 } else { 200 },
                "{groups:?}: {body}"
            );
            assert!(body.contains(said.unwrap_or_default()), "{groups:?}: {body}");
        }
    }
}

#[tokio::test]
async fn version_1_6_takes_an_issued_token_alone_and_says_what_it_is_without_any() {
    let stand = Stand::of(Version::V1_6).await;
    let bearer = stand.fog.bearer();
    for (path, token, status) in [
        ("/system/info", None, 200),
        ("/host", None, 403),
        ("/host", Some(bearer.as_str()), 200),
        ("/host", Some("fog_another"), 401),
        ("/host", Some("the user token"), 401),
    ] {
        let mut request = stand.client.get(format!("{}/fog{path}", stand.server.url()));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        assert_eq!(
            request.send().await.expect("an answer").status(),
            status,
            "{path} {token:?}"
        );
    }
    let info = stand.json("/system/info").await;
    assert!(
        info["version"].as_str().expect("a version").starts_with("1.6"),
        "{info}"
    );
    // 1.5 knows no such token.
    let old = Stand::new().await;
    let request = old.client.get(format!("{}/fog/host", old.server.url()));
    let answer = request.bearer_auth(&bearer).send().await.expect("an answer");
    assert_eq!(answer.status(), 403);
}

#[tokio::test]
async fn lists_of_1_6_come_in_pages_with_numbers_and_without_what_is_nested() {
    let stand = Stand::of(Version::V1_6).await;
    stand.deploy(2).await;
    let mut names = Vec::new();
    let mut path = "/image".to_owned();
    loop {
        let list = stand.json(&path).await;
        assert_eq!(
            (&list["recordsTotal"], &list["recordsFiltered"]),
            (&json!(6), &json!(6))
        );
        let rows = list["data"].as_array().expect("rows").clone();
        assert_eq!(list["recordsReturned"], rows.len());
        assert_eq!(
            list["truncated"],
            if path == "/image" {
                json!(true)
            } else {
                Value::Null
            }
        );
        names.extend(
            rows.iter()
                .map(|row| row["name"].as_str().expect("a name").to_owned()),
        );
        assert!(
            rows.iter()
                .all(|row| row["id"].is_u64() && row["storagegroups"].is_null()),
            "{list:#}"
        );
        match list["nextUrl"].as_str() {
            Some(next) => path = next.trim_start_matches("/fog").to_owned(),
            None => break,
        }
    }
    assert_eq!(
        (names.len(), names[0].as_str(), path.as_str()),
        (6, "ubuntu-18.04", "/image?start=3&length=3")
    );
    let active = stand.json("/task/active").await;
    let row = &active["data"][0];
    assert_eq!(
        (&row["hostID"], &row["stateID"], &row["pct"]),
        (&json!(2), &json!(1), &json!(0))
    );
    assert_eq!(
        (&row["host"], &row["checkInTime"]),
        (&Value::Null, &json!("No Data"))
    );
    let task = stand.json("/task/1").await;
    assert_eq!(
        (&task["host"]["id"], &task["state"]["id"]),
        (&json!(2), &json!(1))
    );
    let found = stand.json("/image/search/CENTOS").await;
    assert_eq!(found["recordsTotal"], 2);
    assert!(stand.json("/image/17").await["storagegroups"].is_null());
    assert_eq!(
        stand.json("/imageassociation").await["data"][0],
        json!({
            "id": 1, "imageID": 17, "storagegroupID": 1, "primary": 1, "DT_RowId": "row_1",
            "mainlink": "<a href=\"../management/index.php?node=imageassociation&sub=edit&id=1\"></a>",
        })
    );
    let nodes = stand.json("/storagenode").await;
    assert_eq!(
        (&nodes["data"][0]["isEnabled"], &nodes["data"][0]["pass"]),
        (&json!(1), &Value::Null)
    );
}

#[tokio::test]
async fn version_1_6_knows_failed_tasks_and_does_not_cancel_what_has_ended() {
    let stand = Stand::of(Version::V1_6).await;
    let image = json!({"name": "empty", "path": "e", "imageTypeID": 1, "osID": 50, "storagegroups": [1, 2]});
    let (_, created) = stand.call("POST", "/image", image).await;
    let created: Value = serde_json::from_str(&created).expect("the image");
    assert_eq!(created["id"], 26);
    stand.call("PUT", "/host/1", json!({"imageID": 26})).await;
    stand.deploy(1).await;
    assert_eq!(stand.fog.boot(MAC), Order::Disk);
    assert_eq!(stand.states(), [6], "the client reports that there are no files");
    for path in ["/task/1/cancel", "/host/1/cancel"] {
        let (status, body) = stand.call("DELETE", path, Value::Null).await;
        assert_eq!(status, 409, "{path}: {body}");
        assert!(body.contains("msg"), "{body}");
    }
    let unknown = stand
        .call("POST", "/host/1/task", json!({"taskTypeID": 99}))
        .await;
    assert_eq!(unknown.0, 404);
}

#[tokio::test]
async fn a_task_wakes_its_host_and_runs_its_snapins_as_the_version_understands_it() {
    for (version, asked, woken, snapins) in [
        (Version::V1_5, json!({}), false, false),
        (
            Version::V1_5,
            json!({"wol": true, "deploySnapins": true}),
            true,
            true,
        ),
        (Version::V1_6, json!({}), true, false),
        (
            Version::V1_6,
            json!({"wol": false, "deploySnapins": true}),
            false,
            false,
        ),
        (Version::V1_6, json!({"wol": 0, "deploySnapins": -1}), false, true),
    ] {
        let stand = Stand::of(version).await;
        let mut packets = stand.fog.magic_packets();
        let mut task = json!({"taskTypeID": 1});
        task.as_object_mut()
            .expect("an object")
            .extend(asked.as_object().expect("an object").clone());
        assert_eq!(stand.call("POST", "/host/1/task", task).await.0, 200);
        assert_eq!(
            packets.try_recv().ok().as_deref(),
            woken.then_some(MAC),
            "{version:?} {asked}"
        );
        assert_eq!(stand.fog.tasks()[0].snapins, snapins, "{version:?} {asked}");
    }
}
