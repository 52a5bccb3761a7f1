//! What goes on beside the requests: looking up names and checking health.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::{Upstream, health::keep_checking, resolve::keep_looking_up};
use crate::state::State;

/// Pause after a task that should not have ended.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// Tends the upstreams of whatever generation serves, until the process ends. Task `upstreams`.
pub async fn tend(state: Arc<State>, mut reloaded: watch::Receiver<u64>) {
    let mut shutdown = state.shutdown.clone();
    loop {
        let mut tasks = start(&state);
        tokio::select! {
            changed = reloaded.changed() => if changed.is_err() { return },
            _ = shutdown.changed() => return,
            Some(ended) = tasks.join_next() => {
                log::error!("health checks or lookups ended, starting them again; how={ended:?}");
                sleep(RESTART_AFTER).await;
            }
        }
        // The next generation's upstreams share what these know, so that none may go on.
        tasks.shutdown().await;
    }
}

fn start(state: &Arc<State>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for upstream in state.generation.load().upstreams() {
        upstream.forget_what_is_gone(state.now());
        upstream.forget_checks(state.now());
        if upstream.named().next().is_some() {
            tasks.spawn(keep_looking_up(Arc::clone(&upstream), Arc::clone(state)));
        }
        if upstream.settings.health_check.is_some() {
            tasks.spawn(keep_checking(upstream, Arc::clone(state)));
        }
    }
    tasks
}

impl Upstream {
    /// For the generation that serves alone: another one may have other servers.
    pub(super) fn forget_what_is_gone(&self, now: Duration) {
        let table = self.table.load();
        let keys: HashSet<_> = table
            .endpoints
            .iter()
            .map(|endpoint| endpoint.key)
            .collect();
        self.shared.keep_standings(&keys, now);
        let names = self.named().map(|(label, _, _)| &**label).collect();
        self.shared.keep_answers(&names, now);
    }
}
