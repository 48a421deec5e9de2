use crate::pack::{Ended, Pack, Running, wait_for};
use laas_core::{Secret, config};
use laas_lab::dashboard::{BookedHost, BookingSpec, Dashboard, HostSpec, Post, TaskState, UserSpec};
use laas_lab::faults::{Fault, Faults, Kind, Peer};
use laas_lab::http::Server;
use laas_lab::slapd::{ADMIN, PEOPLE, Slapd};
use laas_vpn::Directory;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::Duration;
use tempfile::TempDir;

/// The user of the booking, on the dashboard.
const USER: u64 = 3;

/// A dashboard with one booking of one user, a directory, and the pack.
struct Lab {
    dashboard: Dashboard,
    slapd: Slapd,
    faults: Faults,
    pack: Pack,
    job: u32,
    _server: Server,
    _dir: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Lab {
    fn new() -> Self {
        let faults = Faults::default();
        let dashboard = Dashboard::new("lab", "token", &[]);
        let email = "alice@example.org".to_owned();
        dashboard.add_user(UserSpec {
            id: 3,
            username: "alice".to_owned(),
            email,
            ssh_key: None,
        });
        dashboard
            .add_host(HostSpec::new("pod1", &["02:00:00:00:01:01"]))
            .unwrap();
        let host = BookedHost {
            labid: "pod1".to_owned(),
            image: 17,
            hostname: "jump".to_owned(),
            role: Default::default(),
            networks: Default::default(),
        };
        let booking = BookingSpec {
            owner: 3,
            collaborators: Vec::new(),
            hosts: vec![host],
            opnfv: None,
            snapshot: None,
        };
        let job = dashboard.book(booking).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let router = dashboard.router();
        let server = Server::start(Ipv4Addr::LOCALHOST, Peer::Dashboard, router, faults.clone());
        let server = runtime.block_on(server).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let slapd = runtime
            .block_on(Slapd::start(dir.path(), "admin-pw", faults.clone()))
            .unwrap();
        let config = json!({
            "dashboard": {"address": server.url(), "lab_name": "lab"},
            "vpn": {
                "server": slapd.ldap_url(),
                "authentication": {"user": ADMIN, "pass": "admin-pw"},
                "directory": {"root": "o=opnfv,dc=example,dc=org", "user": "ou=People"},
                "user": {"objects": ["top", "inetOrgPerson"]},
                "tls": {"ca": slapd.ca_file()},
            },
            "timing": {"call": 5},
        });
        let pack = Pack::new(config, &[("lab_auth_token", json!("token"))]);
        let lab = Self {
            dashboard,
            slapd,
            faults,
            pack,
            job,
            _server: server,
            _dir: dir,
            runtime,
        };
        lab.begin();
        lab
    }

    /// The task is under way, as it is when the workflow comes to it.
    fn begin(&self) {
        let task = self.task();
        let digest = laas_dashboard::digest(&task.delta);
        let request = format!("{}:{digest}:0", task.id);
        let refs = json!([{"job": self.job, "task": task.id, "digest": digest, "request": request}]);
        let args = ["--status=100", &format!("--tasks={refs}")];
        self.pack.run(env!("CARGO_BIN_EXE_task_status"), &args).done();
    }

    fn task(&self) -> TaskState {
        let job = self.dashboard.job(self.job).unwrap();
        job.tasks
            .into_iter()
            .find(|t| t.delta["access_type"] == "vpn")
            .unwrap()
    }

    fn start(&self, args: &[&str]) -> Running {
        let task = self.task();
        let digest = laas_dashboard::digest(&task.delta);
        let own = [
            format!("--job_id={}", self.job),
            format!("--task={}", task.id),
            format!("--digest={digest}"),
            format!("--request={}:{digest}:0", task.id),
            format!("--user={USER}"),
        ];
        // What is given last counts.
        let own: Vec<&str> = own
            .iter()
            .map(String::as_str)
            .filter(|o| !given(args, o))
            .collect();
        self.pack
            .start(env!("CARGO_BIN_EXE_vpn_user"), &[&own[..], args].concat())
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.start(args).end()
    }

    fn fault(&self, peer: Peer, kind: Kind, skip: u32) {
        self.faults
            .set(
                peer,
                Fault {
                    kind,
                    skip,
                    times: Some(1),
                },
            )
            .unwrap();
    }

    /// The user names in the directory.
    fn people(&self) -> Vec<String> {
        let ldif = self.runtime.block_on(self.slapd.people()).unwrap();
        ldif.lines()
            .filter_map(|l| l.strip_prefix("uid: "))
            .map(str::to_owned)
            .collect()
    }

    fn lets_in(&self, uid: &str, password: &str) -> bool {
        self.runtime.block_on(self.slapd.bind(uid, password)).unwrap()
    }

    /// The posts of the task's end that the dashboard took.
    fn told(&self) -> Vec<Post> {
        let ends = |post: &Post| post.saved && post.status.as_deref() == Some("200");
        self.dashboard.posts().into_iter().filter(ends).collect()
    }

    /// The accounts that the datastore knows.
    fn accounts(&self) -> Vec<String> {
        let keys = self.pack.keys().into_iter();
        keys.filter_map(|(key, _)| key.strip_prefix("vpn_").map(str::to_owned))
            .collect()
    }

    /// There is one account, the user was told of it, and it works; gives its user name and password.
    fn assert_provided(&self) -> (String, String) {
        let task = self.task();
        assert_eq!(task.status, 200);
        let uid = task.lab_token.clone();
        assert_eq!(self.accounts(), [uid.as_str()]);
        let account = self.pack.key(&format!("vpn_{uid}"));
        let owner = [&account["job"], &account["user"], &account["task"]];
        assert_eq!(owner, [&json!(self.job), &json!(USER), &json!(task.id)]);
        let password = account["password"].as_str().unwrap().to_owned();
        let lines = [format!("User: {uid}"), format!("Password: {password}")];
        assert!(
            lines.iter().all(|l| task.message.lines().any(|m| m == l)),
            "{}",
            task.message
        );
        assert!(self.lets_in(&uid, &password));
        (uid, password)
    }

    /// An entry that somebody has made.
    fn add_person(&self, uid: &str, description: &str) {
        let config: config::Vpn = serde_json::from_value(self.pack.config["vpn"].clone()).unwrap();
        let directory = Directory::new(&config, Duration::from_secs(20)).unwrap();
        directory
            .connect()
            .unwrap()
            .add(&uid.parse().unwrap(), description)
            .unwrap();
    }

    fn mark(&self) -> String {
        format!("laas job {} user {USER}", self.job)
    }

    fn revoke(&self, args: &[&str]) -> Ended {
        let own = [
            format!("--job_id={}", self.job),
            format!("--user={USER}"),
            "--revoke".to_owned(),
        ];
        let args: Vec<_> = own
            .iter()
            .map(String::as_str)
            .chain(args.iter().copied())
            .collect();
        self.pack.run(env!("CARGO_BIN_EXE_vpn_user"), &args)
    }

    fn audit(&self, args: &[&str]) -> Ended {
        self.pack.run(env!("CARGO_BIN_EXE_vpn_audit"), args)
    }

    fn assert_revoked(&self, uid: &str, password: &str) {
        assert!(!self.people().iter().any(|name| name == uid));
        assert!(!self.accounts().iter().any(|name| name == uid));
        assert!(!self.lets_in(uid, password));
    }
}

fn given(args: &[&str], own: &str) -> bool {
    let name = own.split('=').next().unwrap();
    args.iter().any(|a| a.split('=').next() == Some(name))
}

#[test]
fn a_user_gets_one_account_and_is_told_once() {
    let lab = Lab::new();
    let first = lab.run(&[]);
    let (uid, password) = lab.assert_provided();
    assert!(
        !format!("{first:?}").contains(&password),
        "the password goes to the dashboard only"
    );
    let first = first.done();
    assert_eq!((&first["changed"], &first["uid"]), (&json!(true), &json!(uid)));

    let again = lab.run(&[]).done();
    assert_eq!((&again["changed"], &again["uid"]), (&json!(false), &json!(uid)));
    assert_eq!(lab.assert_provided(), (uid.clone(), password));
    assert_eq!((lab.people(), lab.told().len()), (vec![uid], 1));
}

#[test]
fn killed_at_any_connection_it_is_finished_by_the_next_run() {
    let mut kills = 0;
    for peer in [Peer::Ldap, Peer::Dashboard] {
        for skip in 0.. {
            let lab = Lab::new();
            lab.fault(peer.clone(), Kind::Hang, skip);
            let mut running = lab.start(&[]);
            let met = wait_for("a kill or the end", || {
                let met = lab.faults.all().is_empty();
                (met || running.has_ended()).then_some(met)
            });
            running.kill();
            if !met {
                break;
            }
            kills += 1;
            lab.run(&[]).done();
            let (uid, _) = lab.assert_provided();
            assert_eq!(lab.people(), [uid], "{peer} {skip}");
        }
    }
    assert!(kills >= 5, "{kills}");
}

#[test]
fn killed_between_key_and_directory_the_reserved_password_is_used() {
    let lab = Lab::new();
    let task = lab.task().id;
    let account = json!({"job": lab.job, "user": USER, "task": task, "password": "Reserved4Alice"});
    lab.pack.set_key("vpn_some-name", &account);
    assert_eq!(lab.run(&[]).done()["uid"], "some-name");
    assert_eq!(
        lab.assert_provided(),
        ("some-name".into(), "Reserved4Alice".into())
    );
}

#[test]
fn a_name_of_somebody_else_is_left_alone() {
    let lab = Lab::new();
    lab.add_person("ada-berg", "the head of the lab");
    // A run that was killed had reserved that name; two keys are not ours, or nobody can read them.
    let task = lab.task().id;
    let account = json!({"job": lab.job, "user": USER, "task": task, "password": "Reserved4Alice"});
    lab.pack.set_key("vpn_ada-berg", &account);
    let other = json!({"job": 99, "user": USER, "task": "x", "password": "pw"});
    lab.pack.set_key("vpn_bruno-falk", &other);
    lab.pack.set_key("vpn_clara-dahl", &json!("unreadable"));
    let uid = lab.run(&[]).done()["uid"].as_str().unwrap().to_owned();
    let mut accounts = lab.accounts();
    accounts.sort();
    let mut expected = vec!["bruno-falk", "clara-dahl", uid.as_str()];
    expected.sort_unstable();
    assert_eq!(accounts, expected);
    assert_eq!(lab.pack.key("vpn_bruno-falk"), other);
    assert!(!lab.lets_in("ada-berg", "Reserved4Alice"));
    assert_eq!(lab.people().len(), 2);
}

#[test]
fn an_own_entry_whose_key_was_lost_gets_a_new_password() {
    let lab = Lab::new();
    lab.add_person("ada-berg", &lab.mark());
    assert_eq!(lab.run(&[]).done()["uid"], "ada-berg");
    assert_eq!(lab.assert_provided().0, "ada-berg");
    assert_eq!(lab.people(), ["ada-berg"]);
}

#[test]
fn an_account_is_taken_away_whatever_was_lost() {
    for (key_lost, token_known) in [(false, false), (true, true), (true, false)] {
        let lab = Lab::new();
        lab.add_person("the-head", "the head of the lab");
        assert_eq!(lab.revoke(&[]).done()["changed"], false);
        lab.run(&[]).done();
        let (uid, password) = lab.assert_provided();
        if key_lost {
            lab.pack.set_key(&format!("vpn_{uid}"), &Value::Null);
        }
        let token = format!("--lab_token={}", if token_known { &uid } else { "null" });
        let dry = lab.revoke(&[&token, "--dry_run"]).done();
        assert_eq!((&dry["changed"], &dry["uid"]), (&json!(true), &json!(uid)));
        assert!(lab.lets_in(&uid, &password));
        let done = lab.revoke(&[&token]);
        assert!(!format!("{done:?}").contains(&password));
        assert_eq!(done.done()["changed"], true);
        lab.assert_revoked(&uid, &password);
        assert_eq!(lab.revoke(&[&token]).done()["changed"], false);
        assert_eq!(lab.people(), ["the-head"]);
    }
}

#[test]
fn a_revocation_that_was_killed_is_finished_by_the_next_run() {
    let mut kills = 0;
    for skip in 0.. {
        let lab = Lab::new();
        lab.run(&[]).done();
        let (uid, password) = lab.assert_provided();
        lab.fault(Peer::Ldap, Kind::Hang, skip);
        let own = [format!("--job_id={}", lab.job), format!("--user={USER}")];
        let mut running = lab
            .pack
            .start(env!("CARGO_BIN_EXE_vpn_user"), &["--revoke", &own[0], &own[1]]);
        let met = wait_for("a kill or the end", || {
            let met = lab.faults.all().is_empty();
            (met || running.has_ended()).then_some(met)
        });
        running.kill();
        if !met {
            break;
        }
        kills += 1;
        assert_eq!(lab.revoke(&[]).done()["changed"], true, "{skip}");
        lab.assert_revoked(&uid, &password);
    }
    assert!(kills >= 2, "{kills}");
}

#[test]
fn a_foreign_entry_is_never_taken_away() {
    let lab = Lab::new();
    lab.add_person("the-head", "the head of the lab");
    lab.add_person("other-user", "laas job 99 user 3");
    for token in ["the-head", "other-user"] {
        let refused = lab.revoke(&[&format!("--lab_token={token}")]).failed(1);
        assert!(
            refused["error"].as_str().unwrap().contains("left alone"),
            "{refused}"
        );
    }
    let long = "x".repeat(100_000);
    for token in [
        "",
        "null",
        "../x",
        "*",
        "*)(uid=*",
        "a,ou=People",
        "a\nb",
        "$(id)",
        "A'\"",
        &long,
    ] {
        let done = lab.revoke(&[&format!("--lab_token={token}")]).done();
        assert_eq!(done["changed"], false, "{token}");
    }
    let mut people = lab.people();
    people.sort();
    assert_eq!(people, ["other-user", "the-head"]);
}

#[test]
fn an_audit_finds_what_only_one_side_knows() {
    let lab = Lab::new();
    lab.run(&[]).done();
    let (uid, password) = lab.assert_provided();
    lab.add_person("the-head", "the head of the lab");
    let whole = lab.audit(&[]).done();
    assert_eq!(
        (&whole["changed"], &whole["accounts"]),
        (&json!(false), &json!(1))
    );

    lab.add_person("entry-only", "laas job 98 user 7");
    let key = json!({"job": 99, "user": 8, "task": "x", "password": "pw"});
    lab.pack.set_key("vpn_key-only", &key);
    // The name is somebody else's.
    lab.pack.set_key("vpn_the-head", &key);
    lab.pack.set_key("vpn_unreadable", &json!("?"));
    let found = lab.audit(&[]).failed(1);
    assert!(!found.to_string().contains("\"pw\""), "{found}");
    let names = |side: &str| -> Vec<String> {
        let orphans = found["done"][side].as_array().unwrap().iter();
        orphans
            .map(|orphan| orphan["uid"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("entries"), ["entry-only"]);
    assert_eq!(names("keys"), ["key-only", "the-head"]);
    assert_eq!(found["done"]["unreadable"], json!(["vpn_unreadable"]));
    assert_eq!(
        (lab.people().len(), lab.accounts().len()),
        (3, 4),
        "nothing was removed"
    );

    let still = lab.audit(&["--remove"]).failed(1);
    assert_eq!(still["done"]["entries"], json!([]), "{still}");
    lab.pack.set_key("vpn_unreadable", &Value::Null);
    assert_eq!(lab.audit(&["--remove"]).done()["changed"], false);
    let mut people = lab.people();
    people.sort();
    let mut expected = [uid.as_str(), "the-head"];
    expected.sort_unstable();
    assert_eq!(
        (people, lab.accounts()),
        (expected.map(str::to_owned).to_vec(), vec![uid.clone()])
    );
    assert!(lab.lets_in(&uid, &password));
}

#[test]
fn a_password_that_no_longer_works_is_set_again() {
    let lab = Lab::new();
    lab.run(&[]).done();
    let (uid, password) = lab.assert_provided();
    let config: config::Vpn = serde_json::from_value(lab.pack.config["vpn"].clone()).unwrap();
    let directory = Directory::new(&config, Duration::from_secs(20)).unwrap();
    let user = uid.parse().unwrap();
    directory
        .connect()
        .unwrap()
        .set_password(&user, &Secret::new("another"))
        .unwrap();
    let again = lab.run(&[]).done();
    assert_eq!(again["changed"], true);
    assert_eq!(lab.assert_provided(), (uid, password));
}

#[test]
fn work_that_is_no_longer_wanted_makes_no_account() {
    let lab = Lab::new();
    let done = lab.run(&["--digest=0000000000000000"]).done();
    assert_eq!(done, json!({"changed": false, "uid": null, "superseded": true}));
    assert_eq!(
        (lab.people(), lab.accounts(), lab.told().len()),
        (vec![], vec![], 0)
    );
}

#[test]
fn a_dry_run_writes_nothing() {
    let lab = Lab::new();
    let dry = lab.run(&["--dry_run"]).done();
    assert_eq!(dry, json!({"changed": true, "uid": null, "superseded": false}));
    assert_eq!(
        (lab.people(), lab.accounts(), lab.told().len()),
        (vec![], vec![], 0)
    );
}

#[test]
fn a_fault_names_its_peer() {
    for (peer, kind, code, words) in [
        (Peer::Ldap, Kind::Refuse, 3, "directory"),
        (Peer::Ldap, Kind::Hang, 3, "did not answer"),
        (Peer::Ldap, Kind::WrongCredentials, 1, "vpn.authentication"),
        (Peer::Dashboard, Kind::WrongCredentials, 1, "lab_auth_token"),
    ] {
        let mut lab = Lab::new();
        lab.pack.config["timing"]["call"] = json!(1);
        lab.faults.set(peer.clone(), kind).unwrap();
        let failure: Value = lab.run(&[]).failed(code);
        assert_eq!(failure["peer"], json!(peer.to_string()), "{failure}");
        assert!(failure.to_string().contains(words), "{words}: {failure}");
        lab.faults.clear(&peer);
        lab.run(&[]).done();
        lab.assert_provided();
    }
}

#[test]
fn what_the_directory_hides_is_not_taken_for_nothing() {
    let children = format!("dn.one=\"{PEOPLE}\"");
    let whole = format!("dn.subtree=\"{PEOPLE}\"");
    for (what, access) in [
        ("attrs=description", "none"),
        ("attrs=description", "compare"),
        ("attrs=description", "search"),
        ("attrs=description", "=r"),
        ("attrs=description val.regex=\"^laas.*\"", "none"),
        ("filter=(description=laas*)", "none"),
        ("attrs=objectClass", "none"),
        (&children, "none"),
        (&children, "disclose"),
        (&whole, "none"),
    ] {
        let mut lab = Lab::new();
        lab.run(&[]).done();
        let (uid, password) = lab.assert_provided();
        let blind = lab.runtime.block_on(lab.slapd.restrict(what, access)).unwrap();
        lab.pack.config["vpn"]["authentication"]["user"] = json!(blind);
        let refused = |ended: Ended| {
            let failure = ended.failed(1);
            assert_eq!(failure["peer"], "ldap", "{what} {access}: {failure}");
            let hint = failure["hint"].as_str().unwrap_or_default();
            assert!(hint.contains("read access"), "{what} {access}: {failure}");
            assert!(!failure.to_string().contains(&password), "{failure}");
        };
        refused(lab.audit(&[]));
        refused(lab.audit(&["--remove"]));
        refused(lab.revoke(&[]));
        assert_eq!(lab.accounts(), [uid.as_str()], "{what} {access}");
        assert!(lab.lets_in(&uid, &password), "{what} {access}");
        // An entry that hides itself and whose password nobody has is the one that can't be known of.
        if !what.starts_with("filter") {
            lab.pack.set_key(&format!("vpn_{uid}"), &Value::Null);
            refused(lab.audit(&[]));
            refused(lab.revoke(&[]));
            refused(lab.revoke(&[&format!("--lab_token={uid}")]));
            assert!(lab.lets_in(&uid, &password), "{what} {access}");
        }
        lab.pack.config["vpn"]["authentication"]["user"] = json!(ADMIN);
        assert_eq!(lab.revoke(&[]).done()["changed"], true);
        lab.assert_revoked(&uid, &password);
    }
}

#[test]
fn an_account_that_may_read_and_write_the_people_is_enough() {
    let mut lab = Lab::new();
    let account = lab
        .runtime
        .block_on(lab.slapd.restrict("attrs=sn", "write"))
        .unwrap();
    lab.pack.config["vpn"]["authentication"]["user"] = json!(account);
    assert_eq!(lab.revoke(&[]).done()["changed"], false);
    lab.run(&[]).done();
    let (uid, password) = lab.assert_provided();
    assert_eq!(lab.audit(&[]).done()["accounts"], 1);
    assert_eq!(lab.revoke(&[]).done()["changed"], true);
    lab.assert_revoked(&uid, &password);
}
