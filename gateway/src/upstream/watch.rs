//! The longest wait for an answer to begin.
//!
//! Pingora knows one time for every read of an answer, its first byte and all others. To wait less
//! for the first one, the future of each request is [`watched`]: when its time is over, the socket
//! to the origin is shut down, which Pingora reads as an end. Looking at the clock and shutting down
//! happen between two polls of the request itself, so that the descriptor cannot have become
//! somebody else's in the meantime.

use std::{
    cell::Cell,
    os::fd::RawFd,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use nix::sys::socket::{Shutdown, shutdown};
use tokio::{
    task_local,
    time::{Instant, Sleep, sleep_until},
};

task_local! {
    static WAIT: Cell<Wait>;
}

/// What stands for a descriptor that Pingora does not know.
const UNKNOWN: RawFd = -1;

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

/// A connection over this descriptor was made for the request, and Pingora will not know it.
pub(super) fn made(fd: RawFd) {
    let _ = WAIT.try_with(|wait| wait.set(Wait::Made(fd)));
}

/// Prepares to wait so long for the answer that comes over this descriptor. Without effect where
/// the request is not watched.
pub(super) fn prepare(fd: RawFd, time: Duration) {
    let _ = WAIT.try_with(|wait| {
        let fd = match wait.get() {
            Wait::Made(ours) if fd == UNKNOWN => ours,
            _ => fd,
        };
        wait.set(Wait::Ready(time, fd));
    });
}

/// The whole request has been sent: starts the wait for its answer.
pub(super) fn start() {
    let _ = WAIT.try_with(|wait| {
        if let Wait::Ready(time, fd) = wait.get() {
            wait.set(Wait::Armed(Instant::now() + time, fd));
        }
    });
}

/// Ends the wait; whether it had been too long.
pub(super) fn disarm() -> bool {
    let before = WAIT.try_with(Cell::take);
    matches!(before, Ok(Wait::Expired))
}

/// A future of a request, with a clock beside it.
struct Watched<F: ?Sized> {
    request: Pin<Box<F>>,
    clock: Option<Pin<Box<Sleep>>>,
}

/// Runs a request so that waits have an end in it.
pub(crate) async fn watched<F: Future + Send + ?Sized>(request: Pin<Box<F>>) -> F::Output {
    let clock = None;
    WAIT.scope(Cell::default(), Watched { request, clock })
        .await
}

impl<F: Future + ?Sized> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if let Poll::Ready(output) = self.request.as_mut().poll(context) {
            return Poll::Ready(output);
        }
        let Wait::Armed(until, fd) = WAIT.with(Cell::get) else {
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
            WAIT.with(|wait| wait.set(Wait::Expired));
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
            prepare(near.as_raw_fd(), Duration::from_secs(1));
            // Sending it may take its time.
            sleep(Duration::from_secs(5)).await;
            start();
            let read = near.read(&mut [0]).await;
            (read.unwrap(), disarm())
        });
        assert_eq!(watched(request).await, (0, true));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_the_wait() {
        let (near, _far) = UnixStream::pair().unwrap();
        let request = Box::pin(async move {
            prepare(near.as_raw_fd(), Duration::from_secs(1));
            start();
            sleep(Duration::from_millis(500)).await;
            assert!(!disarm());
            sleep(Duration::from_secs(5)).await;
            near.try_write(b"x").is_ok() && !disarm()
        });
        assert!(watched(request).await);
    }
}
