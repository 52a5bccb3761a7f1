//! How the way to other stores does: the shared one, and the predecessor's.

use std::sync::atomic::Ordering::Relaxed;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use thornwall_decisions::store::shared::LinkStatus;

use crate::{
    families::{Families, bring_to, gauge_value},
    shared_store::StoreStates,
};

/// Families that are there whether or not there is another store; without one they say nothing.
#[derive(Debug)]
pub(crate) struct SharedStoreMetrics {
    up: IntGaugeVec,
    last_sync: IntGaugeVec,
    resyncs: IntCounterVec,
    errors: IntCounterVec,
    skipped: IntGaugeVec,
    changes: IntCounterVec,
    listed: IntGauge,
    gateways: IntGauge,
    untold: IntCounter,
}

impl SharedStoreMetrics {
    pub(crate) fn register(make: &Families<'_>) -> prometheus::Result<Self> {
        let gauges = |name: &str, help: &str| make.gauges(name, help, &["store"]);
        let counters = |name: &str, help: &str| make.counters(name, help, &["store"]);
        Ok(Self {
            up: gauges(
                "thornwall_store_shared_up",
                "Whether another store answers and is followed.",
            )?,
            last_sync: gauges(
                "thornwall_store_shared_last_sync_timestamp_seconds",
                "When it was last known what another store holds; 0 for never.",
            )?,
            resyncs: counters(
                "thornwall_store_shared_resyncs_total",
                "Times that all keys of another store were looked at since the start.",
            )?,
            errors: make.counters(
                "thornwall_store_shared_errors_total",
                "What went wrong on the way to another store since the start, by kind.",
                &["store", "kind"],
            )?,
            skipped: gauges(
                "thornwall_store_shared_skipped",
                "Values of another store that are nothing of ours, or no addresses.",
            )?,
            changes: make.counters(
                "thornwall_store_shared_changes_total",
                "Changes received from the shared store and told to it since the start.",
                &["direction"],
            )?,
            listed: make.gauge(
                "thornwall_store_predecessor_addresses",
                "Addresses that the predecessor blocks.",
            )?,
            gateways: make.gauge(
                "thornwall_shared_limits_gateways",
                "Gateways that keep limits together, this one included.",
            )?,
            untold: make.counter(
                "thornwall_shared_limits_untold_total",
                "Requests let through that other gateways were not told of, since there were too \
                 many keys, since limits were made.",
            )?,
        })
    }

    /// Shows how the ways to other stores do: `gateways` keep limits together, and were not sent `untold`.
    pub(crate) fn show(
        &self,
        store_states: &StoreStates,
        gateways: u32,
        untold: impl FnOnce() -> u64,
    ) {
        if let Some(standing) = &store_states.store {
            self.show_one("shared", standing);
            let set = |direction: &str, count: u64| {
                bring_to(&self.changes.with_label_values(&[direction]), count);
            };
            set("received", standing.received.load(Relaxed));
            set("told", standing.sent.load(Relaxed));
        }
        if let Some(standing) = &store_states.limits {
            self.show_one("limits", standing);
            self.gateways.set(value(gateways.into()));
            bring_to(&self.untold, untold());
        }
        if let Some(standing) = &store_states.predecessor {
            self.show_one("predecessor", standing);
            self.listed.set(value(standing.listed.load(Relaxed)));
        }
    }

    fn show_one(&self, store: &str, standing: &LinkStatus) {
        let set = |family: &IntGaugeVec, count: u64| {
            family.with_label_values(&[store]).set(value(count));
        };
        set(&self.up, u64::from(standing.up.load(Relaxed)));
        set(&self.last_sync, standing.synced_ms.load(Relaxed) / 1000);
        let resyncs = self.resyncs.with_label_values(&[store]);
        bring_to(&resyncs, standing.resyncs.load(Relaxed));
        set(&self.skipped, standing.skipped.load(Relaxed));
        for (trouble, count) in standing.troubles() {
            bring_to(
                &self.errors.with_label_values(&[store, trouble.name()]),
                count,
            );
        }
    }
}

fn value(count: u64) -> i64 {
    gauge_value(usize::try_from(count).unwrap_or(usize::MAX))
}
