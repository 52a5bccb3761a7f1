//! What is counted of questions, by service.

use prometheus::{IntCounter, IntCounterVec, Opts};

/// The counters of all services.
#[derive(Debug, Clone)]
pub struct AskingMetrics(IntCounterVec);

/// The counters of one service.
#[derive(Debug, Clone)]
pub struct ServiceMetrics {
    /// Questions that were sent.
    pub asked: IntCounter,
    /// Those that were answered.
    pub answered: IntCounter,
    /// Those that were not, or not as expected.
    pub failed: IntCounter,
    /// Questions whose answer was known, or on its way.
    pub cached: IntCounter,
    /// Questions that the budget had no room for.
    pub refused: IntCounter,
    /// Questions that were not sent after failures.
    pub paused: IntCounter,
}

impl AskingMetrics {
    /// The family, not yet registered.
    pub fn new() -> prometheus::Result<Self> {
        let name = "thornwall_sidecar_questions_total";
        let help = "Questions to services of others, by what became of them.";
        IntCounterVec::new(Opts::new(name, help), &["service", "outcome"]).map(Self)
    }

    /// The family, to be registered.
    pub fn family(&self) -> IntCounterVec {
        self.0.clone()
    }

    /// The counters of one service, which show from now on.
    pub fn of(&self, service: &str) -> ServiceMetrics {
        let counter = |outcome| self.0.with_label_values(&[service, outcome]);
        ServiceMetrics {
            asked: counter("asked"),
            answered: counter("answered"),
            failed: counter("failed"),
            cached: counter("cached"),
            refused: counter("refused"),
            paused: counter("paused"),
        }
    }
}
