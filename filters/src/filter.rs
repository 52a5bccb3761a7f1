//! The contract that every filter keeps.

use thiserror::Error;
use thornwall_detectors::{request::RequestView, signal::Trail};

use crate::verdict::Verdict;

/// Judges a request from memory, in microseconds, without waiting for anything.
///
/// It writes no metric, logs nothing above debug, touches no socket, spawns nothing and reads no
/// clock: mode, failure policy, conditions, timing and counting are the runner's.
pub trait Filter: Send + Sync {
    /// Looks at one request. Signals that may count later go into `trail`.
    fn judge(&self, request: &RequestView<'_>, trail: &mut Trail) -> Result<Verdict, FilterError>;
}

/// A filter could not judge; what happens then is its `on_error`.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct FilterError(pub String);
