//! A host's updates and its reboot: the real dpkg and apt on a system that is a Debian, stand-ins elsewhere.

use crate::hosts::Stand;
use crate::pack::{Ended, Running, wait_for};
use laas_lab::faults::{Kind, Peer};
use laas_lab::machine::Phase;
use serde_json::json;

impl Stand {
    fn start_update(&self) -> Running {
        self.pack
            .start(env!("CARGO_BIN_EXE_update_host"), &["--host=pod1"])
    }

    fn update(&self) -> Ended {
        self.start_update().end()
    }

    fn reboot(&self, args: &[&str]) -> Ended {
        let args: Vec<_> = ["--host=pod1"].iter().chain(args).copied().collect();
        self.pack.run(env!("CARGO_BIN_EXE_reboot_host"), &args)
    }

    fn offer(&self, version: &str, script: &str) {
        self.machine().offer_update(version, script).unwrap();
    }
}

#[test]
fn every_family_is_updated_with_its_own_tool() {
    for (os, version, tool) in [
        ("ubuntu", "22.04", "apt"),
        ("centos", "7", "yum"),
        ("centos", "9", "dnf"),
        ("opensuse-leap", "15.5", "zypper"),
    ] {
        let stand = Stand::deployed(os, version);
        let none = stand.update().done();
        assert_eq!(
            (&none["tool"], &none["changed"], &none["packages"]),
            (&json!(tool), &json!(false), &json!(0)),
            "{none}"
        );
        stand.offer("2.0", "touch /etc/updated");
        let done = stand.update().done();
        assert_eq!(
            (&done["changed"], &done["packages"], &done["reboot_needed"]),
            (&json!(true), &json!(1), &json!(false)),
            "{done}"
        );
        assert!(stand.inside("/etc/updated").exists());
        assert!(
            !stand.inside("/var/lib/laas-update").exists(),
            "an image may be taken next"
        );
        assert_eq!(stand.update().done()["changed"], false);

        let marker = if tool == "apt" {
            "/run/reboot-required"
        } else {
            "/run/reboot-needed"
        };
        stand.offer("3.0", &format!("touch {marker}"));
        let done = stand.update().done();
        assert_eq!(done["reboot_needed"], true, "{done}");
        let boot = format!("--boot_id={}", done["boot_id"].as_str().unwrap());
        let rebooted = stand.reboot(&[&boot]).done();
        assert_eq!(
            (&rebooted["changed"], &rebooted["before"]),
            (&json!(true), &done["boot_id"])
        );
        let again = stand.reboot(&[&boot]).done();
        assert_eq!(
            (&again["changed"], &again["after"]),
            (&json!(false), &rebooted["after"])
        );
        assert_eq!(stand.update().done()["reboot_needed"], false);
    }
}

#[test]
fn an_update_that_fails_says_why() {
    for (os, version, words) in [
        ("ubuntu", "22.04", "`apt` ended with exit status 100"),
        ("centos", "9", "`dnf` ended with exit status 1"),
        ("opensuse-leap", "15.5", "`zypper` ended with exit status 107"),
    ] {
        let stand = Stand::deployed(os, version);
        stand.offer("2.0", "echo the disk is full >&2; exit 1");
        let failure = stand.update().failed(1);
        assert!(failure["error"].as_str().unwrap().contains(words), "{failure}");
        assert_eq!(
            (&failure["peer"], &failure["host"]),
            (&json!("host"), &json!("pod1"))
        );
        let log = failure["done"]["log"].to_string();
        assert!(log.contains("the disk is full"), "{failure}");
        assert!(
            stand
                .read("/var/lib/laas-update/log")
                .contains("the disk is full")
        );
        // What is left half done is mended by the next run.
        stand.offer("2.1", "true");
        assert_eq!(stand.update().done()["changed"], true);
    }
}

#[test]
fn an_index_that_cannot_be_fetched_is_no_success() {
    for (os, version, repository) in [
        ("ubuntu", "22.04", "/srv/updates/Packages"),
        ("centos", "7", "/srv/updates/offered"),
        ("opensuse-leap", "15.5", "/srv/updates/offered"),
    ] {
        let stand = Stand::deployed(os, version);
        std::fs::remove_file(stand.inside(repository)).unwrap();
        stand.update().failed(1);
    }
    let stand = Stand::deployed("plan9", "4");
    let unknown = stand.update().failed(2);
    assert!(unknown["error"].as_str().unwrap().contains("plan9"), "{unknown}");
}

#[test]
fn a_second_run_finds_the_job_of_one_that_was_killed() {
    // As a job of a session of its own, and as a unit of systemd.
    for units in [false, true] {
        let stand = Stand::deployed("ubuntu", "22.04");
        stand.as_root(if units {
            "mkdir -p /run/systemd/system"
        } else {
            "rm -rf /run/systemd/system"
        });
        stand.offer(
            "2.0",
            "while [ ! -e /etc/go ]; do sleep 0.05; done; echo once >>/etc/updated",
        );
        let running = stand.start_update();
        let log = || stand.read("/var/lib/laas-update/log");
        wait_for("the installation", || log().contains("Setting up").then_some(()));
        running.kill();
        let second = stand.start_update();
        // Nor does it mind when its connection is lost: all but the one that cuts it.
        stand.as_root(
            "until [ -n \"$cut\" ]; do for p in $(pgrep -f '^sshd: root'); do \
             [ $p = $PPID ] || { kill $p && cut=yes; }; done; sleep 0.05; done",
        );
        std::fs::write(stand.inside("/etc/go"), "").unwrap();
        assert_eq!(second.end().done()["changed"], true);
        assert_eq!(stand.read("/etc/updated"), "once\n");
        stand.as_root(if units {
            "grep -q ^laas-update- /run/units"
        } else {
            "test ! -e /run/units"
        });
        assert_eq!(stand.update().done()["changed"], false);
    }
}

#[test]
fn a_job_that_ended_unheard_is_told_of() {
    let stand = Stand::deployed("ubuntu", "22.04");
    stand.offer("2.0", "while [ ! -e /etc/go ]; do sleep 0.05; done");
    let running = stand.start_update();
    wait_for("the installation", || {
        stand
            .read("/var/lib/laas-update/log")
            .contains("Setting up")
            .then_some(())
    });
    running.kill();
    std::fs::write(stand.inside("/etc/go"), "").unwrap();
    let status = stand.inside("/var/lib/laas-update/status");
    wait_for("the end of the job", || status.exists().then_some(()));
    assert_eq!(stand.update().done()["changed"], true);
}

#[test]
fn an_update_that_takes_too_long_or_dies_is_worth_a_retry() {
    let mut stand = Stand::deployed("ubuntu", "22.04");
    stand.offer("2.0", "while [ ! -e /etc/go ]; do sleep 0.05; done");
    stand.pack.env.push(("LAAS_LOG", "debug".to_owned()));
    let mut running = stand.start_update();
    // A host that is lost before it has said so is told to begin once more.
    running.hear("updates are being installed");
    wait_for("the installation", || {
        let log = stand.read("/var/lib/laas-update/log");
        log.contains("Setting up").then_some(())
    });
    stand.boot();
    let died = running.end().failed(3);
    assert!(died["error"].as_str().unwrap().contains("half-way"), "{died}");
    stand.pack.config["timing"]["update"] = json!(10);
    let late = stand.update().failed(3);
    assert!(
        late["error"].as_str().unwrap().contains("are not done in time"),
        "{late}"
    );
    stand.pack.config["timing"]["update"] = json!(60);
    std::fs::write(stand.inside("/etc/go"), "").unwrap();
    assert_eq!(stand.update().done()["changed"], true);
}

#[test]
fn a_host_that_says_yes_and_does_not_reboot_is_found_out() {
    let mut stand = Stand::deployed("ubuntu", "22.04");
    let host = Peer::Host("pod1".to_owned());
    stand.lab.faults().set(host.clone(), Kind::Lie).unwrap();
    stand.pack.config["timing"]["boot"] = json!(10);
    let lied = stand.reboot(&[]).failed(1);
    assert!(
        lied["error"].as_str().unwrap().contains("was told to reboot"),
        "{lied}"
    );
    assert_eq!(stand.machine().phase(), Phase::Up);
    stand.lab.faults().clear(&host);
    stand.pack.config["timing"]["boot"] = json!(60);
    assert_eq!(stand.reboot(&[]).done()["changed"], true);
}
