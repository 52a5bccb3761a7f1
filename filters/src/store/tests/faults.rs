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
    let folder = Folder::new("store-late-fails");
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
