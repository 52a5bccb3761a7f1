//! IPv4 ranges, packed so that half a million of them fit into a core's second-level cache.
//!
//! Ranges are cut at the borders of /16 networks. A table says where the pieces of each /16 lie,
//! and a piece is the two last bytes of its first and last address: four bytes per range.

use crate::prefix_set::ranges::{Ranges, merge};

/// Disjoint ranges of IPv4 addresses.
#[derive(Debug, Default)]
pub(super) struct RangesV4 {
    /// Where the pieces of each /16 begin, and behind the last one where they end; empty where
    /// there is no range at all.
    begins: Box<[u32]>,
    pieces: Box<[Piece]>,
    /// The ranges that were cut, whole.
    cut: Ranges<u32>,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    first: u16,
    last: u16,
}

impl RangesV4 {
    /// Sorts and merges pairs of a first and a last address.
    pub(super) fn new(mut pairs: Vec<(u32, u32)>) -> Self {
        merge(&mut pairs);
        if pairs.is_empty() {
            return Self::default();
        }
        let mut pieces = Vec::with_capacity(pairs.len());
        let mut begins = Vec::with_capacity(NETWORKS + 1);
        for &(first, last) in &pairs {
            for network in high(first)..=high(last) {
                begins.resize(begins.len().max(network + 1), count(&pieces));
                pieces.push(Piece {
                    first: if network == high(first) {
                        low(first)
                    } else {
                        0
                    },
                    last: if network == high(last) {
                        low(last)
                    } else {
                        u16::MAX
                    },
                });
            }
        }
        begins.resize(NETWORKS + 1, count(&pieces));
        let cut: Vec<(u32, u32)> = pairs
            .iter()
            .copied()
            .filter(|&(first, last)| high(first) != high(last))
            .collect();
        Self {
            begins: begins.into(),
            pieces: pieces.into(),
            cut: Ranges::new(&cut),
            len: pairs.len(),
        }
    }

    /// The range that holds `key`.
    pub(super) fn find(&self, key: u32) -> Option<(u32, u32)> {
        let begin = *self.begins.get(high(key))? as usize;
        let end = *self.begins.get(high(key) + 1)? as usize;
        let pieces = self.pieces.get(begin..end)?;
        let begun = pieces.partition_point(|piece| piece.first <= low(key));
        let piece = pieces[begun.checked_sub(1)?];
        if piece.last < low(key) {
            return None;
        }
        let network = key & !u32::from(u16::MAX);
        let whole = (
            network | u32::from(piece.first),
            network | u32::from(piece.last),
        );
        match piece {
            Piece { first: 0, .. } | Piece { last: u16::MAX, .. } => {
                Some(self.cut.find(key).unwrap_or(whole))
            }
            _ => Some(whole),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The ranges, in order, cut at the borders of /16 networks.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        (0u32..)
            .zip(self.begins.windows(2))
            .flat_map(|(high, ends)| {
                let pieces = self.pieces.get(ends[0] as usize..ends[1] as usize);
                let whole = move |low: u16| high << 16 | u32::from(low);
                let pieces = pieces.unwrap_or_default().iter();
                pieces.map(move |piece| (whole(piece.first), whole(piece.last)))
            })
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.begins) + size_of_val(&*self.pieces) + self.cut.heap_bytes()
    }
}

/// Networks of 16 bits.
const NETWORKS: usize = 1 << 16;

const fn high(address: u32) -> usize {
    (address >> 16) as usize
}

const fn low(address: u32) -> u16 {
    (address & 0xffff) as u16
}

/// At most one piece per two addresses, so that it always fits.
fn count(pieces: &[Piece]) -> u32 {
    u32::try_from(pieces.len()).unwrap_or(u32::MAX)
}
