//! An entry of a list: one network, or a range of addresses from its first to its last.
//!
//! Ranges are written `first-last`, `first - last`, or as two words, `first last`. Two words may also be
//! two addresses, so they are a range only where they are a network's first and last address, or where
//! a third word, the length of the prefix, says so (`203.0.113.0 203.0.113.255 24`, as DShield does).

use std::net::IpAddr;

use thornwall_detectors::address::canonical;

use super::{Prefix, PrefixError, quotable};

/// What one entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    first: IpAddr,
    last: IpAddr,
    /// The one network that it is, where it was written as one.
    network: Option<Prefix>,
}

/// An entry that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub span: Span,
    /// The correction, where the text was taken for something else.
    pub note: Option<String>,
    /// The first word that means nothing.
    pub unread: Option<&'a str>,
}

impl<'a> Entry<'a> {
    /// Reads the words of one line. Words behind the entry are left unread, unless they are addresses,
    /// which would otherwise be lost unnoticed.
    pub(crate) fn read(mut words: impl Iterator<Item = &'a str>) -> Result<Self, PrefixError> {
        let first = words.next().unwrap_or_default();
        let (second, third) = (words.next(), words.next());
        // As nearly all lists are written.
        if second.is_none() && !first.contains('-') {
            return Self::network(first, None);
        }
        let ranged = |first, last, unread| {
            let span = Span::new(first, last)?;
            Ok(Self {
                span,
                note: None,
                unread,
            })
        };
        if let Some((start, end)) = first.split_once('-')
            && let (Some(start), Some(end)) = (address(start), address(end))
        {
            return ranged(start, end, second);
        }
        match (address(first), second, third) {
            (Some(start), Some("-"), Some(end)) => {
                let end = address(end).ok_or_else(|| PrefixError::Range(quotable(end)))?;
                ranged(start, end, words.next())
            }
            (Some(start), Some(second), third) if address(second).is_some() => {
                let end = address(second).unwrap_or(start);
                let span = Span::new(start, end)?;
                let length = third.and_then(|third| third.parse::<u8>().ok());
                match (span.as_network(), length) {
                    (Some(_), None) => ranged(start, end, third),
                    (Some(network), Some(length)) if network.length() == length => {
                        ranged(start, end, words.next())
                    }
                    _ => Err(PrefixError::Pair(quotable(first), quotable(second))),
                }
            }
            (_, Some(second), _) if Prefix::lenient(second).is_ok() => {
                Err(PrefixError::Pair(quotable(first), quotable(second)))
            }
            _ => Self::network(first, second),
        }
    }

    fn network(word: &str, unread: Option<&'a str>) -> Result<Self, PrefixError> {
        let (network, note) = Prefix::lenient(word)?;
        let span = Span {
            first: network.first(),
            last: network.last(),
            network: Some(network),
        };
        Ok(Self { span, note, unread })
    }
}

impl Span {
    fn new(first: IpAddr, last: IpAddr) -> Result<Self, PrefixError> {
        if first.is_ipv4() != last.is_ipv4() || last < first {
            return Err(PrefixError::Range(format!("{first}-{last}")));
        }
        Ok(Self {
            first,
            last,
            network: None,
        })
    }

    pub(crate) const fn first(&self) -> IpAddr {
        self.first
    }

    pub(crate) const fn last(&self) -> IpAddr {
        self.last
    }

    /// The one network that it is, where it is one.
    pub(crate) fn as_network(&self) -> Option<Prefix> {
        let network = widest(self.first, self.last)?;
        (network.last() == self.last).then_some(network)
    }

    /// The networks that it consists of, from the first on; at most 254.
    pub(crate) fn networks(self) -> impl Iterator<Item = Prefix> {
        let (mut whole, mut next) = (self.network, Some(self.first));
        std::iter::from_fn(move || {
            if let Some(network) = whole.take() {
                next = None;
                return Some(network);
            }
            let network = widest(next?, self.last)?;
            next = after(network.last()).filter(|next| *next <= self.last);
            Some(network)
        })
    }
}

/// The widest network that begins at one address and ends no later than at another.
fn widest(first: IpAddr, last: IpAddr) -> Option<Prefix> {
    let width = if first.is_ipv4() { 32 } else { 128 };
    let networks = (0..=width).filter_map(|length| Prefix::around(first, length));
    let mut fitting = networks.filter(|network| network.first() == first && network.last() <= last);
    fitting.next()
}

fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => Some(IpAddr::V4(v4.to_bits().checked_add(1)?.into())),
        IpAddr::V6(v6) => Some(IpAddr::V6(v6.to_bits().checked_add(1)?.into())),
    }
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Vec<String>, Option<String>), String> {
        let entry =
            Entry::read(line.split_ascii_whitespace()).map_err(|error| error.to_string())?;
        let networks = entry.span.networks().map(|network| network.to_string());
        Ok((networks.collect(), entry.unread.map(str::to_owned)))
    }

    #[test]
    fn networks_and_ranges_are_read_as_lists_write_them() {
        let check = |line: &str, networks: &[&str], unread: Option<&str>| {
            let (found, word) = read(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(found, networks, "{line}");
            assert_eq!(word.as_deref(), unread, "{line}");
        };
        check("192.0.2.1", &["192.0.2.1"], None);
        check("192.0.2.0/24 SBL1", &["192.0.2.0/24"], Some("SBL1"));
        check("192.0.2.1\t5", &["192.0.2.1"], Some("5"));
        let dshield = "203.0.113.0\t203.0.113.255\t24\t2137\tNAME\tUS\tabuse@isp.example";
        check(dshield, &["203.0.113.0/24"], Some("2137"));
        check("203.0.113.0 203.0.113.255", &["203.0.113.0/24"], None);
        check(
            "192.0.2.1-192.0.2.6",
            &["192.0.2.1", "192.0.2.2/31", "192.0.2.4/31", "192.0.2.6"],
            None,
        );
        check("192.0.2.4 - 192.0.2.7 x", &["192.0.2.4/30"], Some("x"));
        check("2001:db8::-2001:db8::1:ffff", &["2001:db8::/111"], None);
        check("::ffff:192.0.2.0-192.0.2.1", &["192.0.2.0/31"], None);
        check("0.0.0.0-255.255.255.255", &["0.0.0.0/0"], None);
        check(
            "255.255.255.255-255.255.255.255",
            &["255.255.255.255"],
            None,
        );
    }

    #[test]
    fn what_may_mean_two_things_is_refused() {
        for line in [
            "192.0.2.1 192.0.2.9",
            "192.0.2.0 192.0.2.255 25",
            "192.0.2.9-192.0.2.1",
            "192.0.2.1-2001:db8::1",
            "192.0.2.1 2001:db8::1",
            "192.0.2.1 198.51.100.0/24",
            "192.0.2.1 - x",
            "192.0.2.1-9",
            "Start End Netblock",
            "",
        ] {
            let told = read(line).unwrap_err();
            assert!(told.contains("; expected"), "{line}: {told}");
        }
    }
}
