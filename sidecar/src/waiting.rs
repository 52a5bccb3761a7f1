//! Cases that wait for steps that ask others: the worst first, as many as fit.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
};

use lru::LruCache;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};
use tokio::sync::Notify;

use crate::{
    case::{Case, CaseId},
    config, wire,
};

/// Bytes that waiting cases take together, at most; ten thousand common ones take half of it.
const MOST_BYTES: usize = 48 << 20;

/// Cases whose growth is known; of more, whichever was quiet for longest goes. 6 MiB.
const MOST_KNOWN: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// Counters of the queue.
#[derive(Debug, Clone)]
pub struct WaitingMetrics {
    pub waiting: IntGauge,
    /// Cases that gave way to others.
    pub shed: IntCounter,
    /// Cases that waited for too long.
    pub expired: IntCounter,
}

/// The queue of cases.
#[derive(Debug)]
pub(crate) struct Waiting {
    held: Mutex<Held>,
    news: Notify,
    limits: config::Queue,
    metrics: WaitingMetrics,
}

/// The worst case is the last; of cases alike the one that came first.
type Rank = (u32, Reverse<u64>);

#[derive(Debug, Default)]
struct Held {
    cases: BTreeMap<Rank, Entry>,
    ranks: HashMap<CaseId, Rank>,
    bytes: usize,
    arrivals: u64,
}

/// A case as it came over the wire: a quarter of what it takes otherwise.
#[derive(Debug)]
struct Entry {
    id: CaseId,
    since_ms: u64,
    case: Box<[u8]>,
}

impl Waiting {
    pub(crate) fn new(limits: config::Queue, metrics: WaitingMetrics) -> Self {
        Self {
            held: Mutex::default(),
            news: Notify::new(),
            limits,
            metrics,
        }
    }

    /// Lets a case wait, which takes the place of what was known of it.
    pub(crate) fn offer(&self, case: Case, score: f32, now_ms: u64) {
        let id = case.id;
        let encoded = wire::encode_case(case);
        let mut held = self.held.lock();
        let before = held.remove(id);
        held.arrivals += 1;
        let entry = Entry {
            id,
            since_ms: before.map_or(now_ms, |before| before.since_ms),
            case: encoded,
        };
        let arrival = held.arrivals;
        // Scores are not negative, so that their bits have their order.
        held.insert((score.to_bits(), Reverse(arrival)), entry);
        while held.cases.len() > self.limits.max_cases || held.bytes > MOST_BYTES {
            held.pop(BTreeMap::pop_first);
            self.metrics.shed.inc();
        }
        self.show(&held);
        drop(held);
        self.news.notify_one();
    }

    /// The worst case that has not waited for too long, as soon as there is one.
    pub(crate) async fn next(&self, now_ms: impl Fn() -> u64) -> Case {
        loop {
            if let Some(case) = self.take(now_ms()) {
                return case;
            }
            self.news.notified().await;
        }
    }

    fn take(&self, now_ms: u64) -> Option<Case> {
        let mut held = self.held.lock();
        let patience_ms = u64::from(self.limits.patience_secs) * 1000;
        loop {
            let entry = held.pop(BTreeMap::pop_last)?;
            self.show(&held);
            if now_ms.saturating_sub(entry.since_ms) > patience_ms {
                self.metrics.expired.inc();
                continue;
            }
            // What was encoded here can be decoded here.
            if let Some(case) = wire::decode_case(&entry.case) {
                return Some(case);
            }
        }
    }

    fn show(&self, held: &Held) {
        let count = i64::try_from(held.cases.len()).unwrap_or(i64::MAX);
        self.metrics.waiting.set(count);
    }
}

/// How far the last cases have grown: what is found about an earlier state of one comes too late.
#[derive(Debug)]
pub(crate) struct Newest(Mutex<LruCache<CaseId, u32>>);

impl Default for Newest {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOST_KNOWN)))
    }
}

impl Newest {
    /// Notes how far a case has grown.
    pub(crate) fn note(&self, case: &Case) {
        let mut known = self.0.lock();
        let requests = known.get(&case.id).copied().unwrap_or(0);
        known.put(case.id, requests.max(case.requests));
    }

    /// Whether no later state of a case is known.
    pub(crate) fn is(&self, case: &Case) -> bool {
        let requests = self.0.lock().get(&case.id).copied();
        requests.is_none_or(|requests| case.requests >= requests)
    }
}

impl Held {
    fn insert(&mut self, rank: Rank, entry: Entry) {
        self.bytes += entry.case.len();
        self.ranks.insert(entry.id, rank);
        self.cases.insert(rank, entry);
    }

    fn remove(&mut self, id: CaseId) -> Option<Entry> {
        let rank = self.ranks.remove(&id)?;
        let entry = self.cases.remove(&rank)?;
        self.bytes -= entry.case.len();
        Some(entry)
    }

    fn pop(
        &mut self,
        pop: impl FnOnce(&mut BTreeMap<Rank, Entry>) -> Option<(Rank, Entry)>,
    ) -> Option<Entry> {
        let (_, entry) = pop(&mut self.cases)?;
        self.ranks.remove(&entry.id);
        self.bytes -= entry.case.len();
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use thornwall_proto::v1;

    use super::*;

    fn queue(max_cases: usize) -> Waiting {
        let limits = config::Queue {
            max_cases,
            patience_secs: 10,
            ..config::Queue::default()
        };
        let metrics = WaitingMetrics {
            waiting: IntGauge::new("waiting", "x").unwrap(),
            shed: IntCounter::new("shed", "x").unwrap(),
            expired: IntCounter::new("expired", "x").unwrap(),
        };
        Waiting::new(limits, metrics)
    }

    fn case(number: u128) -> Case {
        let sent = v1::Case {
            id: CaseId(number).to_string(),
            site: "shop".to_owned(),
            subject: "192.0.2.7".to_owned(),
            requests: 1,
            ..v1::Case::default()
        };
        Case::try_from(sent).unwrap()
    }

    fn taken(queue: &Waiting, now_ms: u64) -> Vec<u128> {
        let next = || queue.take(now_ms).map(|case| case.id.0);
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn the_worst_is_first_and_the_least_gives_way() {
        let queue = queue(3);
        for (number, score) in [(1, 0.5), (2, 0.7), (3, 0.5), (4, 0.6)] {
            queue.offer(case(number), score, 0);
        }
        assert_eq!(taken(&queue, 0), [2, 4, 1]);
        assert_eq!(queue.metrics.shed.get(), 1);
        assert_eq!(queue.metrics.waiting.get(), 0);
        assert_eq!(queue.held.lock().bytes, 0);
    }

    #[test]
    fn a_case_that_grows_waits_once() {
        let queue = queue(3);
        queue.offer(case(1), 0.5, 0);
        queue.offer(case(2), 0.6, 0);
        queue.offer(case(1), 0.7, 9_000);
        assert_eq!(taken(&queue, 9_000), [1, 2]);
    }

    #[test]
    fn who_waited_for_too_long_is_not_asked_about() {
        let queue = queue(3);
        queue.offer(case(1), 0.5, 0);
        // That it grew does not make it younger.
        queue.offer(case(1), 0.6, 9_000);
        queue.offer(case(2), 0.5, 9_000);
        assert_eq!(taken(&queue, 10_001), [2]);
        assert_eq!(queue.metrics.expired.get(), 1);
    }
}
