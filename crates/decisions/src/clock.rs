//! Time as the store sees it: handed in, so that tests need not wait for it.

use std::time::{Duration, Instant, SystemTime};

/// The two clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds of the gateway's own clock, which never jumps: what entries end by.
    pub own_ms: u64,
    /// Milliseconds of Unix time: what is written down, and shown to people.
    pub unix_ms: u64,
}

impl Moment {
    /// When, on the gateway's clock, something ends that ends at `unix_ms`.
    pub const fn own_time_of(&self, unix_ms: u64) -> u64 {
        match unix_ms.checked_sub(self.unix_ms) {
            Some(left) => self.own_ms.saturating_add(left),
            None => 0,
        }
    }

    /// When, in Unix time, something ends that ends at `own_ms` on the gateway's clock.
    pub const fn unix_time_of(&self, own_ms: u64) -> u64 {
        self.unix_ms
            .saturating_add(own_ms)
            .saturating_sub(self.own_ms)
    }
}

/// Source of the current time.
pub trait Clock: Send + Sync {
    /// This moment.
    fn now(&self) -> Moment;
}

/// The one clock that requests are stamped with, and the time that people read.
#[derive(Debug, Clone, Copy)]
pub struct ProcessTime(Instant);

impl ProcessTime {
    /// A clock that starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Monotonic time since the start.
    pub fn since_start(self) -> Duration {
        self.0.elapsed()
    }
}

impl Clock for ProcessTime {
    fn now(&self) -> Moment {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Moment {
            own_ms: millis(self.since_start()),
            // A clock before 1970 is as good as none.
            unix_ms: millis(unix.unwrap_or_default()),
        }
    }
}
