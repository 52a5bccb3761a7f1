//! The signals that the process obeys.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ServeError;
use crate::{reload::Reloader, service_manager, state::State};

/// The signals that the process obeys.
pub(super) struct Signals {
    file_size: Signal,
    hangup: Signal,
    reopen: Signal,
    upgrade: Signal,
    stop: Stop,
}

/// The signals that end the process.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
}

impl Signals {
    /// Catches them from here on.
    pub(super) fn catch() -> Result<Self, ServeError> {
        let catch = |kind| signal(kind).map_err(ServeError::io("signals"));
        Ok(Self {
            file_size: catch(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
            hangup: catch(SignalKind::hangup())?,
            reopen: catch(SignalKind::user_defined1())?,
            upgrade: catch(SignalKind::user_defined2())?,
            stop: Stop {
                interrupt: catch(SignalKind::interrupt())?,
                terminate: catch(SignalKind::terminate())?,
                quit: catch(SignalKind::quit())?,
            },
        })
    }

    /// Reloads and reopens logs on SIGHUP, reopens logs alone on SIGUSR1, and returns on SIGTERM, SIGINT
    /// or SIGQUIT. nginx's scripts send these signals with these meanings; what they start by SIGUSR2,
    /// an upgrade, is a command here, which says how it went.
    pub(super) async fn obey(&mut self, reloader: &Reloader, state: &State) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    tokio::select! {
                        () = reload(reloader, state) => {}
                        // It may wait for a file that is never complete.
                        () = self.stop.asked() => return,
                    }
                }
                _ = self.reopen.recv() => reopen_logs(state),
                _ = self.upgrade.recv() => {
                    log::warn!("SIGUSR2 upgrades nothing; `thornwall upgrade -c FILE` does");
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
    reopen_logs(state);
    reloader.reload().await;
    report_ready(state).await;
}

/// Notifies the service manager of what is served.
pub(super) async fn report_ready(state: &State) {
    let generation = state.generation.load_full();
    let listeners = generation.cold.listeners.len();
    service_manager::ready(listeners, generation.number).await;
}

/// For rotation by renaming.
fn reopen_logs(state: &State) {
    state.access_log.reopen();
    state.ban_log.reopen();
}

impl Stop {
    /// Returns on SIGTERM, SIGINT or SIGQUIT.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}
