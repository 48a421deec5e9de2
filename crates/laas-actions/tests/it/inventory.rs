//! What a person writes about the lab: checked, made into keys and back, and loaded.

use crate::pack::{Ended, Pack};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const INVENTORY: &str = env!("CARGO_BIN_EXE_inventory");

struct Desk {
    dir: TempDir,
    pack: Pack,
}

impl Desk {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            pack: Pack::new(json!({}), &[]),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Words like `file=x` name files on this desk.
    fn run(&self, command: &str, files: &[&str]) -> Ended {
        let mut args = vec![format!("--command={command}")];
        args.extend(files.iter().map(|word| match word.split_once('=') {
            Some((flag, name)) => format!("--{flag}={}", self.path(name).display()),
            None => format!("--{word}"),
        }));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.pack.run(INVENTORY, &args)
    }

    fn mistakes(&self, file: &str) -> Vec<Value> {
        let failed = self.run("check", &[&format!("file={file}")]).failed(2);
        failed["mistakes"].as_array().unwrap().clone()
    }
}

fn example(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(name)).unwrap()
}

/// The keys of a file, with the values as JSON where they are.
fn keys(text: &str) -> Vec<(String, Value)> {
    let entries: Vec<Value> = serde_json::from_str(text).unwrap();
    let value = |entry: &Value| {
        let text = entry["value"].as_str().unwrap();
        serde_json::from_str(text).unwrap_or_else(|_| json!(text))
    };
    let pair = |entry: &Value| (entry["name"].as_str().unwrap().to_owned(), value(entry));
    entries.iter().map(pair).collect()
}

#[test]
fn the_two_examples_are_the_same_lab() {
    let desk = Desk::new();
    desk.write("inventory.yaml", &example("inventory.yaml.example"));
    let files = ["file=inventory.yaml", "output=hosts.json", "secrets=s.json"];
    let done = desk.run("encode", &[&files[..], &["dry_run"]].concat()).done();
    assert_eq!(
        (&done["changed"], desk.path("hosts.json").exists()),
        (&json!(true), false)
    );
    let done = desk.run("encode", &files).done();
    assert_eq!(done["to_be_set"], json!(["bmc_admin_pod2"]));
    assert_eq!(
        keys(&desk.read("hosts.json")),
        keys(&example("hosts.json.example"))
    );
    let secrets = keys(&desk.read("s.json"));
    let names: Vec<_> = secrets.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "bmc_admin_pod1",
            "fog_api_key",
            "fog_user_key",
            "lab_auth_token",
            "ldap_password",
            "switch_10.10.10.10"
        ]
    );
    let mode = |name: &str| std::fs::metadata(desk.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("s.json"), mode("hosts.json")), (0o600, 0o644));
    assert!(!desk.read("hosts.json").contains("change me"));
    assert_eq!(desk.run("encode", &files).done()["changed"], false);

    // The way back, and forth again.
    let back = ["file=hosts.json", "secrets=s.json", "output=back.yaml"];
    desk.run("decode", &back).done();
    assert_eq!(mode("back.yaml"), 0o600);
    assert_eq!(desk.run("decode", &back).done()["changed"], false);
    let (hosts, secrets) = (desk.read("hosts.json"), desk.read("s.json"));
    let again = ["file=back.yaml", "output=hosts.json", "secrets=s.json"];
    assert_eq!(
        desk.run("encode", &again).done()["changed"],
        false,
        "{}",
        desk.read("back.yaml")
    );
    assert_eq!((hosts, secrets), (desk.read("hosts.json"), desk.read("s.json")));
}

#[test]
fn a_mistake_in_the_yaml_has_its_line() {
    let desk = Desk::new();
    let good = example("inventory.yaml.example");
    desk.write("good.yaml", &good);
    desk.run("check", &["file=good.yaml"]).done();
    let images = "    ubuntu_image: 17\n    centos_image: 22\n    suse_image: 21\n";
    // What is written instead of what, the line that has the mistake then, and words of it.
    for (from, to, place, words) in [
        (
            "02:56",
            "01:55",
            "eno50, mac: \"00:11:22:33:01:55",
            "host `pod1` has it in line 17",
        ),
        (
            "\"00:11:22:33:02:56\"",
            "00-11-22-33-01-55",
            "00-11-22-33-01-55",
            "`00:11:22:33:01:55` is used twice",
        ),
        (
            "1/45",
            "1/34",
            "02:56",
            "the port `Ethernet1/34 of 10.10.10.10` is used twice",
        ),
        (
            "Ethernet1/45",
            "\"1/45; reload\"",
            "reload",
            "no name of a switch port",
        ),
        (
            "10.10.10.10, port: Ethernet1/45",
            "10.10.10.11, port: Ethernet1/45",
            "10.10.10.11",
            "unknown switch",
        ),
        (
            "vm-1.2",
            "vm-1.1",
            "    fog_name: vm-1.1\n",
            "FOG's name `vm-1.1` is used twice",
        ),
        (
            "dashboard_id: 2",
            "dashboard_id: 1 ",
            "dashboard_id: 1 \n",
            "dashboard's id `1` is used twice",
        ),
        (
            "10.2.0.2",
            "10.2.0.1",
            "address: 10.2.0.1, user: ADMIN, cipher",
            "BMC's address `10.2.0.1` is used twice",
        ),
        (
            "    fog_name: vm-1.2\n",
            "",
            "  pod2:",
            "host `pod2` has no `fog_name`",
        ),
        ("fog_name: vm-1.2", "fog_name:", "  pod2:", "has no `fog_name`"),
        (
            "fog_name: vm-1.2",
            "fogname: vm-1.2",
            "fogname",
            "unknown `fogname`",
        ),
        (images, "", "  pod2:", "`pod2` has no image"),
        (
            "suse_image: 21\n",
            "suse_image: \"suse\"\n",
            "suse_image: \"suse\"",
            "without quotes",
        ),
        (
            "suse_image: 21\n",
            "suse_image: \"21\"\n",
            "suse_image: \"21\"",
            "without quotes",
        ),
        (
            "02:55",
            "02",
            "name: eno49, mac: \"00:11:22:33:02\"",
            "MAC address",
        ),
        (
            "eno50, mac: \"00:11:22:33:02",
            "a-name-that-is-too-long, mac: \"00:11:22:33:02",
            "a-name",
            "network interface",
        ),
        ("{99: 10.1.0.2", "{5000: 10.1.0.2", "5000", "VLAN"),
        (
            "driver: nxos",
            "driver: ios",
            "driver: ios",
            "`ios` is not `nxos` or `eos`",
        ),
        ("  pod2:", "  pod 2:", "  pod 2:", "host name"),
        (
            "  pod2:",
            "  pod1: ",
            "  pod1: ",
            "`pod1` stands in line 9 already",
        ),
        ("secrets:", "secret:", "secret:", "an inventory has no `secret`"),
        (
            "lab_auth_token: \"change me\"",
            "lab_auth_token:",
            "  lab_auth_token:",
            "has no value",
        ),
        ("  pod2:", "  pod2: &pod2", "&pod2", "anchors"),
        (
            "cipher: 17}\n\n",
            "cipher: seventeen}\n\n",
            "seventeen",
            "cipher suite",
        ),
        ("  pod2:", "  pod2", "    dashboard_id: 2", "no YAML"),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        desk.write("bad.yaml", &text);
        let line = text[..text.find(place).unwrap()].matches('\n').count() + 1;
        let mistakes = desk.mistakes("bad.yaml");
        let is_it = |m: &Value| m["line"] == line && m["what"].as_str().unwrap().contains(words);
        assert!(mistakes.iter().any(is_it), "{to}, line {line}: {mistakes:#?}");
    }
    desk.write("empty.yaml", "");
    assert!(
        desk.mistakes("empty.yaml")[0]["what"]
            .as_str()
            .unwrap()
            .contains("no host")
    );
    // Nothing comes of a file with mistakes.
    for command in ["encode", "diff", "load"] {
        desk.run(command, &["file=bad.yaml", "output=x.json"]).failed(2);
    }
    assert!(desk.pack.keys().is_empty() && !desk.path("x.json").exists());
}

#[test]
fn a_mistake_in_the_keys_has_its_line() {
    let desk = Desk::new();
    let good = example("hosts.json.example");
    desk.write("good.json", &good);
    let done = desk.run("check", &["file=good.json"]).done();
    assert_eq!(
        (&done["hosts"], done["to_be_set"].as_array().unwrap().len()),
        (&json!(2), 4)
    );
    // Tabs are JSON, though not YAML.
    desk.write("tabs.json", &good.replace("    ", "\t"));
    desk.run("check", &["file=tabs.json"]).done();
    let switch = |value: &str| {
        let entry = json!({"name": "switch_10.10.10.11", "value": value, "secret": true});
        (
            "  {\n    \"name\": \"hosts\"".to_owned(),
            format!("  {entry},\n  {{\n    \"name\": \"hosts\""),
        )
    };
    let plain = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    for ((from, to), line, words) in [
        (
            plain("00:11:22:33:02:55", "00:11:22:33:01:55"),
            8,
            "has another `mac`",
        ),
        (
            plain(
                "\\\"00:11:22:33:02:55\\\": {\\\"mac\\\": \\\"00:11:22:33:02:55",
                "\\\"00:11:22:33:01:55\\\": {\\\"mac\\\": \\\"00:11:22:33:01:55",
            ),
            8,
            "used twice: host `pod1` has it in line 4",
        ),
        (
            plain("Ethernet1/35", "Ethernet1/34"),
            8,
            "the port `Ethernet1/34 of 10.10.10.10` is used twice",
        ),
        (
            plain("[\\\"pod1\\\", \\\"pod2\\\"]", "[\\\"pod1\\\"]"),
            8,
            "host `pod2` is not in `hosts`",
        ),
        (
            plain(
                "[\\\"pod1\\\", \\\"pod2\\\"]",
                "[\\\"pod1\\\", \\\"pod2\\\", \\\"pod3\\\"]",
            ),
            12,
            "`pod3`, which has no entry",
        ),
        (plain("[\\\"pod1\\\", \\\"pod2\\\"]", "pod1"), 12, "no JSON"),
        (
            plain("\"name\": \"hosts\"", "\"name\": \"host\""),
            1,
            "no `hosts`",
        ),
        (
            plain("\"name\": \"pod2\"", "\"name\": \"pod1\""),
            8,
            "stands in line 4 already",
        ),
        (
            plain("\\\"fog_name\\\": \\\"vm-1.2\\\"", "\\\"fog_name\\\": 12"),
            8,
            "`fog_name` of host `pod2` is no text",
        ),
        (
            plain(
                "\\\"ubuntu_image\\\": 17, \\\"centos_image\\\": 22, \\\"suse_image\\\": 21, ",
                "",
            ),
            4,
            "`pod1` has no image",
        ),
        (
            plain("\\\"ubuntu_image\\\": 17", "\\\"ubuntu_image\\\": \\\"17\\\""),
            4,
            "without quotes",
        ),
        (
            plain("\\\"dashboard_id\\\": 2,", "\\\"dashboard_id\\\": 2"),
            8,
            "value of `pod2` is no JSON",
        ),
        (
            plain(
                "  },\n  {\n    \"name\": \"pod2\"",
                "  }\n  {\n    \"name\": \"pod2\"",
            ),
            6,
            "no JSON",
        ),
        (
            plain("\"value\": \"[", "\"valve\": \"["),
            10,
            "wants `name` and `value`",
        ),
        (
            switch(r#"{"user": "admin", "password": "hunter2"}"#),
            4,
            "unknown switch `10.10.10.10`",
        ),
        (
            switch(r#"{"user": "admin", "password": hunter2}"#),
            10,
            "value of `switch_10.10.10.11` is no JSON",
        ),
    ] {
        let text = good.replacen(&from, &to, 1);
        assert_ne!(text, good, "{from}");
        desk.write("bad.json", &text);
        let mistakes = desk.mistakes("bad.json");
        assert!(
            mistakes
                .iter()
                .any(|m| m["line"] == line && m["what"].as_str().unwrap().contains(words)),
            "{to}: {mistakes:#?}"
        );
        assert!(!json!(mistakes).to_string().contains("hunter2"));
    }
}

#[test]
fn what_differs_is_loaded_once_and_never_shown() {
    let desk = Desk::new();
    let text = example("inventory.yaml.example").replace("change me", "hunter2");
    desk.write("inventory.yaml", &text);
    let all = [
        "bmc_admin_pod1",
        "fog_api_key",
        "fog_user_key",
        "hosts",
        "lab_auth_token",
        "ldap_password",
        "pod1",
        "pod2",
        "switch_10.10.10.10",
    ];
    let differing = |ended: Ended| {
        let said = format!("{ended:?}");
        assert!(!said.contains("hunter2"), "{said}");
        let done = ended.done();
        let found = done["differences"].as_array().cloned().unwrap_or_default();
        let mut found: Vec<_> = found
            .iter()
            .map(|d| {
                (
                    d["key"].as_str().unwrap().to_owned(),
                    d["state"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        found.sort();
        (done["changed"].as_bool().unwrap(), found)
    };
    let missing: Vec<_> = all.map(|key| (key.to_owned(), "missing".to_owned())).to_vec();
    let file = "file=inventory.yaml";
    assert_eq!(differing(desk.run("diff", &[file])), (false, missing.clone()));
    assert_eq!(
        differing(desk.run("load", &[file, "dry_run"])),
        (true, missing.clone())
    );
    assert!(desk.pack.keys().is_empty());
    assert_eq!(differing(desk.run("load", &[file])), (true, missing));
    assert_eq!(differing(desk.run("load", &[file])), (false, vec![]));
    assert_eq!(differing(desk.run("diff", &[file])), (false, vec![]));

    // `set_key` rewrites the file without the marks of secrets.
    desk.pack.set_key("hosts", &json!(["pod1", "pod2", "pod9"]));
    desk.pack.set_key("lab_auth_token", &json!("hunter22"));
    let pair = |key: &str, state: &str| (key.to_owned(), state.to_owned());
    let expected = vec![
        pair("bmc_admin_pod1", "not_encrypted"),
        pair("fog_api_key", "not_encrypted"),
        pair("fog_user_key", "not_encrypted"),
        pair("hosts", "different"),
        pair("lab_auth_token", "different"),
        pair("ldap_password", "not_encrypted"),
        pair("pod9", "extra"),
        pair("switch_10.10.10.10", "not_encrypted"),
    ];
    assert_eq!(differing(desk.run("diff", &[file])), (false, expected.clone()));
    assert_eq!(differing(desk.run("load", &[file])), (true, expected));
    assert_eq!(differing(desk.run("diff", &[file])), (false, vec![]));

    // A datastore that is a file is never overwritten by what is made of the YAML.
    desk.write(
        "hosts.json",
        r#"[{"name": "hosts", "value": "[]"}, {"name": "task_17", "value": "{}"}]"#,
    );
    let refused = desk.run("encode", &[file, "output=hosts.json"]).failed(2);
    assert!(
        refused["error"].as_str().unwrap().contains("task_17"),
        "{refused}"
    );
}

#[test]
fn no_host_is_called_like_a_key_of_something_else() {
    let desk = Desk::new();
    let card = |number: u8| json!({"name": "eno1", "mac": format!("00:11:22:33:01:0{number}"), "switch": "10.0.0.1", "port": format!("Ethernet1/{number}")});
    let lab = |names: &[&str]| {
        let host = |(number, name): (u8, &&str)| {
            let host = json!({"fog_name": format!("f{number}"), "hostname": "127.0.0.1", "ubuntu_image": 17, "interfaces": [card(number)]});
            ((*name).to_owned(), host)
        };
        let hosts: serde_json::Map<_, _> = (1..).zip(names).map(host).collect();
        json!({"hosts": hosts, "switches": {"10.0.0.1": {"driver": "nxos", "user": "admin", "password": "x"}}})
    };
    for (names, refused) in [
        (&["hosts"][..], "`hosts`"),
        (&["pod1", "before_pod1"], "`before_`"),
        (&["pod1", "switch_x"], "`switch_`"),
        (&["pod1", "task_x"], "`task_`"),
        (&["pod1", "lab_auth_token"], "`lab_auth_token`"),
        (&["pod1", "password_pod1_root"], "`password_`"),
        (&["a", "a_b"], "the passwords of the hosts `a_b` and `a`"),
    ] {
        let written = lab(names);
        desk.write("bad.yaml", &written.to_string());
        // And as the keys of a datastore.
        let entries = written["hosts"].as_object().unwrap().iter().map(|(name, host)| {
            let mut host = host.clone();
            let card = host["interfaces"][0].clone();
            host["interfaces"] = json!({card["mac"].as_str().unwrap(): card});
            json!({"name": name, "value": host.to_string()})
        });
        let mut entries: Vec<_> = entries.collect();
        if names != ["hosts"] {
            entries.push(json!({"name": "hosts", "value": json!(names).to_string()}));
        }
        desk.write("bad.json", &Value::from(entries).to_string());
        for file in ["bad.yaml", "bad.json"] {
            let mistakes = desk.mistakes(file);
            let is_it = |m: &Value| m["what"].as_str().unwrap().contains(refused);
            // Of the list itself nothing is left there.
            let found = mistakes.iter().any(is_it) || (file, names) == ("bad.json", &["hosts"][..]);
            assert!(found, "{file} {names:?}: {mistakes:#?}");
            for command in ["encode", "load"] {
                desk.run(command, &[&format!("file={file}"), "output=x.json"])
                    .failed(2);
            }
        }
        assert!(desk.pack.keys().is_empty() && !desk.path("x.json").exists());
    }
    desk.write("good.yaml", &lab(&["pod", "pod_1", "imaged"]).to_string());
    desk.run("check", &["file=good.yaml"]).done();
    // What the pack writes itself is no place for a password.
    for key in ["bmc_user_pod1", "before_pod1", "task_x"] {
        let mut wrong = lab(&["pod1"]);
        wrong["hosts"]["pod1"]["bmc"] = json!({"address": "10.2.0.1", "user": "ADMIN", "password_key": key});
        desk.write("bad.yaml", &wrong.to_string());
        let mistakes = desk.mistakes("bad.yaml");
        assert!(
            mistakes[0]["what"]
                .as_str()
                .unwrap()
                .contains("is the key of something else"),
            "{mistakes:?}"
        );
    }
}

#[test]
fn no_action_works_where_a_host_is_called_like_a_record() {
    let host = |name: &str| json!({"fog_name": name, "hostname": "127.77.0.1"});
    let keys = [
        ("hosts", json!(["pod1", "before_pod1"])),
        ("pod1", host("one")),
        ("before_pod1", host("two")),
    ];
    let pack = Pack::new(json!({"timing": {"call": 3}}), &keys);
    let planned = r#"--hosts=[{"host": "pod1", "hardware": {"request": "by-hand"}}]"#;
    let all = [
        (env!("CARGO_BIN_EXE_note_systems"), planned),
        (env!("CARGO_BIN_EXE_resolve_host"), "--host=pod1"),
        (env!("CARGO_BIN_EXE_resolve_host"), "--host=before_pod1"),
        (env!("CARGO_BIN_EXE_bmc_info"), "--host=pod1"),
        (env!("CARGO_BIN_EXE_switch_show"), r#"--hosts=["pod1"]"#),
        (env!("CARGO_BIN_EXE_switch_show"), ""),
    ];
    for (executable, arg) in all {
        let args: Vec<_> = [arg].into_iter().filter(|arg| !arg.is_empty()).collect();
        let failed = pack.run(executable, &args).failed(2);
        let error = failed["error"].as_str().unwrap();
        assert!(
            error.contains("no host can be called `before_pod1`"),
            "{executable}: {failed}"
        );
    }
    assert_eq!(pack.key("before_pod1"), host("two"));
    let found = pack.run(env!("CARGO_BIN_EXE_doctor"), &[]).document;
    let findings = found["findings"].as_array().unwrap();
    let is_it = |f: &Value| {
        f["what"]
            .as_str()
            .is_some_and(|what| what.contains("`before_pod1`: keys"))
    };
    assert!(findings.iter().any(is_it), "{found:#}");
}

#[test]
fn no_password_is_that_of_two_hosts() {
    let host = |name: &str| json!({"fog_name": name, "hostname": "127.77.0.1"});
    let keys = [
        ("hosts", json!(["a", "a_b"])),
        ("a", host("a")),
        ("a_b", host("b")),
    ];
    let key = json!({"type": "ssh-ed25519", "key": "AAAA", "fingerprint": "x", "request": "x"});
    let pack = Pack::new(json!({"timing": {"call": 3}}), &keys);
    pack.set_key("ssh_host_key_a", &key);
    let failed = pack.run(env!("CARGO_BIN_EXE_set_password"), &["--host=a", "--account=b_c"]);
    let failed = failed.failed(2);
    assert!(
        failed["error"].as_str().unwrap().contains("of `a_b` as well"),
        "{failed}"
    );
    assert!(pack.keys().iter().all(|(name, _)| !name.starts_with("password_")));
}
