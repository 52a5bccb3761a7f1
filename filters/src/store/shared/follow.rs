//! From the shared store to the local one.

use std::{
    collections::HashMap, convert::Infallible, sync::atomic::Ordering::Relaxed, time::Duration,
};

use fred::{
    bytes::Bytes,
    error::{Error, ErrorKind},
    interfaces::{ClientLike, KeysInterface, StreamsInterface},
    types::{Expiration, Key as RedisKey, SetOptions, Value, config::Options},
};
use futures_util::future::join_all;

use super::{
    SharedStore,
    access::{ANSWER, Link},
    ask, decode_entry, decode_value,
    entry::Names,
    jittered,
    standing::Trouble,
};
use crate::{
    decision::{Change, Decision, LONGEST},
    store::{From, Missing, Position},
};

/// Entries of one read, and keys of one page.
pub(super) const PAGE: u32 = 1000;
/// How long a read waits for an entry, in milliseconds: so often it is known that all is well.
const WAIT_MS: u64 = 1000;
/// Time between two looks at all keys, for what was lost without a trace.
const RESYNC_EVERY: Duration = Duration::from_secs(3600);
/// Before the first entry of any stream.
const BEGINNING: &str = "0-0";
/// The field of an entry with the change.
pub(super) const FIELD: &str = "change";

/// Entries of a stream, each with its id.
type Entries = Vec<(String, HashMap<RedisKey, Bytes>)>;

impl SharedStore {
    /// Brings to the local store what the shared one has and learns, until something goes wrong.
    pub(super) async fn follow(&self, link: &Link) -> Result<Infallible, Error> {
        let epoch = self.epoch(link).await?;
        let (mut last, mut missing) = self.place(link, &epoch).await?;
        loop {
            self.resync(link, &epoch, &mut last, missing).await?;
            missing = Missing::Tell;
            let again = self.own_ms() + millis(jittered(RESYNC_EVERY));
            let mut look = 0;
            while self.own_ms() < again {
                self.catch_up(link, &epoch, &mut last, Some(WAIT_MS))
                    .await?;
                if self.own_ms() >= look {
                    self.check_epoch(link, &epoch).await?;
                    look = self.own_ms() + WAIT_MS;
                }
            }
        }
    }

    fn own_ms(&self) -> u64 {
        self.clock.now().own_ms
    }

    /// Whoever empties it need not close connections.
    async fn check_epoch(&self, link: &Link, epoch: &str) -> Result<(), Error> {
        if self.stored_epoch(link).await?.as_deref() == Some(epoch) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::IO, "it has begun a new life"))
    }

    /// Which life of the shared store this is; a new one begins where nobody said so.
    async fn epoch(&self, link: &Link) -> Result<String, Error> {
        if let Some(epoch) = self.stored_epoch(link).await? {
            return Ok(epoch);
        }
        let fresh = format!("{:016x}{:016x}", super::random(), super::random());
        let key = self.names.epoch();
        let made: Result<Value, Error> = link
            .client
            .set(key, fresh, None::<Expiration>, Some(SetOptions::NX), false)
            .await;
        made?;
        let absent = || Error::new(ErrorKind::NotFound, "its epoch was not kept");
        self.stored_epoch(link).await?.ok_or_else(absent)
    }

    async fn stored_epoch(&self, link: &Link) -> Result<Option<String>, Error> {
        link.client.get(self.names.epoch()).await
    }

    /// Where to go on in the stream, and what to make of keys that are not there.
    async fn place(&self, link: &Link, epoch: &str) -> Result<(String, Missing), Error> {
        let known = ask(|done| self.store.position(done)).await?;
        let Some(known) = known.filter(|known| known.epoch == epoch) else {
            // What was taken away in this life of it must not be told again.
            return Ok((BEGINNING.to_owned(), Missing::Tell));
        };
        let entry = known.entry;
        if entry == BEGINNING || !self.range(link, &entry, &entry).await?.is_empty() {
            return Ok((entry, Missing::Tell));
        }
        let first = self.range(link, "-", "+").await?;
        let latest = self.latest(link).await?;
        let is_gap = first
            .first()
            .is_some_and(|(id, _)| order(id) > order(&entry));
        if is_gap {
            return Ok((latest, Missing::Remove));
        }
        // It is an older copy of itself, as after a failover: what it had then is known.
        let earlier = if order(&latest) < order(&entry) {
            latest
        } else {
            entry
        };
        Ok((earlier, Missing::Tell))
    }

    /// The first entry between two ids.
    async fn range(&self, link: &Link, from: &str, to: &str) -> Result<Entries, Error> {
        let stream = self.names.stream();
        link.client.xrange_values(stream, from, to, Some(1)).await
    }

    async fn latest(&self, link: &Link) -> Result<String, Error> {
        let stream = self.names.stream();
        let last: Entries = link
            .client
            .xrevrange_values(stream, "+", "-", Some(1))
            .await?;
        let id = last.into_iter().next().map(|(id, _)| id);
        Ok(id.unwrap_or_else(|| BEGINNING.to_owned()))
    }

    /// Looks at all keys, without losing sight of the stream.
    async fn resync(
        &self,
        link: &Link,
        epoch: &str,
        last: &mut String,
        missing: Missing,
    ) -> Result<(), Error> {
        let from = match missing {
            Missing::Remove => From::Snapshot,
            Missing::Tell => From::Shared,
        };
        while self.catch_up(link, epoch, last, None).await? {}
        ask(|done| self.store.begin_resync(done)).await?;
        let pattern = format!("{}*", self.names.decisions());
        let mut pages = Pages::new(link, &pattern);
        while let Some(keys) = pages.next().await? {
            let held = self.values(link, keys).await?;
            self.write(held, from).await?;
            while self.catch_up(link, epoch, last, None).await? {}
        }
        while self.catch_up(link, epoch, last, None).await? {}
        let settled = ask(|done| self.store.end_resync(missing, done)).await?;
        self.standing.resyncs.fetch_add(1, Relaxed);
        if settled > 0 {
            log::info!("shared store: it did not have decisions; count={settled} done={missing:?}");
        }
        self.clear();
        Ok(())
    }

    /// The decisions under these keys, as far as they are ours.
    async fn values(&self, link: &Link, keys: Vec<RedisKey>) -> Result<Vec<Change>, Error> {
        let values = keys
            .iter()
            .map(|key| link.client.get::<Option<Bytes>, _>(key));
        let values = join_all(values).await;
        let mut held = Vec::with_capacity(keys.len());
        for (key, value) in keys.iter().zip(values) {
            let value = match value {
                Ok(Some(value)) => value,
                // It ended meanwhile.
                Ok(None) => continue,
                // No text, but a list or the like.
                Err(error) if Trouble::of(&error).is_refusal() => {
                    self.standing.skipped.fetch_add(1, Relaxed);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match decode_value(&self.names, key.as_bytes(), &value) {
                Ok(decision) => held.push(Change::Decide(decision)),
                Err(_) => {
                    self.standing.skipped.fetch_add(1, Relaxed);
                }
            }
        }
        Ok(held)
    }

    /// Reads on in the stream, and waits for an entry for so many milliseconds; whether there may be
    /// more at once.
    async fn catch_up(
        &self,
        link: &Link,
        epoch: &str,
        last: &mut String,
        wait_ms: Option<u64>,
    ) -> Result<bool, Error> {
        let entries = read(link, &self.names, last, wait_ms).await?;
        let is_full = entries.len() >= PAGE as usize;
        if let Some((id, _)) = entries.last() {
            if is_full {
                self.check_reach(link, last).await?;
            }
            *last = id.clone();
            self.standing
                .received
                .fetch_add(entries.len() as u64, Relaxed);
            let changes = entries.iter().filter_map(|(_, fields)| self.change(fields));
            self.write(changes.collect(), From::Shared).await?;
        }
        self.store.note(Position {
            epoch: epoch.to_owned(),
            entry: last.clone(),
        });
        self.clear();
        Ok(is_full)
    }

    /// Who is behind may have missed entries that were cut off.
    async fn check_reach(&self, link: &Link, last: &str) -> Result<(), Error> {
        let first = self.range(link, "-", "+").await?;
        let is_cut = first.first().is_some_and(|(id, _)| order(id) > order(last));
        if is_cut && last != BEGINNING {
            return Err(Error::new(
                ErrorKind::IO,
                "changes came faster than they were read",
            ));
        }
        Ok(())
    }

    fn change(&self, fields: &HashMap<RedisKey, Bytes>) -> Option<Change> {
        let value = fields.get(&RedisKey::from_static_str(FIELD));
        let change = value.and_then(|value| decode_entry(value).ok());
        if change.is_none() {
            self.standing.skipped.fetch_add(1, Relaxed);
        }
        change
    }

    async fn write(&self, mut changes: Vec<Change>, from: From) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let latest = self.clock.now().unix_ms.saturating_add(millis(LONGEST));
        for change in &mut changes {
            if let Change::Decide(Decision { until_ms, .. }) = change {
                *until_ms = latest.min(*until_ms);
            }
        }
        ask(|done| self.store.write(changes, from, done)).await?;
        Ok(())
    }

    fn clear(&self) {
        self.standing
            .clear("shared store", self.clock.now().unix_ms);
    }
}

async fn read(
    link: &Link,
    names: &Names,
    last: &str,
    wait_ms: Option<u64>,
) -> Result<Entries, Error> {
    let patience = Options {
        timeout: Some(ANSWER + Duration::from_millis(wait_ms.unwrap_or_default())),
        ..Options::default()
    };
    let client = link.client.with_options(&patience);
    let count = Some(u64::from(PAGE));
    let value: Value = client.xread(count, wait_ms, names.stream(), last).await?;
    if value.is_null() {
        return Ok(Entries::new());
    }
    let mut streams: HashMap<RedisKey, Entries> = value.into_xread_response()?;
    Ok(streams
        .drain()
        .next()
        .map(|(_, entries)| entries)
        .unwrap_or_default())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The place of an entry, by its id.
fn order(id: &str) -> (u64, u64) {
    let (ms, number) = id.split_once('-').unwrap_or((id, "0"));
    let number = number.parse().unwrap_or_default();
    (ms.parse().unwrap_or_default(), number)
}

/// Keys, a page at a time, of one server after the other.
pub(super) struct Pages<'a> {
    link: &'a Link,
    pattern: &'a str,
    parts: Vec<Options>,
    cursor: String,
}

impl<'a> Pages<'a> {
    pub(super) fn new(link: &'a Link, pattern: &'a str) -> Self {
        let part = |cluster_node| Options {
            cluster_node,
            timeout: Some(ANSWER),
            ..Options::default()
        };
        Self {
            link,
            pattern,
            parts: link.parts().into_iter().map(part).collect(),
            cursor: "0".to_owned(),
        }
    }

    /// The next page, which may be empty; nothing after the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<RedisKey>>, Error> {
        let Some(part) = self.parts.last() else {
            return Ok(None);
        };
        let client = self.link.client.with_options(part);
        let (cursor, keys): (String, Vec<RedisKey>) = client
            .scan_page(
                self.cursor.clone(),
                self.pattern.to_owned(),
                Some(PAGE),
                None,
            )
            .await?;
        if cursor == "0" {
            self.parts.pop();
        }
        self.cursor = cursor;
        Ok(Some(keys))
    }
}
