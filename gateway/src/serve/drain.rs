//! The end: requests under way get their time, and no more.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::signals::Stop;
use crate::{edge::Edge, state::State};

/// Time between two looks at what is under way.
const POLL: Duration = Duration::from_millis(20);

/// Waits until the last request has ended, at most for the grace period or until another signal;
/// what is idle or held in the tarpit has ended by itself by then.
pub(super) async fn drain(state: &State, edge: &Edge, mut at_once: Stop) {
    let grace = state.generation.load().shutdown_grace;
    let last_request = async {
        while state.in_flight.count() > 0 || edge.awaits_a_request() {
            sleep(POLL).await;
        }
        // Farewells of HTTP/2 go out meanwhile.
        sleep(POLL).await;
    };
    let why = tokio::select! {
        ended = timeout(grace, last_request) => match ended {
            Ok(()) => return,
            Err(_) => "grace period is over",
        },
        () = at_once.asked() => "asked to stop at once",
    };
    log::warn!("{why}; cut off={}", state.in_flight.count());
}
