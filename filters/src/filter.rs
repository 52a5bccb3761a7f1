//! The contract that every filter keeps.

use std::{fmt, time::Duration};

use thiserror::Error;
use thornwall_detectors::{request::RequestView, signal::Trail};

use crate::{
    escalation::Referral,
    verdict::Verdict,
    watcher::{Note, Watcher},
};

/// Judges a request from memory, in microseconds, without waiting for anything.
///
/// It writes no metric, logs nothing above debug, touches no socket, spawns nothing and reads no
/// clock: mode, failure policy, conditions, timing and counting are the runner's.
pub trait Filter: Send + Sync {
    /// Looks at one request. Signals that may count later, and holds that last as long as the
    /// request, go into `round`.
    fn judge(&self, request: &RequestView<'_>, round: &mut Round) -> Result<Verdict, FilterError>;

    /// Observer called at the end of each request for which `judge` set `round.note`.
    fn watcher(&self) -> Option<&dyn Watcher> {
        None
    }
}

/// What the filters of one request leave behind.
#[derive(Debug, Default)]
pub struct Round {
    /// Signals that were noticed.
    pub trail: Trail,
    /// Holds that last until the request ends.
    pub holds: Holds,
    /// Note that the filter's watcher receives when the request has ended.
    pub note: Option<Note>,
    /// Facts of the request for a second opinion.
    pub referral: Option<Referral>,
}

impl Round {
    /// Whether signals and holds from here on are without effect on the request.
    pub fn observe(&mut self, observing: bool) {
        self.trail.observe(observing);
        self.holds.observing = observing;
    }
}

/// Something that a filter holds for a request that is forwarded. It is dropped, and with it
/// released, when the request has ended, however it did.
pub trait Hold: Send + Sync {
    /// How long the next `bytes` of the answer's body have to wait.
    fn pace(&mut self, _bytes: usize, _now: Duration) -> Duration {
        Duration::ZERO
    }
}

/// The holds of one request; nothing is allocated where there are none.
#[derive(Default)]
pub struct Holds {
    /// Each with whether its filter only observes.
    held: Vec<(Box<dyn Hold>, bool)>,
    observing: bool,
}

impl Holds {
    /// Keeps a hold until the request ends.
    pub fn keep(&mut self, hold: impl Hold + 'static) {
        self.held.push((Box::new(hold), self.observing));
    }

    /// Whether nothing is held.
    pub const fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// How long the next `bytes` of the answer's body have to wait: the longest wait of all holds.
    pub fn pace(&mut self, bytes: usize, now: Duration) -> Duration {
        let waits = self.held.iter_mut().map(|(hold, observed)| {
            let wait = hold.pace(bytes, now);
            if *observed { Duration::ZERO } else { wait }
        });
        waits.max().unwrap_or_default()
    }

    /// Releases everything.
    pub fn release(&mut self) {
        self.held = Vec::new();
    }
}

impl fmt::Debug for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} holds", self.held.len())
    }
}

/// A filter could not judge; what happens then is its `on_error`.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct FilterError(pub String);
