//! Metrics as Prometheus reads them. What is counted at once where it happens is low in the house; what is
//! read from all over the process when it is asked for is read here.

use std::sync::atomic::Ordering::Relaxed;

use crate::{families::gauge_value, state::State};

/// Everything in the text format of Prometheus.
pub(super) fn render(state: &State) -> Result<Vec<u8>, prometheus::Error> {
    let generation = state.generation.load();
    let metrics = &state.metrics;
    metrics.tables.show(&generation.tables);
    metrics.show_certificates(generation.tls.expiries());
    metrics.show_adaptive(generation.adaptive_limits());
    let limits = generation.shared_limits.iter();
    let untold = || limits.map(|limit| limit.buckets.unreported()).sum();
    let gateways = state.gateways.load(Relaxed);
    metrics.shared.show(&state.store_states, gateways, untold);
    for sidecar in state.sidecars.iter().flat_map(|all| all.iter()) {
        metrics.escalation.show(sidecar);
    }
    metrics.recent.set(gauge_value(state.recent.held()));
    let in_flight = state.in_flight.count();
    (metrics.requests).show(in_flight, &state.requests, state.unread.count());
    let number = i64::try_from(generation.number).unwrap_or(i64::MAX);
    metrics.generation.set(number);
    let decisions = state.store.decisions();
    let (entries, index) = decisions.heap_bytes();
    metrics.store.entries.set(gauge_value(decisions.len()));
    metrics.store.memory.set(gauge_value(entries + index));
    // Held until the text is made: the families are emptied and filled anew.
    let upstreams = metrics.upstreams.lock();
    let all: Vec<_> = generation.upstreams().collect();
    upstreams.show(all.iter().map(AsRef::as_ref), state.now());
    metrics.text()
}
