//! Rate limits: a token bucket per key, exact, in bounded memory.
//!
//! The algorithm is the Generic Cell Rate Algorithm (ITU-T I.371 annex A; ATM Forum Traffic
//! Management 4.0, section 4.4.2) in its virtual-scheduling form: all that a bucket keeps is the
//! theoretical arrival time (TAT) of the next request at the steady rate. A bucket whose TAT has
//! passed is full again and holds nothing that an absent one would not, so exactly those are
//! given up first.
//!
//! A table full of buckets that are not full again meets a flood of keys. A newcomer is then
//! counted in a count-min sketch (Cormode and Muthukrishnan 2005), which never counts too little
//! and, the larger the flood, more and more too much. So the sketch only nominates: a key that
//! seems to have asked for more than a burst gets a bucket in place of one that is nearly full
//! again, and only buckets ever refuse. A key that shares its counters with a flood is not harmed;
//! one that is part of it gets at most a burst more than its quota before it has its bucket.
//!
//! Sites share a table. A newcomer takes the place of a bucket of its own site, or of one that holds
//! more than its own (max-min fairness), so that a flood on one site leaves the others their
//! buckets.

pub(crate) mod adaptive;
mod gcra;
pub mod groups;
pub(crate) mod pages;
mod shares;
mod sharing;
mod sketch;
mod slots;
mod table;
#[cfg(test)]
mod tests;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use sha2::{Digest, Sha256};

use self::{
    adaptive::Adaptive,
    gcra::Gcra,
    sharing::{EXACT_BELOW, Sharing},
    table::{Bucket, Table},
};
use crate::{key::LimitKey, table_stats::TableStats, verdict::Limit};

/// The time after which a client may have its turn, once the other gateways have reported.
const UNTIL_EXCHANGE: Duration = Duration::from_millis(100);

/// How much a key may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests that come back to the bucket in `per`.
    pub requests: NonZeroU32,
    /// The time in which `requests` come back.
    pub per: Duration,
    /// Requests that a full bucket allows at once.
    pub burst: NonZeroU32,
}

/// A limit that gateways keep together, and the number that they all know it by.
#[derive(Clone)]
pub struct SharedLimit {
    /// A digest of its name and quota: limits that differ are not the same one.
    pub number: u64,
    /// Its buckets.
    pub buckets: Arc<Buckets>,
}

impl SharedLimit {
    /// The limit of this name, such as `standard.per_client.buckets`.
    pub fn new(name: &str, buckets: &Arc<Buckets>) -> Self {
        let mut hash = Sha256::new();
        hash.update(format!("{:?} {name}", buckets.quota()));
        let digest = hash.finalize();
        let number = digest.first_chunk::<8>().copied().unwrap_or_default();
        Self {
            number: u64::from_be_bytes(number),
            buckets: Arc::clone(buckets),
        }
    }
}

/// One bucket per key, for at most `capacity` keys at a time.
pub struct Buckets {
    quota: Quota,
    gcra: Gcra,
    table: Table,
    /// Set where gateways keep the limit together.
    sharing: Option<Sharing>,
    /// What counts in place of the quota's requests, site by site, where it changes.
    adaptive: Option<Arc<Adaptive>>,
}

impl Buckets {
    /// A table of at most `capacity` buckets, all memory set aside at once.
    pub fn new(quota: Quota, capacity: usize) -> Self {
        let gcra = Gcra::new(quota);
        Self {
            quota,
            gcra,
            table: Table::new(capacity, quota.burst.get(), gcra.window()),
            sharing: None,
            adaptive: None,
        }
    }

    /// A table of a limit that gateways keep together.
    pub fn shared(quota: Quota, capacity: usize) -> Self {
        Self {
            sharing: Some(Sharing::new()),
            ..Self::new(quota, capacity)
        }
    }

    /// Makes the limit adaptive: the limit that `adaptive` has for a site counts in place of the
    /// quota's requests there, and its burst scales along.
    #[must_use]
    pub(crate) fn following(mut self, adaptive: Arc<Adaptive>) -> Self {
        self.adaptive = Some(adaptive);
        self
    }

    /// Takes `cost` requests, at most the burst, out of the key's bucket at `now`, or returns when
    /// they are due.
    ///
    /// Times may arrive slightly out of order, as they do from several threads; a key never gets
    /// more because of an earlier time.
    pub fn take(&self, key: LimitKey, cost: u32, now: Duration) -> Result<(), Limit> {
        let scaled = self.scaled(key);
        let gcra = scaled.as_ref().unwrap_or(&self.gcra);
        self.take_at(gcra, (key, cost), now, true).map(drop)
    }

    /// As [`Self::take`]; returns how many requests are missing in the bucket afterwards.
    pub(crate) fn take_counting(
        &self,
        key: LimitKey,
        cost: u32,
        now: Duration,
    ) -> Result<u32, Limit> {
        let scaled = self.scaled(key);
        let gcra = scaled.as_ref().unwrap_or(&self.gcra);
        let taken = self.take_at(gcra, (key, cost), now, true)?;
        Ok(taken.map_or(0, |(tat, _)| gcra.used(tat, gcra.ticks(now))))
    }

    /// The limit of the key's site, where it changes.
    #[inline]
    fn scaled(&self, key: LimitKey) -> Option<Gcra> {
        let adaptive = self.adaptive.as_ref()?;
        Some(self.gcra.at(adaptive.limit(key.site())))
    }

    /// The bucket's TAT after `cost` was taken, and what that came to; nothing where the key has no
    /// bucket. It is reported to the other gateways where `reported` is set.
    #[inline]
    fn take_at(
        &self,
        gcra: &Gcra,
        (key, cost): (LimitKey, u32),
        now: Duration,
        reported: bool,
    ) -> Result<Option<(u128, u32)>, Limit> {
        let now = gcra.ticks(now);
        let cost = cost.min(self.quota.burst.get());
        let sharing = self.sharing.as_ref();
        let mut shard = self.table.shard(key);
        let Bucket::Own(tat) = self.table.place(&mut shard, key, cost, now) else {
            return Ok(None);
        };
        if let Some(sharing) = sharing
            && gcra.burst() < EXACT_BELOW
            && !sharing.may_have(key, cost, gcra.free(tat.get(), now))
        {
            return Err(gcra.limit_after(tat.get(), now, UNTIL_EXCHANGE));
        }
        let after = gcra.admit(tat.get(), now, cost)?;
        tat.set(after);
        if reported {
            self.report(key, cost);
        }
        Ok(Some((after, cost)))
    }

    /// Notes what was let through for the report to the other gateways.
    #[inline]
    fn report(&self, key: LimitKey, cost: u32) {
        if let Some(sharing) = &self.sharing {
            sharing.note(key, cost);
        }
    }

    /// What was let through here since the last call, for the other gateways.
    pub fn taken(&self) -> Vec<(LimitKey, u32)> {
        self.sharing.as_ref().map(Sharing::take).unwrap_or_default()
    }

    /// Takes what another gateway let through out of the key's bucket, into debt where it is
    /// empty: of at most as much again as a burst, or as comes back in a second, so that no report
    /// shuts a client out for long.
    pub fn owe(&self, key: LimitKey, cost: u32, now: Duration) {
        // One second is ten exchanges.
        self.charge(key, cost, now, self.refill().max(Duration::from_secs(1)));
    }

    /// The time in which an empty bucket fills up.
    fn refill(&self) -> Duration {
        self.quota.per * self.quota.burst.get() / self.quota.requests.get()
    }

    /// Notes how many gateways keep the limit, this one included, and whether all others have reported.
    pub fn meet(&self, gateways: u32, all_reported: bool) {
        if let Some(sharing) = &self.sharing {
            sharing.meet(gateways, all_reported);
        }
    }

    /// Whether gateways keep the limit together.
    pub(crate) const fn is_shared(&self) -> bool {
        self.sharing.is_some()
    }

    /// What counts in place of the quota's requests, where that changes.
    pub const fn adaptive(&self) -> Option<&Arc<Adaptive>> {
        self.adaptive.as_ref()
    }

    /// Requests that were not reported to the other gateways, since there were too many keys.
    pub fn unreported(&self) -> u64 {
        self.sharing.as_ref().map_or(0, Sharing::unreported)
    }

    /// Takes `amount` out of the key's bucket at `now` whether it is there or not; how long to wait
    /// until it is. A debt is never more than what comes back in `most`.
    pub fn charge(&self, key: LimitKey, amount: u32, now: Duration, most: Duration) -> Duration {
        let scaled = self.scaled(key);
        let gcra = scaled.as_ref().unwrap_or(&self.gcra);
        let now = gcra.ticks(now);
        let mut shard = self.table.shard(key);
        match self.table.place(&mut shard, key, amount, now) {
            Bucket::Own(tat) => {
                let (after, wait) = gcra.charge(tat.get(), now, amount, most);
                tat.set(after);
                wait
            }
            Bucket::None => Duration::ZERO,
        }
    }

    /// What each key may ask for.
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// Most buckets that the table holds.
    pub fn capacity(&self) -> usize {
        self.table.stats().capacity as usize
    }

    /// Size and losses of the table.
    pub fn stats(&self) -> Arc<TableStats> {
        Arc::clone(self.table.stats())
    }

    /// Memory that the table holds on the heap, the same from its first to its last key. Parts
    /// that were never used may not be resident.
    pub fn heap_bytes(&self) -> usize {
        self.table.heap_bytes()
    }
}
