//! Nobody gets into a host that the booking did not make, and nothing that was given is forgotten.

use std::time::{Duration, Instant};

use laas_lab::checks::told_address;
use laas_lab::dashboard::{BookedHost, BookingSpec, JobState, TaskType, Vlan};
use laas_lab::machine::Phase;
use serde_json::json;

use crate::house::{House, LIMIT, brief};

/// Both hosts for alice alone, each with an image and one more VLAN.
fn book(house: &House, hosts: [(i64, u16); 2]) -> u32 {
    house.add_alice();
    let host = |(number, (image, vlan)): (usize, (i64, u16))| BookedHost {
        labid: format!("pod{number}"),
        image,
        hostname: format!("host{number}"),
        role: Default::default(),
        networks: [(
            format!("02:00:00:00:0{number}:01"),
            vec![Vlan::untagged(11), Vlan::tagged(vlan)],
        )]
        .into(),
    };
    let booking = BookingSpec {
        owner: 3,
        collaborators: Vec::new(),
        hosts: (1..).zip(hosts).map(host).collect(),
        opnfv: None,
        snapshot: None,
    };
    house.lab.dashboard().book(booking).unwrap()
}

fn statuses(job: &JobState, task_type: TaskType) -> Vec<i32> {
    let tasks = job.tasks.iter().filter(|task| task.task_type == task_type);
    tasks.map(|task| task.status).collect()
}

fn has_key(house: &House, host: &str) -> bool {
    let root = house.lab.machine(host).unwrap().root();
    let file = root.map(|root| root.join("home/opnfv/.ssh/authorized_keys"));
    let lines = file.and_then(|file| std::fs::read_to_string(file).ok());
    lines.is_some_and(|lines| lines.contains("laas-job"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_failed_gets_no_keys_when_the_other_one_is_reset() {
    for one_by_one in [None, Some(false), Some(true)] {
        let house = House::with_config(json!({"timing": {"retries": 0}})).await;
        house.lab.dashboard().create_one_by_one(one_by_one);
        // The lab does not lend VLAN 98, so that pod1 stays on the management network.
        let job = book(&house, [(24, 98), (24, 103)]);
        let started = Instant::now();
        while house.lab.dashboard().job(job).unwrap().tasks.len() < 6 {
            assert!(started.elapsed() < LIMIT, "{}", house.story().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        house.settled(job).await;
        house.lab.dashboard().reimage("pod2", 24).unwrap();
        let state = house.settled(job).await;
        assert!(
            !has_key(&house, "pod1"),
            "{:?}\n{}",
            brief(&state),
            house.story().await
        );
        assert!(
            has_key(&house, "pod2"),
            "{:?}\n{}",
            brief(&state),
            house.story().await
        );
        let key = state
            .tasks
            .iter()
            .find(|t| t.delta["access_type"] == "ssh")
            .unwrap();
        assert_eq!(key.status, 300, "{:?}", brief(&state));
        assert!(key.message.contains("pod1"), "{:?}", brief(&state));
        house.assert_true(&state).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_without_a_number_opens_nothing() {
    let house = House::with_config(json!({"timing": {"retries": 0}})).await;
    let job = book(&house, [(-1, 102), (24, 103)]);
    let state = house.settled(job).await;
    assert_eq!(
        statuses(&state, TaskType::Hardware),
        [300, 200],
        "{:?}",
        brief(&state)
    );
    assert_eq!(
        statuses(&state, TaskType::Network),
        [300, 200],
        "{:?}",
        brief(&state)
    );
    let port = house.lab.port_state("pod1", "02:00:00:00:01:01").unwrap();
    assert!(
        !port.allowed.contains(11) && !port.allowed.contains(102),
        "{port:?}"
    );
    assert!(!has_key(&house, "pod1") && has_key(&house, "pod2"));
    house.assert_true(&state).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_deleted_on_the_dashboard_is_taken_back_and_the_other_stays() {
    let house = House::start().await;
    let job = house.book();
    let state = house.settled(job).await;
    house.assert_done(&state).await;
    let account = house.lab.dashboard().bmc("pod2").unwrap();
    let address = told_address(&state, "pod2").unwrap();
    house.lab.dashboard().delete_host("pod2").unwrap();
    let started = Instant::now();
    let pod2 = house.lab.machine("pod2").unwrap();
    let gone = || pod2.phase() == Phase::Off && !has_key(&house, "pod2");
    let mut records = usize::MAX;
    while !gone() || records != state.tasks.len() - 2 {
        assert!(started.elapsed() < LIMIT, "{}", house.story().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let keys = house
            .stack
            .call(reqwest::Method::GET, "keys?limit=-1&prefix=task_", None);
        records = keys.await.unwrap().as_array().unwrap().len();
    }
    for nic in &pod2.host().nics {
        let port = house.lab.port_state("pod2", &nic.mac).unwrap_or_default();
        assert_eq!(port.allowed.iter().count(), 0, "{} {port:?}", nic.mac);
    }
    let session = laas_lab::checks::bmc_login(&house.lab, "pod2", &account).await;
    assert!(session.is_err(), "the tenant's BMC account opens a session");
    for tenant in &house.tenants {
        let login = house.lab.ssh(address, "opnfv", &tenant.key, "true").await;
        assert!(!login.is_ok_and(|login| login.status.success()));
        let pod1 = told_address(&state, "pod1").unwrap();
        let login = house.lab.ssh(pod1, "opnfv", &tenant.key, "true").await.unwrap();
        assert!(login.status.success(), "{login:?}\n{}", house.story().await);
    }
}
