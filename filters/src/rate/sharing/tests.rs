//! Three gateways and one limit, in simulated time: what they let through together.

use std::{collections::HashMap, num::NonZeroU32, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng};

use thornwall_decisions::limit_report::Report;

use crate::{
    key::{KeySeed, LimitKey},
    rate::{Buckets, Quota, groups::groups},
};

const GATEWAYS: usize = 3;
/// Time between two exchanges.
const EXCHANGE_MS: u64 = 100;

fn quota(requests: u32, per_secs: u64, burst: u32) -> Quota {
    Quota {
        requests: NonZeroU32::new(requests).unwrap(),
        per: Duration::from_secs(per_secs),
        burst: NonZeroU32::new(burst).unwrap(),
    }
}

fn keys(count: u32) -> Vec<LimitKey> {
    let seed = KeySeed::new(&[1; 32]);
    (0..count)
        .map(|number| seed.client(0, std::net::Ipv4Addr::from_bits(number).into()))
        .collect()
}

/// Gateways that hear each other, through the bytes of real reports.
struct Together {
    gateways: Vec<Buckets>,
}

impl Together {
    fn new(quota: Quota) -> Self {
        let gateways: Vec<Buckets> = (0..GATEWAYS)
            .map(|_| Buckets::shared(quota, 4096))
            .collect();
        for gateway in &gateways {
            gateway.meet(GATEWAYS as u32, true);
        }
        Self { gateways }
    }

    fn exchange(&self, now: Duration) {
        let name = |_| Some("shop".into());
        let reports: Vec<Vec<u8>> = self
            .gateways
            .iter()
            .map(|gateway| {
                let groups = groups(1, gateway.taken(), name);
                let (bytes, left) = Report { gateway: 0, groups }.encode();
                assert_eq!(left, []);
                bytes
            })
            .collect();
        for (sender, report) in reports.iter().enumerate() {
            let report = Report::decode(report).unwrap();
            let others = self.gateways.iter().enumerate();
            for (_, other) in others.filter(|(receiver, _)| *receiver != sender) {
                for (digest, cost) in report.groups.iter().flat_map(|group| &group.keys) {
                    other.owe(LimitKey::of(0, *digest), *cost, now);
                }
            }
        }
    }
}

/// Requests per key: `ask` says which keys are asked for in a millisecond, each at a gateway that
/// chance picks.
fn run(
    quota: Quota,
    millis: u64,
    counted_from: u64,
    mut ask: impl FnMut(&mut SmallRng, &mut Vec<usize>),
    keys: &[LimitKey],
) -> (HashMap<usize, u32>, HashMap<usize, u32>) {
    let together = Together::new(quota);
    let alone = Buckets::new(quota, 4096);
    let mut random = SmallRng::seed_from_u64(7);
    let (mut got, mut due) = (HashMap::new(), HashMap::new());
    let mut asked = Vec::new();
    for milli in 1..=millis {
        let now = Duration::from_millis(milli);
        asked.clear();
        ask(&mut random, &mut asked);
        for &key in &asked {
            let gateway = &together.gateways[random.random_range(0..GATEWAYS)];
            let counts = milli > counted_from;
            if gateway.take(keys[key], 1, now).is_ok() && counts {
                *got.entry(key).or_default() += 1;
            }
            if alone.take(keys[key], 1, now).is_ok() && counts {
                *due.entry(key).or_default() += 1;
            }
        }
        if milli % EXCHANGE_MS == 0 {
            together.exchange(now);
        }
    }
    (got, due)
}

#[test]
fn large_limits_are_kept_within_a_tenth_after_the_first_second() {
    const KEYS: usize = 1000;
    let keys = keys(KEYS as u32);
    // Zipf: the key of rank r is asked for 1/r as often as the first.
    let mut bounds = Vec::new();
    let mut sum = 0.0;
    for rank in 1..=KEYS {
        sum += 1.0 / rank as f64;
        bounds.push(sum);
    }
    let quota = quota(100, 1, 100);
    // The keys that matter ask for ten times the limit and more.
    let (got, due) = run(
        quota,
        4000,
        1000,
        |random, asked| {
            for _ in 0..100 {
                let at: f64 = random.random_range(0.0..sum);
                asked.push(bounds.partition_point(|bound| *bound < at).min(KEYS - 1));
            }
        },
        &keys,
    );
    let total = |counts: &HashMap<usize, u32>| counts.values().sum::<u32>() as f64;
    let ratio = total(&got) / total(&due);
    assert!((0.9..=1.1).contains(&ratio), "{ratio}");
    // Not only in all: the first key, at far more than ten times its limit, too.
    let first = f64::from(got[&0]) / f64::from(due[&0]);
    assert!((0.9..=1.1).contains(&first), "{first}");
}

#[test]
fn small_limits_are_exceeded_by_one_request_for_each_gateway_at_most() {
    for (requests, per_secs, burst) in [(5, 60, 5), (1, 10, 1), (10, 1, 20), (60, 60, 90)] {
        let quota = quota(requests, per_secs, burst);
        let keys = keys(20);
        let rate = f64::from(requests) / per_secs as f64;
        // Ten times the limit on each key, and a blast at the start.
        let mut milli = 0u64;
        let window_ms = per_secs * 1000;
        let windows = 3;
        let ask = |random: &mut SmallRng, asked: &mut Vec<usize>| {
            milli += 1;
            for key in 0..20 {
                if milli == 5 {
                    asked.extend(std::iter::repeat_n(key, 10 * burst as usize));
                }
                if random.random_bool((rate * 10.0 / 1000.0).min(1.0)) {
                    asked.push(key);
                }
            }
        };
        let (got, due) = run(quota, windows * window_ms, 0, ask, &keys);
        let extra = windows as u32 * GATEWAYS as u32;
        for (key, due) in due {
            assert!(
                got[&key] <= due + extra,
                "{quota:?}: {} of {due}",
                got[&key]
            );
            assert!(
                f64::from(got[&key]) >= f64::from(due) * 0.5,
                "{quota:?}: {}",
                got[&key]
            );
        }
    }
}

#[test]
fn without_the_others_each_keeps_the_whole_limit() {
    // A large burst, and one that is shared out between exchanges.
    for burst in [300, 60] {
        let together = Together::new(quota(burst, 3600, burst));
        let key = keys(1)[0];
        for gateway in &together.gateways {
            gateway.meet(GATEWAYS as u32, false);
            let had = (0..1000)
                .filter(|_| gateway.take(key, 1, Duration::from_millis(1)).is_ok())
                .count();
            assert_eq!(had, burst as usize);
        }
    }
}

#[test]
fn one_client_at_one_gateway_has_all_of_a_large_burst() {
    let together = Together::new(quota(50, 1, 200));
    let key = keys(1)[0];
    let now = Duration::from_millis(1);
    let page = (0..200).filter(|_| together.gateways[0].take(key, 1, now).is_ok());
    assert_eq!(page.count(), 200);
    assert_eq!(together.gateways[0].unreported(), 0);
}
