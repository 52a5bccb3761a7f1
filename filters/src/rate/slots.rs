//! A hash table of TATs that never grows, never moves an entry and forgets only full buckets.
//!
//! Entries lie in one array, in the order in which they came, and are chained through it. Unlike a
//! table with open addressing it needs no free places to stay fast, leaves no tombstones behind
//! where entries change forever, and so never has to be rebuilt while a request waits.

use crate::rate::Key;

/// Slots that one newcomer may look at for a bucket that is full again.
const SCAN: usize = 32;
/// The end of a chain.
const NONE: u32 = u32::MAX;

/// At most `capacity` keys with the TAT of each.
pub(super) struct Slots {
    /// The first slot of each chain; a power of two.
    heads: Box<[u32]>,
    slots: Vec<Slot>,
    capacity: usize,
    /// Where the next newcomer's scan begins (the hand of the CLOCK algorithm, Corbató 1968).
    hand: usize,
}

struct Slot {
    tat: u128,
    key: Key,
    next: u32,
}

// The table's promise of 48 bytes per client rests on it.
const _: () = assert!(size_of::<Slot>() == 32);

/// A key's TAT, and how it was come by.
pub(super) enum Claim<'a> {
    /// The key is new.
    Added(&'a mut u128),
    /// The key is new, and another one gave its place.
    Evicted(&'a mut u128),
    /// The key was there.
    Found(&'a mut u128),
    /// The key is new, and no bucket within reach is full again.
    Full,
}

impl Slots {
    /// Sets aside all memory for `capacity` keys.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(NONE as usize);
        Self {
            heads: vec![NONE; capacity.next_power_of_two()].into(),
            slots: Vec::with_capacity(capacity),
            capacity,
            hand: 0,
        }
    }

    /// The key's place: the one that it has, a new one, or that of a bucket full again at `now`.
    /// A new place starts with a TAT of `now`: a full bucket.
    pub(super) fn claim(
        &mut self,
        key: Key,
        hash: u64,
        now: u128,
        hash_of: impl Fn(&Key) -> u64,
    ) -> Claim<'_> {
        if let Some(at) = self.find(key, hash) {
            return Claim::Found(&mut self.slots[at].tat);
        }
        if self.slots.len() < self.capacity {
            let at = self.slots.len();
            let next = self.link(hash, at);
            self.slots.push(Slot {
                tat: now,
                key,
                next,
            });
            return Claim::Added(&mut self.slots[at].tat);
        }
        let Some(at) = self.full_again(now) else {
            return Claim::Full;
        };
        self.unlink(hash_of(&self.slots[at].key), at);
        let next = self.link(hash, at);
        self.slots[at] = Slot {
            tat: now,
            key,
            next,
        };
        Claim::Evicted(&mut self.slots[at].tat)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.heads) + self.slots.capacity() * size_of::<Slot>()
    }

    fn find(&self, key: Key, hash: u64) -> Option<usize> {
        let mut next = self.heads[self.chain(hash)];
        while let Some(slot) = self.slots.get(next as usize) {
            if slot.key == key {
                return Some(next as usize);
            }
            next = slot.next;
        }
        None
    }

    /// The next slot from the hand on whose bucket is full again.
    fn full_again(&mut self, now: u128) -> Option<usize> {
        for _ in 0..SCAN.min(self.slots.len()) {
            let at = self.hand;
            self.hand = (at + 1) % self.slots.len();
            if self.slots[at].tat <= now {
                return Some(at);
            }
        }
        None
    }

    /// Makes `at` the first slot of its chain; returns what follows it.
    fn link(&mut self, hash: u64, at: usize) -> u32 {
        let chain = self.chain(hash);
        // There are fewer than `NONE` slots.
        std::mem::replace(&mut self.heads[chain], at as u32)
    }

    /// Takes `at` out of its chain.
    fn unlink(&mut self, hash: u64, at: usize) {
        let chain = self.chain(hash);
        let behind = self.slots[at].next;
        if self.heads[chain] as usize == at {
            self.heads[chain] = behind;
            return;
        }
        let mut before = self.heads[chain];
        while let Some(slot) = self.slots.get_mut(before as usize) {
            if slot.next as usize == at {
                slot.next = behind;
                return;
            }
            before = slot.next;
        }
    }

    fn chain(&self, hash: u64) -> usize {
        hash as usize & (self.heads.len() - 1)
    }
}
