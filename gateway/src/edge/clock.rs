//! A clock that costs a load: it moves with the sweep.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use crate::limits::Tick;

/// Time between two sweeps: how coarse every deadline of a connection is.
pub(super) const SWEEP: Duration = Duration::from_millis(250);

/// Milliseconds since the start of the process, as of the last sweep; wide enough for 49 days of
/// one connection, since only differences count.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicU32);

impl Clock {
    /// The time of the last sweep.
    pub(super) fn now(&self) -> Tick {
        self.0.load(Relaxed)
    }

    pub(super) fn set(&self, since_start: Duration) {
        let millis = since_start.as_millis() & u128::from(Tick::MAX);
        self.0
            .store(Tick::try_from(millis).unwrap_or(Tick::MAX), Relaxed);
    }
}
