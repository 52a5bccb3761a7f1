//! Verdicts that were paid for, and questions that are under way: nothing is asked twice.

use std::{collections::HashMap, num::NonZeroUsize, sync::Arc};

use lru::LruCache;
use parking_lot::Mutex;

use super::prompt::Key;

/// Verdicts that are kept; of more, the one that was not used for longest goes. 8 MiB.
const MOST: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
/// For how long a question that no model could answer is not asked again: an attacker who makes models
/// stumble must not be paid for anew with each request.
const FAILURE_MS: u64 = 300_000;

/// Outcome of a question.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known<T> {
    /// The answer; `None` where no model gave one.
    pub(super) answer: Option<T>,
    until_ms: u64,
}

/// Answers by question.
pub(super) struct AnswerCache<T> {
    known: Mutex<LruCache<Key, Known<T>>>,
    asked: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
}

impl<T: Clone> Default for AnswerCache<T> {
    fn default() -> Self {
        Self {
            known: Mutex::new(LruCache::new(MOST)),
            asked: Mutex::default(),
        }
    }
}

impl<T: Clone> AnswerCache<T> {
    /// What is known of a question.
    pub(super) fn recall(&self, key: &Key, now_ms: u64) -> Option<Known<T>> {
        let known = self.known.lock().get(key).cloned();
        known.filter(|known| now_ms < known.until_ms)
    }

    /// Notes an answer, or that there is none.
    pub(super) fn keep(&self, key: Key, answer: Option<T>, now_ms: u64, remember_ms: u64) {
        let lasts = if answer.is_some() {
            remember_ms
        } else {
            FAILURE_MS
        };
        let known = Known {
            answer,
            until_ms: now_ms + lasts,
        };
        self.known.lock().put(key, known);
    }

    /// Forgets an answer that proved wrong.
    pub(super) fn forget(&self, key: &Key) {
        self.known.lock().pop(key);
    }

    /// Lets one task ask at a time: the second one finds the answer that the first got.
    pub(super) async fn permit(&self, key: Key) -> Permit<'_, T> {
        let lock = Arc::clone(self.asked.lock().entry(key).or_default());
        let mut permit = Permit {
            cache: self,
            key,
            lock,
            held: None,
        };
        // A task that is cancelled while it waits gives its permit back as well.
        permit.held = Some(Arc::clone(&permit.lock).lock_owned().await);
        permit
    }
}

/// The right to ask a question.
pub(super) struct Permit<'a, T> {
    cache: &'a AnswerCache<T>,
    key: Key,
    lock: Arc<tokio::sync::Mutex<()>>,
    held: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl<T> Drop for Permit<'_, T> {
    /// The map and this permit hold the lock: more means that another task has it, or waits.
    fn drop(&mut self) {
        let mut asked = self.cache.asked.lock();
        self.held = None;
        if Arc::strong_count(&self.lock) <= 2 {
            asked.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = [1; 32];

    #[test]
    fn answers_hold_for_their_time_and_failures_shorter() {
        let cache = AnswerCache::default();
        cache.keep(KEY, Some(7), 0, 1_000_000);
        assert_eq!(cache.recall(&KEY, 999_999).unwrap().answer, Some(7));
        assert!(cache.recall(&KEY, 1_000_000).is_none());
        cache.keep(KEY, None, 0, 1_000_000);
        assert_eq!(cache.recall(&KEY, FAILURE_MS - 1).unwrap().answer, None);
        assert!(cache.recall(&KEY, FAILURE_MS).is_none());
    }

    #[tokio::test]
    async fn one_asks_at_a_time_and_nothing_stays() {
        let cache = Arc::new(AnswerCache::<u32>::default());
        let first = cache.permit(KEY).await;
        let second = tokio::spawn({
            let cache = Arc::clone(&cache);
            async move {
                let _permit = cache.permit(KEY).await;
                cache.recall(&KEY, 0).and_then(|known| known.answer)
            }
        });
        while Arc::strong_count(&first.lock) < 4 {
            tokio::task::yield_now().await;
        }
        cache.keep(KEY, Some(7), 0, 1_000);
        drop(first);
        assert_eq!(second.await.unwrap(), Some(7));
        assert!(cache.asked.lock().is_empty());
    }
}
