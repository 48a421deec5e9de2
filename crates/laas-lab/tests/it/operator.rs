//! What the README tells operators to type at two in the morning, typed.

use crate::house::{House, engine, pack};
use laas_lab::faults::{Kind, Peer};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

const CHAPTER: &str = "## At two in the morning";

/// The lines of the chapter's blocks of commands.
fn chapter() -> Vec<String> {
    let readme = std::fs::read_to_string(pack().join("README.md")).unwrap();
    let (_, rest) = readme.split_once(CHAPTER).expect(CHAPTER);
    let chapter = rest.split("\n## ").next().unwrap();
    // Every other piece between the fences is a block.
    let blocks = chapter.split("\n```").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| block.lines().skip(1));
    lines
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect()
}

/// As a shell takes it, comment and all; whether it ended with 0, and what it printed.
async fn type_in(house: &House, line: &str) -> (bool, String) {
    let client = crate::venv::venv(&["st2client==3.9.0"]).join("bin");
    let output = tokio::process::Command::new("sh")
        .args(["-c", line])
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", client.display()))
        .env("HOME", house.directory.path())
        .env("LANG", "C.UTF-8")
        .env("COLUMNS", "200")
        .envs(house.stack.environment())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.success(), text.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chapter_for_the_night_can_be_typed() {
    let house = House::start().await;
    assert_eq!(house.book(), 1, "the chapter speaks of job 1");
    let job = house.settled(1).await;
    house.assert_done(&job).await;
    let lines = chapter();
    for action in [
        "doctor",
        "lab_status",
        "network_audit",
        "fulfill_job",
        "boot_booked_hosts",
    ] {
        assert!(
            lines.iter().any(|line| line.contains(&format!("laas.{action}"))),
            "{action}: {lines:?}"
        );
    }
    for line in &lines {
        let (ended_well, said) = type_in(&house, line).await;
        let is_run = line.starts_with("st2 run ");
        assert!(
            ended_well && (!is_run || said.contains("status: succeeded")),
            "{line}\n{said}"
        );
    }
    // None of it has done anything to a booking that is as it should be.
    let after = house.lab.dashboard().job(1).unwrap();
    house.assert_done(&after).await;

    // And on a bad night.
    house.lab.faults().set(Peer::Fog, Kind::Refuse).unwrap();
    let (_, said) = type_in(&house, "st2 run laas.doctor").await;
    assert!(
        said.contains("status: failed") && said.contains("fog.address"),
        "{said}"
    );
    let (_, said) = type_in(&house, "st2 run laas.lab_status host=pod1").await;
    assert!(
        said.contains("status: succeeded") && said.contains("pod1"),
        "{said}"
    );
}

/// An action as a person runs it who has logged in with `st2`, and set nothing else but the configuration.
fn by_hand(house: &House, action: &str) -> (Option<i32>, Value, String) {
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new(pack().join("actions/bin").join(action))
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", house.directory.path())
        .env("LAAS_CONFIG_FILE", &house.lab.files()["config"])
        .env("LAAS_LOCK_DIR", empty.path())
        .current_dir(&empty)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), document, log)
}

#[tokio::test(flavor = "multi_thread")]
async fn by_hand_an_action_has_the_login_of_the_st2_client() {
    let house = House::start().await;
    let state = house.directory.path().join("stack/engine");
    let mut user = Command::new(engine())
        .args(["user", "set", "kati", "--state"])
        .arg(state)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    user.stdin.take().unwrap().write_all(b"hunter2\n").unwrap();
    assert!(user.wait().unwrap().success());
    let (code, failed, _) = by_hand(&house, "lab_status");
    assert_eq!(
        (code, failed["peer"].as_str()),
        (Some(2), Some("datastore")),
        "{failed}"
    );

    let [(_, api), (_, auth), _] = house.stack.environment();
    let settings = house.directory.path().join(".st2");
    std::fs::create_dir(&settings).unwrap();
    let settings = settings.join("config");
    std::fs::write(&settings, format!("[api]\nurl = {api}\n[auth]\nurl = {auth}\n")).unwrap();
    // The client keeps a token and, with `-w`, the password.
    let client = crate::venv::venv(&["st2client==3.9.0"]).join("bin/st2");
    let login = Command::new(client)
        .args(["login", "kati", "--password", "hunter2", "-w"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", house.directory.path())
        .env("LANG", "C.UTF-8")
        .output()
        .unwrap();
    assert!(login.status.success(), "{login:?}");
    let token = settings.with_file_name("token-kati");
    assert!(token.exists());
    for with_token in [true, false] {
        if !with_token {
            std::fs::remove_file(&token).unwrap();
        }
        let (code, status, log) = by_hand(&house, "lab_status");
        assert_eq!(
            (code, status["hosts"].as_array().map(Vec::len)),
            (Some(0), Some(2)),
            "{log}"
        );
        assert!(
            log.contains(&api) && log.contains(".st2/config") && !log.contains("hunter2"),
            "{log}"
        );
    }
    let (code, found, log) = by_hand(&house, "doctor");
    assert_eq!(
        (code, found["findings"].as_array().map(Vec::len)),
        (Some(0), Some(0)),
        "{found} {log}"
    );

    let text = std::fs::read_to_string(&settings)
        .unwrap()
        .replace("hunter2", "hunter3");
    std::fs::write(&settings, text).unwrap();
    let (code, _, log) = by_hand(&house, "lab_status");
    assert_eq!(code, Some(2));
    assert!(
        log.contains("refuses the login") && !log.contains("hunter3"),
        "{log}"
    );
}
