//! Measures the limits: a million clients in random order, in a table with room for all of them, in
//! one of the default size, and in a flood that leaves no bucket full again.
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

use http::{HeaderMap, HeaderValue, Method, Uri, header::COOKIE};
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use thornwall_detectors::request::RequestView;
use thornwall_filters::{
    context::FilterContext,
    filter::{Filter, Round},
    key::KeySeed,
    kinds::FilterSpec,
    rate::{Buckets, Quota},
};

const CLIENTS: u32 = 1_000_000;
/// Takes that are timed at once: half a millisecond, so that most runs are not interrupted.
const RUN: usize = 1 << 11;

fn main() {
    let mut clients: Vec<u32> = (0..CLIENTS)
        .map(|client| client.wrapping_mul(0x9e37_79b1))
        .collect();
    clients.shuffle(&mut SmallRng::seed_from_u64(1));
    // In a flood nobody's burst comes back while it lasts.
    for (what, capacity, per) in [
        ("room for all", 1 << 21, 1),
        ("default size", 1 << 18, 1),
        ("flood", 1 << 18, 600),
    ] {
        let buckets = Buckets::new(quota(per), capacity);
        measure(what, &buckets, &clients);
    }
    for key in [
        "'client'",
        "'client', counts = 'pages'",
        "['client', 'path']",
        "'header:cookie'",
        "'cookie:sid'",
    ] {
        measure_filter(key, &clients);
    }
}

fn quota(per_secs: u64) -> Quota {
    Quota {
        requests: NonZeroU32::new(50).unwrap(),
        per: Duration::from_secs(per_secs),
        burst: NonZeroU32::new(200).unwrap(),
    }
}

fn measure(what: &str, buckets: &Buckets, clients: &[u32]) {
    let seed = KeySeed::new(&[1; 32]);
    let take = |client: Ipv4Addr, now: Duration| {
        let _ = black_box(buckets.take(seed.client(0, client.into()), 1, now));
    };
    let mut now = Duration::from_secs(1);
    let first = round(clients, &mut now, take);
    let later = (0..3)
        .flat_map(|_| round(clients, &mut now, take))
        .collect();
    let stats = buckets.stats();
    println!(
        "{what}: {:.1} bytes per client; first sight {:.0} ns, later {:.0} ns per take; {} entries, {} evictions, {} overflows",
        buckets.heap_bytes() as f64 / buckets.capacity() as f64,
        median(first),
        median(later),
        stats.entries.load(Ordering::Relaxed),
        stats.evictions.load(Ordering::Relaxed),
        stats.overflows.load(Ordering::Relaxed),
    );
}

/// The whole filter, as a pipeline asks it.
fn measure_filter(key: &str, clients: &[u32]) {
    let text = format!(
        "name = 'f'\nrate_limit = {{ key = {key}, requests = 50, burst = 200, capacity = 2097152 }}"
    );
    let spec: FilterSpec = toml::from_str(&text).unwrap();
    let (_, filter) = spec.build(&mut FilterContext::default()).unwrap();
    let mut headers = HeaderMap::new();
    let cookies = "theme=dark; sid=4f6c1b7e9a2d4f6c1b7e9a2d; lang=en";
    headers.insert(COOKIE, HeaderValue::from_static(cookies));
    let uri = Uri::from_static("/shop/orders/1001/items/7.json");
    let ask = |client: Ipv4Addr, now: Duration| judge(&*filter, client, now, &headers, &uri);
    let mut now = Duration::from_secs(1);
    let _ = round(clients, &mut now, ask);
    let later = (0..3).flat_map(|_| round(clients, &mut now, ask)).collect();
    println!("rate_limit by {key}: {:.0} ns per request", median(later));
}

fn judge(filter: &dyn Filter, client: Ipv4Addr, now: Duration, headers: &HeaderMap, uri: &Uri) {
    let request = RequestView {
        client: client.into(),
        now,
        ..RequestView::bare(&Method::GET, uri, headers)
    };
    let _ = black_box(filter.judge(&request, &mut Round::default()));
}

/// Asks once for every client, a microsecond apart; returns the nanoseconds of each run.
fn round(clients: &[u32], now: &mut Duration, ask: impl Fn(Ipv4Addr, Duration)) -> Vec<f64> {
    let mut nanos = Vec::new();
    for run in clients.chunks(RUN) {
        let started = Instant::now();
        for &client in run {
            fence(Ordering::SeqCst);
            *now += Duration::from_micros(1);
            ask(Ipv4Addr::from_bits(client), *now);
        }
        nanos.push(started.elapsed().as_secs_f64() * 1e9 / run.len() as f64);
    }
    nanos
}

fn median(mut nanos: Vec<f64>) -> f64 {
    nanos.sort_by(f64::total_cmp);
    nanos[nanos.len() / 2]
}
