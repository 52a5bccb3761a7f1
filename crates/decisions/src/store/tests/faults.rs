//! What must not be lost, come back, or grow, when something goes wrong.

use super::*;

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let started = std::time::SystemTime::now();
    while !holds() {
        let waited = started.elapsed().unwrap();
        assert!(waited < Duration::from_secs(10), "{what}");
        thread::yield_now();
    }
}

#[test]
fn what_could_not_be_left_for_the_successor_is_left_later() {
    let folder = Folder::new();
    let late = folder.file().with_extension("late");
    let old = Bench::new(NOON, false);
    old.store.open(folder.file()).unwrap();
    old.store.close();
    // Where its folder should be, there is something else.
    fs::write(&late, "").unwrap();
    let _ = old.write(Change::Decide(by(filter(), "192.0.2.1", NOON + 60_000)));
    fs::remove_file(&late).unwrap();
    let _ = old.write(Change::Decide(by(filter(), "192.0.2.2", NOON + 60_000)));
    drop(old);
    let new = Bench::new(NOON, false);
    new.store.open(folder.file()).unwrap();
    new.clock.own_ms.store(2_000, Relaxed);
    wait_for("both reach the successor", || {
        new.holds("192.0.2.1") && new.holds("192.0.2.2")
    });
}

#[test]
fn what_has_ended_meanwhile_is_not_taken_away_from_others() {
    let folder = Folder::new();
    {
        let bench = Bench::new(NOON, true);
        bench.store.open(folder.file()).unwrap();
        let _ = bench.write(Change::Decide(by(filter(), "192.0.2.1", NOON + 5_000)));
        let _ = bench.write(Change::Decide(by(filter(), "192.0.2.2", NOON + 5_000)));
        let _ = bench.write(withdraw(Source::Operator, "192.0.2.2"));
    }
    let bench = Bench::new(NOON + 6_000, true);
    bench.store.open(folder.file()).unwrap();
    let told: Vec<String> = bench
        .unsent()
        .iter()
        .map(|unsent| unsent.key.subject.to_string())
        .collect();
    assert_eq!(told, ["192.0.2.2"], "the withdrawal alone");
    // Somebody else's word about it holds.
    let theirs = Change::Decide(by(Source::Operator, "192.0.2.1", NOON + 90_000));
    assert_eq!(
        bench.write_from(theirs, ChangeOrigin::Shared).0,
        WriteOutcome::Made
    );
}

#[test]
fn a_word_that_has_ended_stands_against_nobody() {
    let bench = Bench::new(NOON, true);
    let folder = Folder::new();
    bench.store.open(folder.file()).unwrap();
    let ours = by(Source::Operator, "192.0.2.1", NOON + 5_000);
    let _ = bench.write(Change::Decide(ours));
    bench.clock.own_ms.store(1_000 + 6_000, Relaxed);
    bench.clock.unix_ms.store(NOON + 6_000, Relaxed);
    let theirs = Change::Decide(by(filter(), "192.0.2.1", NOON + 90_000));
    assert_eq!(
        bench.write_from(theirs, ChangeOrigin::Shared).0,
        WriteOutcome::Made
    );
    assert!(bench.holds("192.0.2.1"));
}

#[test]
fn what_gave_way_is_not_told_after_a_restart() {
    let folder = Folder::new();
    {
        let bench = Bench::new(NOON, true);
        bench.store.open(folder.file()).unwrap();
        let _ = bench.write(Change::Decide(by(filter(), "192.0.2.1", NOON + 60_000)));
        let theirs = Change::Decide(by(Source::Operator, "192.0.2.1", NOON + 90_000));
        assert_eq!(
            bench.write_from(theirs, ChangeOrigin::Shared).0,
            WriteOutcome::Made
        );
        let _ = bench.write_from(
            withdraw(Source::Operator, "192.0.2.1"),
            ChangeOrigin::Shared,
        );
        assert_eq!(bench.unsent(), []);
    }
    let bench = Bench::new(NOON, true);
    bench.store.open(folder.file()).unwrap();
    assert_eq!(bench.unsent(), []);
}

#[test]
fn who_is_on_two_lists_is_denied_until_the_later_end() {
    // Which of equals stays would else be chance.
    for _ in 0..8 {
        let bench = Bench::new(NOON, false);
        let listed = |until_ms| Listed {
            subjects: vec!["192.0.2.1".parse().unwrap()],
            until_ms,
        };
        for (name, until_ms) in [("a", 2_000), ("b", 90_000), ("c", 3_000)] {
            let source = Source::Feed(name.into());
            bench.store.list(source, listed(NOON + until_ms));
        }
        assert_eq!(bench.read(Query::default()).len(), 1);
        bench.clock.own_ms.store(1_000 + 5_000, Relaxed);
        assert!(bench.holds("192.0.2.1"));
    }
}

#[test]
fn a_clock_that_jumps_ends_no_list() {
    let bench = Bench::new(NOON, false);
    let listed = |subject: &str, until_ms| Listed {
        subjects: vec![subject.parse().unwrap()],
        until_ms,
    };
    let (one, other) = (Source::Feed("one".into()), Source::Feed("other".into()));
    bench.store.list(one, listed("192.0.2.1", NOON + 60_000));
    assert_eq!(bench.read(Query::default()).len(), 1);
    bench.clock.unix_ms.store(NOON + 600_000, Relaxed);
    bench.store.list(other, listed("192.0.2.2", NOON + 660_000));
    assert_eq!(bench.read(Query::default()).len(), 2);
    assert!(bench.holds("192.0.2.1") && bench.holds("192.0.2.2"));
}

#[test]
fn what_is_taken_back_and_decided_anew_at_once_holds() {
    let folder = Folder::new();
    {
        let bench = Bench::new(NOON, false);
        bench.store.open(folder.file()).unwrap();
        let old = by(Source::Operator, "192.0.2.1", NOON + 60_000);
        let _ = bench.write(Change::Decide(old));
    }
    let bench = Bench::new(NOON, false);
    bench.store.open(folder.file()).unwrap();
    let changes = vec![
        withdraw(Source::Operator, "192.0.2.1"),
        Change::Decide(by(filter(), "192.0.2.1", NOON + 5_000)),
        withdraw(Source::Operator, "192.0.2.1"),
        withdraw(Source::Operator, "192.0.2.1"),
    ];
    let (done, answer) = answer();
    bench.store.write(changes, ChangeOrigin::Here, done);
    assert_eq!(
        answer.recv().unwrap().outcomes,
        [
            WriteOutcome::Withdrawn,
            WriteOutcome::Made,
            WriteOutcome::Withdrawn,
            WriteOutcome::Absent
        ]
    );
    assert!(!bench.holds("192.0.2.1"));
}

#[test]
fn asking_about_a_site_that_is_not_there_leaves_nothing() {
    let bench = Bench::new(NOON, false);
    let _ = bench.write(Change::Decide(by(filter(), "192.0.2.1", NOON + 5_000)));
    let asked = bench.read(Query {
        scope: Some(Scope::Site("nobody".into())),
        ..Query::default()
    });
    assert_eq!(asked, []);
    assert_eq!(bench.store.decisions().sites().known("nobody"), None);
}

#[test]
fn nobody_waits_for_a_store_that_stands_still() {
    let bench = Bench::new(NOON, true);
    let (stand, go) = mpsc::sync_channel::<()>(0);
    let reached = Arc::new(AtomicU64::new(0));
    let there = Arc::clone(&reached);
    // As a disk that does not answer would hold it up.
    bench.store.watch(Box::new(move |_| {
        there.store(1, Relaxed);
        let _ = go.recv();
    }));
    let decision = |host: u32| {
        let host = std::net::Ipv4Addr::from_bits(0xc000_0000 + host);
        by(filter(), &host.to_string(), NOON + 60_000)
    };
    bench.store.propose(decision(0));
    wait_for("the thread stands", || reached.load(Relaxed) == 1);
    while bench.store.metrics().dropped.get() == 0 {
        bench.store.propose(decision(1));
    }
    let (store, (told, ended)) = (bench.store.clone(), mpsc::sync_channel(1));
    thread::spawn(move || {
        store.note(Position {
            epoch: "one".to_owned(),
            entry: "1-1".to_owned(),
        });
        let (done, answer) = answer();
        store.read(Query::default(), done);
        let _ = told.send(answer.recv().is_err());
    });
    let refused = ended.recv_timeout(Duration::from_secs(2));
    drop(stand);
    assert_eq!(refused, Ok(true));
}
