//! The signal that the process is to end, as calls and tasks wait for it.

use tokio::sync::watch;

/// Returns once the process is to end.
pub(crate) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = shutdown.wait_for(|stop| *stop).await;
}
