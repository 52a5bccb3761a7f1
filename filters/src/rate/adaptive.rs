//! A limit that gives way while the origin is well, and closes to what the site's own clients
//! normally need while it is not.
//!
//! Once a second it looks at the answers since: how long the origin took beside its usual time, and
//! how many failed. Both are a pressure from 0 to 1, and the larger counts. Under pressure the limit
//! falls by a fifth a second (multiplicative decrease) towards what normal clients need, times a
//! headroom, and, while the pressure stays full, on towards the floor; it rises by a twentieth of the
//! ceiling a second (additive increase; Chiu and Jain, 1989), and only after ten seconds
//! without pressure, so that it does not swing.
//!
//! Times are kept as logarithms, so their means are geometric: one answer in fifty that takes three
//! hundred times as long adds an eighth, where it would make the arithmetic mean seven times as
//! long. So neither a few downloads nor a client that asks for them on purpose makes an origin slow.

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::{Mutex, RwLock};

/// Bounds of a limit, and how it moves between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The lowest limit, in requests of the limit's own time.
    pub floor: u32,
    /// The highest limit.
    pub ceiling: u32,
    /// Multiple of a normal client's measured need that stays available to each client under full
    /// pressure.
    pub headroom: f32,
}

/// How the origin answered one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answered {
    /// Time until it began its answer; nothing where it gave none.
    pub took: Option<Duration>,
    /// Whether it failed: no answer, or one with a status of 500 or more.
    pub failed: bool,
    /// Requests that it has under way, as a share of those that it may have; nothing where there
    /// is no bound.
    pub load: Option<f32>,
}

/// The time between two looks.
const BEAT: Duration = Duration::from_secs(1);
/// Beats without pressure before the limit rises.
const CALM: u32 = 10;
/// Fewest answers from which a beat is judged.
const FEWEST: u32 = 10;
/// The share of a beat in the recent time: some five seconds.
const RECENT: f32 = 0.2;
/// The share of a calm beat in the usual time: some five minutes.
const USUAL: f32 = 1.0 / 300.0;
/// The share of a slow beat in the usual time: an hour. A time that was usual once must not
/// hold the limit down for good, since an origin may be slower from one release on, and a client
/// may have asked for what is quick until that was usual.
const UNUSUAL: f32 = 1.0 / 3600.0;
/// Answers that took less count as this long: what is shorter is noise.
const LEAST_TOOK: f32 = 0.001;
/// Recent time over usual time: no pressure, full pressure.
const SLOWER: (f32, f32) = (2.0, 4.0);
/// Share of failed answers: no pressure, full pressure.
const FAILED: (f32, f32) = (0.05, 0.25);
/// Share of the origin's capacity: no pressure, full pressure.
const LOADED: (f32, f32) = (0.8, 1.0);
/// What is left of the limit after a beat under pressure.
const DECREASE: f32 = 0.8;
/// The share of the ceiling by which the limit rises in a beat.
const INCREASE: f32 = 0.05;
/// Beats of full pressure after which what normal clients need no longer holds the limit.
const PATIENCE: u32 = 10;
/// Normal clients that may need more: one in a thousand.
const QUANTILE: f32 = 0.999;
/// Beats without any answer after which every limit is at its ceiling again: the calm, and the rise.
const QUIET: u64 = CALM as u64 + 20;
/// What a beat leaves of the counts of normal use: half is forgotten in some ten minutes.
const FADE: f32 = 0.999;

/// The limits of all sites of one filter.
#[derive(Debug)]
pub struct Adaptive {
    bounds: Bounds,
    sites: RwLock<HashMap<u16, SiteLimit>>,
}

#[derive(Debug)]
struct SiteLimit {
    limit: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: Duration,
    limit: f32,
    /// Logarithms of seconds, as all times here.
    usual: Option<f32>,
    recent: Option<f32>,
    answers: u32,
    failed: u32,
    took: f32,
    timed: u32,
    load: f32,
    calm: u32,
    pressed: u32,
    /// Normal requests by how much of a bucket they found in use: powers of the square root of 2.
    use_counts: [f32; USES],
}

/// 2^16 requests in use at most.
const USES: usize = 33;

impl Adaptive {
    /// Limits that start at the ceiling.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            sites: RwLock::default(),
        }
    }

    /// How it was configured.
    pub const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The limit of a site now, in requests of the limit's own time.
    pub fn limit(&self, site: u16) -> u32 {
        let sites = self.sites.read();
        sites
            .get(&site)
            .map_or(self.bounds.ceiling, |site| site.limit.load(Relaxed))
    }

    /// Notes that a request that nothing spoke against found so many requests of its key in use.
    /// Nothing is learnt from it while the limit is lowered: the cause of the pressure would be
    /// part of it, and with fewer requests coming back more are in use.
    pub fn used(&self, site: u16, in_use: u32) {
        self.at(site, |limit| {
            if limit.limit.load(Relaxed) >= self.bounds.ceiling {
                limit.state.lock().use_counts[class(in_use)] += 1.0;
            }
        });
    }

    /// Notes an answer; moves the limit where a beat is over.
    pub fn answered(&self, site: u16, answer: Answered, now: Duration) {
        self.at(site, |limit| {
            let mut state = limit.state.lock();
            state.note(answer);
            if now >= state.next {
                let quiet = now.saturating_sub(state.next).as_secs() / BEAT.as_secs();
                state.next = now + BEAT;
                let mut moved = state.beat(&self.bounds);
                for _ in 0..quiet.min(QUIET) {
                    // Slowness before a pause is no measure of the time after it.
                    state.recent = None;
                    moved = state.beat(&self.bounds);
                }
                limit.limit.store(moved, Relaxed);
            }
        });
    }

    fn at(&self, site: u16, act: impl Fn(&SiteLimit)) {
        if let Some(limit) = self.sites.read().get(&site) {
            return act(limit);
        }
        // As many as there are sites.
        let mut sites = self.sites.write();
        act(sites.entry(site).or_insert_with(|| SiteLimit {
            limit: AtomicU32::new(self.bounds.ceiling),
            state: Mutex::new(State::new(&self.bounds)),
        }));
    }
}

impl State {
    fn new(bounds: &Bounds) -> Self {
        Self {
            next: Duration::ZERO,
            limit: bounds.ceiling as f32,
            usual: None,
            recent: None,
            answers: 0,
            failed: 0,
            took: 0.0,
            timed: 0,
            load: 0.0,
            calm: 0,
            pressed: 0,
            use_counts: [0.0; USES],
        }
    }

    fn note(&mut self, answer: Answered) {
        self.answers += 1;
        self.failed += u32::from(answer.failed);
        if let Some(took) = answer.took {
            self.took += took.as_secs_f32().max(LEAST_TOOK).ln();
            self.timed += 1;
        }
        self.load = self.load.max(answer.load.unwrap_or_default());
    }

    /// Moves the limit; what it is now.
    fn beat(&mut self, bounds: &Bounds) -> u32 {
        let pressure = self.pressure();
        let (floor, ceiling) = (bounds.floor as f32, bounds.ceiling as f32);
        if pressure > 0.0 {
            self.calm = 0;
            self.pressed = if pressure >= 1.0 { self.pressed + 1 } else { 0 };
            let needed = self.needed() * bounds.headroom;
            let least = if self.pressed > PATIENCE {
                floor
            } else {
                needed.max(floor)
            };
            // Half of the pressure takes half of the way.
            let target = ceiling + pressure * (least.min(ceiling) - ceiling);
            self.limit = (self.limit * DECREASE).max(target.min(self.limit));
        } else {
            self.pressed = 0;
            self.calm += 1;
            if self.calm >= CALM {
                self.limit = (self.limit + ceiling * INCREASE).min(ceiling);
            }
        }
        for count in &mut self.use_counts {
            *count *= FADE;
        }
        self.limit.round() as u32
    }

    /// 0 where the origin is well, 1 where it is not.
    fn pressure(&mut self) -> f32 {
        let (answers, failed) = (self.answers, self.failed);
        let mean = (self.timed > 0).then(|| self.took / self.timed as f32);
        let load = self.load;
        (self.answers, self.failed, self.took, self.timed, self.load) = (0, 0, 0.0, 0, 0.0);
        if answers < FEWEST {
            return ramp(load, LOADED);
        }
        let mut slower = 0.0;
        if let Some(mean) = mean {
            let recent = self
                .recent
                .map_or(mean, |recent| blend(recent, mean, RECENT));
            self.recent = Some(recent);
            let usual = *self.usual.get_or_insert(recent);
            slower = ramp((recent - usual).exp(), SLOWER);
            let share = if slower == 0.0 { USUAL } else { UNUSUAL };
            self.usual = Some(blend(usual, mean, share));
        }
        let failing = ramp(failed as f32 / answers as f32, FAILED);
        slower.max(failing).max(ramp(load, LOADED))
    }

    /// What all but one in a thousand normal requests find in use of their bucket.
    fn needed(&self) -> f32 {
        let all: f32 = self.use_counts.iter().sum();
        let mut below = 0.0;
        for (class, count) in self.use_counts.iter().enumerate() {
            below += count;
            if below >= all * QUANTILE {
                return 2f32.powf((class as f32 + 1.0) / 2.0);
            }
        }
        0.0
    }
}

/// The class of a number of requests in use.
fn class(in_use: u32) -> usize {
    let class = (in_use.max(1) as f32).log2() * 2.0;
    (class as usize).min(USES - 1)
}

fn blend(old: f32, new: f32, share: f32) -> f32 {
    old + (new - old) * share
}

/// 0 up to the first bound, 1 from the second on, and a line between them.
fn ramp(value: f32, (none, full): (f32, f32)) -> f32 {
    ((value - none) / (full - none)).clamp(0.0, 1.0)
}

/// What `headroom` may be.
pub(crate) const HEADROOM: RangeInclusive<f32> = 1.0..=100.0;

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        floor: 10,
        ceiling: 100,
        headroom: 2.0,
    };

    /// A minute's worth of beats, a hundred answers in each; the limit after it.
    struct Site {
        adaptive: Adaptive,
        now: u64,
    }

    impl Site {
        fn new() -> Self {
            Self {
                adaptive: Adaptive::new(BOUNDS),
                now: 0,
            }
        }

        fn beats(&mut self, beats: u64, millis: u64, failed_in_ten: u32) -> u32 {
            for _ in 0..beats {
                self.now += 1;
                for number in 0..100 {
                    self.adaptive.used(1, 12);
                    let answer = Answered {
                        took: Some(Duration::from_millis(millis)),
                        failed: number % 10 < failed_in_ten,
                        load: None,
                    };
                    self.adaptive
                        .answered(1, answer, Duration::from_secs(self.now));
                }
            }
            self.adaptive.limit(1)
        }
    }

    #[test]
    fn it_stays_at_the_ceiling_while_the_origin_is_well() {
        let mut site = Site::new();
        assert_eq!(site.beats(60, 50, 0), 100);
        // Half as slow again is nothing to act on.
        assert_eq!(site.beats(60, 75, 0), 100);
    }

    #[test]
    fn it_closes_to_what_normal_clients_need_and_then_to_the_floor() {
        let mut site = Site::new();
        site.beats(60, 50, 0);
        let soon = site.beats(8, 500, 0);
        // 12 in use are in the class up to 16; twice that is the headroom.
        assert!((16..=50).contains(&soon), "{soon}");
        assert_eq!(site.beats(60, 500, 0), 10);
    }

    #[test]
    fn failures_are_pressure_too() {
        let mut site = Site::new();
        site.beats(60, 50, 0);
        let some = site.beats(5, 50, 1);
        assert!(some < 100, "{some}");
        assert!(site.beats(20, 50, 5) < some);
    }

    #[test]
    fn it_rises_slowly_and_only_after_a_calm() {
        let mut site = Site::new();
        site.beats(60, 50, 0);
        site.beats(60, 500, 0);
        // The recent time falls back first.
        let mut calm = 0;
        while site.beats(1, 50, 0) == 10 {
            calm += 1;
            assert!(calm < 60);
        }
        assert!(calm >= 10, "{calm}");
        let rising = site.beats(1, 50, 0);
        assert!((11..=25).contains(&rising), "{rising}");
        assert_eq!(site.beats(60, 50, 0), 100);
    }

    #[test]
    fn it_is_back_after_a_quiet_time() {
        let mut site = Site::new();
        site.beats(60, 50, 0);
        site.beats(60, 500, 0);
        site.now += 60;
        assert!(site.beats(1, 50, 0) > 50);
    }

    #[test]
    fn clients_under_a_lowered_limit_do_not_say_what_is_normal() {
        let mut site = Site::new();
        site.beats(60, 50, 0);
        site.beats(3, 500, 0);
        for _ in 0..10_000 {
            site.adaptive.used(1, 100);
        }
        let soon = site.beats(6, 500, 0);
        assert!((16..=50).contains(&soon), "{soon}");
    }

    #[test]
    fn an_origin_that_is_full_is_under_pressure() {
        let adaptive = Adaptive::new(BOUNDS);
        for second in 1..10 {
            let answer = Answered {
                took: None,
                failed: false,
                load: Some(1.0),
            };
            adaptive.answered(1, answer, Duration::from_secs(second));
        }
        assert!(adaptive.limit(1) < 50);
        assert_eq!(adaptive.limit(2), 100);
    }

    #[test]
    fn a_few_slow_answers_say_nothing() {
        let adaptive = Adaptive::new(BOUNDS);
        for second in 1..60 {
            let answer = Answered {
                took: Some(Duration::from_secs(second)),
                failed: true,
                load: None,
            };
            adaptive.answered(1, answer, Duration::from_secs(second));
        }
        assert_eq!(adaptive.limit(1), 100);
    }

    #[test]
    fn an_origin_that_is_slower_for_good_is_as_usual_after_a_while() {
        let mut site = Site::new();
        // A client asks for what is quick, so that what is quick becomes usual, and leaves.
        site.beats(1200, 5, 0);
        assert_eq!(site.beats(60, 50, 0), 10);
        assert_eq!(site.beats(4 * 3600, 50, 0), 100);
    }

    #[test]
    fn a_few_answers_among_many_do_not_make_an_origin_slow() {
        let mut site = Site::new();
        site.beats(60, 50, 0);
        for _ in 0..60 {
            site.beats(1, 50, 0);
            for _ in 0..2 {
                let answer = Answered {
                    took: Some(Duration::from_secs(15)),
                    failed: false,
                    load: None,
                };
                site.adaptive
                    .answered(1, answer, Duration::from_secs(site.now));
            }
        }
        assert_eq!(site.adaptive.limit(1), 100);
    }
}
