//! Deadlines, and waits that end when the process is to.

use crate::Kind;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

static STOP: AtomicU8 = AtomicU8::new(0);

/// Why this process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The engine lets this process read and write nothing any more; the next run has a token of its own.
    #[error("the engine refuses our token: it has expired or was revoked")]
    Token = 1,
    /// The process has to go; what it waits for is still wanted, and the next run goes on with it.
    #[error("stopped by a signal")]
    Signal = 2,
    /// The engine has given this execution up and may be at the next one already.
    #[error("given up by the engine")]
    GivenUp = 3,
    /// Nobody wants the work any more.
    #[error("cancelled")]
    Cancelled = 4,
}

impl Stop {
    /// How an action ends that was stopped so.
    pub fn kind(self) -> Kind {
        match self {
            Self::Token => Kind::Unreachable,
            Self::Signal | Self::GivenUp | Self::Cancelled => Kind::Cancelled,
        }
    }
}

/// Asks every wait of this process to end. A cancel after a signal still counts.
pub fn stop(why: Stop) {
    STOP.fetch_max(why as u8, Ordering::SeqCst);
}

/// Why this process is to end, if it is.
pub fn stopped() -> Option<Stop> {
    match STOP.load(Ordering::SeqCst) {
        0 => None,
        1 => Some(Stop::Token),
        2 => Some(Stop::Signal),
        3 => Some(Stop::GivenUp),
        _ => Some(Stop::Cancelled),
    }
}

/// Why a wait ended without what it waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    #[error("the deadline has passed")]
    Deadline,
    /// By a [`Stop`] of either kind.
    #[error("cancelled")]
    Cancelled,
}

/// A moment by which something must have happened.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    pub fn seconds(seconds: u64) -> Self {
        Self::after(Duration::from_secs(seconds))
    }

    /// The time that is left; zero when it has passed.
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// `limit`, or what is left if that is less; never zero, so that it can be a socket's timeout.
    pub fn cap(&self, limit: Duration) -> Duration {
        self.left().min(limit).max(Duration::from_millis(1))
    }

    /// # Errors
    /// The deadline has passed, or this process is to end.
    pub fn check(&self) -> Result<(), Ended> {
        if stopped().is_some() {
            Err(Ended::Cancelled)
        } else if self.left().is_zero() {
            Err(Ended::Deadline)
        } else {
            Ok(())
        }
    }

    /// Sleeps for `duration` or until the deadline, whichever is first.
    ///
    /// # Errors
    /// As [`Deadline::check`], looked at before and, several times a second, during the sleep.
    pub fn sleep(&self, duration: Duration) -> Result<(), Ended> {
        let end = Instant::now() + duration;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(100)).min(self.left()));
        }
    }
}

/// Pauses between two looks at a peer: short at first, since most things are quick, then longer.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub fn new(first: Duration, most: Duration) -> Self {
        Self {
            next: first.min(most),
            most,
        }
    }

    /// Sleeps the present pause and makes the next one half as long again.
    ///
    /// # Errors
    /// As [`Deadline::sleep`].
    pub fn pause(&mut self, deadline: &Deadline) -> Result<(), Ended> {
        let now = self.next;
        self.next = (now * 3 / 2).min(self.most);
        deadline.sleep(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_its_deadline() {
        let deadline = Deadline::after(Duration::from_millis(20));
        assert_eq!(deadline.sleep(Duration::from_secs(60)), Err(Ended::Deadline));
        assert_eq!(deadline.left(), Duration::ZERO);
        assert!(!deadline.cap(Duration::from_secs(1)).is_zero());
    }
}
