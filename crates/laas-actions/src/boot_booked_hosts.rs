//! After a power cut: switches on the hosts that are booked and off, and no others.

mod table;

use crate::hosts::{self, Failed};
use crate::{bmcs, fog_tasks, posting};
use laas_bmc::power::{self, Command, Patience};
use laas_bmc::{BmcError, Power};
use laas_core::action::{Action, Context};
use laas_core::failure::Context as _;
use laas_core::json_arg::JsonArg;
use laas_core::wait::{Deadline, Ended};
use laas_core::{Failure, HostName, Kind, inventory, parallel};
use laas_dashboard::{Dashboard, DashboardError, List, Work};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const DASHBOARD: &str = "dashboard";
/// After so long no further host is begun: with what one takes at most, the action ends before its engine ends it.
const LIMIT: Duration = Duration::from_secs(3600);
/// The longest pause between two starts, in seconds.
const MOST_INTERVAL: u64 = 60;

#[derive(clap::Args)]
#[command(rename_all = "snake_case")]
pub struct Args {
    /// Look at these hosts only, instead of all that the inventory has, e.g. ["pod1", "pod2"].
    #[arg(
        long,
        env = "LAAS_HOSTS",
        hide_env_values = true,
        value_name = "JSON",
        default_value_t
    )]
    hosts: JsonArg<Option<Vec<HostName>>>,
    /// Hosts that are worked on side by side, e.g. 4.
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    concurrency: u64,
    /// Seconds between two starts, so that they don't all draw power at once, e.g. 10.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=MOST_INTERVAL))]
    interval: u64,
    /// Show what would change and change nothing.
    #[arg(long = "dry_run")]
    dry_run: bool,
}

#[derive(Serialize)]
pub struct Output {
    changed: bool,
    hosts: Vec<Row>,
}

/// What became of a host.
#[derive(Debug, Serialize)]
struct Row {
    host: HostName,
    /// `None`: the dashboard does not know it, or does not say.
    booked: Option<bool>,
    /// `None`: nobody asked its BMC, or it did not say.
    before: Option<Power>,
    after: Option<Power>,
    changed: bool,
    /// Why a host that may be off was left alone.
    skipped: Option<String>,
    error: Option<String>,
    #[serde(skip)]
    failure: Option<Failure>,
}

impl Action for Args {
    const NAME: &'static str = "boot_booked_hosts";
    const ABOUT: &'static str =
        "After a power cut, switch on the hosts that are booked and off, one after the other, and no others";
    const EXAMPLE: &'static [&'static str] = &["--dry_run"];
    type Output = Output;

    fn run(self, context: &Context) -> Result<Output, Failure> {
        let deadline = Deadline::after(LIMIT);
        let dashboard = posting::connect(context)?;
        let names = names(context, self.hosts.get("hosts")?)?;
        let at_once = self.concurrency;
        // All of this before any host is touched: a dashboard that fails half-way says nothing about the rest.
        let mut rows = ask(&dashboard, &names, at_once)?;
        let lab = Lab {
            context,
            dashboard,
            deadline,
            interval: Duration::from_secs(self.interval),
            next: Mutex::new(Instant::now()),
        };
        let mut busy = lab.at_work()?;
        for row in &mut rows {
            match row.booked {
                None if row.failure.is_none() => {
                    row.skipped = Some("the dashboard does not know it".to_owned())
                }
                Some(true) => row.skipped = busy.remove(&row.host),
                _ => {}
            }
        }
        let is_free = |row: &Row| row.booked == Some(true) && row.skipped.is_none();
        each(&mut rows, at_once, is_free, |row| lab.look(row));
        if self.dry_run {
            for row in rows.iter_mut().filter(|row| row.is_off()) {
                (row.after, row.changed) = (Some(Power::On), true);
            }
        } else {
            each(&mut rows, at_once, Row::is_off, |row| lab.start(row));
        }
        table::print(&rows);
        let failed = rows.iter_mut().filter_map(|row| {
            let failure = row.failure.take()?;
            Some(Failed::one(&row.host, failure))
        });
        let failed = hosts::merged(failed.collect());
        let output = Output {
            changed: rows.iter().any(|row| row.changed),
            hosts: rows,
        };
        match failed {
            None => Ok(output),
            Some(failure) => Err(Failure {
                done: Some(serde_json::json!(output)),
                ..failure
            }),
        }
    }
}

/// Those that are asked for, each once, else all of the inventory.
fn names(context: &Context, asked: Option<Vec<HostName>>) -> Result<Vec<HostName>, Failure> {
    let known = inventory::names(context.datastore()?).at_peer("datastore")?;
    let Some(mut asked) = asked else {
        return Ok(known);
    };
    if let Some(unknown) = asked.iter().find(|host| !known.contains(host)) {
        let error = format!("host `{unknown}` is not in the datastore's list `hosts`");
        return Err(Failure::input(error).host(unknown));
    }
    asked.sort();
    asked.dedup();
    Ok(asked)
}

/// A row for each host with whether it is booked, or that the dashboard can't say it of this one.
fn ask(dashboard: &Dashboard, names: &[HostName], at_once: u64) -> Result<Vec<Row>, Failure> {
    let answers = parallel::map(names, at_once, |host| dashboard.is_booked(host));
    let mut rows = Vec::new();
    for (host, answer) in names.iter().zip(answers) {
        let mut row = Row::new(host);
        match answer {
            Ok(booked) => row.booked = booked,
            Err(error @ DashboardError::Answer { status: 500, .. }) => {
                let hint = "a dashboard of 2022 answers so for a host that it does not know";
                row.failed(Failure::from(error).hint(hint).peer(DASHBOARD).host(host));
            }
            Err(error) => return Err(error).at_peer(DASHBOARD).of_host(host),
        }
        rows.push(row);
    }
    // Another server than the dashboard has no such page for any of them.
    if !rows.is_empty()
        && rows
            .iter()
            .all(|row| row.booked.is_none() && row.failure.is_none())
    {
        return Err(Failure::refused("the dashboard knows none of the hosts")
            .hint("check `dashboard.address`, and the hosts' names on the dashboard")
            .peer(DASHBOARD));
    }
    Ok(rows)
}

/// Does something for some of the rows, side by side.
fn each(rows: &mut [Row], at_once: u64, which: impl Fn(&Row) -> bool, deed: impl Fn(&mut Row) + Sync) {
    let rows: Vec<_> = rows.iter_mut().filter(|row| which(row)).map(Mutex::new).collect();
    parallel::map(&rows, at_once, |row| {
        deed(&mut row.lock().unwrap_or_else(PoisonError::into_inner));
    });
}

/// What all hosts have in common.
struct Lab<'a> {
    context: &'a Context,
    dashboard: Dashboard,
    deadline: Deadline,
    interval: Duration,
    /// When the next host may start.
    next: Mutex<Instant>,
}

impl Lab<'_> {
    /// The hosts that a job works on or is about to, and what that is. Such a host may be off on purpose, while its disk
    /// is written or its ports change; the job, or the sensor that hands it out again, switches it on.
    fn at_work(&self) -> Result<BTreeMap<HostName, String>, Failure> {
        let mut busy = BTreeMap::new();
        for list in [List::New, List::Current] {
            for job in self.dashboard.jobs(list).at_peer(DASHBOARD)? {
                for task in job.tasks {
                    let (host, what) = match task.work {
                        Work::Hardware { host, .. } => (host, "hardware"),
                        Work::Network { host, .. } => (host, "network"),
                        Work::Snapshot { host, .. } => (host, "snapshot"),
                        _ => continue,
                    };
                    let work = format!("job {} has an unfinished {what} task for it", job.id);
                    busy.insert(host, work);
                }
            }
        }
        Ok(busy)
    }

    /// Asks the BMC, unless FOG is known to be at the host's disk.
    fn look(&self, row: &mut Row) {
        let look = || {
            self.has_time()?;
            let work = fog_tasks::unfinished(self.context, &row.host)?;
            if work.is_some() {
                return Ok((work, None));
            }
            let held = bmcs::hold(self.context, &row.host)?;
            let power = held.bmc.power().at_peer(bmcs::PEER).of_host(&row.host)?;
            Ok((None, Some(power)))
        };
        match look() {
            Ok((work, power)) => (row.skipped, row.before, row.after) = (work, power, power),
            Err(failure) => row.failed(failure),
        }
    }

    /// Switches a host on that was off a while ago.
    fn start(&self, row: &mut Row) {
        if let Err(failure) = self.try_start(row) {
            row.failed(failure);
        }
    }

    fn try_start(&self, row: &mut Row) -> Result<(), Failure> {
        let timing = &self.context.config()?.timing;
        self.wait_for_a_turn().of_host(&row.host)?;
        let held = bmcs::hold(self.context, &row.host)?;
        // While the others had their turns, a job may have begun with this one, or somebody have given it back.
        let work = match self.at_work()?.remove(&row.host) {
            Some(work) => Some(work),
            None => fog_tasks::unfinished(self.context, &row.host)?,
        };
        if work.is_some() {
            row.skipped = work;
            return Ok(());
        }
        let booked = self.dashboard.is_booked(&row.host);
        row.booked = booked.at_peer(DASHBOARD).of_host(&row.host)?;
        if row.booked != Some(true) {
            row.skipped = Some("it is not booked any more".to_owned());
            return Ok(());
        }
        let patience = Patience {
            limit: Duration::from_secs(timing.power),
            poll: timing.poll(),
            force: false,
        };
        let switched = || {
            let now = held.bmc.power()?;
            let after = power::run(held.bmc.as_ref(), Command::On, now, &patience)?;
            Ok::<_, BmcError>((now, after))
        };
        let (now, after) = switched().at_peer(bmcs::PEER).of_host(&row.host)?;
        row.after = Some(after);
        row.changed = power::acts(Command::On, now);
        Ok(())
    }

    fn wait_for_a_turn(&self) -> Result<(), Failure> {
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next).max(Instant::now());
            *next = turn + self.interval;
            turn
        };
        // Whether the pause came to its end is asked below.
        let _ = self
            .deadline
            .sleep(turn.saturating_duration_since(Instant::now()));
        self.has_time()
    }

    fn has_time(&self) -> Result<(), Failure> {
        self.deadline.check().map_err(|ended| match ended {
            Ended::Deadline => Failure::new(Kind::Unreachable, "no time was left for it"),
            Ended::Cancelled => Failure::new(Kind::Cancelled, ended.to_string()),
        })
    }
}

impl Row {
    fn new(host: &HostName) -> Self {
        Self {
            host: host.clone(),
            booked: None,
            before: None,
            after: None,
            changed: false,
            skipped: None,
            error: None,
            failure: None,
        }
    }

    fn is_off(&self) -> bool {
        self.before == Some(Power::Off)
    }

    fn failed(&mut self, failure: Failure) {
        self.error = Some(failure.error.clone());
        self.failure = Some(failure);
    }
}
