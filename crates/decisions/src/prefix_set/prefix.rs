//! One network, as an address and a prefix length.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use thornwall_detectors::address::canonical;

/// A network: its first address and how many leading bits its addresses share. The host bits are
/// always zero (RFC 4632 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    network: IpAddr,
    length: u8,
}

/// Error: the text is not a valid network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PrefixError {
    /// The part before the slash is not an address.
    #[error(
        "`{0}` is not an address; expected one such as 192.0.2.1 or 2001:db8::1, or a network such as 192.0.2.0/24"
    )]
    Address(String),
    /// The address lies inside the network instead of at its start.
    #[error("{0}/{1} has bits set behind its prefix; expected {2}, or {0} for that one address")]
    HostBits(IpAddr, u8, Prefix),
    /// The address has a zone, which only its own host understands.
    #[error("`{0}` has a zone, which means something on one host only; expected the address alone")]
    Zone(String),
    /// Its last address comes before its first, or is none.
    #[error(
        "`{0}` is no range; expected its first and its last address, such as 192.0.2.0-192.0.2.9"
    )]
    Range(String),
    /// Two addresses that are no network's first and last.
    #[error(
        "`{0}` and `{1}` are two entries, or a range that is no network; expected one per line, or {0}-{1}"
    )]
    Pair(String, String),
    /// The part after the slash is not a prefix length of this kind of address.
    #[error("`/{0}` is not a prefix length of {1}; expected a number from 0 to {2}")]
    Length(String, IpAddr, u8),
}

impl Prefix {
    /// The network of `length` bits that starts at `address`. An IPv4 network written as IPv6
    /// (`::ffff:192.0.2.0/120`) is the IPv4 network.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, PrefixError> {
        let width = width(address);
        if length > width {
            return Err(PrefixError::Length(length.to_string(), address, width));
        }
        let network = masked(address, length);
        if network != address {
            let right = Self { network, length };
            return Err(PrefixError::HostBits(address, length, right));
        }
        Ok(Self { network, length }.canonical())
    }

    /// The network that consists of one address.
    pub const fn host(address: IpAddr) -> Self {
        let network = canonical(address);
        Self {
            network,
            length: width(network),
        }
    }

    /// The network of `length` bits that `address` lies in.
    pub fn around(address: IpAddr, length: u8) -> Option<Self> {
        let address = canonical(address);
        (length <= width(address)).then(|| Self {
            network: masked(address, length),
            length,
        })
    }

    /// Reads a network of which bits behind the prefix may be set, or which may have a zone: both
    /// are dropped, and named in the second value.
    pub fn lenient(text: &str) -> Result<(Self, Option<String>), PrefixError> {
        let correction = |right: Self| format!("`{}` is taken for {right}", quotable(text));
        match text.parse() {
            Ok(prefix) => Ok((prefix, None)),
            Err(PrefixError::HostBits(_, _, right)) => {
                let right = right.canonical();
                Ok((right, Some(correction(right))))
            }
            Err(PrefixError::Zone(_)) => {
                let (address, rest) = text.split_once('%').unwrap_or((text, ""));
                let length = rest.split_once('/').map(|(_, length)| format!("/{length}"));
                let plain = format!("{address}{}", length.unwrap_or_default());
                let (right, _) = Self::lenient(&plain)?;
                Ok((right, Some(correction(right))))
            }
            Err(error) => Err(error),
        }
    }

    /// The first address.
    pub const fn first(&self) -> IpAddr {
        self.network
    }

    /// The last address.
    pub fn last(&self) -> IpAddr {
        let hosts = u32::from(width(self.network) - self.length);
        match self.network {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() | !left_ones_u32(hosts)).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() | !left_ones_u128(hosts)).into(),
        }
    }

    /// How many leading bits the addresses of the network share.
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Whether it is at least as wide as what neighbours share (/24, /48), and so no single client's address.
    pub const fn is_coarse(&self) -> bool {
        match self.network {
            IpAddr::V4(_) => self.length <= 24,
            IpAddr::V6(_) => self.length <= 48,
        }
    }

    /// Whether it is a large part of all addresses, so that people are likely behind it: wider than
    /// what any one owner holds.
    pub const fn is_broad(&self) -> bool {
        match self.network {
            IpAddr::V4(_) => self.length < 8,
            IpAddr::V6(_) => self.length < 16,
        }
    }

    fn canonical(self) -> Self {
        match (canonical(self.network), self.network) {
            (IpAddr::V4(v4), IpAddr::V6(_)) if self.length >= 96 => Self {
                network: v4.into(),
                length: self.length - 96,
            },
            _ => self,
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == width(self.network) {
            write!(f, "{}", self.network)
        } else {
            write!(f, "{}/{}", self.network, self.length)
        }
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(text: String) -> Result<Self, PrefixError> {
        text.parse()
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// Reads an address, or a network in CIDR notation.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            let quoted = quotable(text);
            return Err(match address.contains('%') {
                true => PrefixError::Zone(quoted),
                false => PrefixError::Address(quoted),
            });
        };
        let Some(length) = length else {
            return Ok(Self::host(address));
        };
        match parse_length(length) {
            Some(length) => Self::new(address, length),
            None => Err(PrefixError::Length(
                quotable(length),
                address,
                width(address),
            )),
        }
    }
}

/// A decimal number without sign or leading zeros, which other tools may read as octal.
fn parse_length(text: &str) -> Option<u8> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    (plain && (text == "0" || !text.starts_with('0')))
        .then(|| text.parse().ok())
        .flatten()
}

/// Text from a file, cut and escaped so that it can stand in a message.
pub(crate) fn quotable(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut quoted: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        quoted.push('…');
    }
    quoted
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    let hosts = u32::from(width(address) - length);
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & left_ones_u32(hosts)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & left_ones_u128(hosts)).into(),
    }
}

/// All ones but for the last `hosts` bits, of which there may be as many as bits.
fn left_ones_u32(hosts: u32) -> u32 {
    u32::MAX.checked_shl(hosts).unwrap_or(0)
}

fn left_ones_u128(hosts: u32) -> u128 {
    u128::MAX.checked_shl(hosts).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Prefix;

    #[test]
    fn networks_are_read_and_their_mistakes_named() {
        let check = |text: &str, expected: Result<(&str, &str), &str>| {
            let read = text.parse::<Prefix>();
            let read = read
                .map(|prefix| (prefix.to_string(), prefix.last().to_string()))
                .map_err(|error| error.to_string());
            let expected = expected
                .map(|(prefix, last)| (prefix.to_string(), last.to_string()))
                .map_err(str::to_string);
            match (&read, &expected) {
                (Err(read), Err(part)) => assert!(read.contains(part), "{text}: {read}"),
                _ => assert_eq!(read, expected, "{text}"),
            }
        };
        check("192.0.2.7", Ok(("192.0.2.7", "192.0.2.7")));
        check("192.0.2.0/24", Ok(("192.0.2.0/24", "192.0.2.255")));
        check("0.0.0.0/0", Ok(("0.0.0.0/0", "255.255.255.255")));
        check(
            "2001:db8::/32",
            Ok(("2001:db8::/32", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")),
        );
        check(
            "::/0",
            Ok(("::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
        );
        check("::1", Ok(("::1", "::1")));
        check("::ffff:192.0.2.7", Ok(("192.0.2.7", "192.0.2.7")));
        check("::ffff:192.0.2.0/120", Ok(("192.0.2.0/24", "192.0.2.255")));
        check("::ffff:0:0/96", Ok(("0.0.0.0/0", "255.255.255.255")));
        check("192.0.2.7/24", Err("expected 192.0.2.0/24, or 192.0.2.7"));
        check("2001:db8::1/64", Err("expected 2001:db8::/64"));
        check("192.0.2.0/33", Err("expected a number from 0 to 32"));
        check("2001:db8::/129", Err("expected a number from 0 to 128"));
        check("192.0.2.0/+24", Err("`/+24` is not a prefix length"));
        check("192.0.2.0/024", Err("`/024` is not a prefix length"));
        check("192.0.2.0/", Err("`/` is not a prefix length"));
        check("192.0.2.0/24/24", Err("`/24/24` is not a prefix length"));
        check("192.0.02.1", Err("is not an address"));
        check("fe80::1%eth0", Err("has a zone"));
        check("shop.example", Err("`shop.example` is not an address"));
        check("", Err("`` is not an address"));
    }
}
