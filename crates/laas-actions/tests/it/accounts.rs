//! Passwords of a host's accounts, and where a host answers.

use crate::hosts::Stand;
use crate::pack::Ended;
use laas_lab::faults::{Kind, Peer};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

impl Stand {
    fn set_password(&self, args: &[&str]) -> Ended {
        let args: Vec<_> = ["--host=pod1"].iter().chain(args).copied().collect();
        self.pack.run(env!("CARGO_BIN_EXE_set_password"), &args)
    }

    /// Whether the system's own hash is that of the password, as openssl sees it.
    fn has_password(&self, account: &str, password: &str) -> bool {
        let shadow = self.read("/etc/shadow");
        let begin = format!("{account}:");
        let line = shadow.lines().find_map(|line| line.strip_prefix(&begin)).unwrap();
        let hash = line.split(':').next().unwrap();
        let Some((salt, _)) = hash.strip_prefix("$6$").and_then(|rest| rest.split_once('$')) else {
            return false;
        };
        let mut openssl = Command::new("openssl")
            .args(["passwd", "-6", "-salt", salt, "-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        openssl
            .stdin
            .take()
            .unwrap()
            .write_all(password.as_bytes())
            .unwrap();
        let said = openssl.wait_with_output().unwrap().stdout;
        String::from_utf8(said).unwrap().trim() == hash
    }

    fn resolve(&self) -> Value {
        self.pack
            .run(env!("CARGO_BIN_EXE_resolve_host"), &["--host=pod1"])
            .done()
    }
}

#[test]
fn a_password_is_kept_before_it_is_set_and_set_once() {
    let stand = Stand::deployed("ubuntu", "22.04");
    let key = "password_pod1_opnfv";
    let set = |args: &[&str]| stand.set_password(&[&["--account=opnfv"], args].concat());
    let before = stand.read("/etc/shadow");
    assert_eq!(
        set(&["--dry_run"]).done(),
        json!({"changed": true, "password_key": key})
    );
    assert_eq!(
        (stand.read("/etc/shadow"), stand.pack.key(key)),
        (before, Value::Null)
    );

    let first = set(&[]);
    let password = stand.pack.key(key).as_str().unwrap().to_owned();
    assert!(!format!("{first:?}").contains(&password));
    assert_eq!(first.done()["changed"], true);
    assert!(stand.has_password("opnfv", &password));
    assert_eq!(set(&[]).done()["changed"], false);
    assert_eq!(set(&["--dry_run"]).done()["changed"], false);
    // Somebody sets another one, or locks the account.
    for command in ["echo opnfv:another | chpasswd", "passwd -q -l opnfv"] {
        stand.as_root(command);
        assert!(!stand.has_password("opnfv", &password));
        assert_eq!(set(&[]).done()["changed"], true);
        assert!(stand.has_password("opnfv", &password));
    }
    // As after a run that was killed before the host heard of it.
    stand.pack.set_key("password_pod1_root", &json!("Reserved4Root"));
    assert_eq!(stand.set_password(&["--account=root"]).done()["changed"], true);
    assert!(stand.has_password("root", "Reserved4Root"));

    stand.pack.set_key("console", &json!("it's $(id):\\ \"ä\""));
    let named = set(&["--password_key=console"]).done();
    assert_eq!(
        (&named["changed"], &named["password_key"]),
        (&json!(true), &json!("console"))
    );
    assert!(stand.has_password("opnfv", "it's $(id):\\ \"ä\""));
}

#[test]
fn what_is_no_account_or_no_password_is_refused() {
    let stand = Stand::deployed("ubuntu", "22.04");
    let before = stand.read("/etc/shadow");
    let unknown = stand.set_password(&["--account=nobody-here"]).failed(1);
    assert!(
        unknown["error"].as_str().unwrap().contains("nobody-here"),
        "{unknown}"
    );
    let long = "x".repeat(100_000);
    for account in ["", "root:x", "a\nroot", "$(id)", "../root", "a'", &long] {
        stand.set_password(&[&format!("--account={account}")]).failed(2);
    }
    for password in ["", "a\nroot:b", "a\u{0}b", &"x".repeat(1 << 20)] {
        stand.pack.set_key("console", &json!(password));
        stand
            .set_password(&["--account=opnfv", "--password_key=console"])
            .failed(2);
    }
    stand
        .set_password(&["--account=opnfv", "--password_key=nowhere"])
        .failed(2);
    assert_eq!(stand.read("/etc/shadow"), before);
}

#[test]
fn a_host_is_found_where_it_answers() {
    let stand = Stand::deployed("ubuntu", "22.04");
    let answer = |found: &Value, vlan: u64| {
        let places = found["places"].as_array().unwrap();
        let place = places.iter().find(|place| place["vlan"] == vlan).unwrap();
        place["answer"].as_str().unwrap().to_owned()
    };
    let found = stand.resolve();
    assert_eq!(found["address"], "127.99.0.1", "{found}");
    assert_eq!(
        (answer(&found, 99), answer(&found, 11)),
        ("host".into(), "nobody".into())
    );

    let host = Peer::Host("pod1".to_owned());
    stand
        .lab
        .faults()
        .set(host.clone(), Kind::WrongCredentials)
        .unwrap();
    let refused = stand.resolve();
    assert_eq!(
        (answer(&refused, 99).as_str(), &refused["address"]),
        ("host_refuses", &Value::Null)
    );
    stand.lab.faults().clear(&host);

    let key = stand.pack.key("ssh_host_key_pod1");
    stand.pack.set_key("ssh_host_key_pod1", &Value::Null);
    assert_eq!(answer(&stand.resolve(), 99), "stranger");
    stand.pack.set_key("ssh_host_key_pod1", &key);
    let _guard = stand.runtime.enter();
    stand.machine().set_power(false);
    let off = stand.resolve();
    assert_eq!(
        (answer(&off, 99).as_str(), &off["address"]),
        ("nobody", &Value::Null)
    );
}
