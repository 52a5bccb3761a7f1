//! All connections, and the sweep that ends what is overdue.

use std::{net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    Edge,
    clock::SWEEP,
    connection::Connection,
    ending::Ending,
    eviction::{Candidates, Cap, Connections},
};

/// Every connection of the process.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    connections: Connections,
    candidates: Candidates,
}

/// One registered connection, taken out when dropped.
pub(super) struct Registered {
    registry: Arc<Registry>,
    place: usize,
}

impl Registry {
    /// Enters a connection. `carriers` hold many clients' connections.
    pub(super) fn enter(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        carriers: impl Fn(IpAddr) -> bool,
    ) -> Registered {
        let mut entries = self.0.lock();
        let place = entries.connections.insert(Arc::clone(connection));
        entries.candidates.note(connection, place, carriers);
        Registered {
            registry: Arc::clone(self),
            place,
        }
    }

    /// A connection without a request that is to give way to another one: the longest idle of whoever
    /// holds most, or of the same client.
    pub(super) fn idle_longest(
        &self,
        newcomer: &Connection,
        cap: Cap,
        carriers: impl Fn(IpAddr) -> bool,
    ) -> Option<Arc<Connection>> {
        let mut entries = self.0.lock();
        let Entries {
            connections,
            candidates,
        } = &mut *entries;
        candidates.next(connections, newcomer, cap, carriers)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.0.lock().connections.remove(self.place);
    }
}

/// Task `sweep`: moves the clock, and ends what is overdue.
pub async fn sweep(edge: Arc<Edge>) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        edge.clock.set(edge.state.now());
        sweep_once(&edge);
    }
}

/// Whether a client is about to say what it came for.
pub(super) fn awaits_a_request(edge: &Edge) -> bool {
    let entries = edge.registry.0.lock();
    (entries.connections)
        .iter()
        .any(|(_, connection)| connection.watch.is_opening())
}

/// Ends what is overdue, and where the process stops, what has no request.
pub(super) fn sweep_once(edge: &Edge) {
    let limits = edge.limits();
    let now = edge.clock.now();
    let stopping = edge.state.is_stopping();
    let mut entries = edge.registry.0.lock();
    entries.candidates.forget(now);
    edge.metrics.show_open(entries.connections.len());
    for (_, connection) in &entries.connections {
        let watch = &connection.watch;
        if stopping || watch.is_old(now, &limits) {
            connection.retire();
        }
        let over = watch.is_idle() || watch.is_leaving();
        let stopped = (stopping && over).then_some(Ending::Stop);
        if let Some(ending) = stopped.or_else(|| watch.overdue(now, &limits)) {
            edge.end(connection, ending);
        }
    }
}
