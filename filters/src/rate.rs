//! Rate limits: a token bucket per key, exact, in bounded memory.
//!
//! The algorithm is the Generic Cell Rate Algorithm (ITU-T I.371 annex A; ATM Forum Traffic
//! Management 4.0, section 4.4.2) in its virtual-scheduling form: all that a bucket keeps is the
//! theoretical arrival time (TAT) of the next request at the steady rate. A bucket whose TAT has
//! passed is full again and says nothing that an absent one would not say, so exactly those are
//! given up to make room: no client gets more than its quota because the table is small.
//!
//! A table full of buckets that are not full again has no room for a newcomer. Newcomers of one
//! network (/24 or /48) then share a bucket in a small table of fixed size, which cannot run out:
//! two networks that fall on the same place share it. Each such request is counted as an overflow.

pub mod adaptive;
mod gcra;
mod key;
mod slots;
#[cfg(test)]
mod tests;

use std::{
    hash::{BuildHasher, Hash},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use foldhash::quality::RandomState;
use parking_lot::Mutex;

pub use self::key::Key;
use self::{
    gcra::Gcra,
    slots::{Claim, Slots},
};
use crate::{build::TableStats, verdict::Limit};

/// How much a key may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests that come back to the bucket in `per`.
    pub requests: NonZeroU32,
    /// The time in which `requests` come back.
    pub per: Duration,
    /// Requests that a full bucket allows at once.
    pub burst: NonZeroU32,
}

/// A request beyond the quota.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Excess {
    /// The limit, and when the key may come back.
    pub limit: Limit,
    /// The table was full, so the bucket that the key's network shares has decided.
    pub shared: bool,
}

/// One bucket per key, for at most `capacity` keys at a time.
pub struct Buckets {
    quota: Quota,
    gcra: Gcra,
    /// Seeded anew for each table, so that nobody can choose keys that fall on the same place.
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    stats: Arc<TableStats>,
}

/// A part of the table under a lock of its own, on cache lines of its own.
#[repr(align(128))]
struct Shard {
    own: Slots,
    /// TATs of the buckets that decide while `own` has no room.
    shared: Box<[u128]>,
}

/// Most shards that a table is divided into.
const MAX_SHARDS: usize = 64;
/// Keys per shard below which dividing further costs more room than it saves waiting.
const MIN_SHARD: usize = 64;
/// Keys of the table per shared bucket.
const OWN_PER_SHARED: usize = 16;

impl Buckets {
    /// A table of at most `capacity` buckets, all memory set aside at once.
    pub fn new(quota: Quota, capacity: usize) -> Self {
        let capacity = capacity.max(1);
        let shards = previous_power_of_two(capacity / MIN_SHARD).clamp(1, MAX_SHARDS);
        let shard = |number: usize| {
            let own = capacity / shards + usize::from(number < capacity % shards);
            Mutex::new(Shard {
                own: Slots::new(own),
                shared: vec![0; (own / OWN_PER_SHARED).next_power_of_two()].into(),
            })
        };
        Self {
            quota,
            gcra: Gcra::new(quota),
            hasher: RandomState::default(),
            shards: (0..shards).map(shard).collect(),
            stats: Arc::new(TableStats::with_capacity(capacity as u64)),
        }
    }

    /// Takes one request out of the key's bucket at `now`, or says when the next one is due.
    ///
    /// Times may arrive slightly out of order, as they do from several threads; a key never gets
    /// more because of an earlier time.
    pub fn take(&self, key: Key, now: Duration) -> Result<(), Excess> {
        let now = self.gcra.ticks(now);
        let hash = self.hash(&key);
        let mut shard = self.shard(hash).lock();
        let own = match shard.own.claim(key, hash, now, |key| self.hash(key)) {
            Claim::Added(tat) => {
                self.stats.added();
                Some(tat)
            }
            Claim::Evicted(tat) => {
                self.stats.evicted();
                Some(tat)
            }
            Claim::Found(tat) => Some(tat),
            Claim::Full => None,
        };
        match own {
            Some(tat) => self.gcra.admit(tat, now).map_err(|limit| Excess {
                limit,
                shared: false,
            }),
            None => {
                drop(shard);
                self.stats.overflowed();
                self.take_shared(key, now)
            }
        }
    }

    fn take_shared(&self, key: Key, now: u128) -> Result<(), Excess> {
        let hash = self.hash(&key.network());
        let mut shard = self.shard(hash).lock();
        let mask = shard.shared.len() - 1;
        let tat = &mut shard.shared[hash as usize & mask];
        self.gcra.admit(tat, now).map_err(|limit| Excess {
            limit,
            shared: true,
        })
    }

    /// What each key may ask for.
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// Most buckets that the table holds.
    pub fn capacity(&self) -> usize {
        self.stats.capacity as usize
    }

    /// Size and losses of the table.
    pub fn stats(&self) -> Arc<TableStats> {
        Arc::clone(&self.stats)
    }

    /// Memory that the table holds on the heap, the same from its first to its last key. Parts
    /// that were never used may not be resident.
    pub fn heap_bytes(&self) -> usize {
        let held: usize = self
            .shards
            .iter()
            .map(|shard| shard.lock().heap_bytes())
            .sum();
        held + size_of_val(&*self.shards)
    }

    fn hash(&self, key: &impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The top bits choose the shard, the low ones the place in it.
    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        &self.shards[(hash >> 48) as usize & (self.shards.len() - 1)]
    }
}

impl Shard {
    fn heap_bytes(&self) -> usize {
        self.own.heap_bytes() + size_of_val(&*self.shared)
    }
}

const fn previous_power_of_two(number: usize) -> usize {
    match number.checked_ilog2() {
        Some(bits) => 1 << bits,
        None => 1,
    }
}
