//! What is learnt about the servers of an upstream. It is kept by the upstream's name, so that a
//! reload forgets nothing.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

use super::{budget::Budget, hash::Key, queue::Queue, standing::Standing};

/// Most addresses of one name that are used.
const MOST_ADDRESSES: usize = 64;

/// The part of an upstream that outlives a generation.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Further tries.
    pub budget: Budget,
    /// Requests that wait for a server.
    pub queue: Queue,
    /// Looked at when tables are built, never on the way of a request.
    standings: Mutex<HashMap<Key, Arc<Standing>>>,
    answers: Mutex<HashMap<Arc<str>, Arc<[SocketAddr]>>>,
    lookups_failed: AtomicU64,
    all_out: AtomicU64,
}

impl Shared {
    /// How the server of this key stands.
    pub(super) fn standing(&self, key: Key) -> Arc<Standing> {
        Arc::clone(self.standings.lock().entry(key).or_default())
    }

    /// Forgets servers that are no more.
    pub(super) fn keep_standings(&self, keys: &HashSet<Key>) {
        self.standings.lock().retain(|key, _| keys.contains(key));
    }

    /// What the name of a server stood for when it was last looked up.
    pub(super) fn answer(&self, server: &str) -> Option<Arc<[SocketAddr]>> {
        self.answers.lock().get(server).cloned()
    }

    /// Takes over what a name stands for; whether that is news.
    pub(super) fn learn(&self, server: &Arc<str>, mut addresses: Vec<SocketAddr>) -> bool {
        // Name servers turn the order of their answers.
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MOST_ADDRESSES);
        let addresses: Arc<[SocketAddr]> = addresses.into();
        let mut answers = self.answers.lock();
        let before = answers.insert(Arc::clone(server), Arc::clone(&addresses));
        before.as_deref() != Some(&*addresses)
    }

    /// Forgets names that no server has any more.
    pub(super) fn keep_answers(&self, servers: &HashSet<&str>) {
        self.answers
            .lock()
            .retain(|server, _| servers.contains(&**server));
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
