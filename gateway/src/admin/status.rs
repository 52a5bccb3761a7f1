//! How the process, its store and its feeds do: what `thornwall status` prints.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use axum::{
    Json,
    extract::State as Extracted,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use thornwall_decisions::store::shared::LinkStatus;

use super::Admin;
use crate::{
    escalate::{Consequence, Sidecar},
    generation::Generation,
    state::State,
};

/// Seconds since it was last known what another store holds.
fn age(state: &State, standing: &LinkStatus) -> Option<u64> {
    let synced_ms = standing.synced_ms.load(Relaxed);
    let age_ms = state.moment().unix_ms.saturating_sub(synced_ms);
    (synced_ms > 0).then_some(age_ms / 1000)
}

/// How the process and its store do.
pub(super) async fn status(Extracted(admin): Extracted<Admin>) -> Response {
    let state = &admin.state;
    let generation = state.generation.load();
    let metrics = state.store.metrics();
    let (entries, index) = state.store.decisions().heap_bytes();
    let uptime: Duration = state.now();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_secs": uptime.as_secs(),
        "generation": generation.number,
        "in_flight": state.in_flight.count(),
        "adaptive_limits": adaptive_limits(&generation),
        "sites": generation.sites.iter().map(|site| &*site.name).collect::<Vec<_>>(),
        "store": {
            "kind": generation.cold.store.name(),
            "decisions": state.store.decisions().len(),
            "memory_bytes": entries + index,
            "spared": state.store.decisions().spared(),
            "disk": if metrics.disk_failing.get() == 0 { "ok" } else { "failing" },
            "waiting_for_disk": metrics.waiting.get(),
            "shared": state.store_states.store.as_ref().map(|standing| json!({
                "state": standing.state(),
                "trouble": standing.trouble(),
                "last_sync_secs_ago": age(state, standing),
                "unsent": metrics.unsent.get(),
                "resyncs": standing.resyncs.load(Relaxed),
            })),
            "limits": state.store_states.limits.as_ref().map(|standing| json!({
                "state": if standing.up.load(Relaxed) { "kept together" } else { "each its own" },
                "trouble": standing.trouble(),
                "gateways": state.gateways.load(Relaxed),
            })),
            "predecessor": state.store_states.predecessor.as_ref().map(|standing| json!({
                "state": standing.state(),
                "trouble": standing.trouble(),
                "last_sync_secs_ago": age(state, standing),
                "addresses": standing.listed.load(Relaxed),
            })),
        },
        "escalation": escalation(state),
        "feeds": state.feeds.statuses(),
        "untrusted_proxies": untrusted_proxies(&generation, state),
    }))
    .into_response()
}

/// Peers that name other clients and are not believed, where there are any.
fn untrusted_proxies(generation: &Generation, state: &State) -> Option<Map<String, Value>> {
    let is_trusted = |peer| State::trusts(generation, peer);
    let terms = state.terms(generation);
    (state.proxies).status(is_trusted, state.now(), &terms)
}

/// How the ways to the sidecars do, by address, where there are any.
fn escalation(state: &State) -> Option<Map<String, Value>> {
    let sidecars = state.sidecars.as_ref()?.iter();
    Some(
        sidecars
            .map(|sidecar| (sidecar.address.clone(), way_to(sidecar)))
            .collect(),
    )
}

/// How the way to one sidecar does.
fn way_to(sidecar: &Sidecar) -> Value {
    let answers = |consequence: Consequence| {
        (
            consequence.name().to_owned(),
            sidecar.tally.answers(consequence).into(),
        )
    };
    json!({
        "state": if sidecar.is_connected() { "connected" } else { "away" },
        "name": sidecar.name(),
        "trouble": sidecar.trouble(),
        "cases": sidecar.cases.len(),
        "sent": sidecar.cases.sent(),
        "shed": sidecar.cases.shed(),
        "answers": Consequence::all().map(answers).collect::<Map<String, Value>>(),
        "refused": sidecar.tally.refused(),
    })
}

/// What limits that change with their origins are now: by site, and by filter.
fn adaptive_limits(generation: &Generation) -> Option<Map<String, Value>> {
    let mut sites = Map::new();
    for (site, filter, limit) in generation.adaptive_limits() {
        let filters = sites.entry(site).or_insert_with(|| json!({}));
        filters[filter] = json!(limit);
    }
    (!sites.is_empty()).then_some(sites)
}
