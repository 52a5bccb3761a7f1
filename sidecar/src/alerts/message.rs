//! What is sent at once: some alerts, and the number of the others.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::notice::Notice;

/// Alerts that a message shows; of more, those of the lowest severities are only counted.
pub(super) const MOST_SHOWN: usize = 20;

/// Alerts that wait to become a message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Digest {
    /// Alerts that will be shown.
    pub(super) notices: Vec<Notice>,
    /// Alerts that are only counted.
    pub(super) not_shown: u64,
    /// Alerts that repeat an earlier one.
    pub(super) repeated: u64,
    /// Alerts that waited since `most_per_hour` was reached.
    pub(super) held: u64,
    /// When the first one came.
    pub(super) since_ms: u64,
}

impl Digest {
    pub(super) fn add(&mut self, notice: Notice, now_ms: u64) {
        self.begin(now_ms);
        self.notices.push(notice);
        if self.notices.len() > MOST_SHOWN {
            // Of the mildest ones the last gives way.
            let mildest = (0..self.notices.len())
                .min_by_key(|at| (self.notices[*at].details.action, Reverse(*at)));
            if let Some(at) = mildest {
                self.notices.remove(at);
                self.not_shown += 1;
            }
        }
    }

    /// Counts alerts of which nothing else is known.
    pub(super) const fn count_more(&mut self, count: u64, now_ms: u64) {
        if count > 0 {
            self.begin(now_ms);
            self.not_shown += count;
        }
    }

    const fn begin(&mut self, now_ms: u64) {
        if self.is_empty() {
            self.since_ms = now_ms;
        }
    }

    /// Whether there is nothing to send. What was only repeated is counted with the next alert.
    pub(super) const fn is_empty(&self) -> bool {
        self.notices.is_empty() && self.not_shown == 0
    }

    /// Alerts in the digest.
    pub(super) fn count(&self) -> u64 {
        self.notices.len() as u64 + self.not_shown
    }

    /// The digest as a message, the worst alert first.
    pub(super) fn into_message(mut self) -> Message {
        self.notices
            .sort_by_key(|notice| Reverse(notice.details.action));
        Message {
            id: Uuid::new_v4().to_string(),
            notices: self.notices,
            not_shown: self.not_shown,
            repeated: self.repeated,
            held: self.held,
        }
    }
}

/// A message, the same however often it has to be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Message {
    /// The same in each try, so that a receiver recognises a repetition.
    pub(super) id: String,
    /// Alerts that it shows, the worst first.
    pub(super) notices: Vec<Notice>,
    /// Alerts that it does not show.
    pub(super) not_shown: u64,
    /// Alerts that repeat an earlier one.
    pub(super) repeated: u64,
    /// Alerts that waited since `most_per_hour` was reached.
    pub(super) held: u64,
}

impl Message {
    /// One line about the worst alert.
    pub(super) fn headline(&self) -> String {
        let Some(worst) = self.notices.first() else {
            return format!("{} alerts", self.not_shown);
        };
        let mut line = format!(
            "{} {} at {}: {}",
            worst.details.action.name(),
            worst.ip_address,
            worst.details.site,
            worst.reason
        );
        let more = self.notices.len() as u64 - 1 + self.not_shown;
        if more > 0 {
            line.push_str(&format!(" (and {more} more)"));
        }
        line
    }

    /// A line about alerts that are not shown; `None` where there are none.
    pub(super) fn remainder(&self) -> Option<String> {
        let parts = [
            (self.not_shown, "more are not shown"),
            (self.repeated, "said again what had been told"),
            (self.held, "waited since `most_per_hour` was reached"),
        ];
        let parts = parts.into_iter().filter(|(count, _)| *count > 0);
        let parts: Vec<String> = parts
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// What people read of one alert, line by line.
pub(super) fn lines(notice: &Notice) -> Vec<String> {
    let details = &notice.details;
    let steps = details.steps.iter();
    let steps: Vec<String> = steps
        .map(|step| format!("{} {:.3}", step.name, step.score))
        .collect();
    let mut lines = vec![
        format!(
            "{}: {} at {}",
            details.action.name(),
            notice.ip_address,
            details.site
        ),
        format!("reason: {}", notice.reason),
        format!(
            "score: {:.3} after {} requests",
            details.score, details.requests
        ),
        format!("steps: {}", steps.join(", ")),
        format!("user agent: {}", notice.user_agent),
        format!("time: {}", notice.timestamp),
        format!("case: {}", details.case_id),
    ];
    if let Some(until) = &details.decision_until {
        lines.push(format!("decided until: {until}"));
    }
    lines
}
