//! The machine's BMC with Redfish, asked as its makers' documentation says.

use laas_lab::inventory::BmcKind;
use laas_lab::pace::Pace;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::machine::{PASSWORD, Rack};

const ROOT: &str = "/redfish/v1/";

struct Bmc {
    rack: Rack,
    client: Client,
}

impl Bmc {
    async fn new(kind: BmcKind) -> Self {
        let rack = Rack::with(Pace::zero(), kind).await;
        let certificate = Certificate::from_pem(&std::fs::read(&rack.certificate).unwrap()).unwrap();
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .add_root_certificate(certificate)
            .build()
            .unwrap();
        Self { rack, client }
    }

    /// Status and body, by somebody (`user password`) or nobody.
    async fn ask(&self, method: Method, path: &str, who: Option<&str>, body: &Value) -> (StatusCode, Value) {
        let url = format!("https://127.97.0.1:{}{path}", self.rack.ports.redfish);
        let mut request = self.client.request(method, url);
        if let Some((user, password)) = who.and_then(|who| who.split_once(' ')) {
            request = request.basic_auth(user, Some(password));
        }
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

#[tokio::test]
async fn ilo_answers_as_ilo_does() {
    let bmc = Bmc::new(BmcKind::Ilo5).await;
    let admin = format!("ADMIN {PASSWORD}");
    let (admin, nobody) = (Some(admin.as_str()), None);
    let system = "/redfish/v1/Systems/1/";
    let mode = json!({"Boot": {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideMode": "UEFI"}});
    let account = json!({
        "UserName": "tenant", "Password": "a-tenants-own", "RoleId": "Operator", "Oem": {"Hpe": {"LoginName": "t"}},
    });
    let short = json!({"UserName": "x", "Password": "short", "Oem": {"Hpe": {"LoginName": "x"}}});
    let (accounts, tenant) = (
        "/redfish/v1/AccountService/Accounts/",
        Some("tenant a-tenants-own"),
    );
    let on = json!({"ResetType": "On"});
    let reset = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset/";
    let (get, patch, post) = (Method::GET, Method::PATCH, Method::POST);
    for (method, path, who, body, status) in [
        (&get, ROOT, nobody, &Value::Null, 200),
        (&get, system, nobody, &Value::Null, 401),
        (&get, system, Some("ADMIN wrong"), &Value::Null, 401),
        (&get, "/redfish/v1/systems/1", admin, &Value::Null, 200),
        (&get, "/redfish/v1/nothing/", admin, &Value::Null, 404),
        (&patch, "/redfish/v1/Systems/1", admin, &mode, 308),
        (&patch, system, admin, &mode, 400),
        (&post, accounts, admin, &short, 400),
        (&post, accounts, admin, &account, 201),
        (&post, accounts, admin, &account, 400),
        (&get, accounts, tenant, &Value::Null, 403),
        (&post, accounts, tenant, &account, 403),
        (&post, reset, tenant, &on, 200),
        (&post, reset, tenant, &on, 400),
        (&get, system, tenant, &Value::Null, 200),
    ] {
        let (found, said) = bmc.ask(method.clone(), path, who, body).await;
        assert_eq!(found, status, "{method} {path} {body}: {said}");
    }
    assert!(bmc.rack.machine.power());
    assert_eq!(bmc.rack.machine.bmc_accounts(), ["ADMIN", "tenant"]);
    let (_, shown) = bmc.ask(get, &format!("{accounts}2/"), admin, &Value::Null).await;
    assert_eq!(
        (&shown["UserName"], &shown["Password"]),
        (&json!("tenant"), &Value::Null)
    );
}
