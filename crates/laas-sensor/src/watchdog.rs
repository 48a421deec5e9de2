//! Notices work that does not end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks at the clock, at most.
const TICK: Duration = Duration::from_secs(1);

pub struct Watchdog(Arc<Mutex<Option<Instant>>>);

impl Watchdog {
    /// Calls `late` once, from a thread of its own, when work takes longer than `limit`.
    pub fn start(limit: Duration, late: impl FnOnce() + Send + 'static) -> Self {
        let begun = Arc::new(Mutex::new(None::<Instant>));
        let seen = begun.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(TICK.min(limit));
                let begun = *seen.lock().unwrap_or_else(PoisonError::into_inner);
                if begun.is_some_and(|begun| begun.elapsed() > limit) {
                    return late();
                }
            }
        });
        Self(begun)
    }

    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.set(Some(Instant::now()));
        let result = work();
        self.set(None);
        result
    }

    fn set(&self, begun: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = begun;
    }
}
