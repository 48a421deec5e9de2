//! What becomes of a job's tasks: the lists, the end, the freeing of hosts, reimages.

use std::collections::BTreeSet;

use laas_lab::dashboard::{CaptureBooking, Refused, TaskType};
use serde_json::Value;

use crate::dashboard_world::{Served, full_capture_booking, with_capture_booking};

#[test]
fn a_task_is_listed_by_its_exact_status_only() {
    let served = with_capture_booking();
    let task = served.task(1, TaskType::Hardware, "pod1");
    for (status, list) in [
        ("100", Some("current")),
        ("150", None),
        ("200", Some("done")),
        ("300", None),
        ("-1", None),
        ("2147483647", None),
        (" 0 ", Some("new")),
    ] {
        assert_eq!(served.post(&task, &[("status", status)]), 200, "{status}");
        for name in ["new", "current", "done"] {
            let listed = served.listed(name).contains(&task.id);
            assert_eq!(listed, list == Some(name), "{status} in {name}");
        }
    }
    for status in ["done", "200.0", "2147483648", ""] {
        assert_eq!(
            served.post(&task, &[("status", status), ("message", "lost")]),
            500,
            "{status}"
        );
        let task = served.task(1, TaskType::Hardware, "pod1");
        assert_eq!((task.status, task.message.as_str()), (0, ""), "{status}");
    }
}

#[test]
fn the_end_resets_every_task_but_ssh_and_snapshots() {
    let served = with_capture_booking();
    let statuses = ["0", "100", "200", "300"];
    for (index, task) in served.dashboard.job(1).unwrap().tasks.iter().enumerate() {
        let fields = [
            ("status", statuses[index % 4]),
            ("message", "kept"),
            ("lab_token", "t"),
        ];
        served.post(task, &fields);
    }
    let before = served.dashboard.job(1).unwrap();
    served.dashboard.end(1).unwrap();
    let after = served.dashboard.job(1).unwrap();
    assert!(after.complete && !before.complete);
    for (before, after) in before.tasks.iter().zip(&after.tasks) {
        let kept = before.task_type == TaskType::Snapshot || before.delta["access_type"] == "ssh";
        let label = format!("{:?} {}", after.task_type, after.subject);
        assert_eq!(after.id, before.id, "{label}");
        assert_eq!(after.status, if kept { before.status } else { 0 }, "{label}");
        assert_eq!(after.delta == before.delta, kept, "{label}");
        assert_eq!(
            (after.message.as_str(), after.lab_token.as_str()),
            ("kept", "t"),
            "{label}"
        );
    }
    // The poll does it once: what the lab has done since stays done.
    let task = served.task(1, TaskType::Network, "pod2");
    served.post(&task, &[("status", "200")]);
    served.dashboard.booking_poll();
    assert_eq!(served.task(1, TaskType::Network, "pod2").status, 200);
}

#[test]
fn hosts_are_freed_when_one_kind_of_cleanup_is_finished() {
    // Statuses after the end of pod1's and pod2's hardware, then of their networks.
    for (statuses, freed) in [
        (["0", "0", "0", "0"], false),
        (["200", "0", "200", "0"], false),
        (["200", "200", "0", "0"], true),
        (["0", "0", "200", "200"], true),
        (["300", "0", "200", "200"], true),
        (["300", "200", "200", "300"], false),
        (["200", "200", "200", "200"], true),
    ] {
        let served = with_capture_booking();
        served.dashboard.tick();
        served.dashboard.end(1).unwrap();
        let tasks = [(TaskType::Hardware, "pod1"), (TaskType::Hardware, "pod2")]
            .into_iter()
            .chain([(TaskType::Network, "pod1"), (TaskType::Network, "pod2")]);
        for ((task_type, host), status) in tasks.zip(statuses) {
            served.post(&served.task(1, task_type, host), &[("status", status)]);
        }
        served.dashboard.tick();
        for host in ["pod1", "pod2"] {
            let booked = served.get(&format!("hosts/{host}"))["booked"].clone();
            assert_eq!(booked, !freed, "{host} after {statuses:?}");
        }
        assert_eq!(
            served.dashboard.job(1).unwrap().hosts.is_none(),
            freed,
            "{statuses:?}"
        );
        let again = served.dashboard.book_capture(CaptureBooking::default());
        let expected = if freed {
            Ok(2)
        } else {
            Err(Refused::HostTaken("pod1".to_owned()))
        };
        assert_eq!(again, expected, "{statuses:?}");
    }
}

#[test]
fn a_running_booking_is_neither_polled_nor_freed() {
    let served = with_capture_booking();
    for task in served.dashboard.job(1).unwrap().tasks {
        served.post(&task, &[("status", "200")]);
    }
    let before = served.dashboard.job(1);
    served.dashboard.tick();
    assert_eq!(served.dashboard.job(1), before);
    // A week later its time is up without anybody asking.
    served
        .dashboard
        .set_time(time::OffsetDateTime::now_utc() + time::Duration::days(8));
    served.dashboard.tick();
    assert!(served.dashboard.job(1).unwrap().complete);
}

#[test]
fn a_cancelled_booking_changes_with_the_next_poll() {
    let served = with_capture_booking();
    let before = served.get("jobs/new");
    served.dashboard.cancel(1).unwrap();
    assert_eq!(served.get("jobs/new"), before);
    assert_eq!(served.dashboard.cancel(1), Err(Refused::BookingOver(1)));
    let not_booked = Refused::HostNotBooked("pod1".to_owned());
    assert_eq!(served.dashboard.reimage("pod1", 22).as_ref(), Err(&not_booked));
    assert_eq!(served.dashboard.snapshot("pod1").as_ref(), Err(&not_booked));
    served.dashboard.booking_poll();
    assert_ne!(served.get("jobs/new"), before);
}

#[test]
fn a_reimage_starts_the_host_and_all_ssh_tasks_again() {
    let served = with_capture_booking();
    for task in served.dashboard.job(1).unwrap().tasks {
        served.post(&task, &[("status", "200"), ("message", "m"), ("lab_token", "t")]);
    }
    served.dashboard.reimage("pod2", 21).unwrap();
    for task in served.dashboard.job(1).unwrap().tasks {
        let of_host = task.subject == "pod2" && task.task_type != TaskType::Snapshot;
        let again = of_host || task.delta["access_type"] == "ssh";
        assert_eq!(task.status, if again { 0 } else { 200 }, "{task:?}");
        assert_eq!(
            (task.message.as_str(), task.lab_token.as_str()),
            ("m", "t"),
            "{task:?}"
        );
    }
    assert_eq!(served.task(1, TaskType::Hardware, "pod2").delta["image"], 21);
    assert_eq!(served.task(1, TaskType::Hardware, "pod1").delta["image"], 17);
}

#[test]
fn every_post_is_remembered_with_what_was_asked_then() {
    let served = with_capture_booking();
    let task = served.task(1, TaskType::Hardware, "pod1");
    served.post(&task, &[("status", "100")]);
    served.post(&task, &[("status", "x"), ("message", "m")]);
    served.dashboard.end(1).unwrap();
    served.post(&task, &[("status", "200")]);
    let posts = served.dashboard.posts();
    let seen: Vec<_> = posts
        .iter()
        .map(|post| (post.status.as_deref(), post.saved, post.delta["power"].as_str()))
        .collect();
    let expected = [
        (Some("100"), true, Some("on")),
        (Some("x"), false, Some("on")),
        (Some("200"), true, Some("off")),
    ];
    assert_eq!(seen, expected);
    assert!(
        posts
            .iter()
            .all(|post| post.task == task.id && post.subject == "pod1")
    );
    assert_eq!(posts[1].message.as_deref(), Some("m"));
    assert!(posts.is_sorted_by_key(|post| post.at));
}

#[test]
fn a_user_without_a_key_silently_gets_no_ssh_task() {
    let served = Served::new();
    let wanted = CaptureBooking {
        bob_key: full_capture_booking().bob_key,
        ..Default::default()
    };
    assert_eq!(served.dashboard.book_capture(wanted), Ok(1));
    let tasks = served.dashboard.job(1).unwrap().tasks;
    let seen: Vec<_> = tasks
        .iter()
        .map(|task| {
            (
                task.task_type,
                task.subject.as_str(),
                task.delta["access_type"].as_str(),
            )
        })
        .collect();
    let expected = [
        (TaskType::Hardware, "pod1", None),
        (TaskType::Hardware, "pod2", None),
        (TaskType::Network, "pod1", None),
        (TaskType::Network, "pod2", None),
        (TaskType::Access, "4", Some("vpn")),
        (TaskType::Access, "3", Some("vpn")),
        (TaskType::Access, "4", Some("ssh")),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_shuffled_dashboard_lists_the_same_in_another_order() {
    let texts = |seed: Option<u64>| {
        let served = with_capture_booking();
        if let Some(seed) = seed {
            served.dashboard.shuffle(seed);
        }
        // Task ids differ from one dashboard to the next, their subjects do not.
        let order = |jobs: Value| {
            let groups = jobs[0]["payload"].as_object().unwrap().values().cloned();
            let tasks =
                groups.flat_map(|group| group.as_object().unwrap().values().cloned().collect::<Vec<_>>());
            tasks.map(|task| task.to_string()).collect::<Vec<_>>()
        };
        (0..8).map(|_| order(served.get("jobs/new"))).collect::<Vec<_>>()
    };
    let (plain, once, again) = (texts(None), texts(Some(7)), texts(Some(7)));
    assert!(plain.iter().all(|order| *order == plain[0]));
    assert_eq!(once, again);
    assert!(
        once[1..]
            .iter()
            .any(|order| *order != plain[0] && *order != once[0])
    );
    for order in once {
        assert_eq!(BTreeSet::from_iter(order), BTreeSet::from_iter(plain[0].clone()));
    }
}
