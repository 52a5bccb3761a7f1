//! Counters of one process, in memory.

use std::{
    collections::HashMap,
    hash::{BuildHasher, DefaultHasher},
    sync::Arc,
    time::Duration,
};

use cardinality_estimator::CardinalityEstimator;
use foldhash::quality::RandomState;
use lru::LruCache;
use parking_lot::Mutex;

use super::{CounterKey, Counters, place};
use crate::table_stats::TableStats;

/// How much is remembered.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Hit windows, at some 100 bytes each.
    pub hits: usize,
    /// Flags, at some 80 bytes each.
    pub flags: usize,
    /// Sketches of different items, at up to 1.6 KiB each.
    pub sketches: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            hits: 131_072,
            flags: 65_536,
            sketches: 8_192,
        }
    }
}

/// 1024 registers of 6 bits: a standard error of 1.04 / 32, some 3 percent.
type Sketch = CardinalityEstimator<u64, DefaultHasher, 10, 6>;

/// Counters of this process alone.
pub struct MemoryCounters {
    hits: Table<Window<u64>>,
    flags: Table<Duration>,
    sketches: Table<Window<Sketch>>,
}

/// What happened in a window, and in the one before.
#[derive(Default)]
struct Window<T> {
    number: u64,
    now: T,
    before: T,
}

impl<T: Default> Window<T> {
    /// Moves on to the window of this number.
    fn slide(&mut self, number: u64) {
        match number.checked_sub(self.number) {
            // A request that was stamped a moment earlier counts in the present one.
            None | Some(0) => return,
            Some(1) => self.before = std::mem::take(&mut self.now),
            Some(_) => {
                self.before = T::default();
                self.now = T::default();
            }
        }
        self.number = number;
    }
}

impl MemoryCounters {
    /// Empty counters.
    pub fn new(capacity: Capacity) -> Self {
        Self {
            hits: Table::new(capacity.hits),
            flags: Table::new(capacity.flags),
            sketches: Table::new(capacity.sketches),
        }
    }

    /// Sizes and losses of its tables, by name.
    pub fn stats(&self) -> [(&'static str, Arc<TableStats>); 3] {
        [
            ("hits", Arc::clone(&self.hits.stats)),
            ("flags", Arc::clone(&self.flags.stats)),
            ("sketches", Arc::clone(&self.sketches.stats)),
        ]
    }
}

impl MemoryCounters {
    /// Counts that many hits; how many there were within the window, these included.
    pub(super) fn add(&self, key: CounterKey, count: u64, window: Duration, now: Duration) -> u64 {
        let (number, in_view) = place(window, now);
        self.hits.change(key, |hits| {
            hits.slide(number);
            hits.now = hits.now.saturating_add(count);
            sum(hits.now, hits.before, in_view)
        })
    }

    /// Notes an item by its hash; about how many different ones there were within the window.
    pub(super) fn see_hash(
        &self,
        key: CounterKey,
        item: u64,
        window: Duration,
        now: Duration,
    ) -> u64 {
        let (number, in_view) = place(window, now);
        self.sketches.change(key, |sketch| {
            sketch.slide(number);
            sketch.now.insert_hash(item);
            union(sketch, in_view)
        })
    }
}

/// The hash of an item, the same in every process.
pub(super) fn item_hash(item: &[u8]) -> u64 {
    CounterKey::new(0, "item", item).digest as u64
}

impl Default for MemoryCounters {
    fn default() -> Self {
        Self::new(Capacity::default())
    }
}

impl Counters for MemoryCounters {
    fn hit(&self, key: CounterKey, window: Duration, now: Duration) -> u64 {
        self.add(key, 1, window, now)
    }

    fn hits(&self, key: CounterKey, window: Duration, now: Duration) -> u64 {
        let (number, in_view) = place(window, now);
        let hits = self.hits.look(key, |hits| {
            hits.slide(number);
            sum(hits.now, hits.before, in_view)
        });
        hits.unwrap_or_default()
    }

    fn flag(&self, key: CounterKey, until: Duration, now: Duration) {
        if until > now {
            self.flags.change(key, |flag| *flag = until.max(*flag));
        }
    }

    fn flagged(&self, key: CounterKey, now: Duration) -> Option<Duration> {
        let until = self.flags.look(key, |flag| *flag)?;
        (until > now).then_some(until)
    }

    fn see(&self, key: CounterKey, item: &[u8], window: Duration, now: Duration) -> u64 {
        self.see_hash(key, item_hash(item), window, now)
    }

    fn distinct(&self, key: CounterKey, window: Duration, now: Duration) -> u64 {
        let (number, in_view) = place(window, now);
        let seen = self.sketches.look(key, |sketch| {
            sketch.slide(number);
            union(sketch, in_view)
        });
        seen.unwrap_or_default()
    }
}

fn sum(now: u64, before: u64, in_view: f64) -> u64 {
    now.saturating_add((before as f64 * in_view) as u64)
}

/// Different items of the present window, and the share in view of those that only the one before
/// has seen.
fn union(sketch: &Window<Sketch>, in_view: f64) -> u64 {
    let now = sketch.now.estimate() as u64;
    let mut both = sketch.now.clone();
    both.merge(&sketch.before);
    let only_before = (both.estimate() as u64).saturating_sub(now);
    now + (only_before as f64 * in_view) as u64
}

/// Shards, so that workers rarely meet.
const SHARDS: usize = 16;

/// A bounded table. Where it is full, the site with the most entries gives up the one that was not
/// used for the longest time.
struct Table<T> {
    shards: Box<[Mutex<Shard<T>>]>,
    hasher: RandomState,
    stats: Arc<TableStats>,
}

struct Shard<T> {
    sites: HashMap<u16, LruCache<u128, T, RandomState>>,
    held: usize,
    capacity: usize,
}

impl<T: Default> Table<T> {
    fn new(capacity: usize) -> Self {
        let shard = || {
            Mutex::new(Shard {
                sites: HashMap::new(),
                held: 0,
                capacity: capacity.div_ceil(SHARDS).max(1),
            })
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher: RandomState::default(),
            stats: Arc::new(TableStats::with_capacity(capacity as u64)),
        }
    }

    /// Changes the entry, a new one if need be.
    fn change<R>(&self, key: CounterKey, change: impl FnOnce(&mut T) -> R) -> R {
        let mut shard = self.shard(key).lock();
        let known = shard
            .sites
            .get(&key.site)
            .is_some_and(|site| site.contains(&key.digest));
        if !known {
            match shard.make_room() {
                true => self.stats.evicted(),
                false => self.stats.added(),
            }
            shard.held += 1;
        }
        let site = shard.sites.entry(key.site).or_insert_with(|| {
            // Bounded by the shard.
            LruCache::unbounded_with_hasher(RandomState::default())
        });
        change(site.get_or_insert_mut(key.digest, T::default))
    }

    /// Looks at the entry, where there is one.
    fn look<R>(&self, key: CounterKey, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut shard = self.shard(key).lock();
        shard
            .sites
            .get_mut(&key.site)?
            .get_mut(&key.digest)
            .map(look)
    }

    fn shard(&self, key: CounterKey) -> &Mutex<Shard<T>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

impl<T> Shard<T> {
    /// Makes room for one more entry; whether another one had to go.
    fn make_room(&mut self) -> bool {
        if self.held < self.capacity {
            return false;
        }
        let largest = self.sites.values_mut().max_by_key(|site| site.len());
        if largest.and_then(LruCache::pop_lru).is_some() {
            self.held -= 1;
        }
        self.sites.retain(|_, site| !site.is_empty());
        true
    }
}
