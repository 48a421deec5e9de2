//! Whole bookings against a lab that takes no time, so that what is left is the pack's own.

use super::{book, engine_executable, process, table};
use anyhow::{Context, ensure};
use laas_lab::lab::{Lab, LabOptions};
use laas_lab::stack::{Stack, StackOptions, is_over};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Hosts of a booking, its users, and the seconds that it may take.
const BOOKINGS: [(u8, &[i64], Option<f64>); 3] = [
    (1, &[3], Some(3.0)),
    (10, &[3, 4], None),
    (50, &[3, 4], Some(30.0)),
];
const MEMORY_AIM_MB: f64 = 150.0;
/// Far more than any booking takes.
const LIMIT: Duration = Duration::from_secs(300);

#[derive(Serialize)]
struct Measured {
    hosts: u8,
    users: usize,
    /// From the booking to the end of its workflow.
    wall_s: f64,
    wall_aim_s: Option<f64>,
    /// From the booking until the engine begins: the sensor's poll.
    sensor_s: f64,
    /// While the workflow ran and no action did: the engine alone.
    engine_alone_s: f64,
    engine_cpu_s: f64,
    /// The actions with ipmitool and ssh, and the shells that start them.
    actions_cpu_s: f64,
    peak_mb: f64,
    /// More than one if the sensor saw the job again while it was worked on.
    workflows: usize,
    executions: usize,
    /// 8 + 18 per host + 4 per user.
    executions_limit: usize,
}

pub async fn run(root: &Path, json: bool) -> anyhow::Result<()> {
    let mut all = Vec::new();
    let mut end = Ok(());
    for (hosts, users, aim) in BOOKINGS {
        match measure(root, hosts, users, aim).await {
            Ok(measured) => all.push(measured),
            // The smaller bookings took their time too and shall be seen.
            Err(error) => end = Err(error.context(format!("booking of {hosts} hosts"))),
        }
    }
    if json {
        println!("{}", serde_json::to_string(&all)?);
        return end;
    }
    let rows: Vec<_> = all.iter().map(row).collect();
    table::print(
        [
            "booking",
            "wall s (aim)",
            "sensor s",
            "engine alone s",
            "engine CPU s",
            "actions CPU s",
            "engine peak MB (150)",
            "executions (limit)",
            "workflows",
        ],
        &rows,
    );
    end
}

fn row(m: &Measured) -> [String; 9] {
    [
        format!("{} hosts, {} users", m.hosts, m.users),
        match m.wall_aim_s {
            Some(aim) => format!("{} ({aim:.0})", table::against(m.wall_s, 2, aim)),
            None => format!("{:.2}", m.wall_s),
        },
        format!("{:.2}", m.sensor_s),
        format!("{:.2}", m.engine_alone_s),
        format!("{:.2}", m.engine_cpu_s),
        format!("{:.2}", m.actions_cpu_s),
        table::against(m.peak_mb, 1, MEMORY_AIM_MB),
        format!("{} ({})", m.executions, m.executions_limit),
        m.workflows.to_string(),
    ]
}

async fn measure(root: &Path, hosts: u8, users: &[i64], wall_aim_s: Option<f64>) -> anyhow::Result<Measured> {
    let directory = tempfile::tempdir()?;
    let lab = Lab::start(LabOptions {
        hosts,
        ..LabOptions::default()
    })
    .await?;
    let mut stack = Stack::start(StackOptions {
        pack: root.to_owned(),
        engine: engine_executable(root),
        state: directory.path().to_owned(),
        config: serde_yaml::to_string(&lab.config())?,
        keys: lab.keys(),
    })
    .await?;
    let pid = stack.engine_pid().context("the engine does not run")?;
    let (own_before, children_before) = process::cpu(pid)?;
    let booked = OffsetDateTime::now_utc();
    let job = book(&lab, 1..=hosts, users)?;
    let workflows = ended(&stack, &lab, job).await?;
    let (own, children) = process::cpu(pid)?;
    let peak = process::high_water(pid)?;
    let executions = stack.executions().await?;
    stack.stop_engine().await?;
    let state = lab.dashboard().job(job).context("the job is gone")?;
    let failed: Vec<_> = state.tasks.iter().filter(|t| t.status != 200).collect();
    ensure!(failed.is_empty(), "not all tasks are done: {failed:?}");
    lab.shutdown();

    let workflows: Vec<_> = workflows.iter().map(interval).collect::<Result<_, _>>()?;
    let started = workflows.first().context("no workflow was started")?.0;
    let over = workflows.iter().map(|w| w.1).max().unwrap_or(started);
    let actions: Vec<_> = executions
        .iter()
        .filter(|e| e["liveaction"]["action_is_workflow"] == false)
        .map(interval)
        .collect::<Result<_, _>>()?;
    let seconds = |from: OffsetDateTime, to: OffsetDateTime| (to - from).as_seconds_f64();
    Ok(Measured {
        hosts,
        users: users.len(),
        wall_s: seconds(booked, over),
        wall_aim_s,
        sensor_s: seconds(booked, started),
        engine_alone_s: seconds(started, over) - covered(actions),
        engine_cpu_s: (own - own_before).as_secs_f64(),
        actions_cpu_s: (children - children_before).as_secs_f64(),
        peak_mb: peak as f64 / 1e6,
        workflows: workflows.len(),
        executions: executions.len(),
        executions_limit: 8 + 18 * usize::from(hosts) + 4 * users.len(),
    })
}

/// Waits for the end of the job's workflows and returns them, oldest first.
///
/// The engine is asked for little and not often: what is asked costs it too.
async fn ended(stack: &Stack, lab: &Lab, job: u32) -> anyhow::Result<Vec<Value>> {
    let path = "executions?action=laas.fulfill_job&limit=-1&sort_asc=true\
                &include_attributes=status,start_timestamp,end_timestamp";
    let begin = Instant::now();
    loop {
        let state = lab.dashboard().job(job).context("the job is gone")?;
        let open: Vec<_> = state.tasks.iter().filter(|t| t.status < 200).collect();
        if open.is_empty() {
            let answer = stack.call(reqwest::Method::GET, path, None).await?;
            let workflows = answer.as_array().cloned().unwrap_or_default();
            if workflows.iter().all(is_over) {
                return Ok(workflows);
            }
        }
        ensure!(
            begin.elapsed() < LIMIT,
            "not done after {} s: {open:?}",
            LIMIT.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn interval(execution: &Value) -> anyhow::Result<(OffsetDateTime, OffsetDateTime)> {
    let moment = |name: &str| {
        let text = execution[name].as_str().unwrap_or_default();
        OffsetDateTime::parse(text, &Rfc3339).with_context(|| format!("`{name}` of an execution is `{text}`"))
    };
    Ok((moment("start_timestamp")?, moment("end_timestamp")?))
}

/// How many seconds at least one of the intervals covers.
fn covered(mut intervals: Vec<(OffsetDateTime, OffsetDateTime)>) -> f64 {
    intervals.sort();
    let mut sum = 0.0;
    let mut reached: Option<OffsetDateTime> = None;
    for (from, to) in intervals {
        let from = reached.map_or(from, |reached| reached.max(from));
        if to > from {
            sum += (to - from).as_seconds_f64();
        }
        reached = Some(reached.map_or(to, |reached| reached.max(to)));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_two_actions_share_counts_once() {
        let at = |second: i64| OffsetDateTime::from_unix_timestamp(second).unwrap();
        let cases: [(&[(i64, i64)], f64); 5] = [
            (&[], 0.0),
            (&[(1, 3), (5, 6)], 3.0),
            (&[(1, 5), (2, 3), (4, 6)], 5.0),
            (&[(5, 6), (1, 3), (3, 4)], 4.0),
            (&[(1, 9), (2, 3), (10, 11)], 9.0),
        ];
        for (intervals, expected) in cases {
            let intervals = intervals.iter().map(|(from, to)| (at(*from), at(*to))).collect();
            assert_eq!(covered(intervals), expected);
        }
    }
}
