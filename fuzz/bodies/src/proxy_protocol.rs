//! Any bytes are a PROXY header, the start of one, or none; more bytes change none of the ends; and
//! whom we find named there, the crate `ppp` does, too.

use std::net::SocketAddr;

use ppp::{HeaderResult, v1, v2};
use thornwall_gateway::edge::proxy_protocol::{MOST_V2_BYTES, Read, read};

pub(crate) fn run(bytes: &[u8]) {
    let whole = read(bytes);
    let first = (0..=bytes.len())
        .map(|end| read(&bytes[..end]))
        .find(|part| *part != Ok(Read::Partial));
    assert_eq!(first.unwrap_or(Ok(Read::Partial)), whole);
    assert!(bytes.len() < MOST_V2_BYTES || whole != Ok(Read::Partial));
    if let Ok(Read::Complete { length, source }) = whole {
        assert_eq!(read(&bytes[..length]), whole);
        if source.is_some() {
            assert_eq!(source, named(&bytes[..length]));
        }
    }
}

fn named(header: &[u8]) -> Option<SocketAddr> {
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => match header.addresses {
            v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
            v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
            v1::Addresses::Unknown => None,
        },
        HeaderResult::V2(Ok(header)) => match header.addresses {
            v2::Addresses::IPv4(ip) => Some((ip.source_address, ip.source_port).into()),
            v2::Addresses::IPv6(ip) => Some((ip.source_address, ip.source_port).into()),
            v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
        },
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => None,
    }
}
