//! Hashes that are the same in every process: a key finds its server through every gateway and
//! after every restart.

use std::hash::Hasher;

use fnv::FnvHasher;

/// A hashed name or key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Key(pub u64);

impl Key {
    /// The hash of some bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hasher = FnvHasher::default();
        hasher.write(bytes);
        Self(mix(hasher.finish()))
    }

    /// The hash of both, evenly spread however alike they are.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(mix(self.0 ^ other.0.rotate_left(32)))
    }

    /// A number between 0 and 1, and never one of them, that the hash stands for.
    pub(crate) fn fraction(self) -> f64 {
        // As many bits as a double holds beside the half.
        ((self.0 >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }
}

/// The `n`th number of a stream that passes for random: SplitMix64 (Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", 2014).
pub(crate) const fn random(n: u64) -> Key {
    Key(mix(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_never_change() {
        // Where they did, every key would move to another server at once.
        assert_eq!(Key::of(b"192.0.2.1"), Key(5_552_405_930_031_864_309));
        assert!(Key(0).fraction() > 0.0 && Key(u64::MAX).fraction() < 1.0);
    }
}
