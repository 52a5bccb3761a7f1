//! Counters that several gateways keep together: each counts in its own memory, reports to
//! the others what it counted since its last report, and counts what they report.
//!
//! A report that is too late for its window counts in the next one, and a report that is lost is not
//! sent again: counters lead to suspicion, and a lost tenth of a second of it does no harm.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{CounterKey, Counters, MemoryCounters, memory::item_hash};

/// Entries that are kept between two reports, of each sort.
const MOST_ENTRIES: usize = 8192;
/// Items of one entry.
const MOST_ITEMS: usize = 1024;
/// Largest report that is read.
pub const MOST_BYTES: usize = 4 << 20;
/// Largest report that is written.
pub(crate) const FULL_AT: usize = MOST_BYTES / 2;
/// Most bytes of an entry besides its site and its items: a digest, two numbers and what is around them.
const ENTRY_BYTES: usize = 96;
/// Most bytes of an item, and the comma.
const ITEM_BYTES: usize = 21;

/// Counters of this gateway and of those whose reports it receives.
#[derive(Default)]
pub struct SharedCounters {
    local: MemoryCounters,
    unsent: Mutex<Unsent>,
    dropped: AtomicU64,
}

/// What was counted here since the last report.
#[derive(Default)]
struct Unsent {
    hits: HashMap<(CounterKey, u64), u64>,
    flags: HashMap<CounterKey, Duration>,
    items: HashMap<(CounterKey, u64), Vec<u64>>,
}

/// Report of one gateway to the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    gateway: u64,
    /// Site, digest, milliseconds of the window, hits.
    hits: Vec<(Arc<str>, String, u64, u64)>,
    /// Site, digest, milliseconds that are left.
    flags: Vec<(Arc<str>, String, u64)>,
    /// Site, digest, milliseconds of the window, hashes of items.
    items: Vec<(Arc<str>, String, u64, Vec<u64>)>,
}

/// Error: the bytes are not a valid report.
#[derive(Debug, Error)]
pub enum ReportError {
    /// Not what this version writes.
    #[error("no report of this version: {0}")]
    Form(#[from] serde_json::Error),
    /// Larger than anything that is written here.
    #[error("larger than {MOST_BYTES} bytes")]
    TooLarge,
}

impl SharedCounters {
    /// The part that this process keeps.
    pub const fn local(&self) -> &MemoryCounters {
        &self.local
    }

    /// Entries that found no room in a report, and were not sent.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// The report of what was counted since the last call; nothing where nothing was.
    pub fn report(
        &self,
        gateway: u64,
        now: Duration,
        name: impl Fn(u16) -> Option<Arc<str>>,
    ) -> Option<Vec<u8>> {
        let Unsent { hits, flags, items } = std::mem::take(&mut *self.unsent.lock());
        let mut room = FULL_AT;
        let mut of = |key: CounterKey, items: usize| {
            let site = name(key.site)?;
            let left = room.checked_sub(site.len() + ENTRY_BYTES + items * ITEM_BYTES);
            let Some(left) = left else {
                self.dropped.fetch_add(1, Relaxed);
                return None;
            };
            room = left;
            Some((site, format!("{:032x}", key.digest)))
        };
        let mut report = Report {
            gateway,
            ..Report::default()
        };
        for ((key, window), count) in hits {
            let entry = of(key, 0).map(|(site, digest)| (site, digest, window, count));
            report.hits.extend(entry);
        }
        for (key, until) in flags {
            let left = until.saturating_sub(now).as_millis();
            let left = u64::try_from(left).unwrap_or(u64::MAX);
            let entry = of(key, 0).map(|(site, digest)| (site, digest, left));
            report.flags.extend(entry);
        }
        for ((key, window), seen) in items {
            let entry = of(key, seen.len()).map(|(site, digest)| (site, digest, window, seen));
            report.items.extend(entry);
        }
        let something = report.hits.len() + report.flags.len() + report.items.len() > 0;
        // A struct of texts and numbers always becomes JSON.
        something.then(|| serde_json::to_vec(&report).unwrap_or_default())
    }

    /// Counts the report of another gateway, if `is_known` holds for it.
    pub fn absorb(
        &self,
        bytes: &[u8],
        is_known: impl Fn(u64) -> bool,
        now: Duration,
        number: impl Fn(&str) -> Option<u16>,
    ) -> Result<(), ReportError> {
        if bytes.len() > MOST_BYTES {
            return Err(ReportError::TooLarge);
        }
        let report: Report = serde_json::from_slice(bytes)?;
        if !is_known(report.gateway) {
            return Ok(());
        }
        let of = |site: &str, digest: &str| {
            // A site of another configuration, or no digest at all, is skipped.
            let digest = u128::from_str_radix(digest, 16).ok()?;
            number(site).map(|site| CounterKey { site, digest })
        };
        for (site, digest, window, count) in &report.hits {
            if let Some(key) = of(site, digest) {
                self.local.add(key, *count, millis(*window), now);
            }
        }
        for (site, digest, left) in &report.flags {
            if let Some(key) = of(site, digest) {
                self.local.flag(key, now.saturating_add(millis(*left)), now);
            }
        }
        for (site, digest, window, items) in &report.items {
            if let Some(key) = of(site, digest) {
                for item in items.iter().take(MOST_ITEMS) {
                    self.local.see_hash(key, *item, millis(*window), now);
                }
            }
        }
        Ok(())
    }

    /// Writes something down for the others, where there is room.
    fn note(&self, write: impl FnOnce(&mut Unsent) -> bool) {
        if !write(&mut self.unsent.lock()) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Counters for SharedCounters {
    fn hit(&self, key: CounterKey, window: Duration, now: Duration) -> u64 {
        self.note(|unsent| {
            let entry = (key, window_ms(window));
            let room = unsent.hits.len() < MOST_ENTRIES || unsent.hits.contains_key(&entry);
            if room {
                *unsent.hits.entry(entry).or_default() += 1;
            }
            room
        });
        self.local.hit(key, window, now)
    }

    fn hits(&self, key: CounterKey, window: Duration, now: Duration) -> u64 {
        self.local.hits(key, window, now)
    }

    fn flag(&self, key: CounterKey, until: Duration, now: Duration) {
        self.note(|unsent| {
            let room = unsent.flags.len() < MOST_ENTRIES || unsent.flags.contains_key(&key);
            if room {
                let flag = unsent.flags.entry(key).or_default();
                *flag = until.max(*flag);
            }
            room
        });
        self.local.flag(key, until, now);
    }

    fn flagged(&self, key: CounterKey, now: Duration) -> Option<Duration> {
        self.local.flagged(key, now)
    }

    fn see(&self, key: CounterKey, item: &[u8], window: Duration, now: Duration) -> u64 {
        let item = item_hash(item);
        self.note(|unsent| {
            let entry = (key, window_ms(window));
            if unsent.items.len() == MOST_ENTRIES && !unsent.items.contains_key(&entry) {
                return false;
            }
            let items = unsent.items.entry(entry).or_default();
            let room = items.len() < MOST_ITEMS;
            if room && !items.contains(&item) {
                items.push(item);
            }
            room
        });
        self.local.see_hash(key, item, window, now)
    }

    fn distinct(&self, key: CounterKey, window: Duration, now: Duration) -> u64 {
        self.local.distinct(key, window, now)
    }
}

fn window_ms(window: Duration) -> u64 {
    u64::try_from(window.as_millis()).unwrap_or(u64::MAX)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
