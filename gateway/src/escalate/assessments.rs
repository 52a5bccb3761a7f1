//! The assessments of cases, for people who ask and for requests that wait.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    future::Future,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thornwall_decisions::decision::{Action, ReasonCode};
use thornwall_filters::escalation::CaseId;
use tokio::sync::oneshot;

/// Most requests that wait for one case, and for all; further ones do not wait.
const MOST_WAITING: (usize, usize) = (64, 4_096);

/// What a sidecar says of a case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Assessment {
    /// 0 (a person) to 1 (a bot).
    pub score: f32,
    /// What the sidecar has done about it.
    pub consequence: Consequence,
    /// The step of the sidecar that weighed most.
    pub reason: ReasonCode,
    /// Whether the sidecar still asks others, and sends another assessment later.
    pub pending: bool,
}

/// What a sidecar has done about a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub(crate) enum Consequence {
    /// An action against its requests.
    Act(Action),
    /// People are notified.
    Alert,
    /// Nothing.
    None,
}

impl Consequence {
    /// How many there are.
    pub(crate) const COUNT: usize = 2 + Action::COUNT;

    /// Every consequence.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let actions = Action::ALL.into_iter().map(Self::Act);
        [Self::None, Self::Alert].into_iter().chain(actions)
    }

    /// Index of its counter, below [`Self::COUNT`].
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::None => 0,
            Self::Alert => 1,
            Self::Act(action) => 2 + action as usize,
        }
    }

    /// How it is written.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Act(action) => action.name(),
            Self::Alert => "alert",
            Self::None => "none",
        }
    }

    /// What happens to requests, where something does.
    pub(crate) const fn action(self) -> Option<Action> {
        match self {
            Self::Act(action) => Some(action),
            Self::Alert | Self::None => None,
        }
    }
}

impl From<Consequence> for &'static str {
    fn from(consequence: Consequence) -> Self {
        consequence.name()
    }
}

impl TryFrom<String> for Consequence {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let found = Self::all().find(|known| known.name() == text);
        found.ok_or("no consequence of an assessment")
    }
}

impl Assessment {
    /// What happens to requests, where something does.
    pub(crate) const fn action(&self) -> Option<Action> {
        self.consequence.action()
    }
}

/// The last assessments, and the requests that wait for others.
#[derive(Debug)]
pub(crate) struct Assessments {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    assessments: HashMap<CaseId, Assessment>,
    /// Cases in the order in which they were first assessed.
    order: VecDeque<CaseId>,
    waiting: HashMap<CaseId, Vec<oneshot::Sender<Assessment>>>,
    waiters: usize,
}

impl Assessments {
    /// An empty table for the assessments of at most this many cases.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            kept: Mutex::default(),
        }
    }

    /// Keeps the assessment of a case, and answers the requests that wait for it. A pending
    /// assessment never replaces a final one, and wakes no waiter.
    pub(crate) fn keep(&self, case: CaseId, assessment: Assessment) {
        let mut kept = self.kept.lock();
        if assessment.pending {
            kept.note(self.most, case, assessment);
            return;
        }
        for waiter in kept.waiting.remove(&case).into_iter().flatten() {
            kept.waiters = kept.waiters.saturating_sub(1);
            // Who has gone needs no answer.
            let _ = waiter.send(assessment.clone());
        }
        kept.note(self.most, case, assessment);
    }

    /// The assessment of a case, where it is still known.
    pub(crate) fn find(&self, case: CaseId) -> Option<Assessment> {
        self.kept.lock().assessments.get(&case).cloned()
    }

    /// Waits for the final assessment of a case; `None` where too many wait. A request that stops
    /// waiting makes room for another.
    pub(super) fn wait(
        &self,
        case: CaseId,
    ) -> Option<impl Future<Output = Option<Assessment>> + '_> {
        let (sender, receiver) = oneshot::channel();
        let mut kept = self.kept.lock();
        let waiters = kept.waiting.get(&case).map_or(0, Vec::len);
        if waiters >= MOST_WAITING.0 || kept.waiters >= MOST_WAITING.1 {
            return None;
        }
        kept.waiters += 1;
        kept.waiting.entry(case).or_default().push(sender);
        drop(kept);
        let waiter = Waiter {
            assessments: self,
            case,
        };
        Some(async move {
            let assessment = receiver.await.ok();
            drop(waiter);
            assessment
        })
    }

    /// Ends every wait without an assessment.
    pub(super) fn dismiss(&self) {
        let mut kept = self.kept.lock();
        kept.waiting.clear();
        kept.waiters = 0;
    }
}

impl Kept {
    fn note(&mut self, most: usize, case: CaseId, assessment: Assessment) {
        match self.assessments.entry(case) {
            Entry::Occupied(known) if assessment.pending && !known.get().pending => return,
            Entry::Occupied(mut known) => {
                known.insert(assessment);
                return;
            }
            Entry::Vacant(free) => free.insert(assessment),
        };
        self.order.push_back(case);
        if self.order.len() > most
            && let Some(oldest) = self.order.pop_front()
        {
            self.assessments.remove(&oldest);
        }
    }
}

/// A request that waits, or has just stopped.
struct Waiter<'a> {
    assessments: &'a Assessments,
    case: CaseId,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut kept = self.assessments.kept.lock();
        let Some(waiting) = kept.waiting.get_mut(&self.case) else {
            return;
        };
        let before = waiting.len();
        // The receiver of the request itself may still be there, if only for this moment; the
        // next one clears it away.
        waiting.retain(|waiter| !waiter.is_closed());
        let gone = before - waiting.len();
        if waiting.is_empty() {
            kept.waiting.remove(&self.case);
        }
        kept.waiters = kept.waiters.saturating_sub(gone);
    }
}

#[cfg(test)]
mod tests;
