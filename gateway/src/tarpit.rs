//! The tarpit: how many clients are held, in all and of one, over all generations.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntGauge};
use thornwall_detectors::address::subscriber;

use crate::families::Families;

/// Bounds of the tarpit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TarpitLimits {
    /// Connections held at once.
    pub max_connections: usize,
    /// Connections held at once for one client.
    pub max_per_client: usize,
    /// Mean time between chunks.
    pub interval: Duration,
    /// Longest time that a connection is held.
    pub total: Duration,
}

/// The clients that are held, and their permits.
pub(crate) struct Tarpit {
    held: Mutex<Held>,
    metrics: TarpitMetrics,
}

#[derive(Default)]
struct Held {
    total: usize,
    by_client: HashMap<IpAddr, usize>,
}

impl Tarpit {
    pub(crate) fn new(metrics: TarpitMetrics) -> Self {
        Self {
            held: Mutex::default(),
            metrics,
        }
    }

    /// A permit for a connection of `client`, unless all or the client's own are taken.
    pub(crate) fn enter(self: &Arc<Self>, client: IpAddr, limits: &TarpitLimits) -> Option<Permit> {
        let client = subscriber(client);
        let mut held = self.held.lock();
        let mine = held.by_client.get(&client).copied().unwrap_or_default();
        if held.total >= limits.max_connections || mine >= limits.max_per_client {
            self.metrics.shed.inc();
            return None;
        }
        held.total += 1;
        held.by_client.insert(client, mine + 1);
        self.metrics.entered.inc();
        self.metrics.held.inc();
        Some(Permit {
            tarpit: Arc::clone(self),
            client,
        })
    }
}

/// Permit of one held client, given back when dropped.
pub(crate) struct Permit {
    tarpit: Arc<Tarpit>,
    client: IpAddr,
}

impl Permit {
    /// What the tarpit counts.
    pub(crate) fn metrics(&self) -> &TarpitMetrics {
        &self.tarpit.metrics
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.tarpit.held.lock();
        held.total -= 1;
        if let Some(mine) = held.by_client.get_mut(&self.client) {
            *mine -= 1;
            if *mine == 0 {
                held.by_client.remove(&self.client);
            }
        }
        self.tarpit.metrics.held.dec();
    }
}

/// What the tarpit counts.
#[derive(Debug, Clone)]
pub(crate) struct TarpitMetrics {
    pub held: IntGauge,
    /// Connections taken in.
    pub entered: IntCounter,
    /// Clients denied instead, because it was full.
    pub shed: IntCounter,
    /// Requests refused instead, because they are not for pages.
    pub refused: IntCounter,
    pub bytes: IntCounter,
    /// How long connections stayed.
    pub stay: Histogram,
}

/// 1 s to 1 h.
const STAY_BUCKETS: &[f64] = &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];

impl TarpitMetrics {
    pub(crate) fn register(make: &Families<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            held: make.gauge("thornwall_tarpit_connections", "Connections held now.")?,
            entered: make.counter("thornwall_tarpit_entered_total", "Connections taken in.")?,
            shed: make.counter(
                "thornwall_tarpit_shed_total",
                "Clients denied because the tarpit, or their share of it, was full.",
            )?,
            refused: make.counter(
                "thornwall_tarpit_refused_total",
                "Requests refused with 429 instead, because they are not for pages.",
            )?,
            bytes: make.counter("thornwall_tarpit_bytes_total", "Bytes dripped.")?,
            stay: make.histogram(
                "thornwall_tarpit_stay_seconds",
                "How long connections stayed.",
                STAY_BUCKETS,
            )?,
        })
    }
}
