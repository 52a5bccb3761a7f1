//! Addresses that the predecessor blocks, read from its own database as long as it runs.
//!
//! It keeps a string per address, `<tenant>:blocklist:ip:<address>`, with the lifetime of the block;
//! the text of the string is of no use to requests and is not read. Nothing is written there.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::IpAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::watch, task::spawn_blocking, time::sleep};

use super::{
    Access, DECISIONS, LinkStatus, Names, jittered, keep_up,
    link::{Command, Link, LinkError},
    pages::Pages,
    wire::Value,
};
use crate::{
    clock::Clock,
    decision::{LONGEST, Source},
    prefix_set::Prefix,
    store::{Listed, Store},
};

/// Longest time between two looks: half of what is promised, for the look itself takes time.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Time between two looks at what has ended.
const END_EVERY: Duration = Duration::from_secs(1);
/// Keys that are asked about at once.
const ASKED: usize = 1000;
/// Addresses that are taken at most.
const MOST: usize = 1 << 20;

/// Copies the predecessor's list into the local store.
pub struct PredecessorList {
    store: Store,
    clock: Arc<dyn Clock>,
    access: Access,
    names: Names,
    status: Arc<LinkStatus>,
    /// Networks that it blocks, each with its end in milliseconds of the gateway's clock.
    held: Mutex<HashMap<Prefix, u64>>,
}

impl PredecessorList {
    /// Replication for the store of this process. Nothing is connected before [`Self::run`].
    pub fn new(store: Store, clock: Arc<dyn Clock>, access: Access, names: Names) -> Self {
        Self {
            store,
            clock,
            access,
            names,
            status: Arc::default(),
            held: Mutex::default(),
        }
    }

    /// State of its connection.
    pub const fn status(&self) -> &Arc<LinkStatus> {
        &self.status
    }

    /// Runs until `shutdown` turns true. While the database is away, its blocks end at their own times.
    pub async fn run(self, shutdown: watch::Receiver<bool>) {
        let reading = keep_up("predecessor", &self.status, || self.session(), shutdown);
        tokio::select! {
            () = reading => {}
            () = self.end_in_time() => {}
        }
    }

    async fn session(&self) -> Result<Infallible, LinkError> {
        let mut link = self.access.connect(DECISIONS).await?;
        loop {
            let found = self.look(&mut link).await?;
            if *self.held.lock() != found {
                *self.held.lock() = found;
                self.show().await;
            }
            let now = self.clock.now().unix_ms;
            self.status.resyncs.fetch_add(1, Relaxed);
            self.status.clear("predecessor", now);
            sleep(jittered(LOOK_EVERY)).await;
        }
    }

    async fn look(&self, link: &mut Link) -> Result<HashMap<Prefix, u64>, LinkError> {
        let prefix = self.names.predecessor();
        let pattern = format!("{prefix}*");
        let mut pages = Pages::new(link, &pattern);
        let mut found = HashMap::new();
        let mut skipped = 0;
        while let Some(keys) = pages.next(link).await? {
            for keys in keys.chunks(ASKED) {
                let left = |key: &Vec<u8>| Command::new("PTTL").key(key);
                let left = link
                    .ask_all(&keys.iter().map(left).collect::<Vec<_>>())
                    .await?;
                let now = self.clock.now().own_ms;
                for (key, left) in keys.iter().zip(left) {
                    let Some(until) = end(now, left.or_refusal()?) else {
                        continue;
                    };
                    let key = str::from_utf8(key).ok();
                    let address = key.and_then(|key| key.strip_prefix(&prefix));
                    match address.and_then(|address| address.parse::<IpAddr>().ok()) {
                        Some(address) if found.len() < MOST => {
                            let subject = Prefix::host(address);
                            let until = self.same_end(subject, until);
                            found.insert(subject, until);
                        }
                        _ => skipped += 1,
                    }
                }
            }
        }
        skipped += pages.skipped();
        // As many as there are now, not one more for each look.
        self.status.skipped.store(skipped, Relaxed);
        Ok(found)
    }

    /// An end that is known already, where the new one differs by no more than reading it took.
    fn same_end(&self, subject: Prefix, until: u64) -> u64 {
        let held = self.held.lock();
        let known = held.get(&subject).copied();
        known
            .filter(|known| known.abs_diff(until) < 1000)
            .unwrap_or(until)
    }

    async fn end_in_time(&self) {
        loop {
            sleep(END_EVERY).await;
            let now = self.clock.now().own_ms;
            let ended = {
                let mut held = self.held.lock();
                let before = held.len();
                held.retain(|_, until| *until > now);
                before != held.len()
            };
            if ended {
                self.show().await;
            }
        }
    }

    async fn show(&self) {
        let listed = {
            let held = self.held.lock();
            self.status.listed.store(held.len() as u64, Relaxed);
            let until = held.values().copied().max().unwrap_or_default();
            Listed {
                subjects: held.keys().copied().collect(),
                until_ms: self.clock.now().unix_time_of(until),
            }
        };
        let store = self.store.clone();
        let listed = spawn_blocking(move || store.list(Source::Predecessor, listed));
        // It neither panics nor is it cancelled.
        let _ = listed.await;
    }
}

/// End of a key that has `left` milliseconds according to Redis: -1 for no end, -2 where it
/// is gone.
fn end(now: u64, left: Value) -> Option<u64> {
    let Value::Number(left) = left else {
        return None;
    };
    let longest = u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX);
    match u64::try_from(left) {
        Ok(left) => Some(now.saturating_add(left.min(longest))),
        Err(_) => (left == -1).then(|| now.saturating_add(longest)),
    }
}
