//! The signals that the process obeys.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ServeError;
use crate::{reload::Reloader, service_manager, state::State};

/// The signals that the process obeys.
pub(super) struct Signals {
    file_size: Signal,
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
            file_size: catch(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
            hangup: catch(SignalKind::hangup())?,
            stop: Stop {
                interrupt: catch(SignalKind::interrupt())?,
                terminate: catch(SignalKind::terminate())?,
            },
        })
    }

    /// Reloads and reopens the access log on SIGHUP; returns on SIGTERM or SIGINT.
    pub(super) async fn obey(&mut self, reloader: &Reloader, state: &State) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    tokio::select! {
                        () = reload(reloader, state) => {}
                        // It may wait for a file that nobody ever gives.
                        () = self.stop.asked() => return,
                    }
                }
                // A write beyond a limit on file sizes then fails as one on a full disk does.
                _ = self.file_size.recv() => {}
                () = self.stop.asked() => return,
            }
        }
    }

    /// What is left to obey once the end has begun.
    pub(super) fn into_stop(self) -> Stop {
        self.stop
    }
}

async fn reload(reloader: &Reloader, state: &State) {
    service_manager::reloading().await;
    state.access_log.reopen();
    state.ban_log.reopen();
    reloader.reload().await;
    service_manager::ready(state).await;
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
