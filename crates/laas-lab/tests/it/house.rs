//! A lab, the pack on the engine beside it, and the two users of the observed booking: for tests of whole bookings.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use laas_lab::cabling::bmc_address;
use laas_lab::checks::{self, Tenant};
use laas_lab::dashboard::{CaptureBooking, JobState, TaskType, UserSpec};
use laas_lab::inventory::{BMC_USER, BmcKind};
use laas_lab::lab::{Lab, LabOptions};
use laas_lab::machine::Machine;
use laas_lab::stack::{Stack, StackOptions, is_over};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

/// More than any booking takes with everything that these tests do to it, on a machine with other work.
pub const LIMIT: Duration = Duration::from_secs(150);

/// FOG's number for a task that came to its end.
const COMPLETE: u32 = 4;

/// Whole labs at the same time: each has a dozen daemons and starts processes by the hundred.
static PLACES: Semaphore = Semaphore::const_new(4);

pub struct House {
    // Ends before the peers that its actions talk to.
    pub stack: Stack,
    pub lab: Lab,
    /// Alice and Bob.
    pub tenants: [Tenant; 2],
    /// Of everything that is on disk: `lab`, `stack`, the users' keys.
    pub directory: TempDir,
    _place: SemaphorePermit<'static>,
}

impl House {
    pub async fn start() -> Self {
        Self::with_config(json!({})).await
    }

    /// With these parts of the pack's configuration other than the lab would have them.
    pub async fn with_config(changes: Value) -> Self {
        Self::with_pack(&pack(), changes).await
    }

    /// With another pack than the one of this tree.
    pub async fn with_pack(pack: &Path, changes: Value) -> Self {
        Self::of_hosts(2, pack, changes).await
    }

    /// With so many hosts.
    pub async fn of_hosts(hosts: u8, pack: &Path, changes: Value) -> Self {
        let options = LabOptions {
            hosts,
            ..LabOptions::default()
        };
        Self::of(options, pack, changes).await
    }

    /// With a lab of this kind, whose files are the house's.
    pub async fn of(options: LabOptions, pack: &Path, changes: Value) -> Self {
        let place = PLACES.acquire().await.unwrap();
        let directory = tempfile::Builder::new().prefix("laas-house-").tempdir().unwrap();
        let lab = Lab::start(LabOptions {
            state_dir: Some(directory.path().join("lab")),
            ..options
        })
        .await
        .unwrap();
        let mut config = lab.config();
        merge(&mut config, &changes);
        let stack = Stack::start(StackOptions {
            pack: pack.to_owned(),
            engine: engine(),
            state: directory.path().join("stack"),
            config: serde_yaml::to_string(&config).unwrap(),
            keys: lab.keys(),
        })
        .await
        .unwrap();
        let tenants = Tenant::pair(directory.path()).await.unwrap();
        Self {
            stack,
            lab,
            tenants,
            directory,
            _place: place,
        }
    }

    /// Alice becomes a user of the dashboard, who can book by herself.
    pub fn add_alice(&self) {
        let [alice, _] = &self.tenants;
        self.add_user(alice);
    }

    pub fn add_user(&self, tenant: &Tenant) {
        self.lab.dashboard().add_user(UserSpec {
            id: tenant.id,
            username: tenant.name.to_owned(),
            email: format!("{}@example.org", tenant.name),
            ssh_key: Some(tenant.public_key().unwrap()),
        });
    }

    /// Alice books both hosts, with Bob; the sensor is not told.
    pub fn book(&self) -> u32 {
        self.book_capture(false)
    }

    /// With the tasks `software` and `snapshot` too, as in the observed booking.
    pub fn book_capture(&self, whole: bool) -> u32 {
        let [alice, bob] = &self.tenants;
        let wanted = CaptureBooking {
            alice_key: Some(alice.public_key().unwrap()),
            bob_key: Some(bob.public_key().unwrap()),
            software: whole,
            snapshot: whole,
        };
        self.lab.dashboard().book_capture(wanted).unwrap()
    }

    /// Waits until every task of the job has ended and no execution runs any more.
    pub async fn settled(&self, job: u32) -> JobState {
        let started = Instant::now();
        loop {
            // The executions first: what ends a task is one of them.
            let quiet = self.executions().await.iter().all(is_over);
            let state = self.lab.dashboard().job(job).expect("the job");
            if quiet && state.tasks.iter().all(|t| t.status >= 200) {
                return state;
            }
            assert!(
                started.elapsed() < LIMIT,
                "job {job} has not ended: {:?}\n{}",
                brief(&state),
                self.story().await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Every task ended with 200, and it is true.
    pub async fn assert_done(&self, job: &JobState) {
        let bad: Vec<_> = job.tasks.iter().filter(|t| t.status != 200).collect();
        assert!(bad.is_empty(), "{bad:#?}\n{}", self.story().await);
        self.assert_true(job).await;
    }

    /// What ended with 200 is true, whatever the other tasks are.
    pub async fn assert_true(&self, job: &JobState) {
        let checks = checks::of_job(&self.lab, job, &self.tenants).await;
        let failed: Vec<_> = checks.iter().filter(|c| !c.ok).collect();
        assert!(failed.is_empty(), "{failed:#?}\n{}", self.story().await);
    }

    /// It ended as an undisturbed booking does: everything is there, and nothing is there twice.
    pub async fn assert_whole(&self, job: &JobState) {
        self.assert_done(job).await;
        let posts = self.lab.dashboard().posts();
        for task in &job.tasks {
            let own = posts.iter().filter(|post| post.task == task.id);
            let steps: Vec<_> = own.filter_map(|post| post.status.as_deref()).collect();
            let up = steps.is_sorted() && steps.iter().all(|status| ["100", "200"].contains(status));
            assert!(up, "nobody was told of a failure or a step back: {steps:?}");
        }
        let people = self.lab.slapd().people().await.unwrap();
        let people = people.lines().filter(|line| line.starts_with("dn:")).count();
        assert_eq!(people, self.tenants.len(), "VPN accounts");
        let keys = self
            .stack
            .call(reqwest::Method::GET, "keys?prefix=vpn_", None)
            .await;
        assert_eq!(keys.unwrap().as_array().map(Vec::len), Some(self.tenants.len()));
        let deploys: Vec<_> = self
            .lab
            .fog()
            .tasks()
            .into_iter()
            .map(|t| (t.host, t.state))
            .collect();
        for machine in self.lab.machines() {
            let host = &machine.host().name;
            let own: Vec<_> = deploys.iter().filter(|(of, _)| of == host).collect();
            assert_eq!(own, [&(host.clone(), COMPLETE)], "deploys: {deploys:?}");
            let file = machine.root().unwrap().join("home/opnfv/.ssh/authorized_keys");
            let lines = std::fs::read_to_string(file).unwrap();
            for tenant in &self.tenants {
                let key = tenant.public_key().unwrap();
                let key = key.split(' ').nth(1).unwrap();
                assert_eq!(
                    lines.matches(key).count(),
                    1,
                    "{} on {host}:\n{lines}",
                    tenant.name
                );
            }
            assert_eq!(self.bmc_users(machine).await, [BMC_USER, "opnfv"], "{host}");
        }
        let ready = |to: &str| {
            let mails = self.lab.dashboard().mails().into_iter();
            mails.filter(|mail| mail.to.contains(to)).count()
        };
        assert_eq!(
            self.tenants.each_ref().map(|t| ready(t.name)),
            [1, 1],
            "{:#?}",
            self.lab.dashboard().mails()
        );
    }

    /// The names in the BMC's list of users.
    pub async fn bmc_users(&self, machine: &Machine) -> Vec<String> {
        if machine.host().bmc != BmcKind::Ipmi {
            return machine.bmc_accounts();
        }
        let access = self.lab.access();
        let output = tokio::process::Command::new("ipmitool")
            .args(["-I", "lanplus", "-C", "3", "-U", BMC_USER, "-E"])
            .args(["-H", &bmc_address(machine.host().number).to_string()])
            .args(["-p", &access.bmc_port.to_string(), "-c", "user", "list", "1"])
            .env("IPMITOOL_PASSWORD", &access.bmc_passwords[&machine.host().name])
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let names = text.lines().filter_map(|line| line.split(',').nth(1));
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// Types `st2` with these words.
    pub async fn st2(&self, words: &[&str]) -> Said {
        let venv = crate::venv::venv(&["st2client==3.9.0"]);
        let output = tokio::process::Command::new(venv.join("bin/st2"))
            .args(words)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.directory.path())
            .env("LANG", "C.UTF-8")
            .envs(self.stack.environment())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Said { text: text.concat() }
    }

    /// A key of the datastore, as JSON.
    pub async fn key(&self, name: &str) -> Value {
        let path = format!("keys/{name}?decrypt=true");
        let key = self.stack.call(reqwest::Method::GET, &path, None).await.unwrap();
        serde_json::from_str(key["value"].as_str().unwrap()).unwrap()
    }

    pub async fn executions(&self) -> Vec<Value> {
        self.stack.executions().await.unwrap()
    }

    /// What has happened, for the message of a test that failed.
    pub async fn story(&self) -> String {
        let executions = self.stack.executions().await.unwrap_or_default();
        let line = |execution: &Value| {
            let of = |key: &str| execution[key].as_str().unwrap_or_default().to_owned();
            let started = of("start_timestamp");
            let parameters = execution["parameters"].as_object().cloned().unwrap_or_default();
            let plain = parameters
                .iter()
                .filter(|(_, value)| value.is_string() || value.is_number());
            let plain: Vec<_> = plain.map(|(name, value)| format!("{name}={value}")).collect();
            let name = name(execution);
            let status = of("status");
            let said = match status.as_str() {
                "succeeded" => String::new(),
                _ => execution["result"].to_string(),
            };
            format!("{started} {name} {} {status} {said}", plain.join(" "))
        };
        let lines: Vec<_> = executions.iter().map(line).collect();
        let log = std::fs::read_to_string(self.stack.log()).unwrap_or_default();
        let log: Vec<_> = log.lines().collect();
        let tail = log[log.len().saturating_sub(30)..].join("\n");
        format!("executions:\n{}\n\nthe engine's log:\n{tail}", lines.join("\n"))
    }
}

/// What `st2` has printed.
pub struct Said {
    pub text: String,
}

impl Said {
    pub fn succeeded(&self) {
        assert!(self.text.contains("status: succeeded"), "{}", self.text);
    }
}

/// The tasks of a job: what, for whom, how far, and what its user was told.
pub fn brief(job: &JobState) -> Vec<(TaskType, &str, i32, &str)> {
    let tasks = job.tasks.iter();
    tasks
        .map(|task| {
            (
                task.task_type,
                task.subject.as_str(),
                task.status,
                task.message.as_str(),
            )
        })
        .collect()
}

/// The action's name without the pack.
pub fn name(execution: &Value) -> &str {
    let reference = execution["action"]["ref"].as_str().unwrap_or_default();
    reference.trim_start_matches("laas.")
}

/// The executions of this action.
pub fn of_action<'a>(executions: &'a [Value], action: &str) -> Vec<&'a Value> {
    executions.iter().filter(|e| name(e) == action).collect()
}

/// The pack's directory, with its executables.
pub fn pack() -> PathBuf {
    let pack = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap();
    let staged = pack.join("actions/bin/plan_job");
    assert!(
        staged.exists(),
        "`{}` is missing: run `scripts/stage-pack.sh dev`",
        staged.display()
    );
    pack
}

/// The engine of the same build.
pub fn engine() -> PathBuf {
    // The test is `target/<profile>/deps/it-<hash>`.
    let test = std::env::current_exe().unwrap();
    let engine = test.parent().and_then(Path::parent).unwrap().join("laas-engine");
    assert!(
        engine.exists(),
        "`{}` is missing: run `cargo build -p laas-engine` and `scripts/stage-pack.sh dev`",
        engine.display()
    );
    engine
}

fn merge(into: &mut Value, changes: &Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (name, change) in changes {
                merge(into.entry(name).or_insert(Value::Null), change);
            }
        }
        (into, change) => *into = change.clone(),
    }
}
