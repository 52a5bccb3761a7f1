//! How slowly a document is sent.

use std::{ops::RangeInclusive, time::Duration};

use crate::deception::random::Random;

/// The pace of one drip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// Mean wait between two chunks.
    pub interval: Duration,
    /// Least and most bytes of a chunk. The first chunk is longer where the head of the document
    /// is, and the last one brings the document to its end.
    pub chunk_bytes: RangeInclusive<u16>,
    /// Time from the first chunk to the last.
    pub total: Duration,
}

impl Default for Pace {
    /// Slow enough to waste ten minutes on 36 kB, quick enough for a client that gives up after
    /// five silent seconds: the longest wait is 1.75 intervals.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            chunk_bytes: 40..=200,
            total: Duration::from_secs(600),
        }
    }
}

impl Pace {
    /// The wait before the next chunk: from 0.25 to 1.75 intervals, with the interval as its mean.
    /// Two draws are added, so that most waits lie near the mean, as those of a busy server do.
    pub(crate) fn wait(&self, jitter: &mut Random) -> Duration {
        let mean = micros(self.interval.clamp(SHORTEST, LONGEST));
        let spread = mean / 4 * 3;
        let wait = mean - spread + jitter.between(0, spread) + jitter.between(0, spread);
        Duration::from_micros(wait)
    }

    /// More than all chunks together have, but for what the first and the last have beyond theirs.
    pub(crate) fn most_bytes(&self) -> u64 {
        let shortest = micros(self.interval.clamp(SHORTEST, LONGEST)) / 4;
        let chunks = micros(self.total) / shortest.max(1) + 2;
        let longest = u64::from(
            (*self.chunk_bytes.end())
                .max(*self.chunk_bytes.start())
                .max(1),
        );
        chunks.saturating_mul(longest)
    }

    /// The length of the next chunk, at least one byte.
    pub(crate) fn bytes(&self, jitter: &mut Random) -> usize {
        let (least, most) = (*self.chunk_bytes.start(), *self.chunk_bytes.end());
        jitter.between(u64::from(least.max(1)), u64::from(most)) as usize
    }
}

/// Bounds of the interval, so that a drip ends whatever was configured and no product overflows.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(3600);

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_average_to_the_interval_and_vary() {
        let check = |interval: Duration, mean: Duration| {
            let pace = Pace {
                interval,
                ..Pace::default()
            };
            let mut jitter = Random::new(11);
            let waits: Vec<Duration> = (0..2000).map(|_| pace.wait(&mut jitter)).collect();
            let average = waits.iter().sum::<Duration>() / 2000;
            assert!(
                average.abs_diff(mean) < mean / 20,
                "{average:?} for {interval:?}"
            );
            assert!(
                waits
                    .iter()
                    .all(|&wait| wait >= mean / 4 && wait <= mean * 7 / 4)
            );
            assert!(waits.iter().any(|&wait| wait < mean / 2));
            assert!(waits.iter().any(|&wait| wait > mean * 3 / 2));
        };
        check(Duration::from_secs(2), Duration::from_secs(2));
        check(Duration::from_millis(100), Duration::from_millis(100));
        check(Duration::ZERO, SHORTEST);
        check(Duration::MAX, LONGEST);
    }

    #[test]
    fn lengths_stay_within_their_range() {
        let check = |chunk_bytes: RangeInclusive<u16>, least: usize, most: usize| {
            let pace = Pace {
                chunk_bytes,
                ..Pace::default()
            };
            let mut jitter = Random::new(5);
            let lengths: Vec<usize> = (0..4000).map(|_| pace.bytes(&mut jitter)).collect();
            assert_eq!(lengths.iter().min(), Some(&least));
            assert_eq!(lengths.iter().max(), Some(&most));
        };
        check(40..=200, 40, 200);
        check(0..=0, 1, 1);
        check(RangeInclusive::new(9, 3), 9, 9);
    }
}
