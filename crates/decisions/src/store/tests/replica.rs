//! What the local store makes of a shared one.

use super::*;

fn shared(bench: &Bench, change: Change) -> WriteOutcome {
    bench.write_from(change, ChangeOrigin::Shared).0
}

fn end_resync(bench: &Bench, missing: Missing) -> usize {
    let (done, answer) = answer();
    bench.store.end_resync(missing, done);
    answer.recv().unwrap()
}

fn made_at(mut decision: Decision, made_ms: u64) -> Change {
    decision.made_ms = made_ms;
    Change::Decide(decision)
}

#[test]
fn what_the_shared_store_does_not_have_is_told_again_or_dropped() {
    for missing in [Missing::Resend, Missing::Remove] {
        let bench = Bench::new(NOON, true);
        let _ = bench.write(Change::Decide(by(filter(), "192.0.2.1", NOON + 5_000)));
        for subject in ["192.0.2.2", "192.0.2.3"] {
            let _ = shared(&bench, Change::Decide(by(filter(), subject, NOON + 5_000)));
        }
        bench.store.begin_resync(Box::new(|()| ()));
        let _ = shared(
            &bench,
            Change::Decide(by(filter(), "192.0.2.3", NOON + 5_000)),
        );
        let came = by(Source::Operator, "192.0.2.4", NOON + 5_000);
        let _ = shared(&bench, Change::Decide(came));
        assert_eq!(end_resync(&bench, missing), 1);
        for host in [1, 3, 4] {
            assert!(bench.holds(&format!("192.0.2.{host}")), "{host}");
        }
        let mut unsent: Vec<String> = bench
            .unsent()
            .iter()
            .map(|unsent| unsent.decision.as_ref().unwrap().subject.to_string())
            .collect();
        unsent.sort_unstable();
        if missing == Missing::Resend {
            assert!(bench.holds("192.0.2.2"));
            assert_eq!(unsent, ["192.0.2.1", "192.0.2.2"]);
        } else {
            assert!(!bench.holds("192.0.2.2"));
            assert_eq!(unsent, ["192.0.2.1"]);
        }
        // Only what came since the beginning counts.
        assert_eq!(end_resync(&bench, missing), 0);
    }
}

#[test]
fn gateways_that_read_the_same_changes_agree() {
    let by_filter = || Change::Decide(by(filter(), "192.0.2.1", NOON + 5_000));
    let by_operator = || Change::Decide(by(Source::Operator, "192.0.2.1", NOON + 9_000));
    // One decided as an operator, one as a filter, both at once; one only reads.
    let gateways: Vec<Bench> = (0..3).map(|_| Bench::new(NOON, true)).collect();
    let _ = gateways[0].write(by_operator());
    let _ = gateways[1].write(by_filter());
    for bench in &gateways {
        for change in [by_filter(), by_operator(), by_filter()] {
            let _ = shared(bench, change);
        }
        let found = bench.read(Query::default());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].source, Source::Operator);
    }
    // Whoever stood against a change says so to everybody.
    assert_eq!(gateways[2].unsent().len(), 1);
}

#[test]
fn what_was_not_told_yet_gives_way_to_what_is_newer_or_an_operators() {
    let folder = Folder::new();
    let bench = Bench::new(NOON, true);
    bench.store.open(folder.file()).unwrap();
    let own = |subject| made_at(by(filter(), subject, NOON + 5_000), NOON + 5);
    for subject in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        let _ = bench.write(own(subject));
    }
    let older = made_at(by(filter(), "192.0.2.1", NOON + 90_000), NOON + 4);
    assert_eq!(shared(&bench, older), WriteOutcome::Superseded);
    let newer = made_at(by(filter(), "192.0.2.2", NOON + 90_000), NOON + 6);
    assert_eq!(shared(&bench, newer), WriteOutcome::Made);
    let operators = made_at(by(Source::Operator, "192.0.2.3", NOON + 90_000), NOON);
    assert_eq!(shared(&bench, operators), WriteOutcome::Made);
    let left: Vec<String> = bench
        .unsent()
        .iter()
        .map(|unsent| unsent.key.subject.to_string())
        .collect();
    assert_eq!(left, ["192.0.2.1"]);
    // Taken back by an operator here: what others said before has no say.
    let _ = bench.write(withdraw(Source::Operator, "192.0.2.3"));
    let again = made_at(by(Source::Operator, "192.0.2.3", NOON + 90_000), NOON + 8);
    assert_eq!(shared(&bench, again), WriteOutcome::Superseded);
    assert!(!bench.holds("192.0.2.3"));
}

#[test]
fn the_own_echo_changes_nothing() {
    let bench = Bench::new(NOON, true);
    let own = by(filter(), "192.0.2.1", NOON + 5_000);
    let _ = bench.write(Change::Decide(own.clone()));
    let unsent = bench.unsent().remove(0);
    bench.store.sent(vec![(unsent.key, unsent.number)]);
    bench.clock.unix_ms.store(NOON + 3, Relaxed);
    assert_eq!(shared(&bench, Change::Decide(own)), WriteOutcome::Made);
    assert_eq!(bench.store.metrics().made.get(), 1);
    assert_eq!(bench.unsent(), []);
}

#[test]
fn how_far_the_shared_store_was_followed_survives_but_not_a_time_without_it() {
    let folder = Folder::new();
    let position = |bench: &Bench| {
        let (done, answer) = answer();
        bench.store.position(done);
        answer.recv().unwrap()
    };
    let known = Position {
        epoch: "first".to_owned(),
        entry: "17-0".to_owned(),
    };
    {
        let bench = Bench::new(NOON, true);
        bench.store.open(folder.file()).unwrap();
        assert_eq!(position(&bench), None);
        bench.store.note(known.clone());
    }
    {
        let bench = Bench::new(NOON, true);
        bench.store.open(folder.file()).unwrap();
        assert_eq!(position(&bench), Some(known));
    }
    Bench::new(NOON, false).store.open(folder.file()).unwrap();
    let bench = Bench::new(NOON, true);
    bench.store.open(folder.file()).unwrap();
    assert_eq!(position(&bench), None);
}

#[test]
fn a_file_that_was_handed_over_is_told_of_by_its_new_owner() {
    let folder = Folder::new();
    let bench = Bench::new(NOON, true);
    bench.store.open(folder.file()).unwrap();
    bench.store.close();
    let _ = bench.write(Change::Decide(by(filter(), "192.0.2.1", NOON + 5_000)));
    // It would look like a withdrawal.
    assert_eq!(bench.unsent(), []);
}
