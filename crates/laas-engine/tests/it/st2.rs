//! The real `st2` client against the engine, call by call as recorded against StackStorm 3.9.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use regex::{Captures, Regex};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, Site, answer, captures};

/// Something that stays different from the recording.
struct Difference {
    recording: &'static str,
    reason: &'static str,
    /// What is compared all the same.
    keep: fn(&str) -> String,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        recording: "41-pack-list",
        reason: "only the packs that were given are loaded; StackStorm ships its own",
        keep: |text| rows(text, "lab"),
    },
    Difference {
        recording: "45-runner-list",
        reason: "runners that are not supported are not listed",
        keep: |text| rows(text, "local-shell-script") + &rows(text, "orquesta"),
    },
    Difference {
        recording: "51-trace-list",
        reason: "what StackStorm reports about itself (`core.st2.…`) is not traced",
        keep: |text| rows(text, "job-9") + &rows(text, "execution-"),
    },
    Difference {
        recording: "52-rule-enforcement-list",
        reason: "the recorded StackStorm had been used before",
        keep: |text| rows(text, "lab.on_job"),
    },
    Difference {
        recording: "58-execution-output",
        reason: "the log of a workflow is StackStorm's own; here it says what became of the steps",
        keep: |text| {
            let is_end = |line: &&str| line.contains("in \"succeeded\"") || line.contains("in \"failed\"");
            text.lines().filter(is_end).collect()
        },
    },
];

#[test]
fn every_recorded_call_gives_the_same() {
    let site = Site::new();
    let server = site.start();
    let client = St2::new(&site, &server);
    prepare(&site, &server);
    let mut recordings: Vec<PathBuf> = std::fs::read_dir(captures())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    recordings.sort();
    let mut ids = Ids::default();
    let mut wrong = Vec::new();
    for path in &recordings {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let (command, recorded) = text.split_once('\n').unwrap();
        let recording: Value =
            serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
        let command = ids.translate(command);
        if let Some((id, state)) = must_be_in_state(name, &command) {
            server.wait_for(id, &[state]);
        }
        let (recorded, ours) = match command.strip_prefix("$ st2 ") {
            Some(arguments) => (recorded.to_string(), client.call(&split(arguments))),
            None => replay(&server, &command, &recording["exchanges"][0], &ids),
        };
        ids.learn(&recorded, &ours);
        let difference = DIFFERENCES.iter().find(|difference| difference.recording == name);
        let [recorded, ours] = [recorded, ours]
            .map(|text| redact(&text))
            .map(|text| match difference {
                Some(difference) => (difference.keep)(&text),
                None => text,
            });
        if recorded.is_empty() || recorded != ours {
            let known = difference.map_or("", |difference| difference.reason);
            wrong.push(format!(
                "=== {name} {known}: {command}\n--- recorded\n{recorded}\n--- ours\n{ours}\n"
            ));
        }
    }
    assert!(recordings.len() > 50, "where are the recordings?");
    assert!(
        wrong.is_empty(),
        "{} of {} differ\n{}",
        wrong.len(),
        recordings.len(),
        wrong.join("\n")
    );
}

/// What the recorded StackStorm held before the first call.
fn prepare(site: &Site, server: &Server) {
    let hosts = json!([
        {"name": "hosts", "value": "[\"pod1\"]"},
        {"name": "pod2", "value": "{}"},
        {"name": "lab_auth_token", "value": "tok", "secret": true},
    ]);
    std::fs::write(site.path("home/hosts.json"), hosts.to_string()).unwrap();
    let list = std::fs::read(captures().join("30-key-list.json")).unwrap();
    let list: Value = serde_json::from_slice(&list).unwrap();
    for key in list["exchanges"][0]["response"]["body"].as_array().unwrap() {
        let name = key["name"].as_str().unwrap();
        let is_secret = key["secret"] == true;
        // Ciphertext of ours would become ciphertext twice as long.
        let value = if is_secret {
            json!("x")
        } else {
            key["value"].clone()
        };
        let body = json!({"name": name, "value": value, "secret": key["secret"], "scope": key["scope"]});
        if !["pod1", "bmc_pod1"].contains(&name) {
            let (status, answer) = server.send(Method::PUT, &format!("/v1/keys/{name}"), &body);
            assert_eq!(status, 200, "{answer}");
        }
    }
}

/// The calls that were made when something had got so far.
fn must_be_in_state<'a>(name: &str, command: &'a str) -> Option<(&'a str, &'static str)> {
    let state = match name {
        "16-execution-get-running" => "running",
        "18-execution-get-canceled" => "canceled",
        _ => return None,
    };
    Some((command.rsplit(' ').next()?, state))
}

/// The client of PyPI, talking to one engine.
struct St2<'a> {
    venv: PathBuf,
    home: PathBuf,
    server: &'a Server,
}

impl<'a> St2<'a> {
    fn new(site: &Site, server: &'a Server) -> Self {
        let home = site.path("home");
        std::fs::create_dir(&home).unwrap();
        St2 {
            venv: client(),
            home,
            server,
        }
    }

    /// What it prints, with its exit code on the last line as in the recordings.
    fn call(&self, arguments: &[impl AsRef<std::ffi::OsStr>]) -> String {
        let mut command = self.command();
        command.env("ST2_API_KEY", self.server.key()).args(arguments);
        print_of(command)
    }

    /// Without a credential of its own.
    fn command(&self) -> Command {
        let mut command = Command::new(self.venv.join("bin/st2"));
        command
            .current_dir(&self.home)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &self.home)
            .env("LANG", "C.UTF-8")
            .env("COLUMNS", "120")
            .env("ST2_API_URL", format!("{}/v1", self.server.url))
            .env("ST2_AUTH_URL", format!("{}/auth/v1", self.server.url))
            .env("ST2_STREAM_URL", format!("{}/stream/v1", self.server.url));
        command
    }
}

/// What a command prints, with its exit code on the last line.
fn print_of(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    format!(
        "{}\n(exit {})\n",
        text.trim_end_matches('\n'),
        output.status.code().unwrap()
    )
}

/// The virtual environment that has the client of StackStorm 3.9.
pub fn client() -> PathBuf {
    crate::venv::venv(&["st2client==3.9.0"])
}

/// Does what `curl` was told; returns status, type and body of the recorded answer and of ours.
fn replay(server: &Server, curl: &str, exchange: &Value, ids: &Ids) -> (String, String) {
    let request = &exchange["request"];
    let method: Method = request["method"].as_str().unwrap().parse().unwrap();
    let mut ours = server.anonymous(method, &ids.translate(request["path"].as_str().unwrap()));
    for header in Regex::new(r"-H ([A-Za-z0-9-]+): (\S+)")
        .unwrap()
        .captures_iter(curl)
    {
        ours = ours.header(&header[1], header[2].replace("API_KEY", server.key()));
    }
    if !request["body"].is_null() {
        ours = ours.json(&request["body"]);
    }
    let ours = ours.send().unwrap();
    let content_type = ours.headers()["content-type"].to_str().unwrap().to_string();
    let (status, body) = answer(ours);
    let response = &exchange["response"];
    let show = |status: &Value, content_type: &Value, body: &Value| {
        let mut body = body.clone();
        drop_unimportant(&mut body);
        format!(
            "{status} {content_type}\n{}",
            body.as_str().map_or_else(|| format!("{body:#}"), str::to_string)
        )
    };
    (
        show(
            &response["status"],
            &response["headers"]["Content-Type"],
            &response["body"],
        ),
        show(&json!(status), &json!(content_type), &body),
    )
}

/// Links to StackStorm's web interface, the machine's name and durations say nothing; objects have no order.
fn drop_unimportant(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for name in ["web_url", "runner_info", "elapsed_seconds"] {
                object.remove(name);
            }
            object.sort_keys();
            object.values_mut().for_each(drop_unimportant);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_unimportant),
        _ => {}
    }
}

/// Which of our ids stands for which recorded one.
#[derive(Default)]
struct Ids(HashMap<String, String>);

const ID: &str = r"\b[0-9a-f]{24}\b";

impl Ids {
    /// Both texts name the same things in the same order.
    fn learn(&mut self, recorded: &str, ours: &str) {
        let id = Regex::new(ID).unwrap();
        let pairs = id.find_iter(recorded).zip(id.find_iter(ours));
        for (recorded, ours) in pairs {
            self.0
                .entry(recorded.as_str().to_string())
                .or_insert(ours.as_str().to_string());
        }
    }

    fn translate(&self, text: &str) -> String {
        let ours = |found: &Captures<'_>| self.0.get(&found[0]).cloned().unwrap_or(found[0].to_string());
        Regex::new(ID).unwrap().replace_all(text, ours).into_owned()
    }
}

/// The words of a command line; JSON is one word.
fn split(arguments: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in arguments.split(' ') {
        match words.last_mut() {
            Some(last) if last.starts_with('{') && !last.ends_with('}') => *last += &format!(" {word}"),
            _ => words.push(word.to_string()),
        }
    }
    words
}

/// Without ids, times, ports, ciphertext and the dots of waiting, each of which has its length kept for the tables.
fn redact(text: &str) -> String {
    let replacements = [
        (ID, "idididididididididididid"),
        (r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:0"),
        (r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2}", "Day, 00 Mon"),
        (r"\d{4} \d\d:\d\d:\d\d", "0000 00:00:00"),
        (
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",
            "0000-00-00T00:00:00.000000Z",
        ),
        (r"\(\d+s elapsed\)", "(0s elapsed)"),
        (r"(?m)^\.*\n", ""),
        (r"(?m)^\|(?: *\|)* [0-9A-F]{5,60} +\|(?: *\|)*\n", ""),
        (r"\b3030[0-9A-F]{13,}|\b[0-9A-F]{17,}", "CIPHERTEXT"),
    ];
    let mut text = text.to_string();
    for (pattern, replacement) in replacements {
        text = Regex::new(pattern)
            .unwrap()
            .replace_all(&text, replacement)
            .into_owned();
    }
    text
}

/// The rows of a table that have `word` in them, continuations joined, widths forgotten, each once.
fn rows(table: &str, word: &str) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in table.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match rows.last_mut() {
            Some(last) if cells[0].is_empty() => {
                last.iter_mut()
                    .zip(cells)
                    .for_each(|(cell, more)| *cell += &more.replace(' ', ""));
            }
            _ => rows.push(cells.iter().map(|cell| cell.replace(' ', "")).collect()),
        }
    }
    // Ids and times that a table had broken are whole only now.
    let volatile = Regex::new(r"[0-9a-f]{24,32}|\d{4}\d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[0-9:.]+Z").unwrap();
    let mut seen: Vec<String> = Vec::new();
    for row in rows
        .iter()
        .filter(|row| row.iter().any(|cell| cell.starts_with(word)))
    {
        let row = volatile.replace_all(&row.join(" "), "_").into_owned();
        if !seen.contains(&row) {
            seen.push(row);
        }
    }
    seen.join("\n")
}

#[test]
fn logging_in_following_and_tracing_work_too() {
    let site = Site::new();
    site.set_password("ops", "open sesame");
    let script = "while [ ! -e \"${1#--file=}\" ]; do sleep 0.05; done; echo held";
    site.add_action("hold", "{file: {type: string}}", script);
    let server = site.start();
    let client = St2::new(&site, &server);

    let with_token = |arguments: &[&str]| {
        let mut command = client.command();
        command.args(arguments);
        print_of(command)
    };
    let refused = with_token(&["login", "ops", "-p", "wrong"]);
    assert!(
        refused.contains("Failed to log in as ops") && refused.ends_with("(exit 1)\n"),
        "{refused}"
    );
    let login = with_token(&["login", "ops", "-p", "open sesame"]);
    assert!(
        login.starts_with("Logged in as ops") && login.ends_with("(exit 0)\n"),
        "{login}"
    );
    let whoami = with_token(&["whoami"]);
    assert!(
        whoami.contains("\"ops\"") && whoami.contains("authentication token"),
        "{whoami}"
    );

    let created: Value = serde_json::from_str(
        client
            .call(&["apikey", "create", "-j"])
            .trim_end_matches("(exit 0)\n"),
    )
    .unwrap();
    let get_in = || {
        let request = server
            .anonymous(Method::GET, "/v1/user")
            .header("St2-Api-Key", created["key"].as_str().unwrap());
        answer(request.send().unwrap()).0
    };
    assert_eq!(get_in(), 200);
    let listed = client.call(&["apikey", "list"]);
    assert!(
        listed.contains(created["id"].as_str().unwrap())
            && !listed.contains(created["key"].as_str().unwrap())
    );
    let deleted = client.call(&["apikey", "delete", created["id"].as_str().unwrap()]);
    assert!(deleted.contains("has been successfully deleted"), "{deleted}");
    assert_eq!(get_in(), 401);

    let file = site.path("go");
    let parameters = json!({"file": file});
    let (_, started) = server.send(
        Method::POST,
        "/v1/executions",
        &json!({"action": "lab.hold", "parameters": parameters}),
    );
    let id = started["id"].as_str().unwrap();
    let mut tail = client.command();
    tail.env("ST2_API_KEY", server.key())
        .args(["execution", "tail", id]);
    let tail = tail.stdout(std::process::Stdio::piped()).spawn().unwrap();
    server.wait_for(id, &["running"]);
    // The client may follow from here on or come too late; it must print the same.
    std::fs::write(&file, "").unwrap();
    let output = String::from_utf8(tail.wait_with_output().unwrap().stdout).unwrap();
    assert!(output.contains("held\n"), "{output}");
    assert!(
        output.contains(&format!("Execution {id} has completed (status=succeeded).")),
        "{output}"
    );

    let run = client.call(&["run", "--trace-tag", "job-5", "lab.power", "host=pod1"]);
    assert!(run.contains("status: succeeded"), "{run}");
    let traces = client.call(&["trace", "list", "--trace-tag", "job-5", "-j"]);
    assert_eq!(traces.matches("\"trace_tag\": \"job-5\"").count(), 1, "{traces}");
    let listed = client.call(&[
        "execution",
        "list",
        "--action",
        "lab.power",
        "--status",
        "succeeded",
    ]);
    assert_eq!(listed.matches("lab.power").count(), 1, "{listed}");
    for listing in [
        &["sensor", "list"][..],
        &["policy", "list"],
        &["trigger-instance", "list"],
    ] {
        let printed = client.call(listing);
        assert!(printed.ends_with("(exit 0)\n"), "{listing:?}: {printed}");
    }
}
