//! The set against a naive search, and lists with their mistakes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Prefix, PrefixSet};

#[test]
fn boundaries_and_merging() {
    let check = |networks: &[&str], address: &str, range: Option<(&str, &str)>| {
        let set: PrefixSet = networks
            .iter()
            .map(|text| text.parse::<Prefix>().unwrap())
            .collect();
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        let range = range.map(|(first, last)| (parse(first), parse(last)));
        assert_eq!(
            set.lookup(parse(address)),
            range,
            "{address} in {networks:?}"
        );
    };
    let all_v4 = Some(("0.0.0.0", "255.255.255.255"));
    let all_v6 = Some(("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    let all_documentation = Some(("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"));
    check(&[], "0.0.0.0", None);
    check(&[], "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None);
    check(&["0.0.0.0/0"], "0.0.0.0", all_v4);
    check(&["0.0.0.0/0"], "255.255.255.255", all_v4);
    check(&["0.0.0.0/0"], "::1", None);
    check(&["::/0"], "::", all_v6);
    check(&["::/0"], "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", all_v6);
    check(&["::/0"], "192.0.2.1", None);
    check(
        &["::ffff:192.0.2.0/120"],
        "192.0.2.9",
        Some(("192.0.2.0", "192.0.2.255")),
    );
    check(
        &["192.0.2.0/24"],
        "::ffff:192.0.2.9",
        Some(("192.0.2.0", "192.0.2.255")),
    );
    check(
        &["255.255.255.255"],
        "255.255.255.255",
        Some(("255.255.255.255", "255.255.255.255")),
    );
    check(&["255.255.255.255"], "255.255.255.254", None);
    check(
        &["192.0.2.0/25", "192.0.2.128/25"],
        "192.0.2.1",
        Some(("192.0.2.0", "192.0.2.255")),
    );
    check(
        &["192.0.2.2", "192.0.2.1"],
        "192.0.2.1",
        Some(("192.0.2.1", "192.0.2.2")),
    );
    check(&["192.0.2.1", "192.0.2.3"], "192.0.2.2", None);
    check(
        &["10.0.0.0/8", "10.1.2.3"],
        "10.200.0.1",
        Some(("10.0.0.0", "10.255.255.255")),
    );
    check(
        &["2001:db8::/33", "2001:db8:8000::/33"],
        "2001:db8:8000::1",
        all_documentation,
    );
}

#[test]
fn agrees_with_a_linear_search() {
    let mut rng = StdRng::seed_from_u64(1);
    // Sizes around the edges of one and two levels of nodes; 300 rarely merge, 4096 make four.
    for size in [0, 1, 2, 15, 16, 17, 255, 256, 257, 300, 4096] {
        for narrow in [true, false] {
            let prefixes: Vec<Prefix> = (0..size).map(|_| random(&mut rng, narrow)).collect();
            let set: PrefixSet = prefixes.iter().copied().collect();
            for prefix in prefixes.iter().take(300) {
                for address in around(prefix) {
                    compare(&set, &prefixes, address);
                }
            }
            for _ in 0..200 {
                compare(&set, &prefixes, random(&mut rng, narrow).first());
            }
        }
    }
}

fn compare(set: &PrefixSet, prefixes: &[Prefix], address: IpAddr) {
    let within = |address: IpAddr| {
        prefixes
            .iter()
            .any(|prefix| prefix.first() <= address && address <= prefix.last())
    };
    let Some((first, last)) = set.lookup(address) else {
        assert!(!within(address), "{address} is missing");
        return;
    };
    assert!(
        within(address) && first <= address && address <= last,
        "{address}"
    );
    assert!(
        within(first) && within(last),
        "{first}-{last} is wider than the networks"
    );
    assert!(
        step(first, false).is_none_or(|before| !within(before)),
        "{first} is not the start"
    );
    assert!(
        step(last, true).is_none_or(|behind| !within(behind)),
        "{last} is not the end"
    );
}

/// A network of either family; `narrow` ones crowd into few addresses, so that they overlap.
fn random(rng: &mut StdRng, narrow: bool) -> Prefix {
    let address = match (rng.random(), narrow) {
        (true, true) => IpAddr::V4((0xffff_ff00 | rng.random::<u32>() & 0xff).into()),
        (true, false) => IpAddr::V4(rng.random::<u32>().into()),
        (false, true) => IpAddr::V6((u128::MAX - u128::from(rng.random::<u8>())).into()),
        (false, false) => IpAddr::V6(rng.random::<u128>().into()),
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    let shortest = if narrow { width - 6 } else { 10 };
    let hosts = width - rng.random_range(shortest..=width);
    let network = match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() >> hosts << hosts).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> hosts << hosts).into(),
    };
    Prefix::new(network, u8::try_from(width - hosts).unwrap()).unwrap()
}

/// The edges of a network and their neighbours outside.
fn around(prefix: &Prefix) -> Vec<IpAddr> {
    let (first, last) = (prefix.first(), prefix.last());
    [
        Some(first),
        Some(last),
        step(first, false),
        step(last, true),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn step(address: IpAddr, up: bool) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) if up => v4
            .to_bits()
            .checked_add(1)
            .map(|bits| Ipv4Addr::from(bits).into()),
        IpAddr::V4(v4) => v4
            .to_bits()
            .checked_sub(1)
            .map(|bits| Ipv4Addr::from(bits).into()),
        IpAddr::V6(v6) if up => v6
            .to_bits()
            .checked_add(1)
            .map(|bits| Ipv6Addr::from(bits).into()),
        IpAddr::V6(v6) => v6
            .to_bits()
            .checked_sub(1)
            .map(|bits| Ipv6Addr::from(bits).into()),
    }
}
