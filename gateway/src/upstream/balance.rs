//! Which server a request goes to.
//!
//! `consistent_hash` is weighted rendezvous hashing: each server draws a number for the key, and
//! the highest wins (Thaler and Ravishankar, "Using name-based mappings to increase hit rates",
//! 1998; the weights after Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005).
//! Nothing is kept, a server more or less moves only its own keys, and the keys of a server that
//! is out are spread evenly over all others.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{
    server_health::Rules,
    table::{Endpoint, Table},
};
use crate::{
    config::Balance,
    hash::{Key, random},
};

/// Most servers of one request.
const MOST_TRIED: usize = 5;

/// Most tries of one request: one for each server, and each of them once more where its kept
/// connection was over.
pub(crate) const MOST_TRIES: usize = 2 * MOST_TRIED;

/// Most further tries that can be configured.
pub(super) const MOST_RETRIES: usize = MOST_TRIED - 1;

/// The servers that a request has been at, in vain.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tried {
    keys: [Key; MOST_TRIED],
    count: usize,
}

impl Tried {
    /// Notes one more.
    pub(super) fn push(&mut self, key: Key) {
        if let Some(free) = self.keys.get_mut(self.count) {
            *free = key;
            self.count += 1;
        }
    }

    /// Whether this is one of them.
    pub(super) fn contains(&self, key: Key) -> bool {
        self.keys[..self.count].contains(&key)
    }
}

/// What a server is chosen by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub now: Duration,
    /// What `consistent_hash` hashes.
    pub key: Key,
    /// What the cookie of the client says.
    pub cookie: Option<&'a str>,
    /// Servers that it must not be.
    pub tried: &'a Tried,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// The place of a server in the table.
    At(usize),
    /// A place, although that server is out: so are all.
    Desperate(usize),
    /// All that could take it have as many requests as they may.
    Full,
    /// There is no server, or all have been tried.
    Nobody,
}

/// How a server is chosen.
#[derive(Debug)]
pub(super) struct Balancer {
    kind: Balance,
    rules: Rules,
    /// Counts up with every request; requests share nothing else.
    tickets: AtomicU64,
}

impl Balancer {
    /// A balancer of this kind.
    pub(super) const fn new(kind: Balance, rules: Rules) -> Self {
        Self {
            kind,
            rules,
            tickets: AtomicU64::new(0),
        }
    }

    pub(super) fn choose(&self, table: &Table, ask: &Ask<'_>) -> Choice {
        if let [only] = &*table.endpoints {
            return self.choose_only(only, ask);
        }
        let fits = |endpoint: &Endpoint| {
            endpoint.health.is_available(ask.now) && !ask.tried.contains(endpoint.key)
        };
        let kept = ask.cookie.and_then(|cookie| {
            let named = |endpoint: &&_| fits(endpoint) && is_free(endpoint);
            let place = place_of_cookie(table, cookie)?;
            table
                .endpoints
                .get(place)
                .map(AsRef::as_ref)
                .filter(named)?;
            Some(place)
        });
        if let Some(place) = kept {
            return Choice::At(place);
        }
        let fresh =
            |endpoint: &Endpoint, draw| fits(endpoint) && self.has_share(endpoint, ask.now, draw);
        if let Some(place) = self.among(table, ask, |endpoint, draw| {
            is_free(endpoint) && fresh(endpoint, draw)
        }) {
            return Choice::At(place);
        }
        // A server that is just coming back may be the only one left.
        if let Some(place) = self.among(table, ask, |endpoint, _| {
            is_free(endpoint) && fits(endpoint)
        }) {
            return Choice::At(place);
        }
        self.choose_desperately(table, ask, fits)
    }

    fn choose_only(&self, only: &Endpoint, ask: &Ask<'_>) -> Choice {
        if ask.tried.contains(only.key) {
            Choice::Nobody
        } else if !is_free(only) {
            Choice::Full
        } else if only.health.is_available(ask.now) {
            Choice::At(0)
        } else {
            Choice::Desperate(0)
        }
    }

    fn choose_desperately(
        &self,
        table: &Table,
        ask: &Ask<'_>,
        fits: impl Fn(&Endpoint) -> bool,
    ) -> Choice {
        let mut untried = table
            .endpoints
            .iter()
            .filter(|endpoint| !ask.tried.contains(endpoint.key))
            .peekable();
        if untried.peek().is_none() {
            return Choice::Nobody;
        }
        // Servers that work but are busy are worth waiting for.
        if untried.any(|endpoint| fits(endpoint)) {
            return Choice::Full;
        }
        let found = self.among(table, ask, |endpoint, _| {
            is_free(endpoint) && !ask.tried.contains(endpoint.key)
        });
        found.map_or(Choice::Full, Choice::Desperate)
    }

    /// Whether a server that just came back is to get the request that drew this number.
    fn has_share(&self, endpoint: &Endpoint, now: Duration, draw: Key) -> bool {
        let share = endpoint.health.share(now, &self.rules);
        share >= 1.0 || draw.fraction() <= share
    }

    fn among(
        &self,
        table: &Table,
        ask: &Ask<'_>,
        accepts: impl Fn(&Endpoint, Key) -> bool,
    ) -> Option<usize> {
        match self.kind {
            Balance::ConsistentHash => by_key(table, ask.key, accepts),
            Balance::LeastConnections => {
                let ticket = self.tickets.fetch_add(1, Relaxed);
                by_load(table, ticket, |endpoint| {
                    accepts(endpoint, random(ticket).with(endpoint.key))
                })
            }
            Balance::Random => self.by_turn(table, |ticket| random(ticket).0, accepts),
            Balance::RoundRobin => self.by_turn(table, |ticket| ticket, accepts),
        }
    }

    /// Takes tickets until one is that of a server that is accepted: leaving a server out keeps the
    /// proportions of the others.
    fn by_turn(
        &self,
        table: &Table,
        turn: impl Fn(u64) -> u64,
        accepts: impl Fn(&Endpoint, Key) -> bool,
    ) -> Option<usize> {
        let turns = u64::try_from(table.turns.len())
            .ok()
            .filter(|turns| *turns > 0)?;
        for _ in 0..2 * table.endpoints.len() {
            let ticket = self.tickets.fetch_add(1, Relaxed);
            let place = usize::from(
                *table
                    .turns
                    .get(usize::try_from(turn(ticket) % turns).ok()?)?,
            );
            let endpoint = table.endpoints.get(place)?;
            if accepts(endpoint, random(!ticket)) {
                return Some(place);
            }
        }
        // Its turns are too rare to wait for one.
        let start = usize::try_from(self.tickets.load(Relaxed)).unwrap_or_default();
        rotated(table, start).find(|place| accepts(&table.endpoints[*place], Key(0)))
    }
}

/// Places of all servers, starting anywhere.
fn rotated(table: &Table, start: usize) -> impl Iterator<Item = usize> {
    let count = table.endpoints.len();
    (0..count).map(move |step| start.wrapping_add(step) % count)
}

/// Whether a server may have one more request.
fn is_free(endpoint: &Endpoint) -> bool {
    endpoint.max_connections == 0 || endpoint.health.in_flight() < endpoint.max_connections
}

/// The place of the server that a cookie names.
fn place_of_cookie(table: &Table, cookie: &str) -> Option<usize> {
    let names = |endpoint: &Endpoint| endpoint.cookie.as_deref() == Some(cookie);
    table.endpoints.iter().position(|endpoint| names(endpoint))
}

fn by_key(table: &Table, key: Key, accepts: impl Fn(&Endpoint, Key) -> bool) -> Option<usize> {
    let mut best = None;
    for (place, endpoint) in table.endpoints.iter().enumerate() {
        let drawn = endpoint.key.with(key);
        // Above 0 always: the logarithm of a fraction is not.
        let score = endpoint.weight / -drawn.fraction().ln();
        // Which keys a server gets while it is coming back does not depend on whether it wins them.
        let better = best.is_none_or(|(_, highest)| score > highest);
        if better && accepts(endpoint, drawn.with(Key(1))) {
            best = Some((place, score));
        }
    }
    best.map(|(place, _)| place)
}

fn by_load(table: &Table, ticket: u64, accepts: impl Fn(&Endpoint) -> bool) -> Option<usize> {
    let mut best = None;
    // Starting elsewhere each time spreads requests over servers that are equally idle.
    for place in rotated(table, random(ticket).0 as usize) {
        let endpoint = &table.endpoints[place];
        let load = (f64::from(endpoint.health.in_flight()) + 1.0) / endpoint.weight;
        if best.is_none_or(|(_, least)| load < least) && accepts(endpoint) {
            best = Some((place, load));
        }
    }
    best.map(|(place, _)| place)
}

#[cfg(test)]
mod tests;
