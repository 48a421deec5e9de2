//! The same work for many, a few at a time.

use std::sync::{Mutex, PoisonError};

/// Does `work` for each item and returns what came of it, in the order of the items.
///
/// No more than `at_once` (at least one) go side by side: fifty logins begun in one moment take so long, each of them,
/// that their deadlines pass.
pub fn map<T: Sync, R: Send>(items: &[T], at_once: u64, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let at_once = usize::try_from(at_once).unwrap_or(usize::MAX);
    let queue = Mutex::new(items.iter().enumerate());
    let done = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..at_once.max(1).min(items.len()) {
            scope.spawn(|| {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some((index, item)) = next() {
                    let result = work(item);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn no_more_than_asked_go_side_by_side_and_the_order_stays() {
        let items: Vec<usize> = (0..40).collect();
        for (at_once, most) in [(0, 1), (1, 1), (3, 3), (u64::MAX, 40)] {
            let (busy, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let doubled = map(&items, at_once, |item| {
                peak.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                busy.fetch_sub(1, Ordering::SeqCst);
                item * 2
            });
            assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
            assert!(peak.into_inner() <= most, "{at_once}");
        }
        assert_eq!(map(&[] as &[u8], 8, |_| 1), Vec::<i32>::new());
    }

    #[test]
    fn work_goes_side_by_side() {
        // Nobody passes before both are there.
        let meeting = std::sync::Barrier::new(2);
        let met = map(&[1, 2], 2, |item| {
            meeting.wait();
            *item
        });
        assert_eq!(met, [1, 2]);
    }
}
