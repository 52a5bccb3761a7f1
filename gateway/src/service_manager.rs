//! What systemd, or whatever set `NOTIFY_SOCKET`, is told: sd_notify(3). Without it, nothing.

use std::{sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio::time::interval;

use crate::state::State;

/// The gateway serves, and every listener was checked.
pub fn ready(state: &State) {
    let generation = state.generation.load();
    let status = format!(
        "serving; listeners={} generation={}",
        generation.cold.listeners.len(),
        generation.number
    );
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The configuration is being read again; [`ready`] follows, whether it takes effect or not.
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    // Without a clock it is no reload as systemd 253 understands it, and still one for others.
    states.extend(NotifyState::monotonic_usec_now());
    tell(&states);
}

/// Another process serves now. Without this, the end of this one would be the end of the service.
pub fn replaced(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

/// The end has begun, and takes at most the grace period.
pub fn stopping(grace: Duration) {
    let longest = u32::try_from((grace + STOP_SLACK).as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("stopping; requests under way end"),
        NotifyState::ExtendTimeoutUsec(longest),
    ]);
}

/// Beyond the grace period, for the last log lines.
const STOP_SLACK: Duration = Duration::from_secs(5);

/// Feeds the watchdog, where there is one, as long as the runtime turns. Task `watchdog`.
pub async fn feed_watchdog(state: Arc<State>) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return;
    };
    let mut shutdown = state.shutdown.clone();
    // sd_watchdog_enabled(3) recommends half of the limit.
    let mut turns = interval(limit / 2);
    loop {
        tokio::select! {
            _ = turns.tick() => tell(&[NotifyState::Watchdog]),
            _ = shutdown.changed() => return,
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager cannot be told; error={error}");
    }
}
