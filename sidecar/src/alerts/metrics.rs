//! Counters of alerts, by the name of the alert.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::registry::registered;

/// Counters of all alerts.
#[derive(Debug, Clone)]
pub struct AlertMetrics {
    alerts: IntCounterVec,
    messages: IntCounterVec,
    disk: IntCounterVec,
    /// Messages in the files of dead letters.
    pub dead_letters: IntGauge,
}

/// Counters of one alert.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    /// Alerts that will be sent.
    pub taken: IntCounter,
    /// Alerts that repeat an earlier one.
    pub deduplicated: IntCounter,
    /// Alerts that the cap let wait.
    pub held: IntCounter,
    /// Alerts that found no room and are reported as a number.
    pub dropped: IntCounter,
    /// Messages that arrived.
    pub sent: IntCounter,
    /// Tries that failed.
    pub failed: IntCounter,
    /// Tries that were made again.
    pub retried: IntCounter,
    /// Messages that were given up.
    pub dead: IntCounter,
    /// Files that could not be read or written.
    pub disk: IntCounter,
}

impl AlertMetrics {
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let dead_letters = IntGauge::new(
            "thornwall_sidecar_alert_dead_letters",
            "Messages of alerts that were given up and lie in the data directory.",
        )?;
        Ok(Self {
            alerts: counters(
                "thornwall_sidecar_alerts_total",
                "Alerts, by what became of them.",
                &["alert", "outcome"],
            )?,
            messages: counters(
                "thornwall_sidecar_alert_messages_total",
                "Messages of alerts: sent, tries that failed, tries made again, given up.",
                &["alert", "outcome"],
            )?,
            disk: counters(
                "thornwall_sidecar_alert_disk_failures_total",
                "Files of alerts that could not be read or written.",
                &["alert"],
            )?,
            dead_letters: registered(registry, dead_letters)?,
        })
    }

    /// The counters of one alert, which are shown from now on.
    pub(crate) fn of(&self, alert: &str) -> Counts {
        let alerts = |outcome| self.alerts.with_label_values(&[alert, outcome]);
        let messages = |outcome| self.messages.with_label_values(&[alert, outcome]);
        Counts {
            taken: alerts("told"),
            deduplicated: alerts("deduplicated"),
            held: alerts("held"),
            dropped: alerts("dropped"),
            sent: messages("sent"),
            failed: messages("failed"),
            retried: messages("retried"),
            dead: messages("dead"),
            disk: self.disk.with_label_values(&[alert]),
        }
    }
}
