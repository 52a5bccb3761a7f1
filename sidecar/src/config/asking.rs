//! What a service of others may cost.

use serde::Deserialize;

/// How long a service may take, how often it is asked, and how long its answers hold.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Seconds that a question may take as a whole.
    pub timeout_secs: u32,
    /// Seconds that an answer is kept.
    pub keep_secs: u32,
    /// Seconds that a failure is kept, so that a case that grows does not ask again.
    pub keep_failures_secs: u32,
    /// Answers that are kept at most.
    pub max_cached: usize,
    /// Questions within an hour of UTC.
    pub per_hour: u32,
    /// Questions within a day of UTC.
    pub per_day: u32,
}

impl Default for Limits {
    /// A free account at AbuseIPDB has 1000 questions a day (its page on pricing).
    fn default() -> Self {
        Self {
            timeout_secs: 5,
            keep_secs: 86_400,
            keep_failures_secs: 60,
            max_cached: 16_384,
            per_hour: 200,
            per_day: 900,
        }
    }
}

impl Limits {
    pub(super) fn complaint(&self) -> Option<&'static str> {
        // A question that tries whether a service is back is given a minute.
        let timeout = (1..=30).contains(&self.timeout_secs);
        let lives = [self.keep_secs, self.keep_failures_secs];
        let lives = lives.iter().all(|secs| (1..=2_592_000).contains(secs));
        // More than questions that are on their way, so that none of them is forgotten.
        let cached = (1024..=1_000_000).contains(&self.max_cached);
        (!(timeout && lives && cached)).then_some(
            "expected 1 to 30 seconds of waiting, 1 second to 30 days of keeping, 1024 to 1000000 answers",
        )
    }
}
