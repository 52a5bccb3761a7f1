//! The health of one server: busy, down, left out, or just back. All of it is atomics, since every
//! request looks at it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Health of a server, kept from one generation to the next.
#[derive(Debug, Default)]
pub(super) struct ServerHealth {
    in_flight: AtomicU32,
    down: AtomicBool,
    /// Health checks in a row that went well, or below 0 that did not.
    checks: AtomicI32,
    failures: AtomicU32,
    /// Times left out since it last did well for long.
    outs: AtomicU32,
    /// Left out until then; 0 for never.
    out_until: AtomicU64,
    /// When it came back, or will; 0 where it was never away.
    back_at: AtomicU64,
    ejections: AtomicU64,
    /// How many seconds it said that it keeps unused connections, and one; 0 where it did not say.
    keeps: AtomicU32,
}

/// When a failing server is left out, and how it comes back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Failures in a row; 0 for never.
    pub failures: u32,
    /// First time out.
    pub base: Duration,
    /// Longest time out.
    pub most: Duration,
    /// How long it gets less than its share afterwards.
    pub slow_start: Duration,
}

/// Health checks in a row that change whether a server is taken for healthy.
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckLimits {
    /// Good ones that bring it back.
    pub healthy_after: u32,
    /// Failed ones that take it out.
    pub unhealthy_after: u32,
}

/// The least share of a server that came back, so that it is found out how it does.
const LEAST_SHARE: f64 = 0.1;

impl ServerHealth {
    /// Requests under way.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Times that it was left out.
    pub(super) fn ejections(&self) -> u64 {
        self.ejections.load(Relaxed)
    }

    /// Whether its health checks fail.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Relaxed)
    }

    /// Whether it is to get requests at all.
    pub(super) fn is_available(&self, now: Duration) -> bool {
        !self.is_down() && self.out_until.load(Relaxed) <= millis(now)
    }

    /// The part of its share that it gets: less than 1 after it came back.
    pub(super) fn share(&self, now: Duration, rules: &Rules) -> f64 {
        let back_at = self.back_at.load(Relaxed);
        if back_at == 0 || rules.slow_start.is_zero() {
            return 1.0;
        }
        let since = millis(now).saturating_sub(back_at) as f64 / 1e3;
        (since / rules.slow_start.as_secs_f64()).clamp(LEAST_SHARE, 1.0)
    }

    /// Notes a health check. Whether the server is down, where that is news.
    pub(super) fn checked(&self, well: bool, limits: &CheckLimits, now: Duration) -> Option<bool> {
        let before = self.checks.load(Relaxed);
        let checks = match (well, before) {
            (true, ..=0) => 1,
            (false, 0..) => -1,
            (true, _) => before.saturating_add(1),
            (false, _) => before.saturating_sub(1),
        };
        // One task checks.
        self.checks.store(checks, Relaxed);
        let in_a_row = checks.unsigned_abs();
        let enough = if well {
            limits.healthy_after
        } else {
            limits.unhealthy_after
        };
        (in_a_row >= enough && self.set_down(!well, now)).then_some(!well)
    }

    /// Takes the server out of service, or back into it. Whether that is news.
    pub(super) fn set_down(&self, down: bool, now: Duration) -> bool {
        let news = self.down.swap(down, Relaxed) != down;
        if news && !down {
            self.back_at.store(millis(now), Relaxed);
        }
        news
    }

    /// How many seconds it keeps an unused connection, where it has said so.
    pub(super) fn keeps_secs(&self) -> Option<u32> {
        self.keeps.load(Relaxed).checked_sub(1)
    }

    /// Notes how many seconds it keeps an unused connection.
    pub(super) fn keeps_for(&self, secs: u32) {
        let keeps = secs.saturating_add(1);
        if self.keeps.load(Relaxed) != keeps {
            self.keeps.store(keeps, Relaxed);
        }
    }

    /// Notes an answer.
    pub(super) fn succeeded(&self, now: Duration, rules: &Rules) {
        // Looking is cheaper than writing, and almost always there is nothing to write.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        let well_for = millis(now).saturating_sub(self.back_at.load(Relaxed));
        if self.outs.load(Relaxed) != 0 && well_for > span(rules.base.max(rules.slow_start)) {
            self.outs.store(0, Relaxed);
        }
    }

    /// Notes a failure, and leaves the server out where it was one too many and there are
    /// `others`. For how long.
    pub(super) fn failed(&self, now: Duration, rules: &Rules, others: bool) -> Option<Duration> {
        let until = self.out_until.load(Relaxed);
        if rules.failures == 0 || until > millis(now) {
            return None;
        }
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        if failures < rules.failures || !others {
            return None;
        }
        let time = rules.time_out(self.outs.load(Relaxed));
        let next = millis(now) + span(time);
        // Of requests that fail at the same time, one leaves it out.
        self.out_until
            .compare_exchange(until, next, Relaxed, Relaxed)
            .ok()?;
        self.back_at.store(next, Relaxed);
        self.outs.fetch_add(1, Relaxed);
        self.failures.store(0, Relaxed);
        self.ejections.fetch_add(1, Relaxed);
        Some(time)
    }
}

impl Rules {
    /// How long a server is left out that was left out `before` times.
    fn time_out(&self, before: u32) -> Duration {
        let doubled = self.base.saturating_mul(1 << before.min(16));
        doubled.min(self.most)
    }
}

/// Guard: counts one request at a server until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<ServerHealth>);

impl InFlight {
    /// Counts a request, unless there are `most` already; 0 for any number.
    pub(super) fn enter(health: &Arc<ServerHealth>, most: u32) -> Option<Self> {
        let before = health.in_flight.fetch_add(1, Relaxed);
        let entered = Self(Arc::clone(health));
        // Where there was no room, dropping it takes it out again.
        (most == 0 || before < most).then_some(entered)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// Milliseconds on the gateway's clock, which starts at 1: 0 says never.
fn millis(now: Duration) -> u64 {
    span(now).saturating_add(1)
}

fn span(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        failures: 2,
        base: Duration::from_secs(10),
        most: Duration::from_secs(35),
        slow_start: Duration::from_secs(20),
    };

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn failures_in_a_row_leave_a_server_out_for_longer_each_time() {
        let server = ServerHealth::default();
        assert_eq!(server.failed(at(0), &RULES, true), None);
        server.succeeded(at(0), &RULES);
        assert_eq!(server.failed(at(0), &RULES, true), None);
        assert!(server.is_available(at(0)));
        assert_eq!(server.failed(at(0), &RULES, true), Some(at(10)));
        assert!(!server.is_available(at(9)));
        assert!(server.is_available(at(10)));
        for (time, out) in [(10, 20), (30, 35), (65, 35)] {
            assert_eq!(server.failed(at(time), &RULES, true), None);
            assert_eq!(server.failed(at(time), &RULES, true), Some(at(out)));
            // A request that was under way does not count twice.
            assert_eq!(server.failed(at(time), &RULES, true), None);
        }
        server.succeeded(at(130), &RULES);
        assert_eq!(server.failed(at(130), &RULES, true), None);
        assert_eq!(server.failed(at(130), &RULES, true), Some(at(10)));
        assert_eq!(server.ejections(), 5);
    }

    #[test]
    fn the_last_server_stays() {
        let server = ServerHealth::default();
        for _ in 0..10 {
            assert_eq!(server.failed(at(0), &RULES, false), None);
        }
        assert!(server.is_available(at(0)));
    }

    #[test]
    fn a_server_that_came_back_gets_its_share_bit_by_bit() {
        let server = ServerHealth::default();
        assert_eq!(server.share(at(5), &RULES), 1.0);
        assert!(server.set_down(true, at(5)));
        assert!(!server.set_down(true, at(6)));
        assert!(!server.is_available(at(7)));
        assert!(server.set_down(false, at(100)));
        assert_eq!(server.share(at(100), &RULES), LEAST_SHARE);
        assert!((server.share(at(110), &RULES) - 0.5).abs() < 0.01);
        assert_eq!(server.share(at(120), &RULES), 1.0);
    }

    #[test]
    fn health_checks_count_in_a_row() {
        let limits = CheckLimits {
            healthy_after: 2,
            unhealthy_after: 3,
        };
        let server = ServerHealth::default();
        let checks = [
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(true)),
            (false, None),
            (true, None),
            (false, None),
            (true, None),
            (true, Some(false)),
            (true, None),
        ];
        for (at, (well, news)) in checks.into_iter().enumerate() {
            assert_eq!(server.checked(well, &limits, Duration::ZERO), news, "{at}");
        }
    }

    #[test]
    fn only_so_many_requests_enter() {
        let server = Arc::new(ServerHealth::default());
        let first = InFlight::enter(&server, 1);
        assert!(first.is_some() && InFlight::enter(&server, 1).is_none());
        assert_eq!(server.in_flight(), 1);
        drop(first);
        assert!(InFlight::enter(&server, 1).is_some());
        assert_eq!(server.in_flight(), 0);
    }
}
