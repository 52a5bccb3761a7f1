//! The task that keeps the file of the packet filter true.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::{export, state::State};

/// Shortest time between two files.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause is at least this many times as long as the last file took to make.
const EASE: u32 = 20;

/// Keeps the file true until the process ends. Task `nftables`.
pub(crate) async fn refresh(state: Arc<State>) {
    let Some(path) = state.generation.load().cold.nftables_file.clone() else {
        return;
    };
    let mut shutdown = state.shutdown.clone();
    let (mut seen, mut written) = (None, None);
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            () = sleep(pause) => {}
            _ = shutdown.changed() => return,
        }
        pause = PAUSE;
        let version = state.store.decisions().version();
        if seen == Some(version) {
            continue;
        }
        let began = Instant::now();
        let (shared, file) = (Arc::clone(&state), path.clone());
        let done = spawn_blocking(move || export::update(&shared.denials(), &file, written)).await;
        // One that panicked has said so, and is tried again.
        match done.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(fingerprint) => (seen, written) = (Some(version), Some(fingerprint)),
            Err(error) => {
                state.metrics.export.count("nftables", "failed", 1);
                log::error!(
                    "the file for nftables cannot be written; file={} error={error}",
                    path.display()
                );
                pause = PAUSE * 10;
            }
        }
        pause = pause.max(began.elapsed() * EASE);
    }
}
