//! `in_flight`: denies requests while too many of the same key are under way.
//!
//! | Key | Value | Default |
//! | --- | --- | --- |
//! | `key` | Facts by which requests share a limit: a fact or a list of facts, as for `rate_limit`. | `"client"` |
//! | `most` | Requests under way at once, 1 to 1000000. | required |
//! | `status` | What the client is answered with: `429`, or `503` where the limit protects the site rather than bounds a client. | `429` |
//! | `capacity` | Keys with anything under way, 1024 to 1048576, at some 48 bytes each. | `65536` |
//!
//! A request is under way from here until its answer has been sent, its client has left or its
//! origin has failed; a WebSocket for as long as it is open. A request that a later filter
//! answers is not. A refused client is asked to come back in a second; the reason is `in_flight.exceeded`, the evidence the
//! facts of `key`. Each site counts for itself. Counts are kept through reloads, also
//! with another `most`. Where the table is full, requests of further keys are let through uncounted,
//! each an overflow of the table in the metrics.
//!
//! A browser loads a page over six connections of HTTP/1 or a hundred streams of HTTP/2, and several
//! people may share an address.
//!
//! ```toml
//! [[pipeline.filter]]
//! name = "downloads"
//! in_flight = { key = ["client", "path"], most = 4 }
//! when = { paths = ["/downloads/*"] }
//! ```

mod counts;

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use serde::Deserialize;
use thornwall_detectors::{
    request::RequestView,
    signal::{Evidence, Reason, Signal},
};
use thornwall_settings::report::Noted;
use toml::Spanned;

use self::counts::{Counts, Entry};
use crate::{
    context::FilterContext,
    filter::{Filter, FilterError, Round},
    key::{KeyRule, KeySpec},
    kinds::Kind,
    verdict::{Denial, Refusal, Verdict},
};

const MOST: RangeInclusive<u64> = 1..=1_000_000;
const CAPACITY: RangeInclusive<u64> = 1024..=1_048_576;
const DEFAULT_CAPACITY: u64 = 65_536;
/// Time after which a refused client may try again: the end of a request in flight cannot be foreseen.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The table `in_flight`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Facts by which requests share a limit.
    pub key: Option<Spanned<KeySpec>>,
    /// Requests under way at once.
    pub most: Spanned<u64>,
    /// What the client is answered with.
    pub status: Option<Spanned<u16>>,
    /// Keys with anything under way.
    pub capacity: Option<Spanned<u64>>,
}

impl Kind for Config {
    const COST: &'static str = "below 1 us";

    fn build(spec: &Spanned<Self>, context: &mut FilterContext) -> Result<Box<dyn Filter>, Noted> {
        let config = spec.get_ref();
        let key = KeyRule::build(config.key.as_ref(), context.key_seed, &mut context.report);
        let report = &mut context.report;
        let most = report.within("most", &config.most, MOST);
        let capacity = report.within_where_set("capacity", config.capacity.as_ref(), CAPACITY);
        let status = config
            .status
            .as_ref()
            .map_or(429, |status| *status.get_ref());
        if let (Some(place), false) = (&config.status, matches!(status, 429 | 503)) {
            let what = format!("`status` is {status}; expected 429 or 503");
            report.problem(place.span(), what);
            return Err(Noted);
        }
        let capacity = usize::try_from(capacity?.unwrap_or(DEFAULT_CAPACITY)).map_err(|_| Noted)?;
        let key = key?;
        key.warn_of_sharing("in_flight", &mut context.report);
        let counts = context.carry_over(
            "in_flight",
            |counts: &Counts| counts.fits(capacity),
            || Counts::new(capacity),
        );
        context.show_table("in_flight", Arc::clone(counts.stats()));
        Ok(Box::new(InFlight {
            key,
            most: u32::try_from(most?).map_err(|_| Noted)?,
            status,
            counts,
        }))
    }
}

struct InFlight {
    key: KeyRule,
    most: u32,
    status: u16,
    counts: Arc<Counts>,
}

impl Filter for InFlight {
    fn judge(&self, request: &RequestView<'_>, round: &mut Round) -> Result<Verdict, FilterError> {
        match self.counts.enter(self.key.key(request), self.most) {
            Entry::Counted(guard) => round.holds.keep(guard),
            Entry::NoRoom => {}
            Entry::Full => {
                let reason = Reason::InFlightExceeded;
                let evidence = Evidence::Label(self.key.label());
                // Weighs nothing: it shows what a filter that only observes would have denied.
                round
                    .trail
                    .push(Signal::with_evidence(reason, 0.0, evidence));
                return Ok(Verdict::Limit(Denial {
                    reason,
                    refusal: Refusal::Busy(self.status, RETRY_AFTER),
                }));
            }
        }
        Ok(Verdict::Pass)
    }
}

#[cfg(test)]
mod tests;
