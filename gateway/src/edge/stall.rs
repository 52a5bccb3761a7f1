//! Bodies that stand still on one stream of an HTTP/2 connection, where the connection itself may be
//! as lively as it likes.
//!
//! Pingora waits for such a body without an end. The request's task carries what came in so far; who
//! finds it standing still drops the request, which resets the stream (RFC 9113 section 5.4.2).
//!
//! The client is to blame only while its body is read: not while its request waits for a server
//! or for a connection, nor while the origin takes in nothing, so that Pingora reads no further.

use std::{
    future::{Future, pending},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use pingora::protocols::{Digest, SocketDigest};
use tokio::{select, task_local, time::sleep};

use super::Edge;
use crate::ending::Ending;

task_local! {
    /// Upload of the request that the running task serves. Pingora builds a request's context
    /// itself and hands nothing of ours to it, so that the context asks once for it
    /// ([`Upload::running`]).
    static RUNNING: Upload;
}

/// How the body of one request comes in. Only requests with a body on HTTP/2 are guarded; of others
/// there is nothing to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upload(Option<Arc<Progress>>);

#[derive(Debug, Default)]
struct Progress {
    received: AtomicU64,
    over: AtomicBool,
    reader: Mutex<Reader>,
}

/// For whom the body is read.
#[derive(Debug, Default)]
enum Reader {
    #[default]
    Nobody,
    /// An origin, behind this socket where that is known.
    Origin(Option<Arc<SocketDigest>>),
}

/// How many times within `body_timeout` it is asked who is awaited.
const LOOKS: u32 = 8;

impl Upload {
    /// That of the request that the running task serves.
    pub(crate) fn running() -> Self {
        RUNNING.try_with(Self::clone).unwrap_or_default()
    }

    /// The request is to get a connection to an origin: its body is not read meanwhile.
    pub(crate) fn pause(&self) {
        self.read_by(Reader::Nobody);
    }

    /// The request has got a connection to an origin, for which its body is read.
    pub(crate) fn resume(&self, connection: Option<&Digest>) {
        if self.0.is_some() {
            let socket = connection.and_then(|digest| digest.socket_digest.clone());
            self.read_by(Reader::Origin(socket));
        }
    }

    fn read_by(&self, reader: Reader) {
        if let Some(progress) = &self.0 {
            *progress.reader.lock() = reader;
        }
    }

    /// Bytes of the body came in.
    pub(crate) fn received(&self, bytes: usize) {
        if let Some(progress) = &self.0 {
            progress.received.fetch_add(bytes as u64, Relaxed);
        }
    }

    /// The body may take its time from here on: it is complete, or it is one half of a conversation.
    /// An answer releases nothing: Pingora goes on waiting for the rest of the body.
    pub(crate) fn release(&self) {
        if let Some(progress) = &self.0 {
            progress.over.store(true, Relaxed);
        }
    }
}

/// Runs a request as long as its body moves.
pub(super) async fn guard<T>(edge: &Edge, request: impl Future<Output = T>) {
    let progress = Arc::new(Progress::default());
    select! {
        biased;
        _ = RUNNING.scope(Upload(Some(Arc::clone(&progress))), request) => {}
        ending = stalled(edge, &progress) => edge.metrics.stream_reset(ending),
    }
}

/// Returns when the body has moved too little for too long.
async fn stalled(edge: &Edge, progress: &Progress) -> Ending {
    let (mut waited, mut before, mut passed) = (Duration::ZERO, 0, 0);
    loop {
        let limits = edge.limits();
        let longest = Duration::from_millis(limits.body_timeout.into());
        let step = longest / LOOKS;
        sleep(step).await;
        if progress.over.load(Relaxed) {
            return pending().await;
        }
        let received = progress.received.load(Relaxed);
        if !progress.awaits_the_client() {
            (waited, before) = (Duration::ZERO, received);
            continue;
        }
        waited += step;
        if waited < longest {
            continue;
        }
        let due = limits.receive_rate(passed) * u64::from(limits.body_timeout) / 1000;
        passed += 1;
        match received - before {
            0 => return Ending::BodyTimeout,
            moved if moved < due => return Ending::TooSlow,
            _ => (waited, before) = (Duration::ZERO, received),
        }
    }
}

impl Progress {
    /// Bytes that the system could not send to the origin yet say that it does not keep up.
    fn awaits_the_client(&self) -> bool {
        match &*self.reader.lock() {
            Reader::Nobody => false,
            Reader::Origin(None) => true,
            Reader::Origin(Some(socket)) => socket
                .tcp_info()
                .is_none_or(|info| info.tcpi_notsent_bytes == 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Progress, RUNNING, Upload};

    #[test]
    fn nobody_awaits_a_body_without_an_origin_to_take_it() {
        let progress = Arc::new(Progress::default());
        let guarded = Upload(Some(Arc::clone(&progress)));
        let upload = RUNNING.sync_scope(guarded, Upload::running);
        assert!(!progress.awaits_the_client());
        upload.resume(None);
        assert!(progress.awaits_the_client());
        // Another server is to be found.
        upload.pause();
        assert!(!progress.awaits_the_client());
    }
}
