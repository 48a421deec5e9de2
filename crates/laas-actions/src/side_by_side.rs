//! Work on threads that nobody waits for to their end: what hangs holds up neither the rest nor the process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// A silent BMC takes eight seconds: all of fifty must be asked at once to be done in time.
const AT_ONCE: usize = 64;

pub type Job<T> = Box<dyn FnOnce() -> T + Send>;

/// What came of each job, in their order; `None` where that was not known in time.
pub fn all<T: Send + 'static>(limit: Duration, jobs: Vec<Job<T>>) -> Vec<Option<T>> {
    let ends = Instant::now() + limit;
    let mut results: Vec<Option<T>> = jobs.iter().map(|_| None).collect();
    let workers = AT_ONCE.min(jobs.len());
    let queue: VecDeque<_> = jobs.into_iter().enumerate().collect();
    let queue = Arc::new(Mutex::new(queue));
    let (tell, told) = mpsc::channel();
    for _ in 0..workers {
        let (queue, tell) = (queue.clone(), tell.clone());
        std::thread::spawn(move || {
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some((number, job)) = next() {
                if tell.send((number, job())).is_err() {
                    return;
                }
            }
        });
    }
    drop(tell);
    for _ in 0..results.len() {
        let left = ends.saturating_duration_since(Instant::now());
        let Ok((number, result)) = told.recv_timeout(left) else {
            break;
        };
        results[number] = Some(result);
    }
    results
}

/// What comes of one job.
pub fn within<T: Send + 'static>(limit: Duration, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    all(limit, vec![Box::new(job) as Job<T>]).pop().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_holds_up_nobody() {
        let (keep, hangs) = mpsc::channel::<()>();
        let mut jobs: Vec<Job<usize>> = vec![Box::new(move || {
            let _ = hangs.recv();
            0
        })];
        jobs.extend((1..200_usize).map(|number| Box::new(move || number) as Job<usize>));
        let results = all(Duration::from_secs(2), jobs);
        assert_eq!(results[0], None);
        assert!((1..200).all(|number| results[number] == Some(number)));
        drop(keep);
    }
}
