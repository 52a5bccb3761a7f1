//! Limits that count pages. The origin's answer decides what is a page, since paths and what a client
//! accepts are claims.
//!
//! A request that asks for HTML takes its cost out of the bucket when it comes, so that a burst of
//! them at once is bounded, and has it back when the answer is something else. Any other request
//! takes nothing when it comes, so that a page's parts and what programs load pass beside an empty
//! bucket; where its answer is a page after all, that is charged then, into debt where the bucket
//! is empty. Only a bucket that owes something refuses such requests. So a client that disguises
//! what it asks for gets ahead by what it has under way at once, and pays for it later as far as debts
//! go; people whose requests are what they claim never owe anything. A throttled client is trusted
//! less: all that does not have the name of a part takes its cost when it comes.

use std::{num::NonZeroU32, time::Duration};

use http::{Method, header::ACCEPT};
use thornwall_detectors::{path, request::RequestView};

use super::Buckets;
use crate::{
    key::LimitKey,
    verdict::Limit,
    watcher::{Answer, Claim, Note},
};

/// Debts are never more than what comes back in this many times the time of a whole bucket.
const MOST_BURSTS: u32 = 4;
/// And never less than this much: there may be a thousand requests under way.
const LEAST_DEBT: Duration = Duration::from_secs(60);

/// Whether a request claims to want a page: such requests are bounded while they are under way.
pub(crate) fn asks_for_page(request: &RequestView<'_>) -> bool {
    let may = matches!(*request.method, Method::GET | Method::POST);
    let accept = request.headers.get(ACCEPT);
    // `text/html` and `application/xhtml+xml`; browsers begin with the one or the other.
    let html = |value: &[u8]| value.windows(4).any(|part| part == b"html");
    may && accept.is_some_and(|value| html(value.as_bytes()))
}

/// Whether a request may be answered with a page, whatever it claims to want.
pub(crate) fn may_be_page(request: &RequestView<'_>) -> bool {
    let may = matches!(*request.method, Method::GET | Method::POST);
    may && (path::kind(&request.path) != path::Kind::Asset || asks_for_page(request))
}

impl Buckets {
    /// Asks for what may be a page: one that is wanted as such takes its cost at once, anything
    /// else only needs a bucket without debts. Returns the note for [`Self::settle`].
    pub(crate) fn ask(
        &self,
        wanted: bool,
        key: LimitKey,
        cost: NonZeroU32,
        now: Duration,
    ) -> Result<Note, Limit> {
        let (in_use, taken) = if wanted {
            self.reserve(key, cost.get(), now)?
        } else {
            self.solvent(key, now)?;
            (0, 0)
        };
        let claim = Some(Claim { key, cost, taken });
        Ok(Note { in_use, claim })
    }

    /// Charges a page, or gives back what was taken for something else. An answer of unknown kind
    /// counts as what was asked for.
    pub(crate) fn settle(&self, note: &Note, answer: &Answer) {
        let Some(Claim { key, cost, taken }) = note.claim else {
            return;
        };
        let cost = cost.get();
        match (answer.page, taken) {
            (Some(false), 1..) => self.give_back(key, taken, note.in_use, answer),
            (Some(false) | None, 0) => {}
            (_, 1..) => self.report(key, cost),
            (Some(true), 0) => {
                let most = self.refill().saturating_mul(MOST_BURSTS).max(LEAST_DEBT);
                self.charge(key, cost, answer.now, most);
                self.report(key, cost);
            }
        }
    }

    /// Takes `cost` without a report to the other gateways; returns how many requests are missing in the
    /// bucket afterwards, and what was taken: nothing where the key has no bucket.
    fn reserve(&self, key: LimitKey, cost: u32, now: Duration) -> Result<(u32, u32), Limit> {
        let scaled = self.scaled(key);
        let gcra = scaled.as_ref().unwrap_or(&self.gcra);
        Ok(match self.take_at(gcra, (key, cost), now, false)? {
            Some((tat, cost)) => (gcra.used(tat, gcra.ticks(now)), cost),
            None => (0, 0),
        })
    }

    /// Whether the key's bucket owes nothing, or when it no longer does.
    fn solvent(&self, key: LimitKey, now: Duration) -> Result<(), Limit> {
        let mut shard = self.table.shard(key);
        let Some(slot) = shard.find(key) else {
            return Ok(());
        };
        let scaled = self.scaled(key);
        let gcra = scaled.as_ref().unwrap_or(&self.gcra);
        gcra.solvent(slot.get(), gcra.ticks(now))
    }

    /// Puts back what was taken for a request, as far as it has not come back by itself.
    fn give_back(&self, key: LimitKey, taken: u32, in_use: u32, answer: &Answer) {
        let scaled = self.scaled(key);
        let gcra = scaled.as_ref().unwrap_or(&self.gcra);
        if gcra.has_filled(in_use, answer.now.saturating_sub(answer.asked)) {
            return;
        }
        if let Some(slot) = self.table.shard(key).find(key) {
            slot.set(gcra.refund(slot.get(), taken));
        }
    }
}

#[cfg(test)]
mod tests;
