//! Which jobs are handed out, and when again.

use laas_core::ledger::Record;
use laas_core::names::TaskId;
use laas_dashboard::Job;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Between handing out the same work twice, at first: the engine needs a moment to make the execution, and work that
/// has failed without a word to the dashboard fails likely again.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The first pause is at least so many polls long.
const FIRST_PAUSE_POLLS: u32 = 4;
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// A piece of work: the task and the digest of its delta.
pub type Piece = (TaskId, String);

/// What was handed out, as long as it is in the dashboard's lists. It is lost with the process: then one dispatch too
/// many finds the tasks claimed.
#[derive(Debug)]
pub struct Schedule {
    jobs: BTreeMap<u64, HandedOut>,
    first_pause: Duration,
}

#[derive(Debug)]
struct HandedOut {
    work: BTreeSet<Piece>,
    /// When it was handed out, or when its execution was last seen.
    last: Instant,
    pause: Duration,
    /// The execution was seen, or has had its time to appear.
    appeared: bool,
}

/// The unfinished work of every job, from `jobs/new` and `jobs/current`.
pub fn unfinished<'a>(lists: impl Iterator<Item = &'a Job>) -> BTreeMap<u64, BTreeSet<Piece>> {
    let mut work: BTreeMap<u64, BTreeSet<Piece>> = BTreeMap::new();
    for job in lists {
        let pieces = job.tasks.iter().map(|task| (task.id.clone(), task.digest()));
        work.entry(job.id).or_default().extend(pieces);
    }
    work.retain(|_, pieces| !pieces.is_empty());
    work
}

/// The work of jobs that are in neither list, by what the lab remembers: what could not be taken back of a booking that
/// is over, which the dashboard never hands out again. With `done`, the jobs of `jobs/done`, also all of a job that is
/// not there either: every task of it has failed, or its booking was deleted.
pub fn left_over(
    ledger: &[(TaskId, Record)],
    listed: &BTreeMap<u64, BTreeSet<Piece>>,
    done: Option<&BTreeSet<u64>>,
) -> BTreeMap<u64, BTreeSet<Piece>> {
    let mut work: BTreeMap<u64, BTreeSet<Piece>> = BTreeMap::new();
    for (task, record) in ledger.iter().filter(|(_, r)| !listed.contains_key(&r.job)) {
        let missing = done.is_some_and(|done| !done.contains(&record.job));
        if record.release || missing {
            let piece = (task.clone(), format!("{}:{}", record.digest, record.state));
            work.entry(record.job).or_default().insert(piece);
        }
    }
    work
}

impl Schedule {
    /// `poll` is the time between two looks.
    pub fn new(poll: Duration) -> Self {
        Self {
            jobs: BTreeMap::new(),
            first_pause: FIRST_PAUSE.max(FIRST_PAUSE_POLLS * poll),
        }
    }

    /// The jobs whose turn it is, unless an execution for them is alive.
    pub fn due(&mut self, work: &BTreeMap<u64, BTreeSet<Piece>>, now: Instant) -> Vec<u64> {
        // What has left the lists was finished; if it comes back, it is new.
        let before = self.jobs.len();
        self.jobs.retain(|job, _| work.contains_key(job));
        // Others may have waited for its hosts.
        if self.jobs.len() < before {
            for handed_out in self.jobs.values_mut() {
                handed_out.pause = self.first_pause;
            }
        }
        for (job, handed_out) in &mut self.jobs {
            handed_out.work.retain(|piece| work[job].contains(piece));
        }
        let is_due = |(job, pieces): (&u64, &BTreeSet<Piece>)| {
            let due = self.jobs.get(job).is_none_or(|handed_out| {
                let waited = now.duration_since(handed_out.last);
                let has_news = !pieces.is_subset(&handed_out.work);
                waited >= handed_out.pause
                    || (has_news && (handed_out.appeared || waited >= self.first_pause))
            });
            due.then_some(*job)
        };
        work.iter().filter_map(is_due).collect()
    }

    /// An execution for the job is alive.
    pub fn alive(&mut self, job: u64, now: Instant) {
        if let Some(handed_out) = self.jobs.get_mut(&job) {
            handed_out.last = now;
            handed_out.appeared = true;
        }
    }

    /// The job was handed out with this work. The same work again waits twice as long as before.
    pub fn handed_out(&mut self, job: u64, work: &BTreeSet<Piece>, now: Instant) {
        let again = self.jobs.get(&job).filter(|before| work.is_subset(&before.work));
        let pause = again.map_or(self.first_pause, |before| (2 * before.pause).min(LONGEST_PAUSE));
        let handed_out = HandedOut {
            work: work.clone(),
            last: now,
            pause,
            appeared: false,
        };
        self.jobs.insert(job, handed_out);
    }
}
