//! OPNFV on a jumphost of the lab, by stand-ins with the command lines of the real installers.

mod descriptors;
mod sources;
mod stand_ins;

use crate::hosts::{REQUEST, Stand};
use crate::pack::{Ended, Running, wait_for};
use laas_lab::dashboard::{CaptureBooking, TaskType};
use serde_json::{Value, json};
use stand_ins::{CENTOS, Case, UBUNTU};
use std::os::unix::fs::PermissionsExt;

const DIRECTORY: &str = "/var/lib/laas-software";

impl Stand {
    fn ubuntu() -> Self {
        Self::deployed("ubuntu", "16.04").with_stand_ins()
    }

    fn start_deploy(&self, args: &[&str]) -> Running {
        self.pack.start(env!("CARGO_BIN_EXE_opnfv_deploy"), args)
    }

    fn deploy(&self, args: &[&str]) -> Ended {
        self.start_deploy(args).end()
    }

    fn start_fuel(&self) -> Running {
        self.start_deploy(&FUEL)
    }

    fn fuel(&self) -> Ended {
        self.start_fuel().end()
    }

    fn wait_for_installer(&self) {
        let log = || self.read(&format!("{DIRECTORY}/log"));
        wait_for("the installer", || log().contains("still at it").then_some(()));
    }

    /// Nothing that the installer has started is left.
    fn is_quiet(&self) {
        self.as_root("! pgrep -f '[i]nstaller-daemon|[d]eploy.sh' >/dev/null");
    }
}

const FUEL: [&str; 3] = [
    "--host=pod1",
    "--installer=fuel",
    "--scenario=os-nosdn-nofeature-noha",
];

#[test]
fn every_installer_deploys_fails_and_deploys_again() {
    let stands: [(&str, &str, &[Case]); 2] = [("ubuntu", "16.04", &UBUNTU), ("centos", "7", &CENTOS)];
    for (os, version, cases) in stands {
        let stand = Stand::deployed(os, version).with_stand_ins();
        for case in cases {
            let installer = format!("--installer={}", case.name);
            let scenario = format!("--scenario={}", case.scenario);
            let args = ["--host=pod1", &installer, &scenario];
            let foreseen = stand.deploy(&[&args[..], &["--dry_run"]].concat()).done();
            assert_eq!(foreseen["changed"], true, "{foreseen}");

            stand.behave("fail");
            let failure = stand.deploy(&args).failed(1);
            let said = failure["error"].as_str().unwrap();
            assert!(
                said.contains("exit status 7") && said.contains("the disk is full"),
                "{failure}"
            );
            assert_eq!(
                (&failure["host"], &failure["done"]["phase"]),
                (&json!("pod1"), &json!("deploy"))
            );
            let kept = failure["done"]["log_files"][1].as_str().unwrap();
            assert!(
                std::fs::read_to_string(kept)
                    .unwrap()
                    .contains("the disk is full")
            );
            let mode = std::fs::metadata(kept).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600);

            // An installer whose word alone is no proof.
            stand.behave("lie");
            let lied = stand.deploy(&args).failed(1);
            assert!(
                ["verify", "success"]
                    .map(Value::from)
                    .contains(&lied["done"]["phase"]),
                "{lied}"
            );

            stand.behave("well");
            let done = stand.deploy(&args).done();
            assert_eq!(
                (&done["changed"], &done["state"]),
                (&json!(true), &json!("ended"))
            );
            assert_eq!(done["found"], json!([case.found]), "{done}");
            let calls = stand.calls();
            assert_eq!(calls.last().unwrap(), case.call);
            let again = stand.deploy(&args).done();
            assert_eq!(
                (&again["changed"], &again["found"]),
                (&json!(false), &done["found"])
            );
            assert_eq!(stand.calls(), calls);
        }
    }
}

#[test]
fn what_is_not_supported_is_refused_before_anything_is_touched() {
    let stand = Stand::ubuntu();
    let listing = stand.listing();
    let good = [
        "--host=pod1",
        "--installer=fuel",
        "--scenario=os-nosdn-nofeature-noha",
    ];
    for (index, value, words) in [
        (
            1,
            "--installer=devstack",
            "`apex`, `compass`, `fuel`, `joid`, `script`",
        ),
        (1, "--installer=fuel; touch /etc/x", "`fuel`"),
        (1, "--installer=../../etc", "`fuel`"),
        (1, "--installer=apex", "centos 7"),
        (2, "--scenario=os-onos-sfc-ha", "os-odl-{ovs,sfc,bgpvpn}-noha"),
        (2, "--scenario=os-nosdn-$(touch /etc/x)-noha", ""),
        (2, "--scenario=os-nosdn-nofeature-noha;id", ""),
        (2, "--scenario=../x", ""),
        (2, "--scenario=", ""),
        (0, "--host=pod1;id", ""),
        (
            0,
            "--roles=[{\"host\": \"pod1\", \"role\": \"Compute\"}, {\"host\": \"pod2\", \"role\": \"Compute\"}]",
            "roles",
        ),
        (
            0,
            "--roles=[{\"host\": \"pod1' || id\", \"role\": \"Jumphost\"}]",
            "",
        ),
    ] {
        let mut args = good;
        args[index] = value;
        let failure = stand.deploy(&args).failed(2);
        let hint = failure["hint"].as_str().unwrap_or_default();
        assert!(hint.contains(words), "{value}: {failure}");
        assert!(failure["error"].as_str().unwrap().len() < 400, "{failure}");
    }
    for extra in [
        "--software_version=$(id)",
        "--software_version=danube",
        "--baremetal",
        "--pdf=http://evil.example.org/",
        "--pdf=/../../etc/passwd",
        "--idf=/api/%2e%2e",
    ] {
        let failure = stand.deploy(&[&good[..], &[extra]].concat()).failed(2);
        assert!(!failure["error"].as_str().unwrap().contains('\n'), "{failure}");
    }
    assert_eq!(stand.listing(), listing);
    assert!(!stand.inside(DIRECTORY).exists());
    assert!(stand.calls().is_empty());
}

#[test]
fn the_jumphost_is_found_by_its_role() {
    let stand = Stand::ubuntu();
    let args = [
        "--roles=[{\"host\": \"pod2\", \"role\": \"Compute\"}, {\"host\": \"pod1\", \"role\": \"Jumphost\"}]",
        "--installer=Fuel",
        "--scenario=os-nosdn-nofeature-noha",
        "--software_version=gambia",
    ];
    let done = stand.deploy(&args).done();
    assert_eq!(done["host"], "pod1");
    assert_eq!(
        done["deployment"],
        "fuel gambia os-nosdn-nofeature-noha virtual by-hand"
    );
    let only = stand
        .deploy(&["--roles=[{\"host\": \"pod1\", \"role\": \"\"}]", "--show"])
        .done();
    assert_eq!(only["state"], "ended");
}

#[test]
fn two_at_once_and_one_that_was_killed_are_one_deployment() {
    for units in [false, true] {
        let stand = Stand::ubuntu();
        stand.as_root(if units {
            "mkdir -p /run/systemd/system"
        } else {
            "rm -rf /run/systemd/system"
        });
        stand.behave("slow");
        let running = stand.start_fuel();
        stand.wait_for_installer();
        running.kill();
        let shown = stand.deploy(&["--host=pod1", "--show"]).done();
        assert_eq!(
            (&shown["state"], &shown["phase"]),
            (&json!("running"), &json!("deploy"))
        );
        assert!(shown["log"].to_string().contains("still at it"), "{shown}");
        let two = [stand.start_fuel(), stand.start_fuel()];
        // Another deployment must wait for this one to be over.
        let other = ["--host=pod1", "--installer=joid", "--scenario=k8-nosdn-lb-noha"];
        stand.go_on();
        let mut changed: Vec<_> = two
            .map(|one| one.end().done()["changed"].as_bool().unwrap())
            .into();
        changed.sort_unstable();
        assert_eq!(changed, [false, true]);
        assert_eq!(stand.calls().len(), 1);
        assert_eq!(stand.deploy(&other).done()["changed"], true);
    }
}

#[test]
fn another_deployment_is_refused_while_one_is_at_work() {
    let stand = Stand::ubuntu();
    stand.behave("slow");
    stand.start_fuel().kill();
    let running = stand.start_fuel();
    stand.wait_for_installer();
    running.kill();
    let other = ["--host=pod1", "--installer=joid", "--scenario=k8-nosdn-lb-noha"];
    let busy = stand.deploy(&other).failed(1);
    assert!(busy["error"].as_str().unwrap().contains("fuel iruya"), "{busy}");
    stand.go_on();
    assert_eq!(stand.fuel().done()["found"], json!(["cfg01"]));
    assert_eq!(stand.calls().len(), 1);
}

#[test]
fn a_lost_connection_does_not_end_it() {
    let stand = Stand::ubuntu();
    stand.behave("slow");
    let running = stand.start_fuel();
    stand.wait_for_installer();
    stand.as_root(
        "until [ -n \"$cut\" ]; do for p in $(pgrep -f '^sshd: root'); do \
         [ $p = $PPID ] || { kill $p && cut=yes; }; done; sleep 0.05; done",
    );
    stand.go_on();
    assert_eq!(running.end().done()["found"], json!(["cfg01"]));
    assert_eq!(stand.calls().len(), 1);
}

#[test]
fn a_reboot_in_the_middle_does_not_end_it() {
    let stand = Stand::ubuntu();
    stand.behave("slow");
    let running = stand.start_fuel();
    stand.wait_for_installer();
    let log = stand.inside(&format!("{DIRECTORY}/log"));
    stand.boot();
    wait_for("the second beginning", || {
        (stand.calls().len() == 2).then_some(())
    });
    assert!(log.with_file_name("log.before").exists());
    stand.go_on();
    let done = running.end().done();
    assert_eq!(
        (&done["changed"], &done["found"]),
        (&json!(true), &json!(["cfg01"]))
    );
    // And one whose host was rebooted while nobody waited.
    stand.behave("slow");
    let other = [
        "--host=pod1",
        "--installer=script",
        "--scenario=os-nosdn-nofeature-noha",
    ];
    let running = stand.start_deploy(&other);
    stand.wait_for_installer();
    running.kill();
    stand.boot();
    stand.go_on();
    assert_eq!(stand.deploy(&other).done()["found"], json!(["all is well"]));
}

#[test]
fn a_cancel_and_a_stop_end_it_with_all_that_it_started() {
    for units in [false, true] {
        let stand = Stand::ubuntu();
        stand.as_root(if units {
            "mkdir -p /run/systemd/system"
        } else {
            "rm -rf /run/systemd/system"
        });
        stand.behave("slow");
        let running = stand.start_fuel();
        stand.wait_for_installer();
        running.interrupt();
        let cancelled = running.end().failed(4);
        assert!(
            cancelled["error"].as_str().unwrap().contains("is stopped"),
            "{cancelled}"
        );
        stand.is_quiet();

        let running = stand.start_fuel();
        wait_for("the second beginning", || {
            (stand.calls().len() == 2).then_some(())
        });
        stand.wait_for_installer();
        let stop = ["--host=pod1", "--stop"];
        let stopped = stand.deploy(&stop).done();
        assert_eq!(
            (&stopped["changed"], &stopped["state"]),
            (&json!(true), &json!("stopped"))
        );
        stand.is_quiet();
        let told = running.end().failed(4);
        assert!(told["error"].as_str().unwrap().contains("was stopped"), "{told}");
        assert_eq!(stand.deploy(&stop).done()["changed"], false);
        stand.go_on();
        assert_eq!(stand.fuel().done()["changed"], true);
    }
}

#[test]
fn one_that_hangs_ends_with_its_time_and_leaves_nothing() {
    let mut stand = Stand::ubuntu();
    let own = stand.lab.directory().join("installers");
    let ours = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../software/fuel");
    std::fs::create_dir_all(own.join("fuel")).unwrap();
    for file in ["installer.yaml", "clean.tera", "deploy.tera", "verify.tera"] {
        let text = std::fs::read_to_string(ours.join(file)).unwrap();
        let text = text.replace("timeout: 21600", "timeout: 4");
        std::fs::write(own.join("fuel").join(file), text).unwrap();
    }
    stand.pack.config["software"]["installers"] = json!(own);
    stand.behave("slow");
    let failure = stand.fuel().failed(1);
    assert!(
        failure["error"].as_str().unwrap().contains("exit status 124")
            && failure["hint"].as_str().unwrap().contains("timeout"),
        "{failure}"
    );
    stand.is_quiet();
}

#[test]
fn a_release_ends_it_and_descriptors_go_through_as_they_are() {
    let mut stand = Stand::ubuntu();
    stand.pack.config["dashboard"]["poll_ms"] = json!(50);
    let booking = stand
        .lab
        .dashboard()
        .book_capture(CaptureBooking {
            alice_key: None,
            bob_key: None,
            software: true,
            snapshot: false,
        })
        .unwrap();
    let job = stand.lab.dashboard().job(booking).unwrap();
    let task = job
        .tasks
        .iter()
        .find(|task| task.task_type == TaskType::Software)
        .unwrap();
    let opnfv = &task.delta["opnfv"];
    let reference = json!({
        "job": job.job, "task": task.id, "digest": laas_dashboard::digest(&task.delta), "request": REQUEST,
    });
    let text = |name: &str| format!("--{name}={}", opnfv[name].as_str().unwrap());
    let args = [
        "--host=pod1".to_owned(),
        text("installer"),
        text("scenario"),
        text("pdf"),
        text("idf"),
        format!("--task={reference}"),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // On bare metal there is no way without the installer's descriptor file, which is empty yet.
    let mut metal = args.clone();
    metal[2] = "--scenario=os-nosdn-nofeature-ha";
    metal.push("--baremetal");
    let refused = stand.deploy(&metal).failed(1);
    assert!(refused["error"].as_str().unwrap().contains("IDF"), "{refused}");
    assert!(!stand.inside(DIRECTORY).exists());

    stand.behave("slow");
    let running = stand.start_deploy(&args);
    stand.wait_for_installer();
    let pdf = stand.inside(&format!("{DIRECTORY}/config/labs/laas/pod1.yaml"));
    assert!(
        std::fs::read_to_string(&pdf)
            .unwrap()
            .starts_with("---\nversion: 1.0")
    );
    assert_eq!(
        std::fs::metadata(&pdf).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(!pdf.with_file_name("idf-pod1.yaml").exists());

    stand.lab.dashboard().end(booking).unwrap();
    stand.lab.dashboard().booking_poll();
    let over = running.end().failed(4);
    assert!(over["error"].as_str().unwrap().contains("taken back"), "{over}");
    stand.is_quiet();
}
