//! From the local store to the shared one.

use std::{convert::Infallible, sync::atomic::Ordering::Relaxed, time::Duration};

use fred::{
    error::Error,
    interfaces::{KeysInterface, StreamsInterface},
    types::{Expiration, Value},
};
use futures_util::future::join_all;
use tokio::time::sleep;

use super::{
    LEAST_PAUSE, MOST_ENTRIES, MOST_PAUSE, SharedStore, access::Link, ask, entry, follow::FIELD,
    jittered, standing::Trouble,
};
use crate::{decision::Decision, store::Unsent};

/// Changes that are told at once.
const BATCH: usize = 500;
/// Pause between two looks for changes.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl SharedStore {
    /// Tells the shared store what the local one decides, until the connection breaks.
    pub(super) async fn tell(&self, link: &Link) -> Result<Infallible, Error> {
        let mut pause = LEAST_PAUSE;
        loop {
            if self.store.metrics().unsent.get() == 0 {
                sleep(LOOK_EVERY).await;
                continue;
            }
            let batch = ask(|done| self.store.unsent(BATCH, done)).await?;
            if batch.is_empty() {
                sleep(LOOK_EVERY).await;
                continue;
            }
            let told = join_all(batch.iter().map(|unsent| self.tell_one(link, unsent))).await;
            let mut refusal = None;
            let mut sent = Vec::with_capacity(batch.len());
            for (unsent, told) in batch.into_iter().zip(told) {
                match told {
                    Ok(()) => sent.push((unsent.key, unsent.number)),
                    Err(error) => refusal = Some(error),
                }
            }
            self.standing.told.fetch_add(sent.len() as u64, Relaxed);
            self.store.sent(sent);
            self.standing.refusing.store(refusal.is_some(), Relaxed);
            let Some(error) = refusal else {
                pause = LEAST_PAUSE;
                continue;
            };
            if !Trouble::of(&error).is_refusal() {
                self.standing.refusing.store(false, Relaxed);
                return Err(error);
            }
            self.standing.note("shared store", &error);
            sleep(jittered(pause)).await;
            pause = MOST_PAUSE.min(pause * 2);
        }
    }

    /// Tells one change. Told twice, it says the same.
    async fn tell_one(&self, link: &Link, unsent: &Unsent) -> Result<(), Error> {
        match &unsent.decision {
            Some(decision) => self.tell_decision(link, decision).await,
            None => self.tell_withdrawal(link, unsent).await,
        }
    }

    /// The key first: whoever reads the entry finds the key.
    async fn tell_decision(&self, link: &Link, decision: &Decision) -> Result<(), Error> {
        let now = self.clock.now().unix_ms;
        let left = decision.until_ms.saturating_sub(now);
        let Some(left) = i64::try_from(left).ok().filter(|left| *left > 0) else {
            // Everybody else's copy has ended, too.
            return Ok(());
        };
        let key = self.names.decision(&decision.key());
        let value = entry::encode_value(decision);
        let lifetime = Some(Expiration::PX(left));
        let _: Value = link.client.set(key, value, lifetime, None, false).await?;
        self.add(link, entry::encode_decision(decision)).await
    }

    /// An entry before the key goes and one after: whoever looks at all keys meanwhile reads one of
    /// them after it has looked, whether the key was still there or not.
    async fn tell_withdrawal(&self, link: &Link, unsent: &Unsent) -> Result<(), Error> {
        let withdrawal = entry::encode_withdrawal(&unsent.key, self.clock.now().unix_ms);
        self.add(link, withdrawal.clone()).await?;
        let key = self.names.decision(&unsent.key);
        let _: Value = link.client.del(key).await?;
        self.add(link, withdrawal).await
    }

    async fn add(&self, link: &Link, change: String) -> Result<(), Error> {
        let most = i64::try_from(MOST_ENTRIES).unwrap_or(i64::MAX);
        let cap = ("MAXLEN", "~", most, None);
        let stream = self.names.stream();
        let _: Value = link
            .client
            .xadd(stream, false, cap, "*", (FIELD, change))
            .await?;
        Ok(())
    }
}
