//! What root's shell prints, and what keeps a user's key from opening a session: with the host's real sshd and shells.

use crate::hosts::Stand;
use crate::pack::{Ended, wait_for};
use laas_lab::faults::{Fault, Kind, Peer};
use serde_json::json;

const FILE: &str = "/home/opnfv/.ssh/authorized_keys";
/// In the image's greeting, title and late news.
const NOISE: &str = r#"printf 'title> '; printf '\033]0;root\007'; echo 'welcome to pod1'; echo 'out of order' >&2
(for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.01; echo news; done) &
"#;

impl Stand {
    fn grant(&self, key: &str) -> Ended {
        let args = [
            "--job_id=1".to_owned(),
            "--user=3".to_owned(),
            format!("--key={key}"),
            r#"--hosts=["pod1"]"#.to_owned(),
        ];
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        self.pack.run(env!("CARGO_BIN_EXE_copy_keys"), &args)
    }

    fn revoke(&self) -> Ended {
        let args = ["--job_id=1", r#"--hosts=["pod1"]"#, "--revoke"];
        self.pack.run(env!("CARGO_BIN_EXE_copy_keys"), &args)
    }

    /// As an image that is configured so.
    fn sshd(&self, config: &str) {
        let path = self.inside("/etc/ssh/sshd_config.d/50-image.conf");
        std::fs::write(path, config).unwrap();
        self.boot();
    }

    fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{text}");
        std::fs::write(self.inside(path), text.replace(from, to)).unwrap();
    }
}

#[test]
fn what_a_shell_prints_is_never_taken_for_a_file() {
    let stand = Stand::deployed("ubuntu", "22.04");
    let (bob, bob_key) = stand.key_pair("bob");
    let (alice, alice_key) = stand.key_pair("alice");
    // Without a line end, so that whatever comes before it makes another key of it.
    stand.as_root("install -d -o opnfv -g opnfv -m 0700 /home/opnfv/.ssh");
    std::fs::write(stand.inside(FILE), bob_key.trim_end()).unwrap();
    std::fs::write(stand.inside("/root/.bashrc"), NOISE).unwrap();
    std::fs::write(stand.inside("/home/opnfv/.bashrc"), NOISE).unwrap();

    stand.grant(&alice_key).done();
    assert_eq!(stand.grant(&alice_key).done()["changed"], false);
    assert!(stand.logs_in(&alice) && stand.logs_in(&bob));
    let file = stand.read(FILE);
    assert_eq!(
        (file.lines().count(), file.contains("welcome")),
        (2, false),
        "{file}"
    );

    for name in ["jump", "jump2", "jump"] {
        assert_eq!(stand.set_hostname(name).done()["changed"], true);
        assert_eq!(stand.set_hostname(name).done()["changed"], false);
    }
    let hosts = stand.read("/etc/hosts");
    assert_eq!(
        (hosts.lines().count(), hosts.contains("news")),
        (3, false),
        "{hosts}"
    );
    stand.host_network(&[]).done();
    assert_eq!(stand.host_network(&[]).done()["changed"], false);

    stand.revoke().done();
    assert!(!stand.logs_in(&alice) && stand.logs_in(&bob));
}

#[test]
fn a_shell_that_runs_no_command_is_refused_before_anything_is_written() {
    let stand = Stand::deployed("ubuntu", "22.04");
    let (_, key) = stand.key_pair("alice");
    for bashrc in ["echo 'ask the admin'; exit 0", "exec cat /etc/hostname"] {
        std::fs::write(stand.inside("/root/.bashrc"), bashrc).unwrap();
        let before = stand.listing();
        for ended in [
            stand.grant(&key),
            stand.set_hostname("jump"),
            stand.host_network(&[]),
        ] {
            let refused = ended.failed(1);
            let error = refused["error"].as_str().unwrap();
            assert!(error.contains("runs no command"), "{refused}");
            assert!(
                error.contains("ask the admin") || error.contains("ubuntu"),
                "{refused}"
            );
            assert!(
                refused["hint"].as_str().unwrap().contains("start-up files"),
                "{refused}"
            );
        }
        assert_eq!(stand.listing(), before);
        assert_eq!(stand.read(FILE), "");
    }
}

#[test]
fn a_key_works_when_a_session_with_it_works() {
    let stand = Stand::deployed("ubuntu", "22.04");
    let (alice, key) = stand.key_pair("alice");
    let only = |setting: &str| format!("Match User opnfv\n    {setting}\n");
    let refused = |said: &str| {
        let failure = stand.grant(&key).failed(1);
        assert!(failure.to_string().contains(said), "{failure}");
        assert!(!stand.logs_in(&alice), "{said}");
        assert!(!stand.read(FILE).contains("laas-login-trial"));
    };
    stand.sshd(&format!(
        "PasswordAuthentication yes\n{}",
        only("AuthenticationMethods publickey,password")
    ));
    refused("AuthenticationMethods");
    stand.sshd(&only("ForceCommand /bin/echo come back tomorrow"));
    let failure = stand.grant(&key).failed(1);
    assert!(failure.to_string().contains("come back tomorrow"), "{failure}");
    stand.sshd("DenyUsers opnfv\n");
    refused("AllowUsers");
    stand.sshd("");
    stand.edit(
        "/etc/passwd",
        ":/home/opnfv:/bin/bash",
        ":/home/opnfv:/usr/sbin/nologin",
    );
    refused("nologin");
    stand.edit(
        "/etc/passwd",
        ":/home/opnfv:/usr/sbin/nologin",
        ":/home/opnfv:/bin/bash",
    );
    // Days since 1970.
    stand.edit(
        "/etc/shadow",
        "opnfv:*:19000:0:99999:7:::",
        "opnfv:*:19000:0:99999:7::1:",
    );
    refused("expired");
    stand.edit(
        "/etc/shadow",
        "opnfv:*:19000:0:99999:7::1:",
        "opnfv:*:19000:0:99999:7:::",
    );
    std::fs::write(stand.inside("/etc/nologin"), "closed today\n").unwrap();
    refused("nologin");
    std::fs::remove_file(stand.inside("/etc/nologin")).unwrap();

    stand.grant(&key).done();
    assert!(stand.logs_in(&alice));
    assert_eq!(stand.grant(&key).done()["changed"], false);
    assert!(!stand.read(FILE).contains("laas-login-trial"));
}

#[test]
fn a_trials_key_never_outlives_its_run() {
    let stand = Stand::deployed("ubuntu", "22.04");
    let (alice, key) = stand.key_pair("alice");
    let (left, left_key) = stand.key_pair("left");
    // The connections of a run: root's, the trial's, and one for each key that is tried.
    let mut seen = 0;
    for skip in 0..4 {
        let fault = Fault {
            kind: Kind::Hang,
            skip,
            times: Some(1),
        };
        stand
            .lab
            .faults()
            .set(Peer::Host("pod1".to_owned()), fault)
            .unwrap();
        let args = [
            "--job_id=1",
            "--user=3",
            &format!("--key={key}"),
            r#"--hosts=["pod1"]"#,
        ];
        let running = stand.pack.start(env!("CARGO_BIN_EXE_copy_keys"), &args);
        wait_for("the fault", || stand.lab.faults().all().is_empty().then_some(()));
        running.kill();
        seen += usize::from(stand.read(FILE).contains("laas-login-trial"));
        if skip % 2 == 0 {
            stand.grant(&key).done();
        } else {
            stand.revoke().done();
        }
        assert!(!stand.read(FILE).contains("laas-login-trial"), "{skip}");
        assert_eq!(stand.logs_in(&alice), skip % 2 == 0);
    }
    assert_eq!(seen, 1, "one of the kills was in the middle of a trial");
    // Also one that somebody could use.
    let words: Vec<_> = left_key.split(' ').collect();
    let line = format!("restrict {} {} laas-login-trial", words[0], words[1]);
    stand.as_root(&format!("echo '{line}' >>{FILE}"));
    assert!(stand.logs_in(&left));
    let taken = stand.revoke().done();
    assert_eq!(taken["hosts"][0]["keys"], 1, "it is tried: {taken}");
    assert!(!stand.logs_in(&left));
}

#[test]
fn the_first_refusal_may_be_the_last() {
    let stand = Stand::deployed("ubuntu", "22.04");
    stand.sshd("MaxAuthTries 1\n");
    let (alice, key) = stand.key_pair("alice");
    stand.grant(&key).done();
    assert!(stand.logs_in(&alice));
    assert_eq!(stand.revoke().done()["hosts"][0]["keys"], 1);
    assert!(!stand.logs_in(&alice));
}

#[test]
fn servers_of_another_age_say_what_is_missing() {
    let stand = Stand::deployed("ubuntu", "22.04");
    for (config, kind, theirs) in [
        (
            "KexAlgorithms sntrup761x25519-sha512@openssh.com\n",
            "key exchange",
            "sntrup761x25519-sha512@openssh.com",
        ),
        ("Ciphers 3des-cbc\n", "cipher", "3des-cbc"),
    ] {
        stand.sshd(config);
        let failure = stand.set_hostname("jump").failed(1);
        let error = failure["error"].as_str().unwrap();
        assert!(error.contains("no algorithm in common"), "{failure}");
        assert!(error.contains(kind) && error.contains(theirs), "{failure}");
        assert!(
            error.contains("aes") || error.contains("curve25519"),
            "the pack's, too: {failure}"
        );
    }
}

#[test]
fn of_an_upload_every_key_that_can_be_used_is_given_and_taken_away() {
    let stand = Stand::deployed("ubuntu", "22.04");
    let (alice, alice_key) = stand.key_pair("alice");
    let (work, work_key) = stand.key_pair("work");
    let secret = std::fs::read_to_string(&work).unwrap();
    let upload = format!("\u{feff}# mine\r\n{alice_key}\r\nssh-dss AAAA old\r\n{work_key}\r\n");
    let given = stand.grant(&upload).done();
    assert_eq!(given["hosts"][0]["keys"], 2, "{given}");
    assert_eq!(given["unusable"].as_array().unwrap().len(), 1);
    assert!(
        given["unusable"][0]["why"].as_str().unwrap().contains("ssh-dss"),
        "{given}"
    );
    assert!(stand.logs_in(&alice) && stand.logs_in(&work));
    assert_eq!(stand.grant(&upload).done()["changed"], false);
    assert_eq!(stand.revoke().done()["hosts"][0]["keys"], 2);
    assert!(!stand.logs_in(&alice) && !stand.logs_in(&work));

    let failure = stand.grant(&secret).failed(2);
    assert_eq!(failure["peer"], "key");
    let error = failure["error"].as_str().unwrap();
    assert!(
        error.contains("user 3") && error.contains("compromised"),
        "{failure}"
    );
    let inside = secret.lines().nth(1).unwrap();
    assert!(!failure.to_string().contains(inside));

    // A type that this server does not take is the user's to change: others are let in.
    stand.sshd("PubkeyAcceptedAlgorithms -ecdsa*\n");
    let path = stand.lab.directory().join("ecdsa");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ecdsa", "-N", "", "-f"])
        .arg(&path)
        .status();
    assert!(made.unwrap().success());
    let ecdsa = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    let failure = stand.grant(&ecdsa).failed(1);
    assert_eq!(failure["peer"], "key", "{failure}");
    let both = stand.grant(&format!("{ecdsa}{alice_key}")).done();
    assert_eq!(
        (
            &both["hosts"][0]["keys"],
            both["unusable"].as_array().unwrap().len()
        ),
        (&json!(1), 1)
    );
    assert!(stand.logs_in(&alice));
}
