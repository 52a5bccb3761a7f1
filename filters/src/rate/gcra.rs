//! The arithmetic of one bucket, in exact integers.

use std::time::Duration;

use crate::{rate::Quota, verdict::Limit};

/// A quota as GCRA wants it: `T` (the increment) and `tau` (the tolerance).
///
/// Times are counted in ticks of `1/requests` nanoseconds. In them the increment, `per / requests`,
/// is a whole number, so that three requests per second are exactly that. Nothing overflows: a
/// [`Duration`] is below 2^94 ns, so now and tolerance are below 2^126 ticks and the increment
/// below 2^94; a TAT is at most the sum of the three.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gcra {
    ticks_per_nano: u128,
    increment: u128,
    tolerance: u128,
    burst: u32,
}

const NANOS_PER_MILLI: u128 = 1_000_000;
const NANOS_PER_SEC: u128 = 1_000_000_000;

impl Gcra {
    pub(super) fn new(quota: Quota) -> Self {
        let increment = quota.per.as_nanos();
        Self {
            ticks_per_nano: u128::from(quota.requests.get()),
            increment,
            tolerance: increment * u128::from(quota.burst.get() - 1),
            burst: quota.burst.get(),
        }
    }

    /// A time in ticks.
    pub(super) fn ticks(&self, time: Duration) -> u128 {
        time.as_nanos() * self.ticks_per_nano
    }

    /// The ticks in which an empty bucket fills up, and at least those of a second.
    pub(super) fn window(&self) -> u128 {
        (self.tolerance + self.increment).max(NANOS_PER_SEC * self.ticks_per_nano)
    }

    /// The bucket's TAT once `cost` requests, at most the burst, were let through, or what the limit
    /// is that they would exceed.
    pub(super) fn admit(&self, tat: u128, now: u128, cost: u32) -> Result<u128, Limit> {
        let cost = self.increment * u128::from(cost.clamp(1, self.burst));
        let due = (tat + cost).saturating_sub(self.tolerance + self.increment);
        if now < due {
            return Err(self.limit(tat, now, due - now));
        }
        Ok(now.max(tat) + cost)
    }

    /// The bucket's TAT once `amount` was taken, and how long it is in debt: at most `most`.
    pub(super) fn charge(
        &self,
        tat: u128,
        now: u128,
        amount: u32,
        most: Duration,
    ) -> (u128, Duration) {
        let after = now.max(tat) + self.increment * u128::from(amount);
        let debt = after.saturating_sub(now + self.tolerance + self.increment);
        let kept = debt.min(self.ticks(most));
        (
            after - (debt - kept),
            nanos(kept.div_ceil(self.ticks_per_nano)),
        )
    }

    /// Requests that are left in a bucket.
    pub(super) fn free(&self, tat: u128, now: u128) -> u32 {
        let left = (now + self.tolerance + self.increment).saturating_sub(tat.max(now));
        // At most the burst.
        left.checked_div(self.increment).unwrap_or_default() as u32
    }

    /// The limit as it is told to who has to wait for that long, whatever is in the bucket.
    pub(super) fn limit_after(&self, tat: u128, now: u128, wait: Duration) -> Limit {
        self.limit(tat, now, self.ticks(wait))
    }

    fn limit(&self, tat: u128, now: u128, wait: u128) -> Limit {
        let window = self.tolerance + self.increment;
        Limit {
            burst: self.burst,
            remaining: self.free(tat, now),
            window: nanos(window.div_ceil(self.ticks_per_nano)),
            retry_after: nanos(
                wait.div_ceil(self.ticks_per_nano * NANOS_PER_MILLI)
                    .saturating_mul(NANOS_PER_MILLI),
            ),
        }
    }
}

/// Nanoseconds as a duration; the longest one where they do not fit.
fn nanos(nanos: u128) -> Duration {
    // The remainder of a division by a thousand million always fits.
    u64::try_from(nanos / NANOS_PER_SEC).map_or(Duration::MAX, |secs| {
        Duration::new(secs, (nanos % NANOS_PER_SEC) as u32)
    })
}
