//! Plans of captured jobs, and what a remembered task makes of them.

use laas_core::VlanId;
use laas_core::ledger::Record;
use laas_dashboard::{Job, Known, Plan, Task, plan};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const NOW: u64 = 1_800_000_000;

fn capture(name: &str, job: u64) -> Vec<Task> {
    let path = format!("{}/tests/captures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let list: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let jobs = Job::read_list(&list).into_iter();
    jobs.filter(|j| j.id == job).flat_map(|j| j.tasks).collect()
}

fn plan_new(tasks: Vec<Task>) -> Plan {
    plan(
        1,
        tasks,
        vec![],
        &BTreeMap::new(),
        &public(),
        Some("workflow"),
        NOW,
    )
}

fn public() -> Vec<VlanId> {
    vec![VlanId::try_from(11).unwrap()]
}

/// The plan as the workflow sees it, without what only names the work.
fn shown(plan: &Plan) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|key, _| !["job", "digest", "request"].contains(&key.as_str()));
                map.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = json!(plan);
    strip(&mut value);
    value
}

#[test]
fn a_new_booking() {
    let plan = plan_new(capture("jobs-new", 1));
    assert_eq!(plan.tasks.len(), 10);
    assert_eq!(plan.claims.len(), 10);
    assert!(plan.skipped.is_empty());
    let value = shown(&plan);
    let parts = ["hosts", "users", "unsupported"].map(|part| value[part].as_array().unwrap().clone());
    let lines: Vec<_> = parts.iter().flatten().map(Value::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"host":"pod1","hardware":{"task":"aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da","image":17,"hostname":"jump","ipmi":true},"network":{"task":"7f9e2b72-dc6f-4a3f-8310-2f8559277add","interfaces":{"02:00:00:00:01:01":[{"vlan_id":11,"tagged":false},{"vlan_id":103,"tagged":true}],"02:00:00:00:01:02":[{"vlan_id":104,"tagged":false},{"vlan_id":105,"tagged":true}],"02:00:00:00:01:03":[]},"vlans":[11,104]},"tasks":[{"task":"7f9e2b72-dc6f-4a3f-8310-2f8559277add"},{"task":"aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da"}]}
    {"host":"pod2","hardware":{"task":"b5b58f91-9376-4bf0-89e5-b9585a430fce","image":22,"hostname":"compute1","ipmi":true},"network":{"task":"27e10fb2-bd57-4e41-9d6e-6aba9960dd72","interfaces":{"02:00:00:00:02:01":[{"vlan_id":11,"tagged":false},{"vlan_id":103,"tagged":true}],"02:00:00:00:02:02":[{"vlan_id":104,"tagged":false},{"vlan_id":105,"tagged":true}],"02:00:00:00:02:03":[]},"vlans":[11,104]},"tasks":[{"task":"27e10fb2-bd57-4e41-9d6e-6aba9960dd72"},{"task":"b5b58f91-9376-4bf0-89e5-b9585a430fce"}]}
    {"user":3,"key":{"task":"469efecb-d675-4ed1-9131-daf7b0a2236a","key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITestOnlyKeyForAlice alice@example","hosts":["pod1","pod2"]},"vpn":{"task":"fd802dd9-a428-4e77-bee6-9728f799594d"}}
    {"user":4,"key":{"task":"35dfef20-7db7-4911-97d4-f2f6b7ea1564","key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITestOnlyKeyForBob bob@example","hosts":["pod1","pod2"]},"vpn":{"task":"968c4714-6617-4f75-8591-5869679a47cd"}}
    {"task":"401e1640-24e6-4b57-865a-5f2541ee1b65","type":"software","event":"unsupported","facts":{"installer":"Fuel","scenario":"os-nosdn-nofeature-noha"}}
    {"task":"8ff41f0b-2f37-4a77-bbf0-1b6342f4c8f6","type":"snapshot","event":"unsupported","facts":{"host":"pod1"}}
    "#);
}

#[test]
fn references_name_the_work() {
    let plan = plan_new(capture("jobs-new", 1));
    let hardware = plan.hosts[0].hardware.as_ref().unwrap();
    let task = &hardware.task;
    assert_eq!(task.job, 1);
    assert_eq!(task.request, format!("{}:{}:0", task.task, task.digest));
    let printed = json!(hardware);
    assert_eq!(printed["request"], task.request);
    assert_eq!(plan.claims[&task.task].request(&task.task), task.request);
    // Both tasks of the host end when it fails.
    let network = plan.hosts[0].network.as_ref().unwrap();
    assert!(
        [task, &network.task]
            .iter()
            .all(|t| plan.hosts[0].tasks.contains(t))
    );
}

#[test]
fn a_reimage_is_provisioning_of_one_host() {
    let plan = plan_new(capture("jobs-new-after-reimage", 1));
    let hosts: Vec<_> = plan.hosts.iter().map(|h| h.host.as_str()).collect();
    assert_eq!(hosts, ["pod1"]);
    assert!(plan.hosts[0].hardware.is_some() && plan.hosts[0].network.is_some());
    assert!(plan.users.iter().all(|u| u.key.is_some() && u.vpn.is_none()));
    assert_eq!(plan.users.len(), 2);
    assert!(plan.unsupported.is_empty());
}

#[test]
fn a_job_that_has_ended_provisions_nothing() {
    for (name, job, expected) in [
        (
            "jobs-new-cancelled-early",
            4,
            // The orders for SSH access and the snapshot were left behind.
            [("ended", 3), ("release", 7)],
        ),
        ("jobs-new-after-partial-free", 1, [("ended", 1), ("release", 5)]),
    ] {
        let plan = plan_new(capture(name, job));
        assert!(plan.hosts.is_empty() && plan.users.is_empty(), "{name}");
        let count = |kind| plan.unsupported.iter().filter(|u| u.kind == kind).count();
        assert_eq!(expected.map(|(kind, _)| (kind, count(kind))), expected, "{name}");
        assert_eq!(plan.tasks.len(), plan.unsupported.len());
    }
}

#[test]
fn the_end_of_the_booking_between_two_looks_stops_provisioning() {
    let before = capture("jobs-new", 1);
    let mut after = capture("jobs-new", 1);
    after.retain(|task| json!(task.delta).get("id") == Some(&json!("pod1")));
    after[0] = Task::new(
        after[0].id.clone(),
        "hardware",
        json!({"id": "pod1", "power": "off"}),
    );
    let plan = plan(1, before, after, &BTreeMap::new(), &public(), None, NOW);
    assert!(plan.hosts.is_empty() && plan.users.is_empty());
    // pod2, all networks, VPN accounts and the software wait for the next look.
    assert_eq!(plan.skipped.len(), 6);
    assert!(plan.skipped.iter().all(|task| !plan.claims.contains_key(task)));
}

#[test]
fn a_host_without_networks_is_no_release() {
    let id = |n: u8| format!("00000000-0000-4000-8000-00000000000{n}").parse().unwrap();
    let empty = json!({"pod1": {"02:00:00:00:01:01": []}});
    let network = || Task::new(id(1), "network", empty.clone());
    let hardware = json!({"id": "pod1", "image": 17, "hostname": "a", "power": "on"});
    let with = plan_new(vec![network(), Task::new(id(2), "hardware", hardware)]);
    assert!(with.hosts[0].network.is_some() && with.unsupported.is_empty());
    let alone = plan_new(vec![network()]);
    assert_eq!(alone.unsupported[0].kind, "release");
}

#[test]
fn where_to_look_for_a_host() {
    let ports = json!({"pod1": {
        "02:00:00:00:01:01": [{"vlan_id": 104, "tagged": false}, {"vlan_id": 12, "tagged": true}],
        "02:00:00:00:01:02": [{"vlan_id": 105, "tagged": true}, {"vlan_id": 11, "tagged": false}],
        "02:00:00:00:01:03": [{"vlan_id": 11, "tagged": true}],
    }});
    let task = Task::new(
        "00000000-0000-4000-8000-000000000001".parse().unwrap(),
        "network",
        ports,
    );
    let public = [11, 12, 13].map(|id| VlanId::try_from(id).unwrap());
    let plan = plan(1, vec![task], vec![], &BTreeMap::new(), &public, None, NOW);
    let network = plan.hosts[0].network.as_ref().unwrap();
    assert_eq!(
        network.vlans.iter().map(|v| v.get()).collect::<Vec<_>>(),
        [11, 12, 104]
    );
}

#[test]
fn rounds() {
    let id: laas_core::names::TaskId = "00000000-0000-4000-8000-000000000001".parse().unwrap();
    let task = Task::new(
        id.clone(),
        "access",
        json!({"access_type": "vpn", "user": 3, "revoke": false}),
    );
    let same = task.digest();
    let other = "0123456789abcdef".to_owned();
    // What is remembered, whether the task is new on the dashboard, then the round and the state of the claim.
    for (digest, state, is_new, round, claimed, why) in [
        (&same, 0, true, 3, 0, "claimed and not begun"),
        (
            &same,
            100,
            true,
            4,
            0,
            "put back while it was worked on, or its 100 was lost",
        ),
        (&same, 200, true, 4, 0, "given out anew after it was done"),
        (&same, 300, true, 4, 0, "given out anew after it failed"),
        (&same, 0, false, 3, 0, "its claim was lost with the datastore"),
        (&same, 100, false, 3, 100, "begun, and its execution is gone"),
        (&same, 200, false, 3, 0, "done, and the post was lost"),
        (&same, 300, false, 3, 0, "failed, and the post was lost"),
        (&other, 0, true, 4, 0, "other work than was claimed"),
        (
            &other,
            100,
            false,
            4,
            0,
            "changed while it was worked on, and begun by hand",
        ),
        (&other, 200, true, 4, 0, "other work than was done"),
    ] {
        let record = Record {
            job: 1,
            digest: digest.clone(),
            round: 3,
            state,
            execution: Some("old".into()),
            time: 1,
        };
        let (new, current) = if is_new {
            (vec![task.clone()], vec![])
        } else {
            (vec![], vec![task.clone()])
        };
        let known = |busy| {
            BTreeMap::from([(
                id.clone(),
                Known {
                    record: Some(record.clone()),
                    busy,
                },
            )])
        };
        let planned = plan(
            1,
            new.clone(),
            current.clone(),
            &known(false),
            &[],
            Some("own"),
            NOW,
        );
        let claim = &planned.claims[&id];
        assert_eq!((claim.round, claim.state), (round, claimed), "{why}");
        assert_eq!(
            (claim.execution.as_deref(), &claim.digest),
            (Some("own"), &same),
            "{why}"
        );
        let busy = plan(1, new, current, &known(true), &[], Some("own"), NOW);
        assert!(busy.claims.is_empty() && busy.tasks.is_empty(), "{why}");
        assert_eq!(busy.skipped, std::slice::from_ref(&id), "{why}");
    }
}
