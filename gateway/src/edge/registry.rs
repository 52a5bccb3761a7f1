//! All connections, and the sweep that ends what is overdue.

use std::sync::Arc;

use parking_lot::Mutex;
use slab::Slab;
use tokio::time::{MissedTickBehavior, interval};

use super::{Edge, clock::SWEEP, connection::Connection, ending::Ending};

/// Every connection of the process.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Slab<Arc<Connection>>>);

/// One registered connection, taken out when dropped.
pub(super) struct Registered<'a> {
    registry: &'a Registry,
    place: usize,
}

impl Registry {
    pub(super) fn enter(&self, connection: &Arc<Connection>) -> Registered<'_> {
        let place = self.0.lock().insert(Arc::clone(connection));
        Registered {
            registry: self,
            place,
        }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.registry.0.lock().remove(self.place);
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
    let connections = edge.registry.0.lock();
    connections
        .iter()
        .any(|(_, connection)| connection.watch.is_opening())
}

/// Ends what is overdue, and where the process stops, what has no request.
pub(super) fn sweep_once(edge: &Edge) {
    let limits = edge.limits();
    let now = edge.clock.now();
    let stopping = edge.state.is_stopping();
    let connections = edge.registry.0.lock();
    edge.metrics.show_open(connections.len());
    for (_, connection) in connections.iter() {
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
