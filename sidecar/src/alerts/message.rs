//! What is sent at once: some alerts, and how many more there are.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::notice::Notice;

/// Alerts that a message shows; of more, those of the lowest severities are only counted.
pub(super) const MOST_SHOWN: usize = 20;

/// Alerts that wait to become a message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Pile {
    /// Those that will be shown.
    pub(super) notices: Vec<Notice>,
    /// Those that are only counted.
    pub(super) not_shown: u64,
    /// Those that said again what was said.
    pub(super) repeated: u64,
    /// Those of them that the cap let wait.
    pub(super) held: u64,
    /// When the first one came.
    pub(super) since_ms: u64,
}

impl Pile {
    /// Puts an alert on it.
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

    /// Whether there is nothing to tell. What was only repeated is told with the next alert.
    pub(super) const fn is_empty(&self) -> bool {
        self.notices.is_empty() && self.not_shown == 0
    }

    /// Alerts on it.
    pub(super) fn count(&self) -> u64 {
        self.notices.len() as u64 + self.not_shown
    }

    /// The message that it makes, the worst alert first.
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
    /// Tells a receiver that it has it already.
    pub(super) id: String,
    /// Alerts that it shows, the worst first.
    pub(super) notices: Vec<Notice>,
    /// Alerts that it does not show.
    pub(super) not_shown: u64,
    /// Alerts that said again what had been said.
    pub(super) repeated: u64,
    /// Those of them that waited since the most messages of an hour had gone.
    pub(super) held: u64,
}

impl Message {
    /// One line that says the worst of it.
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

    /// What is said of alerts that are not shown; nothing where there are none.
    pub(super) fn remainder(&self) -> Option<String> {
        let told = [
            (self.not_shown, "more are not shown"),
            (self.repeated, "said again what had been told"),
            (self.held, "waited since `most_per_hour` was reached"),
        ];
        let told = told.into_iter().filter(|(count, _)| *count > 0);
        let told: Vec<String> = told
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
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
