//! Which of several sidecars has a case, and what moves when their list changes.

use std::net::Ipv4Addr;

use super::*;

const ADDRESSES: [&str; 4] = [
    "http://127.0.0.1:9181",
    "http://127.0.0.1:9182",
    "https://sidecar.example:9181",
    "unix:/run/thornwall/sidecar.sock",
];

/// Sidecars of a gateway that numbers these sites in their order.
fn sidecars(addresses: &[&str], sites: &[&str]) -> Sidecars {
    let decisions = Arc::<Decisions>::default();
    for site in sites {
        decisions.sites().number(site).unwrap();
    }
    Sidecars::new(addresses, 100, KeySeed::default(), decisions).unwrap()
}

fn clients() -> impl Iterator<Item = IpAddr> {
    (0..4_000).map(|n| IpAddr::V4(Ipv4Addr::from_bits(0xcb00_7100 + n)))
}

#[test]
fn each_sidecar_has_its_share_of_clients_and_cases() {
    let sidecars = sidecars(&ADDRESSES, &["shop"]);
    for sidecar in sidecars.iter() {
        let own = clients().filter(|client| Arc::ptr_eq(sidecars.of(0, *client), sidecar));
        let own = own.count();
        assert!((900..1_100).contains(&own), "{}: {own}", sidecar.address);
    }
    let sighting = |n: u32| Sighting {
        site: 0,
        client: Ipv4Addr::from_bits(n).into(),
        shape: 1,
        score: 0.5,
        now: std::time::Duration::ZERO,
    };
    let one = sidecars.sight(&sighting(7)).case;
    assert_eq!(sidecars.sight(&sighting(7)).case, one);
    assert_ne!(sidecars.sight(&sighting(8)).case, one);
}

#[test]
fn only_clients_of_what_came_or_went_move() {
    let (few, more) = (
        sidecars(&ADDRESSES[..3], &["shop"]),
        sidecars(&ADDRESSES, &["shop"]),
    );
    let address = |sidecars: &Sidecars, client| sidecars.of(0, client).address.clone();
    let moved = clients().filter(|client| address(&few, *client) != address(&more, *client));
    let moved: Vec<IpAddr> = moved.collect();
    assert!((900..1_100).contains(&moved.len()), "{}", moved.len());
    assert!(
        moved
            .iter()
            .all(|client| address(&more, *client) == ADDRESSES[3])
    );
}

#[test]
fn every_gateway_finds_the_same_sidecar() {
    let mut reversed = ADDRESSES;
    reversed.reverse();
    // Another order of sidecars and of sites, as another gateway's file may have it.
    let one = sidecars(&ADDRESSES, &["shop", "blog"]);
    let other = sidecars(&reversed, &["blog", "shop"]);
    let mut differ = 0;
    for client in clients() {
        let (shop, blog) = (one.of(0, client), one.of(1, client));
        assert_eq!(shop.address, other.of(1, client).address);
        assert_eq!(blog.address, other.of(0, client).address);
        differ += usize::from(shop.address != blog.address);
    }
    assert!(differ > 2_500, "sites have nothing to do with each other");
    // All addresses of one subscriber are one client.
    let of = |text: &str| &one.of(0, text.parse().unwrap()).address;
    assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::4"));
    assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
}
