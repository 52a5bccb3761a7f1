//! The task that reads feeds, and takes up what they list.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use thornwall_decisions::{clock::Moment, feed::Parsed, store::Listed};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet, block_in_place},
    time::{Instant, sleep_until},
};

use crate::{
    feeds::{Held, Round, RoundError, Snapshot, Snapshots, Spec, Validators, read, unread},
    state::State,
};

/// Readings at once: one slow server holds up no other feed.
const MOST_AT_ONCE: usize = 4;
/// First pause after a failure; it doubles up to the feed's own pace.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// Readings are spread over this part of the pause, so that many gateways do not come at once.
const SPREAD: f64 = 0.2;
/// Longest time between two looks at what is due.
const LONGEST_NAP: Duration = Duration::from_secs(60);

/// All feeds, and how they stand.
pub(crate) struct Feeds {
    state: Arc<State>,
    snapshots: Snapshots,
    feeds: BTreeMap<Arc<str>, Feed>,
    readings: JoinSet<(Arc<Spec>, Result<Round, RoundError>)>,
}

struct Feed {
    spec: Arc<Spec>,
    held: Option<Held>,
    failures: u32,
    due: Instant,
    under_way: bool,
}

impl Feeds {
    /// The feeds of the running generation, each with its last good copy.
    pub(crate) fn load(state: Arc<State>) -> Self {
        let data_dir = state.generation.load().cold.data_dir.clone();
        let mut feeds = Self {
            snapshots: Snapshots::of(&data_dir, state.pseudonymiser.hides()),
            state,
            feeds: BTreeMap::new(),
            readings: JoinSet::new(),
        };
        feeds.take_up();
        feeds
    }

    /// Reads every feed from time to time until the process ends. Task `feeds`.
    pub(crate) async fn refresh(mut self, mut reloaded: watch::Receiver<u64>) {
        let mut shutdown = self.state.shutdown.clone();
        loop {
            self.begin_readings();
            tokio::select! {
                () = sleep_until(self.next()) => block_in_place(|| self.expire()),
                changed = reloaded.changed() => match changed {
                    // Reads snapshots: requests do not wait for that.
                    Ok(()) => block_in_place(|| self.take_up()),
                    Err(_) => return,
                },
                Some(ended) = self.readings.join_next() => {
                    // A million entries take a moment.
                    block_in_place(|| self.conclude(ended));
                }
                _ = shutdown.changed() => return,
            }
        }
    }

    /// Takes up what the configuration says now.
    fn take_up(&mut self) {
        let state = Arc::clone(&self.state);
        let wanted: HashMap<Arc<str>, Arc<Spec>> = {
            let generation = state.generation.load();
            let named = |spec: &Arc<Spec>| (Arc::clone(&spec.name), Arc::clone(spec));
            generation.feeds.iter().map(named).collect()
        };
        let before = std::mem::take(&mut self.feeds);
        for (name, mut feed) in before {
            match wanted.get(&name) {
                Some(spec) if spec.origin() == feed.spec.origin() => {
                    feed.due = feed.due.min(Instant::now() + spec.every);
                    feed.spec = Arc::clone(spec);
                    self.feeds.insert(name, feed);
                }
                _ => self.drop_listed(&feed.spec),
            }
        }
        for (name, spec) in &wanted {
            if !self.feeds.contains_key(name) {
                let feed = self.begin(spec);
                self.feeds.insert(Arc::clone(name), feed);
            }
        }
        self.snapshots.retain(|name| wanted.contains_key(name));
    }

    /// A feed that was not there before, with its last good copy where that has not ended.
    fn begin(&self, spec: &Arc<Spec>) -> Feed {
        let mut feed = Feed {
            spec: Arc::clone(spec),
            held: None,
            failures: 0,
            due: Instant::now(),
            under_way: false,
        };
        self.state.feeds.begin(&spec.name);
        match self.snapshots.find(&spec.name, &spec.origin()) {
            Ok(Some(snapshot)) => self.resume(&mut feed, snapshot),
            Ok(None) => {}
            Err(error) => log::error!(
                "a feed's last copy is of no use; feed={} error={error}",
                spec.name
            ),
        }
        feed
    }

    fn resume(&self, feed: &mut Feed, snapshot: Snapshot) {
        let spec = &feed.spec;
        let moment = self.state.moment();
        let now = moment.unix_ms;
        // A clock that was set back does not make a copy last longer.
        let good_ms = snapshot.good_ms.min(now);
        let until_ms = spec.until_ms(good_ms);
        if until_ms <= now {
            log::warn!("a feed's last copy has ended; feed={}", spec.name);
            return;
        }
        let age = Duration::from_millis(now - good_ms);
        feed.due = Instant::now() + spec.every.saturating_sub(age);
        let entries = snapshot.subjects.len();
        log::info!(
            "a feed's last copy holds; feed={} entries={entries}",
            spec.name
        );
        self.state.store.list(
            spec.source(),
            Listed {
                subjects: snapshot.subjects,
                until_ms,
            },
        );
        self.state
            .feeds
            .resumed(&spec.name, entries, good_ms, until_ms);
        feed.held = Some(Held {
            entries,
            validators: snapshot.validators,
            until: moment.own_time_of(until_ms),
        });
    }

    fn drop_listed(&self, spec: &Spec) {
        self.state.store.list(spec.source(), Listed::default());
        self.state.feeds.end(&spec.name);
    }

    /// When to look next.
    fn next(&self) -> Instant {
        let now = Instant::now();
        let own_ms = self.state.moment().own_ms;
        let full = self.readings.len() >= MOST_AT_ONCE;
        let idle = self.feeds.values().filter(|feed| !feed.under_way && !full);
        let due = idle.map(|feed| feed.due);
        let ends = self.feeds.values().filter_map(|feed| feed.held.as_ref());
        let ends = ends.map(|held| {
            now + Duration::from_millis(held.until.saturating_sub(own_ms).saturating_add(1))
        });
        due.chain(ends)
            .min()
            .unwrap_or(now + LONGEST_NAP)
            .min(now + LONGEST_NAP)
    }

    fn begin_readings(&mut self) {
        let now = Instant::now();
        let Moment { own_ms, unix_ms } = self.state.moment();
        for feed in self.feeds.values_mut() {
            if self.readings.len() >= MOST_AT_ONCE || feed.under_way || feed.due > now {
                continue;
            }
            feed.under_way = true;
            let held = feed.held.clone().filter(|held| held.until > own_ms);
            let (spec, snapshots) = (Arc::clone(&feed.spec), self.snapshots.clone());
            self.readings.spawn_blocking(move || {
                let read = read(&spec, held.as_ref(), &snapshots, unix_ms);
                (spec, read)
            });
        }
    }

    /// Takes up what a reading has brought.
    fn conclude(&mut self, ended: Result<(Arc<Spec>, Result<Round, RoundError>), JoinError>) {
        let Ok((spec, read)) = ended else {
            // The panic has been logged; whichever feed it was is read again.
            self.feeds
                .values_mut()
                .for_each(|feed| feed.under_way = false);
            return;
        };
        let Some(feed) = self.feeds.get_mut(&spec.name) else {
            return;
        };
        feed.under_way = false;
        // A reload in between has made it another feed.
        if feed.spec.origin() != spec.origin() {
            return;
        }
        let now = self.state.moment();
        match (read, &mut feed.held) {
            (Ok(Round::Fresh(parsed, validators)), _) => {
                Self::apply(&self.state, feed, parsed, validators, now);
            }
            (Ok(Round::Unchanged), Some(held)) => {
                let until_ms = feed.spec.until_ms(now.unix_ms);
                held.until = now.own_time_of(until_ms);
                self.state.store.prolong(feed.spec.source(), until_ms);
                self.state
                    .feeds
                    .unchanged(&spec.name, now.unix_ms, until_ms);
            }
            // It ended while it was confirmed: the text itself is asked for.
            (Ok(Round::Unchanged), None) => {
                feed.due = Instant::now();
                return;
            }
            (Err(error), _) => {
                log::error!(
                    "a feed was not taken, what it listed last stays; feed={} error={error}",
                    spec.name
                );
                self.state.feeds.failed(&spec.name, &error);
                feed.failures = feed.failures.saturating_add(1);
                let retry = RETRY_AFTER * 2u32.saturating_pow(feed.failures.min(16) - 1);
                feed.due = Instant::now() + spread(retry.min(feed.spec.every));
                return;
            }
        }
        feed.failures = 0;
        feed.due = Instant::now() + spread(feed.spec.every);
    }

    fn apply(state: &State, feed: &mut Feed, parsed: Parsed, validators: Validators, now: Moment) {
        let name = &feed.spec.name;
        let until_ms = feed.spec.until_ms(now.unix_ms);
        let entries = parsed.subjects.len();
        if parsed.corrected > 0 {
            log::warn!(
                "a feed has entries that are taken for what they must mean; feed={name} count={} first={:?}",
                parsed.corrected,
                if state.pseudonymiser.hides() {
                    &[]
                } else {
                    &*parsed.notes
                }
            );
        }
        if let Some(what) = unread(&parsed) {
            log::warn!(
                "a feed may be written in another way than it is read; feed={name} what={what:?}"
            );
        }
        let is_spared = |subject: &&_| state.store.decisions().is_spared(**subject);
        let spared = parsed.subjects.iter().filter(is_spared).count();
        state
            .feeds
            .applied(name, &parsed, spared, now.unix_ms, until_ms);
        log::info!(
            "a feed was taken; feed={name} entries={entries} refused={}",
            parsed.refused.sum()
        );
        let listed = Listed {
            subjects: parsed.subjects,
            until_ms,
        };
        state.store.list(feed.spec.source(), listed);
        feed.held = Some(Held {
            entries,
            validators,
            until: now.own_time_of(until_ms),
        });
    }

    /// Lets go of what no reading has confirmed in time.
    fn expire(&mut self) {
        let now = self.state.moment().own_ms;
        for feed in self.feeds.values_mut() {
            if feed.held.as_ref().is_some_and(|held| held.until <= now) {
                feed.held = None;
                let name = &feed.spec.name;
                log::error!("a feed's last good copy has ended; feed={name}");
                self.state.store.list(feed.spec.source(), Listed::default());
                self.state.feeds.expired(name);
            }
        }
    }
}

/// About this long.
fn spread(pause: Duration) -> Duration {
    // Each new state is random, which is all that is asked of it.
    let random = RandomState::new().hash_one(()) >> 11;
    let part = random as f64 / (1u64 << 53) as f64;
    pause.mul_f64(1.0 - SPREAD / 2.0 + SPREAD * part)
}
