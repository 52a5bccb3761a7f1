//! What every implementation of [`Counters`] keeps to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{Capacity, CounterKey, Counters, MemoryCounters, SharedCounters, place};

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

/// Two gateways that tell each other everything at once; whoever is asked takes turns.
#[derive(Default)]
struct Pair {
    gateways: [SharedCounters; 2],
    turn: AtomicUsize,
}

impl Pair {
    /// Has the gateway whose turn it is act, and the other one hear of it.
    fn act<T>(&self, now: Duration, act: impl Fn(&SharedCounters) -> T) -> T {
        let turn = self.turn.fetch_add(1, Relaxed) % 2;
        let done = act(&self.gateways[turn]);
        let name = |site: u16| Some(site.to_string().into());
        if let Some(report) = self.gateways[turn].report(turn as u64, now, name) {
            let number = |site: &str| site.parse().ok();
            for (own, gateway) in self.gateways.iter().enumerate() {
                let is_other = |gateway| gateway != own as u64;
                gateway.absorb(&report, is_other, now, number).unwrap();
            }
        }
        done
    }
}

impl Counters for Pair {
    fn hit(&self, key: CounterKey, window: Duration, now: Duration) -> u64 {
        self.act(now, |gateway| gateway.hit(key, window, now))
    }

    fn hits(&self, key: CounterKey, window: Duration, now: Duration) -> u64 {
        self.act(now, |gateway| gateway.hits(key, window, now))
    }

    fn flag(&self, key: CounterKey, until: Duration, now: Duration) {
        self.act(now, |gateway| gateway.flag(key, until, now));
    }

    fn flagged(&self, key: CounterKey, now: Duration) -> Option<Duration> {
        self.act(now, |gateway| gateway.flagged(key, now))
    }

    fn see(&self, key: CounterKey, item: &[u8], window: Duration, now: Duration) -> u64 {
        self.act(now, |gateway| gateway.see(key, item, window, now))
    }

    fn distinct(&self, key: CounterKey, window: Duration, now: Duration) -> u64 {
        self.act(now, |gateway| gateway.distinct(key, window, now))
    }
}

#[test]
fn what_gateways_share_conforms() {
    conform(&SharedCounters::default());
    conform(&Pair::default());
}

/// What gateways of other versions send and read.
#[test]
fn reports_keep_their_form() {
    let counters = SharedCounters::default();
    let key = CounterKey {
        site: 1,
        digest: 0xab,
    };
    counters.hit(key, WINDOW, at(1));
    counters.flag(key, at(3), at(1));
    counters.see(key, b"item", WINDOW, at(1));
    let sent = counters.report(7, at(1), |_| Some("shop".into())).unwrap();
    let digest = format!("{:030}ab", 0);
    // The hash of an item is part of the form: gateways count together what they hash alike.
    let item = super::memory::item_hash(b"item");
    let expected = format!(
        r#"{{"gateway":7,"hits":[["shop","{digest}",60000,1]],"flags":[["shop","{digest}",2000]],"items":[["shop","{digest}",60000,[{item}]]]}}"#
    );
    assert_eq!(String::from_utf8(sent.clone()).unwrap(), expected);
    let other = SharedCounters::default();
    other.absorb(&sent, |_| true, at(1), |_| Some(1)).unwrap();
    assert_eq!(other.hits(key, WINDOW, at(1)), 1);
    assert_eq!(other.flagged(key, at(1)), Some(at(3)));
    assert_eq!(other.distinct(key, WINDOW, at(1)), 1);
}

#[test]
fn what_is_told_at_once_is_bounded() {
    let counters = SharedCounters::default();
    for number in 0..8192_u32 {
        let key = CounterKey::new(1, "many", &number.to_le_bytes());
        counters.hit(key, WINDOW, at(1));
        counters.flag(key, at(3), at(1));
    }
    assert_eq!(counters.dropped(), 0);
    let site: Arc<str> = "s".repeat(255).into();
    let name = |_| Some(Arc::clone(&site));
    let report = counters.report(7, at(1), name).unwrap();
    assert!(report.len() < super::shared::FULL_AT, "{}", report.len());
    assert!(counters.dropped() > 0);
    let other = SharedCounters::default();
    other.absorb(&report, |_| true, at(1), |_| Some(1)).unwrap();
}

#[test]
fn what_is_no_report_changes_nothing() {
    let counters = SharedCounters::default();
    let number = |_: &str| Some(1);
    for bytes in [&b""[..], b"{}", b"[1]", &[0xff; 9]] {
        assert!(counters.absorb(bytes, |_| true, at(1), number).is_err());
    }
    let large = vec![b' '; super::shared::MOST_BYTES + 1];
    assert!(counters.absorb(&large, |_| true, at(1), number).is_err());
    let odd = br#"{"gateway":7,"hits":[["shop","no digest",1,1]],"flags":[],"items":[]}"#;
    assert!(counters.absorb(odd, |_| true, at(1), number).is_ok());
    assert_eq!(counters.dropped(), 0);
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
    let load = |number: &AtomicU64| number.load(Relaxed);
    assert!(load(&stats.entries) <= 1600);
    assert_eq!(load(&stats.entries) + load(&stats.evictions), 100_100);
}

#[test]
fn a_moment_has_its_place() {
    assert_eq!(place(WINDOW, at(0)), (0, 1.0));
    assert_eq!(place(WINDOW, at(90)), (1, 0.5));
    assert_eq!(place(Duration::ZERO, at(1)).0, 1000);
}
