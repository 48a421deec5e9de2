//! Bookings that leave the straight way: what one host or task has to do with the others.

use std::time::Instant;

use laas_lab::cabling::bmc_address;
use laas_lab::dashboard::{BookedHost, BookingSpec, JobState, TaskType, Vlan};
use laas_lab::faults::{Kind, Peer};
use serde_json::json;

use laas_lab::inventory::BMC_USER;

use crate::house::{House, LIMIT, brief, name, of_action};

/// Both hosts for alice alone; each with what its first interface carries.
fn book(house: &House, networks: [Vec<Vlan>; 2]) -> u32 {
    house.add_alice();
    let host = |(number, vlans): (usize, Vec<Vlan>)| BookedHost {
        labid: format!("pod{number}"),
        image: 24,
        hostname: format!("host{number}"),
        role: Default::default(),
        networks: [(format!("02:00:00:00:0{number}:01"), vlans)].into(),
    };
    let booking = BookingSpec {
        owner: 3,
        collaborators: Vec::new(),
        hosts: (1..).zip(networks).map(host).collect(),
        opnfv: None,
        snapshot: None,
    };
    house.lab.dashboard().book(booking).unwrap()
}

fn status(job: &JobState, task_type: TaskType, subject: &str) -> (i32, String) {
    let task = job
        .tasks
        .iter()
        .find(|t| t.task_type == task_type && t.subject == subject);
    let task = task.unwrap_or_else(|| panic!("no {task_type:?} of {subject} in {:?}", brief(job)));
    (task.status, task.message.clone())
}

/// The statuses of the user's VPN and SSH task.
fn access(job: &JobState) -> (i32, i32) {
    let of = |kind: &str| {
        let mut tasks = job.tasks.iter().filter(|t| t.delta["access_type"] == kind);
        tasks.next().map_or(0, |t| t.status)
    };
    (of("vpn"), of("ssh"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_after_a_dead_one_are_done_also_one_at_a_time() {
    let timing = json!({"timing": {"concurrency": 1, "retries": 0, "power": 5}});
    let house = House::with_config(timing).await;
    house
        .lab
        .faults()
        .set(Peer::Bmc("pod1".to_owned()), Kind::Refuse)
        .unwrap();
    let job = book(&house, [vec![Vlan::untagged(11)], vec![Vlan::untagged(12)]]);
    let job = house.settled(job).await;
    for task_type in [TaskType::Hardware, TaskType::Network] {
        let (dead, told) = status(&job, task_type, "pod1");
        assert!(
            dead == 300 && told.contains("pod1") && told.contains("management controller"),
            "{told}"
        );
        assert_eq!(status(&job, task_type, "pod2").0, 200, "{:?}", brief(&job));
    }
    assert_eq!(access(&job), (200, 300));
    house.assert_true(&job).await;
    // The operators are told where; the users are not.
    let executions = house.executions().await;
    let output = &of_action(&executions, "fulfill_job")[0]["result"]["output"];
    let failed: Vec<_> = output["failed"].as_array().unwrap().iter().collect();
    assert_eq!(failed.len(), 3, "{output:#}");
    let address = bmc_address(1).to_string();
    for kind in ["hardware", "network"] {
        let begin = format!("{kind} of pod1: bmc: ");
        let said = failed.iter().find_map(|said| said.as_str()?.strip_prefix(&begin));
        assert!(said.is_some_and(|said| said.contains(&address)), "{output:#}");
        let said = failed
            .iter()
            .any(|said| said.as_str().unwrap().starts_with("SSH access of user 3: "));
        assert!(said, "{output:#}");
    }
    for task in &job.tasks {
        assert!(!task.message.contains(&address), "{}", task.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vlan_that_the_lab_does_not_lend_is_refused_for_its_host_alone() {
    let house = House::with_config(json!({"timing": {"retries": 0}})).await;
    let job = book(
        &house,
        [
            vec![Vlan::untagged(11), Vlan::tagged(98)],
            vec![Vlan::untagged(12)],
        ],
    );
    let job = house.settled(job).await;
    let (refused, told) = status(&job, TaskType::Network, "pod1");
    assert!(refused == 300 && told.contains("98"), "{told}");
    assert_eq!(
        status(&job, TaskType::Network, "pod2").0,
        200,
        "{:?}",
        brief(&job)
    );
    let port = house.lab.port_state("pod1", "02:00:00:00:01:01").unwrap();
    assert!(
        !port.allowed.contains(98) && !port.allowed.contains(11),
        "{port:?}"
    );
    house.assert_true(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_to_carry_nothing_is_done_when_its_ports_are() {
    let house = House::with_config(json!({"timing": {"retries": 0}})).await;
    let job = book(&house, [vec![Vlan::untagged(11)], Vec::new()]);
    let job = house.settled(job).await;
    let (done, told) = status(&job, TaskType::Network, "pod2");
    assert!(done == 200 && !told.contains("answers at"), "{told}");
    // Nobody can prove a login where nobody gets to.
    assert_eq!(access(&job), (200, 300));
    house.assert_true(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_cancelled_with_its_hosts_off_is_finished() {
    let house = House::start().await;
    let job = house.book();
    let started = Instant::now();
    let workflow = loop {
        assert!(started.elapsed() < LIMIT, "{}", house.story().await);
        let executions = house.executions().await;
        let prepared = of_action(&executions, "prepare_network");
        if prepared.len() == 2 && prepared.iter().all(|e| e["status"] == "succeeded") {
            let workflow = executions.iter().find(|e| name(e) == "fulfill_job").unwrap();
            break workflow["id"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    house
        .stack
        .call(reqwest::Method::DELETE, &format!("executions/{workflow}"), None)
        .await
        .unwrap();
    let job = house.settled(job).await;
    house.assert_done(&job).await;
    assert!(of_action(&house.executions().await, "fulfill_job").len() > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_no_bmc_account_is_rid_of_the_last_tenants() {
    let house = House::start().await;
    let job = book(&house, [vec![Vlan::untagged(11)], vec![Vlan::untagged(12)]]);
    let state = house.settled(job).await;
    let [first, second] = house.lab.machines() else {
        panic!("two hosts");
    };
    assert_eq!(house.bmc_users(first).await, [BMC_USER, "opnfv"]);
    // The host's next booking. The dashboard has the task with another delta, so that nothing is posted.
    let mut tasks = state.tasks.iter();
    let task = tasks.find(|t| t.task_type == TaskType::Hardware && t.subject == "pod1");
    let task = json!({"job": job, "task": task.unwrap().id, "digest": "0123456789abcdef", "request": "next"});
    let mut hardware = task.clone();
    hardware["image"] = json!(24);
    hardware["hostname"] = json!("next1");
    hardware["ipmi"] = json!(false);
    let settings = json!({"retries": 1, "retry_delay": 1, "concurrency": 1});
    let parameters =
        json!({"host": "pod1", "hardware": hardware, "tasks": [task], "as_step": true, "settings": settings});
    let ended = house.stack.run("laas.provision_host", parameters).await.unwrap();
    assert_eq!(ended["status"], "succeeded", "{}", house.story().await);

    assert_eq!(house.bmc_users(first).await, [BMC_USER]);
    assert_eq!(house.bmc_users(second).await, [BMC_USER, "opnfv"]);
    let keys = house
        .stack
        .call(reqwest::Method::GET, "keys?prefix=bmc_user_", None)
        .await;
    let keys = keys.unwrap();
    let keys: Vec<_> = keys.as_array().unwrap().iter().map(|key| &key["name"]).collect();
    assert_eq!(keys, ["bmc_user_pod2"]);
    // Before the new tenant's system is touched.
    let executions = house.executions().await;
    let steps = executions.iter().filter(|e| e["parent"] == ended["id"]);
    let mut steps: Vec<_> = steps
        .map(|e| {
            (
                e["start_timestamp"].as_str().unwrap(),
                name(e),
                &e["result"]["stdout"]["changed"],
            )
        })
        .collect();
    steps.sort_by_key(|step| step.0);
    assert_eq!((steps[0].1, steps[0].2), ("bmc_user", &json!(true)), "{steps:?}");
    assert_eq!(steps[1].1, "image_host", "{steps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_found_on_its_own_network_is_taken_off_it() {
    let house = House::with_config(json!({"timing": {"boot": 8, "retries": 0}})).await;
    // Its name leads to the management network only.
    let mut pod1 = house.key("pod1").await;
    pod1["addresses"] = json!({"99": pod1["hostname"]});
    let key = json!({"name": "pod1", "value": pod1.to_string(), "scope": "system"});
    house
        .stack
        .call(reqwest::Method::PUT, "keys/pod1", Some(key))
        .await
        .unwrap();
    let job = house.book();
    let job = house.settled(job).await;
    for task in job.tasks.iter().filter(|t| t.task_type == TaskType::Network) {
        let lost = task.subject == "pod1";
        assert_eq!(task.status == 300, lost, "{task:?}\n{}", house.story().await);
        assert_eq!(
            task.message.contains("the management network again"),
            lost,
            "{task:?}"
        );
    }
    for nic in &house.lab.machine("pod1").unwrap().host().nics {
        let port = house.lab.port_state("pod1", &nic.mac).unwrap();
        assert_eq!(port.allowed.iter().collect::<Vec<_>>(), [99], "{}", nic.mac);
    }
}
