//! Clients that get no connection at all, as ranges for a packet filter.
//!
//! The answer for each address is the one that requests get: the innermost entry counts, and no client
//! on the never-block list is in it. Where a narrower entry that does not deny lies in a wider one that
//! does, its addresses are left out, also for the time after it: a client that the
//! packet filter lets in still meets the edge.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{EVERY_SITE, Layers, Row};
use crate::{
    decision::Action,
    prefix_set::{PrefixSet, merge},
};

/// Addresses that are denied everywhere, until the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Denied {
    /// The first address.
    pub first: IpAddr,
    /// The last one, of the same family.
    pub last: IpAddr,
    /// When it ends, in milliseconds of the gateway's clock.
    pub until: u64,
}

/// A range of numbers, and when it ends; nothing where it is not denied.
type Piece = (u128, u128, u64);

/// What the layers deny at `now`, but for `never`: disjoint, in order.
pub(super) fn denied(layers: &Layers, never: &PrefixSet, now: u64) -> Vec<Denied> {
    let mut rows: Vec<Row> = [&layers.recent, &layers.base, &layers.listed]
        .into_iter()
        .flat_map(|layer| layer.rows())
        .filter(|row| row.site == EVERY_SITE && row.until > now)
        .collect();
    // Of equals the first stays, as in a lookup.
    rows.sort_by_key(Row::key);
    rows.dedup_by_key(|row| row.key());
    let split = rows.partition_point(|row| row.subject.first().is_ipv4());
    let mut denied = Vec::new();
    for (family, rows) in [rows.split_at(split).0, rows.split_at(split).1]
        .into_iter()
        .enumerate()
    {
        let is_v4 = family == 0;
        let spared = never
            .pieces()
            .chain(OWN)
            .filter(|(first, _)| first.is_ipv4() == is_v4);
        let mut spared: Vec<(u128, u128)> = spared.map(|(a, b)| (number(a), number(b))).collect();
        merge(&mut spared);
        let mut pieces = Vec::new();
        for piece in cut(rows) {
            subtract(piece, &spared, &mut pieces);
        }
        denied.extend(pieces.into_iter().map(|(first, last, until)| Denied {
            first: address(first, is_v4),
            last: address(last, is_v4),
            until,
        }));
    }
    denied
}

/// This machine itself.
const OWN: [(IpAddr, IpAddr); 2] = [
    (
        IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
        IpAddr::V4(Ipv4Addr::new(127, 255, 255, 255)),
    ),
    (
        IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ),
];

const fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits() as u128,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(number: u128, is_v4: bool) -> IpAddr {
    match u32::try_from(number) {
        Ok(bits) if is_v4 => Ipv4Addr::from_bits(bits).into(),
        _ => Ipv6Addr::from_bits(number).into(),
    }
}

/// Cuts networks of one family, in the order of their keys, into disjoint pieces that are denied.
fn cut(rows: &[Row]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    // Networks that the cursor is in, outermost first: the last address, and until when that
    // network's own addresses are denied.
    let mut open: Vec<(u128, Option<u64>)> = Vec::new();
    let mut cursor: u128 = 0;
    for row in rows {
        let (first, last) = (number(row.subject.first()), number(row.subject.last()));
        while let Some(&(end, until)) = open.last()
            && end < first
        {
            push(&mut pieces, cursor, end, until);
            // Below another network, so that something follows.
            cursor = end + 1;
            open.pop();
        }
        if let Some(&(_, until)) = open.last()
            && cursor < first
        {
            push(&mut pieces, cursor, first - 1, until);
        }
        let outer = open.last().and_then(|(_, until)| *until);
        let until = (row.action == Action::Deny).then_some(row.until.max(outer.unwrap_or(0)));
        open.push((last, until));
        cursor = first;
    }
    while let Some((end, until)) = open.pop() {
        if cursor > end {
            continue;
        }
        push(&mut pieces, cursor, end, until);
        let Some(next) = end.checked_add(1) else {
            break;
        };
        cursor = next;
    }
    pieces
}

fn push(pieces: &mut Vec<Piece>, first: u128, last: u128, until: Option<u64>) {
    let Some(until) = until else {
        return;
    };
    if first > last {
        return;
    }
    match pieces.last_mut() {
        Some(before) if before.2 == until && before.1.checked_add(1) == Some(first) => {
            before.1 = last;
        }
        _ => pieces.push((first, last, until)),
    }
}

/// What is left of a piece beside these disjoint ranges, which are in order.
fn subtract(piece: Piece, spared: &[(u128, u128)], left: &mut Vec<Piece>) {
    let (mut first, last, until) = piece;
    let place = spared.partition_point(|(_, end)| *end < first);
    for &(begin, end) in spared[place..]
        .iter()
        .take_while(|(begin, _)| *begin <= last)
    {
        if begin > first {
            left.push((first, begin - 1, until));
        }
        match end.checked_add(1) {
            Some(next) if next <= last => first = next,
            _ => return,
        }
    }
    left.push((first, last, until));
}
