//! What is remembered about subjects for a while: flags, hits and how many different things.
//!
//! Everything is bounded and ends by itself. Time is handed in; a window slides by the estimate of
//! two fixed ones, the present one and the share of the one before that is still in view
//! (Cloudflare, "How we built rate limiting capable of scaling to millions of domains", 2017),
//! which is exact within a window and at most some percent off across two.

mod memory;
pub mod shared;
#[cfg(test)]
mod tests;

use std::time::Duration;

use sha2::{Digest, Sha256};

pub use self::{
    memory::{Capacity, MemoryCounters},
    shared::SharedCounters,
};

/// What is counted: a kind of event and a subject on one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CounterKey {
    /// Number of the site.
    pub site: u16,
    /// Digest of what is counted about whom: the same in every process.
    pub digest: u128,
}

impl CounterKey {
    /// Counts `what` about `whom` on a site.
    pub fn new(site: u16, what: &str, whom: &[u8]) -> Self {
        let mut hash = Sha256::new();
        // With its length, so that no two pairs are the same text.
        hash.update((what.len() as u64).to_le_bytes());
        hash.update(what);
        hash.update(whom);
        let digest = hash.finalize();
        let first = digest.first_chunk::<16>().copied().unwrap_or_default();
        Self {
            site,
            digest: u128::from_le_bytes(first),
        }
    }
}

/// Counters and flags. None of it waits.
pub trait Counters: Send + Sync {
    /// Counts one hit; how many there were within the window, this one included.
    fn hit(&self, key: CounterKey, window: Duration, now: Duration) -> u64;

    /// How many hits there were within the window.
    fn hits(&self, key: CounterKey, window: Duration, now: Duration) -> u64;

    /// Raises a flag until then; one that is raised for longer stays so.
    fn flag(&self, key: CounterKey, until: Duration, now: Duration);

    /// When a flag ends, if it is raised.
    fn flagged(&self, key: CounterKey, now: Duration) -> Option<Duration>;

    /// Notes one item; about how many different ones there were within the window. The estimate is
    /// `HyperLogLog`'s (Flajolet et al., 2007), some three percent off for large numbers.
    fn see(&self, key: CounterKey, item: &[u8], window: Duration, now: Duration) -> u64;

    /// About how many different items there were within the window.
    fn distinct(&self, key: CounterKey, window: Duration, now: Duration) -> u64;
}

/// Where a moment lies in a row of fixed windows: which window, and which share of the one before
/// is still in view.
fn place(window: Duration, now: Duration) -> (u64, f64) {
    let window = window.as_millis().max(1);
    let now = now.as_millis();
    let number = u64::try_from(now / window).unwrap_or(u64::MAX);
    let into = (now % window) as f64 / window as f64;
    (number, 1.0 - into)
}
