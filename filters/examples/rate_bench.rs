//! Measures [`Buckets`]: a million clients in random order, in a table with room for all of them
//! and in one of the default size.
//!
//! `cargo run --release -p thornwall-filters --example rate_bench`
//!
//! One thread, no lock is contended. A memory fence stands between two takes, so that the
//! processor cannot overlap their memory accesses. Reported is the median of many runs.
#![allow(clippy::print_stdout, clippy::unwrap_used)]
#![allow(
    clippy::disallowed_methods,
    reason = "measuring is what this program is for"
)]

use std::{
    hint::black_box,
    net::Ipv4Addr,
    num::NonZeroU32,
    sync::atomic::{Ordering, fence},
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use thornwall_filters::rate::{Buckets, Key, Quota};

const CLIENTS: u32 = 1_000_000;
/// Takes that are timed at once: half a millisecond, so that most runs are not interrupted.
const RUN: usize = 1 << 11;

fn main() {
    let quota = Quota {
        requests: NonZeroU32::new(50).unwrap(),
        per: Duration::from_secs(1),
        burst: NonZeroU32::new(200).unwrap(),
    };
    let mut clients: Vec<u32> = (0..CLIENTS)
        .map(|client| client.wrapping_mul(0x9e37_79b1))
        .collect();
    clients.shuffle(&mut SmallRng::seed_from_u64(1));
    for (what, capacity) in [("room for all", 1 << 21), ("default size", 1 << 18)] {
        let buckets = Buckets::new(quota, capacity);
        let mut now = Duration::from_secs(1);
        let first = round(&buckets, &clients, &mut now);
        let later = (0..3)
            .flat_map(|_| round(&buckets, &clients, &mut now))
            .collect();
        let stats = buckets.stats();
        println!(
            "{what}: {:.1} bytes per client; first sight {:.0} ns, later {:.0} ns per take; {} entries, {} evictions, {} overflows",
            buckets.heap_bytes() as f64 / capacity as f64,
            median(first),
            median(later),
            stats.entries.load(Ordering::Relaxed),
            stats.evictions.load(Ordering::Relaxed),
            stats.overflows.load(Ordering::Relaxed),
        );
    }
}

/// Takes one request for every client, a microsecond apart; returns the nanoseconds of each run.
fn round(buckets: &Buckets, clients: &[u32], now: &mut Duration) -> Vec<f64> {
    let mut nanos = Vec::new();
    for run in clients.chunks(RUN) {
        let started = Instant::now();
        for &client in run {
            fence(Ordering::SeqCst);
            *now += Duration::from_micros(1);
            let key = Key::client(0, Ipv4Addr::from_bits(client).into());
            let _ = black_box(buckets.take(key, *now));
        }
        nanos.push(started.elapsed().as_secs_f64() * 1e9 / run.len() as f64);
    }
    nanos
}

fn median(mut nanos: Vec<f64>) -> f64 {
    nanos.sort_by(f64::total_cmp);
    nanos[nanos.len() / 2]
}
