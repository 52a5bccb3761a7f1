//! The limiter against the other form of the standard.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Buckets, Excess, Key, Quota};

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
            let admitted = buckets.take(client_key(client), now).is_ok();
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
                .filter(|_| buckets.take(client_key(1), now).is_ok())
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
fn retry_after_is_right_to_the_millisecond() {
    let check = |requests: u32, per: Duration, burst: u32, limit_window: Duration| {
        let start = Duration::from_secs(5);
        let emptied = || {
            let buckets = Buckets::new(quota(requests, per, burst), 1024);
            assert!((0..burst).all(|_| buckets.take(client_key(1), start).is_ok()));
            buckets
        };
        let limit = emptied().take(client_key(1), start).unwrap_err().limit;
        assert_eq!((limit.burst, limit.window), (burst, limit_window));
        assert_eq!(limit.retry_after.subsec_nanos() % 1_000_000, 0);
        assert!(
            emptied()
                .take(client_key(1), start + limit.retry_after)
                .is_ok()
        );
        let sooner = emptied().take(client_key(1), start + limit.retry_after - MILLI);
        assert_eq!(sooner.unwrap_err().limit.retry_after, MILLI);
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
fn an_unfull_bucket_is_never_given_up() {
    let buckets = Buckets::new(quota(1, Duration::from_secs(60), 2), 64);
    let start = Duration::from_secs(1);
    for client in 0..64 {
        assert!(buckets.take(client_key(client), start).is_ok());
    }
    // Newcomers of 10.9.9.0/24 share its two requests, those of another network have their own.
    let newcomer = |last: u8| Key::client(0, IpAddr::from([10, 9, 9, last]));
    let shared = |result: Result<(), Excess>| result.map_err(|excess| excess.shared);
    assert_eq!(shared(buckets.take(newcomer(1), start)), Ok(()));
    assert_eq!(shared(buckets.take(newcomer(2), start)), Ok(()));
    assert_eq!(shared(buckets.take(newcomer(3), start)), Err(true));
    let stats = buckets.stats();
    let counts = || [&stats.entries, &stats.evictions, &stats.overflows].map(read);
    assert_eq!(counts(), [64, 0, 3]);
    // Those who were there first have lost nothing and gained nothing.
    for client in 0..64 {
        assert_eq!(shared(buckets.take(client_key(client), start)), Ok(()));
        assert_eq!(shared(buckets.take(client_key(client), start)), Err(false));
    }
    // One nanosecond before the buckets are full again there is no room, then there is.
    let full_again = start + Duration::from_secs(120);
    let _ = buckets.take(newcomer(4), full_again - Duration::from_nanos(1));
    assert_eq!(counts(), [64, 0, 4]);
    assert!(buckets.take(newcomer(4), full_again).is_ok());
    assert_eq!(counts(), [64, 1, 4]);
}

#[test]
fn giving_up_full_buckets_keeps_the_limit_exact() {
    let quota = quota(5, Duration::from_millis(50), 4);
    let buckets = Buckets::new(quota, 32);
    let mut reference = Reference::new(quota);
    let mut rng = StdRng::seed_from_u64(2);
    let mut now = Duration::from_secs(1);
    for _ in 0..2_000 {
        // Sixteen clients at a time, so that the table always holds a bucket that is full again.
        now += Duration::from_millis(40);
        let crowd = rng.random_range(0..5_000);
        for _ in 0..100 {
            now += Duration::from_micros(rng.random_range(0..100));
            let client = crowd + rng.random_range(0..16);
            let admitted = buckets.take(client_key(client), now).is_ok();
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
        assert!(buckets.take(client_key(client), now).is_ok());
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
                let taken = (0..burst / 4)
                    .filter(|_| buckets.take(client_key(1), Duration::from_secs(1)).is_ok());
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
                    let _ = buckets.take(client_key(client), now);
                }
            }
        }
    }
    // A clock that goes back gives nothing away.
    let buckets = Buckets::new(quota(1, Duration::from_secs(1), 3), 64);
    let at = |secs: u64| {
        buckets
            .take(client_key(1), Duration::from_secs(secs))
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

fn client_key(number: u32) -> Key {
    Key::client(0, Ipv4Addr::from_bits(0x0b00_0000 + number).into())
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
