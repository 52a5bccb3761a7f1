//! Notifications to systemd, or whatever set `NOTIFY_SOCKET`: sd_notify(3). Without it, nothing.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram as Socket},
        },
    },
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::{
    net::UnixDatagram,
    sync::watch,
    time::{interval, timeout},
};

/// The gateway serves, and every listener was checked.
pub(crate) async fn ready(listeners: usize, generation: u64) {
    let status = format!("serving; listeners={listeners} generation={generation}");
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]).await;
}

/// The configuration is being read again; [`ready`] follows, whether it takes effect or not.
pub(crate) async fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    // Without a clock it is no reload as systemd 253 understands it, and still one for others.
    states.extend(NotifyState::monotonic_usec_now());
    notify(&states).await;
}

/// Another process serves now. Without this, the end of this one would be the end of the service.
pub(crate) async fn replaced(pid: u32) {
    notify(&[NotifyState::MainPid(pid)]).await;
}

/// The end has begun, and takes at most the grace period.
pub(crate) async fn stopping(grace: Duration) {
    let longest = u32::try_from((grace + STOP_SLACK).as_micros()).unwrap_or(u32::MAX);
    notify(&[
        NotifyState::Stopping,
        NotifyState::Status("stopping; requests under way end"),
        NotifyState::ExtendTimeoutUsec(longest),
    ])
    .await;
}

/// Beyond the grace period, for the last log lines.
const STOP_SLACK: Duration = Duration::from_secs(5);

/// Feeds the watchdog, where there is one, as long as the runtime turns. Task `watchdog`.
pub(crate) async fn feed_watchdog(mut shutdown: watch::Receiver<bool>) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return;
    };
    // sd_watchdog_enabled(3) recommends half of the limit.
    let mut turns = interval(limit / 2);
    loop {
        tokio::select! {
            _ = turns.tick() => notify(&[NotifyState::Watchdog]).await,
            _ = shutdown.changed() => return,
        }
    }
}

/// Longest wait for a manager that does not read.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends one datagram. The crate's own function blocks its thread where the manager is slow.
async fn notify(states: &[NotifyState<'_>]) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let lines: String = states.iter().map(|state| format!("{state}\n")).collect();
    let sent = async {
        let address = match path.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&path)?,
        };
        let socket = Socket::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect_addr(&address)?;
        UnixDatagram::from_std(socket)?.send(lines.as_bytes()).await
    };
    let sent = timeout(SEND_TIMEOUT, sent).await;
    if let Err(error) = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        log::warn!("the service manager cannot be told; error={error}");
    }
}
