//! Looks at the dashboard again and again, and hands each job that has work to the engine, as long as no execution is
//! at it already.
//!
//! Nothing that a peer answers ends it, but for the engine's refusal of its token: StackStorm gives a sensor one for a
//! day and a new one when it is started again.

pub mod lost_actions;
pub mod schedule;
pub mod watchdog;

use laas_core::config::Config;
use laas_core::datastore::{Datastore, DatastoreError};
use laas_core::engine::{Engine, EngineError};
use laas_core::failure::Context as _;
use laas_core::ledger::Record;
use laas_core::names::TaskId;
use laas_core::wait::{self, Deadline, Ended, Stop};
use laas_core::{Failure, Kind, action, config, failure, ledger};
use laas_dashboard::{Dashboard, DashboardError, List};
use schedule::{Piece, Schedule, left_over, unfinished};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::{Discriminant, discriminant};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use watchdog::Watchdog;

/// The workflow that the rule `laas.fulfill_job` starts.
const ACTION: &str = "laas.fulfill_job";
const TRIGGER: &str = "laas.job_ready";
/// The (encrypted) datastore key of our token for the dashboard.
const TOKEN_KEY: &str = "lab_auth_token";
/// `jobs/done` grows for ever, and what is found missing there waits for nobody.
const LOOKS_AT_DONE: u32 = 20;
/// A look has a limit for each exchange; one that takes so long, and as long as so many exchanges, hangs elsewhere.
const WATCHDOG: Duration = Duration::from_secs(600);
const WATCHDOG_CALLS: u32 = 60;
/// How long an exchange under way may still take after SIGTERM; nothing can be left half-done.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Why a look at the dashboard was in vain.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("can't see which jobs are worked on")]
    Engine(#[from] EngineError),
    #[error("can't read the datastore")]
    Datastore(#[from] DatastoreError),
    #[error("the datastore has no key `{TOKEN_KEY}`; load it with `st2 key set --encrypt {TOKEN_KEY} …`")]
    NoToken,
    #[error("can't see the jobs")]
    Dashboard(#[from] DashboardError),
    #[error("can't hand out job {job}")]
    Dispatch { job: u64, source: EngineError },
}

impl LookError {
    /// What kind of trouble it is: a peer that is away is refused, reset and cut off in turn, in other words each time.
    fn trouble(&self) -> (Discriminant<Self>, Option<Discriminant<DashboardError>>) {
        let inner = match self {
            Self::Dashboard(error) => Some(discriminant(error)),
            _ => None,
        };
        (discriminant(self), inner)
    }

    /// Whether only a new process can do better.
    fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Engine(EngineError::Token { status: 401 })
                | Self::Datastore(DatastoreError::Token { status: 401, .. })
                | Self::Dispatch {
                    source: EngineError::Token { status: 401 },
                    ..
                }
        )
    }
}

struct Sensor {
    config: config::Dashboard,
    timeout: Duration,
    datastore: Datastore,
    engine: Engine,
    /// Made anew when the token was refused, since it may have been changed.
    dashboard: Option<Dashboard>,
    schedule: Schedule,
    looks: u32,
    /// The work of jobs that were in no list when all were last read.
    missing: BTreeMap<u64, BTreeSet<Piece>>,
    /// Remembered tasks that were in no job when all jobs were last asked for.
    vanished: BTreeSet<TaskId>,
}

/// The sensor's command line, which has nothing but its help.
pub fn command() -> clap::Command {
    clap::Command::new("dashboard_sensor")
        .about("Look at the dashboard for jobs and dispatch laas.job_ready for each that has work")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(
            "Example:\n  ST2_API_URL=http://127.0.0.1:9101/v1 ST2_API_KEY=… dashboard_sensor\n\nAn engine starts it by \
             `sensors/`; it ends on SIGTERM.",
        )
}

/// The whole `main` of the sensor's executable; it ends on SIGTERM.
pub fn main() -> ExitCode {
    command().get_matches();
    action::start_log();
    stop_on_signal();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(peer = failure.peer, "{failure}");
            ExitCode::from(failure.kind as u8)
        }
    }
}

fn run() -> Result<(), Failure> {
    let config = Config::load()?;
    let dashboard = config.dashboard()?.clone();
    let poll = Duration::from_millis(dashboard.poll_ms);
    let datastore = Datastore::from_env().at_peer("datastore")?;
    let engine = Engine::from_env().at_peer("engine")?;
    let mut sensor = Sensor {
        config: dashboard,
        timeout: config.timing.call(),
        datastore,
        engine: engine.ok_or_else(|| {
            Failure::input("no engine to hand jobs to").hint("set `ST2_API_URL` and `ST2_AUTH_TOKEN`")
        })?,
        dashboard: None,
        schedule: Schedule::new(poll),
        looks: 0,
        missing: BTreeMap::new(),
        vanished: BTreeSet::new(),
    };
    lost_actions::watch(
        sensor.engine.clone(),
        sensor.datastore.clone(),
        config.timing.heartbeat(),
    );
    let watchdog = Watchdog::start(WATCHDOG.max(WATCHDOG_CALLS * config.timing.call()), || {
        tracing::error!("a look at the dashboard does not end; ending, to be started again");
        std::process::exit(i32::from(Kind::Unreachable as u8));
    });
    let mut trouble = None;
    loop {
        let looked = watchdog.during(|| sensor.look());
        let now = match looked {
            Ok(()) => None,
            Err(error) if error.is_fatal() => {
                return Err(Failure::refused(failure::chain(&error)).peer("engine"));
            }
            Err(error) => {
                let now = Some(error.trouble());
                // Once per trouble: a dashboard can be away for a night.
                if trouble != now {
                    tracing::warn!(error = failure::chain(&error), "trying again with each look");
                }
                now
            }
        };
        if now.is_none() && trouble.is_some() {
            tracing::info!("everything answers again");
        }
        trouble = now;
        if Deadline::after(2 * poll).sleep(poll) == Err(Ended::Cancelled) {
            return Ok(());
        }
    }
}

impl Sensor {
    /// One look: reads the lists and hands out what is due.
    fn look(&mut self) -> Result<(), LookError> {
        let dashboard = match &self.dashboard {
            Some(dashboard) => dashboard.clone(),
            None => self.connect()?,
        };
        // What one list shows is worked on although another can't be read.
        let mut failed = None;
        let mut read = |list| match dashboard.jobs(list) {
            Ok(jobs) => Some(jobs),
            Err(error) => {
                if matches!(error, DashboardError::Token) {
                    self.dashboard = None;
                }
                failed = Some(LookError::Dashboard(error));
                None
            }
        };
        let (new, current) = (read(List::New), read(List::Current));
        let is_whole = new.is_some() && current.is_some();
        let done = (is_whole && self.looks.is_multiple_of(LOOKS_AT_DONE))
            .then(|| read(List::Done))
            .flatten();
        let mut work = unfinished(new.iter().chain(&current).flatten());
        // A job that is in neither list is over, but only if both were read.
        if is_whole {
            let ledger = ledger::all(&self.datastore)?;
            if let Some(done) = done {
                let done = done.iter().map(|job| job.id).collect();
                self.missing = left_over(&ledger, &work, Some(&done));
            }
            if self.looks.is_multiple_of(LOOKS_AT_DONE) {
                let (vanished, error) = vanished(&dashboard, &ledger);
                self.vanished = vanished;
                failed = error.map(LookError::Dashboard).or(failed);
            }
            self.looks = self.looks.wrapping_add(1);
            let missing = self
                .missing
                .iter()
                .filter(|(job, _)| ledger.iter().any(|(_, r)| r.job == **job));
            let missing: Vec<_> = missing.map(|(job, pieces)| (*job, pieces.clone())).collect();
            for (job, pieces) in left_over(&ledger, &work, None).into_iter().chain(missing) {
                work.entry(job).or_insert(pieces);
            }
            for (task, record) in ledger.iter().filter(|(task, _)| self.vanished.contains(task)) {
                let piece = (task.clone(), format!("{}:{}", record.digest, record.state));
                work.entry(record.job).or_default().insert(piece);
            }
        }
        let now = Instant::now();
        let due = self.schedule.due(&work, now);
        if due.is_empty() {
            return failed.map_or(Ok(()), Err);
        }
        let executions = self.engine.live_executions(ACTION)?;
        let alive: BTreeSet<u64> = executions
            .iter()
            .filter_map(|p| p.get("job_id")?.as_u64())
            .collect();
        for job in due {
            if alive.contains(&job) {
                self.schedule.alive(job, now);
                continue;
            }
            let payload = json!({"job_id": job});
            match self
                .engine
                .dispatch(TRIGGER, &payload, &format!("laas-job-{job}"))
            {
                Ok(()) => {
                    tracing::info!(job, tasks = work[&job].len(), "handed out");
                    self.schedule.handed_out(job, &work[&job], now);
                }
                // The other jobs get their chance.
                Err(source) => failed = Some(LookError::Dispatch { job, source }),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn connect(&mut self) -> Result<Dashboard, LookError> {
        let token = self.datastore.get(TOKEN_KEY)?.ok_or(LookError::NoToken)?;
        let dashboard = Dashboard::new(&self.config, &token, self.timeout)?;
        Ok(self.dashboard.insert(dashboard).clone())
    }
}

/// The remembered tasks that the dashboard took out of jobs that it still has. A job that can't be read hides no other.
fn vanished(
    dashboard: &Dashboard,
    ledger: &[(TaskId, Record)],
) -> (BTreeSet<TaskId>, Option<DashboardError>) {
    let mut vanished = BTreeSet::new();
    let mut failed = None;
    let jobs: BTreeSet<u64> = ledger.iter().map(|(_, record)| record.job).collect();
    for job in jobs {
        let tasks = match dashboard.job(job) {
            Ok(Some(tasks)) => tasks,
            Ok(None) => continue,
            Err(error) => {
                failed = Some(error);
                continue;
            }
        };
        let of_job = ledger.iter().filter(|(_, record)| record.job == job);
        let gone = of_job.filter(|(id, _)| tasks.iter().all(|task| task.id != *id));
        vanished.extend(gone.map(|(id, _)| id.clone()));
    }
    (vanished, failed)
}

fn stop_on_signal() {
    use signal_hook::consts::{SIGINT, SIGTERM};
    match signal_hook::iterator::Signals::new([SIGTERM, SIGINT]) {
        Ok(mut signals) => {
            std::thread::spawn(move || {
                if signals.forever().next().is_some() {
                    wait::stop(Stop::Signal);
                    std::thread::sleep(STOP_GRACE);
                    std::process::exit(0);
                }
            });
        }
        Err(error) => tracing::warn!(%error, "a signal will end this at once"),
    }
}
