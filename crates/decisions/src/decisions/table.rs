//! The one writer of the table: what is new goes into a small layer, which now and then is merged
//! into the base.
//!
//! A new small layer is made for each batch of changes, so its size bounds what a batch costs; the
//! base is made anew once in [`MOST_RECENT`] changes. Both are sorted merges, without hashing.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    iter::Peekable,
    net::IpAddr,
    sync::Arc,
};

use super::{
    Decisions, Layers, Origin, Row,
    layer::{Layer, RowKey, key},
};
use crate::prefix_set::Prefix;

/// Changes that are kept apart from the base.
const MOST_RECENT: usize = 16_384;

/// The writing side of [`Decisions`].
pub struct Table {
    shown: Arc<Decisions>,
    layers: Layers,
    recent: BTreeMap<RowKey, Row>,
    /// Rows of the base that ones in `recent` take the place of, once those are shown.
    replaced: Vec<(Prefix, u16)>,
    capacity: usize,
}

/// Rows that a merge left out.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    /// Their time was over.
    pub(crate) ended: Vec<Row>,
    /// There was no room for them.
    pub(crate) evicted: Vec<Row>,
}

impl Table {
    /// The writer of `shown`, with these rows in the order of their keys.
    pub fn new(shown: Arc<Decisions>, capacity: usize) -> Self {
        Self {
            shown,
            layers: Layers::default(),
            recent: BTreeMap::new(),
            replaced: Vec::new(),
            capacity,
        }
    }

    /// Replaces everything but what feeds list.
    pub(crate) fn load(&mut self, mut rows: Vec<Row>) {
        rows.sort_unstable_by_key(Row::key);
        rows.dedup_by_key(|row| row.key());
        self.layers.base = Arc::new(Layer::new(&rows));
        self.recent.clear();
        self.replaced.clear();
        self.show();
    }

    /// The row of exactly this network and site that holds at `now`.
    pub(crate) fn get(&self, subject: Prefix, site: u16, now: u64) -> Option<Row> {
        let key = key(subject, site);
        let row = match self.recent.get(&key) {
            Some(row) => Some(*row),
            None => self.layers.base.get(subject, site),
        };
        row.filter(|row| row.until > now)
    }

    /// Puts a row in, in the place of another of the same key. Shown by the next [`Self::show`].
    pub fn put(&mut self, row: Row) {
        self.replaced.push((row.subject, row.site));
        self.recent.insert(row.key(), row);
    }

    /// Takes a row out. Shown by the next [`Self::show`].
    pub(crate) fn remove(&mut self, subject: Prefix, site: u16) {
        // At once, so that it is not taken for one that holds by what comes in the same batch.
        self.layers.base.end(subject, site, 0);
        self.recent.remove(&key(subject, site));
    }

    /// Shows requests what was put in and taken out.
    pub fn show(&mut self) {
        self.layers.recent = layer(self.recent.values());
        self.shown.publish(self.layers.clone());
        // Only now, so that at no moment neither the old row nor the new one is there.
        for (subject, site) in self.replaced.drain(..) {
            self.layers.base.end(subject, site, 0);
        }
        self.shown.changed();
    }

    /// Whether a merge is due.
    pub(crate) fn is_full(&self) -> bool {
        self.recent.len() >= MOST_RECENT
    }

    /// Makes a new base of everything that holds at `now` and for which there is room.
    pub(crate) fn merge(&mut self, now: u64) -> LeftOut {
        self.show();
        let mut left_out = LeftOut::default();
        let mut rows = Vec::with_capacity(self.layers.base.len() + self.recent.len());
        let recent = std::mem::take(&mut self.recent).into_values();
        for row in merged(self.layers.base.rows(), recent) {
            match row.until {
                // Withdrawn, which was counted then.
                0 => {}
                until if until <= now => left_out.ended.push(row),
                _ => rows.push(row),
            }
        }
        if rows.len() > self.capacity {
            left_out.evicted = evict(&mut rows, self.capacity);
        }
        self.layers.base = Arc::new(Layer::new(&rows));
        self.show();
        left_out
    }

    /// Replaces what feeds list.
    pub(crate) fn list(&mut self, mut rows: Vec<Row>) {
        // Who is on several lists stays until the last of them ends.
        rows.sort_unstable_by_key(|row| (row.key(), Reverse(row.until)));
        rows.dedup_by_key(|row| row.key());
        self.layers.listed = Arc::new(Layer::new(&rows));
        self.show();
    }

    /// All rows that hold at `now`, in the order of their keys from `after` on.
    pub(crate) fn rows(&self, now: u64) -> impl Iterator<Item = Row> {
        let recent = self.recent.values().copied();
        merged(self.layers.base.rows(), recent).filter(move |row| row.until > now)
    }

    /// Rows of feeds that hold at `now`.
    pub(crate) fn listed(&self, now: u64) -> impl Iterator<Item = Row> {
        let rows = self.layers.listed.rows();
        rows.filter(move |row| row.until > now)
    }

    /// Every row around `address`, those of feeds included.
    pub(crate) fn around(&self, address: IpAddr, now: u64) -> Vec<Row> {
        let mut rows = self.layers.recent.around(address);
        rows.extend(self.layers.base.around(address));
        rows.extend(self.layers.listed.around(address));
        rows.retain(|row| row.until > now);
        rows
    }
}

fn layer<'a>(rows: impl Iterator<Item = &'a Row>) -> Arc<Layer> {
    let rows: Vec<Row> = rows.copied().collect();
    Arc::new(Layer::new(&rows))
}

/// Two sorted runs as one. Where both have a key, the second one's row counts.
fn merged(
    old: impl Iterator<Item = Row>,
    new: impl Iterator<Item = Row>,
) -> impl Iterator<Item = Row> {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    std::iter::from_fn(move || take_first(&mut old, &mut new))
}

fn take_first(
    old: &mut Peekable<impl Iterator<Item = Row>>,
    new: &mut Peekable<impl Iterator<Item = Row>>,
) -> Option<Row> {
    match (old.peek(), new.peek()) {
        (Some(one), Some(other)) if one.key() < other.key() => old.next(),
        (Some(one), Some(other)) if one.key() == other.key() => {
            old.next();
            new.next()
        }
        (Some(_), None) => old.next(),
        _ => new.next(),
    }
}

/// Takes rows out until `capacity` are left: of the sites that hold the most, those that would end
/// first. What operators decided goes last.
fn evict(rows: &mut Vec<Row>, capacity: usize) -> Vec<Row> {
    let mut held: HashMap<u16, usize> = HashMap::new();
    for row in rows.iter() {
        *held.entry(row.site).or_default() += 1;
    }
    let share = fair_share(held.values().copied().collect(), capacity);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_unstable_by_key(|&at| (rows[at].origin == Origin::Operator, rows[at].until));
    let mut goes = vec![false; rows.len()];
    let mut excess = rows.len().saturating_sub(capacity);
    for at in order {
        let held = held.entry(rows[at].site).or_default();
        if excess == 0 {
            break;
        }
        if *held > share {
            *held -= 1;
            excess -= 1;
            goes[at] = true;
        }
    }
    let mut evicted = Vec::new();
    let mut at = 0;
    rows.retain(|row| {
        let stays = !goes[at];
        at += 1;
        if !stays {
            evicted.push(*row);
        }
        stays
    });
    evicted
}

/// The most that each may keep, so that all together keep at most `capacity` (max-min fairness).
fn fair_share(mut held: Vec<usize>, capacity: usize) -> usize {
    held.sort_unstable();
    let mut left = capacity;
    let sharers = held.len();
    for (at, count) in held.into_iter().enumerate() {
        let share = left / (sharers - at);
        if count > share {
            return share;
        }
        left -= count;
    }
    capacity
}
