//! A limit that several gateways keep together, each deciding from its own memory.
//!
//! Each gateway keeps every bucket as if it were alone, and reports ten times a second to the others
//! what it let through; what they report is taken out of its buckets too, into debt where they are empty.
//! So over any time that is long beside a tenth of a second all of them together let through what
//! one would: whatever was let through twice in between is owed afterwards.
//!
//! Where a limit is small, that "in between" matters: below [`EXACT_BELOW`] requests in a burst, each
//! gateway lets a key through only for its share of what was left at the last exchange, and at
//! least once. All together exceed such a limit by one request for each gateway at most.
//!
//! While the others send no reports, each gateway keeps the whole limit, as if it were alone: a
//! share of it would refuse people the parts of a page, and that all together let through more for
//! a while is the smaller harm.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;

use crate::key::LimitKey;

/// Bursts below which a limit is kept to the request between two exchanges.
pub(crate) const EXACT_BELOW: u32 = 100;
/// Parts of the journal, each under a lock of its own.
const PARTS: usize = 16;
/// Keys of one part between two exchanges: a million a second in all.
const MOST_KEYS: usize = 8192;

/// What one table knows of the other gateways.
pub(super) struct Sharing {
    /// What was let through since the last exchange.
    journal: [Mutex<HashMap<LimitKey, u32>>; PARTS],
    /// Gateways that share the limit, this one included.
    gateways: AtomicU32,
    /// Whether reports of them are missing.
    alone: AtomicBool,
    /// Requests that found no room in the journal, and are not reported to the others.
    unreported: AtomicU64,
}

impl Sharing {
    pub(super) fn new() -> Self {
        Self {
            journal: std::array::from_fn(|_| Mutex::default()),
            gateways: AtomicU32::new(1),
            alone: AtomicBool::new(false),
            unreported: AtomicU64::new(0),
        }
    }

    /// Notes how many gateways share the limit, and whether all others have reported.
    pub(super) fn meet(&self, gateways: u32, all_reported: bool) {
        self.gateways.store(gateways.max(1), Relaxed);
        self.alone.store(!all_reported, Relaxed);
    }

    /// Whether a key may have `cost` more before the next exchange, of a bucket with
    /// `free` requests in it.
    pub(super) fn may_have(&self, key: LimitKey, cost: u32, free: u32) -> bool {
        let gateways = self.gateways.load(Relaxed);
        if gateways == 1 || self.alone.load(Relaxed) {
            return true;
        }
        let had = self.part(key).lock().get(&key).copied().unwrap_or_default();
        let share = free.saturating_add(had) / gateways;
        had.saturating_add(cost) <= share.max(cost)
    }

    /// Writes down what was let through.
    pub(super) fn note(&self, key: LimitKey, cost: u32) {
        if self.gateways.load(Relaxed) == 1 {
            // There is no other gateway; a new one gets reports from when it is known.
            return;
        }
        let mut part = self.part(key).lock();
        if let Some(had) = part.get_mut(&key) {
            *had = had.saturating_add(cost);
        } else if part.len() < MOST_KEYS {
            part.insert(key, cost);
        } else {
            self.unreported.fetch_add(1, Relaxed);
        }
    }

    /// What was let through since the last call.
    pub(super) fn take(&self) -> Vec<(LimitKey, u32)> {
        let parts = self.journal.iter();
        parts
            .flat_map(|part| std::mem::take(&mut *part.lock()))
            .collect()
    }

    /// Requests that were not reported to the others.
    pub(super) fn unreported(&self) -> u64 {
        self.unreported.load(Relaxed)
    }

    fn part(&self, key: LimitKey) -> &Mutex<HashMap<LimitKey, u32>> {
        &self.journal[key.place() as usize % PARTS]
    }
}

#[cfg(test)]
mod tests;
