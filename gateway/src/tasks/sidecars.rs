//! The ways to sidecars: a task for each that is configured.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::{
    escalate::{Client, Sidecar},
    generation::Generation,
    state::State,
};

/// Starts a task `sidecar` for each that is configured.
pub(crate) fn start(state: &Arc<State>) -> Vec<JoinHandle<()>> {
    let generation: Arc<Generation> = state.generation.load_full();
    let (Some(sidecars), Some(settings)) = (&state.sidecars, &generation.cold.escalation) else {
        return Vec::new();
    };
    let follow = |sidecar: &Arc<Sidecar>| {
        let (sidecar, settings) = (Arc::clone(sidecar), settings.clone());
        let client = Client::new(sidecar, settings, state.store.clone(), state.clock());
        tokio::spawn(client.run(state.shutdown.clone()))
    };
    sidecars.iter().map(follow).collect()
}
