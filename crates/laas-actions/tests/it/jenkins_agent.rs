//! A host of the lab as an agent of a Jenkins, which runs on it as well: by stand-ins with the command line of the real
//! agent and with secrets that count.

use crate::hosts::Stand;
use crate::pack::{Ended, Running, wait_for};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

const SECRET: &str = "5ca1ab1e00000000000000000000000000000000000000000000000000000001";
const OTHER: &str = "5ca1ab1e00000000000000000000000000000000000000000000000000000002";
const DIRECTORY: &str = "/var/lib/laas-jenkins";
const UNIT: &str = "/etc/systemd/system/laas-jenkins.service";
const CONNECTED: &str = "/var/log/jenkins/node-1";

impl Stand {
    fn with_jenkins() -> Self {
        let mut stand = Self::deployed("ubuntu", "22.04");
        stand.executable("/opt/jenkins", include_str!("jenkins_agent/controller.py"));
        stand.executable("/opt/laas/bin/java", include_str!("jenkins_agent/java.py"));
        stand.pack.config["jenkins"] = json!({"url": "http://127.0.0.1:8080/"});
        stand.node(SECRET);
        stand.key(SECRET);
        stand.start_jenkins();
        stand
    }

    /// The secret that Jenkins knows.
    fn node(&self, secret: &str) {
        let file = self.inside("/etc/jenkins/node-1");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, secret).unwrap();
    }

    /// The one that the lab knows.
    fn key(&self, secret: &str) {
        let key = json!({"name": "node-1", "secret": secret});
        self.pack.set_key("jenkins_pod1", &key);
    }

    fn start_jenkins(&self) {
        self.as_root("setsid /opt/jenkins </dev/null >/dev/null 2>&1 &");
        self.as_root(
            "until curl --silent http://127.0.0.1:8080/jnlpJars/agent.jar >/dev/null; do sleep 0.05; done",
        );
    }

    fn start_agent(&self, args: &[&str]) -> Running {
        let args: Vec<_> = ["--host=pod1"].iter().chain(args).copied().collect();
        self.pack.start(env!("CARGO_BIN_EXE_jenkins_agent"), &args)
    }

    fn agent(&self, args: &[&str]) -> Ended {
        let ended = self.start_agent(args).end();
        for secret in [SECRET, OTHER] {
            assert!(!ended.stderr.contains(secret) && !ended.document.to_string().contains(secret));
        }
        ended
    }

    fn is_connected(&self) -> bool {
        self.inside(CONNECTED).exists()
    }

    /// How often Jenkins let the agent in.
    fn connections(&self) -> usize {
        self.read("/var/log/jenkins/log")
            .matches("connected node-1")
            .count()
    }

    fn assert_no_agent(&self) {
        assert!(!self.inside(DIRECTORY).exists() && !self.inside(UNIT).exists());
        self.as_root("! systemctl is-active laas-jenkins && ! pgrep -f '[l]aas-jenkins/'");
        wait_for("the end of the connection", || {
            (!self.is_connected()).then_some(())
        });
    }
}

/// The command lines of all processes while `work` is done, the hosts' among them.
fn command_lines(work: impl FnOnce()) -> HashSet<String> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut seen = HashSet::new();
            while !done.load(Ordering::SeqCst) {
                for process in std::fs::read_dir("/proc").unwrap().flatten() {
                    if let Ok(line) = std::fs::read(process.path().join("cmdline")) {
                        seen.insert(String::from_utf8_lossy(&line).replace('\0', " "));
                    }
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            seen
        });
        work();
        done.store(true, Ordering::SeqCst);
        watch.join().unwrap()
    })
}

#[test]
fn a_host_becomes_an_agent_and_stays_one() {
    let stand = Stand::with_jenkins();
    assert_eq!(stand.agent(&["--dry_run"]).done()["changed"], true);
    assert!(!stand.inside(DIRECTORY).exists() && !stand.inside(UNIT).exists());

    let lines = command_lines(|| {
        let first = stand.agent(&[]).done();
        assert_eq!(
            (&first["changed"], &first["agent"]),
            (&json!(true), &json!("node-1"))
        );
    });
    assert!(
        lines
            .iter()
            .any(|line| line.contains("-secret @/var/lib/laas-jenkins/secret"))
    );
    assert!(lines.iter().all(|line| !line.contains(SECRET)), "{lines:#?}");
    assert!(stand.is_connected());
    let secret = stand.inside(&format!("{DIRECTORY}/secret"));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&secret), mode(secret.parent().unwrap())), (0o600, 0o700));

    let listing = stand.listing();
    assert_eq!(stand.agent(&["--dry_run"]).done()["changed"], false);
    assert_eq!(stand.agent(&[]).done()["changed"], false);
    assert_eq!((stand.listing(), stand.connections()), (listing, 1));

    // One that falls over is started again, and so is one whose host starts anew.
    stand.as_root("pkill -KILL -f '[l]aas-jenkins/agent.jar'");
    wait_for("the second connection", || {
        (stand.connections() == 2).then_some(())
    });
    stand.boot();
    stand.start_jenkins();
    wait_for("the third connection", || {
        (stand.connections() == 3).then_some(())
    });
    assert_eq!(stand.agent(&[]).done()["changed"], false);

    // A secret that has changed counts at once.
    stand.node(OTHER);
    stand.key(OTHER);
    assert_eq!(stand.agent(&[]).done()["changed"], true);
    assert!(stand.is_connected());
    assert_eq!(
        (
            stand.read(&format!("{DIRECTORY}/secret")).as_str(),
            stand.connections()
        ),
        (OTHER, 4)
    );
    // Others could read it.
    stand.as_root(&format!("chmod 0644 {DIRECTORY}/secret"));
    assert_eq!(stand.agent(&[]).done()["changed"], true);
    assert_eq!(mode(&secret), 0o600);
}

#[test]
fn an_agent_that_is_not_let_in_is_a_failure_with_its_last_words() {
    let mut stand = Stand::with_jenkins();
    stand.pack.config["timing"]["call"] = json!(5);
    let behave = |how: &str| std::fs::write(stand.inside("/etc/behave"), how).unwrap();
    stand.key(OTHER);
    let refused = stand.agent(&[]).failed(1);
    let said = refused["error"].as_str().unwrap();
    assert!(
        said.contains("does not keep running") && said.contains("incorrect secret: ****"),
        "{refused}"
    );
    assert!(
        refused["hint"].as_str().unwrap().contains("`jenkins_pod1`"),
        "{refused}"
    );
    stand.key(SECRET);
    for (how, code, words) in [("die", 1, "**** is no secret"), ("hang", 3, "not let in")] {
        behave(how);
        // Whatever ran before has been let in.
        stand.as_root("systemctl stop laas-jenkins");
        let failure = stand.agent(&[]).failed(code);
        assert!(
            failure["error"].as_str().unwrap().contains(words),
            "{how}: {failure}"
        );
        assert_eq!(
            (&failure["peer"], &failure["host"]),
            (&json!("host"), &json!("pod1"))
        );
        assert!(!failure["done"]["log"].as_array().unwrap().is_empty());
    }
    behave("");
    // The one that hangs has the right files.
    stand.as_root("systemctl stop laas-jenkins && pkill -f /opt/[j]enkins");
    let dead = stand.agent(&[]).failed(1);
    assert!(dead["error"].as_str().unwrap().contains("curl"), "{dead}");
    // It goes on trying, so that it is there as soon as Jenkins is.
    stand.start_jenkins();
    assert_eq!(stand.agent(&[]).done()["changed"], false);
    assert!(stand.is_connected());
}

#[test]
fn a_run_that_was_killed_is_finished_by_the_next() {
    let stand = Stand::with_jenkins();
    let secret = format!("{DIRECTORY}/secret");
    for (round, moment) in [DIRECTORY, &secret, UNIT, CONNECTED].into_iter().enumerate() {
        let running = stand.start_agent(&[]);
        wait_for(moment, || stand.inside(moment).exists().then_some(()));
        running.kill();
        stand.agent(&[]).done();
        assert!(stand.is_connected(), "{moment}");
        // And the change of a secret, killed at some time.
        let next = if round % 2 == 0 { OTHER } else { SECRET };
        stand.node(next);
        stand.key(next);
        let running = stand.start_agent(&[]);
        wait_for("the change", || (stand.read(&secret) == next).then_some(()));
        running.kill();
        stand.agent(&[]).done();
        assert_eq!(stand.agent(&[]).done()["changed"], false);
        assert!(stand.is_connected(), "{moment}");

        let running = stand.start_agent(&["--revoke"]);
        wait_for("the beginning of the end", || {
            (!stand.is_connected()).then_some(())
        });
        running.kill();
        stand.agent(&["--revoke"]).done();
        stand.assert_no_agent();
    }
}

#[test]
fn what_is_revoked_is_gone_and_what_is_not_gone_is_a_failure() {
    let stand = Stand::with_jenkins();
    assert_eq!(stand.agent(&["--revoke"]).done()["changed"], false);
    std::fs::write(stand.inside("/etc/behave"), "deaf").unwrap();
    stand.agent(&[]).done();
    // Without its key, and with a build that has left the service.
    stand.pack.set_key("jenkins_pod1", &Value::Null);
    stand.as_root(&format!(
        "cd {DIRECTORY}/work; env -i setsid sleep 3600 </dev/null >/dev/null 2>&1 &"
    ));
    assert_eq!(stand.agent(&[]).done()["agent"], Value::Null);
    let foreseen = stand.agent(&["--revoke", "--dry_run"]).done();
    assert!(stand.is_connected());
    let done = stand.agent(&["--revoke"]).done();
    assert_eq!(done["changed"], true);
    let processes = |document: &Value| document["removed"].to_string().matches("process ").count();
    assert_eq!((processes(&foreseen), processes(&done)), (2, 2), "{done}");
    stand.assert_no_agent();
    stand.as_root("! pgrep -x sleep -f '[s]leep 3600'");
    assert_eq!(stand.agent(&["--revoke"]).done()["changed"], false);
    stand.boot();
    assert_eq!(stand.agent(&["--revoke"]).done()["changed"], false);

    // Something of it comes back as fast as it is killed.
    let phoenix = format!("#!/bin/sh\nwhile :; do sh -c 'sleep 3600; :' {DIRECTORY}/agent.jar; done\n");
    stand.executable("/opt/phoenix", &phoenix);
    stand.as_root("setsid /opt/phoenix </dev/null >/dev/null 2>&1 &");
    let failure = stand.agent(&["--revoke"]).failed(1);
    assert!(
        failure["error"]
            .as_str()
            .unwrap()
            .contains("still has of its agent: process "),
        "{failure}"
    );
    stand.as_root("pkill -KILL -f /opt/[p]hoenix");
    stand.agent(&["--revoke"]).done();
    stand.assert_no_agent();
}

#[test]
fn what_can_not_be_an_agent_is_refused_before_anything_is_touched() {
    let mut stand = Stand::with_jenkins();
    let listing = stand.listing();
    for (name, secret) in [
        ("node 1", SECRET),
        ("node'\"1", SECRET),
        ("node\n1", SECRET),
        ("$(reboot)", SECRET),
        ("%n", SECRET),
        ("-noReconnect", SECRET),
        ("", SECRET),
        ("node-1", ""),
        ("node-1", "@/etc/shadow"),
        ("node-1", "two\nlines"),
        ("node-1", "$(reboot)%n\"'"),
    ] {
        stand
            .pack
            .set_key("jenkins_pod1", &json!({"name": name, "secret": secret}));
        let refused = stand.agent(&[]).failed(2);
        let said = refused["error"].as_str().unwrap();
        assert!(
            said.contains("`jenkins_pod1`") && !said.contains("reboot"),
            "{refused}"
        );
    }
    stand.pack.set_key("jenkins_pod1", &json!(SECRET));
    stand.agent(&[]).failed(2);
    stand.key(SECRET);
    let template = stand.lab.directory().join("agent.service.tera");
    std::fs::write(&template, "ExecStart=/opt/agent {{ secret }}").unwrap();
    for (jenkins, words) in [
        (Value::Null, "there is no Jenkins"),
        (json!({"url": "https://ada:pw@jenkins"}), "no plain address"),
        (
            json!({"url": "http://jenkins", "template": "/no/such"}),
            "/no/such",
        ),
        (
            json!({"url": "http://jenkins", "template": template}),
            "it uses `secret`",
        ),
    ] {
        stand.pack.config["jenkins"] = jenkins;
        let refused = stand.agent(&[]).failed(2);
        assert!(refused["error"].as_str().unwrap().contains(words), "{refused}");
    }
    stand.pack.config["jenkins"] = json!({"url": "http://127.0.0.1:8080"});
    stand.as_root("rm -r /run/systemd/system");
    let refused = stand.agent(&[]).failed(1);
    assert!(
        refused["error"].as_str().unwrap().contains("no systemd"),
        "{refused}"
    );
    assert_eq!(stand.agent(&["--revoke"]).done()["changed"], false);
    assert_eq!(stand.listing(), listing);
    assert!(!stand.inside(DIRECTORY).exists());
}
