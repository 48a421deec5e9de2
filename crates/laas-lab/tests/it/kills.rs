//! `kill -9` of whatever works on a booking, at random moments: the booking ends as if nothing had been.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use laas_lab::faults::{Kind, Peer};
use laas_lab::stack::{is_over, signal};
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::house::{House, LIMIT, brief, name, of_action};

/// How often each is killed.
const KILLS: usize = 10;
/// A booking has more executions than that before it ends.
const FIRST_STEPS: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_is_killed_at_ten_moments() {
    let mut dice = Dice::seeded();
    let mut house = House::start().await;
    let job = house.book();
    for moment in moments(&mut dice, 1, FIRST_STEPS) {
        let more = Duration::from_millis(dice.below(60));
        ended(&house, moment).await;
        // So that it is not always the moment after an end.
        tokio::time::sleep(more).await;
        house.stack.kill_engine().await.unwrap();
        house.stack.start_engine(true).await.unwrap();
    }
    let job = house.settled(job).await;
    house.assert_whole(&job).await;
    assert_eq!(workflows(&house).await, 1, "it went on");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sensor_is_killed_at_ten_moments() {
    let mut dice = Dice::seeded();
    let mut house = House::start().await;
    // The engine gives up a sensor that keeps dying, so this one is started by hand.
    house.stack.stop_engine().await.unwrap();
    house.stack.start_engine(false).await.unwrap();
    let mut sensor = sensor(&house);
    let job = house.book();
    // The first ones around the moment when the job is handed out, wherever that is.
    let early = KILLS / 2;
    for _ in 0..early {
        let wait = Duration::from_millis(dice.below(150));
        tokio::time::sleep(wait).await;
        sensor = replaced(sensor, &house);
    }
    handed_out(&house).await;
    sensor = replaced(sensor, &house);
    for moment in moments(&mut dice, 2, FIRST_STEPS).into_iter().skip(early + 1) {
        ended(&house, moment).await;
        sensor = replaced(sensor, &house);
    }
    let job = house.settled(job).await;
    sensor.kill().unwrap();
    sensor.wait().unwrap();
    house.assert_whole(&job).await;
    assert_eq!(workflows(&house).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_action_is_killed_at_up_to_ten_moments() {
    let tries = json!({"timing": {"retries": 40, "retry_delay": 0}});
    let mut house = House::with_config(tries).await;
    house.stack.stop_engine().await.unwrap();
    house.stack.start_engine(false).await.unwrap();
    let job = house.book();
    // By hand, as a workflow tries it again with long pauses only: it has not read the configuration by then.
    let mut killer = Killer::of(&house, |action| match action {
        // A signal can come too late.
        "plan_job" => usize::MAX,
        _ => 0,
    });
    let started = Instant::now();
    while kills(&house).await.get("plan_job") < Some(&KILLS) {
        let plan = house
            .stack
            .run("laas.plan_job", json!({"job_id": job}))
            .await
            .unwrap();
        assert!(started.elapsed() < LIMIT, "{plan:#}");
    }
    killer.stop();
    house.stack.stop_engine().await.unwrap();
    house.stack.start_engine(true).await.unwrap();

    let mut killer = Killer::of(&house, |action| match action {
        // That one is brought back by the engine.
        "dashboard_sensor" => 1,
        "plan_job" => 0,
        _ => KILLS,
    });
    let job = house.settled(job).await;
    killer.stop();
    house.assert_whole(&job).await;
    assert_killed(
        &house,
        &[
            "bmc_user",
            "copy_keys",
            "fog_image",
            "host_network",
            "ipmi_boot_device",
            "ipmi_power",
            "note_systems",
            "plan_job",
            "set_hostname",
            "switch_vlan",
            "task_status",
            "vpn_user",
            "wait_for_host",
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_although_the_telling_is_killed() {
    let tries = json!({"timing": {"retries": 40, "retry_delay": 0}});
    let house = House::with_config(tries).await;
    house
        .lab
        .faults()
        .set(Peer::Switch, Kind::WrongCredentials)
        .unwrap();
    let job = house.book();
    let mut killer = Killer::of(&house, |action| match action {
        "report_failure" => KILLS,
        _ => 0,
    });
    let job = house.settled(job).await;
    killer.stop();
    assert_killed(&house, &["report_failure"]).await;
    house.assert_true(&job).await;
    let (done, failed): (Vec<_>, Vec<_>) = job.tasks.iter().partition(|task| task.status == 200);
    assert_eq!((done.len(), failed.len()), (2, 6), "{:?}", brief(&job));
    assert!(failed.iter().all(|task| task.status == 300), "{:?}", brief(&job));
    assert!(
        done.iter().all(|task| task.message.contains("VPN")),
        "{:?}",
        brief(&job)
    );
    let told = house.lab.bot().messages();
    assert!(
        told.iter().any(|message| message.body.contains("switch")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_end_nobody_could_be_told_is_handed_out_again() {
    // Posts are given up after four times that, one after the other.
    let house = House::with_config(json!({"timing": {"call": 3, "retries": 0}})).await;
    let job = house.book();
    running(&house, "wait_for_host").await;
    house.lab.faults().set(Peer::Dashboard, Kind::Refuse).unwrap();
    let started = Instant::now();
    loop {
        let executions = house.executions().await;
        if of_action(&executions, "fulfill_job").iter().any(|e| is_over(e)) {
            break;
        }
        assert!(started.elapsed() < LIMIT, "{}", house.story().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let state = house.lab.dashboard().job(job).unwrap();
    assert!(
        state.tasks.iter().all(|task| task.status == 100),
        "{:#?}",
        state.tasks
    );
    house.lab.faults().clear(&Peer::Dashboard);
    let job = house.settled(job).await;
    house.assert_whole(&job).await;
    let executions = house.executions().await;
    let times = of_action(&executions, "fulfill_job").len();
    assert!(times >= 2, "{times}");
}

/// [`KILLS`] different numbers, the lowest first.
fn moments(dice: &mut Dice, from: usize, to: usize) -> Vec<usize> {
    let mut moments = BTreeSet::new();
    while moments.len() < KILLS {
        moments.insert(from + dice.below((to - from) as u64) as usize);
    }
    moments.into_iter().collect()
}

/// How many workflows have provisioned hosts: a job that is handed out twice is worked on once.
async fn workflows(house: &House) -> usize {
    let executions = house.executions().await;
    let hosts = of_action(&executions, "provision_host").into_iter();
    let parents: BTreeSet<_> = hosts.map(|execution| execution["parent"].to_string()).collect();
    parents.len()
}

/// Waits until so many executions have ended.
async fn ended(house: &House, count: usize) {
    let wanted = |executions: &[Value]| executions.iter().filter(|e| is_over(e)).count() >= count;
    until(house, &format!("{count} executions have ended"), wanted).await;
}

async fn handed_out(house: &House) {
    let wanted = |executions: &[Value]| !of_action(executions, "fulfill_job").is_empty();
    until(house, "the job is handed out", wanted).await;
}

pub async fn running(house: &House, action: &str) {
    let wanted = |executions: &[Value]| {
        let executions = of_action(executions, action);
        executions.iter().any(|e| e["status"] == "running")
    };
    until(house, &format!("`{action}` runs"), wanted).await;
}

pub async fn until(house: &House, what: &str, wanted: impl Fn(&[Value]) -> bool) {
    let started = Instant::now();
    while !wanted(&house.executions().await) {
        assert!(started.elapsed() < LIMIT, "never {what}: {}", house.story().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As the engine starts it.
fn sensor(house: &House) -> Child {
    Command::new(crate::house::pack().join("actions/bin/dashboard_sensor"))
        .envs(house.stack.environment())
        .env("LAAS_CONFIG_FILE", &house.lab.files()["config"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn replaced(mut old: Child, house: &House) -> Child {
    old.kill().unwrap();
    old.wait().unwrap();
    sensor(house)
}

/// Kills an engine's actions while they run, from a thread of its own.
struct Killer {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// A process that is going to be killed.
struct Victim {
    action: String,
    seen: Instant,
    /// So long after it was seen.
    after: Duration,
}

impl Killer {
    /// Each action at most as often as the limit says: the first time at once, so that it is killed for sure, then at
    /// random moments of its life, as long as that was seen to be.
    fn of(house: &House, limit: fn(&str) -> usize) -> Self {
        let engine = house.stack.engine_pid().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let mut dice = Dice::seeded();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut victims: BTreeMap<u32, Option<Victim>> = BTreeMap::new();
            let mut killed: BTreeMap<String, usize> = BTreeMap::new();
            let mut lives: BTreeMap<String, Duration> = BTreeMap::new();
            while !stopped.load(Ordering::Relaxed) {
                let alive: BTreeMap<_, _> = children(engine).into_iter().collect();
                victims.retain(|process, victim| {
                    let gone = !alive.contains_key(process);
                    if let (true, Some(victim)) = (gone, victim) {
                        // It ended before its time: that is how long they live.
                        lives.insert(victim.action.clone(), victim.seen.elapsed());
                    }
                    !gone
                });
                for (process, action) in alive {
                    let times = killed.get(&action).copied().unwrap_or_default();
                    let life = lives.entry(action.clone()).or_insert(Duration::from_millis(20));
                    let victim = victims.entry(process).or_insert_with(|| {
                        let longest = u64::try_from(life.as_millis()).unwrap() * 5 / 4;
                        let after = if times == 0 { 0 } else { dice.below(longest.max(1)) };
                        (times < limit(&action)).then(|| Victim {
                            action: action.clone(),
                            seen: Instant::now(),
                            after: Duration::from_millis(after),
                        })
                    });
                    if victim.as_ref().is_some_and(|v| v.seen.elapsed() >= v.after) {
                        signal(process, libc::SIGKILL);
                        *life = (*life).max(victim.as_ref().unwrap().seen.elapsed());
                        *victim = None;
                        *killed.entry(action).or_default() += 1;
                    }
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The processes that an engine has started, by the names of their executables.
pub fn children(engine: u32) -> Vec<(u32, String)> {
    let threads = std::fs::read_dir(format!("/proc/{engine}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let processes: Vec<u32> = lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect();
    let named = |process: u32| {
        let path = std::fs::read_link(format!("/proc/{process}/exe")).ok()?;
        path.parent()?.ends_with("actions/bin").then_some(())?;
        Some((process, path.file_name()?.to_str()?.to_owned()))
    };
    processes.into_iter().filter_map(named).collect()
}

/// Each of these actions has lost at least one process to SIGKILL.
async fn assert_killed(house: &House, actions: &[&str]) {
    let killed = kills(house).await;
    println!("killed: {killed:?}");
    for action in actions {
        assert!(
            killed.contains_key(*action),
            "`{action}` was never killed: {killed:?}"
        );
    }
}

/// How many executions of each action were ended by SIGKILL.
async fn kills(house: &House) -> BTreeMap<String, usize> {
    let mut killed = BTreeMap::new();
    for execution in house.executions().await {
        if execution["result"]["return_code"] == -libc::SIGKILL {
            *killed.entry(name(&execution).to_owned()).or_default() += 1;
        }
    }
    killed
}
