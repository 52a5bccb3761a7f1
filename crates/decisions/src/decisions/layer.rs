//! One immutable layer of the table: networks that lie in each other, found by address.
//!
//! Networks are cut into disjoint ranges, each with a copy of the entry of the innermost network that
//! it is in; every entry knows the next one around it. A lookup is one search among the ranges and a
//! look at the copy beside it: two reads of memory that no cache holds. Only where that entry has
//! ended, or belongs to another site, is there a walk outwards.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use thornwall_detectors::address::canonical;

use crate::{
    decision::Action,
    decisions::{EVERY_SITE, Origin},
    prefix_set::{Bits, Prefix, Ranges},
};

/// One entry, as it is put into a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The network.
    pub subject: Prefix,
    /// Number of its site, or [`EVERY_SITE`].
    pub site: u16,
    /// What is done to its requests.
    pub action: Action,
    /// Kind of source that decided.
    pub origin: Origin,
    /// When it ends, in milliseconds of the gateway's clock.
    pub until: u64,
}

impl Row {
    /// What there is at most one of.
    pub(crate) fn key(&self) -> RowKey {
        key(self.subject, self.site)
    }
}

/// Network, and site: first the one for every site, so that a site's own lies within it.
pub(crate) type RowKey = (IpAddr, u8, u16);

/// The key of a row about this network and site.
pub(crate) fn key(subject: Prefix, site: u16) -> RowKey {
    const { assert!(EVERY_SITE == u16::MAX) };
    (subject.first(), subject.length(), site.wrapping_add(1))
}

/// A layer that is ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    v4: Family<u32>,
    v6: Family<u128>,
}

impl Layer {
    /// Takes rows in the order of their keys, none of them twice.
    pub(crate) fn new(rows: &[Row]) -> Self {
        let split = rows.partition_point(|row| row.subject.first().is_ipv4());
        let (v4, v6) = rows.split_at(split);
        Self {
            v4: Family::new(v4, |address| match address {
                IpAddr::V4(v4) => v4.to_bits(),
                IpAddr::V6(_) => u32::MAX,
            }),
            v6: Family::new(v6, |address| match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
                IpAddr::V6(v6) => v6.to_bits(),
            }),
        }
    }

    /// The innermost entry around `address` that holds for `site` at `now`.
    pub(crate) fn find(&self, address: IpAddr, site: u16, now: u64) -> Option<Row> {
        let address = canonical(address);
        match address {
            IpAddr::V4(v4) => self.v4.find(v4.to_bits(), site, now),
            IpAddr::V6(v6) => self.v6.find(v6.to_bits(), site, now),
        }?
        .row(address)
    }

    /// Every entry around `address`, innermost first, ended ones too.
    pub(crate) fn around(&self, address: IpAddr) -> Vec<Row> {
        let address = canonical(address);
        let entries: Vec<&Entry> = match address {
            IpAddr::V4(v4) => self.v4.around(v4.to_bits()).collect(),
            IpAddr::V6(v6) => self.v6.around(v6.to_bits()).collect(),
        };
        let rows = entries.into_iter().filter_map(|entry| entry.row(address));
        rows.collect()
    }

    /// The entry of exactly this network and site, ended or not.
    pub(crate) fn get(&self, subject: Prefix, site: u16) -> Option<Row> {
        self.entry(subject, site)?.row(subject.first())
    }

    /// Ends the entry of exactly this network and site; whether there was one that had not ended.
    pub(crate) fn end(&self, subject: Prefix, site: u16, now: u64) -> bool {
        let (first, last) = (subject.first(), subject.last());
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                let (first, last) = (first.to_bits(), last.to_bits());
                self.v4.end(first, last, subject.length(), site, now)
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                let (first, last) = (first.to_bits(), last.to_bits());
                self.v6.end(first, last, subject.length(), site, now)
            }
            // Both ends of a network are of one family.
            _ => false,
        }
    }

    fn entry(&self, subject: Prefix, site: u16) -> Option<&Entry> {
        let same = |entry: &&Entry| entry.length == subject.length() && entry.site == site;
        match subject.first() {
            IpAddr::V4(v4) => self.v4.around(v4.to_bits()).find(same),
            IpAddr::V6(v6) => self.v6.around(v6.to_bits()).find(same),
        }
    }

    /// All entries, in the order of their keys, ended ones too.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> {
        let v4 = self.v4.all(|bits| Ipv4Addr::from_bits(bits).into());
        v4.chain(self.v6.all(|bits| Ipv6Addr::from_bits(bits).into()))
    }

    pub(crate) fn len(&self) -> usize {
        self.v4.entries.len() + self.v6.entries.len()
    }

    /// Memory on the heap: of the entries, and of the index that finds them.
    pub(crate) fn heap_bytes(&self) -> (usize, usize) {
        let (v4, v6) = (self.v4.heap_bytes(), self.v6.heap_bytes());
        (v4.0 + v6.0, v4.1 + v6.1)
    }
}

/// Everything of one width of address.
#[derive(Debug)]
struct Family<B: Bits> {
    ranges: Ranges<B>,
    /// The innermost entry of each range, by its place: its number and a copy of it.
    innermost: Box<[Innermost]>,
    entries: Box<[Entry]>,
    firsts: Box<[B]>,
}

#[derive(Debug)]
struct Entry {
    until: AtomicU64,
    /// The next entry around it, or [`NONE`].
    outer: u32,
    site: u16,
    length: u8,
    action: Action,
    origin: Origin,
}

#[derive(Debug)]
struct Innermost {
    until: AtomicU64,
    number: u32,
    site: u16,
    length: u8,
    mark: Mark,
}

// Four to a cache line.
const _: () = assert!(size_of::<Innermost>() == 16);

/// Action and origin in one byte.
#[derive(Debug, Clone, Copy)]
struct Mark(u8);

impl Mark {
    const fn new(action: Action, origin: Origin) -> Self {
        Self(action.number() << 4 | origin.number())
    }

    fn action(self) -> Option<Action> {
        Action::from_number(self.0 >> 4)
    }

    fn origin(self) -> Option<Origin> {
        Origin::from_number(self.0 & 15)
    }
}

/// No entry.
const NONE: u32 = u32::MAX;

/// An entry that was found, wherever its copy lies.
struct Seen {
    until: u64,
    site: u16,
    length: u8,
    mark: Mark,
}

impl Seen {
    /// The row of an entry around `address`.
    fn row(&self, address: IpAddr) -> Option<Row> {
        Some(Row {
            subject: Prefix::around(address, self.length)?,
            site: self.site,
            action: self.mark.action()?,
            origin: self.mark.origin()?,
            until: self.until,
        })
    }
}

impl Entry {
    fn seen(&self) -> Seen {
        Seen {
            until: self.until.load(Relaxed),
            site: self.site,
            length: self.length,
            mark: Mark::new(self.action, self.origin),
        }
    }

    /// The row of an entry around `address`.
    fn row(&self, address: IpAddr) -> Option<Row> {
        self.seen().row(address)
    }
}

impl<B: Bits> Default for Family<B> {
    fn default() -> Self {
        Self {
            ranges: Ranges::default(),
            innermost: Box::default(),
            entries: Box::default(),
            firsts: Box::default(),
        }
    }
}

impl<B: Bits> Family<B> {
    fn new(rows: &[Row], bits: impl Fn(IpAddr) -> B) -> Self {
        let span = |row: &Row| (bits(row.subject.first()), bits(row.subject.last()));
        let (pieces, outer) = cut(rows.iter().map(span));
        let entry = |(row, outer): (&Row, u32)| Entry {
            until: AtomicU64::new(row.until),
            outer,
            site: row.site,
            length: row.subject.length(),
            action: row.action,
            origin: row.origin,
        };
        let spans: Vec<(B, B)> = pieces.iter().map(|piece| piece.span).collect();
        Self {
            ranges: Ranges::new(&spans),
            innermost: pieces
                .iter()
                .map(|piece| copy(rows, piece.innermost))
                .collect(),
            entries: rows.iter().zip(outer).map(entry).collect(),
            firsts: rows.iter().map(|row| span(row).0).collect(),
        }
    }

    /// The entries around an address, innermost first.
    fn around(&self, address: B) -> impl Iterator<Item = &Entry> {
        let place = self.ranges.place(address);
        let innermost = place.and_then(|place| self.innermost.get(place));
        self.outwards(innermost.map_or(NONE, |innermost| innermost.number))
    }

    /// The entry of this number and those around it.
    fn outwards(&self, number: u32) -> impl Iterator<Item = &Entry> {
        let mut next = number;
        std::iter::from_fn(move || {
            let entry = self.entries.get(next as usize)?;
            next = entry.outer;
            Some(entry)
        })
    }

    /// The innermost entry around an address that holds for `site` at `now`.
    fn find(&self, address: B, site: u16, now: u64) -> Option<Seen> {
        let innermost = self.innermost.get(self.ranges.place(address)?)?;
        let until = innermost.until.load(Relaxed);
        let here = |of: u16| of == EVERY_SITE || of == site;
        if until > now && here(innermost.site) {
            return Some(Seen {
                until,
                site: innermost.site,
                length: innermost.length,
                mark: innermost.mark,
            });
        }
        let entries = self.outwards(innermost.number).skip(1);
        let mut seen = entries.map(Entry::seen);
        seen.find(|seen| seen.until > now && here(seen.site))
    }

    /// Ends an entry, and its copies in the ranges of its network.
    fn end(&self, first: B, last: B, length: u8, site: u16, now: u64) -> bool {
        let Some(place) = self.ranges.place(first) else {
            return false;
        };
        let mut number = self.innermost[place].number;
        while let Some(entry) = self.entries.get(number as usize) {
            if entry.length == length && entry.site == site {
                let inside = |place: &usize| self.ranges.first(*place).is_some_and(|at| at <= last);
                let places = (place..self.innermost.len()).take_while(inside);
                for innermost in places.map(|place| &self.innermost[place]) {
                    if innermost.number == number {
                        innermost.until.store(0, Relaxed);
                    }
                }
                return entry.until.swap(0, Relaxed) > now;
            }
            number = entry.outer;
        }
        false
    }

    fn all(&self, address: impl Fn(B) -> IpAddr) -> impl Iterator<Item = Row> {
        let pairs = self.entries.iter().zip(&self.firsts);
        pairs.filter_map(move |(entry, first)| entry.row(address(*first)))
    }

    fn heap_bytes(&self) -> (usize, usize) {
        let entries = size_of_val(&*self.entries) + size_of_val(&*self.firsts);
        let index = self.ranges.heap_bytes() + size_of_val(&*self.innermost);
        (entries, index)
    }
}

/// The copy of an entry for a range that it is the innermost of.
fn copy(rows: &[Row], number: u32) -> Innermost {
    let row = &rows[number as usize];
    Innermost {
        until: AtomicU64::new(row.until),
        number,
        site: row.site,
        length: row.subject.length(),
        mark: Mark::new(row.action, row.origin),
    }
}

/// A range in which one network is the innermost.
struct Piece<B> {
    span: (B, B),
    innermost: u32,
}

/// Cuts networks, in the order of their first address and with the wider before the narrower, into
/// disjoint ranges; returns for each network which one is next around it.
fn cut<B: Bits>(networks: impl Iterator<Item = (B, B)>) -> (Vec<Piece<B>>, Vec<u32>) {
    let mut pieces = Vec::new();
    let mut outer = Vec::new();
    // Networks that the cursor is in, outermost first, each with its last address.
    let mut open: Vec<(B, u32)> = Vec::new();
    let mut cursor = None;
    for (number, (first, last)) in (0..NONE).zip(networks) {
        while let Some(&(end, innermost)) = open.last()
            && end < first
        {
            close(&mut pieces, &mut cursor, end, innermost);
            open.pop();
        }
        if let (Some(&(_, innermost)), Some(begin)) = (open.last(), cursor)
            && begin < first
        {
            pieces.push(Piece {
                span: (begin, first.predecessor()),
                innermost,
            });
        }
        outer.push(open.last().map_or(NONE, |&(_, number)| number));
        open.push((last, number));
        cursor = Some(first);
    }
    while let Some((end, innermost)) = open.pop() {
        close(&mut pieces, &mut cursor, end, innermost);
    }
    (pieces, outer)
}

/// What is left of a network from the cursor to its end. At the last address of all there is
/// nothing behind it, and the cursor goes.
fn close<B: Bits>(pieces: &mut Vec<Piece<B>>, cursor: &mut Option<B>, end: B, innermost: u32) {
    if let Some(begin) = *cursor
        && begin <= end
    {
        pieces.push(Piece {
            span: (begin, end),
            innermost,
        });
        *cursor = (end.successor() != end).then(|| end.successor());
    }
}
