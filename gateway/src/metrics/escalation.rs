//! How the way to the sidecar does.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::{Families, gauge_value};
use crate::{escalate::Course, state::State};

/// Families that are there whether or not there is a sidecar; without one they stay 0.
#[derive(Debug)]
pub(super) struct EscalationMetrics {
    cases: IntGauge,
    connected: IntGauge,
    sent: IntCounter,
    shed: IntCounter,
    refused: IntCounter,
    answers: IntCounterVec,
}

impl EscalationMetrics {
    pub(super) fn register(make: &Families<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            cases: make.gauge(
                "thornwall_escalation_cases",
                "Cases of dubious clients that are kept for the sidecar.",
            )?,
            connected: make.gauge(
                "thornwall_escalation_connected",
                "Whether the sidecar is there.",
            )?,
            sent: make.counter(
                "thornwall_escalation_sent_total",
                "Messages about cases that went to the sidecar.",
            )?,
            shed: make.counter(
                "thornwall_escalation_shed_total",
                "Cases that found no room, or ended, before the sidecar heard of them.",
            )?,
            refused: make.counter(
                "thornwall_escalation_refused_total",
                "Answers of the sidecar that could not be taken.",
            )?,
            answers: make.counters(
                "thornwall_escalation_answers_total",
                "Assessments of the sidecar, by what it has done.",
                &["action"],
            )?,
        })
    }

    pub(super) fn show(&self, state: &State) {
        let Some(sidecar) = &state.sidecar else {
            return;
        };
        self.cases.set(gauge_value(sidecar.cases.len()));
        self.connected.set(sidecar.is_connected().into());
        raise(&self.sent, sidecar.cases.sent());
        raise(&self.shed, sidecar.cases.shed());
        raise(&self.refused, sidecar.tally.refused());
        for course in Course::ALL {
            let counter = self.answers.with_label_values(&[course.name()]);
            raise(&counter, sidecar.tally.answers(course));
        }
    }
}

/// Brings a counter up to what was counted elsewhere.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
