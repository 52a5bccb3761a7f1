//! How the ways to the sidecars do.

use prometheus::{IntCounterVec, IntGaugeVec};

use crate::{
    escalate::{Consequence, Sidecar},
    families::{Families, bring_to, gauge_value},
};

/// Families with a row for each sidecar, by its address as it is configured.
#[derive(Debug)]
pub(crate) struct EscalationMetrics {
    cases: IntGaugeVec,
    connected: IntGaugeVec,
    sent: IntCounterVec,
    shed: IntCounterVec,
    refused: IntCounterVec,
    lost: IntCounterVec,
    answers: IntCounterVec,
}

impl EscalationMetrics {
    pub(crate) fn register(make: &Families<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            cases: make.gauges(
                "thornwall_escalation_cases",
                "Cases of dubious clients that are kept for the sidecar.",
                &["sidecar"],
            )?,
            connected: make.gauges(
                "thornwall_escalation_connected",
                "Whether the sidecar is there.",
                &["sidecar"],
            )?,
            sent: make.counters(
                "thornwall_escalation_sent_total",
                "Messages about cases that went to the sidecar.",
                &["sidecar"],
            )?,
            shed: make.counters(
                "thornwall_escalation_shed_total",
                "Cases that found no room, or ended, before the sidecar heard of them.",
                &["sidecar"],
            )?,
            refused: make.counters(
                "thornwall_escalation_refused_total",
                "Answers of the sidecar that could not be taken.",
                &["sidecar"],
            )?,
            lost: make.counters(
                "thornwall_escalation_failures_total",
                "Connections to the sidecar that could not be made, or were lost.",
                &["sidecar"],
            )?,
            answers: make.counters(
                "thornwall_escalation_answers_total",
                "Assessments of the sidecar, by what it has done.",
                &["sidecar", "action"],
            )?,
        })
    }

    /// Shows how the way to one of them does.
    pub(crate) fn show(&self, sidecar: &Sidecar) {
        let address = [sidecar.address.as_str()];
        let cases = self.cases.with_label_values(&address);
        cases.set(gauge_value(sidecar.cases.len()));
        let connected = self.connected.with_label_values(&address);
        connected.set(sidecar.is_connected().into());
        for (counters, total) in [
            (&self.sent, sidecar.cases.sent()),
            (&self.shed, sidecar.cases.shed()),
            (&self.refused, sidecar.tally.refused()),
            (&self.lost, sidecar.tally.failures()),
        ] {
            bring_to(&counters.with_label_values(&address), total);
        }
        for consequence in Consequence::all() {
            let labels = [address[0], consequence.name()];
            let counter = self.answers.with_label_values(&labels);
            bring_to(&counter, sidecar.tally.answers(consequence));
        }
    }
}
