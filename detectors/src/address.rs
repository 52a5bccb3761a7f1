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

/// Networks that no client on the internet comes from, and that requests of ours must not be led to
/// by strangers: the ones of the IANA special-purpose registries (RFC 6890) that are not globally
/// reachable, multicast and reserved space. Those for documentation are left out: no client uses them.
const NOT_GLOBAL_V4: [(Ipv4Addr, u8); 12] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// IPv6 networks that no client on the internet comes from, as [`NOT_GLOBAL_V4`]. 0::/8 has `::`, `::1`, and the translators' 64:ff9b::/32 (RFC 6052, RFC 8215),
/// 2002::/16 is the 6to4 relays' (RFC 3056): each address of those stands for an IPv4 address, which
/// may be a private one.
const NOT_GLOBAL_V6: [(Ipv6Addr, u8); 7] = [
    (Ipv6Addr::UNSPECIFIED, 8),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// Whether every address from `first` to `last`, which are of the same family, may be one of the
/// internet.
pub fn is_global(first: IpAddr, last: IpAddr) -> bool {
    match (canonical(first), canonical(last)) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (first, last) = (first.to_bits(), last.to_bits());
            NOT_GLOBAL_V4.iter().all(|(network, length)| {
                let begin = network.to_bits();
                last < begin || first > (begin | (u32::MAX >> length))
            })
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let (first, last) = (first.to_bits(), last.to_bits());
            NOT_GLOBAL_V6.iter().all(|(network, length)| {
                let begin = network.to_bits();
                last < begin || first > (begin | (u128::MAX >> length))
            })
        }
        _ => false,
    }
}

/// Most hops that are looked at in one request's forwarding header: far more than proxies stand in a
/// row anywhere.
const MOST_HOPS: usize = 256;

/// The client that a chain of trusted proxies reports, or `None` where the peer is the client.
///
/// `values` are the forwarding header's lines in the order sent. The chain is walked from the
/// right, where our own proxies write, past every address that `trusted` knows; the first other one
/// is the client, since whatever stands left of it is that client's own claim.
///
/// Empty elements, which no list means (RFC 9110 section 5.6.1.2), and nginx's `unix:`, a hop within one
/// machine, are passed over. A proxy that hides its client (`unknown`, `_hidden`, RFC 7239 sections 6.2
/// and 6.3) leaves what that client wrote to the left of it, so such an element ends the walk, as does
/// anything else that is not an address, and the bound on hops: the client is then the furthest address
/// that was understood.
pub fn reported_client<'a>(
    values: impl DoubleEndedIterator<Item = &'a str>,
    trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let hops = values.rev().flat_map(|line| line.rsplit(','));
    let mut client = None;
    for hop in hops
        .map(str::trim)
        .filter(|hop| !hop.is_empty())
        .take(MOST_HOPS)
    {
        match parse_hop(hop) {
            Hop::Address(address) => client = Some(address),
            Hop::Local => continue,
            Hop::Unnamed => break,
        }
        if !client.is_some_and(&trusted) {
            break;
        }
    }
    client
}

/// The client that the last element of a forwarding header names, whatever its sender.
pub fn claimed_client<'a>(values: impl DoubleEndedIterator<Item = &'a str>) -> Option<IpAddr> {
    reported_client(values, |_| false)
}

/// What an element of a forwarding header names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hop {
    Address(IpAddr),
    /// A hop within one machine.
    Local,
    /// A hop whose address is withheld or cannot be read.
    Unnamed,
}

/// One element: an address, or a `for` of `Forwarded` (RFC 7239 section 4) that is one; in quotes,
/// with a port, in brackets or with a zone (RFC 4007 section 11) where some proxies write them.
fn parse_hop(element: &str) -> Hop {
    let node = element
        .split(';')
        .find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("for")
                .then(|| value.trim())
        })
        .unwrap_or(element);
    let node = node.trim_matches('"').trim();
    if let Some(address) = parse_node(node) {
        return Hop::Address(canonical(address));
    }
    let name = node.split_once(':').map_or(node, |(name, _)| name);
    if name.eq_ignore_ascii_case("unix") {
        Hop::Local
    } else {
        Hop::Unnamed
    }
}

fn parse_node(node: &str) -> Option<IpAddr> {
    if let Ok(address) = node.parse() {
        return Some(address);
    }
    if let Some(rest) = node.strip_prefix('[') {
        let (inside, _port) = rest.split_once(']')?;
        return without_zone(inside).parse().ok();
    }
    // A second colon makes it IPv6, whose ports need brackets.
    let name = match node.split_once(':') {
        Some((name, port)) if !port.contains(':') => name,
        _ => without_zone(node),
    };
    name.parse().ok()
}

fn without_zone(address: &str) -> &str {
    address
        .split_once('%')
        .map_or(address, |(address, _)| address)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{is_global, neighbourhood, reported_client, subscriber};

    #[test]
    fn what_is_not_of_the_internet_is_told() {
        let check = |first: &str, last: &str, global: bool| {
            let (first, last) = (first.parse().unwrap(), last.parse().unwrap());
            assert_eq!(is_global(first, last), global, "{first}-{last}");
        };
        for one in [
            "8.8.8.8",
            "192.0.2.7",
            "2001:db8::7",
            "2a00::1",
            "100.63.0.1",
            "172.32.0.1",
        ] {
            check(one, one, true);
        }
        for one in [
            "0.0.0.0",
            "10.255.255.255",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            check(one, one, false);
        }
        check("8.0.0.0", "11.255.255.255", false);
        check("11.0.0.0", "11.255.255.255", true);
        check("2000::", "2fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false);
    }

    #[test]
    fn the_rightmost_untrusted_hop_is_the_client() {
        let check = |lines: &[&str], expected: Option<&str>| {
            let trusted = |address: IpAddr| address.to_string().starts_with("10.");
            let client = reported_client(lines.iter().copied(), trusted);
            assert_eq!(
                client.map(|c| c.to_string()).as_deref(),
                expected,
                "{lines:?}"
            );
        };
        check(&[], None);
        check(&["192.0.2.1"], Some("192.0.2.1"));
        check(&["203.0.113.9, 192.0.2.1, 10.0.0.1"], Some("192.0.2.1"));
        check(&["203.0.113.9", "192.0.2.1,10.0.0.1"], Some("192.0.2.1"));
        check(&["10.0.0.2, 10.0.0.1"], Some("10.0.0.2"));
        check(&["192.0.2.1, nonsense, 10.0.0.1"], Some("10.0.0.1"));
        check(&["nonsense"], None);
        check(&["192.0.2.1:70000x:1"], None);
        check(&[""], None);
        let far = format!("192.0.2.1{}", ", 10.0.0.1".repeat(40));
        check(&[&far], Some("192.0.2.1"));
        let further = format!("192.0.2.1, 10.0.0.9{}", ", 10.0.0.1".repeat(300));
        check(&[&further], Some("10.0.0.1"));
        check(&["192.0.2.1:4711"], Some("192.0.2.1"));
        check(&["[2001:db8::1]:4711"], Some("2001:db8::1"));
        check(&["[2001:db8::1]"], Some("2001:db8::1"));
        check(&["::ffff:192.0.2.1"], Some("192.0.2.1"));
    }

    #[test]
    fn elements_in_seen_forms_name_their_client() {
        let check = |line: &str, expected: Option<&str>| {
            let trusted = |address: IpAddr| address.to_string().starts_with("10.");
            let client = reported_client([line].into_iter(), trusted);
            let client = client.map(|client| client.to_string());
            assert_eq!(client.as_deref(), expected, "{line}");
        };
        check("192.0.2.1,", Some("192.0.2.1"));
        check("192.0.2.1, , 10.0.0.1,, ", Some("192.0.2.1"));
        check("\"192.0.2.1\"", Some("192.0.2.1"));
        check("\"192.0.2.1:80\", 10.0.0.1", Some("192.0.2.1"));
        check("fe80::1%eth0", Some("fe80::1"));
        check("[fe80::1%25eth0]:80", Some("fe80::1"));
        check("\"[2001:db8::1]:4711\"", Some("2001:db8::1"));
        check("2001:db8::1", Some("2001:db8::1"));
        check("192.0.2.1, unknown", None);
        check("192.0.2.1, _hidden:_port, 10.0.0.1", Some("10.0.0.1"));
        check("192.0.2.1, unix:", Some("192.0.2.1"));
        check("192.0.2.1, -", None);
        check("unknown, 10.0.0.1", Some("10.0.0.1"));
        check("unknown", None);
        check("for=192.0.2.1;proto=https, for=10.0.0.1", Some("192.0.2.1"));
        check("proto=http;FOR=\"[2001:db8::1]:80\"", Some("2001:db8::1"));
        check("for=\"_gazonk\"", None);
        check(
            "6.6.6.6, for=\"evil, 192.0.2.1, 10.0.0.1",
            Some("192.0.2.1"),
        );
        check("[192.0.2.1", None);
    }

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
