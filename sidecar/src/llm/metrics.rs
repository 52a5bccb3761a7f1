//! Counters and gauges of language models.

use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use crate::registry::registered;

/// 50 ms to 60 s.
const BUCKETS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0];

/// The families, with the labels provider and model.
#[derive(Debug, Clone)]
pub struct LlmMetrics {
    /// Verdicts, by verdict.
    pub verdicts: IntCounterVec,
    /// Questions that came to nothing, by why.
    pub failures: IntCounterVec,
    /// Time of a question with its further tries.
    pub seconds: HistogramVec,
    /// Questions whose answer was known, without labels of a provider.
    pub recalled: prometheus::IntCounter,
    /// Second opinions, by whether they agree.
    pub opinions: IntCounterVec,
    /// Verdicts beside what proved true.
    pub truth: IntCounterVec,
    /// Tokens within 60 minutes and 24 hours, set aside ones among them.
    pub tokens: prometheus::GaugeVec,
    /// Money within 60 minutes and 24 hours.
    pub money: prometheus::GaugeVec,
}

impl LlmMetrics {
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauges = |name: &str, help: &str| {
            registered(
                registry,
                prometheus::GaugeVec::new(Opts::new(name, help), &["window"])?,
            )
        };
        let seconds = HistogramOpts::new(
            "thornwall_sidecar_llm_seconds",
            "Time of a question with its further tries.",
        );
        Ok(Self {
            verdicts: counters(
                "thornwall_sidecar_llm_verdicts_total",
                "Verdicts of language models.",
                &["provider", "model", "verdict"],
            )?,
            failures: counters(
                "thornwall_sidecar_llm_failures_total",
                "Questions to language models that came to nothing.",
                &["provider", "model", "why"],
            )?,
            seconds: registered(
                registry,
                HistogramVec::new(seconds.buckets(BUCKETS.to_vec()), &["provider", "model"])?,
            )?,
            recalled: registered(
                registry,
                prometheus::IntCounter::new(
                    "thornwall_sidecar_llm_recalled_total",
                    "Cases that had a verdict of a case that looked the same.",
                )?,
            )?,
            opinions: counters(
                "thornwall_sidecar_llm_second_opinions_total",
                "Verdicts that another provider was asked about too.",
                &["provider", "model", "agrees"],
            )?,
            truth: counters(
                "thornwall_sidecar_llm_truth_total",
                "Verdicts of language models beside what proved true.",
                &["provider", "model", "verdict", "truth"],
            )?,
            tokens: gauges(
                "thornwall_sidecar_llm_tokens",
                "Tokens that language models took, or that are set aside, within an hour and a day.",
            )?,
            money: gauges(
                "thornwall_sidecar_llm_money",
                "Money that language models cost, or that is set aside, within an hour and a day.",
            )?,
        })
    }

    /// Shows what is spent.
    pub(super) fn show(&self, window: &str, cost: super::ledger::Cost) {
        let gauge =
            |family: &prometheus::GaugeVec| -> Gauge { family.with_label_values(&[window]) };
        gauge(&self.tokens).set(cost.tokens as f64);
        gauge(&self.money).set(cost.micros as f64 / super::ledger::MICROS);
    }
}
