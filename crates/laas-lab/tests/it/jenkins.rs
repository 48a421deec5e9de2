//! A host with a key for the lab's Jenkins is its agent for as long as it is booked.

use laas_lab::checks::{Given, told_address};
use serde_json::{Value, json};

use crate::house::{House, of_action};
use crate::release::{assert_gone, freed};

const SECRET: &str = "5ca1ab1e00000000000000000000000000000000000000000000000000000001";
/// An agent of the lab's own, in whose place nobody needs a Jenkins.
const TEMPLATE: &str = "\
[Service]
ExecStart=/bin/sh -c 'test -s {{ directory }}/secret && echo INFO: Connected && exec sleep infinity'
Restart=always
[Install]
WantedBy=multi-user.target
";

async fn agent(house: &House, job: u32, host: &str) -> String {
    let state = house.lab.dashboard().job(job).unwrap();
    let address = told_address(&state, host).unwrap();
    let key = &house.tenants[0].key;
    let output = house
        .lab
        .ssh(address, "opnfv", key, "systemctl is-active laas-jenkins");
    String::from_utf8(output.await.unwrap().stdout)
        .unwrap()
        .trim()
        .to_owned()
}

/// The files of the whole house that hold the secret, the images and the engine's among them.
fn who_has_it(house: &House) -> Vec<String> {
    let output = std::process::Command::new("grep")
        .args([
            "--recursive",
            "--fixed-strings",
            "--files-with-matches",
            "--devices=skip",
            SECRET,
        ])
        .arg(house.directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_comes_with_the_booking_and_goes_with_it() {
    let template = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(template.path(), TEMPLATE).unwrap();
    let jenkins = json!({"url": "https://jenkins.example.org", "template": template.path()});
    let house = House::with_config(json!({ "jenkins": jenkins })).await;
    let put = async |host: &str, secret: &str| {
        let name = format!("jenkins_{host}");
        let value = json!({"name": host, "secret": secret}).to_string();
        let key = json!({"name": name, "value": value, "secret": true, "scope": "system"});
        let path = format!("keys/{name}");
        house
            .stack
            .call(reqwest::Method::PUT, &path, Some(key))
            .await
            .unwrap();
    };
    put("pod1", SECRET).await;
    // One that can't be connected keeps nobody's booking from its users.
    put("pod2", "").await;
    let job = house.book_capture(true);
    let state = house.settled(job).await;
    house.assert_done(&state).await;
    let ends = [agent(&house, job, "pod1").await, agent(&house, job, "pod2").await];
    assert_eq!(ends, ["active", "inactive"], "{}", house.story().await);
    let told = house.lab.bot().messages();
    assert!(
        told.iter()
            .any(|message| format!("{message:?}").contains("jenkins_pod2")),
        "{told:?}"
    );
    // It is nowhere but on its host: in no snapshot, log, message or result.
    let [place] = &who_has_it(&house)[..] else {
        panic!("{:?}", who_has_it(&house));
    };
    assert!(
        place.contains("/pod1/disk.") && place.ends_with("/var/lib/laas-jenkins/secret"),
        "{place}"
    );

    let given = Given::of_job(&house.lab, &state);
    house.lab.dashboard().end(job).unwrap();
    freed(&house, job).await;
    assert_gone(&house, &given).await;
    assert_eq!(who_has_it(&house), Vec::<String>::new());
    let revoked = house.executions().await;
    let revoked = of_action(&revoked, "jenkins_agent").into_iter();
    let removed: Vec<&Value> = revoked
        .map(|e| &e["result"]["stdout"]["removed"])
        .filter(|r| r.is_array())
        .collect();
    // Once: the first time, before the snapshot, it is `prepare_capture` that takes it away.
    assert_eq!(removed.len(), 1, "{}", house.story().await);
}
