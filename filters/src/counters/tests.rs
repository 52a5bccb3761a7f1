//! What every implementation of [`Counters`] keeps to.

use std::time::Duration;

use super::{Capacity, CounterKey, Counters, MemoryCounters, place};

const WINDOW: Duration = Duration::from_secs(60);

const fn at(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn key(whom: &str) -> CounterKey {
    CounterKey::new(1, "offences", whom.as_bytes())
}

/// The suite: the counters behind it are empty, and nobody else uses them.
fn conform(counters: &dyn Counters) {
    hits_slide(counters);
    flags_end(counters);
    different_items_are_told_apart(counters);
    keys_do_not_meet(counters);
}

fn hits_slide(counters: &dyn Counters) {
    let key = key("hits");
    assert_eq!(counters.hits(key, WINDOW, at(600)), 0);
    let counts: Vec<u64> = (0..10)
        .map(|_| counters.hit(key, WINDOW, at(600)))
        .collect();
    assert_eq!(counts, Vec::from_iter(1..=10));
    assert_eq!(counters.hits(key, WINDOW, at(659)), 10);
    // Half a window later half of the one before is in view.
    assert_eq!(counters.hits(key, WINDOW, at(690)), 5);
    assert_eq!(counters.hit(key, WINDOW, at(690)), 6);
    assert_eq!(counters.hits(key, WINDOW, at(720)), 1);
    assert_eq!(counters.hits(key, WINDOW, at(780)), 0);
    assert_eq!(counters.hit(key, WINDOW, at(6000)), 1);
    // Stamped a moment before another thread's.
    assert_eq!(counters.hit(key, WINDOW, at(5999)), 2);
}

fn flags_end(counters: &dyn Counters) {
    let key = key("flag");
    assert_eq!(counters.flagged(key, at(10)), None);
    counters.flag(key, at(20), at(10));
    counters.flag(key, at(15), at(10));
    assert_eq!(counters.flagged(key, at(19)), Some(at(20)));
    assert_eq!(counters.flagged(key, at(20)), None);
    counters.flag(key, at(30), at(25));
    assert_eq!(counters.flagged(key, at(29)), Some(at(30)));
}

fn different_items_are_told_apart(counters: &dyn Counters) {
    let key = key("items");
    for item in [1u32, 2, 3, 2, 1] {
        counters.see(key, &item.to_le_bytes(), WINDOW, at(600));
    }
    assert_eq!(counters.distinct(key, WINDOW, at(600)), 3);
    for item in 0..10_000u32 {
        counters.see(key, &item.to_le_bytes(), WINDOW, at(610));
    }
    let estimate = counters.distinct(key, WINDOW, at(610)) as f64;
    // Four times the standard error.
    assert!((estimate / 10_000.0 - 1.0).abs() < 0.13, "{estimate}");
    let half = counters.distinct(key, WINDOW, at(690)) as f64;
    assert!((half / 5_000.0 - 1.0).abs() < 0.14, "{half}");
    assert_eq!(counters.distinct(key, WINDOW, at(790)), 0);
}

fn keys_do_not_meet(counters: &dyn Counters) {
    let mine = CounterKey::new(1, "a", b"bc");
    let others = [
        CounterKey::new(2, "a", b"bc"),
        CounterKey::new(1, "ab", b"c"),
        CounterKey::new(1, "a", b"bd"),
    ];
    counters.hit(mine, WINDOW, at(1));
    counters.flag(mine, at(9), at(1));
    for other in others {
        assert_eq!(counters.hits(other, WINDOW, at(1)), 0);
        assert_eq!(counters.flagged(other, at(1)), None);
    }
}

#[test]
fn memory_conforms() {
    conform(&MemoryCounters::default());
}

#[test]
fn a_flood_at_one_site_pushes_out_nobody_elses_counters() {
    let counters = MemoryCounters::new(Capacity {
        hits: 1600,
        flags: 16,
        sketches: 16,
    });
    let quiet = |number: u32| CounterKey::new(7, "quiet", &number.to_le_bytes());
    for number in 0..100 {
        counters.hit(quiet(number), WINDOW, at(1));
    }
    for number in 0..100_000u32 {
        counters.hit(
            CounterKey::new(8, "flood", &number.to_le_bytes()),
            WINDOW,
            at(1),
        );
    }
    for number in 0..100 {
        assert_eq!(counters.hits(quiet(number), WINDOW, at(1)), 1);
    }
    let [(_, stats), ..] = counters.stats();
    let load =
        |number: &std::sync::atomic::AtomicU64| number.load(std::sync::atomic::Ordering::Relaxed);
    assert!(load(&stats.entries) <= 1600);
    assert_eq!(load(&stats.entries) + load(&stats.evictions), 100_100);
}

#[test]
fn a_moment_has_its_place() {
    assert_eq!(place(WINDOW, at(0)), (0, 1.0));
    assert_eq!(place(WINDOW, at(90)), (1, 0.5));
    assert_eq!(place(Duration::ZERO, at(1)).0, 1000);
}
