//! A switch over NX-API.

use std::net::Ipv4Addr;
use std::time::Duration;

use laas_lab::cabling::{Cabling, Socket, switch_address};
use laas_lab::faults::{Faults, Kind, Peer};
use laas_lab::http::Server;
use laas_lab::nxos::Nxos;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Stand {
    switch: Nxos,
    cabling: Cabling,
    faults: Faults,
    server: Server,
    client: Client,
}

impl Stand {
    async fn new() -> Self {
        let cabling = Cabling::default();
        let faults = Faults::default();
        let account = ("admin", "secret");
        let switch = Nxos::new(switch_address(1), 8, account, cabling.clone(), Duration::ZERO);
        let server = Server::start(Ipv4Addr::LOCALHOST, Peer::Switch, switch.router(), faults.clone())
            .await
            .expect("a free port");
        Self {
            switch,
            cabling,
            faults,
            server,
            client: Client::builder().no_proxy().build().expect("a client"),
        }
    }

    fn request(kind: &str, input: &str) -> Value {
        json!({"ins_api": {
            "version": "1.0", "type": kind, "chunk": "0", "sid": "1", "input": input,
            "output_format": "json",
        }})
    }

    async fn post(&self, body: &Value) -> (u16, Value) {
        let response = self
            .client
            .post(format!("{}/ins", self.server.url()))
            .basic_auth("admin", Some("secret"))
            .json(body)
            .send()
            .await
            .expect("an answer");
        let status = response.status().as_u16();
        let mut body: Value = response.json().await.expect("JSON");
        (status, body["ins_api"]["outputs"]["output"].take())
    }

    async fn call(&self, kind: &str, input: &str) -> (u16, Value) {
        self.post(&Self::request(kind, input)).await
    }

    fn carries(&self, port: &str, vlan: u16, tagged: bool) -> bool {
        let socket = Socket {
            switch: switch_address(1),
            port: port.into(),
        };
        self.cabling.port(&socket).carries(vlan, tagged)
    }
}

#[tokio::test]
async fn a_port_is_configured_and_the_wire_follows() {
    let stand = Stand::new().await;
    assert!(stand.carries("Ethernet1/1", 301, false), "a previous tenant's");
    let mut changes = stand.cabling.changes();
    let lines = "vlan 11,103 ;exit ;interface Ethernet1/1 ;switchport mode trunk \
                 ;switchport trunk native vlan 11 ;switchport trunk allowed vlan 11,103";
    let (status, outputs) = stand.call("cli_conf", lines).await;
    assert_eq!(status, 200);
    assert_eq!(outputs.as_array().map(Vec::len), Some(6), "{outputs}");
    changes.changed().await.expect("the cabling lives");
    assert!(stand.carries("Ethernet1/1", 11, false));
    assert!(stand.carries("Ethernet1/1", 103, true));
    assert!(!stand.carries("Ethernet1/1", 301, true));
    assert!(
        stand.carries("Ethernet1/2", 302, false),
        "the neighbour is left alone"
    );

    stand.switch.reload();
    assert!(stand.carries("Ethernet1/1", 301, false), "nothing was saved");
    stand.call("cli_conf", lines).await;
    let (_, output) = stand.call("cli_conf", "copy running-config startup-config").await;
    assert_eq!(output["code"], "200");
    stand.switch.reload();
    assert!(stand.carries("Ethernet1/1", 11, false));
    assert_eq!(stand.switch.counters().saves, 1);
}

#[tokio::test]
async fn show_commands_have_the_shapes_of_nx_api() {
    let stand = Stand::new().await;
    let (_, one) = stand.call("cli_show", "show interface Eth1/3 switchport").await;
    let row = &one["body"]["TABLE_interface"]["ROW_interface"];
    assert_eq!(row["oper_mode"], "trunk", "one row is no list: {one}");
    assert_eq!(row["trunk_vlans"], "300-309");
    let (_, all) = stand.call("cli_show", "show interface switchport").await;
    let rows = &all["body"]["TABLE_interface"]["ROW_interface"];
    assert_eq!(rows.as_array().map(Vec::len), Some(8));

    let (_, two) = stand.call("cli_show", "show version ;show vlan brief").await;
    let vlans = &two[1]["body"]["TABLE_vlanbriefxbrief"]["ROW_vlanbriefxbrief"];
    assert_eq!(vlans[0]["vlanshowbr-vlanname"], "default");
    assert_eq!(vlans[0].get("vlanshowplist-ifidx"), None);
    assert!(vlans[4]["vlanshowplist-ifidx"].is_array(), "{vlans}");

    let shows = "show running-config interface Ethernet1/1 ;show running-config interface Ethernet1/2";
    let (_, texts) = stand.call("cli_show_ascii", shows).await;
    for (index, port) in [(0, 1), (1, 2)] {
        let text = texts[index]["body"].as_str().expect("text");
        assert!(text.contains(&stand.switch.port_section(port)), "{text}");
    }
    let (status, structured) = stand.call("cli_show", "show running-config").await;
    assert_eq!((status, &structured["code"]), (400, &"501".into()));
    let eleven = ["show version"; 11].join(" ;");
    assert_eq!(stand.call("cli_show", &eleven).await.1["code"], "400");
}

#[tokio::test]
async fn what_follows_an_error_depends_on_the_rollback() {
    let lines = "interface Ethernet1/1 ;description one ;nonsense ;description two";
    for (rollback, outputs, description) in [
        (Value::Null, 3, "description one"),
        ("stop-on-error".into(), 3, "description one"),
        ("continue-on-error".into(), 4, "description two"),
        ("rollback-on-error".into(), 3, "description old-tenant-1"),
    ] {
        let stand = Stand::new().await;
        let mut body = Stand::request("cli_conf", lines);
        if !rollback.is_null() {
            body["ins_api"]["rollback"] = rollback.clone();
        }
        let (status, answered) = stand.post(&body).await;
        assert_eq!(status, 500);
        assert_eq!(answered.as_array().map(Vec::len), Some(outputs), "{rollback}");
        assert_eq!(answered[2]["code"], "400");
        assert!(answered[2]["clierror"].is_string());
        let section = stand.switch.port_section(1);
        assert!(section.contains(description), "{rollback}: {section}");
    }
}

#[tokio::test]
async fn requests_that_are_not_understood_change_nothing() {
    let stand = Stand::new().await;
    let mut late_type = Stand::request("cli_conf", "vlan 500");
    let fields = late_type["ins_api"].as_object_mut().expect("an object");
    fields.shift_remove("type");
    fields.insert("type".into(), "cli_conf".into());
    for body in [
        late_type,
        json!({}),
        json!([1]),
        Stand::request("cli_dance", "vlan 500"),
    ] {
        let (status, output) = stand.post(&body).await;
        assert_eq!((status, &output["code"]), (400, &"400".into()), "{body}");
    }
    assert!(stand.switch.counters().lines.is_empty());

    let response = stand
        .client
        .post(format!("{}/ins", stand.server.url()))
        .basic_auth("admin", Some("wrong"))
        .json(&Stand::request("cli_show", "show version"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status(), 401);
    assert!(response.text().await.expect("a page").contains("<html>"));
}

#[tokio::test]
async fn a_second_call_at_the_same_time_is_turned_away() {
    let stand = Stand::new().await;
    // A call whose body is not all there yet is under way.
    let mut first = TcpStream::connect(stand.server.address())
        .await
        .expect("the switch");
    let body = Stand::request("cli_show", "show version").to_string();
    let head = format!(
        "POST /ins HTTP/1.1\r\nHost: switch\r\nAuthorization: Basic YWRtaW46c2VjcmV0\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    first.write_all(head.as_bytes()).await.expect("sent");
    while stand.switch.counters().calls == 0 {
        tokio::task::yield_now().await;
    }
    let (status, output) = stand.call("cli_show", "show version").await;
    assert_eq!((status, &output["msg"]), (429, &"Max sessions reached".into()));

    first.write_all(body.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    first.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(stand.call("cli_show", "show version").await.0, 200);
    assert_eq!(stand.switch.counters().turned_away, 1);
}

#[tokio::test]
async fn a_lying_switch_says_yes_and_keeps_its_configuration() {
    let stand = Stand::new().await;
    stand.faults.set(Peer::Switch, Kind::Lie).expect("a switch can");
    let (status, outputs) = stand
        .call("cli_conf", "interface Ethernet1/1 ;switchport mode access")
        .await;
    assert_eq!((status, &outputs[1]["code"]), (200, &"200".into()));
    assert!(stand.switch.port_section(1).contains("mode trunk"));
    let (_, shown) = stand
        .call("cli_show", "show interface Ethernet1/1 switchport")
        .await;
    assert_eq!(
        shown["body"]["TABLE_interface"]["ROW_interface"]["oper_mode"],
        "trunk"
    );
}
