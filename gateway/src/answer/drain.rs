//! Reading away what a client still sends of a body that was refused.
//!
//! Clients look for an answer between two pieces of their upload, or only after it. One whose stream
//! is reset, or whose connection is closed, while it sends reports that instead of the answer (curl
//! 7.88 does so with any reset). So what it sends is discarded for a while, as nginx does with
//! `lingering_close`, and only then is the stream reset, with NO_ERROR (RFC 9113 section 8.1).

use pingora::protocols::http::v2::server::HttpSession;
use tokio::{
    select,
    time::{sleep, timeout},
};

use crate::{
    edge::{
        Upload,
        linger::{LINGER, MOST_DISCARDED, SILENCE},
    },
    state::State,
};

/// Discards the rest of the request's body on a stream whose answer is complete. The request
/// remains one of its client's and of its connection's meanwhile, whose numbers are bounded.
pub(super) async fn stream(session: &mut HttpSession, upload: &Upload, state: &State) {
    if session.is_body_done() || session.response_written().is_none() {
        return;
    }
    // Its end is that of its lingering, not of a body that is waited for.
    upload.release();
    let mut shutdown = state.shutdown.clone();
    select! {
        () = discard(session) => {}
        () = sleep(LINGER) => {}
        _ = shutdown.wait_for(|stopping| *stopping) => {}
    }
}

/// Returns when the client has ended or reset its stream, or sends nothing or too much.
async fn discard(session: &mut HttpSession) {
    let mut left = MOST_DISCARDED;
    while left > 0 {
        match timeout(SILENCE, session.read_body_bytes()).await {
            Ok(Ok(Some(bytes))) => left = left.saturating_sub(bytes.len()),
            _ => return,
        }
    }
}
