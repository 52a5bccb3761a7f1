//! The thread that owns the store.

mod file;
mod read;
mod replica;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use self::{file::File, replica::Replica};
use super::{
    ChangeOrigin, Done, Listed, Options, Order, Receipt, StoreMetrics, Watcher, WriteOutcome,
};
use crate::{
    clock::{Clock, Moment},
    decision::{Action, Change, Decision, DecisionKey, Source},
    decisions::{Decisions, Origin, Row, Table},
    prefix_set::Prefix,
};

/// Pause between looks at what is due.
const TICK: Duration = Duration::from_millis(100);
/// Changes are gathered for this long, so that one write to the disk serves many.
const GATHER_MS: u64 = 10;
/// Changes of one write.
const MOST_PER_WRITE: usize = 4096;
/// Time between two clearings of what has ended.
const CLEAR_EVERY_MS: u64 = 60_000;
/// Pause before a file that could not be written is tried again.
const RETRY_AFTER_MS: u64 = 2_000;
/// Time between two looks for what the process before left late.
const LATE_EVERY_MS: u64 = 500;

pub(super) struct Writer {
    table: Table,
    shown: Arc<Decisions>,
    metrics: StoreMetrics,
    clock: Arc<dyn Clock>,
    shared: bool,
    coarse_only: bool,
    file: File,
    /// What the disk does not have yet.
    waiting: HashMap<DecisionKey, Waiting>,
    /// Changes that were not sent to the shared store yet, with their numbers.
    unsent: HashMap<DecisionKey, u64>,
    replica: Replica,
    listed: HashMap<Source, List>,
    watcher: Option<Watcher>,
    number: u64,
    left: u64,
    /// When, on the gateway's clock, each thing is due again.
    due: Due,
}

#[derive(Default)]
struct Waiting {
    decision: Option<Decision>,
    /// Whether the disk has nothing under this key that could still hold.
    fresh: bool,
}

/// What one source lists, in order.
struct List {
    subjects: Vec<Prefix>,
    /// When it ends, on the gateway's clock.
    until: u64,
}

#[derive(Default)]
struct Due {
    clear: u64,
    retry: u64,
    late: u64,
}

impl Writer {
    pub(super) fn new(
        decisions: Arc<Decisions>,
        metrics: StoreMetrics,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Self {
        Self {
            table: Table::new(Arc::clone(&decisions), options.capacity),
            shown: decisions,
            metrics,
            clock,
            shared: options.shared,
            coarse_only: options.coarse_only,
            file: File::None,
            waiting: HashMap::new(),
            unsent: HashMap::new(),
            replica: Replica::default(),
            listed: HashMap::new(),
            watcher: None,
            number: 0,
            left: 0,
            due: Due::default(),
        }
    }

    /// Handles orders until one of them is to stop, or no handle to the store is left.
    pub(super) fn run(mut self, inbox: &Receiver<Order>) {
        loop {
            let first = match inbox.recv_timeout(TICK) {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut goes_on = true;
            if let Some(first) = first {
                goes_on = self.obey(first, inbox);
            }
            self.tend();
            if !goes_on {
                break;
            }
        }
        self.save();
        self.save_position();
    }

    /// Does what was asked for, with other changes that come at the same time; whether to go on.
    fn obey(&mut self, first: Order, inbox: &Receiver<Order>) -> bool {
        let began = self.clock.now().own_ms;
        let mut next = Some(first);
        let mut receipts: Vec<(Done<Receipt>, Vec<WriteOutcome>)> = Vec::new();
        let mut changed = 0;
        let other = loop {
            match next.take() {
                Some(Order::Write {
                    changes,
                    from,
                    done,
                }) => {
                    changed += changes.len();
                    let now = self.clock.now();
                    let apply = |change| self.apply(change, from, now);
                    let outcomes = changes.into_iter().map(apply).collect();
                    receipts.extend(done.map(|done| (done, outcomes)));
                }
                Some(other) => break Some(other),
                None => break None,
            }
            let gathered = self.clock.now().own_ms.saturating_sub(began);
            if changed >= MOST_PER_WRITE || gathered >= GATHER_MS {
                break None;
            }
            next = inbox
                .recv_timeout(Duration::from_millis(GATHER_MS - gathered))
                .ok();
        };
        if changed > 0 {
            self.table.show();
            self.save();
            let durable = matches!(self.file, File::Open(..)) && self.waiting.is_empty();
            for (done, outcomes) in receipts {
                done(Receipt { outcomes, durable });
            }
        }
        other.is_none_or(|order| self.answer(order))
    }

    /// Does what is not a change; whether to go on.
    fn answer(&mut self, order: Order) -> bool {
        match order {
            Order::BeginResync { done } => {
                self.replica.begin();
                done(());
            }
            Order::Close { done } => {
                self.hand_over();
                done(());
            }
            Order::EndResync { missing, done } => done(self.end_resync(missing)),
            Order::List { source, listed } => self.list(source, listed),
            Order::Note { position } => self.replica.note(position),
            Order::Open { path, done } => done(self.open(path)),
            Order::Position { done } => done(self.replica.position()),
            Order::Prolong { source, until_ms } => self.prolong(&source, until_ms),
            Order::Read { query, done } => done(self.page(&query)),
            Order::Sent { keys } => self.sent(&keys),
            Order::Stop => return false,
            Order::Unsent { most, done } => done(self.unsent(most)),
            Order::Watch { watcher } => self.watcher = Some(watcher),
            // `obey` takes these.
            Order::Write { .. } => {}
        }
        true
    }

    /// Applies one change to the table, and notes what the disk and the shared store need.
    fn apply(&mut self, change: Change, from: ChangeOrigin, now: Moment) -> WriteOutcome {
        let key = change.key();
        let Some(site) = self.shown.sites().of(&key.scope) else {
            return WriteOutcome::Superseded;
        };
        let before = self.table.get(key.subject, site, now.own_ms);
        if from != ChangeOrigin::Here
            && let Some(known) = self.known(&change, &key, site, before, now)
        {
            return known;
        }
        let stands =
            |row: &Row| row.origin == Origin::Operator && *change.source() != Source::Operator;
        if from != ChangeOrigin::Snapshot && before.as_ref().is_some_and(stands) {
            self.insist(&key, from);
            return WriteOutcome::Superseded;
        }
        // A sidecar withdraws decisions of sidecars, and of no other source.
        let others = |row: &Row| row.origin != Origin::Sidecar;
        let takes_back = matches!(&change, Change::Withdraw(by) if by.source == Source::Sidecar);
        if takes_back && before.as_ref().is_some_and(others) {
            return WriteOutcome::Superseded;
        }
        match change {
            Change::Decide(decision) => {
                self.decide(decision.bounded(), key, site, before, from, now)
            }
            Change::Withdraw(_) if before.is_none() => WriteOutcome::Absent,
            Change::Withdraw(_) => {
                self.table.remove(key.subject, site);
                self.metrics.withdrawn.inc();
                self.note(key, None, false, from);
                WriteOutcome::Withdrawn
            }
        }
    }

    fn decide(
        &mut self,
        decision: Decision,
        key: DecisionKey,
        site: u16,
        before: Option<Row>,
        from: ChangeOrigin,
        now: Moment,
    ) -> WriteOutcome {
        let until = now.own_time_of(decision.until_ms);
        if until <= now.own_ms {
            return WriteOutcome::Ended;
        }
        if self.shown.is_spared(key.subject) {
            self.metrics.refused.inc();
            return WriteOutcome::Spared;
        }
        // Of what filters decide the harsher counts, and of equals what holds for longer.
        let harsher = |row: Row| (row.action, row.until) >= (decision.action, until);
        let stands = |row: Row| harsher(row) && !replaces(&decision, &row);
        if from == ChangeOrigin::Here && before.is_some_and(stands) {
            return WriteOutcome::Superseded;
        }
        self.table.put(Row {
            subject: key.subject,
            site,
            action: decision.action,
            origin: Origin::from(&decision.source),
            until,
        });
        self.metrics.made.inc();
        let is_known =
            before.is_some_and(|row| row.until == until && row.action == decision.action);
        if let (Some(watcher), false) = (&self.watcher, is_known) {
            watcher(&decision);
        }
        self.note(key, Some(decision), before.is_none(), from);
        WriteOutcome::Made
    }

    /// Notes what the disk, and the shared store, do not know yet. `is_new` is what took the place of
    /// nothing.
    fn note(
        &mut self,
        key: DecisionKey,
        decision: Option<Decision>,
        is_new: bool,
        from: ChangeOrigin,
    ) {
        if self.hides(&key) {
            if decision.is_some() {
                self.metrics.unsaved.inc();
            }
            return;
        }
        let known = self.unsent.contains_key(&key);
        if self.shared && from == ChangeOrigin::Here {
            self.number += 1;
            self.unsent.insert(key.clone(), self.number);
        }
        if !matches!(self.file, File::None) {
            let waited = self.waiting.get(&key);
            let fresh = waited.map_or(is_new && !known, |waited| waited.fresh);
            self.waiting.insert(key, Waiting { decision, fresh });
        }
    }

    /// Whether nothing but memory may know of this.
    fn hides(&self, key: &DecisionKey) -> bool {
        self.coarse_only && !key.subject.is_coarse()
    }

    /// What is due from time to time.
    fn tend(&mut self) {
        let now = self.clock.now();
        if self.table.is_full() || now.own_ms >= self.due.clear {
            self.due.clear = now.own_ms + CLEAR_EVERY_MS;
            self.clear(now);
        }
        let failing = self.metrics.disk_failing.get() != 0;
        if failing && now.own_ms >= self.due.retry {
            self.reopen(now);
            self.save();
        }
        if matches!(self.file, File::Open(..)) && now.own_ms >= self.due.late {
            self.due.late = now.own_ms + LATE_EVERY_MS;
            self.take_up_late();
        }
        self.metrics.waiting.set(gauge(self.waiting.len()));
        self.metrics.unsent.set(gauge(self.unsent.len()));
    }

    /// Clears away what has ended or finds no room.
    fn clear(&mut self, now: Moment) {
        let left_out = self.table.merge(now.own_ms);
        let count = |rows: &[Row]| rows.len() as u64;
        self.metrics.ended.inc_by(count(&left_out.ended));
        self.metrics.evicted.inc_by(count(&left_out.evicted));
        let mut settled = Vec::new();
        for row in left_out.ended.iter().chain(&left_out.evicted) {
            let Some(scope) = self.shown.sites().scope(row.site) else {
                continue;
            };
            let key = DecisionKey {
                subject: row.subject,
                scope,
            };
            if let Some(number) = self.unsent.get(&key).copied() {
                // The copies of other gateways end by themselves.
                settled.push((key.clone(), number));
            }
            if self.waiting.get(&key).is_some_and(|waiting| waiting.fresh) {
                // However long the disk fails, no more waits for it than there is.
                self.waiting.remove(&key);
            } else if !matches!(self.file, File::None) && !self.hides(&key) {
                self.waiting.insert(key, Waiting::default());
            }
        }
        self.sent(&settled);
        self.save();
        self.save_position();
    }

    fn list(&mut self, source: Source, listed: Listed) {
        let mut subjects = listed.subjects;
        subjects.sort_unstable_by_key(order);
        if subjects.is_empty() {
            self.listed.remove(&source);
        } else {
            let until = self.clock.now().own_time_of(listed.until_ms);
            self.listed.insert(source, List { subjects, until });
        }
        self.show_listed();
    }

    fn prolong(&mut self, source: &Source, until_ms: u64) {
        let until = self.clock.now().own_time_of(until_ms);
        if let Some(list) = self.listed.get_mut(source) {
            list.until = until;
            self.show_listed();
        }
    }

    fn show_listed(&mut self) {
        let rows = self.listed.iter().flat_map(|(source, list)| {
            list.subjects.iter().map(move |subject| Row {
                subject: *subject,
                site: crate::decisions::EVERY_SITE,
                action: Action::Deny,
                origin: Origin::from(source),
                until: list.until,
            })
        });
        self.table.list(rows.collect());
    }
}

/// Whether a decision takes the place of a harsher entry, and of one that ends no sooner: an operator's does, and a
/// sidecar's where it changes what a sidecar decided.
fn replaces(decision: &Decision, row: &Row) -> bool {
    match decision.source {
        Source::Operator => true,
        Source::Sidecar => row.origin == Origin::Sidecar && row.action != decision.action,
        Source::Feed(_) | Source::Filter(_) | Source::Predecessor => false,
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The order of networks in a list.
fn order(subject: &Prefix) -> (std::net::IpAddr, u8) {
    (subject.first(), subject.length())
}

#[cfg(test)]
mod tests;
