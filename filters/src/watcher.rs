//! What filters learn from requests that have ended.

use std::time::Duration;

/// Learns from the answers of origins.
pub trait Watcher: Send + Sync {
    /// Looks at the end of a request, of which the filter had noted `note` when it judged it.
    fn watch(&self, note: u32, finished: &Finished);
}

/// A request that was handed on to an origin, and has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finished {
    /// The site's number.
    pub site: u16,
    /// When it ended, on the clock of `RequestView.now`.
    pub now: Duration,
    /// Status of the origin's answer; nothing where it gave none, or broke it off.
    pub status: Option<u16>,
    /// Whether a rung of the ladder was reached.
    pub suspect: bool,
    /// How long the origin was waited for until it began its answer.
    pub took: Option<Duration>,
    /// Requests that its server has under way, as a share of those that it may have; nothing where
    /// there is no bound.
    pub load: Option<f32>,
}
