//! A hash table of TATs that never grows and never moves an entry.
//!
//! Entries lie in one array, in the order in which they came, and are chained through it. Unlike a
//! table with open addressing it needs no free places to stay fast, leaves no tombstones behind
//! where entries change forever, and so never has to be rebuilt while a request waits.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use crate::key::LimitKey;

/// Slots that one newcomer may look at for one that it can have.
const REACH: usize = 16;
/// The end of a chain.
const NONE: u32 = u32::MAX;
/// The highest TAT that a slot holds: for 2^32 requests a nanosecond it is 68 years away, for as
/// many as a limit can have, 2^20 in a second, 2^76 ns.
const HIGHEST: u128 = (1 << 96) - 1;

/// At most `capacity` keys with the TAT of each.
pub(super) struct Slots {
    /// The first slot of each chain; a power of two.
    heads: Box<[u32]>,
    slots: Vec<Slot>,
    capacity: usize,
    /// What chains are chosen by. The keys of a limit that gateways share are no secret: a client
    /// that chooses a header or a path could have all of them in one chain.
    secret: RandomState,
    /// Where the next newcomer's look begins (the hand of the CLOCK algorithm, Corbató 1968).
    hand: usize,
}

/// Half of a cache line, and never in two.
#[repr(align(32))]
pub(super) struct Slot {
    key: LimitKey,
    tat_low: u64,
    tat_high: u32,
    next: u32,
}

// The table's promise of memory per key rests on it.
const _: () = assert!(size_of::<Slot>() == 32);

impl Slot {
    /// When the bucket is full again.
    pub(super) fn get(&self) -> u128 {
        u128::from(self.tat_high) << 64 | u128::from(self.tat_low)
    }

    pub(super) fn set(&mut self, tat: u128) {
        let tat = tat.min(HIGHEST);
        self.tat_low = tat as u64;
        self.tat_high = (tat >> 64) as u32;
    }
}

/// What a newcomer can have where every slot is taken.
pub(super) enum Reach {
    /// A bucket that is full again.
    Full(usize),
    /// The bucket nearest to being full among those that may go, if any may.
    Lightest(Option<usize>),
}

impl Slots {
    /// Sets aside all memory for `capacity` keys.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(NONE as usize);
        Self {
            heads: vec![NONE; capacity.next_power_of_two()].into(),
            slots: Vec::with_capacity(capacity),
            capacity,
            secret: RandomState::default(),
            hand: 0,
        }
    }

    pub(super) fn find(&self, key: LimitKey) -> Option<usize> {
        let mut next = self.heads[self.chain(key)];
        while let Some(slot) = self.slots.get(next as usize) {
            if slot.key == key {
                return Some(next as usize);
            }
            next = slot.next;
        }
        None
    }

    pub(super) fn slot(&mut self, at: usize) -> &mut Slot {
        &mut self.slots[at]
    }

    /// Gives the key an unused slot, while there is one.
    pub(super) fn add(&mut self, key: LimitKey, tat: u128) -> Option<usize> {
        let at = self.slots.len();
        if at == self.capacity {
            return None;
        }
        let next = self.link(key, at);
        self.slots.push(Slot::new(key, tat, next));
        Some(at)
    }

    /// What is within reach of a newcomer at `now`.
    pub(super) fn reach(&mut self, now: u128, may_go: impl Fn(u16) -> bool) -> Reach {
        let mut lightest: Option<(usize, u128)> = None;
        for _ in 0..REACH.min(self.slots.len()) {
            let at = self.hand;
            self.hand = if at + 1 == self.slots.len() {
                0
            } else {
                at + 1
            };
            let tat = self.slots[at].get();
            if tat <= now {
                return Reach::Full(at);
            }
            let lighter = lightest.is_none_or(|(_, least)| tat < least);
            if lighter && may_go(self.slots[at].key.site()) {
                lightest = Some((at, tat));
            }
        }
        Reach::Lightest(lightest.map(|(at, _)| at))
    }

    /// Gives a slot to another key; the site that it is taken from.
    pub(super) fn pass_on(&mut self, at: usize, key: LimitKey, tat: u128) -> u16 {
        let before = self.slots[at].key;
        self.unlink(before, at);
        let next = self.link(key, at);
        self.slots[at] = Slot::new(key, tat, next);
        before.site()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.heads) + self.slots.capacity() * size_of::<Slot>()
    }

    /// Makes `at` the first slot of its chain; returns what follows it.
    fn link(&mut self, key: LimitKey, at: usize) -> u32 {
        let chain = self.chain(key);
        // There are fewer than `NONE` slots.
        std::mem::replace(&mut self.heads[chain], at as u32)
    }

    /// Takes `at` out of its chain.
    fn unlink(&mut self, key: LimitKey, at: usize) {
        let chain = self.chain(key);
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

    fn chain(&self, key: LimitKey) -> usize {
        self.secret.hash_one(key) as usize & (self.heads.len() - 1)
    }
}

impl Slot {
    fn new(key: LimitKey, tat: u128, next: u32) -> Self {
        let mut slot = Self {
            key,
            tat_low: 0,
            tat_high: 0,
            next,
        };
        slot.set(tat);
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;
    use thornwall_decisions::limit_report::DIGEST;

    use crate::key::LimitKey;

    #[test]
    fn nobody_chooses_keys_that_lie_in_one_chain() {
        let mut slots = Slots::new(1024);
        // Alike in all bits that the place of a key is made of.
        let keys = (0..1024_u64).map(|number| {
            let mut digest = [7; DIGEST];
            digest[..6].copy_from_slice(&number.to_be_bytes()[2..]);
            LimitKey::of(1, digest)
        });
        keys.for_each(|key| assert!(slots.add(key, 1).is_some()));
        let length = |head: &u32| {
            let mut next = slots.slots.get(*head as usize);
            let mut count = 0;
            while let Some(slot) = next {
                next = slots.slots.get(slot.next as usize);
                count += 1;
            }
            count
        };
        let longest = slots.heads.iter().map(length).max();
        assert!(longest < Some(20), "{longest:?}");
    }
}
