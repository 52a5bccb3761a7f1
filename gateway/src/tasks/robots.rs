//! The task that reads robots.txt: few at once and few a second, however many hosts are asked for.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, interval, sleep_until, timeout},
};

use self::fetch::{Fetched, fetch};
use crate::{
    generation::{Generation, Site},
    robots::{Robots, RobotsFile, Want},
    state::State,
};

mod fetch;

/// Files that are read at once.
const AT_ONCE: usize = 4;
/// Time between two readings, beyond those of a burst.
const PACE: Duration = Duration::from_millis(200);
/// Readings that may follow each other at once after a quiet time: what the hosts of a usual
/// installation need at its start.
const BURST: u32 = 20;
/// Longest time for one file, redirects included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often files that are not needed any more are looked for.
const AGE_EVERY: Duration = Duration::from_secs(600);
/// A site's trouble is logged once, and again after this time.
const TELL_EVERY: Duration = Duration::from_secs(6 * 3600);

/// Reads what is asked for until the process ends. Task `robots`.
pub(crate) async fn keep(state: Arc<State>, mut reloaded: watch::Receiver<u64>) {
    let mut shutdown = state.shutdown.clone();
    let robots = Arc::clone(&state.generation.load().robots);
    let troubles = Arc::new(Troubles::default());
    let mut readings = JoinSet::new();
    let mut pace = Pace::new();
    let mut age = interval(AGE_EVERY);
    loop {
        tokio::select! {
            () = robots.wanted.notified() => {}
            () = sleep_until(pace.next), if !robots.is_idle() && readings.len() < AT_ONCE => {}
            _ = readings.join_next(), if !readings.is_empty() => {}
            _ = age.tick() => age_out(&robots, &state),
            changed = reloaded.changed() => {
                if changed.is_err() {
                    return;
                }
                age_out(&robots, &state);
                robots.read_again(state.now());
            }
            _ = shutdown.changed() => return,
        }
        while readings.len() < AT_ONCE
            && pace.is_open()
            && let Some(want) = robots.next()
        {
            pace.take();
            let turn = Turn(Arc::clone(&robots), want.key);
            readings.spawn(read(Arc::clone(&state), Arc::clone(&troubles), want, turn));
        }
    }
}

/// Gives up what has not been asked for in a long time, and what has no site any more.
fn age_out(robots: &Robots, state: &State) {
    let generation: Arc<Generation> = state.generation.load_full();
    let has_site = |number| generation.sites.iter().any(|site| site.id == number);
    robots.age(has_site, state.now());
}

/// Ends the wait for a file, whatever became of it.
struct Turn(Arc<Robots>, u64);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.done(self.1);
    }
}

async fn read(state: Arc<State>, troubles: Arc<Troubles>, want: Want, turn: Turn) {
    let generation = state.generation.load_full();
    let mut sites = generation.sites.iter();
    // A reload has taken it away.
    let Some(site) = sites.find(|site| site.id == want.site) else {
        return;
    };
    let fetched = timeout(TIMEOUT, fetch(&generation, site, &want, state.now())).await;
    let fetched = fetched.unwrap_or_else(|_| Err("no answer in time".to_owned()));
    let now = state.now();
    let robots = &turn.0;
    match fetched {
        Ok(Fetched::Text(text)) => {
            let file = RobotsFile::new(&text, site.links.prefix());
            robots.learn(&want, Some(file), now);
        }
        Ok(Fetched::Foreign(what)) => {
            troubles.log(site, &want, &what);
            robots.learn(&want, None, now);
        }
        Err(error) => {
            troubles.log(site, &want, &error);
            robots.fail(&want, now);
        }
    }
}

/// What was logged about sites whose robots.txt cannot be read.
#[derive(Default)]
struct Troubles(Mutex<HashMap<u16, Instant>>);

impl Troubles {
    fn log(&self, site: &Site, want: &Want, what: &str) {
        let now = Instant::now();
        let mut logged = self.0.lock();
        if logged
            .get(&site.id)
            .is_some_and(|last| now.duration_since(*last) < TELL_EVERY)
        {
            return;
        }
        logged.insert(site.id, now);
        log::warn!(
            "robots.txt is passed on as the origin sends it, without the tarpit's prefix, and no \
             crawler is judged by it; site={} host={:?} cause={what:?}",
            site.name,
            want.host
        );
    }
}

/// A token bucket.
struct Pace {
    next: Instant,
}

impl Pace {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            next: now.checked_sub(PACE * BURST).unwrap_or(now),
        }
    }

    fn is_open(&self) -> bool {
        self.next <= Instant::now()
    }

    fn take(&mut self) {
        let now = Instant::now();
        let fullest = now.checked_sub(PACE * (BURST - 1)).unwrap_or(now);
        self.next = self.next.max(fullest) + PACE;
    }
}
