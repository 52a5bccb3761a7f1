//! What is learnt about the servers of an upstream. It is kept by the upstream's name, so that a
//! reload forgets nothing.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::{budget::Budget, queue::Queue, server_health::ServerHealth};
use crate::hash::Key;

/// Most addresses of one name that are used.
const MOST_ADDRESSES: usize = 64;

/// How long a server is remembered that is no more: names with many addresses show some at a time.
const MEMORY: Duration = Duration::from_secs(600);

/// Most that is remembered of what is no more, beside servers that requests are at.
const MOST_GONE: usize = 4096;

/// What the name of a server stands for.
type Addresses = Arc<[SocketAddr]>;

/// What is known of a server or a name.
#[derive(Debug, Default)]
struct Known<T> {
    what: T,
    /// Since when it is no more.
    gone_since: Option<Duration>,
}

impl<T> Known<T> {
    /// Whether what is there, or not, is to be remembered.
    fn is_kept(&mut self, is_there: bool, many: bool, now: Duration) -> bool {
        if is_there {
            self.gone_since = None;
            return true;
        }
        let since = *self.gone_since.get_or_insert(now);
        !many && now.saturating_sub(since) < MEMORY
    }
}

/// The part of an upstream that outlives a generation.
#[derive(Debug, Default)]
pub(super) struct Learned {
    pub budget: Budget,
    /// Requests that wait for a server.
    pub queue: Queue,
    /// Looked at when tables are built, never on the way of a request.
    health: Mutex<HashMap<Key, Known<Arc<ServerHealth>>>>,
    answers: Mutex<HashMap<Arc<str>, Known<Addresses>>>,
    lookups_failed: AtomicU64,
    all_out: AtomicU64,
}

impl Learned {
    /// The health of the server with this key.
    pub(super) fn health(&self, key: Key) -> Arc<ServerHealth> {
        Arc::clone(&self.health.lock().entry(key).or_default().what)
    }

    /// Forgets servers that have been no more for long.
    pub(super) fn keep_health(&self, keys: &HashSet<Key>, now: Duration) {
        let mut health = self.health.lock();
        let many = health.len() > keys.len() + MOST_GONE;
        health.retain(|key, known| {
            known.is_kept(keys.contains(key), many, now) || known.what.in_flight() > 0
        });
    }

    /// What the name of a server stood for when it was last looked up.
    pub(super) fn answer(&self, server: &str) -> Option<Addresses> {
        let answers = self.answers.lock();
        answers.get(server).map(|known| Arc::clone(&known.what))
    }

    /// Takes over what a name stands for; whether that is news.
    pub(super) fn learn(&self, server: &Arc<str>, mut addresses: Vec<SocketAddr>) -> bool {
        // Name servers turn the order of their answers.
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MOST_ADDRESSES);
        let addresses: Addresses = addresses.into();
        let mut answers = self.answers.lock();
        let known = Known {
            what: Arc::clone(&addresses),
            gone_since: None,
        };
        let before = answers.insert(Arc::clone(server), known);
        before.is_none_or(|before| before.what != addresses)
    }

    /// Forgets names that no server has had for long.
    pub(super) fn keep_answers(&self, servers: &HashSet<&str>, now: Duration) {
        let mut answers = self.answers.lock();
        let many = answers.len() > servers.len() + MOST_GONE;
        answers.retain(|server, known| known.is_kept(servers.contains(&**server), many, now));
    }

    /// Counts a name that could not be looked up.
    pub(super) fn lookup_failed(&self) {
        self.lookups_failed.fetch_add(1, Relaxed);
    }

    /// Names that could not be looked up.
    pub(super) fn lookups_failed(&self) -> u64 {
        self.lookups_failed.load(Relaxed)
    }

    /// Counts a request that went to a server that is out, since all were.
    pub(super) fn all_were_out(&self) {
        self.all_out.fetch_add(1, Relaxed);
    }

    /// Requests that went to a server that is out, since all were.
    pub(super) fn all_out(&self) -> u64 {
        self.all_out.load(Relaxed)
    }
}
