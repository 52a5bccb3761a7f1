//! One reading of one feed, from the request to the copy on the disk.

use thiserror::Error;
use thornwall_decisions::feed::{FeedError, Parsed, parse};

use super::{
    Held, Spec,
    fetch::{FetchError, Fetched, Validators, fetch},
    snapshot::Snapshots,
};

/// A feed that has lost more than nine of ten entries is broken rather than well again.
const LEAST_PART: usize = 10;

/// What a reading brought.
pub(crate) enum Round {
    Fresh(Parsed, Validators),
    /// The feed is the same as before.
    Unchanged,
}

/// Why a reading brought nothing.
#[derive(Debug, Error)]
pub(crate) enum RoundError {
    #[error("{0}")]
    Fetch(#[from] FetchError),
    #[error("{0}")]
    Feed(#[from] FeedError),
    #[error(
        "lists {now} where it listed {before}; the last good copy is kept until its lifetime is over"
    )]
    Shrunk { before: usize, now: usize },
}

impl RoundError {
    /// The label of metrics.
    pub(crate) const fn result(&self) -> &'static str {
        match self {
            Self::Fetch(FetchError::TooLarge(_)) => "too_large",
            Self::Fetch(FetchError::Html) | Self::Feed(_) => "no_list",
            Self::Fetch(_) => "failed",
            Self::Shrunk { .. } => "shrunk",
        }
    }
}

/// Reads a feed of which this is held. Blocks.
pub(crate) fn read(
    spec: &Spec,
    held: Option<&Held>,
    snapshots: &Snapshots,
    now_ms: u64,
) -> Result<Round, RoundError> {
    let none = Validators::default();
    let known = held.map_or(&none, |held| &held.validators);
    let (bytes, validators) = match fetch(spec, known)? {
        Fetched::Fresh(bytes, validators) => (bytes, validators),
        Fetched::Unchanged => {
            keep(&spec.name, snapshots.confirm(&spec.name, now_ms));
            return Ok(Round::Unchanged);
        }
    };
    let parsed = parse(&bytes, &spec.form)?;
    let (before, now) = (held.map_or(0, |held| held.entries), parsed.subjects.len());
    if before > 0 && now * LEAST_PART < before {
        return Err(RoundError::Shrunk { before, now });
    }
    let kept = snapshots.keep(&spec.name, &spec.origin(), &parsed.subjects, &validators);
    keep(&spec.name, kept);
    Ok(Round::Fresh(parsed, validators))
}

/// A list without a copy is still a list.
fn keep(name: &str, kept: std::io::Result<()>) {
    if let Err(error) = kept {
        log::error!("a feed's copy cannot be written; feed={name} error={error}");
    }
}
