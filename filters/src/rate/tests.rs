//! The limiter against the other form of the standard.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    num::NonZeroU32,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    Buckets, Quota,
    adaptive::{Adaptive, Bounds},
};
use crate::key::{KeySeed, LimitKey};

static SEED: LazyLock<KeySeed> = LazyLock::new(|| KeySeed::new(&[1; 32]));
const MILLI: Duration = Duration::from_millis(1);

#[test]
fn agrees_with_the_continuous_leaky_bucket() {
    let mut rng = StdRng::seed_from_u64(1);
    for round in 0..300 {
        let per = Duration::from_nanos(rng.random_range(1..100_000_000));
        let quota = quota(rng.random_range(1..50), per, rng.random_range(1..40));
        let buckets = Buckets::new(quota, 1024);
        let mut reference = Reference::new(quota);
        let mut now = Duration::from_secs(round);
        for step in 0..500 {
            now += pause(&mut rng, quota);
            let client = rng.random_range(0..4);
            let admitted = buckets.take(client_key(client), 1, now).is_ok();
            assert_eq!(
                admitted,
                reference.take(client, now),
                "{quota:?} step {step} at {now:?}"
            );
        }
    }
}

#[test]
fn a_burst_then_the_steady_rate() {
    let check = |requests: u32, per_secs: u64, burst: u32| {
        let buckets = Buckets::new(quota(requests, Duration::from_secs(per_secs), burst), 1024);
        let admitted_at = |now: Duration| {
            (0..burst + 5)
                .filter(|_| buckets.take(client_key(1), 1, now).is_ok())
                .count()
        };
        let start = Duration::from_secs(1000);
        assert_eq!(admitted_at(start), burst as usize);
        // Thirds of a second are no whole nanoseconds, and yet nothing is lost in a whole period.
        for period in 1..50 {
            let now = start + Duration::from_secs(per_secs * period);
            assert_eq!(
                admitted_at(now),
                requests.min(burst) as usize,
                "{requests}/{per_secs} s"
            );
        }
    };
    check(1, 1, 1);
    check(3, 1, 3);
    check(7, 60, 20);
    check(50, 1, 200);
    check(1_000, 7, 100);
}

#[test]
fn a_changed_limit_scales_the_burst_along() {
    let second = Duration::from_secs(1);
    let check = |(requests, burst): (u32, u32), limit: u32, (at_once, a_second): (usize, usize)| {
        let bounds = Bounds {
            floor: limit,
            ceiling: limit,
            headroom: 1.0,
        };
        let adaptive = Arc::new(Adaptive::new(bounds));
        let buckets = Buckets::new(quota(requests, second, burst), 1024).following(adaptive);
        let ask = |now: Duration| {
            let asked = (0..1000).map(|_| buckets.take(client_key(1), 1, now));
            asked.filter(Result::is_ok).count()
        };
        let what = format!("{requests}/s, {burst} at once, limit {limit}");
        assert_eq!(ask(second), at_once, "{what}");
        let told = buckets.take(client_key(1), 1, second).unwrap_err();
        assert_eq!(
            (told.burst as usize, told.remaining),
            (at_once, 0),
            "{what}"
        );
        let later: usize = (1001..=2000).map(|milli| ask(milli * MILLI)).sum();
        assert_eq!(later, a_second, "{what}");
    };
    check((100, 200), 100, (200, 100));
    check((100, 200), 10, (20, 10));
    check((100, 100), 7, (7, 7));
    // Less than one request of the burst is left; the rate is kept all the same.
    check((100, 5), 10, (1, 10));
    check((10, 20), 40, (80, 40));
}

#[test]
fn what_costs_more_than_a_lowered_burst_passes_and_owes_the_rest() {
    let bounds = Bounds {
        floor: 10,
        ceiling: 10,
        headroom: 1.0,
    };
    let second = Duration::from_secs(1);
    let buckets = Buckets::new(quota(100, second, 20), 1024);
    let buckets = buckets.following(Arc::new(Adaptive::new(bounds)));
    let mut passed = (1..=50).filter(|tenth| {
        let taken = buckets.take_counting(client_key(1), 10, *tenth * 100 * MILLI);
        taken.inspect(|used| assert_eq!(*used, 10)).is_ok()
    });
    // A bucket of two, full after a second and another fifth: ten a second are ten a second.
    assert_eq!(passed.next(), Some(1));
    assert_eq!(passed.count(), 4);
}

#[test]
fn retry_after_is_right_to_the_millisecond() {
    let check = |requests: u32, per: Duration, burst: u32, limit_window: Duration| {
        let start = Duration::from_secs(5);
        let emptied = || {
            let buckets = Buckets::new(quota(requests, per, burst), 1024);
            assert!((0..burst).all(|_| buckets.take(client_key(1), 1, start).is_ok()));
            buckets
        };
        let limit = emptied().take(client_key(1), 1, start).unwrap_err();
        assert_eq!((limit.burst, limit.window), (burst, limit_window));
        assert_eq!(limit.retry_after.subsec_nanos() % 1_000_000, 0);
        assert!(
            emptied()
                .take(client_key(1), 1, start + limit.retry_after)
                .is_ok()
        );
        let sooner = emptied().take(client_key(1), 1, start + limit.retry_after - MILLI);
        assert_eq!(sooner.unwrap_err().retry_after, MILLI);
        limit.retry_after
    };
    let second = Duration::from_secs(1);
    assert_eq!(check(50, second, 200, Duration::from_secs(4)), 20 * MILLI);
    assert_eq!(check(1, second, 1, second), second);
    assert_eq!(
        check(3, second, 1, Duration::from_nanos(333_333_334)),
        334 * MILLI
    );
    assert_eq!(
        check(
            1,
            Duration::from_secs(86_400),
            2,
            2 * Duration::from_secs(86_400)
        ),
        { Duration::from_secs(86_400) }
    );
    assert_eq!(check(10_000, second, 5, Duration::from_micros(500)), MILLI);
}

#[test]
fn only_who_asks_for_more_than_a_burst_takes_an_unfull_bucket() {
    let buckets = Buckets::new(quota(1, Duration::from_secs(60), 2), 64);
    let start = Duration::from_secs(1);
    let take = |client: u32, now: Duration| buckets.take(client_key(client), 1, now).is_ok();
    for client in 0..64 {
        assert!(take(client, start));
    }
    let stats = buckets.stats();
    let counts = || [&stats.entries, &stats.evictions, &stats.overflows].map(read);
    // A burst without a bucket, then one with it, and then no more.
    assert_eq!(
        [(); 6].map(|()| take(100, start)),
        [true, true, true, true, false, false]
    );
    assert_eq!(counts(), [64, 1, 3]);
    // One of those who were there first has lost what it had used, the others nothing.
    let again = (0..64).filter(|client| take(*client, start)).count();
    let third = (0..64).filter(|client| take(*client, start)).count();
    assert_eq!((again, third), (64, 1));
    // Once the buckets are full again there is room without a count.
    let full_again = start + Duration::from_secs(180);
    let overflows = read(&stats.overflows);
    assert!(take(200, full_again));
    assert_eq!(read(&stats.overflows), overflows);
}

#[test]
fn in_a_flood_of_keys_only_the_heavy_ones_are_refused() {
    let burst = 20;
    let buckets = Buckets::new(quota(1, Duration::from_secs(1), burst), 16_384);
    let before = buckets.heap_bytes();
    let innocent = |number: u32| client_key(10_000_000 + number);
    let heavy = client_key(20_000_000);
    let mut heavy_admitted = 0;
    for flooder in 0..1_000_000 {
        // A million keys within ten seconds: what refills a bucket by half.
        let now = Duration::from_secs(1) + Duration::from_micros(u64::from(flooder) * 10);
        assert!(
            buckets.take(client_key(flooder), 1, now).is_ok(),
            "a flooder asks once"
        );
        // A thousand people with fifteen requests each, and one who asks a thousand times a second.
        if flooder % 66 == 0 {
            let person = innocent(flooder / 66 % 1000);
            assert!(
                buckets.take(person, 1, now).is_ok(),
                "an innocent, {flooder}"
            );
        }
        if flooder % 100 == 0 {
            heavy_admitted += u32::from(buckets.take(heavy, 1, now).is_ok());
        }
    }
    // Ten thousand times in ten seconds: its burst, what came back, and a burst until it was seen.
    assert!(heavy_admitted <= 2 * burst + 10, "{heavy_admitted}");
    assert_eq!(buckets.heap_bytes(), before);
    let stats = buckets.stats();
    assert_eq!(read(&stats.entries), 16_384);
    assert!(read(&stats.overflows) > 500_000);
}

#[test]
fn a_flood_on_one_site_leaves_another_its_buckets() {
    let day = Duration::from_secs(86_400);
    let buckets = Buckets::new(quota(1, day, 3), 1024);
    let now = Duration::from_secs(1);
    let key = |site: u16, number: u32| SEED.client(site, Ipv4Addr::from_bits(number).into());
    // Site 2 has asked for all that it may, and remembers it.
    let spent = |number: u32| (0..3).all(|_| buckets.take(key(2, number), 1, now).is_ok());
    assert!((0..200).all(spent));
    // Every key of the flood asks for more than a burst, so each is due a bucket.
    for number in 0..20_000 {
        for _ in 0..8 {
            let _ = buckets.take(key(1, number), 1, now);
        }
    }
    assert!(read(&buckets.stats().evictions) > 10_000);
    let refused = |number: &u32| buckets.take(key(2, *number), 1, now).is_err();
    assert_eq!((0..200).filter(refused).count(), 200);
    // And a newcomer of a small site gets a bucket that stays.
    for _ in 0..8 {
        let _ = buckets.take(key(3, 1), 1, now);
    }
    for number in 20_000..30_000 {
        for _ in 0..8 {
            let _ = buckets.take(key(1, number), 1, now);
        }
    }
    assert!(buckets.take(key(3, 1), 1, now).is_err());
}

#[test]
fn a_request_takes_what_it_costs() {
    let start = Duration::from_secs(1);
    let buckets = Buckets::new(quota(1, Duration::from_secs(1), 10), 64);
    let take = |cost: u32, now: Duration| buckets.take(client_key(1), cost, now);
    assert_eq!([take(4, start), take(4, start)], [Ok(()), Ok(())]);
    let limit = take(4, start).unwrap_err();
    assert_eq!(
        (limit.remaining, limit.burst, limit.retry_after),
        (2, 10, Duration::from_secs(2))
    );
    // A refused one has taken nothing.
    assert_eq!([take(1, start), take(1, start)], [Ok(()), Ok(())]);
    assert_eq!(take(1, start).unwrap_err().remaining, 0);
    let later = start + Duration::from_secs(10);
    assert!(take(10, later - MILLI).is_err());
    assert_eq!(take(10, later), Ok(()));
}

#[test]
fn giving_up_full_buckets_keeps_the_limit_exact() {
    let quota = quota(5, Duration::from_millis(50), 4);
    let buckets = Buckets::new(quota, 32);
    let mut reference = Reference::new(quota);
    let mut rng = StdRng::seed_from_u64(2);
    let mut now = Duration::from_secs(1);
    for _ in 0..2_000 {
        // Eight clients at a time, so that a bucket that is full again is always within reach.
        now += Duration::from_millis(40);
        let crowd = rng.random_range(0..5_000);
        for _ in 0..100 {
            now += Duration::from_micros(rng.random_range(0..100));
            let client = crowd + rng.random_range(0..8);
            let admitted = buckets.take(client_key(client), 1, now).is_ok();
            assert_eq!(
                admitted,
                reference.take(client, now),
                "client {client} at {now:?}"
            );
        }
    }
    let stats = buckets.stats();
    assert_eq!([&stats.entries, &stats.overflows].map(read), [32, 0]);
    assert!(read(&stats.evictions) > 10_000);
}

#[test]
fn memory_is_flat_under_a_million_clients() {
    let buckets = Buckets::new(quota(50, Duration::from_secs(1), 200), 65_536);
    let before = buckets.heap_bytes();
    for client in 0..1_000_000 {
        let now = Duration::from_micros(u64::from(client));
        assert!(buckets.take(client_key(client), 1, now).is_ok());
    }
    let stats = buckets.stats();
    let [entries, evictions, overflows] =
        [&stats.entries, &stats.evictions, &stats.overflows].map(read);
    assert!(entries <= 65_536 && entries > 60_000, "{entries}");
    assert_eq!(entries + evictions + overflows, 1_000_000);
    assert_eq!(overflows, 0);
    assert_eq!(buckets.heap_bytes(), before);
    assert!(before <= 48 * 65_536, "{before} bytes");
}

#[test]
fn threads_together_get_no_more_than_one() {
    let burst = 10_000;
    let buckets = Buckets::new(quota(1, Duration::from_secs(3600), burst), 1024);
    let admitted = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let taken = (0..burst / 4).filter(|_| {
                    buckets
                        .take(client_key(1), 1, Duration::from_secs(1))
                        .is_ok()
                });
                admitted.fetch_add(taken.count() as u64, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(read(&admitted), u64::from(burst));
}

#[test]
fn strange_clocks_and_quotas_do_no_harm() {
    let extremes = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
    for per in extremes {
        for (requests, burst) in [(1, 1), (u32::MAX, 1), (1, u32::MAX), (u32::MAX, u32::MAX)] {
            let buckets = Buckets::new(quota(requests, per, burst), 0);
            for now in extremes.into_iter().chain(extremes) {
                for client in 0..3 {
                    let _ = buckets.take(client_key(client), 1, now);
                }
            }
        }
    }
    // A clock that goes back gives nothing away.
    let buckets = Buckets::new(quota(1, Duration::from_secs(1), 3), 64);
    let at = |secs: u64| {
        buckets
            .take(client_key(1), 1, Duration::from_secs(secs))
            .is_ok()
    };
    assert_eq!([at(100), at(100), at(50), at(99), at(100), at(101)], {
        [true, true, false, false, true, true]
    });
}

/// The same limit in the other form that the standard gives it, the continuous-state leaky bucket
/// (ITU-T I.371 figure A.1 on the right), without a bound on its memory.
struct Reference {
    requests: i128,
    increment: i128,
    limit: i128,
    /// Content of each client's bucket, and when it was last added to.
    buckets: HashMap<u32, (i128, i128)>,
}

impl Reference {
    fn new(quota: Quota) -> Self {
        let increment = quota.per.as_nanos() as i128;
        Self {
            requests: i128::from(quota.requests.get()),
            increment,
            limit: increment * (i128::from(quota.burst.get()) - 1),
            buckets: HashMap::new(),
        }
    }

    fn take(&mut self, client: u32, now: Duration) -> bool {
        let now = now.as_nanos() as i128 * self.requests;
        let (content, since) = self.buckets.get(&client).copied().unwrap_or((0, now));
        let left = content - (now - since);
        let conforms = left <= self.limit;
        if conforms {
            self.buckets
                .insert(client, (left.max(0) + self.increment, now));
        }
        conforms
    }
}

fn quota(requests: u32, per: Duration, burst: u32) -> Quota {
    Quota {
        requests: NonZeroU32::new(requests).unwrap(),
        per,
        burst: NonZeroU32::new(burst).unwrap(),
    }
}

/// Mostly about the steady rate of four clients, sometimes none, sometimes long.
fn pause(rng: &mut StdRng, quota: Quota) -> Duration {
    let steady = quota.per / quota.requests.get() / 4;
    match rng.random_range(0..10) {
        0..3 => Duration::ZERO,
        3..9 => steady.mul_f64(rng.random_range(0.0..2.0)),
        _ => steady * rng.random_range(0..200),
    }
}

fn client_key(number: u32) -> LimitKey {
    SEED.client(0, Ipv4Addr::from_bits(0x0b00_0000 + number).into())
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
