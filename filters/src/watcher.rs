//! Observers by which filters learn from requests that have ended.

use std::{num::NonZeroU32, time::Duration};

use crate::key::LimitKey;

/// Observer of origins' answers and of requests' ends.
pub trait Watcher: Send + Sync {
    /// Receives the answer of an origin to a request for which `judge` set `note`, as soon as the
    /// answer is known, whatever its client does afterwards.
    fn answered(&self, _note: &Note, _answer: &Answer) {}

    /// Receives the end of a request for which `judge` set `note`.
    fn watch(&self, note: &Note, finished: &Finished);
}

/// What a filter notes of a request that it lets through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Note {
    /// Requests that were missing in the bucket of its key, itself included.
    pub in_use: u32,
    /// The bucket that is charged if the request is answered with a page.
    pub claim: Option<Claim>,
}

/// The bucket that the answer to a request concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub(crate) key: LimitKey,
    /// What the request costs if it is answered with a page.
    pub(crate) cost: NonZeroU32,
    /// What it has taken out of the bucket so far.
    pub(crate) taken: u32,
}

/// An origin's answer that begins, or that will not come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// When the request came, on the clock of `RequestView.now`.
    pub asked: Duration,
    /// When the answer began.
    pub now: Duration,
    /// Whether it is a page; nothing where that is not known, as without a `Content-Type`.
    pub page: Option<bool>,
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
    /// Whether the answer was a page; nothing where that is not known.
    pub page: Option<bool>,
    /// Whether a rung of the ladder was reached.
    pub suspect: bool,
    /// How long the origin was waited for until it began its answer.
    pub took: Option<Duration>,
    /// Requests that its server has under way, as a share of those that it may have; nothing where
    /// there is no bound.
    pub load: Option<f32>,
}
