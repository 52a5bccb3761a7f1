//! From the local store to the shared one.

use std::{convert::Infallible, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::sleep;

use super::{
    LEAST_PAUSE, MOST_ENTRIES, MOST_PAUSE, SharedStore, ask, entry, jittered,
    link::{Command, Link, LinkError},
    status::Trouble,
    stream::FIELD,
};
use crate::store::Unsent;

/// Changes that are sent at once.
const BATCH: usize = 500;
/// Changes are sent to a replica again with pauses up to this one; then the new master is looked for.
const PATIENT_UNTIL: Duration = Duration::from_secs(1);
/// Pause between two looks for changes.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl SharedStore {
    /// Sends changes of the local store to the shared one, until the connection breaks.
    pub(super) async fn send(&self, mut link: Link) -> Result<Infallible, LinkError> {
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
            let refusals = self.send_all(&mut link, &batch).await?;
            let mut refusal = None;
            let mut sent = Vec::with_capacity(batch.len());
            for (unsent, refused) in batch.into_iter().zip(refusals) {
                match refused {
                    None => sent.push((unsent.key, unsent.number)),
                    refused => refusal = refused,
                }
            }
            self.status.sent.fetch_add(sent.len() as u64, Relaxed);
            self.store.sent(sent);
            self.status.refusing.store(refusal.is_some(), Relaxed);
            let Some(error) = refusal else {
                pause = LEAST_PAUSE;
                continue;
            };
            let trouble = Trouble::of(&error);
            // A replica is read on for some tries: what the others decided has to be known here.
            let stays = trouble == Trouble::ReadOnly && pause < PATIENT_UNTIL;
            if !trouble.is_refusal() && !stays {
                self.status.refusing.store(false, Relaxed);
                return Err(error);
            }
            self.status.note("shared store", &error);
            sleep(jittered(pause)).await;
            pause = MOST_PAUSE.min(pause * 2);
        }
    }

    /// Sends changes, the first commands of all of them at once and then the second ones; returns for
    /// each of them why it was refused, if it was. To send a change twice is harmless.
    async fn send_all(
        &self,
        link: &mut Link,
        batch: &[Unsent],
    ) -> Result<Vec<Option<LinkError>>, LinkError> {
        let mut steps: Vec<_> = batch
            .iter()
            .map(|unsent| self.steps(unsent).into_iter())
            .collect();
        let mut refusals: Vec<Option<LinkError>> = batch.iter().map(|_| None).collect();
        loop {
            let (mut places, mut commands) = (Vec::new(), Vec::new());
            for (place, steps) in steps.iter_mut().enumerate() {
                if refusals[place].is_none()
                    && let Some(command) = steps.next()
                {
                    places.push(place);
                    commands.push(command);
                }
            }
            if commands.is_empty() {
                return Ok(refusals);
            }
            let answers = link.ask_all(&commands).await?;
            for (place, answer) in places.into_iter().zip(answers) {
                refusals[place] = answer.or_refusal().err();
            }
        }
    }

    /// The commands that send one change, in their order.
    ///
    /// Of a decision the key comes first: a gateway that reads the entry finds the key. Of a withdrawal
    /// an entry comes before the key goes and one after: a gateway that looks at all keys meanwhile reads
    /// one of them after it has looked, whether the key was still there or not.
    fn steps(&self, unsent: &Unsent) -> Vec<Command> {
        let key = self.names.decision(&unsent.key);
        let now = self.clock.now().unix_ms;
        let Some(decision) = &unsent.decision else {
            let withdrawal = self.add(&entry::encode_withdrawal(&unsent.key, now));
            let gone = Command::new("DEL").key(key);
            return vec![withdrawal.clone(), gone, withdrawal];
        };
        let left = decision.until_ms.saturating_sub(now);
        if left == 0 {
            // The copies of other gateways have ended, too.
            return Vec::new();
        }
        let value = Command::new("SET")
            .key(key)
            .word(entry::encode_value(decision))
            .word("PX")
            .word(left.to_string());
        vec![value, self.add(&entry::encode_decision(decision))]
    }

    fn add(&self, change: &str) -> Command {
        Command::new("XADD")
            .key(self.names.stream())
            .word("MAXLEN")
            .word("~")
            .word(MOST_ENTRIES.to_string())
            .word("*")
            .word(FIELD)
            .word(change)
    }
}
