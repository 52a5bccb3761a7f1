//! What is counted of upstreams. Requests count in atomics of their own; the families are filled
//! when they are read, so that servers that are no more leave nothing behind.

use std::{collections::BTreeMap, time::Duration};

use prometheus::{IntCounterVec, IntGaugeVec};

use super::{Upstream, table::Endpoint};
use crate::families::Families;

/// The families of upstreams.
#[derive(Debug)]
pub(crate) struct UpstreamMetrics {
    in_flight: IntGaugeVec,
    up: IntGaugeVec,
    addresses: IntGaugeVec,
    ejections: IntCounterVec,
    waiting: IntGaugeVec,
    refused: IntCounterVec,
    retries: IntCounterVec,
    retries_refused: IntCounterVec,
    all_out: IntCounterVec,
    lookups_failed: IntCounterVec,
}

/// Sums over the addresses of one server.
#[derive(Default)]
struct Sums {
    in_flight: u64,
    up: u64,
    addresses: u64,
    ejections: u64,
}

impl UpstreamMetrics {
    pub(crate) fn register(make: &Families<'_>) -> prometheus::Result<Self> {
        let (server, upstream) = (&["upstream", "server"][..], &["upstream"][..]);
        Ok(Self {
            in_flight: make.gauges(
                "thornwall_upstream_requests_in_flight",
                "Requests under way at a server.",
                server,
            )?,
            up: make.gauges(
                "thornwall_upstream_addresses_up",
                "Addresses of a server that get requests: neither down nor left out.",
                server,
            )?,
            addresses: make.gauges(
                "thornwall_upstream_addresses",
                "Addresses of a server.",
                server,
            )?,
            ejections: make.counters(
                "thornwall_upstream_ejections_total",
                "Times that a server was left out after failures in a row.",
                server,
            )?,
            waiting: make.gauges(
                "thornwall_upstream_queue_requests",
                "Requests that wait for a server.",
                upstream,
            )?,
            refused: make.counters(
                "thornwall_upstream_queue_refused_total",
                "Requests that found no room to wait for a server, or waited in vain.",
                upstream,
            )?,
            retries: make.counters(
                "thornwall_upstream_retries_total",
                "Further tries of requests.",
                upstream,
            )?,
            retries_refused: make.counters(
                "thornwall_upstream_retries_refused_total",
                "Further tries that the budget had no room for.",
                upstream,
            )?,
            all_out: make.counters(
                "thornwall_upstream_all_out_total",
                "Requests that went to a server that was out, since all were.",
                upstream,
            )?,
            lookups_failed: make.counters(
                "thornwall_upstream_lookups_failed_total",
                "Names of servers that could not be looked up.",
                upstream,
            )?,
        })
    }

    /// Fills the families with what these upstreams count now.
    pub(crate) fn show<'a>(&self, upstreams: impl Iterator<Item = &'a Upstream>, now: Duration) {
        self.clear();
        for upstream in upstreams {
            let name = &*upstream.name;
            let learned = &upstream.learned;
            let count = |family: &IntCounterVec, value: u64| {
                family.with_label_values(&[name]).inc_by(value);
            };
            let waiting = i64::from(learned.queue.waiting());
            self.waiting.with_label_values(&[name]).set(waiting);
            count(&self.refused, learned.queue.refused());
            count(&self.retries, learned.budget.spent());
            count(&self.retries_refused, learned.budget.refused());
            count(&self.all_out, learned.all_out());
            count(&self.lookups_failed, learned.lookups_failed());
            self.show_servers(upstream, now);
        }
    }

    fn show_servers(&self, upstream: &Upstream, now: Duration) {
        let servers = upstream.servers.iter();
        let mut sums: BTreeMap<&str, Sums> = servers
            .map(|server| (&*server.label, Sums::default()))
            .collect();
        let table = upstream.table.load();
        for endpoint in &table.endpoints {
            if let Some(sums) = sums.get_mut(&*endpoint.server) {
                sums.add(endpoint, now);
            }
        }
        for (server, sums) in sums {
            let labels = [&*upstream.name, server];
            let value = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            self.in_flight
                .with_label_values(&labels)
                .set(value(sums.in_flight));
            self.up.with_label_values(&labels).set(value(sums.up));
            self.addresses
                .with_label_values(&labels)
                .set(value(sums.addresses));
            self.ejections
                .with_label_values(&labels)
                .inc_by(sums.ejections);
        }
    }

    fn clear(&self) {
        for gauges in [&self.in_flight, &self.up, &self.addresses, &self.waiting] {
            gauges.reset();
        }
        let counters = [
            &self.ejections,
            &self.refused,
            &self.retries,
            &self.retries_refused,
            &self.all_out,
            &self.lookups_failed,
        ];
        for counters in counters {
            counters.reset();
        }
    }
}

impl Sums {
    fn add(&mut self, endpoint: &Endpoint, now: Duration) {
        let health = &endpoint.health;
        self.in_flight += u64::from(health.in_flight());
        self.up += u64::from(health.is_available(now));
        self.addresses += 1;
        self.ejections += health.ejections();
    }
}
