//! The scores of shapes that were seen before.

use std::{
    hash::{BuildHasher, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::quality::RandomState;
use thornwall_detectors::features::COUNT;

use crate::table_stats::TableStats;

/// Slots that one shape may lie in: one cache line.
const WAYS: usize = 4;

/// A set-associative table of fixed size from a shape's hash to its score.
///
/// Readers and writers take no lock. A slot is two words, of which the first is the key's hash
/// XORed with the second: a pair that two writers have mixed fits no key and reads as absent
/// (Hyatt and Mann, "A lockless transposition table implementation for parallel search", ICGA
/// Journal 25(1), 2002). 96 bits of two hashes with seeds of their own are compared, so that
/// no client can make a shape that takes another one's score.
pub(super) struct Shapes {
    model_sha256: String,
    wanted: usize,
    seeds: [RandomState; 2],
    sets: Box<[Set]>,
    stats: Arc<TableStats>,
}

#[derive(Default)]
#[repr(align(64))]
struct Set([Slot; WAYS]);

#[derive(Default)]
struct Slot {
    /// The key's first hash XOR `word`.
    check: AtomicU64,
    /// Half of the key's second hash, then the score's bits; 0 where the slot is empty.
    word: AtomicU64,
}

impl Shapes {
    /// An empty table for at least `wanted` scores of one model.
    pub(super) fn new(model_sha256: String, wanted: usize) -> Self {
        let sets = wanted.div_ceil(WAYS).max(1);
        Self {
            model_sha256,
            wanted,
            seeds: [RandomState::default(), RandomState::default()],
            sets: (0..sets).map(|_| Set::default()).collect(),
            stats: Arc::new(TableStats::with_capacity((sets * WAYS) as u64)),
        }
    }

    /// Whether this table holds scores of this model and has this size.
    pub(super) fn is_for(&self, model_sha256: &str, wanted: usize) -> bool {
        self.model_sha256 == model_sha256 && self.wanted == wanted
    }

    pub(super) fn stats(&self) -> Arc<TableStats> {
        Arc::clone(&self.stats)
    }

    /// The score of a shape: the one that is kept, or what `ask` returns, which is then kept.
    pub(super) fn score<E>(
        &self,
        features: &[f32; COUNT],
        ask: impl FnOnce() -> Result<f32, E>,
    ) -> Result<f32, E> {
        let key = self.key(features);
        if let Some(score) = self.get(key) {
            return Ok(score);
        }
        let score = ask()?;
        self.put(key, score);
        Ok(score)
    }

    fn key(&self, features: &[f32; COUNT]) -> [u64; 2] {
        let mut bytes = [[0; size_of::<f32>()]; COUNT];
        for (bytes, feature) in bytes.iter_mut().zip(features) {
            *bytes = feature.to_ne_bytes();
        }
        [0, 1].map(|at| {
            let mut hasher = self.seeds[at].build_hasher();
            hasher.write(bytes.as_flattened());
            hasher.finish()
        })
    }

    fn get(&self, key: [u64; 2]) -> Option<f32> {
        let found = self.set(key).0.iter().find_map(|slot| {
            let word = slot.word.load(Ordering::Relaxed);
            let check = slot.check.load(Ordering::Relaxed);
            (check ^ word == key[0] && word >> 32 == key[1] >> 32).then_some(word)
        })?;
        Some(f32::from_bits(found as u32))
    }

    fn put(&self, key: [u64; 2], score: f32) {
        let word = (key[1] >> 32 << 32) | u64::from(score.to_bits());
        let Set(slots) = self.set(key);
        let empty = slots
            .iter()
            .find(|slot| slot.word.load(Ordering::Relaxed) == 0);
        let slot = empty.unwrap_or(&slots[key[1] as usize % WAYS]);
        match slot.word.swap(word, Ordering::Relaxed) {
            0 => self.stats.added(),
            _ => self.stats.evicted(),
        }
        slot.check.store(key[0] ^ word, Ordering::Relaxed);
    }

    /// The set that a key belongs to: its first hash scaled down to the number of sets.
    fn set(&self, key: [u64; 2]) -> &Set {
        let at = (u128::from(key[0]) * self.sets.len() as u128) >> 64;
        &self.sets[at as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn shape(number: usize) -> [f32; COUNT] {
        let mut features = [0.0; COUNT];
        features[number % COUNT] = number as f32 + 1.0;
        features
    }

    /// Asks for a shape's score; returns whether the model was asked.
    fn ask(shapes: &Shapes, number: usize) -> bool {
        let mut asked = false;
        let expected = number as f32 / 1e6;
        let model = || {
            asked = true;
            Ok::<_, Infallible>(expected)
        };
        assert_eq!(shapes.score(&shape(number), model), Ok(expected));
        asked
    }

    #[test]
    fn shape_is_judged_once() {
        let shapes = Shapes::new("sha".into(), 65_536);
        assert!((0..100).all(|number| ask(&shapes, number)));
        assert!((0..100).all(|number| !ask(&shapes, number)));
        assert_eq!(shapes.stats.entries.load(Ordering::Relaxed), 100);
        assert_eq!(shapes.stats.evictions.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn table_never_grows() {
        let shapes = Shapes::new("sha".into(), 10);
        assert_eq!(shapes.stats.capacity, 12);
        for number in 0..1000 {
            ask(&shapes, number);
        }
        let entries = shapes.stats.entries.load(Ordering::Relaxed);
        let evictions = shapes.stats.evictions.load(Ordering::Relaxed);
        assert_eq!((entries, entries + evictions), (12, 1000));
    }

    #[test]
    fn failure_is_not_kept() {
        let shapes = Shapes::new("sha".into(), 16);
        assert_eq!(shapes.score(&shape(1), || Err("no score")), Err("no score"));
        assert!(ask(&shapes, 1));
    }

    #[test]
    fn mixed_slot_reads_as_absent() {
        let shapes = Shapes::new("sha".into(), 4);
        ask(&shapes, 1);
        let key = shapes.key(&shape(1));
        let slot = shapes
            .set(key)
            .0
            .iter()
            .find(|slot| slot.word.load(Ordering::Relaxed) != 0);
        // As if another writer had come between this one's two stores.
        slot.expect("the shape was kept")
            .word
            .fetch_xor(1, Ordering::Relaxed);
        assert_eq!(shapes.get(key), None);
    }

    #[test]
    fn many_threads_read_only_what_was_written() {
        let shapes = Shapes::new("sha".into(), 64);
        std::thread::scope(|scope| {
            for start in 0..4 {
                let shapes = &shapes;
                scope.spawn(move || {
                    for step in 0..20_000 {
                        ask(shapes, (start * 31 + step) % 300);
                    }
                });
            }
        });
        assert_eq!(shapes.stats.entries.load(Ordering::Relaxed), 64);
    }
}
