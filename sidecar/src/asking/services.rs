//! The rate limiter of each service, which outlives changes of the configuration: questions that were asked
//! count on, and a pause goes on.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, Opts};

use super::circuit_breaker::CircuitBreaker;
use crate::{budget::Budget, config::Limits};

/// All services, by name.
#[derive(Debug)]
pub struct Services {
    questions: IntCounterVec,
    limiters: Mutex<HashMap<String, Arc<Mutex<RateLimiter>>>>,
}

/// Whether a service may be asked now: its budget, and its circuit breaker.
#[derive(Debug)]
pub(super) struct RateLimiter {
    pub(super) budget: Budget,
    pub(super) circuit: CircuitBreaker,
}

#[derive(Debug)]
pub(crate) struct Service {
    pub(super) name: String,
    pub(super) limiter: Arc<Mutex<RateLimiter>>,
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

impl Services {
    /// Without services; the family of counters is not yet registered.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let name = "thornwall_sidecar_questions_total";
        let help = "Questions to services of others, by what became of them.";
        Ok(Self {
            questions: IntCounterVec::new(Opts::new(name, help), &["service", "outcome"])?,
            limiters: Mutex::default(),
        })
    }

    /// The family of counters, to be registered.
    pub(crate) fn family(&self) -> IntCounterVec {
        self.questions.clone()
    }

    /// A service, which may be known already; its counters show from now on.
    pub(crate) fn service(&self, name: &str, limits: &Limits) -> Service {
        let counter = |outcome| self.questions.with_label_values(&[name, outcome]);
        let mut limiters = self.limiters.lock();
        let limiter = limiters.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Mutex::new(RateLimiter {
                budget: Budget::new(limits.per_hour, limits.per_day),
                circuit: CircuitBreaker::default(),
            }))
        });
        limiter.lock().budget.limit(limits.per_hour, limits.per_day);
        Service {
            name: name.to_owned(),
            limiter: Arc::clone(limiter),
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
