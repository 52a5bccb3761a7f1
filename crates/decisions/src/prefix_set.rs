//! Sets of networks that answer "is this address in it" in a fraction of a microsecond.
//!
//! A set is built once and never changes. Overlapping and adjacent networks are merged into
//! disjoint ranges first, so a lookup is one descent of a shallow search tree, and its cost does
//! not depend on how the list was written.

pub mod list;
mod prefix;
mod ranges;
pub(crate) mod span;
#[cfg(test)]
mod tests;
mod v4;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thornwall_detectors::address::canonical;

pub(crate) use self::prefix::quotable;
pub use self::prefix::{Prefix, PrefixError};
pub(crate) use self::ranges::{Bits, Ranges, merge};
use self::v4::RangesV4;

/// An immutable set of IPv4 and IPv6 networks.
#[derive(Debug, Default)]
pub struct PrefixSet {
    v4: RangesV4,
    v6: Ranges<u128>,
}

impl PrefixSet {
    /// The range that covers `address`: its first and last address, which may span several
    /// adjacent networks. An IPv4 address written as IPv6 is looked up as the IPv4 address.
    pub fn lookup(&self, address: IpAddr) -> Option<(IpAddr, IpAddr)> {
        match canonical(address) {
            IpAddr::V4(v4) => {
                let (first, last) = self.v4.find(v4.to_bits())?;
                Some((
                    Ipv4Addr::from_bits(first).into(),
                    Ipv4Addr::from_bits(last).into(),
                ))
            }
            IpAddr::V6(v6) => {
                let (first, last) = self.v6.find(v6.to_bits())?;
                Some((
                    Ipv6Addr::from_bits(first).into(),
                    Ipv6Addr::from_bits(last).into(),
                ))
            }
        }
    }

    /// How many disjoint ranges the set has come down to.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether the set covers no address at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it as disjoint ranges of a first and a last address, IPv4 before IPv6, in order.
    pub fn pieces(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> + '_ {
        let v4 = |bits| IpAddr::from(Ipv4Addr::from_bits(bits));
        let v6 = |bits| IpAddr::from(Ipv6Addr::from_bits(bits));
        let first = self.v4.pieces().map(move |(a, b)| (v4(a), v4(b)));
        first.chain(self.v6.pieces().map(move |(a, b)| (v6(a), v6(b))))
    }

    /// Memory that the set holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.v4.heap_bytes() + self.v6.heap_bytes()
    }
}

impl FromIterator<Prefix> for PrefixSet {
    fn from_iter<I: IntoIterator<Item = Prefix>>(prefixes: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for prefix in prefixes {
            match (prefix.first(), prefix.last()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                (first, last) => v6.push((bits(first), bits(last))),
            }
        }
        merge(&mut v6);
        Self {
            v4: RangesV4::new(v4),
            v6: Ranges::new(&v6),
        }
    }
}

const fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}
