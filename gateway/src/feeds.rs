//! What others publish about addresses: read from time to time, and shown to requests as decisions.
//!
//! A feed that cannot be read, or that is suddenly empty or much smaller, changes nothing: what it
//! listed last holds until its lifetime is over, and an error is logged. Copies in `data_dir/feeds`
//! carry that over a restart.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sha2::{Digest, Sha256};
use thornwall_decisions::{decision::Source, feed::Form};
use url::Url;

mod fetch;
mod round;
mod snapshot;
mod status;

pub(crate) use fetch::Validators;
pub(crate) use round::{Round, RoundError, read};
pub(crate) use snapshot::{Snapshot, Snapshots};
pub(crate) use status::unread;
pub(crate) use status::{FeedMetrics, FeedStatuses};

/// One feed, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    /// Name of the feed in decisions, metrics and `data_dir/feeds`.
    pub name: Arc<str>,
    pub location: Location,
    /// How it is written.
    pub form: Form,
    /// Time between two readings.
    pub every: Duration,
    /// How long entries hold after the last good reading.
    pub lifetime: Duration,
    /// Largest text that is read.
    pub max_bytes: u64,
    /// Whether the place may be in a private network.
    pub allow_private: bool,
}

/// Where a feed is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    File(PathBuf),
    Url(Url),
}

impl Spec {
    /// Differs where another place, or another part of it, is read. Secrets in URLs do not show.
    pub(crate) fn origin(&self) -> String {
        let digest = Sha256::digest(format!("{:?} {:?}", self.location, self.form));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn source(&self) -> Source {
        Source::Feed(Arc::clone(&self.name))
    }

    pub(crate) fn until_ms(&self, good_ms: u64) -> u64 {
        let lifetime = u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX);
        good_ms.saturating_add(lifetime)
    }
}

/// What a feed lists now.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// Networks that it lists.
    pub(crate) entries: usize,
    /// What its server is asked with, whether it has changed.
    pub(crate) validators: Validators,
    /// Until when, in milliseconds of the gateway's clock.
    pub(crate) until: u64,
}
