//! How many buckets of a table each site holds.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Counts that are kept: sites whose numbers are alike modulo this one share theirs.
const COUNTS: usize = 1024;

/// Number of buckets by site.
pub(super) struct SiteShares(Box<[AtomicU32]>);

impl SiteShares {
    pub(super) fn new() -> Self {
        Self((0..COUNTS).map(|_| AtomicU32::new(0)).collect())
    }

    /// Counts a new bucket of the site.
    pub(super) fn add(&self, site: u16) {
        self.count(site).fetch_add(1, Relaxed);
    }

    /// Counts a bucket that passes from one site to another.
    pub(super) fn pass_on(&self, from: u16, to: u16) {
        if from != to {
            self.count(from).fetch_sub(1, Relaxed);
            self.add(to);
        }
    }

    /// Whether a newcomer of `site` may take the place of a bucket of `holder`: of its own site, or
    /// of one that stays ahead of it.
    pub(super) fn may_take(&self, site: u16, holder: u16) -> bool {
        site == holder || self.held(holder) > self.held(site)
    }

    /// Buckets of the site.
    pub(super) fn held(&self, site: u16) -> u32 {
        self.count(site).load(Relaxed)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    fn count(&self, site: u16) -> &AtomicU32 {
        &self.0[usize::from(site) % COUNTS]
    }
}
