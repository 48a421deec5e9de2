//! The demo: a booking from the dashboard to two usable hosts, shown step by step, checked at the end.

mod steps;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::checks::{self, Check, Given, Tenant};
use crate::dashboard::{BookedHost, BookingSpec, JobState, OpnfvSpec, Role, TaskType, UserSpec, Vlan};
use crate::inventory::{BmcKind, Make};
use crate::lab::{Lab, LabOptions};
use crate::pace::Pace;
use crate::stack::{Stack, StackOptions, is_over};

/// More than a demo takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(600);
/// The tagged network of both hosts.
const SHARED_VLAN: u16 = 103;

/// What the demo is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pack's directory, its executables in `actions/bin`.
    #[arg(long, value_name = "DIR")]
    pack: PathBuf,
    /// End with one line of JSON.
    #[arg(long)]
    json: bool,
    /// Leave everything up and say how to look around.
    #[arg(long)]
    keep: bool,
}

/// Everything that was started, and how the booking ended.
struct Scene {
    // Ends before the peers that its actions talk to.
    stack: Stack,
    lab: Lab,
    tenants: [Tenant; 2],
    directory: TempDir,
    unfinished: usize,
    failed: usize,
}

/// Runs the demo; an error is a demo that failed.
///
/// # Errors
/// Something could not be started, the booking did not end in time, or a check failed.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut scene = tokio::select! {
        scene = play(&args) => scene?,
        _ = terminated.recv() => bail!("stopped"),
        _ = interrupted.recv() => bail!("stopped"),
    };
    if args.keep {
        scene.explain()?;
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    }
    scene.stack.stop_engine().await?;
    scene.lab.shutdown();
    ensure!(
        scene.unfinished == 0,
        "{} tasks did not end with 200",
        scene.unfinished
    );
    ensure!(scene.failed == 0, "{} checks failed", scene.failed);
    Ok(())
}

async fn play(args: &Args) -> anyhow::Result<Scene> {
    let directory = tempfile::Builder::new().prefix("laas-demo-").tempdir()?;
    let started = Instant::now();
    println!(
        "Starting a lab of three hosts and the engine: pod1 with IPMI on a Nexus, pod2 with an iLO on an Arista"
    );
    let lab = Lab::start(LabOptions {
        hosts: 3,
        bmcs: vec![BmcKind::Ipmi, BmcKind::Ilo5],
        cabled: |host, _| if host == 2 { Make::Eos } else { Make::Nxos },
        pace: Pace::demo(),
        state_dir: Some(directory.path().join("lab")),
        ..LabOptions::default()
    })
    .await?;
    let stack = Stack::start(StackOptions {
        pack: args.pack.canonicalize().context("no such pack")?,
        engine: beside_us("laas-engine")?,
        state: directory.path().join("stack"),
        config: serde_yaml::to_string(&lab.config())?,
        keys: lab.keys(),
    })
    .await?;
    let tenants = Tenant::pair(directory.path()).await?;
    let [alice, bob] = &tenants;
    println!("Alice books pod1 (Ubuntu) and pod2 (CentOS) for a week, with Bob; the sensor will see it");
    let job = book(&lab, alice, bob)?;
    let booked = Instant::now();
    let job = watch(&lab, &stack, job).await?;
    let seconds = booked.elapsed().as_secs_f64();
    let executions = stack.executions().await?.len();

    println!("\nWhat the users see:");
    for task in &job.tasks {
        println!(
            "  {:<9} {} {}",
            title(task.task_type),
            task.status,
            task.message.replace('\n', "\n                ")
        );
    }
    let mut checks = checks::of_job(&lab, &job, &tenants).await;
    checks.push(checks::share(&lab, ["pod1", "pod2"], "pod3", SHARED_VLAN));
    print_checks(&checks);
    println!("{executions} executions, {seconds:.1} s from the booking to its end");
    let mut scene = Scene {
        unfinished: job.tasks.iter().filter(|t| t.status != 200).count(),
        failed: 0,
        stack,
        lab,
        tenants,
        directory,
    };
    if !args.keep {
        checks.extend(scene.end(&job).await?);
    }
    scene.failed = checks.iter().filter(|c| !c.ok).count();
    println!("{:.1} s in all", started.elapsed().as_secs_f64());
    if args.json {
        println!("{}", summary(&job, &checks, seconds, executions));
    }
    Ok(scene)
}

/// Two hosts that share a tagged network, an account on each BMC, and an image of pod1 when it is ready.
fn book(lab: &Lab, alice: &Tenant, bob: &Tenant) -> anyhow::Result<u32> {
    for tenant in [alice, bob] {
        lab.dashboard().add_user(UserSpec {
            id: tenant.id,
            username: tenant.name.to_owned(),
            email: format!("{}@example.org", tenant.name),
            ssh_key: Some(tenant.public_key()?),
        });
    }
    let host = |number: u8, image, hostname: &str| {
        let mac = |card| format!("02:00:00:00:{number:02x}:{card:02x}");
        let networks = [
            (mac(1), vec![Vlan::untagged(11), Vlan::tagged(SHARED_VLAN)]),
            (mac(2), vec![Vlan::untagged(104), Vlan::tagged(105)]),
        ];
        BookedHost {
            labid: format!("pod{number}"),
            image,
            hostname: hostname.to_owned(),
            role: if number == 1 {
                Role::Jumphost
            } else {
                Role::Compute
            },
            networks: networks.into(),
        }
    };
    let booking = lab.dashboard().book(BookingSpec {
        owner: alice.id,
        collaborators: vec![bob.id],
        hosts: vec![host(1, 17, "jump"), host(2, 25, "compute1")],
        opnfv: Some(OpnfvSpec {
            installer: "Fuel".to_owned(),
            scenario: "os-nosdn-nofeature-noha".to_owned(),
            admin: 104,
            mgmt: SHARED_VLAN,
            private: 105,
            public: 11,
        }),
        snapshot: Some("pod1".to_owned()),
    })?;
    Ok(booking)
}

/// Shows the steps as they happen, until every task of the job has ended and nothing runs any more.
async fn watch(lab: &Lab, stack: &Stack, job: u32) -> anyhow::Result<JobState> {
    let mut steps = steps::Steps::new();
    let started = Instant::now();
    loop {
        let running = steps.show(&stack.executions().await?);
        let state = lab.dashboard().job(job).context("the job is gone")?;
        if !running && state.tasks.iter().all(|t| t.status >= 200) {
            return Ok(state);
        }
        ensure!(
            started.elapsed() < LIMIT,
            "the booking has not ended after {} s",
            LIMIT.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn title(task_type: TaskType) -> &'static str {
    match task_type {
        TaskType::Hardware => "hardware",
        TaskType::Network => "network",
        TaskType::Access => "access",
        TaskType::Software => "software",
        TaskType::Snapshot => "snapshot",
    }
}

fn print_checks(checks: &[Check]) {
    println!("\nWhat was checked, and how:");
    let width = checks
        .iter()
        .map(|c| c.name.chars().count())
        .max()
        .unwrap_or_default();
    for check in checks {
        let mark = if check.ok { "ok  " } else { "FAIL" };
        println!("  {mark}  {:<width$}  {}", check.name, check.how);
    }
    println!();
}

fn summary(job: &JobState, checks: &[Check], seconds: f64, executions: usize) -> Value {
    let task = |t: &crate::dashboard::TaskState| {
        // The line may end up in a log, and a VPN message holds a password.
        let message = if t.task_type == TaskType::Access && t.delta["access_type"] == "vpn" {
            t.message
                .lines()
                .filter(|l| !l.starts_with("Password"))
                .collect::<Vec<_>>()
                .join("\n")
        } else {
            t.message.clone()
        };
        json!({"id": t.id, "type": title(t.task_type), "status": t.status, "message": message})
    };
    json!({
        "job": job.job,
        "tasks": job.tasks.iter().map(task).collect::<Vec<_>>(),
        "checks": checks,
        "seconds": (seconds * 1000.0).round() / 1000.0,
        "executions": executions,
    })
}

impl Scene {
    /// Ends the booking, and tries whether anything is left of it.
    async fn end(&self, job: &JobState) -> anyhow::Result<Vec<Check>> {
        let given = Given::of_job(&self.lab, job);
        println!("\nThe booking ends");
        self.lab.dashboard().end(job.job)?;
        let is_free = |host: &str| {
            self.lab
                .dashboard()
                .host(host)
                .is_some_and(|h| h.booking.is_none())
        };
        let started = Instant::now();
        while !["pod1", "pod2"].into_iter().all(is_free)
            || !self.stack.executions().await?.iter().all(is_over)
        {
            ensure!(
                started.elapsed() < LIMIT,
                "the hosts are not free after {} s",
                LIMIT.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let checks = given.is_gone(&self.lab, &self.stack, &self.tenants).await?;
        print_checks(&checks);
        println!(
            "{:.1} s from the end of the booking to free hosts",
            started.elapsed().as_secs_f64()
        );
        Ok(checks)
    }

    /// Says how to look around.
    fn explain(&self) -> anyhow::Result<()> {
        println!("Everything stays up until Ctrl-C. To look around, in another terminal:\n");
        for (name, value) in self.stack.environment() {
            println!("  export {name}={value}");
        }
        println!(
            "  st2 execution list        # pip install st2client\n  st2 run laas.ipmi_power host=pod1 command=status\n"
        );
        for (tenant, machine) in self.tenants.iter().zip(self.lab.machines()) {
            if let Some(address) = machine.addresses().iter().find(|a| a.reachable) {
                println!(
                    "  ssh -i {} -p {} -o UserKnownHostsFile=/dev/null opnfv@{}",
                    tenant.key.display(),
                    self.lab.access().ssh_port,
                    address.address
                );
            }
        }
        let access = self.lab.access();
        println!(
            "  IPMI_PASSWORD={} ipmitool -I lanplus -C 3 -E -H {} -p {} -U {} chassis status",
            access
                .bmc_passwords
                .get("pod1")
                .map(String::as_str)
                .unwrap_or_default(),
            crate::cabling::bmc_address(1),
            access.bmc_port,
            crate::inventory::BMC_USER
        );
        let password = self.directory.path().join("ldap_password");
        std::fs::write(&password, "")?;
        std::fs::set_permissions(&password, Permissions::from_mode(0o600))?;
        std::fs::write(&password, &access.ldap_password)?;
        println!(
            "  LDAPTLS_CACERT={} ldapsearch -x -H {} -D {} -y {} -b ou=People,{}",
            access.ca.display(),
            access.ldaps,
            crate::slapd::ADMIN,
            password.display(),
            crate::slapd::SUFFIX
        );
        println!(
            "  less {}   # the engine's log; the lab's files are beside it",
            self.stack.log().display()
        );
        Ok(())
    }
}

/// An executable of the same build.
fn beside_us(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.parent().unwrap_or(Path::new(".")).join(name);
    ensure!(path.exists(), "`{}` is missing: build it first", path.display());
    Ok(path)
}
