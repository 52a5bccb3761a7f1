//! `bandwidth`: paces the bodies of answers, those of one key together.
//!
//! | Key | Value | Default |
//! | --- | --- | --- |
//! | `key` | Facts by which answers share a limit: a fact or a list of facts, as for `rate_limit`. | `"client"` |
//! | `bytes_per_sec` | Bytes a second, 16384 to 4000000000. | required |
//! | `burst_bytes` | Bytes that are sent at full speed after a pause, 65536 to 4000000000. | as `bytes_per_sec`, and at least 65536 |
//! | `capacity` | Keys remembered at a time, 1024 to 16777216, at 38 bytes each. | `65536` |
//!
//! No client is denied: a piece of an answer, at most 64 KiB, waits until the bytes that its key was sent
//! before are within the limit, and at most 5 seconds, so that a client that leaves is noticed. So
//! many downloads of one key at once exceed the limit where each of them would have to wait longer;
//! bound their number with `in_flight`. Frames of WebSockets are paced as well, answers of the
//! gateway itself are not. A filter that only observes delays no answer. Each site counts for
//! itself.
//!
//! ```toml
//! [[pipeline.filter]]
//! name = "pace"
//! bandwidth = { key = "client", bytes_per_sec = 4000000, burst_bytes = 64000000 }
//! when = { paths = ["/downloads/*"] }
//! ```

use std::{num::NonZeroU32, ops::RangeInclusive, sync::Arc, time::Duration};

use serde::Deserialize;
use thornwall_detectors::request::RequestView;
use thornwall_settings::report::Noted;
use toml::Spanned;

use crate::{
    context::FilterContext,
    filter::{Filter, FilterError, Hold, Round},
    key::{KeyRule, KeySpec, LimitKey},
    kinds::Kind,
    rate::{Buckets, Quota},
    verdict::Verdict,
};

/// So slow that a piece of 64 KiB on its own still waits less than [`MOST_WAIT`].
const BYTES_PER_SEC: RangeInclusive<u64> = 16_384..=4_000_000_000;
const BURST_BYTES: RangeInclusive<u64> = 65_536..=4_000_000_000;
const CAPACITY: RangeInclusive<u64> = 1024..=16_777_216;
const DEFAULT_CAPACITY: u64 = 65_536;
/// Longest wait of one piece: while it waits, a client that leaves is not noticed.
const MOST_WAIT: Duration = Duration::from_secs(5);

/// The table `bandwidth`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Facts by which requests share a limit.
    pub key: Option<Spanned<KeySpec>>,
    /// Bytes that come back in a second.
    pub bytes_per_sec: Spanned<u64>,
    /// Bytes at full speed after a pause.
    pub burst_bytes: Option<Spanned<u64>>,
    /// Keys remembered at a time.
    pub capacity: Option<Spanned<u64>>,
}

impl Kind for Config {
    const COST: &'static str = "below 1 us";

    fn build(spec: &Spanned<Self>, context: &mut FilterContext) -> Result<Box<dyn Filter>, Noted> {
        let config = spec.get_ref();
        let key = KeyRule::build(config.key.as_ref(), context.key_seed, &mut context.report);
        let report = &mut context.report;
        let rate = report.within("bytes_per_sec", &config.bytes_per_sec, BYTES_PER_SEC);
        let burst =
            report.within_where_set("burst_bytes", config.burst_bytes.as_ref(), BURST_BYTES);
        let capacity = report.within_where_set("capacity", config.capacity.as_ref(), CAPACITY);
        let rate = rate?;
        let least = *BURST_BYTES.start();
        let quota = Quota {
            requests: count(rate)?,
            per: Duration::from_secs(1),
            burst: count(burst?.unwrap_or_else(|| rate.max(least)))?,
        };
        let capacity = usize::try_from(capacity?.unwrap_or(DEFAULT_CAPACITY)).map_err(|_| Noted)?;
        let key = key?;
        key.warn_of_sharing("bandwidth", &mut context.report);
        let buckets = context.carry_over(
            "bandwidth",
            |buckets: &Buckets| buckets.quota() == quota && buckets.capacity() == capacity,
            || Buckets::new(quota, capacity),
        );
        context.show_table("bandwidth", buckets.stats());
        Ok(Box::new(Bandwidth { key, buckets }))
    }
}

struct Bandwidth {
    key: KeyRule,
    buckets: Arc<Buckets>,
}

impl Filter for Bandwidth {
    fn judge(&self, request: &RequestView<'_>, round: &mut Round) -> Result<Verdict, FilterError> {
        round.holds.keep(Pace {
            key: self.key.key(request),
            buckets: Arc::clone(&self.buckets),
        });
        Ok(Verdict::Pass)
    }
}

/// The pace of one answer.
struct Pace {
    key: LimitKey,
    buckets: Arc<Buckets>,
}

impl Hold for Pace {
    fn pace(&mut self, bytes: usize, now: Duration) -> Duration {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.buckets.charge(self.key, bytes, now, MOST_WAIT)
    }
}

/// A number of bytes that is in its range.
fn count(value: u64) -> Result<NonZeroU32, Noted> {
    let value = u32::try_from(value).ok().and_then(NonZeroU32::new);
    value.ok_or(Noted)
}

#[cfg(test)]
mod tests;
