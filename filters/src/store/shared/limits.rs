//! Limits and counters that gateways keep together, told through channels of the shared store.
//!
//! Ten times a second each gateway publishes what it let through and counted, and hears what the
//! others did.
//! Nothing is kept in the shared store: what was missed is not owed. A gateway that does not hear
//! itself for [`DEAF`] takes itself for alone, and so does one without a connection; it then keeps the
//! whole limit, until it has heard again from those that it knew or has waited for them in vain:
//! each comes back at a time of its own, and a share of a limit is for who is there.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{EventInterface, PubsubInterface},
    types::{Message, Value},
};
use parking_lot::Mutex;
use tokio::{
    sync::{broadcast::error::RecvError, watch},
    time::{Interval, MissedTickBehavior, interval, timeout},
};

use super::{Access, MOST_PAUSE, Names, Standing, keep_up, random};
use crate::{
    clock::Clock,
    rate::report::{Group, Report},
};

/// Time between two exchanges.
const EXCHANGE: Duration = Duration::from_millis(100);
/// A gateway that let nothing through says so at this pace, in exchanges.
const SIGN_OF_LIFE: u32 = 10;
/// Who was not heard for so long is not there any more.
const GONE_MS: u64 = 3_000;
/// Who does not hear itself for so long hears nobody.
const DEAF: u64 = 2_000;
/// Longest wait until a report is taken.
const PUBLISH: Duration = Duration::from_millis(500);
/// Most keys that wait for a later report, at some 24 bytes each.
const MOST_LEFT: usize = 262_144;
/// Most gateways that are told apart.
const MOST_GATEWAYS: usize = 4096;

/// The limits and counters of this gateway that others keep too.
pub trait SharedTables: Send + Sync {
    /// What was let through since the last call.
    fn taken(&self) -> Vec<Group>;

    /// Takes what another gateway let through.
    fn owe(&self, group: &Group);

    /// What was counted since the last call, as bytes for the others, from a gateway of this number.
    fn counted(&self, gateway: u64) -> Option<Vec<u8>>;

    /// Counts what a gateway tells, unless it is the one of this number; whether it could be read.
    fn count(&self, bytes: &[u8], gateway: u64) -> bool;

    /// Notes how many gateways there are, this one included, and whether the others are heard.
    fn meet(&self, gateways: u32, heard: bool);
}

/// What keeps limits of gateways together.
pub struct LimitExchange {
    access: Access,
    limits: String,
    counters: String,
    clock: Arc<dyn Clock>,
    tables: Arc<dyn SharedTables>,
    standing: Arc<Standing>,
    gateway: u64,
    /// When gateways were heard last, between two sessions.
    known: Mutex<HashMap<u64, u64>>,
}

/// What is known of the others, and what they have not been told yet.
#[derive(Default)]
struct Round {
    heard_ms: HashMap<u64, u64>,
    left: Vec<Group>,
    quiet: u32,
}

impl LimitExchange {
    /// One for these tables. Nothing is connected before [`Self::run`].
    pub fn new(
        access: Access,
        names: &Names,
        clock: Arc<dyn Clock>,
        tables: Arc<dyn SharedTables>,
        standing: Arc<Standing>,
    ) -> Self {
        Self {
            access,
            limits: names.limits(),
            counters: names.counters(),
            clock,
            tables,
            standing,
            gateway: random(),
            known: Mutex::default(),
        }
    }

    /// Until `shutdown` turns true. Task `shared limits`.
    pub async fn run(self, shutdown: watch::Receiver<bool>) {
        let (standing, session) = (&self.standing, || self.session());
        keep_up("shared limits", standing, session, shutdown).await;
    }

    async fn session(&self) -> Result<Infallible, Error> {
        let mut round = Round {
            heard_ms: std::mem::take(&mut *self.known.lock()),
            ..Round::default()
        };
        let ended = self.exchange(&mut round).await;
        // The number that was known last; nothing more is to be learnt.
        if !round.heard_ms.is_empty() {
            self.tables.meet(gateways(&round), false);
        }
        *self.known.lock() = round.heard_ms;
        ended
    }

    async fn exchange(&self, round: &mut Round) -> Result<Infallible, Error> {
        let listener = self.access.connect().await?;
        let speaker = self.access.connect().await?;
        let mut messages = listener.client.message_rx();
        let channels = vec![self.limits.clone(), self.counters.clone()];
        listener.client.subscribe(channels).await?;
        // What was let through before anybody listened is nobody's debt.
        let _ = self.tables.taken();
        let mut heard_self_ms = self.clock.now().own_ms;
        round.begin(heard_self_ms);
        let mut turns = ticks();
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Ok(message) => {
                        if self.hear(&message, round) {
                            heard_self_ms = self.clock.now().own_ms;
                        }
                    }
                    // Too many at once: those are not owed.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(Error::new(ErrorKind::IO, "closed")),
                },
                _ = turns.tick() => {
                    let now = self.clock.now().own_ms;
                    if now.saturating_sub(heard_self_ms) > DEAF {
                        return Err(Error::new(ErrorKind::Timeout, "nothing is heard"));
                    }
                    round.forget(now);
                    let heard = round.has_heard_all(now);
                    self.standing.up.store(heard, Relaxed);
                    self.tables.meet(gateways(round), heard);
                    self.tell(&speaker.client, round).await?;
                }
            }
        }
    }

    /// Takes up a report; whether it is our own.
    fn hear(&self, message: &Message, round: &mut Round) -> bool {
        let bytes = match &message.value {
            Value::Bytes(bytes) => bytes,
            Value::String(text) => text.as_bytes(),
            _ => &[],
        };
        if *message.channel == *self.counters {
            if !self.tables.count(bytes, self.gateway) {
                self.standing.skipped.fetch_add(1, Relaxed);
            }
            return false;
        }
        let Ok(report) = Report::decode(bytes) else {
            self.standing.skipped.fetch_add(1, Relaxed);
            return false;
        };
        if report.gateway == self.gateway {
            return true;
        }
        round.hear(report.gateway, self.clock.now().own_ms);
        self.standing.received.fetch_add(1, Relaxed);
        report
            .groups
            .iter()
            .for_each(|group| self.tables.owe(group));
        false
    }

    async fn tell(&self, speaker: &Client, round: &mut Round) -> Result<(), Error> {
        if let Some(counted) = self.tables.counted(self.gateway) {
            publish(speaker, &self.counters, counted).await?;
        }
        let mut groups = self.tables.taken();
        // Reports are filled from the end: who waits longest is first.
        groups.append(&mut round.left);
        if groups.is_empty() && round.quiet < SIGN_OF_LIFE {
            round.quiet += 1;
            return Ok(());
        }
        round.quiet = 0;
        let report = Report {
            gateway: self.gateway,
            groups,
        };
        let (bytes, left) = report.encode();
        round.postpone(left);
        publish(speaker, &self.limits, bytes).await?;
        self.standing.told.fetch_add(1, Relaxed);
        Ok(())
    }
}

impl Round {
    /// Begins at `now_ms`: the others hear at once that this gateway is there. Those that were there
    /// when it last heard anybody are waited for, for as long as their pauses between tries.
    fn begin(&mut self, now_ms: u64) {
        self.quiet = SIGN_OF_LIFE;
        let pause = u64::try_from(MOST_PAUSE.as_millis()).unwrap_or_default();
        for heard in self.heard_ms.values_mut() {
            *heard = now_ms.saturating_add(pause);
        }
    }

    /// Forgets who has not been heard for long.
    fn forget(&mut self, now_ms: u64) {
        let is_there = |heard: u64| now_ms.saturating_sub(heard) < GONE_MS;
        self.heard_ms.retain(|_, heard| is_there(*heard));
    }

    /// Leaves what found no room in a report for later ones, the oldest of it last in the list. What
    /// is more than they can catch up with is not owed, again the oldest first.
    fn postpone(&mut self, mut left: Vec<Group>) {
        let mut keys = 0;
        left.retain(|group| {
            keys += group.keys.len();
            keys <= MOST_LEFT
        });
        self.left = left;
    }

    /// Whether nobody is waited for any more.
    fn has_heard_all(&self, now_ms: u64) -> bool {
        self.heard_ms.values().all(|heard| *heard <= now_ms)
    }

    /// Notes that a gateway is there. One that is new learns at the next exchange that this one is.
    fn hear(&mut self, gateway: u64, now_ms: u64) {
        if let Some(heard) = self.heard_ms.get_mut(&gateway) {
            *heard = now_ms;
        } else if self.heard_ms.len() < MOST_GATEWAYS {
            self.heard_ms.insert(gateway, now_ms);
            self.quiet = SIGN_OF_LIFE;
        }
    }
}

async fn publish(speaker: &Client, channel: &str, bytes: Vec<u8>) -> Result<(), Error> {
    let bytes = Value::Bytes(bytes.into());
    let published = timeout(PUBLISH, speaker.publish::<Value, _, _>(channel, bytes));
    let late = |_| Error::new(ErrorKind::Timeout, "no answer in time");
    published.await.map_err(late)??;
    Ok(())
}

fn gateways(round: &Round) -> u32 {
    u32::try_from(round.heard_ms.len() + 1).unwrap_or(u32::MAX)
}

fn ticks() -> Interval {
    let mut ticks = interval(EXCHANGE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use super::{GONE_MS, MOST_LEFT, Round, gateways};
    use crate::{
        key::DIGEST,
        rate::report::{Group, Report},
    };

    #[test]
    fn what_waits_for_a_report_is_bounded_and_the_oldest_goes_first() {
        let mut round = Round::default();
        let mut told = Vec::new();
        for limit in 1..=100 {
            // Two limits, each with as many keys as a report holds.
            let group = |limit| Group {
                limit,
                site: "shop".into(),
                keys: vec![([1; DIGEST], 1); 60_000],
            };
            let mut groups = vec![group(2 * limit), group(2 * limit + 1)];
            groups.append(&mut round.left);
            let (bytes, left) = Report { gateway: 7, groups }.encode();
            let report = Report::decode(&bytes).unwrap();
            told.extend(report.groups.iter().map(|group| group.limit));
            round.postpone(left);
            let keys = round.left.iter().map(|group| group.keys.len());
            assert!(keys.sum::<usize>() <= MOST_LEFT);
        }
        // Nothing waits for longer than it takes to send all that may wait.
        let recent = told.iter().rev().take(5);
        assert!(recent.min() > Some(&180), "{told:?}");
    }

    #[test]
    fn gateways_that_were_there_are_waited_for_but_not_forever() {
        let mut round = Round::default();
        round.begin(0);
        assert!(round.has_heard_all(0));
        round.hear(1, 100);
        round.hear(2, 100);
        assert_eq!((gateways(&round), round.has_heard_all(100)), (3, true));
        // The connection was gone for a minute.
        let now = 60_000;
        round.begin(now);
        assert_eq!((gateways(&round), round.has_heard_all(now)), (3, false));
        round.hear(1, now + 10);
        assert!(!round.has_heard_all(now + 10));
        let mut other = Round {
            heard_ms: round.heard_ms.clone(),
            ..Round::default()
        };
        other.hear(2, now + 20);
        assert!(other.has_heard_all(now + 20));
        // The second one does not come back.
        assert!(round.has_heard_all(now + 5_000));
        round.forget(now + 5_000 + GONE_MS);
        assert_eq!(gateways(&round), 1);
    }
}
