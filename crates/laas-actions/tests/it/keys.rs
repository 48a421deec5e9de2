//! Tenants' keys on a host: given, taken away, and proven both ways by its real sshd.

use crate::hosts::Stand;
use crate::pack::{Ended, Running, wait_for};
use laas_lab::faults::{Fault, Kind, Peer};
use serde_json::json;

const FILE: &str = "/home/opnfv/.ssh/authorized_keys";

impl Stand {
    fn start_keys(&self, job: u64, args: &[&str]) -> Running {
        let own = [format!("--job_id={job}"), r#"--hosts=["pod1"]"#.to_owned()];
        let args: Vec<_> = own
            .iter()
            .map(String::as_str)
            .chain(args.iter().copied())
            .collect();
        self.pack.start(env!("CARGO_BIN_EXE_copy_keys"), &args)
    }

    fn keys(&self, job: u64, args: &[&str]) -> Ended {
        self.start_keys(job, args).end()
    }

    /// As the tenant's image has it: whatever stands there is not the pack's.
    fn foreign_lines(&self) -> Vec<u8> {
        let foreign = b"# left by the image \xff\nno-pty ssh-rsa AAAA laas-job-1-user-3".to_vec();
        self.as_root("install -d -o opnfv -g opnfv -m 0700 /home/opnfv/.ssh");
        std::fs::write(self.inside(FILE), &foreign).unwrap();
        self.as_root(&format!("chown opnfv:opnfv {FILE}; chmod 600 {FILE}"));
        foreign
    }

    fn file(&self) -> Vec<u8> {
        std::fs::read(self.inside(FILE)).unwrap()
    }
}

#[test]
fn keys_of_many_are_given_and_exactly_a_bookings_are_taken_away() {
    let stand = Stand::deployed("ubuntu", "22.04");
    let foreign = stand.foreign_lines();
    let (alice, alice_key) = stand.key_pair("alice");
    let (bob, bob_key) = stand.key_pair("bob");
    let users = json!([{"user": 3, "key": alice_key}, {"user": 4, "key": bob_key}]);
    let users = format!("--users={users}");
    let given = stand.keys(1, &[&users]).done();
    assert_eq!(
        (&given["changed"], &given["hosts"][0]["keys"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(stand.keys(1, &[&users]).done()["changed"], false);
    assert!(stand.logs_in(&alice) && stand.logs_in(&bob));
    let key = format!("--key={alice_key}");
    stand.keys(2, &["--user=3", &key]).done();

    // Another booking's line stays, and with it the login.
    let one = stand.keys(1, &["--revoke", "--user=3", &key]).done();
    assert_eq!(
        (&one["changed"], &one["hosts"][0]["keys"]),
        (&json!(true), &json!(0))
    );
    assert!(stand.logs_in(&alice) && stand.logs_in(&bob));
    let two = stand.keys(2, &["--revoke"]).done();
    assert_eq!(
        (&two["changed"], &two["hosts"][0]["keys"]),
        (&json!(true), &json!(1))
    );
    assert!(!stand.logs_in(&alice) && stand.logs_in(&bob));
    assert_eq!(stand.keys(1, &["--revoke"]).done()["changed"], true);
    assert!(!stand.logs_in(&bob));
    assert_eq!(stand.file(), [&foreign[..], b"\n"].concat());

    let again = stand.keys(1, &["--revoke", &users]).done();
    assert_eq!(
        (&again["changed"], &again["hosts"][0]["keys"]),
        (&json!(false), &json!(2))
    );
}

#[test]
fn a_key_that_is_still_accepted_is_no_success() {
    let stand = Stand::deployed("ubuntu", "22.04");
    let (alice, key) = stand.key_pair("alice");
    let key = format!("--key={key}");
    stand.keys(1, &["--user=3", &key]).done();
    stand.as_root(&format!(
        "sed 's/ laas-job.*/ mine/' {FILE} >/tmp/k; cat /tmp/k >>{FILE}"
    ));
    for _ in 0..2 {
        let still = stand.keys(1, &["--revoke", "--user=3", &key]).failed(1);
        assert!(
            still["error"].as_str().unwrap().contains("still accepts"),
            "{still}"
        );
        assert!(stand.logs_in(&alice));
        assert!(!stand.read(FILE).contains("laas-job"));
    }
}

#[test]
fn an_account_that_the_image_lacks_is_made() {
    let mut stand = Stand::deployed("ubuntu", "22.04");
    stand.pack.config["access"] = json!({"user": "tenants"});
    let (alice, key) = stand.key_pair("alice");
    let key = format!("--key={key}");
    assert_eq!(
        stand.keys(1, &["--revoke", "--user=3", &key]).done()["changed"],
        false
    );
    let given = stand.keys(1, &["--user=3", &key]).done();
    assert_eq!(
        (&given["changed"], &given["account"]),
        (&json!(true), &json!("tenants"))
    );
    assert!(stand.logs_in_as("tenants", &alice) && !stand.logs_in(&alice));
    stand.keys(1, &["--revoke"]).done();
    assert!(!stand.logs_in_as("tenants", &alice));
}

#[test]
fn killed_at_any_connection_it_is_finished_by_the_next_run() {
    let stand = Stand::deployed("ubuntu", "22.04");
    let (alice, key) = stand.key_pair("alice");
    let key = format!("--key={key}");
    let host = Peer::Host("pod1".to_owned());
    let mut kills = 0;
    for flags in [&[][..], &["--revoke"]] {
        let args: Vec<_> = flags.iter().copied().chain(["--user=3", &key]).collect();
        for skip in 0..2 {
            let fault = Fault {
                kind: Kind::Hang,
                skip,
                times: Some(1),
            };
            stand.lab.faults().set(host.clone(), fault).unwrap();
            let running = stand.start_keys(1, &args);
            wait_for("the fault", || stand.lab.faults().all().is_empty().then_some(()));
            running.kill();
            kills += 1;
        }
        stand.keys(1, &args).done();
        assert_eq!(stand.logs_in(&alice), flags.is_empty());
        assert_eq!(stand.keys(1, &args).done()["changed"], false);
    }
    assert_eq!(kills, 4);
}

#[test]
fn what_a_tenant_left_as_a_trap_leads_nowhere() {
    let stand = Stand::deployed("ubuntu", "22.04");
    let (_, key) = stand.key_pair("alice");
    let key = format!("--key={key}");
    let listing = || {
        stand.as_root("find /root /etc -printf '%p %s %m %U %T@\\n' >/tmp/listing");
        stand.read("/tmp/listing")
    };
    let before = listing();
    let as_tenant = "setpriv --reuid=1000 --regid=1000 --clear-groups sh -c";
    for trap in [
        "ln -s /root/.ssh .ssh",
        "mkdir .ssh; ln -s /etc/shadow .ssh/authorized_keys",
        "mkdir -p .ssh/authorized_keys/x",
    ] {
        stand.as_root(&format!("{as_tenant} 'cd /home/opnfv; rm -rf .ssh; {trap}'"));
        stand.keys(1, &["--revoke"]);
        let failure = stand.keys(1, &["--user=3", &key]).failed(1);
        assert!(
            failure["hint"].as_str().unwrap().contains("belong to"),
            "{failure}"
        );
        assert_eq!(listing(), before, "{trap}");
    }
    // A link and a pipe where the new file is written are removed.
    for trap in ["ln -s /etc/shadow", "mkfifo"] {
        let trap = format!("mkdir .ssh; {trap} .ssh/.authorized_keys.laas-new");
        stand.as_root(&format!("{as_tenant} 'cd /home/opnfv; rm -rf .ssh; {trap}'"));
        stand.keys(1, &["--user=3", &key]).done();
        assert_eq!(listing(), before, "{trap}");
    }
}

#[test]
fn hostile_input_is_refused_before_any_host_is_asked() {
    let stand = Stand::new("ubuntu", "22.04");
    let good = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
    let long = format!("{good} {}", "x".repeat(100_000));
    for key in [
        "",
        "$(touch /tmp/x)",
        "command=\"id\" ssh-ed25519 AAAA",
        "ssh-ed25519 ../../etc/passwd",
        "ssh-ed25519 'AAAA'",
        "ssh-ed25519-cert-v01@openssh.com AAAA",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
        "PuTTY-User-Key-File-3: ssh-ed25519\nPublic-Lines: 2",
        "# a comment alone",
        &long,
    ] {
        let failure = stand.keys(1, &["--user=3", &format!("--key={key}")]).failed(2);
        assert!(failure["error"].as_str().unwrap().len() < 300, "{failure}");
        assert!(failure["error"].as_str().unwrap().contains("user 3"), "{failure}");
    }
    let key = format!("--key={good}");
    for hosts in ["../pod1", "pod1\n", "$(id)", "pod1'", ""] {
        let hosts = format!("--hosts={}", json!([hosts]));
        stand.keys(1, &["--user=3", &key, &hosts]).failed(2);
    }
    stand.keys(1, &[]).failed(2);
    stand.keys(1, &["--user=-1", &key]).failed(2);
}
