//! What the runner counts, in the one registry of the process.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};

use crate::{mode::Mode, verdict::Verdict};

/// Families of metrics that all pipelines share; they outlive generations.
#[derive(Debug, Clone)]
pub struct FilterMetrics {
    duration: HistogramVec,
    errors: IntCounterVec,
    verdicts: IntCounterVec,
}

/// The metrics of one filter in one pipeline, looked up once when it is built.
#[derive(Debug, Clone)]
pub struct StageMetrics {
    /// Seconds that one judgement took.
    pub duration: Histogram,
    /// Judgements that failed, whatever `on_error` made of them.
    pub errors: IntCounter,
    verdicts: [IntCounter; Verdict::NAMES.len()],
}

/// 250 ns to 1 ms: a filter decides from memory, a model call takes some microseconds.
const BUCKETS: &[f64] = &[
    2.5e-7, 5e-7, 1e-6, 2e-6, 4e-6, 8e-6, 1.6e-5, 3.2e-5, 1e-4, 1e-3,
];

impl FilterMetrics {
    /// Registers the families. Fails where their names are taken in `registry`.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let labels = ["pipeline", "filter"];
        let metrics = Self {
            duration: HistogramVec::new(
                HistogramOpts::new(
                    "thornwall_filter_duration_seconds",
                    "Time that a filter took to judge one request.",
                )
                .buckets(BUCKETS.to_vec()),
                &labels,
            )?,
            errors: IntCounterVec::new(
                Opts::new(
                    "thornwall_filter_errors_total",
                    "Judgements that failed and were settled by the filter's on_error.",
                ),
                &labels,
            )?,
            verdicts: IntCounterVec::new(
                Opts::new(
                    "thornwall_filter_verdicts_total",
                    "What filters said, whether enforced or only observed.",
                ),
                &["pipeline", "filter", "mode", "verdict"],
            )?,
        };
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.verdicts.clone()))?;
        Ok(metrics)
    }

    /// The metrics of one filter.
    pub(crate) fn stage(&self, pipeline: &str, filter: &str, mode: Mode) -> StageMetrics {
        StageMetrics {
            duration: self.duration.with_label_values(&[pipeline, filter]),
            errors: self.errors.with_label_values(&[pipeline, filter]),
            verdicts: Verdict::NAMES.map(|verdict| {
                self.verdicts
                    .with_label_values(&[pipeline, filter, mode.name(), verdict])
            }),
        }
    }
}

impl StageMetrics {
    /// Counts one verdict.
    pub fn count(&self, verdict: &Verdict) {
        self.verdicts[verdict.place()].inc();
    }
}
