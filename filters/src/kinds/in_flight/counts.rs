//! Exact counts of requests in flight per key, in bounded memory.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::{filter::Hold, key::LimitKey, table_stats::TableStats};

/// Parts of the table, each under a lock of its own.
const SHARDS: usize = 16;

type Shard = HashMap<LimitKey, u32, RandomState>;

/// Requests in flight per key.
pub(super) struct Counts {
    shards: [Mutex<Shard>; SHARDS],
    /// Keys of one shard at most: its memory is set aside at once.
    room: usize,
    stats: Arc<TableStats>,
}

/// Result of counting one more request.
pub(super) enum Entry {
    /// The request is counted until this guard is dropped.
    Counted(Guard),
    /// The key has as many requests in flight as it may.
    Full,
    /// The table has no room for another key.
    NoRoom,
}

/// Guard: uncounts the request on drop.
pub(super) struct Guard {
    counts: Arc<Counts>,
    key: LimitKey,
}

impl Hold for Guard {}

impl Drop for Guard {
    fn drop(&mut self) {
        self.counts.leave(self.key);
    }
}

impl Counts {
    pub(super) fn new(capacity: usize) -> Self {
        let room = capacity.div_ceil(SHARDS);
        let shard = |_| {
            let state = RandomState::default();
            Mutex::new(Shard::with_capacity_and_hasher(room, state))
        };
        Self {
            shards: std::array::from_fn(shard),
            room,
            stats: Arc::new(TableStats::with_capacity((room * SHARDS) as u64)),
        }
    }

    /// Counts one more request of the key, unless `most` are in flight.
    pub(super) fn enter(self: &Arc<Self>, key: LimitKey, most: u32) -> Entry {
        let mut shard = self.shard(key).lock();
        let is_full = shard.len() >= self.room;
        match shard.get_mut(&key) {
            Some(count) if *count >= most => return Entry::Full,
            Some(count) => *count += 1,
            None if is_full => {
                self.stats.overflowed();
                return Entry::NoRoom;
            }
            None => {
                shard.insert(key, 1);
                self.stats.added();
            }
        }
        Entry::Counted(Guard {
            counts: Arc::clone(self),
            key,
        })
    }

    /// Whether the table is as large as one for `capacity` keys.
    pub(super) const fn fits(&self, capacity: usize) -> bool {
        self.room == capacity.div_ceil(SHARDS)
    }

    pub(super) const fn stats(&self) -> &Arc<TableStats> {
        &self.stats
    }

    fn leave(&self, key: LimitKey) {
        let mut shard = self.shard(key).lock();
        let Some(count) = shard.get_mut(&key) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            shard.remove(&key);
            self.stats.removed();
        }
    }

    fn shard(&self, key: LimitKey) -> &Mutex<Shard> {
        &self.shards[(key.place() >> 48) as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc, sync::atomic::Ordering, thread};

    use super::{Counts, Entry};
    use crate::key::{KeySeed, LimitKey};

    fn key(number: u32) -> LimitKey {
        KeySeed::new(&[1; 32]).client(0, Ipv4Addr::from_bits(number).into())
    }

    #[test]
    fn what_ends_makes_room() {
        let counts = Arc::new(Counts::new(1024));
        let mut held = Vec::new();
        for _ in 0..3 {
            match counts.enter(key(1), 3) {
                Entry::Counted(guard) => held.push(guard),
                Entry::Full | Entry::NoRoom => panic!("there is room for three"),
            }
        }
        assert!(matches!(counts.enter(key(1), 3), Entry::Full));
        assert!(matches!(counts.enter(key(2), 3), Entry::Counted(_)));
        held.pop();
        assert!(matches!(counts.enter(key(1), 3), Entry::Counted(_)));
        assert_eq!(counts.stats().entries.load(Ordering::Relaxed), 1);
        drop(held);
        assert_eq!(counts.stats().entries.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_table_is_bounded_and_lets_the_rest_through() {
        let counts = Arc::new(Counts::new(1024));
        let mut held = Vec::new();
        let mut without = 0;
        for number in 0..5000 {
            match counts.enter(key(number), 1) {
                Entry::Counted(guard) => held.push(guard),
                Entry::NoRoom => without += 1,
                Entry::Full => panic!("each asks once"),
            }
        }
        assert!(held.len() <= 1024 && held.len() + without == 5000);
        assert_eq!(
            counts.stats().overflows.load(Ordering::Relaxed),
            without as u64
        );
        drop(held);
        assert_eq!(counts.stats().entries.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn threads_together_hold_no_more_than_may_be() {
        let counts = Arc::new(Counts::new(1024));
        let key = key(1);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let first = counts.enter(key, 4);
                        let second = counts.enter(key, 4);
                        drop((first, second));
                    }
                });
            }
        });
        assert_eq!(counts.stats().entries.load(Ordering::Relaxed), 0);
    }
}
