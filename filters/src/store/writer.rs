//! The thread that owns the store.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use super::{
    Done, From, Listed, Loaded, Options, Order, Outcome, Page, Query, Receipt, StoreStats, Unsent,
    disk::{Disk, DiskError, Opened, Write},
    late,
};
use crate::{
    clock::{Clock, Moment},
    decision::{Action, Change, Decision, Key, ReasonCode, Source},
    decisions::{Decisions, Origin, Row, Table},
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
    stats: Arc<StoreStats>,
    clock: Arc<dyn Clock>,
    shared: bool,
    file: File,
    /// What the disk does not have yet.
    waiting: HashMap<Key, Waiting>,
    /// What the shared store was not told of yet, with the number of the change.
    unsent: HashMap<Key, u64>,
    listed: HashMap<Source, Listed>,
    number: u64,
    left: u64,
    /// When, on the gateway's clock, each thing is due again.
    due: Due,
}

/// The file of decisions.
enum File {
    /// Another process has it.
    HandedOver(PathBuf),
    /// There is none.
    None,
    /// Open.
    Open(PathBuf, Disk),
    /// It failed, and is opened again later.
    Failed(PathBuf),
}

#[derive(Default)]
struct Waiting {
    decision: Option<Decision>,
    unsent: Option<u64>,
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
        stats: Arc<StoreStats>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Self {
        Self {
            table: Table::new(Arc::clone(&decisions), options.capacity),
            shown: decisions,
            stats,
            clock,
            shared: options.shared,
            file: File::None,
            waiting: HashMap::new(),
            unsent: HashMap::new(),
            listed: HashMap::new(),
            number: 0,
            left: 0,
            due: Due::default(),
        }
    }

    /// Until it is told to stop, or nobody is left to tell it.
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
    }

    /// Does what was asked for, with other changes that come at the same time; whether to go on.
    fn obey(&mut self, first: Order, inbox: &Receiver<Order>) -> bool {
        let began = self.clock.now().own_ms;
        let mut next = Some(first);
        let mut receipts: Vec<(Done<Receipt>, Vec<Outcome>)> = Vec::new();
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
            Order::Close { done } => {
                self.hand_over();
                done(());
            }
            Order::List { source, listed } => self.list(source, listed),
            Order::Open { path, done } => done(self.open(path)),
            Order::Read { query, done } => done(self.page(&query)),
            Order::Resync { held, done } => {
                self.resync(held);
                done(());
            }
            Order::Sent { keys } => self.sent(&keys),
            Order::Stop => return false,
            Order::Unsent { most, done } => done(self.unsent(most)),
            // `obey` takes these.
            Order::Write { .. } => {}
        }
        true
    }

    /// Applies one change to the table, and notes what the disk and the shared store need.
    fn apply(&mut self, change: Change, from: From, now: Moment) -> Outcome {
        let key = change.key();
        let Some(site) = self.shown.sites().of(&key.scope) else {
            return Outcome::Superseded;
        };
        if from == From::Shared && self.unsent.contains_key(&key) {
            return Outcome::Superseded;
        }
        let before = self.table.get(key.subject, site, now.own_ms);
        let stands =
            |row: &Row| row.origin == Origin::Operator && *change.source() != Source::Operator;
        if before.as_ref().is_some_and(stands) {
            return Outcome::Superseded;
        }
        match change {
            Change::Decide(decision) => {
                self.decide(decision.bounded(), key, site, before, from, now)
            }
            Change::Withdraw(_) if before.is_none() => Outcome::Absent,
            Change::Withdraw(_) => {
                self.table.remove(key.subject, site);
                self.stats.withdrawn.fetch_add(1, Relaxed);
                self.note(key, None, from);
                Outcome::Withdrawn
            }
        }
    }

    fn decide(
        &mut self,
        decision: Decision,
        key: Key,
        site: u16,
        before: Option<Row>,
        from: From,
        now: Moment,
    ) -> Outcome {
        let until = now.own_time_of(decision.until_ms);
        if until <= now.own_ms {
            return Outcome::Ended;
        }
        if self.shown.is_spared(key.subject) {
            self.stats.refused.fetch_add(1, Relaxed);
            return Outcome::Spared;
        }
        let is_operators = decision.source == Source::Operator;
        if from == From::Here && !is_operators && before.is_some_and(|row| row.until >= until) {
            return Outcome::Superseded;
        }
        self.table.put(Row {
            subject: key.subject,
            site,
            action: decision.action,
            origin: Origin::from(&decision.source),
            until,
        });
        self.stats.made.fetch_add(1, Relaxed);
        self.note(key, Some(decision), from);
        Outcome::Made
    }

    /// Notes what the disk, and the shared store, do not know yet.
    fn note(&mut self, key: Key, decision: Option<Decision>, from: From) {
        let unsent = (self.shared && from == From::Here).then(|| {
            self.number += 1;
            self.unsent.insert(key.clone(), self.number);
            self.number
        });
        if !matches!(self.file, File::None) {
            self.waiting.insert(key, Waiting { decision, unsent });
        }
    }

    /// What is due from time to time.
    fn tend(&mut self) {
        let now = self.clock.now();
        if self.table.is_full() || now.own_ms >= self.due.clear {
            self.due.clear = now.own_ms + CLEAR_EVERY_MS;
            self.clear(now);
        }
        if matches!(self.file, File::Failed(_)) && now.own_ms >= self.due.retry {
            self.reopen(now);
            self.save();
        }
        if matches!(self.file, File::Open(..)) && now.own_ms >= self.due.late {
            self.due.late = now.own_ms + LATE_EVERY_MS;
            self.take_up_late();
        }
        self.stats.waiting.store(self.waiting.len() as u64, Relaxed);
        self.stats.unsent.store(self.unsent.len() as u64, Relaxed);
    }

    /// Clears away what has ended or finds no room.
    fn clear(&mut self, now: Moment) {
        let left_out = self.table.merge(now.own_ms);
        let count = |rows: &[Row]| rows.len() as u64;
        self.stats.ended.fetch_add(count(&left_out.ended), Relaxed);
        self.stats
            .evicted
            .fetch_add(count(&left_out.evicted), Relaxed);
        for row in left_out.ended.iter().chain(&left_out.evicted) {
            let Some(scope) = self.shown.sites().scope(row.site) else {
                continue;
            };
            let key = Key {
                subject: row.subject,
                scope,
            };
            if let Some(number) = self.unsent.get(&key).copied() {
                // Everybody else's copy ends by itself.
                self.sent(&[(key.clone(), number)]);
            }
            if !matches!(self.file, File::None) {
                self.waiting.insert(key, Waiting::default());
            }
        }
        self.save();
    }

    /// Brings everything that waits to the disk, or leaves it waiting.
    fn save(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let written = match &self.file {
            File::None | File::Failed(_) => return,
            File::HandedOver(path) => {
                let folder = late::folder(path);
                let decisions: Vec<Decision> = self
                    .waiting
                    .values()
                    .filter_map(|w| w.decision.clone())
                    .collect();
                self.left += 1;
                late::leave(&folder, self.left, &decisions).map_err(DiskError::from)
            }
            File::Open(_, disk) => disk.commit(self.waiting.iter().map(|(key, waiting)| Write {
                key,
                decision: waiting.decision.as_ref(),
                unsent: waiting.unsent,
            })),
        };
        match written {
            Ok(()) => {
                self.waiting.clear();
                self.stats.disk_failing.store(false, Relaxed);
            }
            Err(error) => self.fail(&error),
        }
    }

    /// A file that failed once has to be opened again.
    fn fail(&mut self, error: &DiskError) {
        self.stats.failed_writes.fetch_add(1, Relaxed);
        if !self.stats.disk_failing.swap(true, Relaxed) {
            log::error!("decisions are kept in memory alone; error={error}");
        }
        self.due.retry = self.clock.now().own_ms + RETRY_AFTER_MS;
        if let File::Open(path, _) = std::mem::replace(&mut self.file, File::None) {
            self.file = File::Failed(path);
        }
    }

    fn reopen(&mut self, now: Moment) {
        let File::Failed(path) = &self.file else {
            return;
        };
        match Disk::open(path, now.unix_ms) {
            Ok(Opened { disk, set_aside }) => {
                if let Some(aside) = set_aside {
                    log::error!("decisions were damaged; put aside={}", aside.display());
                }
                self.file = File::Open(path.clone(), disk);
            }
            Err(error) => self.fail(&error),
        }
    }

    fn open(&mut self, path: PathBuf) -> Result<Loaded, DiskError> {
        let now = self.clock.now();
        let Opened { disk, set_aside } = Disk::open(&path, now.unix_ms)?;
        let stored = disk.load()?;
        let mut rows = Vec::with_capacity(stored.rows.len());
        for (key, essence) in stored.rows {
            let until = now.own_time_of(essence.until_ms);
            if until <= now.own_ms {
                self.waiting.insert(key, Waiting::default());
            } else if let Some(site) = self.shown.sites().of(&key.scope) {
                rows.push(Row {
                    subject: key.subject,
                    site,
                    action: essence.action,
                    origin: essence.origin,
                    until,
                });
            }
        }
        if self.shared {
            self.unsent = disk.unsent(usize::MAX)?.into_iter().collect();
            self.number = self.unsent.values().copied().max().unwrap_or_default();
        }
        let loaded = Loaded {
            decisions: rows.len(),
            broken: stored.broken,
            set_aside,
        };
        // What was decided before the file was there stays.
        let made_before: Vec<Row> = self.table.rows(now.own_ms).collect();
        self.table.load(rows);
        made_before.into_iter().for_each(|row| self.table.put(row));
        self.table.show();
        self.file = File::Open(path, disk);
        self.due.clear = now.own_ms + CLEAR_EVERY_MS;
        Ok(loaded)
    }

    fn hand_over(&mut self) {
        self.save();
        let file = std::mem::replace(&mut self.file, File::None);
        self.file = match file {
            // Dropping the database closes it.
            File::Open(path, _) | File::Failed(path) => File::HandedOver(path),
            other => other,
        };
    }

    /// Takes up what the process before decided after it had handed over the file.
    fn take_up_late(&mut self) {
        let File::Open(path, _) = &self.file else {
            return;
        };
        let (decisions, files) = late::found(&late::folder(path));
        if files.is_empty() {
            return;
        }
        let now = self.clock.now();
        for decision in decisions {
            self.apply(Change::Decide(decision), From::Here, now);
        }
        self.table.show();
        self.save();
        if self.waiting.is_empty() {
            for file in files {
                // Taken up twice, it says the same.
                let _ = fs::remove_file(file);
            }
        }
    }

    fn list(&mut self, source: Source, mut listed: Listed) {
        listed.subjects.sort_unstable_by_key(order);
        if listed.subjects.is_empty() {
            self.listed.remove(&source);
        } else {
            self.listed.insert(source, listed);
        }
        let now = self.clock.now();
        let rows = self.listed.iter().flat_map(|(source, listed)| {
            let until = now.own_time_of(listed.until_ms);
            listed.subjects.iter().map(move |subject| Row {
                subject: *subject,
                site: crate::decisions::EVERY_SITE,
                action: Action::Deny,
                origin: Origin::from(source),
                until,
            })
        });
        self.table.list(rows.collect());
    }

    fn resync(&mut self, held: Vec<Decision>) {
        let now = self.clock.now();
        let known: HashSet<Key> = held.iter().map(Decision::key).collect();
        let rows: Vec<Row> = self.table.rows(now.own_ms).collect();
        for row in rows {
            let Some(scope) = self.shown.sites().scope(row.site) else {
                continue;
            };
            let subject = row.subject;
            let key = Key { subject, scope };
            if !known.contains(&key) && !self.unsent.contains_key(&key) {
                self.table.remove(row.subject, row.site);
                self.note(key, None, From::Shared);
            }
        }
        for decision in held {
            self.apply(Change::Decide(decision), From::Shared, now);
        }
        self.table.show();
        self.save();
    }

    fn unsent(&self, most: usize) -> Vec<Unsent> {
        let unsent = self.unsent.iter().take(most);
        unsent
            .map(|(key, number)| Unsent {
                key: key.clone(),
                number: *number,
                decision: self.whole(key),
            })
            .collect()
    }

    fn sent(&mut self, keys: &[(Key, u64)]) {
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

    fn page(&self, query: &Query) -> Page {
        let now = self.clock.now();
        let site = query
            .scope
            .as_ref()
            .and_then(|scope| self.shown.sites().of(scope));
        let rows: Box<dyn Iterator<Item = Row>> = match query.covering {
            Some(address) => Box::new(self.table.around(address, now.own_ms).into_iter()),
            None => Box::new(self.table.rows(now.own_ms).chain(self.table.listed())),
        };
        let mut wanted = rows.filter(|row| query.wants(row, site)).skip(query.after);
        let rows: Vec<Row> = wanted.by_ref().take(query.most).collect();
        Page {
            next: wanted.next().map(|_| query.after + rows.len()),
            decisions: rows
                .iter()
                .filter_map(|row| self.detail(row, now))
                .collect(),
        }
    }

    /// The whole decision behind a row.
    fn detail(&self, row: &Row, now: Moment) -> Option<Decision> {
        let key = Key {
            subject: row.subject,
            scope: self.shown.sites().scope(row.site)?,
        };
        let kept = match row.origin {
            Origin::Feed | Origin::Predecessor => None,
            Origin::Filter | Origin::Operator => self.whole(&key),
        };
        Some(kept.unwrap_or_else(|| self.summary(key, row, now)))
    }

    fn whole(&self, key: &Key) -> Option<Decision> {
        if let Some(waiting) = self.waiting.get(key) {
            return waiting.decision.clone();
        }
        match &self.file {
            File::Open(_, disk) => disk.get(key),
            _ => None,
        }
    }

    /// What the memory alone knows of an entry.
    fn summary(&self, key: Key, row: &Row, now: Moment) -> Decision {
        let lists = |listed: &Listed| {
            let place = order(&row.subject);
            listed.subjects.binary_search_by_key(&place, order).is_ok()
        };
        let mut sources = self.listed.iter();
        let source =
            sources.find(|(source, listed)| Origin::from(*source) == row.origin && lists(listed));
        Decision {
            subject: key.subject,
            scope: key.scope,
            action: row.action,
            reason: ReasonCode::Foreign(format!("decision.{}", row.origin.name()).into()),
            source: source.map_or_else(|| row.origin.anonymous(), |(source, _)| source.clone()),
            evidence: String::new(),
            note: String::new(),
            requests: Vec::new(),
            made_ms: 0,
            until_ms: now.unix_time_of(row.until),
        }
    }
}

/// The order of networks in a list.
fn order(subject: &crate::prefix_set::Prefix) -> (std::net::IpAddr, u8) {
    (subject.first(), subject.length())
}
