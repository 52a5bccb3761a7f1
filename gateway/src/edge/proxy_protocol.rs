//! Who the client is, as a proxy in front says it before the first byte of its client.
//!
//! Versions 1 and 2 of HAProxy's [PROXY protocol]; section numbers here are that document's. The
//! crate `ppp` was tried first. On hostile bytes it does not panic, but it waits for more after lines
//! that are over (`PROXY TCP4\r\n`), takes a port `+80` and the byte pairs that section 2.2 wants
//! refused (0x10, 0x01, …), and refuses LOCAL headers and `UNKNOWN` lines that sections 2.1 and 2.2
//! want accepted. With all that checked before it, nothing was left for it to do.
//!
//! [PROXY protocol]: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use thiserror::Error;

/// Longest line of version 1, its CRLF included (section 2.1).
pub const MOST_V1_BYTES: usize = 107;

/// Longest header of version 2: 16 fixed bytes, the longest addresses (two unix paths of 108 bytes,
/// section 2.2) and 2 KiB of additions. The additions that proxies send are host names, ids and
/// facts about TLS; the largest seen are a few hundred bytes.
pub const MOST_V2_BYTES: usize = V2_FIXED_BYTES + 2 * UNIX_PATH_BYTES + (2 << 10);

const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length (section 2.2).
const V2_FIXED_BYTES: usize = 16;
const UNIX_PATH_BYTES: usize = 108;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// The start of a header; there is more to come.
    Partial,
    /// A whole header.
    Complete {
        /// Its length in bytes; what follows is the client's.
        length: usize,
        /// The client's end of its connection to the proxy, as written. `None` where the proxy
        /// speaks for itself (LOCAL, a health check) or does not know (UNKNOWN, a unix socket): then
        /// the peer of the socket is the client.
        source: Option<SocketAddr>,
    },
}

/// Why the first bytes of a connection are no PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Invalid {
    /// The address, or the space behind it, is not as section 2.1 writes it.
    #[error("the PROXY line has a broken address")]
    Address,
    /// The addresses do not fit into the length that the header gives.
    #[error("the PROXY header is too short for its addresses")]
    AddressLength,
    /// Neither LOCAL nor PROXY (section 2.2).
    #[error("the PROXY header has the unknown command {0:#x}")]
    Command(u8),
    /// A pair of address family and transport that section 2.2 does not list.
    #[error("the PROXY header has the unknown address family and transport {0:#04x}")]
    Family(u8),
    /// Neither of the two signatures.
    #[error("the connection does not start with a PROXY header")]
    NoHeader,
    /// The port, or what ends it, is not as section 2.1 writes it.
    #[error("the PROXY line has a broken port or end")]
    Port,
    /// Neither `TCP4`, `TCP6` nor `UNKNOWN` (section 2.1).
    #[error("the PROXY line has an unknown protocol")]
    Protocol,
    /// Longer than [`MOST_V1_BYTES`] or [`MOST_V2_BYTES`].
    #[error("the PROXY header is too long")]
    TooLong,
    /// Version 2's signature with another version (section 2.2).
    #[error("the PROXY header has the unknown version {0}")]
    Version(u8),
}

/// Reads the header at the start of `buffer`, which may hold more than that.
///
/// More bytes never change an answer other than [`Read::Partial`], and a buffer of
/// [`MOST_V2_BYTES`] always gets another one.
pub fn read(buffer: &[u8]) -> Result<Read, Invalid> {
    match buffer.first() {
        None => Ok(Read::Partial),
        Some(b'P') => read_v1(buffer),
        Some(_) => read_v2(buffer),
    }
}

/// Why reading stops before the end of a header.
enum Stop {
    /// The bytes are at their end.
    Partial,
    /// The bytes are wrong.
    Invalid(Invalid),
}

impl From<Invalid> for Stop {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

fn read_v1(buffer: &[u8]) -> Result<Read, Invalid> {
    let line = &buffer[..buffer.len().min(MOST_V1_BYTES)];
    let mut cursor = Cursor { rest: line };
    match cursor.v1() {
        Ok(source) => Ok(Read::Complete {
            length: line.len() - cursor.rest.len(),
            source,
        }),
        Err(Stop::Partial) if line.len() == MOST_V1_BYTES => Err(Invalid::TooLong),
        Err(Stop::Partial) => Ok(Read::Partial),
        Err(Stop::Invalid(invalid)) => Err(invalid),
    }
}

fn read_v2(buffer: &[u8]) -> Result<Read, Invalid> {
    let mut cursor = Cursor { rest: buffer };
    match cursor.v2() {
        Ok(source) => Ok(Read::Complete {
            length: buffer.len() - cursor.rest.len(),
            source,
        }),
        Err(Stop::Partial) => Ok(Read::Partial),
        Err(Stop::Invalid(invalid)) => Err(invalid),
    }
}

/// What is left to be read.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// A line such as `PROXY TCP4 192.0.2.1 198.51.100.1 50000 443\r\n` (section 2.1).
    fn v1(&mut self) -> Result<Option<SocketAddr>, Stop> {
        self.literal(b"PROXY ", Invalid::NoHeader)?;
        if self.rest.first() == Some(&b'U') {
            self.literal(b"UNKNOWN", Invalid::Protocol)?;
            return self.ignored().map(|()| None);
        }
        self.literal(b"TCP", Invalid::Protocol)?;
        match self.take(1)? {
            b"4" => self.tcp::<Ipv4Addr>().map(Some),
            b"6" => self.tcp::<Ipv6Addr>().map(Some),
            _ => Err(Invalid::Protocol.into()),
        }
    }

    /// What follows `UNKNOWN`: anything up to the end of the line (section 2.1).
    fn ignored(&mut self) -> Result<(), Stop> {
        match self.rest {
            [] => return Err(Stop::Partial),
            [b' ' | b'\r', ..] => {}
            _ => return Err(Invalid::Protocol.into()),
        }
        let end = self.rest.windows(2).position(|pair| pair == b"\r\n");
        self.take(end.ok_or(Stop::Partial)? + 2).map(|_| ())
    }

    /// What follows `TCP4` or `TCP6`: both addresses, then both ports.
    fn tcp<A: FromStr + Into<IpAddr>>(&mut self) -> Result<SocketAddr, Stop> {
        self.literal(b" ", Invalid::Protocol)?;
        let source = self.address::<A>()?;
        self.address::<A>()?;
        let port = self.port(b" ")?;
        self.port(b"\r\n")?;
        Ok(SocketAddr::new(source, port))
    }

    fn address<A: FromStr + Into<IpAddr>>(&mut self) -> Result<IpAddr, Stop> {
        // The dot is in IPv6 addresses too: `::ffff:192.0.2.1` is how sockets for both versions name
        // IPv4 clients.
        let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':');
        let address: A = self.word(is_part, b" ", Invalid::Address)?;
        Ok(address.into())
    }

    fn port(&mut self, end: &[u8]) -> Result<u16, Stop> {
        if let [b'0', b'0'..=b'9', ..] = self.rest {
            // Section 2.1 permits no zeroes in front.
            return Err(Invalid::Port.into());
        }
        self.word(u8::is_ascii_digit, end, Invalid::Port)
    }

    /// A value of the bytes `is_part`, and the `end` behind it.
    fn word<T: FromStr>(
        &mut self,
        is_part: impl Fn(&u8) -> bool,
        end: &[u8],
        otherwise: Invalid,
    ) -> Result<T, Stop> {
        let length = self.rest.iter().take_while(|byte| is_part(byte)).count();
        if length == self.rest.len() {
            return Err(Stop::Partial);
        }
        let word = str::from_utf8(self.take(length)?).map_err(|_| otherwise)?;
        let value = word.parse().map_err(|_| otherwise)?;
        self.literal(end, otherwise)?;
        Ok(value)
    }

    /// The binary header (section 2.2).
    fn v2(&mut self) -> Result<Option<SocketAddr>, Stop> {
        self.literal(V2_SIGNATURE, Invalid::NoHeader)?;
        let version_and_command = self.byte()?;
        match version_and_command {
            0x20 | 0x21 => {}
            0x22..=0x2f => return Err(Invalid::Command(version_and_command & 0x0f).into()),
            _ => return Err(Invalid::Version(version_and_command >> 4).into()),
        }
        let family = self.byte()?;
        // Family and addresses of LOCAL are to be ignored, whatever they are.
        let family = if version_and_command == 0x20 {
            0
        } else {
            family
        };
        let addresses = match family {
            0x00 => 0,
            0x11 | 0x12 => 12,
            0x21 | 0x22 => 36,
            0x31 | 0x32 => 2 * UNIX_PATH_BYTES,
            _ => return Err(Invalid::Family(family).into()),
        };
        let length = usize::from(u16::from_be_bytes(self.array()?));
        if length < addresses {
            return Err(Invalid::AddressLength.into());
        }
        if length > MOST_V2_BYTES - V2_FIXED_BYTES {
            return Err(Invalid::TooLong.into());
        }
        let mut body = Cursor {
            rest: self.take(length)?,
        };
        // A datagram's client has a name, too: a proxy that ends QUIC may hand it on like this.
        match family {
            0x11 | 0x12 => body.v2_source::<4>().map(Some),
            0x21 | 0x22 => body.v2_source::<16>().map(Some),
            _ => Ok(None),
        }
    }

    /// Source and destination address, then source and destination port.
    fn v2_source<const N: usize>(&mut self) -> Result<SocketAddr, Stop>
    where
        IpAddr: From<[u8; N]>,
    {
        let source: [u8; N] = self.array()?;
        let _destination: [u8; N] = self.array()?;
        let port = u16::from_be_bytes(self.array()?);
        Ok(SocketAddr::new(source.into(), port))
    }

    /// Exactly these bytes.
    fn literal(&mut self, bytes: &[u8], otherwise: Invalid) -> Result<(), Stop> {
        let there = bytes.len().min(self.rest.len());
        if self.rest[..there] != bytes[..there] {
            return Err(otherwise.into());
        }
        self.take(bytes.len()).map(|_| ())
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Stop::Partial)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Stop::Partial)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests;
