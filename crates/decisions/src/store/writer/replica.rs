//! The side of the store that goes along with a shared one.
//!
//! All gateways read the same stream of changes in the same order and make the same of it, their own
//! changes included, so that they end up with the same entries. Two rules stand above the order:
//! an operator's decision stands against all but another operator's, and a change that was not sent to
//! the shared store yet stands against what is older.

use std::collections::HashSet;

use super::{File, Writer};
use crate::{
    clock::Moment,
    decision::{Change, Decision, DecisionKey},
    decisions::{Origin, Row},
    prefix_set::Prefix,
    store::{ChangeOrigin, Missing, Position, Unsent, WriteOutcome},
};

/// Two copies of one entry end at the same time but for the drift of clocks.
const SAME_END_MS: u64 = 1_000;

/// What is known of the shared store.
#[derive(Default)]
pub(super) struct Replica {
    position: Option<Position>,
    is_saved: bool,
    /// During a resync, which entries the shared store has, as hashes: a million are 16 MiB.
    seen: Option<HashSet<u64>>,
    hasher: foldhash::fast::RandomState,
}

impl Replica {
    pub(super) fn begin(&mut self) {
        self.seen = Some(HashSet::new());
    }

    pub(super) fn note(&mut self, position: Position) {
        self.position = Some(position);
        self.is_saved = false;
    }

    pub(super) fn position(&self) -> Option<Position> {
        self.position.clone()
    }

    /// Takes up what is on the disk, where nothing later is known.
    pub(super) fn resume(&mut self, stored: Option<Position>) {
        if self.position.is_none() {
            self.position = stored;
            self.is_saved = true;
        }
    }

    /// The position, where the disk has another one.
    pub(super) fn unsaved(&self) -> Option<&Position> {
        self.position.as_ref().filter(|_| !self.is_saved)
    }

    pub(super) const fn saved(&mut self) {
        self.is_saved = true;
    }

    fn hash(&self, row: (Prefix, u16)) -> u64 {
        std::hash::BuildHasher::hash_one(&self.hasher, row)
    }

    fn mark(&mut self, row: (Prefix, u16)) {
        let hash = self.hash(row);
        if let Some(seen) = &mut self.seen {
            seen.insert(hash);
        }
    }
}

impl Writer {
    /// What becomes of a change of the shared store, where that shows before it is made.
    pub(super) fn known(
        &mut self,
        change: &Change,
        key: &DecisionKey,
        site: u16,
        before: Option<Row>,
        now: Moment,
    ) -> Option<WriteOutcome> {
        self.replica.mark((key.subject, site));
        if self.unsent.contains_key(key) {
            let own = self.decided(key, now);
            // What has ended meanwhile stands against nothing.
            if !own.is_some_and(|own| before.is_none() || yields(&own, change)) {
                return Some(WriteOutcome::Superseded);
            }
            self.unsent.remove(key);
        }
        let (Change::Decide(decision), Some(row)) = (change, before) else {
            return None;
        };
        let until = now.own_time_of(decision.until_ms);
        let same = row.action == decision.action
            && row.origin == Origin::from(&decision.source)
            && row.until.abs_diff(until) <= SAME_END_MS;
        same.then_some(WriteOutcome::Made)
    }

    /// Sends an entry again that stood against a change of the shared store.
    pub(super) fn insist(&mut self, key: &DecisionKey, from: ChangeOrigin) {
        if self.shared && from == ChangeOrigin::Shared && !self.unsent.contains_key(key) {
            self.number += 1;
            self.unsent.insert(key.clone(), self.number);
        }
    }

    /// Settles entries that the shared store does not have; returns how many.
    pub(super) fn end_resync(&mut self, missing: Missing) -> usize {
        let Some(seen) = self.replica.seen.take() else {
            return 0;
        };
        let now = self.clock.now();
        let unseen = |row: &Row| !seen.contains(&self.replica.hash((row.subject, row.site)));
        let rows: Vec<Row> = self.table.rows(now.own_ms).filter(unseen).collect();
        let mut settled = 0;
        for row in rows {
            let Some(scope) = self.shown.sites().scope(row.site) else {
                continue;
            };
            let subject = row.subject;
            let key = DecisionKey { subject, scope };
            if self.unsent.contains_key(&key) {
                continue;
            }
            settled += 1;
            match missing {
                Missing::Remove => {
                    self.table.remove(row.subject, row.site);
                    self.note(key, None, false, ChangeOrigin::Snapshot);
                }
                Missing::Resend => self.insist(&key, ChangeOrigin::Shared),
            }
        }
        self.table.show();
        self.save();
        settled
    }

    /// At most `most` changes that were not sent to the shared store yet.
    pub(super) fn unsent(&self, most: usize) -> Vec<Unsent> {
        if matches!(self.file, File::HandedOver(_)) {
            // The process that has the file also sends what is left beside it.
            return Vec::new();
        }
        let now = self.clock.now();
        let unsent = self.unsent.iter().take(most);
        unsent
            .map(|(key, number)| Unsent {
                key: key.clone(),
                number: *number,
                decision: self.decided(key, now),
            })
            .collect()
    }

    /// What is decided now, also where no file has it.
    fn decided(&self, key: &DecisionKey, now: Moment) -> Option<Decision> {
        if let Some(whole) = self.whole(key) {
            return Some(whole);
        }
        let site = self.shown.sites().of(&key.scope)?;
        // One that has ended is none that was taken away.
        let row = self.table.get(key.subject, site, 0)?;
        Some(self.summary(key.clone(), &row, now))
    }

    pub(super) fn sent(&mut self, keys: &[(DecisionKey, u64)]) {
        if keys.is_empty() {
            return;
        }
        for (key, number) in keys {
            if self.unsent.get(key) == Some(number) {
                self.unsent.remove(key);
            }
        }
        if let File::Open(_, disk) = &self.file
            && let Err(error) = disk.sent(keys)
        {
            self.fail(&error);
        }
    }

    /// Brings the position alone to the disk: it is of no use before the changes that led there.
    pub(super) fn save_position(&mut self) {
        if !self.waiting.is_empty() {
            return;
        }
        if let (File::Open(_, disk), Some(position)) = (&self.file, self.replica.unsaved()) {
            match disk.commit(std::iter::empty(), Some(position)) {
                Ok(()) => self.replica.saved(),
                Err(error) => self.fail(&error),
            }
        }
    }
}

/// Whether an unsent entry of our own gives way to a change of the shared store.
fn yields(own: &Decision, change: &Change) -> bool {
    let (ours, theirs) = (&own.source, change.source());
    if ours.stands_against(theirs) {
        return false;
    }
    theirs.stands_against(ours) || change.made_ms() > own.made_ms
}
