//! Client addresses and the networks that stand for one subscriber.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network that a client's address belongs to when neighbours are counted together: /24 for
/// IPv4, /48 for IPv6 (the usual allocation to one site, RFC 6177).
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & (!0 << 8))),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (!0 << 80))),
    }
}

/// One client: an IPv4 address, or the /64 that an IPv6 host picks its addresses from
/// (RFC 4291 section 2.5.4), since a single host can use all of them.
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (!0 << 64))),
    }
}

/// An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) is the IPv4 address.
pub const fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::{neighbourhood, subscriber};

    #[test]
    fn addresses_fall_into_their_networks() {
        let check = |address: &str, client: &str, network: &str| {
            let parse = |text: &str| text.parse().unwrap();
            assert_eq!(subscriber(parse(address)), parse(client));
            assert_eq!(neighbourhood(parse(address)), parse(network));
        };
        check("192.0.2.77", "192.0.2.77", "192.0.2.0");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1::");
    }
}
