//! What the store counts.

use prometheus::{IntCounter, IntGauge, Registry, core::Collector};

/// Counters and gauges of one store.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    /// Decisions made.
    pub made: IntCounter,
    /// Decisions taken away by hand.
    pub withdrawn: IntCounter,
    /// Decisions whose time was over, as they are cleared away.
    pub ended: IntCounter,
    /// Decisions given up for others.
    pub evicted: IntCounter,
    /// Changes refused: the subject is never blocked.
    pub refused: IntCounter,
    /// Proposals of filters that found the queue full.
    pub dropped: IntCounter,
    /// Writes to the disk that failed.
    pub failed_writes: IntCounter,
    /// Decisions about single addresses that are kept off the disk.
    pub unsaved: IntCounter,
    /// 1 where the last write to the disk failed.
    pub disk_failing: IntGauge,
    /// Changes that wait for the disk.
    pub waiting: IntGauge,
    /// Changes that wait for the shared store.
    pub unsent: IntGauge,
    /// Entries that requests are looked up in, those of feeds included.
    pub entries: IntGauge,
    /// Bytes of memory that they take, with their index.
    pub memory: IntGauge,
}

impl StoreMetrics {
    /// Registers all of it. Fails where a name is taken in `registry`.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| registered(registry, IntCounter::new(name, help)?);
        let gauge = |name: &str, help: &str| registered(registry, IntGauge::new(name, help)?);
        Ok(Self {
            made: counter("thornwall_decisions_made_total", "Decisions made.")?,
            withdrawn: counter(
                "thornwall_decisions_withdrawn_total",
                "Decisions taken away by hand.",
            )?,
            ended: counter(
                "thornwall_decisions_ended_total",
                "Decisions whose time was over, as they are cleared away.",
            )?,
            evicted: counter(
                "thornwall_decisions_evicted_total",
                "Decisions given up for others, since max_decisions was reached.",
            )?,
            refused: counter(
                "thornwall_decisions_refused_total",
                "Decisions that were refused, since nothing is decided about their subject.",
            )?,
            dropped: counter(
                "thornwall_decisions_dropped_total",
                "Decisions of filters that found the store's queue full.",
            )?,
            failed_writes: counter(
                "thornwall_store_failed_writes_total",
                "Writes of decisions to the disk that failed.",
            )?,
            unsaved: counter(
                "thornwall_decisions_unsaved_total",
                "Decisions about single addresses that privacy.mode keeps off the disk.",
            )?,
            disk_failing: gauge(
                "thornwall_store_disk_failing",
                "1 while decisions are kept in memory alone.",
            )?,
            waiting: gauge(
                "thornwall_store_waiting_changes",
                "Changes that wait for the disk.",
            )?,
            unsent: gauge(
                "thornwall_store_unsent_changes",
                "Changes that wait for the shared store.",
            )?,
            entries: gauge(
                "thornwall_decisions",
                "Entries that requests are looked up in, those of feeds included.",
            )?,
            memory: gauge(
                "thornwall_decisions_memory_bytes",
                "Memory that the entries and their index take.",
            )?,
        })
    }
}

fn registered<T: Collector + Clone + 'static>(
    registry: &Registry,
    metric: T,
) -> prometheus::Result<T> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
