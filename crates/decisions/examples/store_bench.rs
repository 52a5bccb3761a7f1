//! Measures the store: a million decisions written, looked up, and taken up again by a new start.
//!
//! `cargo run --release -p thornwall-decisions --example store_bench`
//!
//! Decisions are half IPv4 and half IPv6, networks of the lengths that lists have. Every lookup
//! waits for the one before it, as in `prefix_set_bench`: what is printed is latency, the median of
//! many runs.
#![allow(clippy::print_stdout, clippy::unwrap_used)]
#![allow(
    clippy::disallowed_methods,
    reason = "measuring is what this program is for"
)]

use std::{
    fs,
    hint::black_box,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::{
        Arc,
        atomic::{Ordering, fence},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use prometheus::Registry;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use thornwall_decisions::{
    clock::{Clock, Moment},
    decision::{Action, Change, Decision, ReasonCode, Scope, Source},
    decisions::Decisions,
    prefix_set::Prefix,
    store::{ChangeOrigin, Listed, Options, Receipt, Store, StoreMetrics},
};
use thornwall_detectors::signal::Reason;

const DECISIONS: usize = 1_000_000;
const BATCH: usize = 4096;
const LISTED: usize = 100_000;
const LOOKUPS: usize = 1 << 20;
const RUN: usize = 1 << 11;

struct Hands(Instant);

impl Clock for Hands {
    fn now(&self) -> Moment {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Moment {
            own_ms: u64::try_from(self.0.elapsed().as_millis()).unwrap(),
            unix_ms: u64::try_from(unix.unwrap().as_millis()).unwrap(),
        }
    }
}

fn main() {
    let mut rng = SmallRng::seed_from_u64(1);
    let subjects: Vec<Prefix> = (0..DECISIONS).map(|at| subject(&mut rng, at)).collect();
    if let Some(file) = std::env::args_os().nth(1) {
        return fill(Path::new(&file), &subjects);
    }
    let folder = std::env::temp_dir().join(format!("thornwall-store-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("decisions.redb");
    fill(&file, &subjects);
    let (store, thread) = start();
    let began = Instant::now();
    let loaded = store.open(file).unwrap();
    report("taken up by a start", millis(began), "ms");
    let decisions = Arc::clone(store.decisions());
    let (entries, index) = decisions.heap_bytes();
    let each = |bytes: usize| bytes as f64 / loaded.decisions as f64;
    report("entry", each(entries), "bytes");
    report("index", each(index), "bytes");
    look_up(&decisions, &subjects, &mut rng);
    list(&store, &mut rng);
    look_up(&decisions, &subjects, &mut rng);
    let one = [Prefix::host(Ipv4Addr::from_bits(rng.random()).into())];
    let began = Instant::now();
    write(&store, &one);
    report("one more, on disk", millis(began), "ms");
    stop(&store, thread);
    fs::remove_dir_all(&folder).unwrap();
}

/// Writes a decision about each subject.
fn fill(file: &Path, subjects: &[Prefix]) {
    let (store, thread) = start();
    store.open(file.to_path_buf()).unwrap();
    let began = Instant::now();
    for batch in subjects.chunks(BATCH) {
        write(&store, batch);
    }
    let wrote = millis(began);
    report("written, on disk", wrote, "ms");
    report("per decision", wrote * 1e3 / DECISIONS as f64, "us");
    let size = fs::metadata(file).unwrap().len();
    report("file", size as f64 / f64::from(1 << 20), "MiB");
    stop(&store, thread);
}

/// How long a lookup takes, of clients of which half are decided about.
fn look_up(decisions: &Decisions, subjects: &[Prefix], rng: &mut SmallRng) {
    let mut clients =
        |v4: bool| -> Vec<IpAddr> { (0..LOOKUPS).map(|_| client(rng, subjects, v4)).collect() };
    let (v4, v6) = (clients(true), clients(false));
    measure("no decisions", &Decisions::default(), &v4);
    measure("v4", decisions, &v4);
    measure("v6", decisions, &v6);
}

/// How long it takes until what a feed lists holds.
fn list(store: &Store, rng: &mut SmallRng) {
    let listed = Listed {
        subjects: (0..LISTED)
            .map(|_| Prefix::host(Ipv4Addr::from_bits(rng.random()).into()))
            .collect(),
        until_ms: u64::MAX,
    };
    let last = listed.subjects[LISTED - 1].first();
    let began = Instant::now();
    store.list(Source::Feed("bench".into()), listed);
    let decisions = store.decisions();
    while decisions.lookup(last, 0, Duration::from_secs(1)).is_none() {
        std::thread::yield_now();
    }
    report("100,000 of a feed", millis(began), "ms");
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn start() -> (Store, JoinHandle<()>) {
    let options = Options {
        capacity: 2 * DECISIONS,
        shared: false,
        coarse_only: false,
    };
    let metrics = StoreMetrics::register(&Registry::new()).unwrap();
    Store::start(
        Arc::default(),
        Arc::new(Hands(Instant::now())),
        options,
        metrics,
    )
    .unwrap()
}

fn stop(store: &Store, thread: JoinHandle<()>) {
    store.stop();
    thread.join().unwrap();
}

fn write(store: &Store, subjects: &[Prefix]) {
    let now = Hands(Instant::now()).now().unix_ms;
    let change = |subject: &Prefix| {
        Change::Decide(Decision {
            subject: *subject,
            scope: Scope::Deployment,
            action: Action::Deny,
            reason: ReasonCode::Known(Reason::RateLimitClient),
            source: Source::Filter("standard.per_client".into()),
            evidence: "12 in 60 s, time 1".to_owned(),
            note: String::new(),
            requests: vec!["0198c0de7f3a7cc0a1b2c3d4e5f60718".to_owned()],
            made_ms: now,
            until_ms: now + 3_600_000,
        })
    };
    let (sender, receiver) = mpsc::channel();
    let done = Box::new(move |receipt: Receipt| sender.send(receipt).unwrap());
    store.write(
        subjects.iter().map(change).collect(),
        ChangeOrigin::Here,
        done,
    );
    assert!(receiver.recv().unwrap().durable);
}

/// Half IPv4, mostly single addresses; half IPv6, mostly /64.
fn subject(rng: &mut SmallRng, at: usize) -> Prefix {
    let few = rng.random_range(0..100) < 10;
    let (address, length): (IpAddr, u8) = if at.is_multiple_of(2) {
        let length = if few { rng.random_range(20..32) } else { 32 };
        (Ipv4Addr::from_bits(rng.random()).into(), length)
    } else {
        let length = if few { rng.random_range(40..64) } else { 64 };
        let bits = 0x2000 << 112 | rng.random::<u128>() >> 4;
        (Ipv6Addr::from_bits(bits).into(), length)
    };
    Prefix::around(address, length).unwrap()
}

/// One half inside of a subject, the other anywhere.
fn client(rng: &mut SmallRng, subjects: &[Prefix], v4: bool) -> IpAddr {
    let own = subjects[rng.random_range(0..subjects.len() / 2) * 2 + usize::from(!v4)];
    match (rng.random(), v4) {
        (true, _) => own.first(),
        (false, true) => Ipv4Addr::from_bits(rng.random()).into(),
        (false, false) => Ipv6Addr::from_bits(0x2000 << 112 | rng.random::<u128>() >> 4).into(),
    }
}

fn measure(name: &str, decisions: &Decisions, clients: &[IpAddr]) {
    let mut times: Vec<f64> = clients
        .chunks_exact(RUN)
        .map(|run| {
            let began = Instant::now();
            for client in run {
                black_box(decisions.lookup(*client, 0, Duration::from_secs(1)));
                fence(Ordering::SeqCst);
            }
            began.elapsed().as_secs_f64() * 1e9 / RUN as f64
        })
        .collect();
    times.sort_unstable_by(f64::total_cmp);
    report(name, times[times.len() / 2], "ns a lookup");
}

fn report(name: &str, value: f64, unit: &str) {
    println!("{name:<22} {value:>10.1} {unit}");
}
