//! Measures [`PrefixSet`]: a million networks, half of the addresses looked up listed.
//!
//! `cargo run --release -p thornwall-decisions --example prefix_set_bench`
//!
//! Every lookup starts from an address that depends on the result of the one before it, and a
//! memory fence stands between them (an address that is not listed yields no data to depend on),
//! so that the processor cannot overlap them: what is printed is latency, not throughput, and
//! includes the fence, whose own cost is printed first. Reported is the median of many runs.
#![allow(clippy::print_stdout, clippy::unwrap_used)]
#![allow(
    clippy::disallowed_methods,
    reason = "measuring is what this program is for"
)]

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{Ordering, fence},
    time::Instant,
};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use thornwall_decisions::prefix_set::{Prefix, PrefixSet};

const PREFIXES_PER_FAMILY: usize = 500_000;
const LOOKUPS: usize = 1 << 20;
/// Lookups that are timed at once: half a millisecond, so that most runs are not interrupted.
const RUN: usize = 1 << 11;
const ROUNDS: usize = 5;

fn main() {
    let mut rng = SmallRng::seed_from_u64(1);
    let v4: Vec<Prefix> = (0..PREFIXES_PER_FAMILY)
        .map(|_| network_v4(&mut rng))
        .collect();
    let providers: Vec<u32> = (0..20_000)
        .map(|_| 0x2000_0000 | rng.random::<u32>() >> 3)
        .collect();
    let v6: Vec<Prefix> = (0..PREFIXES_PER_FAMILY)
        .map(|_| network_v6(&mut rng, &providers))
        .collect();

    let started = Instant::now();
    let set: PrefixSet = v4.iter().chain(&v6).copied().collect();
    println!(
        "build     {:>8.1} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    println!("networks  {:>8}", v4.len() + v6.len());
    println!("ranges    {:>8}", set.len());
    println!(
        "index     {:>8.1} MiB",
        set.heap_bytes() as f64 / f64::from(1 << 20)
    );

    let unlisted = vec![Ipv4Addr::UNSPECIFIED.into(); LOOKUPS];
    measure("fence", &PrefixSet::default(), &unlisted);
    measure(
        "v4",
        &set,
        &addresses(&mut rng, &set, &v4, |rng| {
            Ipv4Addr::from_bits(rng.random()).into()
        }),
    );
    measure(
        "v6",
        &set,
        &addresses(&mut rng, &set, &v6, |rng| {
            let provider = providers[rng.random_range(0..providers.len())];
            Ipv6Addr::from_bits(u128::from(provider) << 96 | rng.random::<u128>() >> 32).into()
        }),
    );
}

/// Nine in ten are /24 to /32; a handful are shorter than /16, since more would list everybody.
fn network_v4(rng: &mut SmallRng) -> Prefix {
    let length = match rng.random_range(0..100_000) {
        0..4 => rng.random_range(8..16),
        4..10_000 => rng.random_range(16..24),
        _ => rng.random_range(24..=32),
    };
    let network = rng.random::<u32>() >> (32 - length) << (32 - length);
    Prefix::new(
        Ipv4Addr::from_bits(network).into(),
        u8::try_from(length).unwrap(),
    )
    .unwrap()
}

/// Networks of 20,000 providers with a /32 each: most /32 to /64, a quarter single addresses.
fn network_v6(rng: &mut SmallRng, providers: &[u32]) -> Prefix {
    let length = match rng.random_range(0..100_000) {
        0..4 => rng.random_range(16..32),
        4..2_000 => rng.random_range(32..40),
        2_000..75_000 => rng.random_range(40..=64),
        _ => 128,
    };
    let provider = providers[rng.random_range(0..providers.len())];
    let address = u128::from(provider) << 96 | rng.random::<u128>() >> 32;
    let network = address >> (128 - length) << (128 - length);
    Prefix::new(
        Ipv6Addr::from_bits(network).into(),
        u8::try_from(length).unwrap(),
    )
    .unwrap()
}

/// Addresses in random order: one half inside of listed networks, the other outside.
fn addresses(
    rng: &mut SmallRng,
    set: &PrefixSet,
    prefixes: &[Prefix],
    mut anywhere: impl FnMut(&mut SmallRng) -> IpAddr,
) -> Vec<IpAddr> {
    (0..LOOKUPS)
        .map(|_| match rng.random() {
            true => {
                let listed = rng.random_range(0..prefixes.len());
                inside(rng, &prefixes[listed])
            }
            false => loop {
                let address = anywhere(rng);
                if set.lookup(address).is_none() {
                    break address;
                }
            },
        })
        .collect()
}

fn inside(rng: &mut SmallRng, prefix: &Prefix) -> IpAddr {
    match (prefix.first(), prefix.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            Ipv4Addr::from_bits(rng.random_range(first.to_bits()..=last.to_bits())).into()
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            Ipv6Addr::from_bits(rng.random_range(first.to_bits()..=last.to_bits())).into()
        }
        _ => unreachable!("both ends of a network are of one family"),
    }
}

fn measure(family: &str, set: &PrefixSet, addresses: &[IpAddr]) {
    let (listed, _) = chain(set, addresses);
    let mut nanos: Vec<f64> = (0..ROUNDS)
        .flat_map(|_| addresses.chunks(RUN))
        .map(|run| {
            let started = Instant::now();
            black_box(chain(set, run));
            started.elapsed().as_secs_f64() * 1e9 / run.len() as f64
        })
        .collect();
    nanos.sort_by(f64::total_cmp);
    println!(
        "{family:<9} {:>8.1} ns per lookup (a tenth of the runs below {:.1}, a tenth above {:.1}), {:.1} % listed",
        nanos[nanos.len() / 2],
        nanos[nanos.len() / 10],
        nanos[nanos.len() * 9 / 10],
        listed as f64 * 100.0 / addresses.len() as f64
    );
}

/// Looks every address up, each one mixed with nothing (zero, which the compiler cannot know) of
/// the result before.
fn chain(set: &PrefixSet, addresses: &[IpAddr]) -> (usize, u32) {
    let nothing = black_box(0u32);
    let (mut hits, mut before) = (0, 0);
    for address in addresses {
        fence(Ordering::SeqCst);
        let address = match address {
            IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() ^ (before & nothing)).into()),
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() ^ u128::from(before & nothing)).into()),
        };
        before = match set.lookup(address) {
            Some((first, last)) => {
                hits += 1;
                low_bits(first) ^ low_bits(last)
            }
            None => before.wrapping_add(1),
        };
    }
    (hits, before)
}

fn low_bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => (v6.to_bits() & u128::from(u32::MAX)) as u32,
    }
}
