//! State of the connection to a shared store, for metrics and for people.

use std::{
    fmt, io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;

use super::{link::LinkError, wire::WireError};

/// State of the connection to a shared store, and what it counts.
#[derive(Debug, Default)]
pub struct LinkStatus {
    /// Whether the shared store answers, and is followed.
    pub up: AtomicBool,
    /// Whether it refuses what is sent to it.
    pub refusing: AtomicBool,
    /// When it was last known what it holds, in milliseconds of Unix time; 0 for never.
    pub synced_ms: AtomicU64,
    /// Times that all of its keys were looked at.
    pub resyncs: AtomicU64,
    /// Changes read from it.
    pub received: AtomicU64,
    /// Changes sent to it.
    pub sent: AtomicU64,
    /// Values of it that could not be read, and were skipped.
    pub skipped: AtomicU64,
    /// Addresses that it lists now: the predecessor's alone.
    pub listed: AtomicU64,
    troubles: [AtomicU64; Trouble::ALL.len()],
    last: Mutex<Option<(Trouble, String)>>,
}

/// Kinds of failures of the connection to a shared store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The password is wrong or missing.
    Auth,
    /// Its answer was larger than its bounds, or no answer of Redis.
    Bounds,
    /// The access list of the user does not allow it.
    Denied,
    /// It has no memory left.
    Full,
    /// No connection, or it broke.
    Io,
    /// It reads its data from the disk.
    Loading,
    /// It is a replica, as after a failover.
    ReadOnly,
    /// It answered with another error.
    Refused,
    /// No answer in time.
    Timeout,
    /// Its certificate is not trusted, or ours not by it.
    Tls,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Auth,
        Self::Bounds,
        Self::Denied,
        Self::Full,
        Self::Io,
        Self::Loading,
        Self::ReadOnly,
        Self::Refused,
        Self::Timeout,
        Self::Tls,
    ];

    /// The label of metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Bounds => "bounds",
            Self::Denied => "denied",
            Self::Full => "full",
            Self::Io => "io",
            Self::Loading => "loading",
            Self::ReadOnly => "read_only",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
        }
    }

    /// Whether a command was understood and refused, so that the connection is as good as before.
    pub(super) const fn is_refusal(self) -> bool {
        matches!(self, Self::Denied | Self::Full | Self::Refused)
    }

    pub(super) fn of(error: &LinkError) -> Self {
        match error {
            LinkError::Auth(_) => Self::Auth,
            LinkError::Bounds | LinkError::Form(_) => Self::Bounds,
            LinkError::Wire(WireError::Deep | WireError::Form(_)) => Self::Bounds,
            LinkError::Refused(words) => Self::of_refusal(words),
            LinkError::Timeout => Self::Timeout,
            LinkError::Tls(_) => Self::Tls,
            // With TLS 1.3 ours is refused only after the handshake.
            LinkError::Wire(WireError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Self::Tls
            }
            LinkError::Local
            | LinkError::Lost(_)
            | LinkError::Moved(_)
            | LinkError::Wire(WireError::Io(_)) => Self::Io,
        }
    }

    fn of_refusal(words: &str) -> Self {
        match words.split_whitespace().next().unwrap_or_default() {
            "NOAUTH" | "WRONGPASS" => Self::Auth,
            "NOPERM" => Self::Denied,
            "OOM" => Self::Full,
            "LOADING" => Self::Loading,
            "READONLY" => Self::ReadOnly,
            _ => Self::Refused,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl LinkStatus {
    /// Notes a failure; logged where it differs from the one before.
    pub(super) fn note(&self, what: &'static str, error: &LinkError) {
        let trouble = Trouble::of(error);
        if let Some(count) = self.troubles.get(trouble as usize) {
            count.fetch_add(1, Relaxed);
        }
        let mut last = self.last.lock();
        let is_new = last.as_ref().is_none_or(|(before, _)| *before != trouble);
        if is_new {
            log::error!(
                "{what}: {trouble}; this gateway goes on with what it knows; error={error}"
            );
        }
        *last = Some((trouble, error.to_string()));
    }

    /// Notes that all is well.
    pub(super) fn clear(&self, what: &'static str, unix_ms: u64) {
        self.synced_ms.store(unix_ms, Relaxed);
        let was_up = self.up.swap(true, Relaxed);
        if self.refusing.load(Relaxed) {
            return;
        }
        let trouble = self.last.lock().take();
        if !was_up || trouble.is_some() {
            log::info!("{what}: in step");
        }
    }

    /// Number of failures of each kind.
    pub fn troubles(&self) -> impl Iterator<Item = (Trouble, u64)> {
        let counts = self.troubles.iter().map(|count| count.load(Relaxed));
        Trouble::ALL.into_iter().zip(counts)
    }

    /// The current failure, with details.
    pub fn trouble(&self) -> Option<String> {
        let last = self.last.lock();
        last.as_ref()
            .map(|(trouble, details)| format!("{trouble}: {details}"))
    }

    /// The state as short text.
    pub fn state(&self) -> &'static str {
        match (self.up.load(Relaxed), self.refusing.load(Relaxed)) {
            (true, false) => "in step",
            (true, true) => "not taking",
            (false, _) => "away",
        }
    }
}
