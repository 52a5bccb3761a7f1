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
