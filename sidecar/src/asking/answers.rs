//! Answers that are kept, and questions that are on their way.

use std::{hash::Hash, num::NonZeroUsize, sync::Arc};

use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::{
    assess::{Finding, StepError},
    config::Limits,
};

/// Kept answers, as many as fit; of more, those that were not used for longest go.
pub(super) struct Answers<K> {
    held: Mutex<LruCache<K, Arc<OnceCell<Kept>>>>,
    keep_ms: u64,
    keep_failures_ms: u64,
}

/// Outcome of a question.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) found: Result<Finding, StepError>,
    until_ms: u64,
}

impl<K: Hash + Eq> Answers<K> {
    pub(super) fn new(limits: &Limits) -> Self {
        let most = NonZeroUsize::new(limits.max_cached).unwrap_or(NonZeroUsize::MIN);
        Self {
            held: Mutex::new(LruCache::new(most)),
            keep_ms: u64::from(limits.keep_secs) * 1000,
            keep_failures_ms: u64::from(limits.keep_failures_secs) * 1000,
        }
    }

    pub(super) fn recall(&self, key: &K, now_ms: u64) -> Option<Finding> {
        let mut held = self.held.lock();
        let kept = held.get(key)?.get()?;
        let found = kept.found.as_ref().ok()?;
        (now_ms < kept.until_ms).then(|| found.clone())
    }

    /// The place of an answer: one that is kept, one that is awaited, or a new one.
    pub(super) fn cell(&self, key: K, now_ms: u64) -> Arc<OnceCell<Kept>> {
        let mut held = self.held.lock();
        let known = held.get(&key);
        let known = known.filter(|cell| cell.get().is_none_or(|kept| now_ms < kept.until_ms));
        if let Some(cell) = known {
            return Arc::clone(cell);
        }
        let cell = Arc::new(OnceCell::new());
        held.put(key, Arc::clone(&cell));
        cell
    }

    pub(super) fn kept(&self, found: Result<Finding, StepError>, now_ms: u64) -> Kept {
        let keep_ms = if found.is_ok() {
            self.keep_ms
        } else {
            self.keep_failures_ms
        };
        Kept {
            found,
            until_ms: now_ms + keep_ms,
        }
    }
}
