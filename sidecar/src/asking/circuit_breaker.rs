//! A service that fails is left alone for a while: first a minute, then twice as long each time.

use std::time::Duration;

/// Failures in a row that are taken for chance.
const TOLERATED: u32 = 3;
/// The first pause.
const FIRST_MS: u64 = 60_000;
/// The longest one.
const LONGEST_MS: u64 = 3_600_000;
/// How long one question may be on its way that tries whether the service is back; longer than any
/// deadline.
const TRIAL_MS: u64 = 60_000;

/// Whether a service may be asked.
#[derive(Debug, Default)]
pub(crate) struct CircuitBreaker {
    failures: u32,
    paused_until_ms: u64,
    trial_until_ms: u64,
}

impl CircuitBreaker {
    /// For how long the service may not be asked; `None` where it may.
    pub(crate) fn is_open(&self, now_ms: u64) -> Option<u64> {
        let until_ms = self.paused_until_ms.max(self.trial_until_ms);
        until_ms.checked_sub(now_ms).filter(|left| *left > 0)
    }

    /// A question is sent. After failures it is the only one until it is known what came of it.
    pub(crate) const fn begin(&mut self, now_ms: u64) {
        if self.failures >= TOLERATED {
            self.trial_until_ms = now_ms + TRIAL_MS;
        }
    }

    /// The service answered.
    pub(crate) const fn succeeded(&mut self) {
        self.failures = 0;
        self.trial_until_ms = 0;
    }

    /// The service did not answer, and may have asked for a pause.
    pub(crate) fn failed(&mut self, now_ms: u64, wish: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        self.trial_until_ms = 0;
        let own_ms = match self.failures.checked_sub(TOLERATED) {
            Some(further) => (FIRST_MS << further.min(10)).min(LONGEST_MS),
            None => 0,
        };
        let wish_ms = wish.map_or(0, |wish| {
            u64::try_from(wish.as_millis()).unwrap_or(LONGEST_MS)
        });
        self.paused_until_ms = self.paused_until_ms.max(now_ms + own_ms.max(wish_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_with_an_answer() {
        let mut circuit = CircuitBreaker::default();
        for _ in 0..2 {
            circuit.failed(0, None);
            assert_eq!(circuit.is_open(0), None);
        }
        circuit.failed(0, None);
        assert_eq!(circuit.is_open(0), Some(60_000));
        assert_eq!(circuit.is_open(60_000), None);
        circuit.failed(60_000, None);
        assert_eq!(circuit.is_open(60_000), Some(120_000));
        for _ in 0..50 {
            circuit.failed(180_000, None);
        }
        assert_eq!(circuit.is_open(180_000), Some(LONGEST_MS));
        circuit.begin(180_000 + LONGEST_MS);
        circuit.succeeded();
        assert_eq!(circuit.is_open(180_000 + LONGEST_MS), None);
    }

    #[test]
    fn one_question_tries_whether_it_is_back() {
        let mut circuit = CircuitBreaker::default();
        for _ in 0..3 {
            circuit.failed(0, None);
        }
        circuit.begin(60_000);
        assert!(circuit.is_open(60_001).is_some());
        // Its outcome never came: then another question may be asked.
        assert_eq!(circuit.is_open(120_000), None);
    }

    #[test]
    fn a_wish_holds_at_once_and_is_not_cut_short() {
        let mut circuit = CircuitBreaker::default();
        circuit.failed(0, Some(Duration::from_secs(90)));
        // An answer that was on its way does not end the pause.
        circuit.succeeded();
        assert_eq!(circuit.is_open(1_000), Some(89_000));
    }
}
