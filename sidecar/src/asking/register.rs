//! What is held of each service for as long as the process runs, whatever becomes of the file: what was
//! asked counts on, and a service that is left alone stays so.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, Opts};

use super::circuit::Circuit;
use crate::{budget::Budget, config::Limits};

/// All services, by name.
#[derive(Debug)]
pub struct Asking {
    questions: IntCounterVec,
    gates: Mutex<HashMap<String, Arc<Mutex<Gate>>>>,
}

/// Whether a service may be asked now.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) budget: Budget,
    pub(super) circuit: Circuit,
}

/// One service.
#[derive(Debug)]
pub struct Service {
    pub(super) name: String,
    pub(super) gate: Arc<Mutex<Gate>>,
    pub(super) metrics: ServiceMetrics,
}

/// The counters of one service.
#[derive(Debug, Clone)]
pub(super) struct ServiceMetrics {
    /// Questions that were sent.
    pub(super) asked: IntCounter,
    /// Those that were answered.
    pub(super) answered: IntCounter,
    /// Those that were not, or not as expected.
    pub(super) failed: IntCounter,
    /// Questions whose answer was known, or on its way.
    pub(super) cached: IntCounter,
    /// Questions that the budget had no room for.
    pub(super) refused: IntCounter,
    /// Questions that were not sent after failures.
    pub(super) paused: IntCounter,
}

impl Asking {
    /// Without services; the family of counters is not yet registered.
    pub fn new() -> prometheus::Result<Self> {
        let name = "thornwall_sidecar_questions_total";
        let help = "Questions to services of others, by what became of them.";
        Ok(Self {
            questions: IntCounterVec::new(Opts::new(name, help), &["service", "outcome"])?,
            gates: Mutex::default(),
        })
    }

    /// The family of counters, to be registered.
    pub fn family(&self) -> IntCounterVec {
        self.questions.clone()
    }

    /// A service, which may be known already; its counters show from now on.
    pub fn service(&self, name: &str, limits: &Limits) -> Service {
        let counter = |outcome| self.questions.with_label_values(&[name, outcome]);
        let mut gates = self.gates.lock();
        let gate = gates.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Mutex::new(Gate {
                budget: Budget::new(limits.per_hour, limits.per_day),
                circuit: Circuit::default(),
            }))
        });
        gate.lock().budget.limit(limits.per_hour, limits.per_day);
        Service {
            name: name.to_owned(),
            gate: Arc::clone(gate),
            metrics: ServiceMetrics {
                asked: counter("asked"),
                answered: counter("answered"),
                failed: counter("failed"),
                cached: counter("cached"),
                refused: counter("refused"),
                paused: counter("paused"),
            },
        }
    }
}
