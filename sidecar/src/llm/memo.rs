//! Verdicts that were paid for, and questions that are under way: nothing is asked twice.

use std::{collections::HashMap, num::NonZeroUsize, sync::Arc};

use lru::LruCache;
use parking_lot::Mutex;

use super::prompt::Key;

/// Verdicts that are kept; of more, the one that served nobody for longest goes. 8 MiB.
const MOST: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
/// For how long a question that nobody could answer is not asked again: an attacker who makes models
/// stumble must not be paid for anew with each request.
const FAILURE_MS: u64 = 300_000;

/// What came of a question.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known<T> {
    /// The answer; nothing where nobody gave one.
    pub(super) answer: Option<T>,
    until_ms: u64,
}

/// Answers by question.
pub(super) struct Memo<T> {
    known: Mutex<LruCache<Key, Known<T>>>,
    asked: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
}

impl<T: Clone> Default for Memo<T> {
    fn default() -> Self {
        Self {
            known: Mutex::new(LruCache::new(MOST)),
            asked: Mutex::default(),
        }
    }
}

impl<T: Clone> Memo<T> {
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

    /// Lets one ask at a time: whoever comes second finds what the first was told.
    pub(super) async fn turn(&self, key: Key) -> Turn<'_, T> {
        let lock = Arc::clone(self.asked.lock().entry(key).or_default());
        let mut turn = Turn {
            memo: self,
            key,
            lock,
            held: None,
        };
        // Whoever leaves while it waits leaves its place as well.
        turn.held = Some(Arc::clone(&turn.lock).lock_owned().await);
        turn
    }
}

/// The right to ask a question.
pub(super) struct Turn<'a, T> {
    memo: &'a Memo<T>,
    key: Key,
    lock: Arc<tokio::sync::Mutex<()>>,
    held: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl<T> Drop for Turn<'_, T> {
    /// The map and this turn hold the lock: more means that somebody has it, or waits.
    fn drop(&mut self) {
        let mut asked = self.memo.asked.lock();
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
        let memo = Memo::default();
        memo.keep(KEY, Some(7), 0, 1_000_000);
        assert_eq!(memo.recall(&KEY, 999_999).unwrap().answer, Some(7));
        assert!(memo.recall(&KEY, 1_000_000).is_none());
        memo.keep(KEY, None, 0, 1_000_000);
        assert_eq!(memo.recall(&KEY, FAILURE_MS - 1).unwrap().answer, None);
        assert!(memo.recall(&KEY, FAILURE_MS).is_none());
    }

    #[tokio::test]
    async fn one_asks_at_a_time_and_nothing_stays() {
        let memo = Arc::new(Memo::<u32>::default());
        let first = memo.turn(KEY).await;
        let second = tokio::spawn({
            let memo = Arc::clone(&memo);
            async move {
                let _turn = memo.turn(KEY).await;
                memo.recall(&KEY, 0).and_then(|known| known.answer)
            }
        });
        while Arc::strong_count(&first.lock) < 4 {
            tokio::task::yield_now().await;
        }
        memo.keep(KEY, Some(7), 0, 1_000);
        drop(first);
        assert_eq!(second.await.unwrap(), Some(7));
        assert!(memo.asked.lock().is_empty());
    }
}
