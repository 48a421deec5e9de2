//! What users, administrators and the lab's operator see and may do: bookings, pages, mails, BMC data, downtimes.

use std::collections::BTreeSet;

use laas_lab::dashboard::{BookingSpec, HostSpec, PageStatus, Refused, TaskType, Vlan};
use reqwest::Method;
use time::macros::datetime;

use crate::dashboard_world::{Served, TOKEN, captured_world, one_host, with_capture_booking};

#[test]
fn a_mail_that_fails_makes_the_saved_post_fail_once() {
    // With the mail server down, or the hosts freed before the last post.
    for freed in [false, true] {
        let served = with_capture_booking();
        if freed {
            served.dashboard.end(1).unwrap();
        }
        let tasks = served.dashboard.job(1).unwrap().tasks;
        let (last, others) = tasks.split_last().unwrap();
        for task in others {
            assert_eq!(served.post(task, &[("status", "200")]), 200);
        }
        match freed {
            true => served.dashboard.free_hosts(),
            false => served.dashboard.set_mail_down(true),
        }
        assert_eq!(served.post(last, &[("status", "200"), ("message", "m")]), 500);
        assert!(served.listed("done").contains(&last.id));
        assert_eq!(served.dashboard.posts().last().map(|post| post.saved), Some(true));
        served.dashboard.set_mail_down(false);
        assert_eq!(served.post(last, &[("status", "200")]), 200);
        assert_eq!(served.dashboard.mails(), []);
    }
}

#[test]
fn users_do_not_see_each_others_access() {
    let served = with_capture_booking();
    for (user, text) in [("3", "for alice"), ("4", "for bob")] {
        let tasks = served.dashboard.job(1).unwrap().tasks;
        for task in tasks.iter().filter(|task| task.subject == user) {
            served.post(task, &[("message", text)]);
        }
    }
    for (user, own) in [(3, "for alice"), (4, "for bob")] {
        let page = served.dashboard.page(1, user).unwrap();
        let seen: BTreeSet<_> = page.iter().filter_map(|row| row.response.as_deref()).collect();
        assert_eq!(seen, BTreeSet::from(["--secret--", own]));
    }
    for task in served.dashboard.job(1).unwrap().tasks {
        served.post(&task, &[("status", "200")]);
    }
    let mails = served.dashboard.mails();
    let read = |to: &str, text: &str| {
        mails
            .iter()
            .any(|mail| mail.to == format!("{to}@example.org") && mail.body.contains(text))
    };
    assert!(read("alice", "for alice") && read("bob", "for bob"));
    assert!(!read("alice", "for bob") && !read("bob", "for alice"));
}

#[test]
fn the_page_shows_an_error_as_done() {
    let served = with_capture_booking();
    let task = served.task(1, TaskType::Hardware, "pod1");
    for (status, shown) in [
        ("-1", PageStatus::Pending),
        ("99", PageStatus::Pending),
        ("100", PageStatus::InProgress),
        ("199", PageStatus::InProgress),
        ("200", PageStatus::Done),
        ("300", PageStatus::Done),
    ] {
        served.post(&task, &[("status", status)]);
        assert_eq!(served.dashboard.page(1, 3).unwrap()[0].status, shown, "{status}");
    }
    assert_eq!(served.dashboard.page(9, 3), Err(Refused::UnknownBooking(9)));
}

#[test]
fn bmc_data_of_a_free_host_is_refused_and_kept() {
    let served = with_capture_booking();
    served
        .dashboard
        .add_host(HostSpec::new("pod3", &["02:00:00:00:03:01"]))
        .unwrap();
    let form = [
        ("address", "10.99.0.3"),
        ("mac_address", "02:00:00:00:aa:03"),
        ("user", "OPNFV"),
        ("password", "a&b<c>"),
        ("type", "redfish"),
        ("versions", "2.0"),
    ];
    let report = || {
        served
            .send(Method::POST, "hosts/pod3/bmc", &form)
            .status()
            .as_u16()
    };
    assert_eq!(report(), 500);
    assert_eq!(served.dashboard.book(one_host("pod3")), Ok(2));
    let descriptor = |name: &str| {
        served
            .send(Method::GET, &format!("booking/2/{name}"), &[])
            .text()
            .unwrap()
    };
    assert!(descriptor("pdf").contains("    pass: a&amp;b&lt;c&gt;\n    type: ipmi\n"));
    assert_eq!(descriptor("idf"), "");
    assert_eq!(report(), 200);
    // Without an OPNFV configuration there is nothing to put into the networks.
    assert!(descriptor("idf").contains("      ip-range: 10.99.0.3\n"));
    assert!(descriptor("idf").contains("      interface: 0\n      vlan: \n"));
}

#[test]
fn bmc_data_that_does_not_fit_is_not_stored() {
    let served = captured_world();
    let whole = [
        ("address", "10.99.0.123"),
        ("mac_address", "02:00:00:00:aa:01"),
        ("user", "OPNFV"),
        ("password", "secret"),
        ("type", "ipmi"),
        ("versions", "2.0"),
    ];
    for (host, field, value, status) in [
        ("pod1", "address", "pod1-bmc.lab.example", 500),
        ("pod1", "mac_address", "02:00:00:00:aa:01 ", 500),
        ("srv1", "address", "10.99.0.123", 404),
        ("pod1", "address", "255.255.255.255", 200),
    ] {
        let form = whole.map(|(name, whole)| (name, if name == field { value } else { whole }));
        let answer = served.send(Method::POST, &format!("hosts/{host}/bmc"), &form);
        assert_eq!(answer.status(), status, "{host} {value}");
        let pdf = served.send(Method::GET, "booking/1/pdf", &[]).text().unwrap();
        assert_eq!(pdf.contains("secret"), status == 200, "{host} {value}");
    }
}

#[test]
fn a_downtime_counts_from_its_start() {
    let served = Served::new();
    let ask_with = |pair: &str, method: Method, form: &[(&str, &str)]| {
        let request = served
            .client
            .request(method, served.url("/api/labs/UNH_IOL/downtime"))
            .header("auth-token", TOKEN)
            .header("cookie", format!("csrftoken={pair}"))
            .header("x-csrftoken", pair)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(serde_urlencoded::to_string(form).unwrap());
        let response = request.send().unwrap();
        (response.status().as_u16(), response.text().unwrap())
    };
    let ask = |method, form: &[(&str, &str)]| ask_with(&"c".repeat(64), method, form);
    served.dashboard.set_time(datetime!(2026-01-01 00:00 UTC));
    let period = [("start", "2026-01-02 00:00"), ("end", "2026-01-03 00:00:30")];
    assert_eq!(
        ask(Method::POST, &period),
        (200, "{\"is_down\":false}".to_owned())
    );
    served.dashboard.set_time(datetime!(2026-01-02 12:00 UTC));
    let (status, text) = ask(Method::GET, &[]);
    assert_eq!(status, 200);
    assert!(text.contains("\"end\":\"2026-01-03T00:00:30Z\""), "{text}");
    assert_eq!(ask(Method::POST, &period).0, 422);
    served.dashboard.set_time(datetime!(2026-01-04 00:00 UTC));
    assert_eq!(ask(Method::DELETE, &[]).0, 422);
    assert_eq!(ask(Method::PUT, &[]).0, 405);
    for (length, status) in [(32, 422), (63, 403), (0, 403)] {
        assert_eq!(
            ask_with(&"c".repeat(length), Method::DELETE, &[]).0,
            status,
            "{length}"
        );
    }
}

#[test]
fn an_announced_downtime_leaves_the_jobs_alone() {
    let served = with_capture_booking();
    let jobs = served.get("jobs/new");
    let now = time::OffsetDateTime::now_utc();
    let hour = time::Duration::hours(1);
    served.dashboard.set_downtime(Some(now - hour..now + hour));
    assert_eq!(served.get("downtime")["is_down"], true);
    assert_eq!(served.get("jobs/new"), jobs);
    served.dashboard.set_downtime(None);
    assert_eq!(served.get("downtime")["is_down"], false);
}

#[test]
fn what_cannot_be_booked_is_refused_and_changes_nothing() {
    let served = with_capture_booking();
    let dashboard = &served.dashboard;
    dashboard
        .add_host(HostSpec::new("pod3", &["02:00:00:00:03:01"]))
        .unwrap();
    dashboard
        .add_host(HostSpec::new("pod4", &["02:00:00:00:04:01"]))
        .unwrap();
    let other = HostSpec {
        lab: Some("OTHER_LAB".to_owned()),
        ..HostSpec::new("srv1", &[])
    };
    dashboard.add_host(other).unwrap();
    served.send(Method::POST, "hosts/pod4", &[("working", "false")]);
    let networks = |mac: &str, vlan: u16| {
        let mut spec = one_host("pod3");
        spec.hosts[0].networks = [(mac.to_owned(), vec![Vlan::tagged(vlan)])].into();
        spec
    };
    let two = |second: &str| {
        let hosts = [one_host("pod3").hosts, one_host(second).hosts].concat();
        BookingSpec {
            hosts,
            ..one_host("pod3")
        }
    };
    let name = |host: &str| host.to_owned();
    for (spec, refused) in [
        (
            BookingSpec {
                hosts: vec![],
                ..one_host("pod3")
            },
            Refused::NoHosts,
        ),
        (
            BookingSpec {
                owner: 9,
                ..one_host("pod3")
            },
            Refused::UnknownUser(9),
        ),
        (
            BookingSpec {
                collaborators: vec![8],
                ..one_host("pod3")
            },
            Refused::UnknownUser(8),
        ),
        (one_host("pod9"), Refused::UnknownHost(name("pod9"))),
        (one_host("pod1"), Refused::HostTaken(name("pod1"))),
        (one_host("pod4"), Refused::HostBroken(name("pod4"))),
        (two("pod3"), Refused::HostTwice(name("pod3"))),
        (two("srv1"), Refused::HostsOfTwoLabs(name("srv1"))),
        (
            BookingSpec {
                snapshot: Some(name("pod1")),
                ..one_host("pod3")
            },
            Refused::HostOutsideBooking(name("pod1")),
        ),
        (
            networks("02:00:00:00:01:01", 11),
            Refused::UnknownInterface {
                host: name("pod3"),
                mac: name("02:00:00:00:01:01"),
            },
        ),
        (networks("02:00:00:00:03:01", 4095), Refused::BadVlan(4095)),
    ] {
        assert_eq!(dashboard.book(spec), Err(refused));
    }
    assert_eq!(dashboard.book(one_host("pod3")), Ok(2));
    assert_eq!(
        dashboard.add_host(HostSpec::new("pod3", &[])),
        Err(Refused::KnownHost(name("pod3")))
    );
    let stray = HostSpec {
        lab: Some(name("NO_LAB")),
        ..HostSpec::new("x", &[])
    };
    assert_eq!(
        dashboard.add_host(stray),
        Err(Refused::UnknownLab(name("NO_LAB")))
    );
    assert_eq!(dashboard.delete(9), Err(Refused::UnknownBooking(9)));
    assert_eq!(dashboard.end(9), Err(Refused::UnknownBooking(9)));
}

#[test]
fn vlans_are_drawn_from_what_no_booking_has() {
    let served = with_capture_booking();
    assert_eq!(served.dashboard.free_vlan(11..=13), Some(12));
    assert_eq!(served.dashboard.free_vlan(103..=105), None);
    served.dashboard.end(1).unwrap();
    assert_eq!(served.dashboard.free_vlan(103..=105), Some(103));
}

#[test]
fn refusals_name_the_thing() {
    let refused = Refused::UnknownInterface {
        host: "pod1".to_owned(),
        mac: "02:00".to_owned(),
    };
    assert_eq!(refused.to_string(), "host `pod1` has no interface `02:00`");
}
