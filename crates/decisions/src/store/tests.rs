//! The store with a clock that stands still, and with real files.

use std::{
    fs,
    io::{Seek, SeekFrom, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tempfile::TempDir;

use super::*;
use crate::{
    clock::Moment,
    decision::{Action, ReasonCode, Scope, Source, Withdrawal},
    prefix_set::PrefixSet,
};

mod faults;
mod replica;

/// A clock that stands still until it is told otherwise.
#[derive(Default)]
struct Hands {
    own_ms: AtomicU64,
    unix_ms: AtomicU64,
}

impl Clock for Hands {
    fn now(&self) -> Moment {
        Moment {
            own_ms: self.own_ms.load(Relaxed),
            unix_ms: self.unix_ms.load(Relaxed),
        }
    }
}

struct Bench {
    store: Store,
    thread: Option<JoinHandle<()>>,
    clock: Arc<Hands>,
}

impl Bench {
    fn new(unix_ms: u64, shared: bool) -> Self {
        Self::with(unix_ms, shared, false)
    }

    fn with(unix_ms: u64, shared: bool, coarse_only: bool) -> Self {
        let clock = Arc::new(Hands::default());
        clock.own_ms.store(1_000, Relaxed);
        clock.unix_ms.store(unix_ms, Relaxed);
        let options = Options {
            capacity: 1000,
            shared,
            coarse_only,
        };
        let clock_of_store: Arc<dyn Clock> = Arc::<Hands>::clone(&clock);
        let (store, thread) = {
            let metrics = StoreMetrics::register(&prometheus::Registry::new()).unwrap();
            Store::start(Arc::default(), clock_of_store, options, metrics).unwrap()
        };
        Self {
            store,
            thread: Some(thread),
            clock,
        }
    }

    fn write(&self, change: Change) -> (WriteOutcome, bool) {
        self.write_from(change, ChangeOrigin::Here)
    }

    fn write_from(&self, change: Change, from: ChangeOrigin) -> (WriteOutcome, bool) {
        let (done, answer) = answer();
        self.store.write(vec![change], from, done);
        let receipt: Receipt = answer.recv().unwrap();
        (receipt.outcomes[0], receipt.durable)
    }

    fn read(&self, query: Query) -> Vec<Decision> {
        let (done, answer) = answer();
        self.store.read(
            Query {
                most: 1000,
                ..query
            },
            done,
        );
        answer.recv().unwrap().decisions
    }

    fn unsent(&self) -> Vec<Unsent> {
        let (done, answer) = answer();
        self.store.unsent(100, done);
        answer.recv().unwrap()
    }

    fn holds(&self, client: &str) -> bool {
        let now = Duration::from_millis(self.clock.own_ms.load(Relaxed));
        let client = client.parse().unwrap();
        self.store.decisions().lookup(client, 7, now).is_some()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.store.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A folder that is removed with the test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("decisions.redb")
    }
}

const NOON: u64 = 1_000_000;

fn by(source: Source, subject: &str, until_ms: u64) -> Decision {
    Decision {
        subject: subject.parse().unwrap(),
        scope: Scope::Deployment,
        action: Action::Deny,
        reason: ReasonCode::Known(thornwall_detectors::signal::Reason::DecisionOperator),
        source,
        evidence: String::new(),
        note: "seen at night".to_owned(),
        requests: Vec::new(),
        made_ms: NOON,
        until_ms,
    }
}

fn filter() -> Source {
    Source::Filter("standard.per_client".into())
}

fn withdraw(source: Source, subject: &str) -> Change {
    Change::Withdraw(Withdrawal {
        key: by(source.clone(), subject, 0).key(),
        source,
        made_ms: NOON,
    })
}

#[test]
fn a_sidecar_changes_and_takes_back_its_own_word_alone() {
    let bench = Bench::new(NOON, false);
    let sidecars = |action, until_ms| {
        let mut decision = by(Source::Sidecar, "192.0.2.1", until_ms);
        decision.action = action;
        bench.write(Change::Decide(decision)).0
    };
    assert_eq!(sidecars(Action::Deny, NOON + 9_000), WriteOutcome::Made);
    assert_eq!(
        sidecars(Action::Deny, NOON + 9_000),
        WriteOutcome::Superseded
    );
    assert_eq!(sidecars(Action::Throttle, NOON + 5_000), WriteOutcome::Made);
    let take_back = || bench.write(withdraw(Source::Sidecar, "192.0.2.1")).0;
    assert_eq!(take_back(), WriteOutcome::Withdrawn);
    for other in [filter(), Source::Operator] {
        let _ = bench.write(Change::Decide(by(other, "192.0.2.1", NOON + 9_000)));
        assert_eq!(
            sidecars(Action::Tarpit, NOON + 5_000),
            WriteOutcome::Superseded
        );
        assert_eq!(take_back(), WriteOutcome::Superseded);
        assert!(bench.holds("192.0.2.1"));
    }
    assert_eq!(
        sidecars(Action::Tarpit, NOON + 90_000),
        WriteOutcome::Superseded
    );
}

#[test]
fn an_operators_word_stands_until_an_operator_takes_it_back() {
    let bench = Bench::new(NOON, false);
    let decide = |decision| bench.write(Change::Decide(decision)).0;
    assert_eq!(
        decide(by(filter(), "192.0.2.1", NOON + 9)),
        WriteOutcome::Made
    );
    assert_eq!(
        decide(by(filter(), "192.0.2.1", NOON + 8)),
        WriteOutcome::Superseded
    );
    assert_eq!(
        decide(by(Source::Operator, "192.0.2.1", NOON + 5)),
        WriteOutcome::Made
    );
    assert_eq!(
        decide(by(filter(), "192.0.2.1", NOON + 90)),
        WriteOutcome::Superseded
    );
    assert_eq!(
        bench.write(withdraw(filter(), "192.0.2.1")).0,
        WriteOutcome::Superseded
    );
    assert!(bench.holds("192.0.2.1"));
    assert_eq!(
        bench.write(withdraw(Source::Operator, "192.0.2.1")).0,
        WriteOutcome::Withdrawn
    );
    assert!(!bench.holds("192.0.2.1"));
    assert_eq!(
        bench.write(withdraw(Source::Operator, "192.0.2.1")).0,
        WriteOutcome::Absent
    );
    assert_eq!(decide(by(filter(), "192.0.2.2", NOON)), WriteOutcome::Ended);
    let never: PrefixSet = ["198.51.100.0/24".parse::<Prefix>().unwrap()]
        .into_iter()
        .collect();
    bench.store.decisions().spare(Arc::new(never));
    assert_eq!(
        decide(by(filter(), "198.51.100.9", NOON + 9)),
        WriteOutcome::Spared
    );
    assert_eq!(bench.store.metrics().refused.get(), 1);
}

#[test]
fn of_what_filters_decide_the_harsher_counts() {
    let bench = Bench::new(NOON, false);
    let decide = |action, until_ms| {
        let mut decision = by(filter(), "192.0.2.1", until_ms);
        decision.action = action;
        bench.write(Change::Decide(decision)).0
    };
    assert_eq!(decide(Action::Throttle, NOON + 900), WriteOutcome::Made);
    assert_eq!(decide(Action::Deny, NOON + 500), WriteOutcome::Made);
    assert_eq!(
        decide(Action::Throttle, NOON + 9_000),
        WriteOutcome::Superseded
    );
    assert_eq!(
        decide(Action::Tarpit, NOON + 9_000),
        WriteOutcome::Superseded
    );
    assert_eq!(decide(Action::Deny, NOON + 400), WriteOutcome::Superseded);
    assert_eq!(decide(Action::Deny, NOON + 600), WriteOutcome::Made);
    assert_eq!(bench.read(Query::default())[0].action, Action::Deny);
}

#[test]
fn a_decision_ends_by_the_clock_that_does_not_jump() {
    let bench = Bench::new(NOON, false);
    let _ = bench.write(Change::Decide(by(filter(), "192.0.2.1", NOON + 500)));
    bench.clock.unix_ms.store(NOON * 1000, Relaxed);
    assert!(bench.holds("192.0.2.1"));
    bench.clock.own_ms.store(1_499, Relaxed);
    assert!(bench.holds("192.0.2.1"));
    bench.clock.own_ms.store(1_500, Relaxed);
    assert!(!bench.holds("192.0.2.1"));
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart_and_nothing_else() {
    let folder = Folder::new();
    {
        let bench = Bench::new(NOON, false);
        assert_eq!(bench.store.open(folder.file()).unwrap(), Loaded::default());
        for subject in ["192.0.2.1", "192.0.2.2", "2001:db8::/32"] {
            let made = bench.write(Change::Decide(by(filter(), subject, NOON + 5_000)));
            assert_eq!(made, (WriteOutcome::Made, true));
        }
        let _ = bench.write(Change::Decide(by(filter(), "192.0.2.3", NOON + 100)));
        assert_eq!(
            bench.write(withdraw(Source::Operator, "192.0.2.2")),
            (WriteOutcome::Withdrawn, true)
        );
    }
    let bench = Bench::new(NOON + 1_000, false);
    let loaded = bench.store.open(folder.file()).unwrap();
    assert_eq!((loaded.decisions, loaded.broken), (2, 0));
    assert!(bench.holds("192.0.2.1") && bench.holds("2001:db8::9"));
    assert!(!bench.holds("192.0.2.2") && !bench.holds("192.0.2.3"));
    let found = bench.read(Query::default());
    assert_eq!(found[0], by(filter(), "192.0.2.1", NOON + 5_000));
    bench.clock.own_ms.store(1_000 + 4_000, Relaxed);
    assert!(!bench.holds("192.0.2.1"));
}

#[test]
fn a_damaged_file_is_put_aside_and_a_new_one_is_begun() {
    let folder = Folder::new();
    {
        let bench = Bench::new(NOON, false);
        bench.store.open(folder.file()).unwrap();
        for host in 0..200 {
            let subject = format!("192.0.2.{host}");
            let _ = bench.write(Change::Decide(by(filter(), &subject, NOON + 5_000)));
        }
    }
    let length = fs::metadata(folder.file()).unwrap().len();
    let damages: [&dyn Fn(&Path); 3] = [
        &|file| fs::write(file, "not a database at all").unwrap(),
        &|file| {
            let file = fs::OpenOptions::new().write(true).open(file).unwrap();
            file.set_len(length / 2).unwrap();
        },
        &|file| {
            let mut file = fs::OpenOptions::new().write(true).open(file).unwrap();
            for at in (4096..length).step_by(512) {
                file.seek(SeekFrom::Start(at)).unwrap();
                file.write_all(&[0xa5; 256]).unwrap();
            }
        },
    ];
    let whole = fs::read(folder.file()).unwrap();
    for (number, damage) in damages.into_iter().enumerate() {
        fs::write(folder.file(), &whole).unwrap();
        damage(&folder.file());
        let bench = Bench::new(NOON + number as u64, false);
        let loaded = bench.store.open(folder.file()).unwrap();
        assert!(
            loaded
                .set_aside
                .as_ref()
                .is_some_and(|aside| aside.exists()),
            "{number}: {loaded:?}"
        );
        let made = bench.write(Change::Decide(by(filter(), "192.0.2.1", NOON + 5_000)));
        assert_eq!(made, (WriteOutcome::Made, true));
    }
}

#[test]
fn what_is_decided_after_the_handover_reaches_the_successor() {
    let folder = Folder::new();
    let old = Bench::new(NOON, false);
    old.store.open(folder.file()).unwrap();
    let _ = old.write(Change::Decide(by(filter(), "192.0.2.1", NOON + 5_000)));
    old.store.close();
    let new = Bench::new(NOON, false);
    assert_eq!(new.store.open(folder.file()).unwrap().decisions, 1);
    let _ = old.write(Change::Decide(by(filter(), "192.0.2.2", NOON + 5_000)));
    drop(old);
    new.clock.own_ms.store(2_000, Relaxed);
    let started = std::time::SystemTime::now();
    while !new.holds("192.0.2.2") {
        assert!(started.elapsed().unwrap() < Duration::from_secs(10));
        let _ = new.read(Query::default());
    }
    // Taken back after a failed handover, nothing is missing either.
    new.store.close();
    let _ = new.write(Change::Decide(by(filter(), "192.0.2.3", NOON + 6_000)));
    new.store.open(folder.file()).unwrap();
    assert!(new.holds("192.0.2.1") && new.holds("192.0.2.3"));
}

#[test]
fn the_shared_store_is_told_of_each_change_once_and_of_the_last_one() {
    let folder = Folder::new();
    {
        let bench = Bench::new(NOON, true);
        bench.store.open(folder.file()).unwrap();
        let _ = bench.write(Change::Decide(by(filter(), "192.0.2.1", NOON + 5_000)));
        let first = bench.unsent();
        assert_eq!(
            first[0].decision,
            Some(by(filter(), "192.0.2.1", NOON + 5_000))
        );
        let _ = bench.write(withdraw(Source::Operator, "192.0.2.1"));
        // Sent too early: the withdrawal came in between.
        bench
            .store
            .sent(vec![(first[0].key.clone(), first[0].number)]);
        assert_eq!(bench.unsent()[0].decision, None);
        let other = Change::Decide(by(filter(), "192.0.2.9", NOON + 5_000));
        assert_eq!(
            bench.write_from(other, ChangeOrigin::Shared).0,
            WriteOutcome::Made
        );
        assert_eq!(bench.unsent().len(), 1);
    }
    let bench = Bench::new(NOON, true);
    bench.store.open(folder.file()).unwrap();
    let unsent = bench.unsent();
    assert_eq!((unsent.len(), unsent[0].decision.clone()), (1, None));
    bench
        .store
        .sent(vec![(unsent[0].key.clone(), unsent[0].number)]);
    assert_eq!(bench.unsent(), []);
}

#[test]
fn what_feeds_list_is_found_and_told_apart() {
    let bench = Bench::new(NOON, false);
    let listed = |subjects: &[&str]| Listed {
        subjects: subjects.iter().map(|text| text.parse().unwrap()).collect(),
        until_ms: NOON + 5_000,
    };
    let (one, other) = (Source::Feed("one".into()), Source::Feed("other".into()));
    bench
        .store
        .list(one.clone(), listed(&["192.0.2.1", "198.51.100.0/24"]));
    bench.store.list(other.clone(), listed(&["203.0.113.1"]));
    let sources = |found: Vec<Decision>| found.into_iter().map(|decision| decision.source);
    let found = bench.read(Query::default());
    assert_eq!(
        Vec::from_iter(sources(found)),
        [one.clone(), one.clone(), other.clone()]
    );
    assert!(bench.holds("198.51.100.7"));
    bench.store.prolong(one.clone(), NOON + 9_000);
    bench.clock.unix_ms.store(NOON + 6_000, Relaxed);
    bench.clock.own_ms.store(7_000, Relaxed);
    assert_eq!(bench.read(Query::default()).len(), 2);
    assert!(bench.holds("198.51.100.7") && !bench.holds("203.0.113.1"));
    bench.store.list(one, Listed::default());
    assert_eq!(bench.read(Query::default()), []);
    assert!(!bench.holds("198.51.100.7"));
}

#[test]
fn where_only_networks_are_kept_no_single_address_is_on_the_disk() {
    let folder = Folder::new();
    let decide = |bench: &Bench, subject: &str| {
        bench.write(Change::Decide(by(Source::Operator, subject, NOON + 60_000)))
    };
    let on_disk = |text: &str| {
        let bytes = fs::read(folder.file()).unwrap();
        let octets: std::net::Ipv4Addr = text.parse().unwrap();
        let key = [&[4][..], &octets.octets(), &[32]].concat();
        let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        has(text.as_bytes()) || has(&key)
    };
    {
        let bench = Bench::new(NOON, false);
        bench.store.open(folder.file()).unwrap();
        decide(&bench, "192.0.2.7");
        decide(&bench, "198.51.100.0/24");
    }
    assert!(on_disk("192.0.2.7"));
    {
        // What was kept before goes, and holds on in memory.
        let bench = Bench::with(NOON, true, true);
        bench.store.open(folder.file()).unwrap();
        assert!(!on_disk("192.0.2.7"));
        assert!(bench.holds("192.0.2.7") && bench.holds("198.51.100.9"));
        assert_eq!(decide(&bench, "192.0.2.8").0, WriteOutcome::Made);
        assert_eq!(decide(&bench, "203.0.113.0/24").0, WriteOutcome::Made);
        assert!(bench.holds("192.0.2.8"));
        assert_eq!(bench.unsent().len(), 1, "the network alone");
        assert_eq!(bench.store.metrics().unsaved.get(), 1);
        assert!(!on_disk("192.0.2.8"));
        let _ = bench.write(withdraw(Source::Operator, "192.0.2.8"));
        assert!(!bench.holds("192.0.2.8") && !on_disk("192.0.2.8"));
        // Nor is it left for a successor.
        bench.store.close();
        decide(&bench, "192.0.2.9");
        let late = folder.file().with_extension("late");
        assert!(!late.exists(), "{late:?}");
    }
    let bench = Bench::with(NOON, false, true);
    let loaded = bench.store.open(folder.file()).unwrap();
    assert_eq!(loaded.decisions, 2);
    assert!(!bench.holds("192.0.2.7") && !bench.holds("192.0.2.1"));
    assert!(bench.holds("198.51.100.9") && bench.holds("203.0.113.9"));
}
