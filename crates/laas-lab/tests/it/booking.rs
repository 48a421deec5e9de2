//! Whole bookings, undisturbed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use laas_lab::dashboard::{BookedHost, BookingSpec, Role, Vlan};
use laas_lab::fog::Version;
use laas_lab::inventory::BmcKind;
use laas_lab::lab::LabOptions;
use serde_json::{Value, json};

use crate::house::{House, name, of_action, pack};
use crate::release::freed;

/// What an action does when it is run: itself, and itself again with the same arguments and environment, whose answer
/// is kept for the test.
const TWICE: &str = r#"#!/bin/sh
first=$(REAL "$@")
code=$?
printf '%s\n' "$first"
[ $code = 0 ] || exit $code
REAL "$@" >"SEEN.$$" 2>"SEEN.$$.log"
echo $? >>"SEEN.$$"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_ends_as_well_with_fog_1_6() {
    let options = LabOptions {
        fog: Version::V1_6,
        ..LabOptions::default()
    };
    let house = House::of(options, &pack(), json!({})).await;
    let job = house.book();
    let job = house.settled(job).await;
    house.assert_whole(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_ends_with_eight_true_tasks_in_few_executions() {
    let house = House::start().await;
    let job = house.book();
    let job = house.settled(job).await;
    assert_eq!(job.tasks.len(), 8);
    house.assert_whole(&job).await;
    let executions = house.executions().await;
    assert_eq!(of_action(&executions, "fulfill_job").len(), 1, "handed out once");
    let (hosts, users) = (2, 2);
    let most = 8 + 18 * hosts + 4 * users;
    assert!(
        executions.len() <= most,
        "{}: {}",
        executions.len(),
        house.story().await
    );

    // The host has its own networks now, so that waiting for it on the management network would be in vain.
    let again = |execution: &&Value| {
        let parameters = &execution["parameters"];
        match name(execution) {
            "plan_job" | "note_systems" | "task_status" | "fog_image" | "set_hostname" | "bmc_user"
            | "host_network" | "copy_keys" | "vpn_user" => true,
            "ipmi_power" => parameters["command"] == "on",
            "switch_vlan" => parameters["networks"] != Value::Null,
            "wait_for_host" => parameters["vlans"] != Value::Null,
            _ => false,
        }
    };
    for execution in executions.iter().filter(again) {
        let mut parameters = execution["parameters"].clone();
        // By hand whoever works on a booked host has to say so.
        if !execution["action"]["parameters"]["booked"].is_null() {
            parameters["booked"] = true.into();
        }
        let second = house
            .stack
            .run(&format!("laas.{}", name(execution)), parameters)
            .await
            .unwrap();
        assert_eq!(second["result"]["stdout"]["changed"], false, "{second:#}");
    }
    house.assert_whole(&job).await;
}

/// The dashboard of 2022 asks by a task of its own, which can't be read, who uses the VPN.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_for_active_users_is_in_nobodys_way() {
    let house = House::start().await;
    let dashboard = house.lab.dashboard();
    dashboard.ask_for_active_users(None);
    let job = house.book();
    dashboard.ask_for_active_users(Some(job));
    let state = house.settled(job).await;
    house.assert_whole(&state).await;
    let audit = house.stack.run("laas.network_audit", json!({})).await.unwrap();
    assert_eq!(audit["status"], "succeeded", "{audit:#}");
    dashboard.end(job).unwrap();
    freed(&house, job).await;
    let executions = house.executions().await;
    for execution in of_action(&executions, "fulfill_job") {
        assert_eq!(execution["parameters"]["job_id"], job, "{execution:#}");
    }
    let of_tasks = dashboard
        .posts()
        .into_iter()
        .filter(|post| post.job == job)
        .count();
    assert_eq!(dashboard.posts().len(), of_tasks, "nothing is posted for it");
}

/// The page has words for a task while it is under way, and they go with its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_under_way_has_a_message() {
    let house = House::start().await;
    let job = house.book();
    let state = house.settled(job).await;
    let posts = house.lab.dashboard().posts();
    for task in &state.tasks {
        let own = posts.iter().filter(|post| post.task == task.id);
        let begun: Vec<_> = own.filter(|post| post.status.as_deref() == Some("100")).collect();
        assert!(!begun.is_empty(), "{task:?}");
        for post in begun {
            assert_eq!(
                post.message.as_deref(),
                Some("The lab is working on this task. The result will replace this message.")
            );
        }
        assert!(!task.message.contains("working on this task"), "{task:?}");
    }
    let shown = house.lab.dashboard().page(job, 3).unwrap();
    let hardware = shown[0].response.as_deref().unwrap();
    assert!(
        hardware.contains("in the box with the heading \"PDF\""),
        "{hardware}"
    );
    house.lab.dashboard().end(job).unwrap();
    let state = house.settled(job).await;
    let posts = house.lab.dashboard().posts();
    for task in &state.tasks {
        let own = posts.iter().filter(|post| post.task == task.id);
        let own: Vec<_> = own.filter_map(|post| post.message.as_deref()).collect();
        let last = "The booking is over. The lab has taken back everything that this task gave.";
        let [.., before, after] = &own[..] else {
            panic!("{own:?}");
        };
        assert_eq!(
            (*before, *after),
            (
                "The booking is over. The lab is taking back what this task gave.",
                last
            )
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_with_redfish_are_lent_out_as_those_with_ipmi() {
    let options = LabOptions {
        bmcs: vec![BmcKind::Ilo5, BmcKind::Idrac],
        ..LabOptions::default()
    };
    let house = House::of(options, &pack(), json!({})).await;
    let job = house.book();
    let job = house.settled(job).await;
    house.assert_whole(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_changes_nothing_when_it_is_run_again() {
    let directory = tempfile::tempdir().unwrap();
    pack_that_does_everything_twice(directory.path());
    let house = House::with_pack(&directory.path().join("laas"), json!({})).await;
    let job = house.book_capture(true);
    let job = house.settled(job).await;
    assert_eq!(job.tasks.len(), 10);
    assert!(job.tasks.iter().all(|task| task.status == 200), "{job:#?}");
    house.assert_true(&job).await;

    let mut seen = std::collections::BTreeMap::new();
    for file in fs::read_dir(directory.path().join("seen")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let log = fs::read_to_string(path.with_added_extension("log")).unwrap();
        let (said, code) = text.trim_end().rsplit_once('\n').unwrap();
        let said: Value = serde_json::from_str(said).unwrap();
        assert_eq!(
            (code, &said["changed"]),
            ("0", &json!(false)),
            "{path:?}: {said:#}\n{log}"
        );
        let action = path.file_stem().unwrap().to_str().unwrap().to_owned();
        *seen.entry(action).or_insert(0) += 1;
    }
    // On a busy machine a peer may have been too slow for one, which was then tried again.
    let mut executions = house.executions().await;
    executions.retain(|execution| execution["status"] == "succeeded");
    for (action, times) in &seen {
        assert_eq!(of_action(&executions, action).len(), *times, "{action}");
    }
    let all: Vec<_> = seen.keys().map(String::as_str).collect();
    let wanted = [
        "bmc_user",
        "copy_keys",
        "fog_capture",
        "fog_image",
        "host_network",
        "ipmi_boot_device",
        "ipmi_power",
        "jenkins_agent",
        "note_systems",
        "opnfv_deploy",
        "plan_job",
        "prepare_capture",
        "set_hostname",
        "switch_vlan",
        "task_status",
        "vpn_user",
        "wait_for_host",
    ];
    assert_eq!(all, wanted, "the actions of a booking that goes well");
}

/// An untagged and a tagged network on one card and a tagged public one on another: systems of four families come up
/// where they were booked to be, each by files of its own kind.
#[tokio::test(flavor = "multi_thread")]
async fn systems_of_every_image_come_up_on_their_networks() {
    let images = [17, 25, 21, 24];
    let house = House::of_hosts(4, &pack(), json!({})).await;
    house.add_alice();
    let host = |(number, image): (usize, i64)| {
        let card = |card: u8| format!("02:00:00:00:0{number}:0{card}");
        let networks = [
            (card(1), vec![Vlan::untagged(104), Vlan::tagged(103)]),
            (card(2), vec![Vlan::tagged(11), Vlan::tagged(103)]),
        ];
        BookedHost {
            labid: format!("pod{number}"),
            image,
            hostname: format!("node{number}"),
            role: Role::default(),
            networks: networks.into(),
        }
    };
    let booking = BookingSpec {
        owner: house.tenants[0].id,
        collaborators: Vec::new(),
        hosts: (1..).zip(images).map(host).collect(),
        opnfv: None,
        snapshot: None,
    };
    let job = house.lab.dashboard().book(booking).unwrap();
    let job = house.settled(job).await;
    house.assert_done(&job).await;
    for machine in house.lab.machines() {
        let addresses = machine.addresses();
        let open: Vec<_> = addresses.iter().filter(|of| of.reachable).collect();
        let mut vlans: Vec<_> = open.iter().map(|of| (of.vlan, of.tagged)).collect();
        vlans.sort_unstable();
        // The VLAN that both cards have leads to one address, by either.
        vlans.dedup();
        let host = &machine.host().name;
        assert_eq!(
            vlans,
            [(11, true), (103, true), (104, false)],
            "{host}: {addresses:?}"
        );
    }
}

/// The pack, each of its actions wrapped in [`TWICE`].
fn pack_that_does_everything_twice(directory: &Path) {
    let (real, copy, seen) = (pack(), directory.join("laas"), directory.join("seen"));
    fs::create_dir_all(copy.join("actions/bin")).unwrap();
    fs::create_dir_all(&seen).unwrap();
    for entry in ["pack.yaml", "config.schema.yaml", "rules", "sensors", "triggers"] {
        symlink(real.join(entry), copy.join(entry)).unwrap();
    }
    for entry in fs::read_dir(real.join("actions")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "bin" {
            symlink(entry.path(), copy.join("actions").join(entry.file_name())).unwrap();
        }
    }
    for entry in fs::read_dir(real.join("actions/bin")).unwrap() {
        let entry = entry.unwrap();
        let copied = copy.join("actions/bin").join(entry.file_name());
        if entry.file_name() == "dashboard_sensor" {
            symlink(entry.path(), copied).unwrap();
            continue;
        }
        let seen = seen.join(entry.file_name());
        let script = TWICE
            .replace("REAL", entry.path().to_str().unwrap())
            .replace("SEEN", seen.to_str().unwrap());
        fs::write(&copied, script).unwrap();
        fs::set_permissions(&copied, Permissions::from_mode(0o755)).unwrap();
    }
}
