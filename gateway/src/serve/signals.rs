//! The signals that the process obeys.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ServeError;
use crate::reload::Reloader;

/// The signals that the process obeys.
pub(super) struct Signals {
    hangup: Signal,
    stop: Stop,
}

/// The signals that end the process.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Catches them from here on.
    pub(super) fn catch() -> Result<Self, ServeError> {
        let catch = |kind| signal(kind).map_err(ServeError::io("signals"));
        Ok(Self {
            hangup: catch(SignalKind::hangup())?,
            stop: Stop {
                interrupt: catch(SignalKind::interrupt())?,
                terminate: catch(SignalKind::terminate())?,
            },
        })
    }

    /// Reloads on SIGHUP; returns on SIGTERM or SIGINT.
    pub(super) async fn obey(&mut self, reloader: &Reloader) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => reloader.reload().await,
                () = self.stop.asked() => return,
            }
        }
    }

    /// What is left to obey once the end has begun.
    pub(super) fn into_stop(self) -> Stop {
        self.stop
    }
}

impl Stop {
    /// Returns on SIGTERM or SIGINT.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
