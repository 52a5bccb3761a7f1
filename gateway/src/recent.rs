//! A bounded ring of recent requests: what `thornwall explain` looks into.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;

use crate::{record::Ended, request_id::RequestId};

/// The last requests, oldest overwritten first.
pub(crate) struct Recent {
    slots: Box<[Mutex<Option<Arc<Ended>>>]>,
    next: AtomicUsize,
}

impl Recent {
    /// A ring of `capacity` requests.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            slots: (0..capacity.max(1)).map(|_| Mutex::default()).collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// Keeps an ended request in place of the oldest.
    pub(crate) fn push(&self, request: Arc<Ended>) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        *self.slots[at].lock() = Some(request);
    }

    /// A request by its id, or by the one that a trusted proxy gave it, if it is
    /// still there.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Ended>> {
        let own = RequestId::parse(id);
        let own = own.and_then(|own| self.find_by(|request| request.id == own));
        own.or_else(|| self.find_by(|request| request.proxy_id() == Some(id)))
    }

    fn find_by(&self, is_it: impl Fn(&Ended) -> bool) -> Option<Arc<Ended>> {
        self.slots.iter().find_map(|slot| {
            let slot = slot.lock();
            slot.as_ref().filter(|request| is_it(request)).cloned()
        })
    }

    /// Requests that it holds now.
    pub(crate) fn held(&self) -> usize {
        self.next.load(Ordering::Relaxed).min(self.slots.len())
    }
}
