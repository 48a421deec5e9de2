//! Each executable as it does its work in a booking, against a lab that takes no time.

use super::{book, process, table};
use anyhow::Context;
use laas_lab::lab::{Lab, LabOptions};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// One booking each; the figures are the medians.
const BOOKINGS: u8 = 5;
const CPU_AIM_MS: f64 = 10.0;
const MEMORY_AIM_MB: f64 = 8.0;
const SIZE_AIM_MB: f64 = 5.0;

/// An action in the course of a booking.
#[derive(Serialize)]
struct Measured {
    action: &'static str,
    /// What it is asked to do, where a booking asks for several things.
    work: &'static str,
    wall_ms: f64,
    /// Of its own threads. Waiting costs none.
    cpu_ms: f64,
    /// With `ipmitool` and whatever else it starts.
    cpu_with_children_ms: f64,
    peak_mb: f64,
    size_mb: f64,
}

pub async fn run(root: &Path, as_json: bool) -> anyhow::Result<()> {
    let lab = Lab::start(LabOptions {
        hosts: BOOKINGS,
        ..LabOptions::default()
    })
    .await?;
    let locks = lab.directory().join("locks");
    std::fs::create_dir_all(&locks)?;
    let files = lab.files();
    let mut steps = Vec::new();
    for number in 1..=BOOKINGS {
        // Each for a user of its own: a second VPN account would be no new one.
        let job = book(&lab, number..=number, &[2 + i64::from(number)])?;
        let booking = Booking {
            executables: root.join("actions/bin"),
            environment: [
                ("LAAS_CONFIG_FILE", files["config"].clone()),
                ("LAAS_DATASTORE", files["datastore"].clone()),
                ("LAAS_LOCK_DIR", locks.clone()),
            ],
            steps: Vec::new(),
        };
        // Waiting for a process blocks, and the lab needs the runtime.
        steps.push(tokio::task::spawn_blocking(move || booking.play(job)).await??);
    }
    lab.shutdown();

    let mut all = Vec::new();
    for (index, (action, work, _)) in steps[0].iter().enumerate() {
        let median = |of: &dyn Fn(&process::Run) -> f64| {
            let mut values: Vec<f64> = steps.iter().map(|booking| of(&booking[index].2)).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let size = root.join("actions/bin").join(action).metadata()?.len();
        all.push(Measured {
            action,
            work,
            wall_ms: median(&|run| ms(run.wall)),
            cpu_ms: median(&|run| ms(run.own)),
            cpu_with_children_ms: median(&|run| ms(run.all)),
            peak_mb: median(&|run| run.peak as f64 / 1e6),
            size_mb: size as f64 / 1e6,
        });
    }
    if as_json {
        println!("{}", serde_json::to_string(&all)?);
        return Ok(());
    }
    let rows: Vec<_> = all.iter().map(row).collect();
    table::print(
        [
            "action",
            "wall ms",
            "CPU ms (10)",
            "with children ms",
            "peak MB (8)",
            "size MB (5)",
        ],
        &rows,
    );
    Ok(())
}

fn row(m: &Measured) -> [String; 6] {
    [
        format!("{} {}", m.action, m.work),
        format!("{:.0}", m.wall_ms),
        table::against(m.cpu_ms, 1, CPU_AIM_MS),
        format!("{:.1}", m.cpu_with_children_ms),
        table::against(m.peak_mb, 1, MEMORY_AIM_MB),
        table::against(m.size_mb, 2, SIZE_AIM_MB),
    ]
}

struct Booking {
    executables: PathBuf,
    environment: [(&'static str, PathBuf); 3],
    steps: Vec<(&'static str, &'static str, process::Run)>,
}

impl Booking {
    /// Runs the actions as the workflows do, each fed with what those before it have said.
    fn play(mut self, job: u32) -> anyhow::Result<Vec<(&'static str, &'static str, process::Run)>> {
        let plan = self.run("plan_job", "", &json!({"job_id": job}))?;
        self.run("note_systems", "", &json!({"hosts": plan["hosts"]}))?;
        let host = plan["hosts"][0].clone();
        let (name, hardware, network) = (&host["host"], &host["hardware"], &host["network"]);
        let (user, key, vpn) = (
            &plan["users"][0]["user"],
            &plan["users"][0]["key"],
            &plan["users"][0]["vpn"],
        );
        self.run(
            "task_status",
            "100",
            &json!({"status": 100, "tasks": plan["tasks"]}),
        )?;
        self.run(
            "switch_vlan",
            "management",
            &json!({"hosts": [name], "booked": true}),
        )?;
        self.run(
            "ipmi_power",
            "off",
            &json!({"host": name, "command": "off", "booked": true}),
        )?;
        self.run(
            "ipmi_boot_device",
            "",
            &json!({"host": name, "device": "pxe", "booked": true}),
        )?;
        let mut deploy = json!({"host": name, "image": hardware["image"], "request": hardware["request"]});
        deploy["start_only"] = true.into();
        self.run("fog_image", "start", &deploy)?;
        self.run("ipmi_power", "on", &json!({"host": name, "command": "on"}))?;
        deploy["start_only"] = false.into();
        self.run("fog_image", "wait", &deploy)?;
        deploy["start_only"] = Value::Null;
        self.run("wait_for_host", "new system", &deploy)?;
        self.run(
            "set_hostname",
            "",
            &json!({"host": name, "hostname": hardware["hostname"], "booked": true}),
        )?;
        let bmc = self.run(
            "bmc_user",
            "",
            &json!({"host": name, "request": hardware["request"]}),
        )?;
        let facts = json!({"host": name, "hostname": hardware["hostname"], "bmc": bmc});
        self.report(hardware, "hardware", &facts)?;
        self.run(
            "host_network",
            "",
            &json!({"host": name, "interfaces": network["interfaces"], "booked": true}),
        )?;
        self.run(
            "ipmi_power",
            "soft",
            &json!({"host": name, "command": "soft", "force": true, "booked": true}),
        )?;
        let networks = json!([{"host": name, "interfaces": network["interfaces"]}]);
        self.run(
            "switch_vlan",
            "tenant",
            &json!({"networks": networks, "booked": true}),
        )?;
        self.run("ipmi_power", "on again", &json!({"host": name, "command": "on"}))?;
        let found = self.run(
            "wait_for_host",
            "own network",
            &json!({"host": name, "vlans": network["vlans"]}),
        )?;
        let facts = json!({"host": name, "hostname": found["hostname"], "address": found["address"],
                           "interfaces": network["interfaces"]});
        self.report(network, "network", &facts)?;
        let granted = self.run(
            "copy_keys",
            "",
            &json!({"job_id": job, "user": user, "key": key["key"], "hosts": key["hosts"], "unavailable": []}),
        )?;
        let facts =
            json!({"account": granted["account"], "port": granted["port"], "hosts": granted["hosts"]});
        self.report(key, "keys", &facts)?;
        let account = json!({"job_id": job, "user": user, "task": vpn["task"], "digest": vpn["digest"],
                             "request": vpn["request"]});
        self.run("vpn_user", "", &account)?;
        let failure = json!({"stdout": {"error": "no image `17`", "peer": "fog"}, "return_code": 1});
        self.run(
            "report_failure",
            "",
            &json!({"tasks": [], "failure": failure, "host": name}),
        )?;
        Ok(self.steps)
    }

    fn report(&mut self, task: &Value, event: &'static str, facts: &Value) -> anyhow::Result<()> {
        let told = json!({"job": task["job"], "task": task["task"], "digest": task["digest"],
                          "request": task["request"], "event": event, "facts": facts});
        self.run("task_status", event, &json!({"status": 200, "tasks": [told]}))?;
        Ok(())
    }

    /// Runs an action with these parameters in the way that its YAML says, and returns what it answers.
    fn run(&mut self, action: &'static str, work: &'static str, parameters: &Value) -> anyhow::Result<Value> {
        let mut command = Command::new(self.executables.join(action));
        command.envs(self.environment.iter().map(|(name, path)| (name, path)));
        for (name, value) in parameters.as_object().into_iter().flatten() {
            match value {
                Value::Null | Value::Bool(false) => {}
                Value::Bool(true) => {
                    command.arg(format!("--{name}"));
                }
                Value::Array(_) | Value::Object(_) => {
                    command.env(format!("LAAS_{}", name.to_uppercase()), value.to_string());
                }
                Value::String(text) => {
                    command.arg(format!("--{name}={text}"));
                }
                Value::Number(number) => {
                    command.arg(format!("--{name}={number}"));
                }
            }
        }
        let run = process::run(command)?;
        let said =
            serde_json::from_slice(&run.stdout).with_context(|| format!("`{action}` did not answer JSON"))?;
        self.steps.push((action, work, run));
        Ok(said)
    }
}
