//! The evidence about one case so far.

use std::time::Instant;

use super::step::{Finding, Step, StepError};
use crate::{assessment::TakenStep, case::Case};

/// The score from which no step can make a difference.
const SURE: f32 = 0.995;
/// Longest evidence of a step, in bytes, as the contract says.
const MOST_EVIDENCE: usize = 512;

/// The evidence about one case so far.
pub(super) struct Evidence {
    innocent: f32,
    strongest: (f32, String),
    /// The steps that were taken.
    pub(super) steps: Vec<TakenStep>,
}

impl Evidence {
    /// What the gateway noticed of all its requests together is the first evidence.
    pub(super) fn new(case: &Case) -> Self {
        let innocent: f32 = case
            .signals
            .iter()
            .map(|signal| 1.0 - signal.weight)
            .product();
        let most = case
            .signals
            .iter()
            .max_by(|a, b| a.weight.total_cmp(&b.weight));
        let strongest = most.map(|signal| (signal.weight, signal.reason.clone()));
        Self {
            innocent: innocent.min(1.0 - case.score),
            steps: Vec::new(),
            strongest: strongest.unwrap_or_else(|| (0.0, "sidecar.score".to_owned())),
        }
    }

    pub(super) fn score(&self) -> f32 {
        (1.0 - self.innocent).clamp(0.0, 1.0)
    }

    pub(super) fn reason(&self) -> String {
        self.strongest.1.clone()
    }

    /// Takes a step, unless the case is sure already.
    #[expect(clippy::disallowed_methods, reason = "what a step takes is shown")]
    pub(super) fn take(&mut self, name: &str, step: impl FnOnce() -> Finding) {
        if self.score() < SURE {
            let began = Instant::now();
            let found = step();
            self.add(name, Ok(found), began);
        }
    }

    /// Takes a step that asks a service.
    #[expect(clippy::disallowed_methods, reason = "what a step takes is shown")]
    pub(super) async fn ask(&mut self, step: &dyn Step, case: &Case, now_ms: u64) {
        let began = Instant::now();
        let found = step.ask(case, now_ms).await;
        self.add(step.name(), found, began);
    }

    fn add(&mut self, name: &str, found: Result<Finding, StepError>, began: Instant) {
        let failed = found.is_err();
        let found = found.unwrap_or_else(|error| Finding::new(0.0, error.to_string()));
        let weight = found.weight.clamp(0.0, 1.0);
        // A score that is above the ceiling already stays where it is.
        let lifted = (self.innocent * (1.0 - weight)).max(1.0 - found.ceiling);
        self.innocent = self.innocent.min(lifted);
        if weight > self.strongest.0 {
            self.strongest = (weight, format!("sidecar.{name}"));
        }
        let mut evidence = found.evidence;
        evidence.truncate(evidence.floor_char_boundary(MOST_EVIDENCE));
        self.steps.push(TakenStep {
            name: name.to_owned(),
            score: self.score(),
            evidence,
            took_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            failed,
        });
    }
}
