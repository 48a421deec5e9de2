//! The end of a booking: nothing of it is left, whatever happens to the release.

use std::time::{Duration, Instant};

use laas_lab::checks::Given;
use laas_lab::dashboard::TaskType;
use laas_lab::faults::{Fault, Kind, Peer};
use serde_json::json;

use crate::house::{House, LIMIT, name, of_action};

/// Waits until the job is done with and the dashboard has freed its hosts.
pub async fn freed(house: &House, job: u32) {
    let started = Instant::now();
    loop {
        let hosts = house.lab.machines().iter();
        let mut hosts = hosts.filter_map(|machine| house.lab.dashboard().host(&machine.host().name));
        let quiet = house.executions().await.iter().all(laas_lab::stack::is_over);
        if quiet && hosts.all(|host| host.booking.is_none()) {
            return;
        }
        assert!(
            started.elapsed() < LIMIT,
            "job {job} is not released: {:#?}\n{}",
            house.lab.dashboard().job(job),
            house.story().await
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn assert_gone(house: &House, given: &Given) {
    let checks = given
        .is_gone(&house.lab, &house.stack, &house.tenants)
        .await
        .unwrap();
    let failed: Vec<_> = checks.iter().filter(|c| !c.ok).collect();
    assert!(failed.is_empty(), "{failed:#?}\n{}", house.story().await);
}

/// The dashboard writes no mail about a booking whose hosts it has freed meanwhile, or that was deleted.
async fn assert_gone_but_for_the_mail(house: &House, given: &Given) {
    let checks = given
        .is_gone(&house.lab, &house.stack, &house.tenants)
        .await
        .unwrap();
    let failed: Vec<_> = checks
        .iter()
        .filter(|c| !c.ok && !c.name.contains("were told"))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}\n{}", house.story().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_booking_that_is_over() {
    let house = House::start().await;
    let job = house.book();
    let state = house.settled(job).await;
    house.assert_done(&state).await;
    let given = Given::of_job(&house.lab, &state);
    house.lab.dashboard().end(job).unwrap();
    let state = house.settled(job).await;
    for task in &state.tasks {
        let told = "The booking is over. The lab has taken back everything that this task gave.";
        assert_eq!(
            (task.status, task.message.as_str()),
            (200, told),
            "{task:?}\n{}",
            house.story().await
        );
    }
    freed(&house, job).await;
    assert_gone(&house, &given).await;
    // Hosts and networks last: whoever frees a host on the first of them frees one that is clean.
    let posts = house.lab.dashboard().posts();
    let ends: Vec<_> = posts
        .iter()
        .filter(|p| p.status.as_deref() == Some("200"))
        .collect();
    let last: Vec<_> = ends.iter().rev().take(4).map(|post| post.task_type).collect();
    assert!(
        last.iter()
            .all(|t| matches!(t, TaskType::Hardware | TaskType::Network)),
        "{last:?}"
    );
    // The next tenants find what they asked for.
    let job = house.book();
    let state = house.settled(job).await;
    house.assert_done(&state).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_can_not_be_proven_is_said_and_tried_again() {
    let house = House::with_config(json!({"timing": {"boot": 10}})).await;
    let job = house.book();
    let state = house.settled(job).await;
    house.assert_done(&state).await;
    let given = Given::of_job(&house.lab, &state);
    // pod1 lets nobody in any more, but it is alive.
    let deaf = Fault::from(Kind::Refuse);
    let peer = Peer::Host("pod1".to_owned());
    house.lab.faults().set(peer.clone(), deaf).unwrap();
    // A tenant of pod2 has made the pack's lines its own, so that there is none to take away.
    let pod2 = house.lab.machine("pod2").unwrap().root().unwrap();
    let file = pod2.join("home/opnfv/.ssh/authorized_keys");
    let lines = std::fs::read_to_string(&file).unwrap();
    assert!(lines.contains("laas-job"), "{lines}");
    std::fs::write(&file, lines.replace("laas-job", "my-job")).unwrap();
    house.lab.dashboard().end(job).unwrap();
    let state = house.settled(job).await;
    for task in &state.tasks {
        let is_vpn = task.delta["access_type"] == "vpn";
        assert_eq!(task.status == 300, !is_vpn, "{task:?}\n{}", house.story().await);
        // Nobody is told that a key opens something, or to erase a disk that is no longer theirs.
        let said = if is_vpn {
            "The booking is over."
        } else {
            "FAILED: "
        };
        assert!(task.message.starts_with(said), "{task:?}");
        assert!(!task.message.contains("Reset"), "{task:?}");
    }
    // What could be taken back, is: the ports are parked and the power is off.
    assert!(house.lab.dashboard().host("pod1").unwrap().booking.is_some());
    house.lab.faults().clear(&peer);
    std::fs::write(&file, "").unwrap();
    freed(&house, job).await;
    assert_gone_but_for_the_mail(&house, &given).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_is_deleted_is_released_by_what_the_lab_remembers() {
    let house = House::start().await;
    let job = house.book();
    let state = house.settled(job).await;
    house.assert_done(&state).await;
    let given = Given::of_job(&house.lab, &state);
    house.lab.dashboard().delete(job).unwrap();
    let started = Instant::now();
    while of_action(&house.executions().await, "close_job").is_empty() {
        assert!(started.elapsed() < LIMIT, "{}", house.story().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    freed(&house, job).await;
    assert_gone_but_for_the_mail(&house, &given).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_releases_by_hand_what_is_over_and_nothing_else() {
    let house = House::start().await;
    let job = house.book();
    house.settled(job).await;
    let refused = house
        .stack
        .run("laas.release_job", json!({"job_id": job}))
        .await
        .unwrap();
    assert_eq!(refused["status"], "failed", "{refused:#}");
    let told = house
        .stack
        .run(
            "laas.release_host",
            json!({"host": "pod1", "job_id": job, "dry_run": true}),
        )
        .await
        .unwrap();
    assert_eq!(told["status"], "succeeded", "{told:#}");
    let state = house.lab.dashboard().job(job).unwrap();
    house.assert_done(&state).await;
    let names: Vec<_> = house
        .executions()
        .await
        .iter()
        .map(|e| name(e).to_owned())
        .collect();
    assert!(names.iter().any(|n| n == "release_host"), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_wiped_or_written_before_the_host_is_given_back() {
    let house = House::with_config(json!({"release": {"disk": "wipe"}})).await;
    let job = house.book();
    let state = house.settled(job).await;
    house.assert_done(&state).await;
    let given = Given::of_job(&house.lab, &state);
    house.lab.dashboard().end(job).unwrap();
    freed(&house, job).await;
    assert_gone(&house, &given).await;
    for machine in house.lab.machines() {
        assert_eq!(machine.system(), None, "{}", machine.host().name);
    }
}

/// What failed goes on where it stopped when an operator says so, and what was done is not done again.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_failed_is_resumed() {
    let house = House::with_config(json!({"timing": {"retries": 0}})).await;
    house
        .lab
        .faults()
        .set(Peer::Ldap, Kind::WrongCredentials)
        .unwrap();
    let job = house.book();
    let state = house.settled(job).await;
    let failed = state.tasks.iter().filter(|t| t.status == 300).count();
    assert_eq!(failed, 2, "the VPN accounts\n{}", house.story().await);
    house.lab.faults().clear(&Peer::Ldap);
    house
        .stack
        .run("laas.resume_job", json!({"job_id": job}))
        .await
        .unwrap();
    let state = house.settled(job).await;
    house.assert_done(&state).await;
    let deploys = house.lab.fog().tasks().len();
    assert_eq!(deploys, 2, "each host was imaged once");
}
