//! The gateway's own connections to its listeners, by which it finds out whether they are served.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The gateway's own connections, on their way to the accept loops.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    on_their_way: Mutex<HashMap<SocketAddr, Arc<Notify>>>,
    any: AtomicBool,
}

impl Arrivals {
    /// Whether this connection is one of the gateway's own, which has done its work by being
    /// accepted: it is to be closed, and neither counted nor limited. For every accept loop, before
    /// anything is read; once the check is over it costs one load.
    pub(crate) fn is_own(&self, peer: SocketAddr) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let arrived = self.on_their_way.lock().remove(&peer);
        if let Some(arrived) = &arrived {
            arrived.notify_one();
        }
        arrived.is_some()
    }

    pub(crate) fn expect(&self, from: SocketAddr, arrived: &Arc<Notify>) {
        let mut on_their_way = self.on_their_way.lock();
        on_their_way.insert(from, Arc::clone(arrived));
        self.any.store(true, Ordering::Release);
    }

    pub(crate) fn finish(&self) {
        self.any.store(false, Ordering::Release);
        self.on_their_way.lock().clear();
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.on_their_way.lock().is_empty()
    }
}
