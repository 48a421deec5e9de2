//! What the README tells operators to type at two in the morning, typed.

use crate::house::{House, pack};
use laas_lab::faults::{Kind, Peer};
use std::process::Stdio;

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
