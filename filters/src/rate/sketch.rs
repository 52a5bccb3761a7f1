//! What the keys without a bucket have asked for lately: never too little, perhaps too much.

use pingora_limits::estimator::Estimator;

use crate::key::LimitKey;

/// Rows of the sketch: an estimate is too high by more than e/width of all that was counted with a
/// probability of e^-4, 2 % (Cormode and Muthukrishnan 2005, section 3.2).
pub(super) const ROWS: usize = 4;

/// A count-min sketch of the current window.
pub(super) struct Sketch {
    counts: Estimator,
    width: usize,
    /// When the counts start anew.
    end: u128,
}

impl Sketch {
    pub(super) fn new(width: usize) -> Self {
        Self {
            counts: Estimator::new(ROWS, width),
            width,
            end: 0,
        }
    }

    /// Adds to a key's count of the current window, which lasts `window`; about what it is now.
    pub(super) fn count(&mut self, key: LimitKey, amount: u32, now: u128, window: u128) -> u64 {
        if now >= self.end {
            self.counts.reset();
            self.end = now + window;
        }
        let count = self.counts.incr(key.place(), amount as isize);
        // A count that has run over is a large one.
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    pub(super) const fn heap_bytes(&self) -> usize {
        ROWS * self.width * size_of::<isize>()
    }
}
