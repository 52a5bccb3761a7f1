//! A limit that several gateways keep together, each deciding from its own memory.
//!
//! Each gateway keeps every bucket as if it were alone, and tells the others ten times a second what
//! it let through; what they tell is taken out of its buckets too, into debt where they are empty.
//! So over any time that is long beside a tenth of a second all of them together let through what
//! one would: whatever was let through twice in between is owed afterwards.
//!
//! Where a limit is small, that "in between" matters: below [`EXACT_BELOW`] requests in a burst, each
//! gateway lets a key through only for its share of what was left at the last exchange, and at
//! least once. All together exceed such a limit by one request for each gateway at most.
//!
//! While nothing is heard of the others, each gateway keeps the whole limit, as if it were alone: a
//! share of it would refuse people the parts of a page, and that all together let through more for
//! a while is the smaller harm.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;

use crate::key::Key;

/// Bursts below which a limit is kept to the request between two exchanges.
pub(crate) const EXACT_BELOW: u32 = 100;
/// Parts of the journal, each under a lock of its own.
const PARTS: usize = 16;
/// Keys of one part between two exchanges: a million a second in all.
const MOST_KEYS: usize = 8192;

/// What one table knows of the other gateways.
pub(super) struct Sharing {
    /// What was let through since the last exchange.
    journal: [Mutex<HashMap<Key, u32>>; PARTS],
    /// Gateways that share the limit, this one included.
    gateways: AtomicU32,
    /// Whether nothing is heard of them.
    alone: AtomicBool,
    /// Requests that found no room in the journal, and that the others are not told of.
    untold: AtomicU64,
}

impl Sharing {
    pub(super) fn new() -> Self {
        Self {
            journal: std::array::from_fn(|_| Mutex::default()),
            gateways: AtomicU32::new(1),
            alone: AtomicBool::new(false),
            untold: AtomicU64::new(0),
        }
    }

    /// Notes how many gateways share the limit, and whether they are heard.
    pub(super) fn meet(&self, gateways: u32, heard: bool) {
        self.gateways.store(gateways.max(1), Relaxed);
        self.alone.store(!heard, Relaxed);
    }

    /// Whether a key may have `cost` more before the others are heard again, of a bucket with
    /// `free` requests in it.
    pub(super) fn may_have(&self, key: Key, cost: u32, free: u32) -> bool {
        let gateways = self.gateways.load(Relaxed);
        if gateways == 1 || self.alone.load(Relaxed) {
            return true;
        }
        let had = self.part(key).lock().get(&key).copied().unwrap_or_default();
        let share = free.saturating_add(had) / gateways;
        had.saturating_add(cost) <= share.max(cost)
    }

    /// Writes down what was let through.
    pub(super) fn note(&self, key: Key, cost: u32) {
        if self.gateways.load(Relaxed) == 1 {
            // Nobody is there to tell; whoever comes hears of what is let through from then on.
            return;
        }
        let mut part = self.part(key).lock();
        if let Some(had) = part.get_mut(&key) {
            *had = had.saturating_add(cost);
        } else if part.len() < MOST_KEYS {
            part.insert(key, cost);
        } else {
            self.untold.fetch_add(1, Relaxed);
        }
    }

    /// What was let through since the last call.
    pub(super) fn take(&self) -> Vec<(Key, u32)> {
        let parts = self.journal.iter();
        parts
            .flat_map(|part| std::mem::take(&mut *part.lock()))
            .collect()
    }

    /// Requests that the others were not told of.
    pub(super) fn untold(&self) -> u64 {
        self.untold.load(Relaxed)
    }

    fn part(&self, key: Key) -> &Mutex<HashMap<Key, u32>> {
        &self.journal[key.place() as usize % PARTS]
    }
}

#[cfg(test)]
mod tests;
