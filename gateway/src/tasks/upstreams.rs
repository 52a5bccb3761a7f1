//! The task that tends the upstreams of whatever generation serves: names and health.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::state::State;

/// Pause after a task that should not have ended.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// Tends the upstreams of whatever generation serves, until the process ends. Task `upstreams`.
pub(crate) async fn tend(state: Arc<State>, mut reloaded: watch::Receiver<u64>) {
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

fn start(state: &State) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for upstream in state.generation.load().upstreams() {
        upstream.tend(state.time(), &mut tasks);
    }
    tasks
}
