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

    /// The limit of these buckets where only `limit` requests come back in the quota's time. The burst scales
    /// along, down to one request, and what is in a bucket stays the same part of it.
    ///
    /// An increment is rounded down to a tick, which is at most a nanosecond. It is below 2^67
    /// then, and what 2^32 requests cost below 2^99.
    pub(super) fn at(&self, limit: u32) -> Self {
        let whole = self.tolerance + self.increment;
        let increment = self.increment * self.ticks_per_nano / u128::from(limit.max(1));
        let increment = increment.max(1);
        Self {
            increment,
            tolerance: whole.saturating_sub(increment),
            // At most 10^6 times 10^6 over 1.
            burst: u32::try_from(whole / increment).map_or(u32::MAX, |burst| burst.max(1)),
            ..*self
        }
    }

    /// Requests that a full bucket allows at once.
    pub(super) const fn burst(&self) -> u32 {
        self.burst
    }

    /// A time in ticks.
    pub(super) fn ticks(&self, time: Duration) -> u128 {
        time.as_nanos() * self.ticks_per_nano
    }

    /// The ticks in which an empty bucket fills up, and at least those of a second.
    pub(super) fn window(&self) -> u128 {
        (self.tolerance + self.increment).max(NANOS_PER_SEC * self.ticks_per_nano)
    }

    /// The bucket's TAT once `cost` requests were let through, or what the limit is that they would
    /// exceed. What costs more than a bucket holds is let through by a full one, and owes the rest.
    pub(super) fn admit(&self, tat: u128, now: u128, cost: u32) -> Result<u128, Limit> {
        let cost = self.increment * u128::from(cost.max(1));
        let whole = self.tolerance + self.increment;
        let due = (tat + cost.min(whole)).saturating_sub(whole);
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

    /// Whether a bucket owes nothing, or when it no longer does.
    pub(super) fn solvent(&self, tat: u128, now: u128) -> Result<(), Limit> {
        let empty = now + self.tolerance + self.increment;
        match tat.checked_sub(empty) {
            None | Some(0) => Ok(()),
            Some(debt) => Err(self.limit(tat, now, debt)),
        }
    }

    /// The bucket's TAT once `amount` was put back.
    pub(super) fn refund(&self, tat: u128, amount: u32) -> u128 {
        tat.saturating_sub(self.increment * u128::from(amount))
    }

    /// Whether a bucket in which `missing` requests were missing has been full since.
    pub(super) fn has_filled(&self, missing: u32, since: Duration) -> bool {
        self.ticks(since) >= self.increment * u128::from(missing)
    }

    /// Requests that are left in a bucket.
    pub(super) fn free(&self, tat: u128, now: u128) -> u32 {
        let left = (now + self.tolerance + self.increment).saturating_sub(tat.max(now));
        let free = left.checked_div(self.increment).unwrap_or_default();
        u32::try_from(free).unwrap_or(u32::MAX)
    }

    /// Requests that are missing in a bucket, the last of them perhaps in part.
    pub(super) fn used(&self, tat: u128, now: u128) -> u32 {
        let used = tat.saturating_sub(now).div_ceil(self.increment.max(1));
        u32::try_from(used).unwrap_or(u32::MAX)
    }

    /// The limit as it is sent to a client that has to wait for `wait`, whatever is in the bucket.
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
