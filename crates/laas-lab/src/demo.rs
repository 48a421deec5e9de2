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

use crate::checks::{self, Check, Tenant};
use crate::dashboard::{CaptureBooking, JobState, TaskType};
use crate::lab::{Lab, LabOptions};
use crate::pace::Pace;
use crate::stack::{Stack, StackOptions};

/// More than a demo takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(600);

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
    println!("Starting a lab of two hosts and the engine");
    let state_dir = Some(directory.path().join("lab"));
    let lab = Lab::start(LabOptions {
        hosts: 2,
        bmcs: Vec::new(),
        pace: Pace::demo(),
        state_dir,
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
    println!("Alice books pod1 and pod2 for a week, with Bob; the sensor will see it");
    let job = lab.dashboard().book_capture(CaptureBooking {
        alice_key: Some(alice.public_key()?),
        bob_key: Some(bob.public_key()?),
        software: false,
        snapshot: false,
    })?;
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
    let checks = checks::of_job(&lab, &job, &tenants).await;
    print_checks(&checks);
    println!(
        "{executions} executions, {seconds:.1} s from the booking to its end, {:.1} s in all",
        started.elapsed().as_secs_f64()
    );
    if args.json {
        println!("{}", summary(&job, &checks, seconds, executions));
    }
    Ok(Scene {
        unfinished: job.tasks.iter().filter(|t| t.status != 200).count(),
        failed: checks.iter().filter(|c| !c.ok).count(),
        stack,
        lab,
        tenants,
        directory,
    })
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
