//! The table against a plain list, and what it promises besides.

use std::{sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{table::LeftOut, *};

fn row(subject: &str, site: u16, until: u64) -> Row {
    Row {
        subject: subject.parse().unwrap(),
        site,
        action: Action::Deny,
        origin: Origin::Filter,
        until,
    }
}

fn table() -> (Table, Arc<Decisions>) {
    let shown = Arc::new(Decisions::default());
    (Table::new(Arc::clone(&shown), 1000), shown)
}

const NOW: Duration = Duration::from_millis(1000);

fn covering(shown: &Decisions, client: &str, site: u16) -> Option<String> {
    let found = shown.lookup(client.parse().unwrap(), site, NOW)?;
    Some(found.subject.to_string())
}

#[test]
fn the_most_specific_entry_that_holds_counts() {
    let (mut table, shown) = table();
    table.put(row("192.0.2.0/24", EVERY_SITE, 2000));
    table.put(row("192.0.2.128/25", 1, 2000));
    table.put(row("192.0.2.200", EVERY_SITE, 1000));
    table.put(row("2001:db8::/32", EVERY_SITE, 2000));
    table.show();
    for merged in [false, true] {
        let check = |client: &str, site: u16, expected: Option<&str>| {
            let found = covering(&shown, client, site);
            assert_eq!(found.as_deref(), expected, "{client} {site} {merged}");
        };
        check("192.0.2.1", 0, Some("192.0.2.0/24"));
        check("::ffff:192.0.2.1", 0, Some("192.0.2.0/24"));
        check("192.0.2.129", 0, Some("192.0.2.0/24"));
        check("192.0.2.129", 1, Some("192.0.2.128/25"));
        // Its time is over; the network around it is not.
        check("192.0.2.200", 1, Some("192.0.2.128/25"));
        check("192.0.3.1", 1, None);
        check("2001:db8:ffff::1", 1, Some("2001:db8::/32"));
        check("2001:db9::1", 1, None);
        if !merged {
            let LeftOut { ended, evicted } = table.merge(1000);
            assert_eq!(ended.len(), 1);
            assert_eq!(evicted, []);
        }
    }
}

#[test]
fn whatever_happens_the_table_says_what_a_list_would() {
    let mut random = SmallRng::seed_from_u64(4);
    for round in 0..40 {
        let (mut table, shown) = table();
        let mut list: Vec<Row> = Vec::new();
        for step in 0..60 {
            let length = random.random_range(20..=32);
            let address = std::net::Ipv4Addr::from_bits(0xc000_0200 | random.random_range(0..64));
            let subject = Prefix::around(address.into(), length).unwrap();
            let site = [EVERY_SITE, 0, 1][random.random_range(0..3)];
            list.retain(|row| (row.subject, row.site) != (subject, site));
            if random.random_range(0..4) == 0 {
                table.remove(subject, site);
            } else {
                let until = random.random_range(900..1100);
                let row = Row {
                    subject,
                    site,
                    ..row("192.0.2.1", 0, until)
                };
                table.put(row);
                list.push(row);
            }
            if step % 7 == 0 {
                table.merge(1000);
            }
        }
        table.show();
        for bits in 0..64 {
            let client = std::net::Ipv4Addr::from_bits(0xc000_0200 | bits);
            for site in [0, 1, 2] {
                let expected = list
                    .iter()
                    .filter(|row| row.until > 1000 && (row.site == EVERY_SITE || row.site == site))
                    .filter(|row| {
                        Prefix::around(client.into(), row.subject.length()) == Some(row.subject)
                    })
                    .max_by_key(|row| rank(row))
                    .map(|row| row.subject.to_string());
                let found = covering(&shown, &client.to_string(), site);
                assert_eq!(found, expected, "round {round}: {client} {site}");
            }
        }
    }
}

#[test]
fn the_ends_of_the_address_space_are_addresses_too() {
    let (mut table, shown) = table();
    for subject in [
        "0.0.0.0",
        "255.255.255.255",
        "255.255.255.0/24",
        "::",
        "ffff::/16",
    ] {
        table.put(row(subject, EVERY_SITE, 2000));
    }
    table.put(row(
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        EVERY_SITE,
        2000,
    ));
    table.show();
    let check = |client: &str, expected: &str| {
        assert_eq!(covering(&shown, client, 0).as_deref(), Some(expected));
    };
    check("0.0.0.0", "0.0.0.0");
    check("255.255.255.255", "255.255.255.255");
    check("255.255.255.254", "255.255.255.0/24");
    check("::", "::");
    check("ffff::1", "ffff::/16");
    check(
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    );
    assert_eq!(covering(&shown, "254.255.255.255", 0), None);
}

#[test]
fn those_who_are_never_blocked_are_not_found() {
    let (mut table, shown) = table();
    table.put(row("10.0.0.0/8", EVERY_SITE, 2000));
    table.show();
    let never: PrefixSet = ["10.1.0.0/16".parse::<Prefix>().unwrap()]
        .into_iter()
        .collect();
    shown.spare(Arc::new(never));
    assert_eq!(covering(&shown, "10.1.2.3", 0), None);
    assert!(covering(&shown, "10.2.0.1", 0).is_some());
    assert_eq!(shown.spared(), 1);
    let spared = |subject: &str| shown.is_spared(subject.parse().unwrap());
    assert!(spared("10.1.2.3") && spared("10.1.0.0/16"));
    assert!(!spared("10.0.0.0/8") && !spared("10.2.0.1"));
}

#[test]
fn where_there_is_no_room_the_site_with_the_most_gives_way() {
    let shown = Arc::new(Decisions::default());
    let mut table = Table::new(Arc::clone(&shown), 10);
    for host in 0..20u8 {
        table.put(row(&format!("192.0.2.{host}"), 1, 2000 + u64::from(host)));
    }
    for host in 0..3u8 {
        table.put(row(&format!("198.51.100.{host}"), 2, 1500));
    }
    table.put(Row {
        origin: Origin::Operator,
        ..row("203.0.113.1", 1, 1001)
    });
    let left_out = table.merge(1000);
    assert_eq!(left_out.evicted.len(), 14);
    assert!(
        left_out
            .evicted
            .iter()
            .all(|row| row.site == 1 && row.until < 2014)
    );
    assert_eq!(shown.len(), 10);
    assert!(covering(&shown, "203.0.113.1", 1).is_some());
    assert!(covering(&shown, "198.51.100.0", 2).is_some());
    assert_eq!(covering(&shown, "192.0.2.0", 1), None);
}

#[test]
fn a_site_keeps_its_number() {
    let sites = Sites::default();
    assert_eq!(sites.known("shop"), None);
    let shop = sites.number("shop").unwrap();
    let blog = sites.number("blog").unwrap();
    assert_ne!(shop, blog);
    assert_eq!(sites.number("shop"), Some(shop));
    assert_eq!(sites.scope(blog), Some(Scope::Site("blog".into())));
    assert_eq!(sites.of(&Scope::Deployment), Some(EVERY_SITE));
}

#[test]
fn a_packet_filter_is_told_what_requests_would_meet() {
    let shown = Arc::new(Decisions::default());
    let mut table = Table::new(Arc::clone(&shown), 1000);
    let row = |text: &str, action, until| Row {
        subject: text.parse().unwrap(),
        site: EVERY_SITE,
        action,
        origin: Origin::Operator,
        until,
    };
    let deny = |text, until| row(text, Action::Deny, until);
    let mut one_sites = deny("192.0.2.200", 900);
    one_sites.site = 7;
    let before = shown.version();
    for row in [
        deny("192.0.2.0/24", 100),
        row("192.0.2.64/26", Action::Throttle, 900),
        deny("192.0.2.65", 50),
        deny("192.0.2.7", 900),
        deny("192.0.2.8", 10),
        one_sites,
        deny("203.0.113.0/24", 100),
        deny("203.0.114.0/24", 100),
        deny("0.0.0.0/7", 5),
        deny("127.0.0.0/8", 900),
        deny("ffff::/16", 100),
        deny("::/127", 100),
    ] {
        table.put(row);
    }
    table.list(vec![deny("192.0.2.7", 1000), deny("255.255.255.255", 100)]);
    table.show();
    assert!(shown.version() > before);
    let never = ["203.0.113.128/25", "203.0.114.7", "ffff:ff00::/24"];
    let never = never.iter().map(|text| text.parse::<Prefix>().unwrap());
    shown.spare(Arc::new(never.collect()));
    let told: Vec<String> = shown
        .denied(Duration::from_millis(10))
        .iter()
        .map(|denied| format!("{}-{} {}", denied.first, denied.last, denied.until))
        .collect();
    assert_eq!(
        told,
        [
            "192.0.2.0-192.0.2.6 100",
            "192.0.2.7-192.0.2.7 900",
            "192.0.2.8-192.0.2.63 100",
            "192.0.2.65-192.0.2.65 50",
            "192.0.2.128-192.0.2.255 100",
            "203.0.113.0-203.0.113.127 100",
            "203.0.114.0-203.0.114.6 100",
            "203.0.114.8-203.0.114.255 100",
            "255.255.255.255-255.255.255.255 100",
            "::-:: 100",
            "ffff::-ffff:feff:ffff:ffff:ffff:ffff:ffff:ffff 100",
        ]
    );
    // Address by address, it is what a lookup says.
    let ranges = shown.denied(Duration::from_millis(10));
    for host in 0..=255 {
        for network in [[192, 0, 2], [203, 0, 113], [203, 0, 114]] {
            let [a, b, c] = network;
            let address = IpAddr::from([a, b, c, host]);
            let listed = ranges
                .iter()
                .any(|range| range.first <= address && address <= range.last);
            let denied = shown.denies_connection(address, Duration::from_millis(10));
            assert_eq!(listed, denied, "{address}");
        }
    }
    let touches = |text: &str| shown.touches_spared(text.parse().unwrap());
    assert!(touches("203.0.0.0/16") && touches("203.0.114.7") && touches("ff00::/8"));
    assert!(!touches("203.0.113.0/25") && !touches("2001:db8::/32") && !touches("1.0.0.0/8"));
}

#[test]
fn of_one_network_the_sites_own_entry_counts_wherever_it_lies() {
    let (mut table, shown) = table();
    table.put(row("192.0.2.1", EVERY_SITE, 2000));
    table.put(Row {
        action: Action::Throttle,
        ..row("192.0.2.1", 1, 2000)
    });
    table.show();
    for merged in [false, true] {
        let found = |site| shown.lookup("192.0.2.1".parse().unwrap(), site, NOW);
        assert_eq!(found(1).unwrap().action, Action::Throttle, "{merged}");
        assert_eq!(found(0).unwrap().action, Action::Deny, "{merged}");
        let _ = table.merge(1000);
    }
}

#[test]
fn an_operators_denial_of_a_network_does_not_pass_over_whom_a_filter_slowed_down() {
    let (mut table, shown) = table();
    let throttled = Row {
        action: Action::Throttle,
        origin: Origin::Filter,
        ..row("192.0.2.1", 1, 2000)
    };
    table.put(throttled);
    table.put(Row {
        origin: Origin::Operator,
        ..row("192.0.2.0/24", EVERY_SITE, 1500)
    });
    table.show();
    let found = |now| shown.lookup("192.0.2.1".parse().unwrap(), 1, now).unwrap();
    for merged in [false, true] {
        assert_eq!(found(NOW).action, Action::Deny, "{merged}");
        let later = Duration::from_millis(1600);
        assert_eq!(found(later).action, Action::Throttle, "{merged}");
        let _ = table.merge(1000);
    }
    // What an operator said of one client stands before what one said of its network.
    table.put(Row {
        origin: Origin::Operator,
        ..throttled
    });
    table.show();
    assert_eq!(found(NOW).action, Action::Throttle);
}
