//! What the whole process shares.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::{
    access_log::AccessLog, answer::tarpit::Tarpit, generation::Generation, metrics::Metrics,
    recent::Recent, record::Decision, serve::Arrivals, shares::Shares,
};

/// Everything that outlives a generation.
pub struct State {
    /// What serves now.
    pub generation: ArcSwap<Generation>,
    /// Every counter and gauge.
    pub metrics: Metrics,
    /// Recent decisions, for `explain`.
    pub recent: Recent,
    /// One line per request.
    pub access_log: AccessLog,
    /// Connections held in slow streams.
    pub tarpit: Arc<Tarpit>,
    /// Turns true once, when the process is to end.
    pub shutdown: watch::Receiver<bool>,
    /// Requests under way.
    pub in_flight: Arc<InFlight>,
    /// The same, by client.
    pub requests: Arc<Shares>,
    /// Whether the accept loops take new connections; they wait while it is false, without closing
    /// their listeners.
    pub accepting: watch::Sender<bool>,
    /// The gateway's own connections to its listeners.
    pub arrivals: Arrivals,
    /// Turns true once, when every listener was found to be served.
    pub serving: AtomicBool,
    started: Instant,
}

impl State {
    /// The state of a process that starts now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one clock that requests are stamped with"
    )]
    pub fn new(
        generation: Generation,
        metrics: Metrics,
        access_log: AccessLog,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let recent = Recent::new(generation.cold.recent_decisions);
        Self {
            tarpit: Arc::new(Tarpit::new(metrics.tarpit.clone())),
            generation: ArcSwap::from_pointee(generation),
            metrics,
            recent,
            access_log,
            shutdown,
            in_flight: Arc::new(InFlight::default()),
            requests: Arc::default(),
            accepting: watch::Sender::new(true),
            arrivals: Arrivals::default(),
            serving: AtomicBool::new(false),
            started: Instant::now(),
        }
    }

    /// Monotonic time since the start: the clock of every filter.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Counts, keeps and logs a decision.
    pub fn conclude(&self, decision: Decision) {
        decision.count(&self.metrics);
        let decision = Arc::new(decision);
        self.access_log.write(&decision);
        self.recent.push(decision);
    }

    /// Whether the process is about to end.
    pub fn is_stopping(&self) -> bool {
        *self.shutdown.borrow()
    }

    /// Whether a peer's word about its client counts.
    pub fn trusts(generation: &Generation, peer: IpAddr) -> bool {
        generation.client_address.trusted.lookup(peer).is_some()
    }
}

/// Number of requests under way.
#[derive(Debug, Default)]
pub struct InFlight(AtomicUsize);

impl InFlight {
    /// Counts a request until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> InFlightGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(Arc::clone(self))
    }

    /// Requests under way now.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One request under way.
#[derive(Debug)]
pub struct InFlightGuard(Arc<InFlight>);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
