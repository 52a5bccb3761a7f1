//! From the shared store to the local one.

use std::{convert::Infallible, sync::atomic::Ordering::Relaxed, time::Duration};

use super::{
    SharedStore, ask, decode_entry, decode_value,
    entry::MOST_BYTES,
    jittered,
    link::{Command, Link, LinkError},
    pages::Pages,
    stream::{self, BEGINNING, Entry, Page},
    wire::Value,
};
use crate::{
    decision::{Change, Decision, LONGEST},
    store::{ChangeOrigin, Missing, Position},
};

/// How long a read waits for an entry, in milliseconds: so often it is known that all is well.
const WAIT_MS: u64 = 1000;
/// Time between two looks at all keys, for what was lost without a trace.
const RESYNC_EVERY: Duration = Duration::from_secs(3600);
/// Values that are read at once: some megabytes, whatever others wrote.
const VALUES: usize = 100;
/// Most bytes of an epoch that are looked at; it has 32.
const EPOCH_BYTES: usize = 64;

impl SharedStore {
    /// Brings to the local store what the shared one has and learns, until something goes wrong.
    pub(super) async fn follow(&self, mut link: Link) -> Result<Infallible, LinkError> {
        let link = &mut link;
        let epoch = self.epoch(link).await?;
        let (mut last, mut missing) = self.place(link, &epoch).await?;
        loop {
            self.resync(link, &epoch, &mut last, missing).await?;
            missing = Missing::Resend;
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

    /// Fails where the epoch has changed: emptying a Redis need not close its connections.
    async fn check_epoch(&self, link: &mut Link, epoch: &str) -> Result<(), LinkError> {
        if self.stored_epoch(link).await?.as_deref() == Some(epoch) {
            return Ok(());
        }
        Err(LinkError::Lost("it has begun a new life"))
    }

    /// The epoch of the shared store; a new one is written where there is none.
    async fn epoch(&self, link: &mut Link) -> Result<String, LinkError> {
        if let Some(epoch) = self.stored_epoch(link).await? {
            return Ok(epoch);
        }
        let fresh = format!("{:016x}{:016x}", super::random(), super::random());
        let set = Command::new("SET").key(self.names.epoch());
        link.ask(set.word(fresh).word("NX")).await?;
        let absent = || LinkError::Lost("its epoch was not kept");
        self.stored_epoch(link).await?.ok_or_else(absent)
    }

    async fn stored_epoch(&self, link: &mut Link) -> Result<Option<String>, LinkError> {
        let begin = beginning_of(self.names.epoch().as_bytes(), EPOCH_BYTES);
        let epoch = link.ask(begin).await?.text();
        let epoch = epoch.ok_or(LinkError::Form("no value of a key"))?;
        // What is not there reads like what is empty.
        Ok((!epoch.is_empty()).then(|| String::from_utf8_lossy(&epoch).into_owned()))
    }

    /// Where to go on in the stream, and what to make of keys that are not there.
    async fn place(&self, link: &mut Link, epoch: &str) -> Result<(String, Missing), LinkError> {
        let known = ask(|done| self.store.position(done)).await?;
        let Some(known) = known.filter(|known| known.epoch == epoch) else {
            // What was withdrawn in this epoch must not be sent again.
            return Ok((BEGINNING.to_owned(), Missing::Resend));
        };
        let entry = known.entry;
        let names = &self.names;
        if entry == BEGINNING
            || stream::first_of(link, names, (&entry, &entry))
                .await?
                .is_some()
        {
            return Ok((entry, Missing::Resend));
        }
        let first = stream::first_of(link, names, ("-", "+")).await?;
        let latest = stream::last_of(link, names).await?;
        let latest = latest.unwrap_or_else(|| BEGINNING.to_owned());
        let is_gap = first.is_some_and(|id| order(&id) > order(&entry));
        if is_gap {
            return Ok((latest, Missing::Remove));
        }
        // It is an older copy of itself, as after a failover: what it had then is known.
        let earlier = if order(&latest) < order(&entry) {
            latest
        } else {
            entry
        };
        Ok((earlier, Missing::Resend))
    }

    /// Looks at all keys, without losing sight of the stream.
    async fn resync(
        &self,
        link: &mut Link,
        epoch: &str,
        last: &mut String,
        missing: Missing,
    ) -> Result<(), LinkError> {
        let from = match missing {
            Missing::Remove => ChangeOrigin::Snapshot,
            Missing::Resend => ChangeOrigin::Shared,
        };
        while self.catch_up(link, epoch, last, None).await? {}
        ask(|done| self.store.begin_resync(done)).await?;
        let pattern = format!("{}*", self.names.decisions());
        let mut pages = Pages::new(link, &pattern);
        while let Some(keys) = pages.next(link).await? {
            let held = self.values(link, keys).await?;
            self.write(held, from).await?;
            while self.catch_up(link, epoch, last, None).await? {}
        }
        self.status.skipped.fetch_add(pages.skipped(), Relaxed);
        while self.catch_up(link, epoch, last, None).await? {}
        let settled = ask(|done| self.store.end_resync(missing, done)).await?;
        self.status.resyncs.fetch_add(1, Relaxed);
        if settled > 0 {
            log::info!("shared store: it did not have decisions; count={settled} done={missing:?}");
        }
        self.clear();
        Ok(())
    }

    /// The decisions under these keys, as far as they are ours.
    async fn values(&self, link: &mut Link, keys: Vec<Vec<u8>>) -> Result<Vec<Change>, LinkError> {
        let mut held = Vec::with_capacity(keys.len());
        for keys in keys.chunks(VALUES) {
            // One byte more distinguishes what is too large from what is just not.
            let begin = |key: &Vec<u8>| beginning_of(key, MOST_BYTES + 1);
            let asked: Vec<Command> = keys.iter().map(begin).collect();
            let values = link.ask_all(&asked).await?;
            for (key, value) in keys.iter().zip(values) {
                match value {
                    // It ended meanwhile.
                    Value::Text(value) if value.is_empty() => {}
                    Value::Text(value) => match decode_value(&self.names, key, &value) {
                        Ok(decision) => held.push(Change::Decide(decision)),
                        Err(_) => self.skip(),
                    },
                    // No text, but a list or the like.
                    Value::Failure(words) if words.starts_with("WRONGTYPE") => self.skip(),
                    value => {
                        value.or_refusal()?;
                        return Err(LinkError::Form("no value of a key"));
                    }
                }
            }
        }
        Ok(held)
    }

    fn skip(&self) {
        self.status.skipped.fetch_add(1, Relaxed);
    }

    /// Reads on in the stream, and waits for an entry for so many milliseconds; whether there may be
    /// more at once.
    async fn catch_up(
        &self,
        link: &mut Link,
        epoch: &str,
        last: &mut String,
        wait_ms: Option<u64>,
    ) -> Result<bool, LinkError> {
        let Page {
            entries,
            oversized,
            more,
        } = stream::read(link, &self.names, last, wait_ms).await?;
        if let Some(Entry { id, .. }) = entries.last() {
            if more {
                self.check_reach(link, last).await?;
            }
            if oversized {
                log::error!("shared store: an entry too large to be read is passed over; id={id}");
            }
            *last = id.clone();
            self.status
                .received
                .fetch_add(entries.len() as u64, Relaxed);
            let changes = entries.iter().filter_map(|entry| self.change(entry));
            self.write(changes.collect(), ChangeOrigin::Shared).await?;
        }
        self.store.note(Position {
            epoch: epoch.to_owned(),
            entry: last.clone(),
        });
        self.clear();
        Ok(more)
    }

    /// A gateway that is behind may have missed entries that were cut off.
    async fn check_reach(&self, link: &mut Link, last: &str) -> Result<(), LinkError> {
        let first = stream::first_of(link, &self.names, ("-", "+")).await?;
        let is_cut = first.is_some_and(|id| order(&id) > order(last));
        if is_cut && last != BEGINNING {
            return Err(LinkError::Lost("changes came faster than they were read"));
        }
        Ok(())
    }

    fn change(&self, entry: &Entry) -> Option<Change> {
        let change = entry.change.as_deref();
        let change = change.and_then(|change| decode_entry(change).ok());
        if change.is_none() {
            self.skip();
        }
        change
    }

    async fn write(&self, mut changes: Vec<Change>, from: ChangeOrigin) -> Result<(), LinkError> {
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
        self.status.clear("shared store", self.clock.now().unix_ms);
    }
}

/// Asks for the first bytes under a key, at most so many, whatever is there.
fn beginning_of(key: &[u8], bytes: usize) -> Command {
    let last = bytes.saturating_sub(1).to_string();
    Command::new("GETRANGE").key(key).word("0").word(last)
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
