//! Limits and counters that gateways keep together, through channels of the shared store.
//!
//! Ten times a second each gateway publishes what it let through and counted, and receives what the
//! others did.
//! Nothing of it is kept in the shared store: what was missed is not owed. A gateway that does not receive
//! its own reports for [`DEAF`] takes itself for alone, and so does one without a connection; it then keeps
//! the whole limit, until it has received reports of those that it knew or has waited for them in vain:
//! each comes back at a time of its own, and a share of a limit is for who is there.
//!
//! Any client that may publish can send anything. So a sender is a gateway only if it has a key of its
//! own in the shared store, which it writes anew each second; reports of others are ignored.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval, timeout},
};

use super::{
    Access, LinkStatus, MOST_PAUSE, Names, keep_up,
    link::{Command, Link, LinkError},
    random,
    status::Trouble,
    subscribe::{Message, Subscription},
    wire::{Bounds, Value},
};
use crate::{
    clock::Clock,
    limit_report::{Group, MOST_BYTES, Report},
};

/// Time between two exchanges.
const EXCHANGE: Duration = Duration::from_millis(100);
/// Exchanges between two reports of a gateway that let nothing through.
const SIGN_OF_LIFE: u32 = 10;
/// Time without a report after which a gateway is taken for gone.
const GONE_MS: u64 = 3_000;
/// Time without its own reports after which a gateway's subscription is taken for dead.
const DEAF: u64 = 2_000;
/// Longest wait until a report is taken.
const PUBLISH: Duration = Duration::from_millis(500);
/// Most keys that wait for a later report, at some 24 bytes each.
const MOST_LEFT: usize = 262_144;
/// Most gateways that are known at a time.
const MOST_GATEWAYS: usize = 256;
/// Unknown senders that are looked up in one exchange; others later, if they send again.
const MOST_STRANGERS: usize = 64;
/// How long a gateway's own key lives, in milliseconds.
const MEMBER_MS: u32 = 10_000;
/// Bounds of reports that are read.
const REPORTS: Bounds = Bounds {
    text: MOST_BYTES,
    total: MOST_BYTES + 1024,
    // Messages of a client that is no gateway. Redis itself buffers at most 32 MiB for a subscriber.
    over: 64 << 20,
};
/// Bounds of answers to commands that publish.
const ANSWERS: Bounds = Bounds {
    text: 1024,
    total: 64 << 10,
    over: 0,
};

/// The limits and counters of this gateway that others keep too.
pub trait SharedTables: Send + Sync {
    /// What was let through since the last call.
    fn taken(&self) -> Vec<Group>;

    /// Charges what another gateway let through.
    fn owe(&self, group: &Group);

    /// What was counted since the last call, as bytes for the others, from a gateway of this number.
    fn counted(&self, gateway: u64) -> Option<Vec<u8>>;

    /// Counts a report of another gateway, if `is_known` holds for it; returns whether it could be read.
    fn count(&self, bytes: &[u8], is_known: &dyn Fn(u64) -> bool) -> bool;

    /// Notes how many gateways there are, this one included, and whether all others have reported.
    fn meet(&self, gateways: u32, all_reported: bool);
}

/// Exchange of reports between gateways that keep limits together.
pub struct LimitExchange {
    access: Access,
    names: Names,
    limits: String,
    counters: String,
    clock: Arc<dyn Clock>,
    tables: Arc<dyn SharedTables>,
    status: Arc<LinkStatus>,
    gateway: u64,
    /// When each gateway last reported, kept between two sessions.
    known: Mutex<HashMap<u64, u64>>,
}

/// What is known of the other gateways, and what was not sent to them yet.
#[derive(Default)]
struct Round {
    last_seen_ms: HashMap<u64, u64>,
    left: Vec<Group>,
    quiet: u32,
    /// Exchanges since the key of this gateway was written.
    unsigned: u32,
    /// Unknown senders, to be looked up.
    strangers: Vec<u64>,
    /// Messages of unknown senders since the last look-up.
    strange: u64,
}

impl LimitExchange {
    /// Exchange for these tables. Nothing is connected before [`Self::run`].
    pub fn new(
        access: Access,
        names: &Names,
        clock: Arc<dyn Clock>,
        tables: Arc<dyn SharedTables>,
        status: Arc<LinkStatus>,
    ) -> Self {
        Self {
            access,
            names: names.clone(),
            limits: names.limits(),
            counters: names.counters(),
            clock,
            tables,
            status,
            gateway: random(),
            known: Mutex::default(),
        }
    }

    /// Runs until `shutdown` turns true. Task `shared limits`.
    pub async fn run(self, shutdown: watch::Receiver<bool>) {
        let (status, session) = (&self.status, || self.session());
        keep_up("shared limits", status, session, shutdown).await;
    }

    async fn session(&self) -> Result<Infallible, LinkError> {
        let mut round = Round {
            last_seen_ms: std::mem::take(&mut *self.known.lock()),
            ..Round::default()
        };
        let ended = self.exchange(&mut round).await;
        // The number that was known last; nothing more is to be learnt.
        if !round.last_seen_ms.is_empty() {
            self.tables.meet(gateways(&round), false);
        }
        *self.known.lock() = round.last_seen_ms;
        ended
    }

    async fn exchange(&self, round: &mut Round) -> Result<Infallible, LinkError> {
        let mut speaker = self.access.connect(ANSWERS).await?;
        let link = self.access.connect(REPORTS).await?;
        let channels = [self.limits.as_str(), self.counters.as_str()];
        let mut subscription = Subscription::start(link, &channels, REPORTS).await?;
        // What was let through before the subscription is owed by no gateway.
        let _ = self.tables.taken();
        let _ = self.tables.counted(self.gateway);
        let mut own_report_ms = self.clock.now().own_ms;
        round.begin(own_report_ms);
        let mut turns = ticks();
        loop {
            tokio::select! {
                message = subscription.next() => {
                    if self.receive(&message?, round) {
                        own_report_ms = self.clock.now().own_ms;
                    }
                }
                _ = turns.tick() => {
                    let now = self.clock.now().own_ms;
                    if now.saturating_sub(own_report_ms) > DEAF {
                        return Err(LinkError::Timeout);
                    }
                    // Too many at once: those are not owed.
                    self.status.skipped.fetch_add(subscription.lost(), Relaxed);
                    round.forget(now);
                    let all_reported = round.have_all_reported(now);
                    self.tables.meet(gateways(round), all_reported);
                    self.sign(&mut speaker, round).await?;
                    self.look_up(&mut speaker, round).await?;
                    self.publish(&mut speaker, round).await?;
                    if all_reported {
                        self.status.clear("shared limits", self.clock.now().unix_ms);
                    } else {
                        self.status.up.store(false, Relaxed);
                    }
                }
            }
        }
    }

    /// Receives a report; returns whether it is our own.
    fn receive(&self, message: &Message, round: &mut Round) -> bool {
        let Message { channel, bytes } = message;
        if *channel == self.counters.as_bytes() {
            let is_known = |gateway| round.last_seen_ms.contains_key(&gateway);
            if !self.tables.count(bytes, &is_known) {
                self.status.skipped.fetch_add(1, Relaxed);
            }
            return false;
        }
        let Ok(gateway) = Report::sender(bytes) else {
            self.status.skipped.fetch_add(1, Relaxed);
            return false;
        };
        if gateway == self.gateway {
            return true;
        }
        if !round.note_alive(gateway, self.clock.now().own_ms) {
            return false;
        }
        let Ok(report) = Report::decode(bytes) else {
            self.status.skipped.fetch_add(1, Relaxed);
            return false;
        };
        self.status.received.fetch_add(1, Relaxed);
        report
            .groups
            .iter()
            .for_each(|group| self.tables.owe(group));
        false
    }

    /// Writes the key by which others know this gateway.
    async fn sign(&self, speaker: &mut Link, round: &mut Round) -> Result<(), LinkError> {
        if round.unsigned > 0 {
            round.unsigned -= 1;
            return Ok(());
        }
        round.unsigned = SIGN_OF_LIFE;
        let key = self.names.gateway(self.gateway);
        let set = Command::new("SET").key(key).word("1");
        match in_time(speaker, set.word("PX").word(MEMBER_MS.to_string())).await {
            // A Redis that is full still passes on what is published.
            Err(error) if Trouble::of(&error) == Trouble::Full => Ok(()),
            signed => signed.map(drop),
        }
    }

    /// Looks up which of the unknown senders are gateways.
    async fn look_up(&self, speaker: &mut Link, round: &mut Round) -> Result<(), LinkError> {
        let strangers = std::mem::take(&mut round.strangers);
        round.strange = 0;
        if strangers.is_empty() {
            return Ok(());
        }
        let begin = |gateway: &u64| {
            let begin = Command::new("GETRANGE").key(self.names.gateway(*gateway));
            begin.word("0").word("0")
        };
        let asked: Vec<Command> = strangers.iter().map(begin).collect();
        let answers = timeout(PUBLISH, speaker.ask_all(&asked)).await;
        let answers = answers.map_err(|_| LinkError::Timeout)??;
        let now = self.clock.now().own_ms;
        for (gateway, answer) in strangers.into_iter().zip(answers) {
            // Whatever else is under the key, a stranger may have put it there.
            if answer == Value::Text(b"1".to_vec()) {
                round.meet(gateway, now);
            }
        }
        Ok(())
    }

    async fn publish(&self, speaker: &mut Link, round: &mut Round) -> Result<(), LinkError> {
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
        self.status.sent.fetch_add(1, Relaxed);
        Ok(())
    }
}

impl Round {
    /// Begins at `now_ms`: a report is sent at once, so that the others know of this gateway. Gateways
    /// that were known before are waited for, for as long as their pauses between tries.
    fn begin(&mut self, now_ms: u64) {
        self.quiet = SIGN_OF_LIFE;
        let pause = u64::try_from(MOST_PAUSE.as_millis()).unwrap_or_default();
        for seen in self.last_seen_ms.values_mut() {
            *seen = now_ms.saturating_add(pause);
        }
    }

    /// Forgets gateways that have not reported for [`GONE_MS`].
    fn forget(&mut self, now_ms: u64) {
        let is_there = |seen: u64| now_ms.saturating_sub(seen) < GONE_MS;
        self.last_seen_ms.retain(|_, seen| is_there(*seen));
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

    /// Whether all known gateways have reported.
    fn have_all_reported(&self, now_ms: u64) -> bool {
        self.last_seen_ms.values().all(|seen| *seen <= now_ms)
    }

    /// Notes a report of a known gateway, or queues an unknown sender to be looked up; returns whether
    /// the sender is known.
    fn note_alive(&mut self, gateway: u64, now_ms: u64) -> bool {
        if let Some(seen) = self.last_seen_ms.get_mut(&gateway) {
            *seen = now_ms;
            return true;
        }
        let is_new = !self.strangers.contains(&gateway);
        if !is_new || self.last_seen_ms.len() >= MOST_GATEWAYS {
            return false;
        }
        self.strange += 1;
        if self.strangers.len() < MOST_STRANGERS {
            self.strangers.push(gateway);
            return false;
        }
        // Each unknown sender is as likely to be looked up, whichever came first.
        let place = usize::try_from(random() % self.strange).unwrap_or(usize::MAX);
        if let Some(stranger) = self.strangers.get_mut(place) {
            *stranger = gateway;
        }
        false
    }

    /// Takes up a gateway. It learns at the next exchange that this one is there.
    fn meet(&mut self, gateway: u64, now_ms: u64) {
        if self.last_seen_ms.len() < MOST_GATEWAYS {
            self.last_seen_ms.insert(gateway, now_ms);
            self.quiet = SIGN_OF_LIFE;
        }
    }
}

async fn publish(speaker: &mut Link, channel: &str, bytes: Vec<u8>) -> Result<(), LinkError> {
    let publish = Command::new("PUBLISH").word(channel);
    in_time(speaker, publish.word(bytes)).await.map(drop)
}

async fn in_time(speaker: &mut Link, command: Command) -> Result<Value, LinkError> {
    let asked = timeout(PUBLISH, speaker.ask(command)).await;
    asked.map_err(|_| LinkError::Timeout)?
}

fn gateways(round: &Round) -> u32 {
    u32::try_from(round.last_seen_ms.len() + 1).unwrap_or(u32::MAX)
}

fn ticks() -> Interval {
    let mut ticks = interval(EXCHANGE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use super::{GONE_MS, MOST_LEFT, MOST_STRANGERS, Round, gateways};
    use crate::limit_report::{DIGEST, Group, Report};

    #[test]
    fn what_waits_for_a_report_is_bounded_and_the_oldest_goes_first() {
        let mut round = Round::default();
        let mut sent = Vec::new();
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
            sent.extend(report.groups.iter().map(|group| group.limit));
            round.postpone(left);
            let keys = round.left.iter().map(|group| group.keys.len());
            assert!(keys.sum::<usize>() <= MOST_LEFT);
        }
        // Nothing waits for longer than it takes to send all that may wait.
        let recent = sent.iter().rev().take(5);
        assert!(recent.min() > Some(&180), "{sent:?}");
    }

    #[test]
    fn gateways_that_were_there_are_waited_for_but_not_forever() {
        let mut round = Round::default();
        round.begin(0);
        assert!(round.have_all_reported(0));
        round.meet(1, 100);
        round.meet(2, 100);
        assert_eq!((gateways(&round), round.have_all_reported(100)), (3, true));
        // The connection was gone for a minute.
        let now = 60_000;
        round.begin(now);
        assert_eq!((gateways(&round), round.have_all_reported(now)), (3, false));
        round.note_alive(1, now + 10);
        assert!(!round.have_all_reported(now + 10));
        let mut other = Round {
            last_seen_ms: round.last_seen_ms.clone(),
            ..Round::default()
        };
        other.note_alive(2, now + 20);
        assert!(other.have_all_reported(now + 20));
        // The second one does not come back.
        assert!(round.have_all_reported(now + 5_000));
        round.forget(now + 5_000 + GONE_MS);
        assert_eq!(gateways(&round), 1);
    }

    #[test]
    fn names_that_somebody_says_are_no_gateways() {
        let mut round = Round::default();
        for gateway in 0..4000 {
            assert!(!round.note_alive(gateway, 0));
            assert!(!round.note_alive(gateway, 0));
        }
        assert_eq!(gateways(&round), 1);
        assert_eq!(round.strangers.len(), MOST_STRANGERS);
        let late = round.strangers.iter().filter(|gateway| **gateway >= 2000);
        assert!(late.count() > 0);
        round.meet(7, 0);
        assert!(round.note_alive(7, 0));
        assert_eq!(gateways(&round), 2);
    }
}
