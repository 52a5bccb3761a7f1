//! Which alerts become which message and when, for one receiver. It does no I/O: time is handed in, and
//! what is to be sent is handed out.
//!
//! There is one message under way at a time. While it waits for its next try, what comes meanwhile piles up
//! and goes as one message after it. So however long a receiver is away, two messages are all that is kept.

use std::{collections::VecDeque, num::NonZeroUsize, time::Duration};

use lru::LruCache;
use serde::{Deserialize, Serialize};

use super::{
    message::{Digest, Message},
    notice::Notice,
};
use crate::{assessment::Severity, config};

/// Clients of sites whose last alerts are remembered; of more, the ones longest unseen are sent again.
const MOST_REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// The first wait before another try, and the longest, in milliseconds.
const FIRST_WAIT_MS: u64 = 2_000;
const LONGEST_WAIT_MS: u64 = 600_000;
/// Doublings beyond this reach the longest wait.
const MOST_DOUBLINGS: u32 = 16;
const HOUR_MS: u64 = 3_600_000;

/// Settings of a batcher. All times are milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Window within which the same alert is sent once.
    pub(super) dedup_ms: u64,
    /// Window over which alerts are collected into one message.
    pub(super) digest_ms: u64,
    /// Most messages that begin within an hour.
    pub(super) most_per_hour: usize,
    /// Time after which no further try is made.
    pub(super) retry_ms: u64,
}

impl From<&config::Alert> for Rules {
    fn from(alert: &config::Alert) -> Self {
        let millis = |secs: u32| u64::from(secs) * 1000;
        Self {
            dedup_ms: millis(alert.dedup_secs),
            digest_ms: millis(alert.digest_secs),
            most_per_hour: alert.most_per_hour as usize,
            retry_ms: millis(alert.retry_secs),
        }
    }
}

/// What has to survive the process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// What becomes the next message.
    #[serde(rename = "pile")]
    pub(super) digest: Digest,
    /// The message under way.
    pub(super) current: Option<Outgoing>,
    /// When the messages of the last hour began.
    pub(super) sent_ms: VecDeque<u64>,
}

/// A message that has not arrived yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Outgoing {
    pub(super) message: Message,
    /// Tries so far.
    pub(super) tries: u32,
    /// When the first one was to be made.
    pub(super) first_ms: u64,
    /// When the next one is.
    pub(super) due_ms: u64,
}

/// What becomes of a message that did not arrive.
#[derive(Debug, PartialEq)]
pub(super) enum Fate {
    /// The message is sent again.
    Again,
    /// The message is given up.
    Dead(Outgoing),
}

/// Outcome of taking an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// The alert will be sent.
    New,
    /// The alert repeats an earlier one, and is only counted.
    Repeated,
}

/// What an alert is about: site, client, severity.
type About = (String, String, Severity);

/// Collects alerts to messages, for one receiver.
#[derive(Debug)]
pub(super) struct Batcher {
    rules: Rules,
    state: State,
    sent: LruCache<About, u64>,
}

impl Batcher {
    /// A batcher with what an earlier process left. A clock that jumped back in between lets nothing wait
    /// for longer than it would have.
    pub(super) fn new(rules: Rules, mut state: State, now_ms: u64) -> Self {
        state.digest.since_ms = state.digest.since_ms.min(now_ms);
        if let Some(current) = &mut state.current {
            current.first_ms = current.first_ms.min(now_ms);
            current.due_ms = current.due_ms.min(now_ms + LONGEST_WAIT_MS);
        }
        state.sent_ms.retain(|sent| *sent <= now_ms);
        Self {
            rules,
            state,
            sent: LruCache::new(MOST_REMEMBERED),
        }
    }

    /// What has to survive.
    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn take(&mut self, notice: Notice, now_ms: u64) -> Taken {
        let details = &notice.details;
        let about = (
            details.site.clone(),
            notice.ip_address.clone(),
            details.action,
        );
        if self.sent.get(&about).is_some_and(|until| *until > now_ms) {
            self.state.digest.repeated += 1;
            return Taken::Repeated;
        }
        self.sent.put(about, now_ms + self.rules.dedup_ms);
        self.state.digest.add(notice, now_ms);
        Taken::New
    }

    /// Counts alerts that were lost on their way here.
    pub(super) const fn missed(&mut self, count: u64, now_ms: u64) {
        self.state.digest.count_more(count, now_ms);
    }

    /// When there is something to do, unless nothing waits.
    pub(super) fn due_ms(&self, now_ms: u64) -> Option<u64> {
        match &self.state.current {
            Some(current) => Some(current.due_ms),
            None if self.state.digest.is_empty() => None,
            None => {
                let gathered = self.state.digest.since_ms + self.rules.digest_ms;
                Some(gathered.max(self.free_ms(now_ms)))
            }
        }
    }

    /// When another message may begin.
    fn free_ms(&self, now_ms: u64) -> u64 {
        let sent = &self.state.sent_ms;
        let since = sent.len().checked_sub(self.rules.most_per_hour);
        since
            .and_then(|at| sent.get(at))
            .map_or(now_ms, |sent| sent + HOUR_MS)
    }

    /// Counts what the cap lets wait from now on; how many alerts that are.
    pub(super) fn hold(&mut self, now_ms: u64) -> u64 {
        let gathered = self.state.digest.since_ms + self.rules.digest_ms <= now_ms;
        if self.state.current.is_some() || !gathered || self.free_ms(now_ms) <= now_ms {
            return 0;
        }
        let more = self.state.digest.count() - self.state.digest.held;
        self.state.digest.held += more;
        more
    }

    /// The message that is to be sent now.
    pub(super) fn next(&mut self, now_ms: u64) -> Option<Message> {
        if self.due_ms(now_ms)? > now_ms {
            return None;
        }
        let sent = &mut self.state.sent_ms;
        let current = self.state.current.get_or_insert_with(|| {
            sent.retain(|sent| sent + HOUR_MS > now_ms);
            sent.push_back(now_ms);
            Outgoing {
                message: std::mem::take(&mut self.state.digest).into_message(),
                tries: 0,
                first_ms: now_ms,
                due_ms: now_ms,
            }
        });
        Some(current.message.clone())
    }

    /// The message arrived.
    pub(super) fn delivered(&mut self) {
        self.state.current = None;
    }

    /// The message did not arrive. `retry_after` is what its receiver asked for; nothing where another
    /// try is no use. `chance`, 0 to 1, spreads the tries of many senders.
    pub(super) fn failed(
        &mut self,
        retry_after: Option<Duration>,
        now_ms: u64,
        chance: f64,
    ) -> Fate {
        let Some(mut current) = self.state.current.take() else {
            return Fate::Again;
        };
        current.tries += 1;
        let Some(least) = retry_after else {
            return Fate::Dead(current);
        };
        let least_ms = u64::try_from(least.as_millis()).unwrap_or(u64::MAX);
        let wait_ms = wait_ms(current.tries, chance).max(least_ms);
        current.due_ms = now_ms.saturating_add(wait_ms);
        if current.due_ms - current.first_ms > self.rules.retry_ms {
            return Fate::Dead(current);
        }
        self.state.current = Some(current);
        Fate::Again
    }
}

/// The wait after so many tries: twice as long each time, and between half of that and all of it.
fn wait_ms(tries: u32, chance: f64) -> u64 {
    let doublings = tries.saturating_sub(1).min(MOST_DOUBLINGS);
    let most = (FIRST_WAIT_MS << doublings).min(LONGEST_WAIT_MS);
    most / 2 + (most as f64 / 2.0 * chance) as u64
}

#[cfg(test)]
mod tests;
