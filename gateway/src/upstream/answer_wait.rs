//! The longest wait for an answer to begin.
//!
//! Pingora knows one time for every read of an answer, its first byte and all others. To wait less
//! for the first one, the future of each request is [`watched`]: when its time is over, the socket
//! to the origin is shut down, which Pingora reads as an end. Looking at the clock and shutting down
//! happen between two polls of the request itself, so that the descriptor cannot have become
//! somebody else's in the meantime.

use std::{
    os::fd::RawFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use nix::sys::socket::{Shutdown, shutdown};
use parking_lot::Mutex;
use tokio::{
    task_local,
    time::{Instant, Sleep, sleep_until},
};

task_local! {
    /// Wait of the request that the running task serves, whose context asks once for it
    /// ([`AnswerWait::running`]), since Pingora hands it nothing of ours.
    static RUNNING: AnswerWait;
}

/// What stands for a descriptor that Pingora does not know.
const UNKNOWN: RawFd = -1;

/// The wait of one request for its answer; nothing of a request that is not [`watched`].
#[derive(Debug, Clone, Default)]
pub(crate) struct AnswerWait(Option<Arc<Mutex<Wait>>>);

#[derive(Debug, Clone, Copy, Default)]
enum Wait {
    #[default]
    Idle,
    /// A connection of our own was made.
    Made(RawFd),
    /// The request is still being sent.
    Ready(Duration, RawFd),
    Armed(Instant, RawFd),
    Expired,
}

impl AnswerWait {
    /// That of the request that the running task serves.
    pub(crate) fn running() -> Self {
        RUNNING.try_with(Self::clone).unwrap_or_default()
    }

    /// A connection over this descriptor was made for the request, and Pingora will not know it.
    pub(super) fn made(&self, fd: RawFd) {
        self.change(|_| Wait::Made(fd));
    }

    /// Prepares to wait so long for the answer that comes over this descriptor.
    pub(super) fn prepare(&self, fd: RawFd, time: Duration) {
        self.change(|before| match before {
            Wait::Made(ours) if fd == UNKNOWN => Wait::Ready(time, ours),
            _ => Wait::Ready(time, fd),
        });
    }

    /// The whole request has been sent: starts the wait for its answer.
    pub(super) fn start(&self) {
        self.change(|before| match before {
            Wait::Ready(time, fd) => Wait::Armed(Instant::now() + time, fd),
            other => other,
        });
    }

    /// Ends the wait; whether it had been too long.
    pub(super) fn disarm(&self) -> bool {
        matches!(self.change(|_| Wait::Idle), Wait::Expired)
    }

    /// Makes another wait of what there is, and returns what there was.
    fn change(&self, next: impl FnOnce(Wait) -> Wait) -> Wait {
        let Some(shared) = &self.0 else {
            return Wait::Idle;
        };
        let mut wait = shared.lock();
        let before = *wait;
        *wait = next(before);
        before
    }
}

/// A future of a request, with a clock beside it.
struct Watched<F: ?Sized> {
    request: Pin<Box<F>>,
    wait: Arc<Mutex<Wait>>,
    clock: Option<Pin<Box<Sleep>>>,
}

/// Runs a request so that waits have an end in it.
pub(crate) async fn watched<F: Future + Send + ?Sized>(request: Pin<Box<F>>) -> F::Output {
    let wait = Arc::default();
    let running = AnswerWait(Some(Arc::clone(&wait)));
    let watched = Watched {
        request,
        wait,
        clock: None,
    };
    RUNNING.scope(running, watched).await
}

impl<F: Future + ?Sized> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if let Poll::Ready(output) = self.request.as_mut().poll(context) {
            return Poll::Ready(output);
        }
        let Wait::Armed(until, fd) = *self.wait.lock() else {
            self.clock = None;
            return Poll::Pending;
        };
        let clock = self
            .clock
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        if clock.deadline() != until {
            clock.as_mut().reset(until);
        }
        if clock.as_mut().poll(context).is_ready() {
            *self.wait.lock() = Wait::Expired;
            // Whether or not it was still open, reading from it ends.
            let _ = shutdown(fd, Shutdown::Both);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use tokio::{io::AsyncReadExt, net::UnixStream, time::sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_too_long_ends_the_connection() {
        let (mut near, _far) = UnixStream::pair().unwrap();
        let request = Box::pin(async move {
            let wait = AnswerWait::running();
            wait.prepare(near.as_raw_fd(), Duration::from_secs(1));
            // Sending it may take its time.
            sleep(Duration::from_secs(5)).await;
            wait.start();
            let read = near.read(&mut [0]).await;
            (read.unwrap(), wait.disarm())
        });
        assert_eq!(watched(request).await, (0, true));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_the_wait() {
        let (near, _far) = UnixStream::pair().unwrap();
        let request = Box::pin(async move {
            let wait = AnswerWait::running();
            wait.prepare(near.as_raw_fd(), Duration::from_secs(1));
            wait.start();
            sleep(Duration::from_millis(500)).await;
            assert!(!wait.disarm());
            sleep(Duration::from_secs(5)).await;
            near.try_write(b"x").is_ok() && !wait.disarm()
        });
        assert!(watched(request).await);
    }
}
