//! The decisions that hold now, as requests see them.
//!
//! One table for all sites, in layers that never change: the base, the little that came since, and
//! what feeds list. A lookup loads one pointer and searches each layer; the most specific entry
//! that holds for the site counts. One thread, the store's, makes new layers and swaps them in.
//!
//! No client on the never-block list is found, whatever the layers hold.

mod denied;
mod layer;
mod table;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::RwLock;

pub use self::denied::Denied;
use self::layer::Layer;
pub use self::{layer::Row, table::Table};
use crate::{
    decision::{Action, Scope, Source},
    prefix_set::{Prefix, PrefixSet},
};

/// The number of no site: an entry that holds for all of them.
pub const EVERY_SITE: u16 = u16::MAX;

/// Kind of source that made an entry: as much as requests need.
///
/// The numbers are on disks: one that was given stays, whatever is added and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// A feed.
    Feed = 0,
    /// A filter.
    Filter = 1,
    /// An operator.
    Operator = 2,
    /// The system that is being replaced.
    Predecessor = 3,
    /// A sidecar.
    Sidecar = 4,
}

impl Origin {
    pub(crate) const ALL: [Self; 5] = [
        Self::Feed,
        Self::Filter,
        Self::Operator,
        Self::Predecessor,
        Self::Sidecar,
    ];

    /// The number in records on the disk.
    pub(crate) const fn number(self) -> u8 {
        self as u8
    }

    /// The origin of a number in a record; `None` where another version wrote it.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.number() == number)
    }

    /// How it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Filter => "filter",
            Self::Operator => "operator",
            Self::Predecessor => "predecessor",
            Self::Sidecar => "sidecar",
        }
    }
}

impl Origin {
    /// The source of an entry of which the name is not known any more.
    pub(crate) fn anonymous(self) -> Source {
        match self {
            Self::Feed => Source::Feed("unknown".into()),
            Self::Filter => Source::Filter("unknown".into()),
            Self::Operator => Source::Operator,
            Self::Predecessor => Source::Predecessor,
            Self::Sidecar => Source::Sidecar,
        }
    }
}

impl From<&Source> for Origin {
    fn from(source: &Source) -> Self {
        match source {
            Source::Feed(_) => Self::Feed,
            Source::Filter(_) => Self::Filter,
            Source::Operator => Self::Operator,
            Source::Predecessor => Self::Predecessor,
            Source::Sidecar => Self::Sidecar,
        }
    }
}

/// The entry that counts for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The network that covers the client.
    pub subject: Prefix,
    /// What happens to the client's requests.
    pub action: Action,
    /// Source of the entry.
    pub origin: Origin,
}

/// What holds now. Shared by everything that judges, and by the one thread that changes it.
#[derive(Debug, Default)]
pub struct Decisions {
    layers: ArcSwap<Layers>,
    never: ArcSwap<PrefixSet>,
    sites: Sites,
    spared: AtomicU64,
    changes: AtomicU64,
}

#[derive(Debug, Default, Clone)]
struct Layers {
    /// Most of what was decided.
    base: Arc<Layer>,
    /// What was decided since the base was made.
    recent: Arc<Layer>,
    /// Networks that feeds list.
    listed: Arc<Layer>,
}

impl Layers {
    /// The entry, or an operator's harsher one about a wider network: a denial of a whole network
    /// does not pass over whom a filter had slowed down before.
    fn overruled(&self, row: Row, client: IpAddr, site: u16, now: u64) -> Row {
        if row.action == Action::Deny || row.origin == Origin::Operator {
            return row;
        }
        let overrules = |other: &Row| {
            other.origin == Origin::Operator
                && other.until > now
                && (other.site == EVERY_SITE || other.site == site)
                && other.action > row.action
        };
        let layers = [&self.recent, &self.base].into_iter();
        let around = layers.flat_map(|layer| layer.around(client));
        around.filter(overrules).max_by_key(rank).unwrap_or(row)
    }
}

impl Decisions {
    /// The decision that counts for a request of `client` to `site` at `now`.
    pub fn lookup(&self, client: IpAddr, site: u16, now: Duration) -> Option<Found> {
        let layers = self.layers.load();
        let now = millis(now);
        let row = [&layers.recent, &layers.base, &layers.listed]
            .into_iter()
            .filter_map(|layer| layer.find(client, site, now))
            // The first of equals stays.
            .reduce(|best, row| if rank(&row) > rank(&best) { row } else { best })?;
        if self.never.load().lookup(client).is_some() {
            self.spared.fetch_add(1, Relaxed);
            return None;
        }
        let row = layers.overruled(row, client, site, now);
        Some(Found {
            subject: row.subject,
            action: row.action,
            origin: row.origin,
        })
    }

    /// Whether `client` gets no connection at `now`: denied in the whole deployment.
    pub fn denies_connection(&self, client: IpAddr, now: Duration) -> bool {
        self.lookup(client, EVERY_SITE, now)
            .is_some_and(|found| found.action == Action::Deny)
    }

    /// Replaces the list of those about whom nothing is decided.
    pub fn spare(&self, never: Arc<PrefixSet>) {
        self.never.store(never);
        self.changed();
    }

    /// Whether nothing may be decided about `subject`: all of it is on the never-block list.
    pub fn is_spared(&self, subject: Prefix) -> bool {
        let never = self.never.load();
        never
            .lookup(subject.first())
            .is_some_and(|(_, last)| last >= subject.last())
    }

    /// Whether anybody in `subject` is on the never-block list.
    pub fn touches_spared(&self, subject: Prefix) -> bool {
        let (first, last) = (subject.first(), subject.last());
        let never = self.never.load();
        // Ranges of the other family lie on one side, all of them.
        never
            .pieces()
            .any(|(begin, end)| begin <= last && end >= first)
    }

    /// Clients that get no connection at `now`: disjoint ranges, in order, without those on the
    /// never-block list and without this machine itself. Takes time that grows with the entries.
    pub fn denied(&self, now: Duration) -> Vec<Denied> {
        denied::denied(&self.layers.load(), &self.never.load(), millis(now))
    }

    /// A number that grows whenever something may have become different.
    pub fn version(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Relaxed);
    }

    /// Whether `client` is on the never-block list.
    pub fn spares(&self, client: IpAddr) -> bool {
        self.never.load().lookup(client).is_some()
    }

    /// Requests and connections that an entry was not applied to since the client is never blocked.
    pub fn spared(&self) -> u64 {
        self.spared.load(Relaxed)
    }

    /// The numbers of sites.
    pub const fn sites(&self) -> &Sites {
        &self.sites
    }

    /// Entries in all layers, ended ones that were not cleared away yet included.
    pub fn len(&self) -> usize {
        let layers = self.layers.load();
        layers.base.len() + layers.recent.len() + layers.listed.len()
    }

    /// Whether there is no entry at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory on the heap: of the entries, and of the index that finds them.
    pub fn heap_bytes(&self) -> (usize, usize) {
        let layers = self.layers.load();
        [&layers.base, &layers.recent, &layers.listed]
            .iter()
            .map(|layer| layer.heap_bytes())
            .fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    }

    fn publish(&self, layers: Layers) {
        self.layers.store(Arc::new(layers));
    }
}

/// The more specific network counts, and of the same one the entry of the site itself.
fn rank(row: &Row) -> (u8, bool) {
    (row.subject.length(), row.site != EVERY_SITE)
}

/// A time of the gateway's clock, as entries keep it.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Numbers that stand for sites in tables. A name keeps its number as long as the process runs.
#[derive(Debug, Default)]
pub struct Sites {
    numbers: RwLock<HashMap<Arc<str>, u16>>,
}

impl Sites {
    /// The site's number, a new one for a new name; `None` where all numbers are given away.
    pub fn number(&self, name: &str) -> Option<u16> {
        if let Some(number) = self.known(name) {
            return Some(number);
        }
        let mut numbers = self.numbers.write();
        let next = u16::try_from(numbers.len()).ok()?;
        if next == EVERY_SITE {
            return None;
        }
        Some(*numbers.entry(name.into()).or_insert(next))
    }

    /// The site's number, where it has one.
    pub fn known(&self, name: &str) -> Option<u16> {
        self.numbers.read().get(name).copied()
    }

    /// The number of a scope, for entries.
    pub(crate) fn of(&self, scope: &Scope) -> Option<u16> {
        match scope {
            Scope::Deployment => Some(EVERY_SITE),
            Scope::Site(name) => self.number(name),
        }
    }

    /// The scope of a number.
    pub fn scope(&self, number: u16) -> Option<Scope> {
        if number == EVERY_SITE {
            return Some(Scope::Deployment);
        }
        let numbers = self.numbers.read();
        let (name, _) = numbers.iter().find(|(_, known)| **known == number)?;
        Some(Scope::Site(Arc::clone(name)))
    }
}

#[cfg(test)]
mod tests;
