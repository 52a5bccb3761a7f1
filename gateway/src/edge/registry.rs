//! All connections, and the sweep that ends what is overdue.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use thornwall_decisions::decision::Action;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    Edge,
    clock::SWEEP,
    connection::{Connection, Tunnel},
    eviction::{Candidates, Cap, Connections},
};
use crate::{ending::Ending, generation::Generation, state::State};

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

    /// A connection without a request that is to give way to another one: the longest idle of the
    /// client that holds most, or of the same client.
    pub(super) fn idle_longest(
        &self,
        newcomer: &Connection,
        cap: Cap,
        moment: Duration,
        carriers: impl Fn(IpAddr) -> bool,
    ) -> Option<Arc<Connection>> {
        let mut entries = self.0.lock();
        let Entries {
            connections,
            candidates,
        } = &mut *entries;
        candidates.next(connections, newcomer, cap, moment, carriers)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.0.lock().connections.remove(self.place);
    }
}

/// Task `sweep`: moves the clock, and ends what is overdue.
pub(crate) async fn sweep(edge: Arc<Edge>) {
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
    let denials = Denials::of(&edge.state);
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
        let denied = connection
            .tunnel()
            .is_some_and(|tunnel| denials.end(tunnel, connection.client()));
        let stopped = stopped.or_else(|| denied.then_some(Ending::Blocklist));
        if let Some(ending) = stopped.or_else(|| watch.overdue(now, &limits)) {
            edge.end(connection, ending);
        }
    }
    drop(entries);
    for unread in edge.state.unread.look(now, &limits) {
        match unread.stream {
            Some(stream) => stream.stop(),
            None if unread.connection.end(Ending::Unread) => edge.metrics.closed(Ending::Unread),
            None => {}
        }
    }
}

/// What is decided about clients of tunnels, each of which is looked at once for each change.
struct Denials<'a> {
    state: &'a State,
    generation: Arc<Generation>,
    version: u64,
}

impl<'a> Denials<'a> {
    fn of(state: &'a State) -> Self {
        let generation = state.generation.load_full();
        // Both only grow.
        let version = state.store.decisions().version() + generation.number;
        Self {
            state,
            generation,
            version,
        }
    }

    /// Whether a tunnel over the connection of `peer` ends, as its client would get no other one.
    fn end(&self, tunnel: &Tunnel, peer: IpAddr) -> bool {
        if tunnel.seen.swap(self.version, Relaxed) == self.version {
            return false;
        }
        let (state, generation) = (self.state, &self.generation);
        let mut sites = generation.sites.iter();
        let is_denied = sites
            .find(|site| site.id == tunnel.site && site.enforces_decisions())
            .and_then(|site| {
                let decisions = state.store.decisions();
                decisions.lookup(tunnel.client, site.id, state.now())
            })
            .is_some_and(|found| found.action == Action::Deny);
        let is_trusted = || State::trusts(generation, tunnel.client);
        is_denied && !is_trusted() || state.shuts_out(generation, peer)
    }
}
