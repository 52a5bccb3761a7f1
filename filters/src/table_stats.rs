//! What is counted of bounded tables.

use std::sync::atomic::{AtomicU64, Ordering};

/// Size and losses of a bounded table, kept by the table and read when metrics are scraped.
#[derive(Debug, Default)]
pub struct TableStats {
    /// Entries held now.
    pub entries: AtomicU64,
    /// Entries given up to make room.
    pub evictions: AtomicU64,
    /// Requests that found no room: of a rate they were only estimated, else let through.
    pub overflows: AtomicU64,
    /// Most entries that it may hold.
    pub capacity: u64,
}

impl TableStats {
    /// Statistics of an empty table.
    pub fn with_capacity(capacity: u64) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    /// Counts a new entry.
    pub fn added(&self) {
        self.entries.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a removed entry.
    pub fn removed(&self) {
        self.entries.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts an entry that gave its place to another.
    pub fn evicted(&self) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that found no room.
    pub fn overflowed(&self) {
        self.overflows.fetch_add(1, Ordering::Relaxed);
    }
}
