//! When a job is handed out, and when again. Time is given, not waited for.

use laas_sensor::schedule::{Piece, Schedule};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

fn work(pieces: &[(u8, &str)]) -> BTreeSet<Piece> {
    let piece = |(task, digest): &(u8, &str)| {
        let id = format!("00000000-0000-4000-8000-00000000000{task}");
        (id.parse().unwrap(), (*digest).to_owned())
    };
    pieces.iter().map(piece).collect()
}

struct Clock {
    start: Instant,
    schedule: Schedule,
}

impl Clock {
    /// The first pause is a minute.
    fn new() -> Self {
        Self {
            start: Instant::now(),
            schedule: Schedule::new(Duration::from_secs(15)),
        }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    /// Whether job 1 is due at this second with these pieces; hands it out if it is and no execution is `alive`.
    fn look(&mut self, seconds: u64, pieces: &[(u8, &str)], alive: bool) -> bool {
        let now = self.at(seconds);
        let jobs = BTreeMap::from([(1, work(pieces))]);
        let due = !self.schedule.due(&jobs, now).is_empty();
        match (due, alive) {
            (true, true) => self.schedule.alive(1, now),
            (true, false) => self.schedule.handed_out(1, &jobs[&1], now),
            _ => {}
        }
        due && !alive
    }
}

#[test]
fn work_that_stays_waits_longer_each_time() {
    let mut clock = Clock::new();
    let mut handed_out = Vec::new();
    for seconds in (0..10_000).step_by(15) {
        if clock.look(seconds, &[(1, "a")], false) {
            handed_out.push(seconds);
        }
    }
    assert_eq!(handed_out, [0, 60, 180, 420, 900, 1860, 3780, 7380]);
}

#[test]
fn new_work_does_not_wait_for_old() {
    let mut clock = Clock::new();
    assert!(clock.look(0, &[(1, "a")], false));
    // The execution may not have been made yet: its plan will hold the new task too.
    assert!(!clock.look(15, &[(1, "a"), (2, "a")], false));
    assert!(!clock.look(61, &[(1, "a"), (2, "a")], true));
    // The execution was seen and is gone; the second task was not in its plan.
    assert!(clock.look(75, &[(1, "a"), (2, "a")], false));
    // Another delta of the same task is other work, too.
    assert!(!clock.look(90, &[(2, "b")], false));
    assert!(clock.look(135, &[(2, "b")], false));
}

#[test]
fn work_that_comes_back_is_new() {
    let mut clock = Clock::new();
    assert!(clock.look(0, &[(1, "a"), (2, "a")], false));
    assert!(!clock.look(60, &[(1, "a"), (2, "a")], true));
    assert!(!clock.look(75, &[(2, "a")], false));
    // Reset to the image it has: the same delta.
    assert!(clock.look(90, &[(1, "a"), (2, "a")], false));
    // A job that was done is forgotten.
    let now = clock.at(91);
    assert!(clock.schedule.due(&BTreeMap::new(), now).is_empty());
    assert!(clock.look(92, &[(1, "a")], false));
}

#[test]
fn what_lost_its_execution_is_handed_out_again() {
    let mut clock = Clock::new();
    assert!(clock.look(0, &[(1, "a")], false));
    for seconds in (60..3000).step_by(60) {
        assert!(!clock.look(seconds, &[(1, "a")], true), "{seconds}");
    }
    assert!(!clock.look(2970, &[(1, "a")], false));
    assert!(clock.look(3000, &[(1, "a")], false));
}

#[test]
fn a_job_that_ends_lets_the_others_try_again() {
    let mut schedule = Schedule::new(Duration::from_secs(15));
    let start = Instant::now();
    let both = BTreeMap::from([(1, work(&[(1, "a")])), (2, work(&[(2, "b")]))]);
    let one = BTreeMap::from([(1, work(&[(1, "a")]))]);
    for seconds in [0, 60, 180] {
        let now = start + Duration::from_secs(seconds);
        assert_eq!(schedule.due(&both, now), [1, 2], "{seconds}");
        for job in [1, 2] {
            schedule.handed_out(job, &both[&job], now);
        }
    }
    // Job 1 would wait for 240 seconds, and waits for 60 since the other one has left.
    assert_eq!(schedule.due(&both, start + Duration::from_secs(239)), [0_u64; 0]);
    assert_eq!(schedule.due(&one, start + Duration::from_secs(240)), [1]);
}
