//! Distribution, stability and failure of every way of choosing.

use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::upstream::server_health::{InFlight, ServerHealth};

const RULES: Rules = Rules {
    failures: 1,
    base: Duration::from_secs(10),
    most: Duration::from_secs(10),
    slow_start: Duration::from_secs(100),
};

fn table(weights: &[f64]) -> Table {
    named_table(
        weights
            .iter()
            .enumerate()
            .map(|(at, weight)| (at, *weight, 0)),
    )
}

/// Servers of a name, a weight and a limit each.
fn named_table(servers: impl Iterator<Item = (usize, f64, u32)>) -> Table {
    let endpoints = servers.map(|(name, weight, max_connections)| {
        let name = name.to_string();
        Arc::new(Endpoint {
            server: name.as_str().into(),
            key: Key::of(name.as_bytes()),
            cookie: Some(format!("cookie-{name}").into()),
            weight,
            max_connections,
            peer: pingora::upstreams::peer::HttpPeer::new("127.0.0.1:1", false, String::new()),
            health: Arc::new(ServerHealth::default()),
        })
    });
    Table::new(endpoints.collect())
}

fn ask(now: u64, key: u64, tried: &Tried) -> Ask<'_> {
    Ask {
        now: Duration::from_secs(now),
        key: Key::of(&key.to_be_bytes()),
        cookie: None,
        tried,
    }
}

/// How often each server is chosen at a time, for keys from 0 on.
fn counts(kind: Balance, table: &Table, now: u64, requests: u64) -> BTreeMap<String, u64> {
    let balancer = Balancer::new(kind, RULES);
    let tried = Tried::default();
    let mut counts = BTreeMap::new();
    for key in 0..requests {
        let Choice::At(place) = balancer.choose(table, &ask(now, key, &tried)) else {
            panic!("nobody was chosen");
        };
        let name = table.endpoints[place].server.to_string();
        *counts.entry(name).or_default() += 1;
    }
    counts
}

const ALL: [Balance; 4] = [
    Balance::ConsistentHash,
    Balance::LeastConnections,
    Balance::Random,
    Balance::RoundRobin,
];

#[test]
fn everybody_gets_a_share_by_weight() {
    let table = table(&[1.0, 2.0, 5.0]);
    for kind in [
        Balance::ConsistentHash,
        Balance::Random,
        Balance::RoundRobin,
    ] {
        let counts = counts(kind, &table, 0, 80_000);
        let exact = kind == Balance::RoundRobin;
        for (name, expected) in [("0", 10_000), ("1", 20_000), ("2", 50_000)] {
            let off = counts[name].abs_diff(expected);
            assert!(off <= if exact { 0 } else { 800 }, "{kind:?} {counts:?}");
        }
    }
}

#[test]
fn leaving_one_out_keeps_the_proportions_of_the_others() {
    let table = table(&[1.0, 1.0, 1.0, 3.0]);
    table.endpoints[1].health.set_down(true, Duration::ZERO);
    for kind in [
        Balance::ConsistentHash,
        Balance::Random,
        Balance::RoundRobin,
    ] {
        let counts = counts(kind, &table, 1, 50_000);
        assert_eq!(counts.get("1"), None, "{kind:?}");
        for (name, expected) in [("0", 10_000_u64), ("2", 10_000), ("3", 30_000)] {
            assert!(counts[name].abs_diff(expected) < 700, "{kind:?} {counts:?}");
        }
    }
}

#[test]
fn the_fewest_requests_by_weight_win() {
    let table = table(&[1.0, 2.0, 1.0]);
    let balancer = Balancer::new(Balance::LeastConnections, RULES);
    let tried = Tried::default();
    let mut held = Vec::new();
    for key in 0..40 {
        let Choice::At(place) = balancer.choose(&table, &ask(0, key, &tried)) else {
            panic!("nobody was chosen");
        };
        held.push(InFlight::enter(&table.endpoints[place].health, 0));
    }
    let loads: Vec<u32> = table
        .endpoints
        .iter()
        .map(|e| e.health.in_flight())
        .collect();
    assert_eq!(loads, [10, 20, 10]);
    drop(held);
    // Servers that are equally idle share.
    let even = named_table((0..2).map(|name| (name, 1.0, 0)));
    let counts = counts(Balance::LeastConnections, &even, 0, 1000);
    assert!(counts.into_values().all(|count| count.abs_diff(500) < 100));
}

#[test]
fn a_key_stays_with_its_server_when_others_come_and_go() {
    const KEYS: u64 = 20_000;
    let of = |names: &[usize]| {
        let table = named_table(names.iter().map(|name| (*name, 1.0, 0)));
        let balancer = Balancer::new(Balance::ConsistentHash, RULES);
        let tried = Tried::default();
        let chosen = (0..KEYS).map(|key| match balancer.choose(&table, &ask(0, key, &tried)) {
            Choice::At(place) => table.endpoints[place].server.to_string(),
            other => panic!("{other:?}"),
        });
        chosen.collect::<Vec<_>>()
    };
    let before = of(&[0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(
        before,
        of(&[7, 3, 1, 0, 2, 6, 5, 4]),
        "the order does not matter"
    );
    let moved = |after: &[String]| {
        let pairs = before
            .iter()
            .zip(after)
            .filter(|(before, after)| before != after);
        pairs
            .map(|(b, a)| (b.clone(), a.clone()))
            .collect::<Vec<_>>()
    };
    let less = moved(&of(&[0, 1, 2, 4, 5, 6, 7]));
    assert!(less.iter().all(|(from, _)| from == "3"));
    let share = KEYS / 8;
    assert!((less.len() as u64).abs_diff(share) < 200, "{}", less.len());
    let spread = less.iter().filter(|(_, to)| to == "5").count() as u64;
    assert!(spread.abs_diff(share / 7) < 100, "{spread}");
    let more = moved(&of(&[0, 1, 2, 3, 4, 5, 6, 7, 8]));
    assert!(more.iter().all(|(_, to)| to == "8"));
    assert!(
        (more.len() as u64).abs_diff(KEYS / 9) < 200,
        "{}",
        more.len()
    );
}

#[test]
fn a_server_that_is_coming_back_gets_less() {
    for kind in [
        Balance::ConsistentHash,
        Balance::Random,
        Balance::RoundRobin,
    ] {
        let table = table(&[1.0, 1.0]);
        table.endpoints[1].health.set_down(true, Duration::ZERO);
        table.endpoints[1].health.set_down(false, Duration::ZERO);
        // Tickets of others are drawn again, so that its share is 0.3 / 1.3 then; with keys 0.3 / 2.
        let counts = counts(kind, &table, 30, 20_000);
        let expected = if kind == Balance::ConsistentHash {
            3000
        } else {
            4615
        };
        assert!(counts["1"].abs_diff(expected) < 300, "{kind:?} {counts:?}");
    }
}

#[test]
fn with_all_out_all_are_used() {
    for kind in ALL {
        for count in [1, 3] {
            let table = table(&vec![1.0; count]);
            for endpoint in &table.endpoints {
                endpoint.health.set_down(true, Duration::ZERO);
            }
            let balancer = Balancer::new(kind, RULES);
            let tried = Tried::default();
            let chosen: std::collections::HashSet<_> = (0..100)
                .map(|key| match balancer.choose(&table, &ask(1, key, &tried)) {
                    Choice::Desperate(place) => place,
                    other => panic!("{kind:?} {other:?}"),
                })
                .collect();
            assert_eq!(chosen.len(), count, "{kind:?}");
        }
    }
}

#[test]
fn another_try_goes_elsewhere_until_there_is_nobody() {
    for kind in ALL {
        let table = table(&[1.0, 100.0, 1.0]);
        let balancer = Balancer::new(kind, RULES);
        let mut tried = Tried::default();
        let mut seen = Vec::new();
        while let Choice::At(place) = balancer.choose(&table, &ask(0, 7, &tried)) {
            seen.push(place);
            tried.push(table.endpoints[place].key);
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2], "{kind:?}");
        assert_eq!(balancer.choose(&table, &ask(0, 7, &tried)), Choice::Nobody);
    }
}

#[test]
fn full_servers_are_passed_by_and_waited_for() {
    for kind in ALL {
        let table = named_table([(0, 1.0, 1), (1, 1.0, 1)].into_iter());
        let balancer = Balancer::new(kind, RULES);
        let tried = Tried::default();
        let enter = |place: usize| InFlight::enter(&table.endpoints[place].health, 1).unwrap();
        let first = enter(0);
        for key in 0..10 {
            assert_eq!(balancer.choose(&table, &ask(0, key, &tried)), Choice::At(1));
        }
        let _second = enter(1);
        assert_eq!(balancer.choose(&table, &ask(0, 1, &tried)), Choice::Full);
        drop(first);
        // A server that is out is no place for those who wait for one that is only busy.
        table.endpoints[0].health.set_down(true, Duration::ZERO);
        assert_eq!(balancer.choose(&table, &ask(0, 1, &tried)), Choice::Full);
    }
}

#[test]
fn the_cookie_decides_where_its_server_is_well() {
    let table = table(&[1.0, 1.0, 1.0]);
    let balancer = Balancer::new(Balance::RoundRobin, RULES);
    let tried = Tried::default();
    let chosen = |cookie| {
        let ask = Ask {
            cookie: Some(cookie),
            ..ask(1, 0, &tried)
        };
        (0..30)
            .filter(|_| balancer.choose(&table, &ask) == Choice::At(1))
            .count()
    };
    assert_eq!(chosen("cookie-1"), 30);
    assert_eq!(chosen("cookie-9"), 10);
    table.endpoints[1].health.set_down(true, Duration::ZERO);
    assert_eq!(chosen("cookie-1"), 0);
}

#[test]
fn without_servers_there_is_nobody() {
    let tried = Tried::default();
    for kind in ALL {
        let balancer = Balancer::new(kind, RULES);
        assert_eq!(
            balancer.choose(&table(&[]), &ask(0, 0, &tried)),
            Choice::Nobody
        );
    }
}
