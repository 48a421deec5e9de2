//! What an operator types by mistake: nothing is touched before everything that can be checked is, and no tenant's host
//! without saying so.

use laas_lab::faults::{Kind, Peer};
use laas_lab::lab::Lab;
use laas_lab::machine::Phase;
use serde_json::{Value, json};

use crate::house::{House, name, pack};

/// All that a run can change under a tenant: ports, power, disk and its files, accounts, FOG's queue.
pub fn state(lab: &Lab) -> Vec<String> {
    let mut state = Vec::new();
    for machine in lab.machines() {
        let host = &machine.host().name;
        let file = |name: &str| {
            let root = machine.root()?;
            std::fs::read_to_string(root.join(name)).ok()
        };
        let system = machine.system().map(|system| (system.image, system.os.id));
        let files = ["home/opnfv/.ssh/authorized_keys", "etc/hostname", "etc/shadow"].map(file);
        state.push(format!("{host}: {:?} {system:?} {files:?}", machine.phase()));
        for nic in &machine.host().nics {
            let port = lab.port_state(host, &nic.mac);
            state.push(format!("{host} {}: {port:?}", nic.mac));
        }
        state.push(format!("{host}: {:?}", lab.fog().host_image(host)));
    }
    state.push(format!("{:?}", lab.fog().tasks().len()));
    state
}

/// Runs it by hand, and says how it ended: the status, and what was said.
async fn by_hand(house: &House, action: &str, parameters: Value) -> (String, String) {
    let ended = house
        .stack
        .run(&format!("laas.{action}"), parameters)
        .await
        .unwrap();
    (
        ended["status"].as_str().unwrap().to_owned(),
        ended["result"].to_string(),
    )
}

/// The exit code that the workflow's first step ended with.
async fn preflight_code(house: &House) -> Value {
    let executions = house.executions().await;
    let last = executions.iter().rfind(|e| name(e) == "preflight").unwrap();
    last["result"]["return_code"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booked_host_is_touched_only_by_who_says_so() {
    let house = House::of_hosts(3, &pack(), json!({})).await;
    let job = house.book();
    let booked = house.settled(job).await;
    house.assert_done(&booked).await;
    let before = state(&house.lab);
    let hardware = json!({"job": job, "task": "aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da", "digest": "0", "request": "other",
        "image": 17, "hostname": "other", "ipmi": false});
    let network = json!({"job": job, "task": "aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da", "digest": "0", "request": "other",
        "interfaces": {}, "vlans": []});
    let snapshot = json!({"host": "pod2", "snapshot": "web", "network": null, "job": job, "request": "other",
        "task": "aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da", "digest": "0"});
    let host = "pod2";
    for (action, parameters) in [
        ("image_host", json!({"host": host, "name": "ubunto"})),
        ("image_host", json!({"host": host, "os": "ubuntu"})),
        // A piece of work that no booking's ledger knows, and settings from nowhere.
        (
            "image_host",
            json!({"host": host, "os": "ubuntu", "request": "other", "settings": {"retries": 0}}),
        ),
        ("wipe_host", json!({"host": host, "confirm": host})),
        ("capture_host", json!({"host": host, "snapshot": "web"})),
        (
            "update_image",
            json!({"host": host, "os": "ubuntu", "into": "web"}),
        ),
        ("release_host", json!({"host": host, "job_id": job})),
        (
            "release_host",
            json!({"host": host, "job_id": job + 1, "disk": "wipe"}),
        ),
        (
            "provision_host",
            json!({"host": host, "hardware": hardware, "tasks": []}),
        ),
        (
            "prepare_network",
            json!({"host": host, "network": network, "provisioned": false}),
        ),
        ("snapshot_host", json!({"snapshot": snapshot})),
        ("ipmi_power", json!({"host": host, "command": "off"})),
        ("ipmi_power", json!({"host": host, "command": "reset"})),
        ("ipmi_boot_device", json!({"host": host, "device": "bios"})),
        ("switch_vlan", json!({"hosts": ["pod3", host]})),
        (
            "switch_vlan",
            json!({"networks": [{"host": host, "interfaces": {}}]}),
        ),
        ("host_network", json!({"host": host, "interfaces": {}})),
        ("set_hostname", json!({"host": host, "hostname": "other"})),
        ("set_password", json!({"host": host, "account": "root"})),
        ("reboot_host", json!({"host": host})),
        ("update_host", json!({"host": host})),
        ("prepare_capture", json!({"host": host})),
        ("bmc_user", json!({"host": host, "revoke": true})),
        ("jenkins_agent", json!({"host": host, "revoke": true})),
        (
            "fog_image",
            json!({"host": host, "image": 17, "start_only": true}),
        ),
        (
            "fog_wipe",
            json!({"host": host, "confirm": host, "mode": "fast", "start_only": true}),
        ),
        (
            "fog_capture",
            json!({"host": host, "snapshot": "web", "start_only": true}),
        ),
    ] {
        let (status, said) = by_hand(&house, action, parameters.clone()).await;
        assert!(
            status == "failed" && said.contains("is booked") && said.contains("booked=true"),
            "{action} {parameters}: {status} {said}"
        );
        assert_eq!(state(&house.lab), before, "{action} {parameters}");
    }
    // What only looks, or gives, is nobody's harm.
    for (action, parameters) in [
        ("ipmi_power", json!({"host": host, "command": "status"})),
        ("ipmi_power", json!({"host": host, "command": "on"})),
        (
            "ipmi_power",
            json!({"host": host, "command": "off", "dry_run": true}),
        ),
    ] {
        let (status, said) = by_hand(&house, action, parameters).await;
        assert_eq!(status, "succeeded", "{said}");
    }
    assert_eq!(state(&house.lab), before);
    house.assert_done(&booked).await;

    let power_off = json!({"host": host, "command": "off", "booked": true});
    assert_eq!(by_hand(&house, "ipmi_power", power_off).await.0, "succeeded");
    assert_eq!(house.lab.machine(host).unwrap().phase(), Phase::Off);
    let image = json!({"host": host, "os": "ubuntu", "booked": true});
    let (status, said) = by_hand(&house, "image_host", image).await;
    assert_eq!(status, "succeeded", "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_host_is_touched_when_everything_has_been_checked() {
    let house = House::with_config(json!({"timing": {"call": 3, "retries": 0}})).await;
    let first = json!({"host": "pod1", "os": "ubuntu"});
    assert_eq!(by_hand(&house, "image_host", first).await.0, "succeeded");
    house.lab.fog().add_image(
        "web_v1_incomplete",
        laas_lab::cabling::Os {
            id: "ubuntu".into(),
            version: "22.04".into(),
        },
    );
    let before = state(&house.lab);
    for (action, parameters) in [
        ("image_host", json!({"host": "pod1", "name": "ubunto"})),
        ("image_host", json!({"host": "pod1", "image": 4711})),
        ("image_host", json!({"host": "pod1", "os": "debian"})),
        ("image_host", json!({"host": "pod1", "snapshot": "web"})),
        (
            "image_host",
            json!({"host": "pod1", "snapshot": "web", "version": 7}),
        ),
        ("image_host", json!({"host": "pod1"})),
        ("image_host", json!({"host": "pod9", "os": "ubuntu"})),
        (
            "update_image",
            json!({"host": "pod1", "name": "ubunto", "into": "web"}),
        ),
        (
            "update_image",
            json!({"host": "pod1", "os": "ubuntu", "into": "a b"}),
        ),
        ("capture_host", json!({"host": "pod1", "snapshot": "a/b"})),
        (
            "capture_host",
            json!({"host": "pod1", "snapshot": "web", "replace": "ubunto"}),
        ),
        ("wipe_host", json!({"host": "pod9", "confirm": "pod9"})),
    ] {
        let (status, said) = by_hand(&house, action, parameters.clone()).await;
        assert!(
            status == "failed" && said.contains("error"),
            "{action} {parameters}: {said}"
        );
        assert_eq!(state(&house.lab), before, "{action} {parameters}");
    }
    // A peer that is needed later, and the one that knows whether the host is booked.
    for peer in [
        Peer::Fog,
        Peer::Bmc("pod1".to_owned()),
        Peer::Switch,
        Peer::Dashboard,
    ] {
        house.lab.faults().set(peer.clone(), Kind::Refuse).unwrap();
        let image = json!({"host": "pod1", "os": "centos"});
        let (status, said) = by_hand(&house, "image_host", image).await;
        assert_eq!(
            (status.as_str(), preflight_code(&house).await),
            ("failed", json!(3)),
            "{peer}: {said}"
        );
        assert_eq!(state(&house.lab), before, "{peer}");
        if peer == Peer::Dashboard {
            assert!(
                said.contains("nobody knows whether a booking has `pod1`"),
                "{said}"
            );
            let image = json!({"host": "pod1", "os": "centos", "booked": true});
            assert_eq!(by_hand(&house, "image_host", image).await.0, "succeeded");
        }
        house.lab.faults().clear(&peer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_hand_the_configuration_holds_and_a_failure_fails() {
    let changes = json!({"release": {"disk": "wipe"}, "timing": {"call": 3, "retries": 1, "retry_delay": 0, "power": 6, "boot": 10}});
    let house = House::with_config(changes).await;
    for host in ["pod1", "pod2"] {
        let image = json!({"host": host, "os": "ubuntu"});
        assert_eq!(by_hand(&house, "image_host", image).await.0, "succeeded");
    }
    // The booking of this job is forgotten by everybody.
    let (status, said) = by_hand(&house, "release_host", json!({"host": "pod1", "job_id": 4711})).await;
    assert_eq!(status, "succeeded", "{said}");
    let machine = house.lab.machine("pod1").unwrap();
    assert!(
        machine.system().is_none() && machine.phase() == Phase::Off,
        "{:?}",
        machine.phase()
    );
    // As often as the configuration says, and what was not done is no success.
    house
        .lab
        .faults()
        .set(Peer::Bmc("pod2".to_owned()), Kind::Refuse)
        .unwrap();
    let (status, said) = by_hand(
        &house,
        "release_host",
        json!({"host": "pod2", "job_id": 4711, "disk": "keep"}),
    )
    .await;
    assert!(
        status == "failed" && said.contains("\"released\":false"),
        "{said}"
    );
    let executions = house.executions().await;
    let tried = |action: &str| {
        let on = |e: &&Value| name(e) == action && e["parameters"]["host"] == "pod2";
        executions.iter().filter(on).count()
    };
    assert_eq!(tried("bmc_user"), 2, "once more than the first time");
    house.lab.faults().clear(&Peer::Bmc("pod2".to_owned()));

    let network = json!({"job": 1, "task": "aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da", "digest": "0", "request": "other",
        "interfaces": {"00:00:00:00:00:01": []}, "vlans": []});
    let hardware = json!({"job": 1, "task": "aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da", "digest": "0", "request": "other",
        "image": 17, "hostname": "not a name", "ipmi": false});
    for (action, parameters) in [
        (
            "prepare_network",
            json!({"host": "pod2", "network": network, "provisioned": false}),
        ),
        (
            "provision_host",
            json!({"host": "pod2", "hardware": hardware, "tasks": []}),
        ),
    ] {
        let (status, said) = by_hand(&house, action, parameters).await;
        assert!(
            status == "failed" && said.contains("\"ready\":false"),
            "{action}: {said}"
        );
    }
}
