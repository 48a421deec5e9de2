//! 200 workflows of ten steps at once.

use super::{engine_executable, process, table};
use anyhow::{Context, ensure};
use laas_lab::stack::{Stack, StackOptions, is_over};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const WORKFLOWS: usize = 200;
const STEPS: usize = 10;

pub async fn run(root: &Path, as_json: bool) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let pack = directory.path().join("pack");
    write_pack(&pack)?;
    let mut stack = Stack::start(StackOptions {
        pack,
        engine: engine_executable(root),
        state: directory.path().join("stack"),
        config: "{}\n".to_owned(),
        keys: Vec::new(),
    })
    .await?;
    let pid = stack.engine_pid().context("the engine does not run")?;
    let (own_before, children_before) = process::cpu(pid)?;
    let idle = process::high_water(pid)?;
    let begin = Instant::now();
    for _ in 0..WORKFLOWS {
        let body = json!({"action": "bench.ten", "parameters": {}});
        stack
            .call(reqwest::Method::POST, "executions", Some(body))
            .await?;
    }
    let requested = begin.elapsed();
    let path = "executions?action=bench.ten&limit=-1&include_attributes=status";
    let ended: Vec<Value> = loop {
        let answer = stack.call(reqwest::Method::GET, path, None).await?;
        let executions = answer.as_array().cloned().unwrap_or_default();
        if executions.iter().all(is_over) {
            break executions;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let wall = begin.elapsed();
    let (own, children) = process::cpu(pid)?;
    let peak = process::high_water(pid)?;
    stack.stop_engine().await?;
    let succeeded = ended.iter().filter(|e| e["status"] == "succeeded").count();
    ensure!(
        succeeded == WORKFLOWS,
        "{succeeded} of {WORKFLOWS} workflows succeeded"
    );

    let steps = WORKFLOWS * STEPS;
    let per_step = |time: Duration| time.as_secs_f64() * 1000.0 / steps as f64;
    let (own, children) = (own - own_before, children - children_before);
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    if as_json {
        println!(
            "{}",
            json!({
                "workflows": WORKFLOWS, "steps": steps, "wall_s": wall.as_secs_f64(),
                "requested_s": requested.as_secs_f64(), "engine_cpu_s": own.as_secs_f64(),
                "steps_cpu_s": children.as_secs_f64(), "wall_ms_per_step": per_step(wall),
                "engine_cpu_ms_per_step": per_step(own), "peak_mb": megabytes(peak), "idle_peak_mb": megabytes(idle),
            })
        );
        return Ok(());
    }
    table::print(
        ["engine", "all", "per step"],
        &[
            ["steps".into(), steps.to_string(), String::new()],
            row("wall time", wall, per_step(wall)),
            row("CPU of the engine", own, per_step(own)),
            row("CPU of the steps", children, per_step(children)),
            [
                "peak memory, before the first".into(),
                format!("{:.1} MB", megabytes(idle)),
                String::new(),
            ],
            [
                "peak memory, aim 150 MB".into(),
                format!("{} MB", table::against(megabytes(peak), 1, 150.0)),
                String::new(),
            ],
        ],
    );
    Ok(())
}

fn row(name: &str, time: Duration, per_step: f64) -> [String; 3] {
    [
        name.to_owned(),
        format!("{:.2} s", time.as_secs_f64()),
        format!("{per_step:.2} ms"),
    ]
}

fn write_pack(pack: &Path) -> anyhow::Result<()> {
    let mut workflow = String::from("version: 1.0\ntasks:\n");
    for step in 1..=STEPS {
        let _ = writeln!(workflow, "  step_{step}:\n    action: bench.nothing");
        if step < STEPS {
            let _ = writeln!(
                workflow,
                "    next: [{{when: \"{{{{ succeeded() }}}}\", do: step_{}}}]",
                step + 1
            );
        }
    }
    std::fs::create_dir_all(pack.join("actions/workflows"))?;
    for (file, text) in [
        (
            "pack.yaml",
            "name: bench\nref: bench\ndescription: Steps that do nothing\nversion: 0.1.0\nauthor: bench\n\
             email: bench@example.org\n",
        ),
        ("actions/nothing.sh", "#!/bin/sh\necho '{\"done\": true}'\n"),
        (
            "actions/nothing.yaml",
            "name: nothing\nrunner_type: local-shell-script\nentry_point: nothing.sh\n",
        ),
        (
            "actions/ten.yaml",
            "name: ten\nrunner_type: orquesta\nentry_point: workflows/ten.yaml\n",
        ),
        ("actions/workflows/ten.yaml", workflow.as_str()),
    ] {
        std::fs::write(pack.join(file), text)?;
    }
    Ok(())
}
