//! Buckets by key: the exact table, and the sketch of all other keys.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::{
    shares::SiteShares,
    sketch::Sketch,
    slots::{Reach, Slot, Slots},
};
use crate::{key::LimitKey, table_stats::TableStats};

pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    shares: SiteShares,
    stats: Arc<TableStats>,
    /// What a key may ask for without a bucket in one window.
    burst: u32,
    window: u128,
}

/// A part of the table under a lock of its own, on cache lines of its own.
#[repr(align(128))]
pub(super) struct Shard {
    own: Slots,
    others: Sketch,
}

/// Most shards that a table is divided into.
const MAX_SHARDS: usize = 64;
/// Keys per shard below which dividing further costs more room than it saves waiting.
const MIN_SHARD: usize = 64;
/// Buckets per counter in a row of the sketch: so the sketch takes 2 bytes for each.
const OWN_PER_COUNTER: usize = 16;

/// The bucket of a key, which holds its TAT.
pub(super) enum Bucket<'a> {
    /// In a bucket of its own.
    Own(&'a mut Slot),
    /// The key has none, and may go without.
    None,
}

impl Table {
    pub(super) fn new(capacity: usize, burst: u32, window: u128) -> Self {
        let capacity = capacity.max(1);
        let shards = previous_power_of_two(capacity / MIN_SHARD).clamp(1, MAX_SHARDS);
        let shard = |number: usize| {
            let own = capacity / shards + usize::from(number < capacity % shards);
            Mutex::new(Shard {
                own: Slots::new(own),
                others: Sketch::new((own / OWN_PER_COUNTER).next_power_of_two()),
            })
        };
        Self {
            shards: (0..shards).map(shard).collect(),
            shares: SiteShares::new(),
            stats: Arc::new(TableStats::with_capacity(capacity as u64)),
            burst,
            window,
        }
    }

    pub(super) const fn stats(&self) -> &Arc<TableStats> {
        &self.stats
    }

    /// The part of the table that a key belongs to. The top bits choose it, the low ones the place
    /// in it.
    pub(super) fn shard(&self, key: LimitKey) -> MutexGuard<'_, Shard> {
        self.shards[(key.place() >> 48) as usize & (self.shards.len() - 1)].lock()
    }

    /// The bucket of a key that asks for `amount`: the one that it has; a new one, full, while there
    /// is room or another is full again; or, for a key that asks for more than a burst, that of another.
    pub(super) fn place<'a>(
        &self,
        shard: &'a mut Shard,
        key: LimitKey,
        amount: u32,
        now: u128,
    ) -> Bucket<'a> {
        if let Some(at) = shard.own.find(key) {
            return Bucket::Own(shard.own.slot(at));
        }
        if let Some(at) = shard.own.add(key, now) {
            self.stats.added();
            self.shares.add(key.site());
            return Bucket::Own(shard.own.slot(at));
        }
        let may_go = |holder| self.shares.may_take(key.site(), holder);
        let at = match shard.own.reach(now, may_go) {
            Reach::Full(at) => Some(at),
            Reach::Lightest(lightest) => {
                self.stats.overflowed();
                let asked = shard.others.count(key, amount, now, self.window);
                lightest.filter(|_| asked > u64::from(self.burst))
            }
        };
        let Some(at) = at else {
            return Bucket::None;
        };
        let from = shard.own.pass_on(at, key, now);
        self.stats.evicted();
        self.shares.pass_on(from, key.site());
        Bucket::Own(shard.own.slot(at))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let held = self.shards.iter().map(|shard| shard.lock().heap_bytes());
        held.sum::<usize>() + size_of_val(&*self.shards) + self.shares.heap_bytes()
    }
}

impl Shard {
    /// The bucket of a key that has one.
    pub(super) fn find(&mut self, key: LimitKey) -> Option<&mut Slot> {
        let at = self.own.find(key)?;
        Some(self.own.slot(at))
    }

    fn heap_bytes(&self) -> usize {
        self.own.heap_bytes() + self.others.heap_bytes()
    }
}

const fn previous_power_of_two(number: usize) -> usize {
    match number.checked_ilog2() {
        Some(bits) => 1 << bits,
        None => 1,
    }
}
