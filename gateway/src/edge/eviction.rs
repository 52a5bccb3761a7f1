//! Which connection gives way where there is no permit left: the longest idle one of the client that
//! holds most.
//!
//! Nothing is kept in order while connections come and go. Where a place is wanted, all are looked at
//! once and listed, and the list serves all who want one until the clock moves, or none is left
//! on it: a hundred looks a second at most, however many come.

use std::{
    collections::{BinaryHeap, HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use slab::Slab;
use thornwall_detectors::address::subscriber;

use super::connection::Connection;
use crate::limits::Tick;

/// Every connection of the process.
pub(super) type Connections = Slab<Arc<Connection>>;

/// A list on which none is left is made anew after this time.
const AGAIN: Duration = Duration::from_millis(10);

/// Which cap a newcomer has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cap {
    Total,
    OfClient,
}

/// Connections that may give way, as of one moment.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    made: Option<Tick>,
    /// When the list was made, by the finer clock.
    looked: Duration,
    holders: HashMap<IpAddr, Holder>,
    ranks: BinaryHeap<Rank>,
}

/// What one client has.
#[derive(Debug)]
struct Holder {
    /// Whether its connections are those of many clients.
    carries: bool,
    /// All of its connections; none, where it carries others.
    holds: usize,
    /// Connections without a request, the longest idle last.
    idle: VecDeque<Candidate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    waited: Tick,
    since: Tick,
    place: usize,
}

/// Whose turn it is: the greatest one's.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    holds: usize,
    waited: Tick,
    holder: IpAddr,
}

impl Candidates {
    /// The connection that is to give way to `newcomer`: of the same client where that is at its own
    /// cap, or of the client that holds most. Those of `carriers`, who hold many clients'
    /// connections, come last.
    pub(super) fn next(
        &mut self,
        connections: &Connections,
        newcomer: &Connection,
        cap: Cap,
        moment: Duration,
        carriers: impl Fn(IpAddr) -> bool,
    ) -> Option<Arc<Connection>> {
        let now = newcomer.clock().now();
        if self.made != Some(now) {
            *self = Self::list(connections, now, moment, &carriers);
        }
        let found = self.take(connections, newcomer, cap);
        if found.is_some() || moment.saturating_sub(self.looked) < AGAIN {
            return found;
        }
        // Those that had a request when they were looked at may be done with it.
        *self = Self::list(connections, now, moment, &carriers);
        self.take(connections, newcomer, cap)
    }

    fn take(
        &mut self,
        connections: &Connections,
        newcomer: &Connection,
        cap: Cap,
    ) -> Option<Arc<Connection>> {
        if cap == Cap::Total {
            return self.take_of_the_greatest(connections);
        }
        let client = subscriber(newcomer.client());
        let found = self.take_of(connections, client)?;
        if std::ptr::eq(&*found, newcomer) {
            return self.take_of(connections, client);
        }
        Some(found)
    }

    /// A connection has come in, and is the last to go of those of its client.
    pub(super) fn note(
        &mut self,
        connection: &Connection,
        place: usize,
        carriers: impl Fn(IpAddr) -> bool,
    ) {
        let now = connection.clock().now();
        if self.made != Some(now) {
            return;
        }
        let client = connection.client();
        let holder = Holder::of(&mut self.holders, client, &carriers);
        holder.add(connection, place, now);
        let rank = holder.rank(subscriber(client));
        self.ranks.extend(rank);
    }

    /// Lets go of a list that is over.
    pub(super) fn forget(&mut self, now: Tick) {
        if self.made.is_some_and(|made| made != now) {
            *self = Self::default();
        }
    }

    fn list(
        connections: &Connections,
        now: Tick,
        moment: Duration,
        carriers: &impl Fn(IpAddr) -> bool,
    ) -> Self {
        let mut holders: HashMap<IpAddr, Holder> = HashMap::new();
        for (place, connection) in connections {
            let client = connection.client();
            Holder::of(&mut holders, client, carriers).add(connection, place, now);
        }
        for holder in holders.values_mut() {
            holder.idle.make_contiguous().sort_unstable();
        }
        let ranks = holders.iter().filter_map(|(client, of)| of.rank(*client));
        Self {
            made: Some(now),
            looked: moment,
            ranks: ranks.collect(),
            holders,
        }
    }

    fn take_of(&mut self, connections: &Connections, client: IpAddr) -> Option<Arc<Connection>> {
        let holder = self.holders.get_mut(&client)?;
        let found = loop {
            let found = holder.idle.pop_back()?.find(connections, client);
            if found.is_some() {
                break found;
            }
        };
        holder.holds = holder.holds.saturating_sub(1);
        self.ranks.extend(holder.rank(client));
        found
    }

    fn take_of_the_greatest(&mut self, connections: &Connections) -> Option<Arc<Connection>> {
        while let Some(rank) = self.ranks.pop() {
            let client = rank.holder;
            // Each change of a rank puts the new one beside the old.
            let current = self.holders.get(&client).and_then(|of| of.rank(client));
            if current == Some(rank)
                && let Some(found) = self.take_of(connections, client)
            {
                return Some(found);
            }
        }
        None
    }
}

impl Holder {
    fn of<'a>(
        holders: &'a mut HashMap<IpAddr, Self>,
        client: IpAddr,
        carriers: &impl Fn(IpAddr) -> bool,
    ) -> &'a mut Self {
        holders.entry(subscriber(client)).or_insert_with(|| Self {
            carries: carriers(client),
            holds: 0,
            idle: VecDeque::new(),
        })
    }

    fn add(&mut self, connection: &Connection, place: usize, now: Tick) {
        self.holds += usize::from(!self.carries);
        if let Some(since) = connection.watch.idle_since() {
            let waited = now.wrapping_sub(since);
            self.idle.push_front(Candidate {
                waited,
                since,
                place,
            });
        }
    }

    fn rank(&self, holder: IpAddr) -> Option<Rank> {
        self.idle.back().map(|longest| Rank {
            holds: self.holds,
            waited: longest.waited,
            holder,
        })
    }
}

impl Candidate {
    /// The connection, where it is still the one that was looked at, and idle.
    fn find(&self, connections: &Connections, client: IpAddr) -> Option<Arc<Connection>> {
        let found = connections.get(self.place)?;
        let same =
            found.watch.idle_since() == Some(self.since) && subscriber(found.client()) == client;
        same.then(|| Arc::clone(found))
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc, time::Duration};

    use super::{Candidates, Cap, Connections, IpAddr};
    use crate::{
        edge::{clock::Clock, connection::Connection, watch::Phase},
        ending::Ending,
    };

    /// Connections of these clients, each of which came a second after the one before.
    fn connections(clients: &[&str]) -> (Connections, Arc<Clock>) {
        let clock = Arc::new(Clock::default());
        let mut all = Connections::new();
        for (second, client) in (1..).zip(clients) {
            clock.set(Duration::from_secs(second));
            all.insert(Arc::new(newcomer(client, &clock)));
        }
        (all, clock)
    }

    fn newcomer(client: &str, clock: &Arc<Clock>) -> Connection {
        let peer = SocketAddr::new(client.parse().unwrap(), 1);
        Connection::new(peer, Arc::clone(clock))
    }

    /// The places of those that give way one after the other, where such newcomers come, and are
    /// refused where none does.
    fn evicted(
        all: &mut Connections,
        clock: &Arc<Clock>,
        [newcomer_of, carrier]: [&str; 2],
        cap: Cap,
    ) -> Vec<usize> {
        let mut candidates = Candidates::default();
        let carrier: IpAddr = carrier.parse().unwrap();
        let carriers = |client| client == carrier;
        let old = all.len();
        let next = || {
            let newcomer = Arc::new(newcomer(newcomer_of, clock));
            let found = candidates.next(all, &newcomer, cap, Duration::ZERO, carriers)?;
            assert!(found.watch.end(Ending::Evicted));
            let place = all.iter().find(|(_, other)| Arc::ptr_eq(other, &found));
            let place = place.map(|(place, _)| place);
            let entered = all.insert(Arc::clone(&newcomer));
            candidates.note(&newcomer, entered, carriers);
            place.filter(|place| *place < old)
        };
        std::iter::from_fn(next).collect()
    }

    const A: &str = "192.0.2.1";
    const B: &str = "192.0.2.2";
    const C: &str = "192.0.2.3";

    #[test]
    fn whoever_holds_most_gives_way_first() {
        let (mut all, clock) = connections(&[B, A, A, A]);
        assert_eq!(evicted(&mut all, &clock, [C, C], Cap::Total), [1, 2, 0, 3]);
    }

    #[test]
    fn whoever_comes_again_and_again_gives_way_to_itself() {
        let (mut all, clock) = connections(&[B, B, A, A, A, A]);
        assert_eq!(
            evicted(&mut all, &clock, [A, C], Cap::Total)[..4],
            [2, 3, 4, 5]
        );
    }

    #[test]
    fn one_client_gives_way_to_itself() {
        let (mut all, clock) = connections(&[B, A, B, A, B]);
        assert_eq!(evicted(&mut all, &clock, [B, C], Cap::OfClient), [0, 2, 4]);
    }

    #[test]
    fn who_carries_others_gives_way_last() {
        let (mut all, clock) = connections(&[A, A, A, B]);
        assert_eq!(evicted(&mut all, &clock, [A, A], Cap::Total), [3, 0, 1, 2]);
    }

    #[test]
    fn a_request_under_way_stays() {
        let (mut all, clock) = connections(&[A, A, A, A, A]);
        all[0].enter(Phase::Request);
        all[1].enter(Phase::Upgraded);
        all[2].enter(Phase::Streams);
        let request = super::super::OpenStream::enter(&all[2]);
        all[3].enter(Phase::Streams);
        let held = all[3].hold_stream();
        clock.set(Duration::from_secs(9));
        all[4].enter(Phase::Idle);
        assert_eq!(evicted(&mut all, &clock, [C, C], Cap::Total), [3, 4]);
        drop((request, held));
        assert_eq!(evicted(&mut all, &clock, [C, C], Cap::Total)[..1], [2]);
    }
}
