//! What a sidecar said so far, counted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::assessments::Consequence;

/// Counts of answers; clones are the same counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// By the place of the consequence.
    answers: [AtomicU64; Consequence::COUNT],
    refused: AtomicU64,
    failures: AtomicU64,
}

impl Tally {
    pub(super) fn count(&self, consequence: Consequence) {
        self.0.answers[consequence.index()].fetch_add(1, Relaxed);
    }

    pub(super) fn refuse(&self) {
        self.0.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn fail(&self) {
        self.0.failures.fetch_add(1, Relaxed);
    }

    /// Assessments that came to this.
    pub(crate) fn answers(&self, consequence: Consequence) -> u64 {
        self.0.answers[consequence.index()].load(Relaxed)
    }

    /// Answers that could not be taken.
    pub(crate) fn refused(&self) -> u64 {
        self.0.refused.load(Relaxed)
    }

    /// Connections that could not be made, or were lost.
    pub(crate) fn failures(&self) -> u64 {
        self.0.failures.load(Relaxed)
    }
}
