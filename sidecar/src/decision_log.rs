//! The decisions that hold now, in the order in which they were made: the numbers that gateways follow.
//!
//! Every decision and every withdrawal gets the next number and is sent to all subscribers. A gateway that
//! was away asks for what came after the last number that it knows, and gets what has not ended since.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use prometheus::IntGauge;
use thornwall_decisions::prefix_set::Prefix;
use tokio::sync::broadcast;

use crate::assessment::{Assessment, Decision, Withdrawal};

/// Entries that are kept; of more, the oldest goes.
pub(crate) const MOST_ENTRIES: usize = 65_536;
/// Events that a subscriber may be behind.
const MOST_BEHIND: usize = 4096;

/// A message to subscribers.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A case came to something.
    Assessment(Assessment),
    /// A decision was made.
    Decision(Decision),
    /// A decision was taken back.
    Withdrawal(Withdrawal),
}

/// A decision, or that it was taken back.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// Holds until its time is over.
    Decision(Decision),
    /// Kept as long as the decision would have held.
    Withdrawal(Withdrawal, u64),
}

impl Entry {
    /// The message to subscribers about the entry.
    pub(crate) fn event(&self) -> Event {
        match self {
            Self::Decision(decision) => Event::Decision(decision.clone()),
            Self::Withdrawal(withdrawal, _) => Event::Withdrawal(withdrawal.clone()),
        }
    }

    const fn until_ms(&self) -> u64 {
        match self {
            Self::Decision(decision) => decision.until_ms,
            Self::Withdrawal(_, until_ms) => *until_ms,
        }
    }
}

/// What an entry is about: subject and site.
type Target = (Prefix, String);

/// Everything that is decided now.
pub(crate) struct DecisionLog {
    held: Mutex<Entries>,
    subscribers: broadcast::Sender<Event>,
    entries: IntGauge,
}

#[derive(Default)]
struct Entries {
    last: u64,
    by_number: BTreeMap<u64, Entry>,
    by_target: HashMap<Target, u64>,
}

impl DecisionLog {
    /// A log with what was decided before.
    pub(crate) fn new(last: u64, decisions: Vec<Decision>, entries: IntGauge) -> Self {
        let mut held = Entries {
            last,
            ..Entries::default()
        };
        for decision in decisions {
            held.put(
                target(&decision),
                decision.number,
                Entry::Decision(decision),
            );
        }
        Self {
            held: Mutex::new(held),
            subscribers: broadcast::channel(MOST_BEHIND).0,
            entries,
        }
    }

    /// Gives a decision its number, and sends it to subscribers.
    pub(crate) fn decide(&self, mut decision: Decision, now_ms: u64) -> Decision {
        let mut held = self.held.lock();
        held.last += 1;
        decision.number = held.last;
        held.put(
            target(&decision),
            decision.number,
            Entry::Decision(decision.clone()),
        );
        self.settle(held, now_ms, Event::Decision(decision.clone()));
        decision
    }

    /// Takes back what is decided; nothing where nothing is.
    pub(crate) fn withdraw(&self, subject: Prefix, site: &str, now_ms: u64) -> Option<Withdrawal> {
        let mut held = self.held.lock();
        let target = (subject, site.to_owned());
        let number = *held.by_target.get(&target)?;
        let Some(Entry::Decision(decision)) = held.by_number.get(&number) else {
            return None;
        };
        let until_ms = decision.until_ms;
        if until_ms <= now_ms {
            return None;
        }
        held.last += 1;
        let withdrawal = Withdrawal {
            number: held.last,
            subject,
            site: target.1.clone(),
            made_ms: now_ms,
            by_operator: true,
        };
        let entry = Entry::Withdrawal(withdrawal.clone(), until_ms);
        held.put(target, withdrawal.number, entry);
        self.settle(held, now_ms, Event::Withdrawal(withdrawal.clone()));
        Some(withdrawal)
    }

    /// The decision about exactly this subject and site that holds now.
    pub(crate) fn current(&self, subject: Prefix, site: &str, now_ms: u64) -> Option<Decision> {
        let held = self.held.lock();
        let number = held.by_target.get(&(subject, site.to_owned()))?;
        match held.by_number.get(number)? {
            Entry::Decision(decision) if decision.until_ms > now_ms => Some(decision.clone()),
            _ => None,
        }
    }

    /// Sends an assessment to subscribers.
    pub(crate) fn announce(&self, assessment: &Assessment) {
        if self.subscribers.receiver_count() > 0 {
            // The last of them may have just left.
            let _ = self.subscribers.send(Event::Assessment(assessment.clone()));
        }
    }

    /// What came after a number and has not ended, and everything from now on, without a gap.
    pub(crate) fn follow(
        &self,
        after: u64,
        now_ms: u64,
    ) -> (Vec<Entry>, broadcast::Receiver<Event>) {
        let held = self.held.lock();
        let subscriber = self.subscribers.subscribe();
        let missed = held.by_number.range(after.saturating_add(1)..);
        let missed = missed.filter(|(_, entry)| entry.until_ms() > now_ms);
        (missed.map(|(_, entry)| entry.clone()).collect(), subscriber)
    }

    /// The event is sent under the lock, so that subscribers get numbers in their order.
    fn settle(&self, mut held: parking_lot::MutexGuard<'_, Entries>, now_ms: u64, event: Event) {
        held.clear(now_ms);
        self.entries
            .set(i64::try_from(held.by_number.len()).unwrap_or(i64::MAX));
        // There may be no subscriber.
        let _ = self.subscribers.send(event);
    }
}

impl Entries {
    fn put(&mut self, target: Target, number: u64, entry: Entry) {
        self.last = self.last.max(number);
        if let Some(before) = self.by_target.insert(target, number) {
            self.by_number.remove(&before);
        }
        self.by_number.insert(number, entry);
    }

    /// Drops what has ended from the oldest on, and the oldest of too many.
    fn clear(&mut self, now_ms: u64) {
        while let Some(oldest) = self.by_number.first_entry() {
            let ended = oldest.get().until_ms() <= now_ms;
            if !ended && self.by_number.len() <= MOST_ENTRIES {
                break;
            }
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((number, entry)) = self.by_number.pop_first() else {
            return;
        };
        let target = match entry {
            Entry::Decision(decision) => target(&decision),
            Entry::Withdrawal(withdrawal, _) => (withdrawal.subject, withdrawal.site),
        };
        if self.by_target.get(&target) == Some(&number) {
            self.by_target.remove(&target);
        }
    }
}

fn target(decision: &Decision) -> Target {
    (decision.subject, decision.site.clone())
}

#[cfg(test)]
mod tests {
    use thornwall_decisions::decision::Action;

    use super::*;
    use crate::assessment::Consequence;

    fn log() -> DecisionLog {
        DecisionLog::new(0, Vec::new(), IntGauge::new("entries", "x").unwrap())
    }

    fn subject(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn about(text: &str, until_ms: u64) -> Decision {
        Decision {
            number: 0,
            subject: subject(text),
            site: String::new(),
            consequence: Consequence::Act(Action::Deny),
            reason: String::new(),
            evidence: String::new(),
            made_ms: 0,
            until_ms,
            request_ids: Vec::new(),
            by_operator: false,
            note: String::new(),
        }
    }

    fn numbers(entries: &[Entry]) -> Vec<u64> {
        let number = |entry: &Entry| match entry {
            Entry::Decision(decision) => decision.number,
            Entry::Withdrawal(withdrawal, _) => withdrawal.number,
        };
        entries.iter().map(number).collect()
    }

    #[test]
    fn who_was_away_gets_what_holds() {
        let log = log();
        for (subject, until) in [("192.0.2.1", 100), ("192.0.2.2", 50), ("192.0.2.3", 100)] {
            log.decide(about(subject, until), 10);
        }
        assert_eq!(numbers(&log.follow(0, 20).0), [1, 2, 3]);
        assert_eq!(numbers(&log.follow(1, 60).0), [3]);
        // A later decision takes the place of the one before.
        log.decide(about("192.0.2.1", 200), 20);
        assert_eq!(numbers(&log.follow(0, 20).0), [2, 3, 4]);
        let withdrawn = log.withdraw(subject("192.0.2.3"), "", 30).unwrap();
        assert_eq!(withdrawn.number, 5);
        assert_eq!(numbers(&log.follow(3, 60).0), [4, 5]);
        assert!(log.withdraw(subject("192.0.2.3"), "", 30).is_none());
        assert!(log.current(subject("192.0.2.3"), "", 30).is_none());
        assert_eq!(log.current(subject("192.0.2.1"), "", 30).unwrap().number, 4);
    }

    #[test]
    fn subscribers_get_everything_from_then_on() {
        let log = log();
        log.decide(about("192.0.2.1", 100), 10);
        let (missed, mut subscriber) = log.follow(0, 10);
        assert_eq!(missed.len(), 1);
        log.decide(about("192.0.2.2", 100), 10);
        let Ok(Event::Decision(received)) = subscriber.try_recv() else {
            panic!("expected a decision");
        };
        assert_eq!(received.number, 2);
        assert!(subscriber.try_recv().is_err());
    }

    #[test]
    fn it_is_bounded() {
        let log = log();
        for number in 0..MOST_ENTRIES + 10 {
            let client = std::net::Ipv4Addr::from_bits(u32::try_from(number).unwrap());
            log.decide(about(&client.to_string(), 100), 10);
        }
        assert_eq!(log.follow(0, 10).0.len(), MOST_ENTRIES);
        assert!(log.current(subject("0.0.0.0"), "", 10).is_none());
        log.decide(about("192.0.2.1", 300), 200);
        assert_eq!(log.follow(0, 200).0.len(), 1);
    }
}
