//! The captured exchanges with the real application, sent again: the answers must be the same.

use std::collections::BTreeMap;

use laas_lab::dashboard::{Dashboard, PageStatus};
use reqwest::Method;
use reqwest::blocking::RequestBuilder;
use serde_json::{Map, Value, json};

use crate::dashboard_world::{Served, captured_world, two_hosts};

#[test]
fn a_booking_goes_as_on_the_real_application() {
    replay(
        include_str!("../captures/dashboard-2019/main.jsonl"),
        |name, dashboard| match name {
            "142-STATE-reimage" => dashboard.reimage("pod1", 22).unwrap(),
            "156-STATE-snapshot2" => assert_eq!(dashboard.snapshot("pod2"), Ok(6)),
            "160-STATE-end" => dashboard.end(1).unwrap(),
            "187-jobs-new-second-booking" => {
                assert_eq!(dashboard.book(two_hosts(1, 3, &[4], [13, 106, 107, 108])), Ok(4));
            }
            "207-STATE-end2" => dashboard.end(4).unwrap(),
            "228-STATE-end2-twice" => dashboard.booking_poll(),
            "232-jobs-new-third-booking" => {
                assert_eq!(dashboard.book(two_hosts(1, 3, &[], [14, 109, 110, 111])), Ok(5));
            }
            "234-STATE-late-end" => dashboard.end(5).unwrap(),
            _ if name.contains("-STATE-free") => dashboard.free_hosts(),
            _ => {}
        },
    );
}

#[test]
fn odd_requests_and_accidents_go_as_on_the_real_application() {
    replay(
        include_str!("../captures/dashboard-2019/extra.jsonl"),
        |name, dashboard| match name {
            "018-smtp-down-200" => dashboard.set_mail_down(true),
            "036-jobs-new-b" => {
                assert_eq!(dashboard.book(two_hosts(3, 3, &[4], [14, 109, 110, 111])), Ok(4));
            }
            "037-jobs-new-cancelled-early" => {
                dashboard.snapshot("pod3").unwrap();
                dashboard.end(4).unwrap();
            }
            "041-jobs-new-host-in-two-jobs" => {
                dashboard.free_hosts();
                assert_eq!(dashboard.book(two_hosts(3, 4, &[], [15, 112, 113, 114])), Ok(5));
            }
            _ => {}
        },
    );
}

/// Sends every request of the capture again; `operate` does what was done to the application before each line.
fn replay(capture: &str, operate: fn(&str, &Dashboard)) {
    let lines: Vec<Value> = capture
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let captured_ids = task_keys(&lines);
    let mut own_ids = BTreeMap::new();
    let served = captured_world();
    for line in &lines {
        let name = line["name"].as_str().unwrap();
        operate(name, &served.dashboard);
        learn_ids(&served.dashboard, &mut own_ids);
        let translate = |text: String| {
            captured_ids
                .iter()
                .fold(text, |text, (captured, key)| match own_ids.get(key) {
                    Some(own) => text.replace(captured.as_str(), own),
                    None => text,
                })
        };
        let line: Value = serde_json::from_str(&translate(line.to_string())).unwrap();
        match line.get("state") {
            Some(state) => check_state(name, state, &served.dashboard),
            None => check_exchange(name, &line, &served),
        }
    }
}

fn check_exchange(name: &str, line: &Value, served: &Served) {
    let (request, expected) = (&line["request"], &line["response"]);
    let response = build(request, served).send().unwrap();
    assert_eq!(response.status().as_u16(), expected["status"], "{name}");
    assert_eq!(
        response.headers()["content-type"],
        expected["content_type"].as_str().unwrap(),
        "{name}"
    );
    let text = response.text().unwrap();
    match (expected.get("json"), expected["text"].as_str()) {
        (Some(json), _) => {
            let mut got: Value = serde_json::from_str(&text).unwrap();
            if request["encoding"] == "filler" {
                assert_eq!(got["meta"]["message"].take(), filler(request), "{name}");
            }
            assert_eq!(sorted(got), sorted(json.clone()), "{name}");
        }
        // The page is Django's; only what tells it from the other 403 is ours.
        (None, Some(page)) if page.contains("CSRF verification failed") => {
            assert!(text.contains("CSRF verification failed"), "{name}: {text}");
        }
        (None, page) => assert_eq!(text, page.unwrap_or_default(), "{name}"),
    }
}

fn build(request: &Value, served: &Served) -> RequestBuilder {
    let method: Method = request["method"].as_str().unwrap().parse().unwrap();
    let mut builder = served
        .client
        .request(method, served.url(request["path"].as_str().unwrap()));
    for (name, value) in request["headers"].as_object().unwrap() {
        if !name.eq_ignore_ascii_case("content-type") {
            builder = builder.header(name, value.as_str().unwrap());
        }
    }
    let url_encoded = "application/x-www-form-urlencoded";
    let fields = || serde_urlencoded::to_string(fields(&request["data"])).unwrap();
    let (content_type, body) = match request["encoding"].as_str() {
        None => return builder,
        Some("json") => ("application/json", request["data"].to_string()),
        Some("form") => (url_encoded, fields()),
        Some("raw") => (url_encoded, request["data"].as_str().unwrap().to_owned()),
        Some("filler") => (url_encoded, format!("message={}", filler(request))),
        Some("multipart") => ("multipart/form-data; boundary=part", multipart(&request["data"])),
        Some(other) => panic!("no encoding {other}"),
    };
    builder.header("content-type", content_type).body(body)
}

fn fields(data: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match data {
        Value::Array(pairs) => pairs
            .iter()
            .map(|pair| (text(&pair[0]), text(&pair[1])))
            .collect(),
        _ => data
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
    }
}

fn multipart(data: &Value) -> String {
    let parts = fields(data).into_iter().map(|(name, value)| {
        format!("--part\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    });
    format!("{}--part--\r\n", parts.collect::<String>())
}

fn filler(request: &Value) -> String {
    "y".repeat(request["data"].as_u64().unwrap() as usize)
}

/// Jobs come in no order that means anything.
fn sorted(mut answer: Value) -> Value {
    if let Value::Array(jobs) = &mut answer {
        jobs.sort_by_key(|job| job["id"].as_u64());
    }
    answer
}

fn check_state(name: &str, state: &Value, dashboard: &Dashboard) {
    let mails = dashboard.mails();
    match state {
        Value::Object(files) => {
            let mut seen: Vec<_> = mails
                .iter()
                .map(|mail| told(&mail.to, &mail.subject, &mail.body))
                .collect();
            let mut expected: Vec<_> = files
                .values()
                .map(|file| captured_mail(file.as_str().unwrap()))
                .collect();
            // Later looks show only the beginning of each mail.
            if name != "136-STATE-mail-after-last" {
                seen.iter_mut()
                    .chain(&mut expected)
                    .for_each(|(_, lines)| lines.clear());
            }
            seen.sort();
            expected.sort();
            assert_eq!(seen, expected, "{name}");
        }
        Value::Array(items) if name.contains("mail") => assert_eq!(mails.len(), items.len(), "{name}"),
        Value::Array(jobs) => jobs
            .iter()
            .for_each(|expected| check_job(name, expected, dashboard)),
        Value::String(page) if name.contains("page") => {
            let (booking, reader) = (4, if name.ends_with("collaborator") { 4 } else { 3 });
            assert_eq!(page_text(dashboard, booking, reader), page.trim_end(), "{name}");
        }
        _ => assert_eq!(state, "", "{name}"),
    }
}

fn check_job(name: &str, expected: &Value, dashboard: &Dashboard) {
    let job = dashboard.job(expected["job"].as_u64().unwrap() as u32).unwrap();
    let mut got = serde_json::to_value(&job).unwrap();
    for task in got["tasks"].as_array_mut().unwrap() {
        let task = task.as_object_mut().unwrap();
        task.remove("subject");
        task.remove("delta");
    }
    assert_eq!(got["tasks"], expected["tasks"], "{name}");
    assert_eq!(got["complete"], expected["job.complete"], "{name}");
    assert_eq!(got["hosts"], expected["hosts"], "{name}");
    assert_eq!(
        (&got["booking"], &got["lab"]),
        (&expected["booking"], &expected["lab"]),
        "{name}"
    );
}

fn page_text(dashboard: &Dashboard, booking: u32, reader: i64) -> String {
    let heading = "Deployment Progress\nThese are the different tasks that have to be completed before your \
                   deployment is ready\nExpand\nStatus\nLab Response\nType";
    let rows = dashboard.page(booking, reader).unwrap().into_iter().map(|row| {
        let status = match row.status {
            PageStatus::Pending => "PENDING",
            PageStatus::InProgress => "IN PROGRESS",
            PageStatus::Done => "DONE",
        };
        let none = "No response provided (yet)".to_owned();
        let response = row
            .response
            .map_or(none, |text| format!("Message from Lab:  {text}"));
        format!("\n{status}\n{response}\n{}", row.title)
    });
    format!("{heading}{}", rows.collect::<String>())
}

/// The reader and subject of a mail, and the lab's messages in it, in their order.
fn told(to: &str, subject: &str, body: &str) -> ((String, String), Vec<String>) {
    let messages = body
        .lines()
        .filter_map(|line| line.find("done ").map(|at| line[at..].to_owned()));
    ((to.to_owned(), subject.to_owned()), messages.collect())
}

fn captured_mail(file: &str) -> ((String, String), Vec<String>) {
    let header = |name: &str| file.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    told(header("To: "), header("Subject: "), file)
}

/// The captured task ids with what the tasks are about: job, group, and host or user.
fn task_keys(lines: &[Value]) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for answer in lines.iter().map(|line| &line["response"]["json"]) {
        for job in answer.as_array().into_iter().flatten().chain([answer]) {
            let groups = job["payload"].as_object().into_iter().flatten();
            for (group, tasks) in groups {
                for (id, config) in tasks.as_object().unwrap() {
                    keys.insert(id.clone(), task_key(&job["id"], group, config));
                }
            }
        }
    }
    keys
}

fn learn_ids(dashboard: &Dashboard, own_ids: &mut BTreeMap<String, String>) {
    for job in dashboard.jobs() {
        for task in job.tasks {
            let group = serde_json::to_value(task.task_type).unwrap();
            let group = group
                .as_str()
                .unwrap()
                .trim_start_matches("Host")
                .trim_end_matches("Relation");
            let key = task_key(&json!(job.job), &group.to_lowercase(), &task.delta);
            own_ids.insert(key, task.id);
        }
    }
}

fn task_key(job: &Value, group: &str, config: &Value) -> String {
    let config: &Map<String, Value> = config.as_object().unwrap();
    let subject = match group {
        "hardware" => config["id"].to_string(),
        "network" => config.keys().find(|key| *key != "lab_token").unwrap().clone(),
        "access" => format!("{} {}", config["access_type"], config["user"]),
        "snapshot" => config["host"].to_string(),
        _ => String::new(),
    };
    format!("{job} {group} {subject}")
}
