//! How long a client is read from that still sends what is not wanted any more.
//!
//! Clients look for an answer between two pieces of their upload, or only behind it, and one whose
//! connection is reset meanwhile never reads it. So what it sends is discarded for a while, as nginx
//! does with `lingering_close`. Connections and requests that linger count among their client's.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

/// Longest time in all (nginx: `lingering_time`).
pub const LINGER: Duration = Duration::from_secs(30);
/// Longest silence (nginx: `lingering_timeout`).
pub const SILENCE: Duration = Duration::from_secs(5);
/// Most that is discarded. Who looks for an answer stops at once, and who sends everything before
/// that seldom has more.
pub const MOST_DISCARDED: usize = 256 << 20;

/// A connection that is still read from.
#[derive(Debug)]
pub(super) struct Lingering {
    end: Pin<Box<Sleep>>,
    silence: Pin<Box<Sleep>>,
    left: usize,
}

impl Default for Lingering {
    fn default() -> Self {
        Self {
            end: Box::pin(sleep(LINGER)),
            silence: Box::pin(sleep(SILENCE)),
            left: MOST_DISCARDED,
        }
    }
}

impl Lingering {
    /// Whether it has been read from for long enough; its task is woken when it has.
    pub(super) fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let mut passed =
            |clock: &mut Pin<Box<Sleep>>| clock.as_mut().poll(context) != Poll::Pending;
        self.left == 0 || passed(&mut self.end) || passed(&mut self.silence)
    }

    /// It sent so many bytes.
    pub(super) fn received(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
        self.silence.set(sleep(SILENCE));
    }
}
