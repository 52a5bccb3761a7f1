//! Bodies that stand still on one stream of an HTTP/2 connection, where the connection itself may be
//! as lively as it likes.
//!
//! Pingora waits for such a body without an end. The request's task carries what came in so far; who
//! finds it standing still drops the request, which resets the stream (RFC 9113 section 5.4.2).

use std::{
    future::{Future, pending},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{select, task_local, time::sleep};

use super::{Edge, ending::Ending};

task_local! {
    /// Of the request that the running task serves. Pingora builds a request's context itself and
    /// hands nothing of ours to it.
    static PROGRESS: Arc<Progress>;
}

#[derive(Debug, Default)]
struct Progress {
    received: AtomicU64,
    over: AtomicBool,
}

/// Bytes of the running request's body came in.
pub fn note_body(bytes: usize) {
    // Only requests with a body on HTTP/2 are guarded.
    let _ = PROGRESS.try_with(|progress| progress.received.fetch_add(bytes as u64, Relaxed));
}

/// The running request's body may take its time from here on: it is complete, or it is one half of
/// a conversation. An answer releases nothing: Pingora goes on waiting for the rest of the body.
pub fn release() {
    let _ = PROGRESS.try_with(|progress| progress.over.store(true, Relaxed));
}

/// Runs a request as long as its body moves.
pub(super) async fn guard<T>(edge: &Edge, request: impl Future<Output = T>) {
    let progress = Arc::new(Progress::default());
    select! {
        biased;
        _ = PROGRESS.scope(Arc::clone(&progress), request) => {}
        ending = stalled(edge, &progress) => edge.metrics.stream_reset(ending),
    }
}

/// Returns when the body has moved too little for too long.
async fn stalled(edge: &Edge, progress: &Progress) -> Ending {
    loop {
        let limits = edge.limits();
        let before = progress.received.load(Relaxed);
        sleep(Duration::from_millis(limits.body_timeout.into())).await;
        if progress.over.load(Relaxed) {
            return pending().await;
        }
        let moved = progress.received.load(Relaxed) - before;
        let due = u64::from(limits.min_receive_rate) * u64::from(limits.body_timeout) / 1000;
        match moved {
            0 => return Ending::BodyTimeout,
            moved if moved < due => return Ending::TooSlow,
            _ => {}
        }
    }
}
