//! Every counter and gauge of the process.

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

use crate::{
    alerts::AlertMetrics,
    asking::Services,
    assessment::{Assessment, Severity, Truth},
    history::HistoryMetrics,
    llm::LlmMetrics,
    registry::registered,
    waiting::WaitingMetrics,
};

/// The counters and gauges.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    assessments: IntCounterVec,
    seconds: Histogram,
    proved: IntCounterVec,
    /// Configurations that were to be taken over, by whether they were.
    pub reloads: IntCounterVec,
    /// Messages that are not valid by the contract.
    pub refused: IntCounter,
    /// Callers that were turned away, by what was full or missing.
    pub turned_away: IntCounterVec,
    /// Gateways that are connected.
    pub gateways: IntGauge,
    /// Decisions and withdrawals that are held.
    pub entries: IntGauge,
    /// Rate limiters and counters of services.
    pub services: Services,
    /// Counters of the queue.
    pub waiting: WaitingMetrics,
    /// Counters of language models.
    pub llm: LlmMetrics,
    /// Counters of the history.
    pub history: HistoryMetrics,
    /// Counters of alerts.
    pub alerts: AlertMetrics,
}

/// 1 us to 60 s: from memory alone to a slow model.
const BUCKETS: &[f64] = &[
    0.000_001, 0.000_01, 0.000_05, 0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0, 60.0,
];

impl Metrics {
    /// Registers every family in a fresh registry.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counter = |name, help| counter(&registry, name, help);
        let gauge = |name, help| gauge(&registry, name, help);
        let counters = |name: &str, help: &str, label: &str| {
            registered(
                &registry,
                IntCounterVec::new(Opts::new(name, help), &[label])?,
            )
        };
        let services = Services::new()?;
        registered(&registry, services.family())?;
        Ok(Self {
            services,
            assessments: counters(
                "thornwall_sidecar_assessments_total",
                "Assessments, by what is done about the client.",
                "action",
            )?,
            seconds: registered(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "thornwall_sidecar_assessment_seconds",
                        "Time that the steps of an assessment took.",
                    )
                    .buckets(BUCKETS.to_vec()),
                )?,
            )?,
            proved: counters(
                "thornwall_sidecar_outcomes_total",
                "What proved true about clients of cases.",
                "truth",
            )?,
            reloads: counters(
                "thornwall_sidecar_reloads_total",
                "Configurations that were to be taken over, by whether they were.",
                "outcome",
            )?,
            refused: counter(
                "thornwall_sidecar_refused_total",
                "Messages of gateways that were not what the contract says.",
            )?,
            turned_away: counters(
                "thornwall_sidecar_turned_away_total",
                "Connections and calls that were turned away, by what was full or missing.",
                "why",
            )?,
            gateways: gauge("thornwall_sidecar_gateways", "Gateways that are connected.")?,
            entries: gauge(
                "thornwall_sidecar_decisions",
                "Decisions and withdrawals that gateways are told when they connect.",
            )?,
            waiting: waiting(&registry)?,
            llm: LlmMetrics::new(&registry)?,
            history: history(&registry)?,
            alerts: AlertMetrics::new(&registry)?,
            registry,
        })
    }

    pub(crate) fn assessed(&self, assessment: &Assessment) {
        let severity = Severity::of(assessment.consequence);
        let action = severity.map_or("none", Severity::name);
        self.assessments.with_label_values(&[action]).inc();
        let micros: u64 = assessment.steps.iter().map(|step| step.took_us).sum();
        self.seconds.observe(micros as f64 / 1e6);
    }

    /// Counts what proved true; `None` counts what this version does not know.
    pub fn proved(&self, truth: Option<Truth>) {
        let truth = match truth {
            None => "unknown",
            Some(Truth::Trap) => "trap",
            Some(Truth::Verified) => "verified",
        };
        self.proved.with_label_values(&[truth]).inc();
    }

    /// Everything in the text format of Prometheus.
    pub fn render(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

fn waiting(registry: &Registry) -> prometheus::Result<WaitingMetrics> {
    Ok(WaitingMetrics {
        waiting: gauge(
            registry,
            "thornwall_sidecar_waiting_cases",
            "Cases that wait for steps that ask others.",
        )?,
        shed: counter(
            registry,
            "thornwall_sidecar_shed_cases_total",
            "Cases that gave their place in the queue to worse ones.",
        )?,
        expired: counter(
            registry,
            "thornwall_sidecar_expired_cases_total",
            "Cases that waited for too long to be asked about.",
        )?,
    })
}

fn history(registry: &Registry) -> prometheus::Result<HistoryMetrics> {
    Ok(HistoryMetrics {
        dropped: counter(
            registry,
            "thornwall_sidecar_history_dropped_total",
            "Cases and decisions that the history had no room for.",
        )?,
        failed: counter(
            registry,
            "thornwall_sidecar_history_failed_writes_total",
            "Writes of the history that failed.",
        )?,
        failing: gauge(
            registry,
            "thornwall_sidecar_history_failing",
            "1 while the history cannot be written.",
        )?,
    })
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    registered(registry, IntCounter::new(name, help)?)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    registered(registry, IntGauge::new(name, help)?)
}
