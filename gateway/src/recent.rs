//! A bounded ring of recent decisions: what `thornwall explain` looks into.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;

use crate::{record::Decision, request_id::RequestId};

/// The last decisions, oldest overwritten first.
pub struct Recent {
    slots: Box<[Mutex<Option<Arc<Decision>>>]>,
    next: AtomicUsize,
}

impl Recent {
    /// A ring of `capacity` decisions.
    pub fn new(capacity: usize) -> Self {
        Self {
            slots: (0..capacity.max(1)).map(|_| Mutex::default()).collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// Keeps a decision in place of the oldest.
    pub fn push(&self, decision: Arc<Decision>) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        *self.slots[at].lock() = Some(decision);
    }

    /// The decision about a request by its id, or by the one that a trusted proxy gave it, if it is
    /// still there.
    pub fn find(&self, id: &str) -> Option<Arc<Decision>> {
        let own = RequestId::parse(id);
        let own = own.and_then(|own| self.find_by(|decision| decision.id == own));
        own.or_else(|| self.find_by(|decision| decision.proxy_id() == Some(id)))
    }

    fn find_by(&self, is_it: impl Fn(&Decision) -> bool) -> Option<Arc<Decision>> {
        self.slots.iter().find_map(|slot| {
            let slot = slot.lock();
            slot.as_ref().filter(|decision| is_it(decision)).cloned()
        })
    }

    /// Decisions that it holds now.
    pub fn held(&self) -> usize {
        self.next.load(Ordering::Relaxed).min(self.slots.len())
    }
}
