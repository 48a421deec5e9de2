//! Plans of captured jobs, and what a remembered task makes of them.

use laas_core::VlanId;
use laas_core::ledger::Record;
use laas_dashboard::{Job, Known, Other, Plan, Situation, Task, plan};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const NOW: u64 = 1_800_000_000;

fn capture(name: &str, job: u64) -> Vec<Task> {
    let path = format!("{}/tests/captures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let list: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let jobs = Job::read_list(&list).into_iter();
    jobs.filter(|j| j.id == job).flat_map(|j| j.tasks).collect()
}

/// A running job of which only `tasks` are known, all of them new.
fn plan_new(tasks: Vec<Task>) -> Plan {
    plan(Situation {
        execution: Some("workflow"),
        ..new(tasks)
    })
}

pub fn new(tasks: Vec<Task>) -> Situation<'static> {
    Situation {
        job: 1,
        all: Some(tasks.clone()),
        new: tasks,
        public: public(),
        now: NOW,
        ..Situation::default()
    }
}

fn public() -> &'static [VlanId] {
    Box::leak(Box::new([11, 12, 13].map(|id| VlanId::try_from(id).unwrap())))
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
    let parts = ["hosts", "users", "software", "snapshots", "unsupported"]
        .map(|part| value[part].as_array().unwrap().clone());
    let lines: Vec<_> = parts.iter().flatten().map(Value::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"host":"pod1","hardware":{"task":"aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da","image":17,"hostname":"jump","ipmi":true},"network":{"task":"7f9e2b72-dc6f-4a3f-8310-2f8559277add","interfaces":{"02:00:00:00:01:01":[{"vlan_id":11,"tagged":false},{"vlan_id":103,"tagged":true}],"02:00:00:00:01:02":[{"vlan_id":104,"tagged":false},{"vlan_id":105,"tagged":true}],"02:00:00:00:01:03":[]},"vlans":[11,104]},"tasks":[{"task":"aebe085c-2b8c-4dfc-a4fc-bb2fa5bb41da"},{"task":"7f9e2b72-dc6f-4a3f-8310-2f8559277add"}]}
    {"host":"pod2","hardware":{"task":"b5b58f91-9376-4bf0-89e5-b9585a430fce","image":22,"hostname":"compute1","ipmi":true},"network":{"task":"27e10fb2-bd57-4e41-9d6e-6aba9960dd72","interfaces":{"02:00:00:00:02:01":[{"vlan_id":11,"tagged":false},{"vlan_id":103,"tagged":true}],"02:00:00:00:02:02":[{"vlan_id":104,"tagged":false},{"vlan_id":105,"tagged":true}],"02:00:00:00:02:03":[]},"vlans":[11,104]},"tasks":[{"task":"b5b58f91-9376-4bf0-89e5-b9585a430fce"},{"task":"27e10fb2-bd57-4e41-9d6e-6aba9960dd72"}]}
    {"user":3,"key":{"task":"469efecb-d675-4ed1-9131-daf7b0a2236a","key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITestOnlyKeyForAlice alice@example","hosts":["pod1","pod2"],"unavailable":[]},"vpn":{"task":"fd802dd9-a428-4e77-bee6-9728f799594d"}}
    {"user":4,"key":{"task":"35dfef20-7db7-4911-97d4-f2f6b7ea1564","key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITestOnlyKeyForBob bob@example","hosts":["pod1","pod2"],"unavailable":[]},"vpn":{"task":"968c4714-6617-4f75-8591-5869679a47cd"}}
    {"task":"401e1640-24e6-4b57-865a-5f2541ee1b65","installer":"Fuel","scenario":"os-nosdn-nofeature-noha","pdf":"/api/labs/UNH_IOL/booking/1/pdf","idf":"/api/labs/UNH_IOL/booking/1/idf","roles":[{"host":"pod1","role":"Jumphost"},{"host":"pod2","role":"Compute"}],"unavailable":[]}
    {"task":"8ff41f0b-2f37-4a77-bbf0-1b6342f4c8f6","host":"pod1","snapshot":"snapshot_5","network":{"interfaces":{"02:00:00:00:01:01":[{"vlan_id":11,"tagged":false},{"vlan_id":103,"tagged":true}],"02:00:00:00:01:02":[{"vlan_id":104,"tagged":false},{"vlan_id":105,"tagged":true}],"02:00:00:00:01:03":[]},"vlans":[11,104]}}
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

/// What is taken back, by host and user, and what else is said of a job that is over.
fn taken_back(plan: &Plan) -> Value {
    let release = plan.release.as_ref().expect("the booking is over");
    let hosts: BTreeMap<_, _> = release
        .hosts
        .iter()
        .map(|h| (h.host.to_string(), h.tasks.len()))
        .collect();
    let users: Vec<_> = release.users.iter().map(|u| u.user).collect();
    let refused: Vec<_> = plan.unsupported.iter().map(|u| u.kind).collect();
    json!({"hosts": hosts, "users": users, "others": release.others.len(), "refused": refused})
}

#[test]
fn a_job_that_has_ended_is_released_and_provisions_nothing() {
    for (name, job, keys, expected) in [
        (
            "jobs-new-cancelled-early",
            4,
            vec![(4, "bob@example"), (3, "alice@example")],
            // The orders for SSH access and the snapshot were left behind.
            json!({"hosts": {"pod3": 2, "pod4": 2}, "users": [3, 4], "others": 3, "refused": ["ended"]}),
        ),
        (
            "jobs-new-after-partial-free",
            1,
            vec![],
            json!({"hosts": {"pod1": 1, "pod2": 1}, "users": [3, 4], "others": 1, "refused": ["ended"]}),
        ),
    ] {
        let plan = plan_new(capture(name, job));
        assert!(
            plan.hosts.is_empty() && plan.users.is_empty() && plan.snapshots.is_empty(),
            "{name}"
        );
        assert_eq!(taken_back(&plan), expected, "{name}");
        assert!(plan.skipped.is_empty(), "{name}");
        // A refusal gave nothing that could be taken back.
        for refused in &plan.unsupported {
            assert!(!plan.claims[&refused.task.task].release, "{name}");
        }
        let released = plan.claims.values().filter(|record| record.release).count();
        assert_eq!(released, plan.tasks.len() - plan.unsupported.len(), "{name}");
        let tried = plan.release.unwrap().user_keys;
        let tried: Vec<_> = tried
            .iter()
            .map(|k| (k.user, k.key.rsplit(' ').next().unwrap()))
            .collect();
        assert_eq!(tried, keys, "{name}");
    }
}

#[test]
fn the_shapes_of_2022_are_understood() {
    let hardware = json!({
        "id": "pod1", "lab_token": "null", "image": "ubuntu2004", "hostname": "next", "power": "off", "ipmi_create": "False",
    });
    let vpn = json!({"lab_token": "kati4", "access_type": "vpn", "revoke": true, "user": 3});
    let plan = plan_new(vec![
        Task::new(id(1), "hardware", hardware),
        Task::new(id(2), "access", vpn),
    ]);
    assert_eq!(
        taken_back(&plan),
        json!({"hosts": {"pod1": 1}, "users": [3], "others": 0, "refused": []})
    );
    let account = plan.release.unwrap().users[0].account.clone();
    assert_eq!(account.unwrap().as_str(), "kati4");
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
    let plan = plan(Situation {
        current: after,
        ..new(before)
    });
    assert!(plan.hosts.is_empty() && plan.users.is_empty());
    // All but the keys and the software waits for the next look, also pod1, whose networks are still to come.
    assert_eq!(plan.skipped.len(), 7);
    assert!(plan.skipped.iter().all(|task| !plan.claims.contains_key(task)));
    assert_eq!(
        taken_back(&plan),
        json!({"hosts": {}, "users": [], "others": 2, "refused": ["ended"]})
    );
}

#[test]
fn a_host_without_networks_is_no_release() {
    let empty = json!({"pod1": {"02:00:00:00:01:01": []}});
    let network = || Task::new(id(1), "network", empty.clone());
    let hardware = || {
        let delta = json!({"id": "pod1", "image": 17, "hostname": "a", "power": "on"});
        Task::new(id(2), "hardware", delta)
    };
    let with = plan_new(vec![network(), hardware()]);
    assert!(with.hosts[0].network.is_some() && with.release.is_none());
    // A snapshot's image is booked as -1, and no power is not `off`.
    for (key, value) in [("image", json!(-1)), ("power", json!(null))] {
        let mut delta = hardware().delta;
        delta[key] = value;
        let with = plan_new(vec![network(), Task::new(id(2), "hardware", delta)]);
        // Nor are the networks given of a host that is not made.
        let refused: Vec<_> = with.unsupported.iter().map(|u| u.kind).collect();
        assert_eq!(refused, ["malformed", "unmade"], "{key}");
        assert!(with.release.is_none() && with.hosts.is_empty(), "{key}");
    }
    // The hardware is done already, and in no list that was asked.
    let later = plan(Situation {
        all: Some(vec![network(), hardware()]),
        known: [known(2, 200, false)].into(),
        ..new(vec![network()])
    });
    assert!(later.hosts[0].network.is_some() && later.release.is_none());
    let alone = plan_new(vec![network()]);
    assert_eq!(taken_back(&alone)["hosts"], json!({"pod1": 1}));
}

fn id(number: u8) -> laas_core::names::TaskId {
    format!("00000000-0000-4000-8000-00000000000{number}")
        .parse()
        .unwrap()
}

fn off(host: &str) -> Value {
    json!({"id": host, "power": "off"})
}

fn on(host: &str) -> Value {
    json!({"id": host, "image": 17, "hostname": "a", "power": "on"})
}

/// The tasks `first` and the next one, which make the host.
fn makers(first: u8, host: &str) -> Vec<Task> {
    let networks = json!({host: {"02:00:00:00:01:01": [{"vlan_id": 11, "tagged": false}]}});
    vec![
        Task::new(id(first), "hardware", on(host)),
        Task::new(id(first + 1), "network", networks),
    ]
}

/// A task of pod1 that the lab remembers.
fn known(task: u8, state: u16, release: bool) -> (laas_core::names::TaskId, Known) {
    let record = Record {
        job: 1,
        state,
        release,
        host: Some("pod1".parse().unwrap()),
        ..Record::default()
    };
    let record = Some(record);
    (id(task), Known { record, busy: false })
}

/// In whatever order the dashboard shows a booking's tasks and however the runs are split.
#[test]
fn nobody_is_let_in_on_a_host_that_this_booking_did_not_make() {
    let key =
        json!({"access_type": "ssh", "user": 3, "revoke": false, "context": {"key": "k", "hosts": ["pod1"]}});
    let snapshot = json!({"host": "pod1", "dashboard_id": 5});
    // What is remembered of the hardware and of the network task, and what becomes of the key.
    for (hardware, network, expected) in [
        (Some(200), Some(200), "given"),
        (Some(300), Some(300), "unavailable"),
        (Some(200), Some(300), "unavailable"),
        (Some(300), Some(200), "unavailable"),
        (None, Some(200), "unavailable"),
        (Some(200), None, "unavailable"),
        (Some(100), Some(200), "waits"),
        (Some(200), Some(0), "waits"),
    ] {
        let states = [(1, hardware), (2, network)];
        let records = states
            .into_iter()
            .filter_map(|(n, state)| Some(known(n, state?, false)));
        let tasks = vec![
            Task::new(id(5), "access", key.clone()),
            Task::new(id(6), "snapshot", snapshot.clone()),
        ];
        let planned = plan(Situation {
            all: Some([makers(1, "pod1"), tasks.clone()].concat()),
            known: records.collect(),
            ..new(tasks)
        });
        let found = planned
            .users
            .first()
            .map(|user| user.key.as_ref().unwrap().unavailable.len());
        let found = match (found, planned.snapshots.len(), planned.unsupported.len()) {
            (Some(0), 1, 0) => "given",
            (Some(1), 0, 1) => "unavailable",
            (None, 0, 0) => "waits",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{hardware:?} {network:?}");
    }
    // A refused image, in both dialects, and a host that has no hardware task at all.
    for image in [json!(-1), json!("-1"), json!("ubuntu2004")] {
        let mut refused = on("pod1");
        refused["image"] = image;
        let mut tasks = makers(1, "pod1");
        tasks[0] = Task::new(id(9), "hardware", refused);
        tasks.push(Task::new(id(1), "access", key.clone()));
        for tasks in [tasks.clone(), tasks[1..].to_vec()] {
            let planned = plan_new(tasks);
            assert!(planned.hosts.is_empty());
            assert_eq!(planned.users[0].key.as_ref().unwrap().unavailable.len(), 1);
        }
    }
}

#[test]
fn what_has_vanished_from_a_running_booking_is_taken_back_and_the_rest_goes_on() {
    let rest = makers(3, "pod2");
    let situation = || Situation {
        all: Some(rest.clone()),
        known: [known(1, 200, false), known(2, 200, false)].into(),
        vanished: [id(1), id(2)].into(),
        ..new(rest.clone())
    };
    let planned = plan(situation());
    assert_eq!(taken_back(&planned)["hosts"], json!({"pod1": 2}));
    assert!(!planned.release.as_ref().unwrap().over && planned.release.unwrap().hosts[0].given);
    assert_eq!((planned.hosts.len(), planned.tasks.len()), (1, 2));
    assert!(planned.claims[&id(1)].release);
    // A host that the dashboard still asks for by another task is its tenant's.
    let planned = plan(Situation {
        all: Some([rest.clone(), makers(1, "pod1")[1..].to_vec()].concat()),
        vanished: [id(1)].into(),
        ..situation()
    });
    assert!(planned.release.is_none());
    // At the end of the booking nothing is forgotten.
    let planned = plan(Situation {
        all: Some(vec![Task::new(id(3), "hardware", off("pod2"))]),
        new: vec![Task::new(id(3), "hardware", off("pod2"))],
        ..situation()
    });
    assert_eq!(taken_back(&planned)["hosts"], json!({"pod1": 2, "pod2": 1}));
}

/// The second half of an end, and one that is handed out again.
#[test]
fn a_host_that_is_taken_back_is_not_taken_back_again() {
    for (hardware, network, given) in [
        (known(1, 200, false), known(2, 200, false), true),
        (known(1, 300, true), known(2, 200, false), true),
        (known(1, 200, true), known(2, 200, false), false),
        (known(1, 200, true), known(2, 200, true), false),
    ] {
        let off = Task::new(id(1), "hardware", off("pod1"));
        let shown = format!("{hardware:?} {network:?}");
        let planned = plan(Situation {
            known: [hardware, network].into(),
            ..new(vec![off])
        });
        assert_eq!(planned.release.unwrap().hosts[0].given, given, "{shown}");
    }
}

fn other(job: u64, begun: bool, imaged: bool) -> Other {
    Other {
        host: "pod1".parse().unwrap(),
        job,
        imaged,
        begun,
    }
}

/// A host is never touched for a booking while another one has a claim to it that is not settled.
#[test]
fn a_host_becomes_one_image_at_a_time() {
    let snapshot = |n, host| Task::new(id(n), "snapshot", json!({"host": host, "dashboard_id": n}));
    let tasks = vec![snapshot(5, "pod1"), snapshot(6, "pod1"), snapshot(7, "pod2")];
    let made = |tasks: Vec<Task>| {
        let makers = [(1, "pod1"), (3, "pod2")].map(|(n, host)| makers(n, host));
        Situation {
            all: Some(makers.concat().into_iter().chain(tasks.clone()).collect()),
            known: [1, 2, 3, 4].map(|n| known(n, 200, false)).into(),
            ..new(tasks)
        }
    };
    let first = plan(made(tasks.clone()));
    let names: Vec<_> = first.snapshots.iter().map(|s| s.snapshot.as_str()).collect();
    assert_eq!(names, ["snapshot_5", "snapshot_7"]);
    assert_eq!(first.skipped, [id(6)]);
    let next = plan(made(tasks[1..2].to_vec()));
    assert_eq!(next.snapshots.len(), 1);
}

#[test]
fn the_same_host_in_two_jobs() {
    let key = json!({"access_type": "ssh", "user": 3, "revoke": false, "context": {"key": "k", "hosts": ["pod2", "pod1"]}});
    let snapshot = json!({"host": "pod1", "dashboard_id": 5});
    for (kind, delta) in [("hardware", on("pod1")), ("access", key), ("snapshot", snapshot)] {
        for given_back in [other(7, false, false), other(7, true, true)] {
            let plan = plan(Situation {
                others: vec![given_back],
                ..new(vec![
                    Task::new(id(1), kind, delta.clone()),
                    Task::new(id(2), "hardware", on("pod2")),
                ])
            });
            assert_eq!(plan.skipped, [id(1)], "{kind}");
            assert_eq!(json!(plan.waiting), json!({"pod1": 7}), "{kind}");
            assert_eq!(plan.hosts.len(), 1, "the other host is worked on");
        }
    }
    // The older job's cleanup goes first; it comes too late when the newer job has begun.
    for (newer, released, taken, waiting) in [
        (other(9, false, false), 1, None, json!({})),
        (other(9, true, false), 0, None, json!({"pod1": 9})),
        (other(9, true, true), 1, Some(9), json!({})),
    ] {
        let plan = plan(Situation {
            others: vec![newer.clone()],
            ..new(vec![Task::new(id(1), "hardware", off("pod1"))])
        });
        let hosts = &plan.release.as_ref().unwrap().hosts;
        assert_eq!(hosts.len(), released, "{newer:?}");
        assert_eq!(hosts.first().and_then(|h| h.taken), taken, "{newer:?}");
        assert_eq!(json!(plan.waiting), waiting, "{newer:?}");
        assert_eq!(plan.claims.len(), released, "{newer:?}");
    }
}

/// What the lab remembers of a job that the dashboard says nothing of any more.
#[test]
fn what_only_the_ledger_knows() {
    let record = |state, release, host: Option<&str>, user| Record {
        job: 1,
        digest: "0123456789abcdef".into(),
        round: 2,
        state,
        release,
        host: host.map(|h| h.parse().unwrap()),
        user,
        ..Record::default()
    };
    let done = || Some(vec![Task::new(id(9), "hardware", off("pod9"))]);
    let nothing = json!({"hosts": {}, "users": [], "others": 0, "refused": []});
    let pod1 = json!({"hosts": {"pod1": 1}, "users": [], "others": 0, "refused": []});
    let user = json!({"hosts": {}, "users": [3], "others": 0, "refused": []});
    for (why, all, record, expected) in [
        (
            "a release that failed is tried again",
            done(),
            record(300, true, Some("pod1"), None),
            &pod1,
        ),
        (
            "also one that was under way",
            done(),
            record(100, true, Some("pod1"), None),
            &pod1,
        ),
        (
            "a VPN account that could not be taken back",
            done(),
            record(300, true, None, Some(3)),
            &user,
        ),
        (
            "what is given back stays so",
            done(),
            record(200, true, Some("pod1"), None),
            &nothing,
        ),
        (
            "a snapshot that was refused",
            done(),
            record(300, false, Some("pod1"), None),
            &nothing,
        ),
        (
            "the booking was deleted while it ran",
            None,
            record(200, false, Some("pod1"), None),
            &pod1,
        ),
        (
            "or while it was made",
            None,
            record(100, false, Some("pod1"), None),
            &pod1,
        ),
        (
            "or after it had failed",
            None,
            record(300, false, None, Some(3)),
            &user,
        ),
        (
            "or after the host was given back",
            None,
            record(200, true, Some("pod1"), None),
            &nothing,
        ),
    ] {
        let known = |busy| {
            let record = Some(record.clone());
            BTreeMap::from([(id(1), Known { record, busy })])
        };
        let situation = |busy| Situation {
            job: 1,
            all: all.clone(),
            known: known(busy),
            execution: Some("own"),
            ..Situation::default()
        };
        let planned = plan(situation(false));
        assert_eq!(&taken_back(&planned), expected, "{why}");
        for task in &planned.tasks {
            assert_eq!(task.request, format!("{}:0123456789abcdef:2", id(1)), "{why}");
            let claim = &planned.claims[&id(1)];
            assert!(
                claim.release && claim.state == 0 && claim.execution.as_deref() == Some("own"),
                "{why}; nothing is proven yet"
            );
        }
        assert_eq!(
            taken_back(&plan(situation(true))),
            nothing,
            "{why}, and somebody is at it"
        );
    }
}

#[test]
fn a_host_stays_its_jobs_when_its_task_becomes_garbage() {
    let record = Record {
        state: 200,
        host: Some("pod1".parse().unwrap()),
        ..Record::default()
    };
    let known = Known {
        record: Some(record),
        busy: false,
    };
    let planned = plan(Situation {
        known: BTreeMap::from([(id(1), known)]),
        ..new(vec![Task::new(id(1), "hardware", json!({"id": "pod1\n"}))])
    });
    let claim = &planned.claims[&id(1)];
    assert_eq!(planned.unsupported.len(), 1);
    assert!(claim.given && claim.host.as_ref().is_some_and(|host| host.as_str() == "pod1"));
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
    let plan = plan_new(vec![task, Task::new(id(2), "hardware", on("pod1"))]);
    let network = plan.hosts[0].network.as_ref().unwrap();
    assert_eq!(
        network.cabling.vlans.iter().map(|v| v.get()).collect::<Vec<_>>(),
        [11, 12, 104]
    );
}

#[test]
fn rounds() {
    let id = id(1);
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
            ..Record::default()
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
        let situation = |busy| Situation {
            job: 1,
            all: Some(vec![task.clone()]),
            new: new.clone(),
            current: current.clone(),
            known: known(busy),
            execution: Some("own"),
            now: NOW,
            ..Situation::default()
        };
        let planned = plan(situation(false));
        let claim = &planned.claims[&id];
        assert_eq!((claim.round, claim.state), (round, claimed), "{why}");
        assert_eq!(
            (claim.execution.as_deref(), &claim.digest),
            (Some("own"), &same),
            "{why}"
        );
        let busy = plan(situation(true));
        assert!(busy.claims.is_empty() && busy.tasks.is_empty(), "{why}");
        assert_eq!(busy.skipped, std::slice::from_ref(&id), "{why}");
    }
}
