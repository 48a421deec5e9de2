//! `setup.sh` and `update.sh` with the real `st2` client: what is there after each run, however it ended.

mod machine;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use reqwest::Method;
use serde_json::json;

use machine::{Machine, write_executable};

const SECRETS: &str = r#"[{"name": "lab_auth_token", "value": "t0ken-0f-the-lab", "secret": true}]"#;

#[test]
fn a_second_setup_changes_nothing() {
    let machine = Machine::new();
    fs::copy(
        machine.site.path("checkout/hosts.json.example"),
        machine.site.path("checkout/hosts.json"),
    )
    .unwrap();
    machine.write("checkout/secrets.json", SECRETS);
    fs::set_permissions(
        machine.site.path("checkout/secrets.json"),
        Permissions::from_mode(0o600),
    )
    .unwrap();

    let first = machine
        .run("setup.sh", &[])
        .with(0, &["is installed", "- fill in"]);
    assert!(!first.text.contains("t0ken"), "{}", first.text);
    let (_, actions) = machine.server.get("/v1/actions?pack=laas");
    assert!(actions.as_array().unwrap().len() > 20, "{actions}");
    let (_, aliases) = machine.server.get("/v1/actionalias?pack=laas");
    assert!(
        aliases.to_string().contains("power {{ command }} {{ host }}"),
        "{aliases}"
    );
    let token = machine.key("lab_auth_token");
    assert_eq!(
        (&token["value"], &token["secret"]),
        (&json!("t0ken-0f-the-lab"), &json!(true))
    );
    assert!(machine.key("hosts")["value"].as_str().unwrap().contains("pod1"));
    assert_eq!(
        machine.read("configs/laas.yaml"),
        machine.read("checkout/laas.yaml.example")
    );
    let mode = |path: &str| fs::metadata(machine.site.path(path)).unwrap().mode() & 0o777;
    assert_eq!(mode("configs/laas.yaml") & 0o7, 0, "others may not read it");
    assert_eq!(mode("packs/laas/actions/bin/ipmi_power"), 0o775);
    assert!(machine.exists("packs/laas/actions/workflows/fulfill_job.yaml"));
    assert!(!machine.exists("packs/laas/hosts.json") && !machine.exists("packs/laas/crates"));
    let python = machine.site.path("virtualenvs/laas/bin/python");
    assert!(
        Command::new(python)
            .args(["-c", "import json"])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(machine.leftovers(), [""; 0]);

    let inode = |path: &str| fs::metadata(machine.site.path(path)).unwrap().ino();
    let inodes = || ["packs/laas", "virtualenvs/laas/pyvenv.cfg", "configs/laas.yaml"].map(inode);
    let before = inodes();
    let filled_in = machine.read("configs/laas.yaml").replace("UNH_IOL", "our_lab");
    machine.write("configs/laas.yaml", &filled_in);
    machine
        .run("setup.sh", &["--bin", "../checkout/target/release"])
        .with(0, &["is up to date", "next: st2 sensor list"]);
    assert_eq!(inodes(), before);
    assert_eq!(machine.read("configs/laas.yaml"), filled_in);
    let (_, config) = machine.server.get("/v1/configs/laas");
    assert_eq!(
        config["values"]["dashboard"]["lab_name"], "our_lab",
        "it was registered anew"
    );

    let doctor = machine.site.path("checkout/target/release/doctor");
    write_executable(&doctor, "#!/bin/sh\necho '{\"error\": \"FOG is ill\"}'\nexit 1\n");
    machine
        .run("update.sh", &["--no-git", "--bin", "../checkout/target/release"])
        .with(1, &["is installed in", "FOG is ill", "but laas.doctor has found"]);
}

#[test]
fn everything_that_is_missing_is_said_at_once_and_nothing_is_done() {
    let machine = Machine::new();
    machine.write("checkout/hosts.json", "[{\"name\": \"pod1\"}]");
    machine.write(
        "checkout/secrets.json",
        r#"[{"name": "lab_auth_token", "value": "t0ken"}]"#,
    );
    fs::set_permissions(
        machine.site.path("checkout/secrets.json"),
        Permissions::from_mode(0o644),
    )
    .unwrap();
    fs::create_dir(machine.site.path("executables")).unwrap();
    write_executable(&machine.site.path("executables/ipmi_power"), "#!/bin/sh\n");
    let mut command = machine.command(
        "setup.sh",
        &["--bin", machine.site.path("executables").to_str().unwrap()],
    );
    command
        .env("ST2_VIRTUALENVS", machine.site.path("nowhere"))
        .env("ST2_API_KEY", "wrong");
    let said = machine::ended(&command.output().unwrap()).with(
        2,
        &[
            "hosts.json: entry 1 needs a name and a value",
            "chmod 600 secrets.json",
            "lab_auth_token needs \"secret\": true",
            "executables/fog_image`",
            "nowhere`",
            "does not let `st2` in",
        ],
    );
    assert!(
        !said.text.contains("t0ken") && !said.text.contains("executables/ipmi_power"),
        "{}",
        said.text
    );
    assert!(!machine.exists("packs/laas") && !machine.exists("configs/laas.yaml"));

    for file in ["hosts.json", "secrets.json"] {
        fs::remove_file(machine.site.path("checkout").join(file)).unwrap();
    }
    machine
        .run("setup.sh", &["--dry-run"])
        .with(0, &["would install", "would put the example"]);
    machine.write("home/no-toolchain", "");
    machine.run("setup.sh", &["--dry-run"]).with(
        2,
        &["`cargo` does not run: error: rustup could not choose a version"],
    );
    fs::remove_file(machine.site.path("home/no-toolchain")).unwrap();
    machine
        .run("setup.sh", &["--no-such-option"])
        .with(2, &["--help"]);
    machine
        .run("setup.sh", &["--help"])
        .with(0, &["usage: ./setup.sh"]);
    assert!(!machine.exists("packs/laas") && !machine.exists("virtualenvs/laas"));
    assert_eq!(machine.leftovers(), [""; 0]);
}

#[test]
fn what_cannot_be_built_or_registered_leaves_what_ran_before() {
    let machine = Machine::new();
    let broken = "x\nnonsense: 1";
    let both = |text: &str| (Some(text.to_string()), Some(text.to_string()));

    machine.describe(broken);
    machine.run("setup.sh", &[]).with(
        1,
        &[
            "refuses to register",
            "has no `nonsense`",
            "the pack is not installed",
        ],
    );
    assert_eq!(machine.descriptions(), (None, None));
    assert_eq!(machine.leftovers(), [""; 0]);
    machine
        .run("update.sh", &["--no-git"])
        .with(2, &["run ./setup.sh first"]);

    machine.clone_of_origin();
    machine.describe("first");
    machine.run("setup.sh", &[]).with(0, &["is installed"]);
    assert_eq!(machine.descriptions(), both("first"));

    machine.describe("second");
    machine.write("home/broken", "");
    machine
        .run("update.sh", &["--no-git"])
        .with(1, &["could not compile", "stays as it is"]);
    assert_eq!(machine.descriptions(), both("first"));
    fs::remove_file(machine.site.path("home/broken")).unwrap();

    machine.describe(broken);
    machine
        .run("update.sh", &["--no-git"])
        .with(1, &["refuses to register", "that was there before is back"]);
    assert_eq!(machine.descriptions(), both("first"));
    assert_eq!(machine.leftovers(), [""; 0]);

    machine.fetchable("third");
    machine.run("update.sh", &[]).with(0, &["is installed"]);
    assert_eq!(machine.descriptions(), both("third"));
    machine.run("update.sh", &[]).with(0, &["is up to date"]);
}

#[test]
fn whatever_moment_ctrl_c_comes_the_state_is_the_old_or_the_new() {
    let machine = Machine::new();
    let both = |text: &str| (Some(text.to_string()), Some(text.to_string()));
    let moments = ["build", "before pack register laas", "after pack register laas"];
    machine.describe("first");
    machine.write("checkout/hosts.json", r#"[{"name": "hosts", "value": "[]"}]"#);
    machine.interrupt("TERM", "after key load");
    machine.run("setup.sh", &[]).with(143, &[]);
    assert_eq!(machine.descriptions(), (None, None));
    assert_eq!(machine.leftovers(), [""; 0]);
    for moment in moments {
        machine.interrupt("INT", moment);
        machine.run("setup.sh", &[]).with(130, &[]);
        assert_eq!(machine.descriptions(), (None, None), "{moment}");
        assert_eq!(machine.leftovers(), [""; 0], "{moment}");
    }
    machine.run("setup.sh", &[]).with(0, &["is installed"]);
    assert_eq!(machine.descriptions(), both("first"));

    machine.describe("second");
    for moment in moments {
        machine.interrupt("INT", moment);
        machine.run("update.sh", &["--no-git"]).with(130, &[]);
        assert_eq!(machine.descriptions(), both("first"), "{moment}");
        assert_eq!(machine.leftovers(), [""; 0], "{moment}");
    }

    // Nobody cleans up behind a kill; the next run does.
    machine.interrupt("KILL", "after pack register laas");
    assert_eq!(machine.run("update.sh", &["--no-git"]).code, None);
    assert_eq!(machine.leftovers(), [".laas-setup"]);
    machine.write("home/broken", "");
    machine
        .run("update.sh", &["--no-git"])
        .with(1, &["that was there before is back", "stays as it is"]);
    assert_eq!(machine.descriptions(), both("first"));
    fs::remove_file(machine.site.path("home/broken")).unwrap();
    machine.run("update.sh", &["--no-git"]).with(0, &["is installed"]);
    assert_eq!(machine.descriptions(), both("second"));
    assert_eq!(machine.leftovers(), [""; 0]);
}

#[test]
fn no_pack_is_replaced_under_a_booking_and_an_uninstall_forgets_it() {
    let machine = Machine::new();
    let gone = machine
        .read("checkout/actions/ipmi_power.yaml")
        .replace("name: ipmi_power", "name: gone");
    machine.write("checkout/actions/gone.yaml", &gone);
    machine.run("setup.sh", &[]).with(0, &["is installed"]);
    fs::create_dir(machine.site.path("home/hold")).unwrap();
    machine.write("home/hold/plan_job", "");
    let request = json!({"action": "laas.fulfill_job", "parameters": {"job_id": 1}});
    let (status, booking) = machine.server.send(Method::POST, "/v1/executions", &request);
    assert_eq!(status, 201, "{booking}");
    let id = booking["id"].as_str().unwrap();
    machine.server.wait_for(id, &["running"]);

    machine.describe("second");
    machine
        .run("update.sh", &["--no-git"])
        .with(3, &["bookings are being worked on", id]);
    machine
        .run("setup.sh", &[])
        .with(3, &["bookings are being worked on", id]);
    assert_ne!(machine.descriptions().1.as_deref(), Some("second"));
    machine.run("setup.sh", &["--uninstall"]).with(3, &[id]);
    let mut expired = machine.command("setup.sh", &["--uninstall"]);
    expired.env("ST2_API_KEY", "expired");
    machine::ended(&expired.output().unwrap()).with(2, &["run `st2 login`"]);
    assert!(machine.exists("packs/laas"));
    // It is in the pack that runs, and no longer in the next.
    fs::remove_file(machine.site.path("checkout/actions/gone.yaml")).unwrap();
    fs::create_dir(machine.site.path("home/remembered")).unwrap();
    machine.write("home/remembered/laas.gone", "");
    machine
        .run("update.sh", &["--no-git", "--now"])
        .with(0, &["is installed"]);
    assert_eq!(machine.descriptions().1.as_deref(), Some("second"));
    assert!(!machine.exists("home/remembered/laas.gone"));
    machine
        .server
        .send(Method::DELETE, &format!("/v1/executions/{id}"), &json!({}));
    machine.server.wait_for(id, &["canceled"]);

    // StackStorm forgets a pack by an action; the engine has none and looks at what is there.
    let unload = "#!/bin/sh\nprintf '%s' \"$*\" >\"$(dirname \"$0\")/../told\"\n";
    fs::create_dir_all(machine.site.path("packs/packs/actions")).unwrap();
    machine.write(
        "packs/packs/pack.yaml",
        "name: packs\ndescription: d\nversion: 3.9.0\nauthor: a\n",
    );
    let yaml = "name: unload\nrunner_type: local-shell-script\nentry_point: unload.sh\n\
        parameters: {packs: {type: array, required: true}}\n";
    machine.write("packs/packs/actions/unload.yaml", yaml);
    write_executable(&machine.site.path("packs/packs/actions/unload.sh"), unload);
    let (status, answer) =
        machine
            .server
            .send(Method::POST, "/v1/packs/register", &json!({"packs": ["packs"]}));
    assert_eq!((status, &answer["actions"]), (200, &json!(1)), "{answer}");
    machine
        .run("setup.sh", &["--uninstall"])
        .with(0, &["the pack is gone"]);
    assert_eq!(machine.read("packs/packs/told"), "--packs=['laas']");

    fs::remove_dir_all(machine.site.path("packs/packs")).unwrap();
    let (status, _) = machine
        .server
        .send(Method::POST, "/v1/packs/register", &json!({}));
    assert_eq!(status, 200);
    assert_eq!(machine.descriptions(), (None, None));
    machine.run("setup.sh", &[]).with(0, &["is installed"]);
    machine
        .run("setup.sh", &["--uninstall"])
        .with(0, &["the pack is gone"]);
    assert_eq!(machine.descriptions(), (None, None));
    assert!(!machine.exists("virtualenvs/laas") && machine.exists("configs/laas.yaml"));
    assert_eq!(machine.leftovers(), [""; 0]);
}

#[test]
fn what_an_operator_has_switched_off_stays_off() {
    let machine = Machine::new();
    let enabled = || {
        let path = ["rules/laas.fulfill_job", "sensortypes/laas.DashboardSensor"];
        path.map(|path| machine.server.get(&format!("/v1/{path}")).1["enabled"] == true)
    };
    let files = ["rules/fulfill_job.yaml", "sensors/dashboard_sensor.yaml"];
    let as_shipped = || {
        let same =
            |file| machine.read(&format!("packs/laas/{file}")) == machine.read(&format!("checkout/{file}"));
        assert_eq!(files.map(same), [true, true]);
        assert_eq!(machine.leftovers(), [""; 0]);
    };
    machine.run("setup.sh", &[]).with(0, &["is installed"]);
    assert_eq!(enabled(), [true, true]);
    let off = || {
        for words in [
            ["rule", "disable", "laas.fulfill_job"],
            ["sensor", "disable", "laas.DashboardSensor"],
        ] {
            machine.st2(&words).with(0, &[]);
        }
        assert_eq!(enabled(), [false, false]);
    };
    off();
    // By itself, registering switches them on.
    machine.st2(&["pack", "register", "laas"]).with(0, &[]);
    assert_eq!(enabled(), [true, true]);

    off();
    machine.run("setup.sh", &[]).with(0, &["is up to date"]);
    assert_eq!(enabled(), [false, false]);
    as_shipped();
    machine.describe("second");
    machine.run("update.sh", &["--no-git"]).with(0, &["is installed"]);
    assert_eq!(enabled(), [false, false]);
    as_shipped();

    machine.describe("third");
    for signal in ["INT", "KILL"] {
        for moment in ["before pack register laas", "after pack register laas"] {
            machine.interrupt(signal, moment);
            machine.run("update.sh", &["--no-git"]);
            assert_eq!(enabled(), [false, false], "{signal} {moment}");
            if signal == "INT" {
                as_shipped();
            }
        }
    }
    machine.run("update.sh", &["--no-git"]).with(0, &["is installed"]);
    assert_eq!(enabled(), [false, false]);
    as_shipped();

    machine.st2(&["rule", "enable", "laas.fulfill_job"]).with(0, &[]);
    machine.run("setup.sh", &[]).with(0, &["is up to date"]);
    assert_eq!(enabled(), [true, false]);
    as_shipped();
}

impl Machine {
    /// Makes the checkout a clone of a repository.
    fn clone_of_origin(&self) {
        self.git("checkout", &["init", "--quiet", "--initial-branch=main"]);
        self.git("checkout", &["add", "--all"]);
        self.git("checkout", &["commit", "--quiet", "--message", "all"]);
        self.git(".", &["clone", "--quiet", "checkout", "origin"]);
        self.git("checkout", &["remote", "add", "origin", "../origin"]);
        self.git("checkout", &["fetch", "--quiet", "origin"]);
        self.git(
            "checkout",
            &["branch", "--quiet", "--set-upstream-to=origin/main"],
        );
    }

    /// Lets the other repository have a commit that describes `ipmi_power` in this way.
    fn fetchable(&self, description: &str) {
        self.git("checkout", &["checkout", "--quiet", "--", "."]);
        let file = "checkout/actions/ipmi_power.yaml";
        let before = self.read(file);
        self.describe(description);
        self.write("origin/actions/ipmi_power.yaml", &self.read(file));
        self.write(file, &before);
        self.git(
            "origin",
            &["commit", "--quiet", "--all", "--message", description],
        );
    }

    fn git(&self, directory: &str, arguments: &[&str]) {
        let done = Command::new("git")
            .current_dir(self.site.path(directory))
            .env("HOME", self.site.path("home"))
            .args(["-c", "user.name=lab", "-c", "user.email=lab@example.org"])
            .args(arguments)
            .status()
            .unwrap();
        assert!(done.success(), "{arguments:?}");
    }
}

#[test]
fn registering_reads_everything_anew_or_leaves_everything() {
    let site = crate::support::Site::new();
    site.add_action("first", "{}", "echo one");
    let server = site.start();
    site.add_action("second", "{}", "echo two");
    let names = || {
        let (_, actions) = server.get("/v1/actions?pack=lab");
        let name = |action: &serde_json::Value| action["name"].as_str().unwrap().to_string();
        actions.as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    assert!(!names().contains(&"second".to_string()));
    let (status, answer) = server.send(Method::POST, "/v1/packs/register", &json!({}));
    assert_eq!(
        (status, &answer["rules"], &answer["configs"]),
        (200, &json!(1), &json!(1)),
        "{answer}"
    );
    assert!(names().contains(&"second".to_string()));
    assert_eq!(server.run("lab.second", json!({}))["result"]["stdout"], "two");

    let (status, answer) = server.send(Method::POST, "/v1/packs/register", &json!({"packs": ["nowhere"]}));
    assert_eq!(status, 400);
    assert!(
        answer["faultstring"]
            .as_str()
            .unwrap()
            .starts_with("Pack \"nowhere\" not found on disk"),
        "{answer}"
    );
    site.add(
        "rules/broken.yaml",
        "name: broken\ntrigger: {type: lab.nothing}\naction: {ref: lab.first}\n",
    );
    let (status, answer) = server.send(Method::POST, "/v1/packs/register", &json!({"packs": ["lab"]}));
    assert_eq!(status, 400);
    assert!(
        answer["faultstring"]
            .as_str()
            .unwrap()
            .contains("rules/broken.yaml:2: there is no trigger type"),
        "{answer}"
    );
    assert!(names().contains(&"second".to_string()));
    assert_eq!(server.run("lab.first", json!({}))["result"]["stdout"], "one");
}
