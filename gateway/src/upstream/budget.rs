//! How many further tries all requests of an upstream have together, so that a failing origin is
//! not asked ever more often just because it fails.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;

/// Tries are earned by the requests of about this long.
const MEMORY: Duration = Duration::from_secs(10);

/// A bucket that requests and time fill, and further tries empty.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// All requests: the only thing that a request without trouble touches.
    requests: AtomicU64,
    spent: AtomicU64,
    refused: AtomicU64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug, Default)]
struct Bucket {
    tries: f64,
    seen: u64,
    at: Option<Duration>,
}

/// What is earned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Further tries per request.
    pub ratio: f64,
    /// Further tries per second, whatever the number of requests.
    pub floor_per_sec: f64,
}

impl Budget {
    /// Counts a request.
    pub(super) fn earn(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// Takes a further try, where there is one.
    pub(super) fn spend(&self, now: Duration, terms: &Terms) -> bool {
        let granted = self.take(now, terms);
        let counter = if granted { &self.spent } else { &self.refused };
        counter.fetch_add(1, Relaxed);
        granted
    }

    /// Further tries so far.
    pub(super) fn spent(&self) -> u64 {
        self.spent.load(Relaxed)
    }

    /// Further tries that there were none left for.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    fn take(&self, now: Duration, terms: &Terms) -> bool {
        let mut bucket = self.bucket.lock();
        let seen = self.requests.load(Relaxed);
        let memory = MEMORY.as_secs_f64();
        let idle = bucket
            .at
            .map_or(memory, |at| now.saturating_sub(at).as_secs_f64());
        // What was earned long ago is forgotten: of a quiet hour's requests those of the last
        // seconds count.
        let recent = if idle > memory { memory / idle } else { 1.0 };
        let earned = seen.saturating_sub(bucket.seen) as f64 * terms.ratio * recent
            + terms.floor_per_sec * idle.min(memory);
        bucket.tries = bucket.tries * (-idle / memory).exp() + earned;
        bucket.seen = seen;
        bucket.at = Some(now);
        let granted = bucket.tries >= 1.0;
        if granted {
            bucket.tries -= 1.0;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(budget: &Budget, terms: &Terms, requests: u64, now: u64) -> usize {
        (0..requests)
            .filter(|_| {
                budget.earn();
                budget.spend(Duration::from_secs(now), terms)
            })
            .count()
    }

    #[test]
    fn a_share_of_the_requests_may_be_tried_again() {
        let terms = Terms {
            ratio: 0.2,
            floor_per_sec: 0.0,
        };
        let budget = Budget::default();
        let tries = granted(&budget, &terms, 1000, 5);
        assert!((195..=200).contains(&tries), "{tries}");
        assert_eq!(budget.spent() + budget.refused(), 1000);
    }

    #[test]
    fn a_few_tries_are_always_there() {
        let terms = Terms {
            ratio: 0.0,
            floor_per_sec: 2.0,
        };
        let budget = Budget::default();
        assert_eq!(granted(&budget, &terms, 1000, 5), 20);
        assert_eq!(granted(&budget, &terms, 1000, 6), 2);
    }

    #[test]
    fn a_quiet_hour_earns_no_storm() {
        let terms = Terms {
            ratio: 0.2,
            floor_per_sec: 0.0,
        };
        let budget = Budget::default();
        budget.spend(Duration::ZERO, &terms);
        for _ in 0..36_000 {
            budget.earn();
        }
        let tries = (0..36_000)
            .filter(|_| budget.spend(Duration::from_secs(3600), &terms))
            .count();
        assert!((19..=21).contains(&tries), "{tries}");
    }
}
