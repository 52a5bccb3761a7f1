//! The state of the feeds, for `thornwall status` and the metrics.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus::{IntCounterVec, IntGaugeVec};
use serde::Serialize;
use thornwall_decisions::feed::Parsed;

use super::round::RoundError;
use crate::families::Families;

/// Everything that is shown about feeds.
#[derive(Debug)]
pub(crate) struct FeedStatuses {
    statuses: Mutex<BTreeMap<Arc<str>, FeedStatus>>,
    metrics: FeedMetrics,
}

/// State of one feed.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct FeedStatus {
    /// `waiting` before the first reading, then `ok`, `failing`, or `ended` where its last good copy
    /// has ended too.
    pub state: &'static str,
    /// Networks that are listed now.
    pub entries: usize,
    /// Entries of the last list that were not taken.
    pub refused: u64,
    /// What else is odd about it.
    pub warning: Option<String>,
    /// When the feed was last good.
    pub last_success: Option<Timestamp>,
    /// When its entries end unless it is read again.
    pub until: Option<Timestamp>,
    /// What is wrong.
    pub error: Option<String>,
}

/// What is counted about feeds.
#[derive(Debug, Clone)]
pub(crate) struct FeedMetrics {
    entries: IntGaugeVec,
    failing: IntGaugeVec,
    fetches: IntCounterVec,
    last_success: IntGaugeVec,
    refused: IntCounterVec,
}

/// All values of the label `result`.
const RESULTS: [&str; 6] = [
    "applied",
    "failed",
    "no_list",
    "shrunk",
    "too_large",
    "unchanged",
];
/// All values of the label `reason`.
const REASONS: [&str; 4] = ["malformed", "never_block", "not_global", "too_broad"];

impl FeedMetrics {
    pub(crate) fn register(make: &Families<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            entries: make.gauges(
                "thornwall_feed_entries",
                "Networks that a feed lists now.",
                &["feed"],
            )?,
            failing: make.gauges(
                "thornwall_feed_failing",
                "1 while a feed's last reading was not taken.",
                &["feed"],
            )?,
            fetches: make.counters(
                "thornwall_feed_fetches_total",
                "Readings of a feed, by what they brought.",
                &["feed", "result"],
            )?,
            last_success: make.gauges(
                "thornwall_feed_last_success_timestamp_seconds",
                "When a feed was last good.",
                &["feed"],
            )?,
            refused: make.counters(
                "thornwall_feed_refused_entries_total",
                "Entries of a feed that were not taken, by why.",
                &["feed", "reason"],
            )?,
        })
    }
}

impl FeedStatuses {
    /// No feed yet.
    pub(crate) fn new(metrics: FeedMetrics) -> Self {
        Self {
            statuses: Mutex::default(),
            metrics,
        }
    }

    /// State of every feed.
    pub(crate) fn statuses(&self) -> BTreeMap<Arc<str>, FeedStatus> {
        self.statuses.lock().clone()
    }

    pub(crate) fn begin(&self, name: &Arc<str>) {
        // Shown from the beginning, so that their rise can be seen.
        for result in RESULTS {
            let _ = self.metrics.fetches.with_label_values(&[&**name, result]);
        }
        let status = FeedStatus {
            state: "waiting",
            ..FeedStatus::default()
        };
        self.statuses.lock().insert(Arc::clone(name), status);
        self.show(name, 0);
    }

    /// Forgets a feed that is gone, with everything that was shown about it.
    pub(crate) fn end(&self, name: &str) {
        self.statuses.lock().remove(name);
        // A series that is not there needs no removing.
        for gauges in [
            &self.metrics.entries,
            &self.metrics.failing,
            &self.metrics.last_success,
        ] {
            let _ = gauges.remove_label_values(&[name]);
        }
        for result in RESULTS {
            let _ = self.metrics.fetches.remove_label_values(&[name, result]);
        }
        for reason in REASONS {
            let _ = self.metrics.refused.remove_label_values(&[name, reason]);
        }
    }

    pub(crate) fn resumed(&self, name: &str, entries: usize, good_ms: u64, until_ms: u64) {
        self.change(name, |status| {
            status.entries = entries;
            status.last_success = timestamp(good_ms);
            status.until = timestamp(until_ms);
        });
        self.good(name, good_ms);
        self.show(name, entries);
    }

    pub(crate) fn applied(
        &self,
        name: &str,
        parsed: &Parsed,
        spared: usize,
        now: u64,
        until_ms: u64,
    ) {
        let refused = parsed.refused.by_reason();
        for (reason, count) in refused.into_iter().chain([("never_block", spared as u64)]) {
            let labels = [name, reason];
            self.metrics
                .refused
                .with_label_values(&labels)
                .inc_by(count);
        }
        self.change(name, |status| {
            *status = FeedStatus {
                state: "ok",
                entries: parsed.subjects.len(),
                refused: parsed.refused.sum(),
                warning: unread(parsed),
                last_success: timestamp(now),
                until: timestamp(until_ms),
                error: None,
            };
        });
        self.count(name, "applied");
        self.good(name, now);
        self.show(name, parsed.subjects.len());
    }

    pub(crate) fn unchanged(&self, name: &str, now: u64, until_ms: u64) {
        self.change(name, |status| {
            status.state = "ok";
            status.error = None;
            status.last_success = timestamp(now);
            status.until = timestamp(until_ms);
        });
        self.count(name, "unchanged");
        self.good(name, now);
    }

    pub(crate) fn failed(&self, name: &str, error: &RoundError) {
        self.change(name, |status| {
            if status.state != "ended" {
                status.state = "failing";
            }
            status.error = Some(error.to_string());
        });
        self.count(name, error.result());
        self.metrics.failing.with_label_values(&[name]).set(1);
    }

    pub(crate) fn expired(&self, name: &str) {
        self.change(name, |status| {
            status.state = "ended";
            status.entries = 0;
            status.until = None;
        });
        self.show(name, 0);
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut FeedStatus)) {
        if let Some(status) = self.statuses.lock().get_mut(name) {
            change(status);
        }
    }

    fn count(&self, name: &str, result: &str) {
        self.metrics
            .fetches
            .with_label_values(&[name, result])
            .inc();
    }

    fn good(&self, name: &str, now: u64) {
        self.metrics.failing.with_label_values(&[name]).set(0);
        let secs = i64::try_from(now / 1000).unwrap_or(i64::MAX);
        self.metrics
            .last_success
            .with_label_values(&[name])
            .set(secs);
    }

    fn show(&self, name: &str, entries: usize) {
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        self.metrics.entries.with_label_values(&[name]).set(entries);
    }
}

/// A warning about text that is not understood: where most entries have them, the list may be
/// written in another way than it is read.
pub(crate) fn unread(parsed: &Parsed) -> Option<String> {
    let (count, first) = (parsed.unread, parsed.first_unread.as_ref()?);
    Some(format!(
        "words behind {count} of {} entries are not read, the first in {first}",
        parsed.taken + parsed.refused.sum()
    ))
}

fn timestamp(unix_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()
}
