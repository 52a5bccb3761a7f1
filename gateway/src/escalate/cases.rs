//! The table of cases, and the queue of those that are to be sent to the sidecar.
//!
//! A case waits to be sent, rests since it was sent just now, or is settled. Where the table is full,
//! settled ones give way first, the longest sent before others; then resting ones; and of those that
//! wait, the one of the lowest value is shed and counted.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use thornwall_filters::escalation::{CaseId, CaseSeed, Interest, Question, Sighting};
use thornwall_proto::v1;
use tokio::sync::Notify;

use super::case::{Case, CaseState, Rank, rank};
use crate::request_id::RequestId;

/// Most cases that a table may be made for: with their bounds they take less than 64 MiB.
pub(crate) const MOST_CASES: usize = 10_000;
/// A case without a request for so long has ended.
const IDLE_MS: u64 = 600_000;
/// Longest name of a site that a message can have.
const LONGEST_SITE: usize = 64;

/// What clients did, as far as filters found it dubious.
#[derive(Debug)]
pub(crate) struct Cases {
    seed: CaseSeed,
    most: usize,
    table: Mutex<Table>,
    /// Notifies the connection's task that the queue has changed.
    pub(super) due: Notify,
    sent: AtomicU64,
    shed: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    cases: HashMap<CaseId, Case>,
    waiting: BTreeSet<(Rank, CaseId)>,
    resting: BTreeSet<(u64, CaseId)>,
    settled: BTreeSet<(u64, CaseId)>,
    /// Cases whose client walked into the trap, which the sidecar does not know yet.
    trapped: VecDeque<CaseId>,
}

impl Cases {
    /// An empty table for at most so many cases.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            seed: CaseSeed::default(),
            most: most.clamp(1, MOST_CASES),
            table: Mutex::default(),
            due: Notify::new(),
            sent: AtomicU64::new(0),
            shed: AtomicU64::new(0),
        }
    }

    /// Counts a request, and says whether its facts are wanted. A case that is not known begins with
    /// them.
    pub(crate) fn sight(&self, sighting: &Sighting) -> Interest {
        let id = self.seed.case(sighting);
        let now_ms = millis(sighting.now);
        let mut table = self.table.lock();
        let Some(case) = table.cases.get_mut(&id) else {
            let facts = table.cases.len() < self.most || table.yields(rank(sighting.score, 1));
            drop(table);
            self.shed.fetch_add(u64::from(!facts), Relaxed);
            return Interest { case: id, facts };
        };
        case.count(sighting.score, now_ms);
        let facts = case.wants_facts();
        if table.arrange(id, now_ms) {
            self.due.notify_one();
        }
        Interest { case: id, facts }
    }

    /// Takes up the facts of a request, which came at `unix_ms`.
    pub(crate) fn submit(&self, question: Question, request: RequestId, unix_ms: u64) {
        let (id, sighting) = (question.case, question.sighting);
        let now_ms = millis(sighting.now);
        let mut table = self.table.lock();
        if let Some(case) = table.cases.get_mut(&id) {
            case.learn(question, request, now_ms);
            return;
        }
        if table.cases.len() >= self.most && !table.make_room(rank(sighting.score, 1), &self.shed) {
            self.shed.fetch_add(1, Relaxed);
            return;
        }
        let case = Case::new(question, request, now_ms, unix_ms);
        table.insert(id, case);
        drop(table);
        self.due.notify_one();
    }

    /// The message about the case that is worth most, of those that are to be sent. `name` gives the
    /// names of sites.
    pub(crate) fn next(
        &self,
        now_ms: u64,
        name: impl Fn(u16) -> Option<Arc<str>>,
    ) -> Option<v1::Case> {
        let mut table = self.table.lock();
        table.wake(now_ms);
        while let Some((_, id)) = table.waiting.pop_last() {
            let Some(case) = table.cases.get_mut(&id) else {
                continue;
            };
            let site = name(case.site()).filter(|site| site.len() <= LONGEST_SITE);
            let Some(site) = site else {
                // A site that is gone, or that no message can name, has no cases.
                table.cases.remove(&id);
                self.shed.fetch_add(1, Relaxed);
                continue;
            };
            case.send(now_ms);
            case.state = CaseState::Settled(now_ms);
            let message = case.message(id, &site);
            table.settled.insert((now_ms, id));
            self.sent.fetch_add(1, Relaxed);
            return Some(message);
        }
        None
    }

    /// Notes that a client followed a link that only the tarpit has. What was sent to the sidecar
    /// of it was about a bot.
    pub(crate) fn trap(&self, sighting: &Sighting) {
        let id = self.seed.case(sighting);
        let mut table = self.table.lock();
        // Each case comes here once, so that there are no more of them than cases, but for those
        // that have ended.
        let is_news = table.cases.get_mut(&id).is_some_and(Case::trap);
        if is_news && table.trapped.len() < self.most {
            table.trapped.push_back(id);
            drop(table);
            self.due.notify_one();
        }
    }

    /// A case whose client turned out to be a bot.
    pub(crate) fn next_trapped(&self) -> Option<CaseId> {
        self.table.lock().trapped.pop_front()
    }

    /// How long nothing is to be sent, unless the task is notified.
    pub(crate) fn nap(&self, now_ms: u64) -> Duration {
        let first = self.table.lock().resting.first().map(|(ready, _)| *ready);
        let nap = first.map_or(IDLE_MS, |ready| ready.saturating_sub(now_ms));
        Duration::from_millis(nap)
    }

    /// Notes that a case was assessed; whether it is known.
    pub(crate) fn answered(&self, id: CaseId) -> bool {
        let mut table = self.table.lock();
        let case = table.cases.get_mut(&id);
        case.map(Case::answer).is_some()
    }

    /// Whether an assessment of this case is still to come.
    pub(crate) fn is_open(&self, id: CaseId) -> bool {
        let table = self.table.lock();
        table.cases.get(&id).is_some_and(|case| !case.is_assessed)
    }

    /// Puts what was sent, and came to nothing, into the queue again.
    pub(crate) fn send_again(&self) {
        let mut table = self.table.lock();
        let lost = |(id, case): (&CaseId, &mut Case)| case.forget_sending().then_some(*id);
        let lost: Vec<CaseId> = table.cases.iter_mut().filter_map(lost).collect();
        for id in lost {
            table.arrange(id, 0);
        }
    }

    /// Ends cases that are idle.
    pub(crate) fn sweep(&self, now_ms: u64) {
        let mut table = self.table.lock();
        let idle = |case: &Case| case.last_ms + IDLE_MS < now_ms;
        let ended = table.cases.iter().filter(|(_, case)| idle(case));
        let ended: Vec<CaseId> = ended.map(|(id, _)| *id).collect();
        for id in ended {
            if let Some(CaseState::Waiting(_)) = table.remove(id) {
                self.shed.fetch_add(1, Relaxed);
            }
        }
    }

    /// Cases that are kept now.
    pub(crate) fn len(&self) -> usize {
        self.table.lock().cases.len()
    }

    /// Messages sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Cases that found no room, or that ended before they were sent.
    pub(crate) fn shed(&self) -> u64 {
        self.shed.load(Relaxed)
    }
}

impl Table {
    fn insert(&mut self, id: CaseId, case: Case) {
        self.enter(case.state, id);
        self.cases.insert(id, case);
    }

    /// Takes a case away; where it was.
    fn remove(&mut self, id: CaseId) -> Option<CaseState> {
        let state = self.cases.remove(&id)?.state;
        self.leave(state, id);
        Some(state)
    }

    /// Puts a case where it belongs. Whether there is something new to send, now or soon.
    fn arrange(&mut self, id: CaseId, now_ms: u64) -> bool {
        let Some(case) = self.cases.get_mut(&id) else {
            return false;
        };
        let (before, after) = (case.state, case.state_at(now_ms));
        if before == after {
            return false;
        }
        case.state = after;
        self.leave(before, id);
        self.enter(after, id);
        !matches!(before, CaseState::Waiting(_))
    }

    fn enter(&mut self, state: CaseState, id: CaseId) {
        match state {
            CaseState::Resting(ready) => self.resting.insert((ready, id)),
            CaseState::Settled(sent) => self.settled.insert((sent, id)),
            CaseState::Waiting(rank) => self.waiting.insert((rank, id)),
        };
    }

    fn leave(&mut self, state: CaseState, id: CaseId) {
        match state {
            CaseState::Resting(ready) => self.resting.remove(&(ready, id)),
            CaseState::Settled(sent) => self.settled.remove(&(sent, id)),
            CaseState::Waiting(rank) => self.waiting.remove(&(rank, id)),
        };
    }

    /// Has cases wait that have rested enough.
    fn wake(&mut self, now_ms: u64) {
        while let Some((ready, id)) = self.resting.first().copied()
            && ready <= now_ms
        {
            self.arrange(id, now_ms);
            // Whatever became of it, it rests no more.
            self.resting.remove(&(ready, id));
        }
    }

    /// Whether some case gives way to a new one of this value.
    fn yields(&self, newcomer: Rank) -> bool {
        let lowest = self.waiting.first().map(|(rank, _)| *rank);
        !self.settled.is_empty()
            || !self.resting.is_empty()
            || lowest.is_some_and(|lowest| lowest < newcomer)
    }

    /// Takes the case away that gives way to a new one of this value; whether there is one.
    fn make_room(&mut self, newcomer: Rank, shed: &AtomicU64) -> bool {
        if !self.yields(newcomer) {
            return false;
        }
        let sent = self.settled.first().or_else(|| self.resting.first());
        let victim = match sent {
            Some((_, id)) => Some(*id),
            None => {
                shed.fetch_add(1, Relaxed);
                self.waiting.first().map(|(_, id)| *id)
            }
        };
        victim.and_then(|id| self.remove(id)).is_some()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
