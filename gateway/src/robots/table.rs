//! What is known of hosts' robots.txt, bounded in number and bytes.
//!
//! A client that asks under made-up names of a wildcard fills it with their files, so room is made
//! by those first: of the site that has most of them, those that were not asked for again, the
//! longest unasked.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use thornwall_filters::table_stats::TableStats;
use tokio::sync::{Notify, watch};

use super::{
    FileKey, RobotsFile,
    line::{Line, Want},
};
use crate::hosts::Hosts;

/// Most hosts whose files are kept.
const MOST_HOSTS: usize = 4096;
/// Most memory of all files: 16 of the largest ones that any crawler reads, or 4096 usual ones.
const MOST_BYTES: usize = 64 << 20;
/// Requests that wait for a file at once.
const MOST_GUESTS: usize = 256;
/// A file in use is read again after this time, well below the 24 hours that crawlers may keep a
/// copy (RFC 9309 section 2.4).
const FRESH: Duration = Duration::from_secs(300);
/// So long a good copy stands while it cannot be read again (section 2.4), and any copy that nobody
/// asks for.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// First wait after a failure, doubled with each further one up to [`FRESH`].
const RETRY: Duration = Duration::from_secs(5);
/// A host that is asked for again after this time is no name that a client made up once.
const CAME_BACK: u64 = 60;

/// What is known of all hosts.
#[derive(Debug)]
pub(crate) struct Robots {
    most_hosts: usize,
    most_bytes: usize,
    hasher: RandomState,
    known: ArcSwap<HashMap<u64, Arc<Entry>>>,
    /// Held while `known` is replaced.
    changing: Mutex<()>,
    line: Mutex<Line>,
    /// Notified of files that wait to be read.
    pub(crate) wanted: Notify,
    /// Counts files that have been read, or could not be.
    read: watch::Sender<u64>,
    guests: AtomicUsize,
    stats: Arc<TableStats>,
}

/// What is known of one host.
#[derive(Debug)]
struct Entry {
    want: Want,
    held: ArcSwap<Held>,
    /// Seconds on the gateway's clock.
    made: u64,
    asked: AtomicU64,
    /// Whether it waits to be read again.
    waits: AtomicBool,
}

/// A file, or that it is not ours to send.
#[derive(Debug)]
struct Held {
    file: Option<Arc<RobotsFile>>,
    /// When the file was read.
    good: Duration,
    /// When it is to be read again.
    due: Duration,
    failures: u32,
}

/// What the table says.
pub(super) enum Found {
    /// The file; `None` where the origin's own answer is to be passed on.
    Known(Option<Arc<RobotsFile>>),
    /// Nothing yet.
    Unknown {
        /// Whether it is being read.
        comes: bool,
    },
}

/// A request that waits.
pub(super) struct Guest<'a>(&'a AtomicUsize);

impl Default for Robots {
    fn default() -> Self {
        Self::with_room(MOST_HOSTS, MOST_BYTES)
    }
}

impl Robots {
    fn with_room(most_hosts: usize, most_bytes: usize) -> Self {
        Self {
            most_hosts,
            most_bytes,
            hasher: RandomState::new(),
            known: ArcSwap::default(),
            changing: Mutex::default(),
            line: Mutex::default(),
            wanted: Notify::new(),
            read: watch::Sender::new(0),
            guests: AtomicUsize::new(0),
            stats: Arc::new(TableStats::with_capacity(most_hosts as u64)),
        }
    }

    /// Size and losses of the table.
    pub(crate) fn stats(&self) -> Arc<TableStats> {
        Arc::clone(&self.stats)
    }

    /// Looks a file up, and has it read where that is due.
    pub(super) fn find(&self, wanted: &FileKey<'_>, hosts: &Hosts, now: Duration) -> Found {
        // Its keys are random, so that no client can make up hosts that share one.
        let key = self.hasher.hash_one(wanted);
        let want = || Want {
            key,
            site: wanted.site,
            secure: wanted.secure,
            host: wanted.host.into(),
            port: wanted.port,
            definite: hosts.is_definite(wanted.host),
        };
        let known = self.known.load();
        let Some(entry) = known.get(&key).filter(|entry| entry.is_of(wanted)) else {
            return Found::Unknown {
                comes: self.want(key, want),
            };
        };
        let secs = now.as_secs();
        if entry.asked.load(Relaxed) != secs {
            entry.asked.store(secs, Relaxed);
        }
        let held = entry.held.load();
        if held.due <= now && !entry.waits.swap(true, Relaxed) && !self.want(key, want) {
            entry.waits.store(false, Relaxed);
        }
        if held.file.is_some() && held.good + LIFETIME <= now {
            return Found::Unknown { comes: true };
        }
        Found::Known(held.file.clone())
    }

    fn want(&self, key: u64, make: impl FnOnce() -> Want) -> bool {
        let taken = self.line.lock().push(key, make);
        if taken {
            self.wanted.notify_one();
        } else {
            self.stats.overflowed();
        }
        taken
    }

    /// Notifies of every file that has been read.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.read.subscribe()
    }

    /// A place among those who wait.
    pub(super) fn enter(&self) -> Option<Guest<'_>> {
        if self.guests.fetch_add(1, Relaxed) >= MOST_GUESTS {
            self.guests.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Guest(&self.guests))
    }

    /// The next file to read.
    pub(crate) fn next(&self) -> Option<Want> {
        self.line.lock().next()
    }

    /// Whether no file waits to be read.
    pub(crate) fn is_idle(&self) -> bool {
        self.line.lock().is_empty()
    }

    /// Requests that wait for this file need not any more.
    pub(crate) fn done(&self, key: u64) {
        self.line.lock().done(key);
        if let Some(entry) = self.known.load().get(&key) {
            entry.waits.store(false, Relaxed);
        }
        self.read
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Takes up what was read: a file, or that the origin's own answer is to be passed on.
    pub(crate) fn learn(&self, want: &Want, file: Option<RobotsFile>, now: Duration) {
        self.hold(
            want,
            Held {
                file: file.map(Arc::new),
                good: now,
                due: now + FRESH,
                failures: 0,
            },
            now,
        );
    }

    /// The origin could not be asked. The last good copy stays for its time.
    pub(crate) fn fail(&self, want: &Want, now: Duration) {
        let before = self
            .known
            .load()
            .get(&want.key)
            .map(|entry| entry.held.load_full());
        let failures = before.as_ref().map_or(0, |held| held.failures);
        let good = before.filter(|held| held.good + LIFETIME > now);
        let held = Held {
            good: good.as_ref().map_or(now, |held| held.good),
            file: good.and_then(|held| held.file.clone()),
            due: now + FRESH.min(RETRY * 2u32.saturating_pow(failures.min(16))),
            failures: failures.saturating_add(1),
        };
        self.hold(want, held, now);
    }

    fn hold(&self, want: &Want, held: Held, now: Duration) {
        let _changing = self.changing.lock();
        let mut known = HashMap::clone(&self.known.load());
        match known.get(&want.key) {
            Some(entry) => entry.held.store(Arc::new(held)),
            None => {
                let entry = Entry::new(want.clone(), held, now.as_secs());
                known.insert(want.key, Arc::new(entry));
            }
        }
        self.make_room(&mut known);
        self.publish(known);
    }

    fn make_room(&self, known: &mut HashMap<u64, Arc<Entry>>) {
        let mut bytes: usize = known.values().map(|entry| entry.cost()).sum();
        while known.len() > self.most_hosts || bytes > self.most_bytes {
            let mut of_site: HashMap<u16, usize> = HashMap::new();
            for entry in known.values() {
                *of_site.entry(entry.want.site).or_default() += 1;
            }
            let worth = |entry: &Entry| {
                let crowd = of_site.get(&entry.want.site).copied().unwrap_or_default();
                let asked = entry.asked.load(Relaxed);
                let came_back = asked >= entry.made + CAME_BACK;
                (
                    entry.want.definite,
                    std::cmp::Reverse(crowd),
                    came_back,
                    asked,
                )
            };
            let least = known.iter().min_by_key(|(_, entry)| worth(entry));
            let Some(entry) = least
                .map(|(key, _)| *key)
                .and_then(|key| known.remove(&key))
            else {
                return;
            };
            bytes -= entry.cost();
            self.stats.evicted();
        }
    }

    fn publish(&self, known: HashMap<u64, Arc<Entry>>) {
        self.stats.entries.store(known.len() as u64, Relaxed);
        self.known.store(Arc::new(known));
    }

    /// Gives up what has not been asked for in a long time, and what has no site any more.
    pub(crate) fn age(&self, has_site: impl Fn(u16) -> bool, now: Duration) {
        let oldest = now.saturating_sub(LIFETIME).as_secs();
        let _changing = self.changing.lock();
        let mut known = HashMap::clone(&self.known.load());
        let before = known.len();
        known.retain(|_, entry| entry.asked.load(Relaxed) >= oldest && has_site(entry.want.site));
        if known.len() < before {
            self.publish(known);
        }
    }

    /// Every file may have changed, and is read again when it is asked for.
    pub(crate) fn read_again(&self, now: Duration) {
        for entry in self.known.load().values() {
            let held = entry.held.load();
            entry.held.store(Arc::new(Held {
                file: held.file.clone(),
                good: held.good,
                due: now,
                failures: 0,
            }));
        }
    }
}

impl Entry {
    fn new(want: Want, held: Held, now: u64) -> Self {
        Self {
            want,
            held: ArcSwap::from_pointee(held),
            made: now,
            asked: AtomicU64::new(now),
            waits: AtomicBool::new(true),
        }
    }

    fn is_of(&self, wanted: &FileKey<'_>) -> bool {
        let Want {
            site,
            secure,
            host,
            port,
            ..
        } = &self.want;
        *wanted
            == FileKey {
                site: *site,
                secure: *secure,
                host,
                port: *port,
            }
    }

    fn cost(&self) -> usize {
        let file = self.held.load().file.as_ref().map_or(0, |file| file.cost());
        size_of::<Self>() + size_of::<Held>() + self.want.host.len() + file
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Robots {
        fn take(&self, site: u16, host: &str, definite: bool, now: u64) {
            let (secure, port) = (false, None);
            let key = self.hasher.hash_one(FileKey {
                site,
                secure,
                host,
                port,
            });
            let want = Want {
                key,
                site,
                secure,
                host: host.into(),
                port,
                definite,
            };
            let file = RobotsFile::new(b"User-agent: *\nDisallow: /x\n", "/maze/");
            self.learn(&want, Some(file), Duration::from_secs(now));
            if let Some(entry) = self.known.load().get(&key) {
                entry.asked.store(now, Relaxed);
            }
        }

        fn has(&self, host: &str) -> bool {
            let known = self.known.load();
            known.values().any(|entry| &*entry.want.host == host)
        }
    }

    #[test]
    fn made_up_hosts_push_out_nothing_that_is_of_use() {
        const ROOM: usize = 64;
        let robots = Robots::with_room(ROOM, MOST_BYTES);
        robots.take(1, "named.example", true, 0);
        robots.take(1, "tenant.example", false, 0);
        robots.take(1, "tenant.example", false, 100);
        robots.take(2, "small.example", false, 0);
        for n in 0..ROOM + 50 {
            robots.take(1, &format!("x{n}.example"), false, 200);
        }
        assert!(robots.known.load().len() <= ROOM);
        for host in ["named.example", "tenant.example", "small.example"] {
            assert!(robots.has(host), "{host}");
        }
        assert_eq!(robots.stats.evictions.load(Relaxed), 53);
        assert_eq!(robots.stats.entries.load(Relaxed), ROOM as u64);
    }

    #[test]
    fn files_are_bounded_in_bytes_too() {
        let robots = Robots::with_room(64, 5_000);
        for n in 0..50 {
            robots.take(1, &format!("x{n}.example"), true, n);
        }
        let known = robots.known.load();
        let bytes: usize = known.values().map(|entry| entry.cost()).sum();
        assert!((2_000..=5_000).contains(&bytes), "{bytes}");
        assert!(robots.has("x49.example"));
    }

    #[test]
    fn a_good_copy_outlives_failures_for_a_day_and_no_longer() {
        let robots = Robots::default();
        robots.take(1, "a.example", true, 0);
        let want = robots.known.load().values().next().unwrap().want.clone();
        let held = |now: u64| {
            robots.fail(&want, Duration::from_secs(now));
            let held = robots.known.load()[&want.key].held.load_full();
            (held.file.is_some(), held.due.as_secs() - now)
        };
        assert_eq!(held(10), (true, 5));
        assert_eq!(held(20), (true, 10));
        for _ in 0..8 {
            held(100);
        }
        assert_eq!(held(100), (true, 300));
        assert!(!held(24 * 3600).0);
    }
}
