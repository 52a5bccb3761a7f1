//! The task of one alert: receives notices, sends messages, and keeps what waits on the disk.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use thornwall_decisions::clock::{Clock, Moment, ProcessTime};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};

use super::{
    batcher::{Batcher, Fate, Outgoing, Taken},
    channel::{Channel, Failure},
    metrics::Counts,
    notice::{Notice, timestamp},
    outbox::{DeadLetter, DeadLetters, Outbox},
};
use crate::shutdown::stopped;

/// Changes that are written together: those of this time. A process that is killed loses no more.
const SAVE_AFTER_MS: u64 = 200;
/// The wait before another try to write.
const SAVE_AGAIN_AFTER_MS: u64 = 5_000;
/// Longest wait for a message under way when the process ends. It is sent again where it takes longer.
const PARTING: Duration = Duration::from_secs(3);
/// Longest sleep, where nothing is due.
const LONGEST_SLEEP_MS: u64 = 3_600_000;

/// Unix time at the start, and from then on a clock that never jumps: what waits does so by it, and
/// still means something to the next process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steady {
    time: ProcessTime,
    start_ms: u64,
}

impl Steady {
    /// One that begins now.
    pub(super) fn new(time: ProcessTime) -> Self {
        let now = time.now();
        Self {
            time,
            start_ms: now.unix_ms.saturating_sub(now.own_ms),
        }
    }

    /// This moment; its own time is the steady one.
    pub(super) fn now(self) -> Moment {
        let now = self.time.now();
        Moment {
            own_ms: self.start_ms + now.own_ms,
            unix_ms: now.unix_ms,
        }
    }
}

/// One alert's parts.
pub(super) struct Task {
    pub(super) name: String,
    pub(super) batcher: Batcher,
    pub(super) channel: Arc<Channel>,
    pub(super) inbox: mpsc::Receiver<Notice>,
    pub(super) missed: Arc<AtomicU64>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) dead: Arc<DeadLetters>,
    pub(super) counts: Counts,
    pub(super) clock: Steady,
    pub(super) saving: Saving,
}

/// State of the file.
#[derive(Debug, Default)]
pub(super) struct Saving {
    written: Vec<u8>,
    due_ms: Option<u64>,
    is_failing: bool,
}

type Sending = JoinHandle<Result<(), Failure>>;

impl Task {
    /// Runs until the process is to end, and writes down what still waits.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut sending: Option<Sending> = None;
        loop {
            let now = self.clock.now();
            if sending.is_none() {
                sending = self.begin(now);
            }
            if self.saving.due_ms.is_some_and(|due| due <= now.own_ms) {
                self.save().await;
            }
            let wait = self.wait_ms(sending.is_some());
            tokio::select! {
                received = self.inbox.recv() => match received {
                    Some(notice) => self.take(notice),
                    None => break,
                },
                sent = ended(&mut sending) => self.settle(sent).await,
                () = sleep(Duration::from_millis(wait)) => {}
                () = stopped(&mut stop) => break,
            }
        }
        self.inbox.close();
        while let Some(notice) = self.inbox.recv().await {
            self.take(notice);
        }
        if sending.is_some()
            && let Ok(sent) = timeout(PARTING, ended(&mut sending)).await
        {
            self.settle(sent).await;
        }
        self.save().await;
    }

    fn take(&mut self, notice: Notice) {
        match self.batcher.take(notice, self.clock.now().own_ms) {
            Taken::New => self.counts.taken.inc(),
            Taken::Repeated => self.counts.deduplicated.inc(),
        }
        self.changed();
    }

    /// Begins to send what is due.
    fn begin(&mut self, now: Moment) -> Option<Sending> {
        let missed = self.missed.swap(0, Ordering::Relaxed);
        self.batcher.missed(missed, now.own_ms);
        let held = self.batcher.hold(now.own_ms);
        self.counts.held.inc_by(held);
        let message = self.batcher.next(now.own_ms);
        if missed > 0 || held > 0 || message.is_some() {
            self.changed();
        }
        let (message, channel) = (message?, Arc::clone(&self.channel));
        Some(tokio::spawn(async move {
            channel.send(&message, now.unix_ms).await
        }))
    }

    /// Notes the outcome of a message.
    async fn settle(&mut self, sent: Result<(), Failure>) {
        self.changed();
        let Err(failure) = sent else {
            self.counts.sent.inc();
            self.batcher.delivered();
            return;
        };
        self.counts.failed.inc();
        let (name, why) = (&self.name, &failure.why);
        let now_ms = self.clock.now().own_ms;
        match self
            .batcher
            .failed(failure.retry_after, now_ms, rand::random())
        {
            Fate::Again => {
                self.counts.retried.inc();
                log::warn!("alert is tried again; alert={name} why={why:?}");
            }
            Fate::Dead(given_up) => {
                log::error!("alert is given up; alert={name} why={why:?}");
                self.give_up(given_up, failure.why).await;
                self.counts.dead.inc();
            }
        }
    }

    async fn give_up(&self, given_up: Outgoing, why: String) {
        let letter = DeadLetter {
            alert: self.name.clone(),
            given_up: timestamp(self.clock.now().unix_ms),
            tries: given_up.tries,
            why,
            message: given_up.message,
        };
        let dead = Arc::clone(&self.dead);
        if let Err(error) = on_disk(move || dead.add(&letter)).await {
            self.counts.disk.inc();
            log::error!(
                "dead letter is not written; alert={} error={error}",
                self.name
            );
        }
    }

    fn changed(&mut self) {
        let soon = self.clock.now().own_ms + SAVE_AFTER_MS;
        self.saving.due_ms.get_or_insert(soon);
    }

    async fn save(&mut self) {
        self.saving.due_ms = None;
        let encoded = serde_json::to_vec(self.batcher.state()).unwrap_or_default();
        if encoded == self.saving.written {
            return;
        }
        let (outbox, bytes) = (Arc::clone(&self.outbox), encoded.clone());
        match on_disk(move || outbox.save(&bytes)).await {
            Ok(()) => {
                self.saving.written = encoded;
                self.saving.is_failing = false;
            }
            Err(error) => {
                self.counts.disk.inc();
                if !self.saving.is_failing {
                    log::error!(
                        "waiting alerts are not written; alert={} error={error}",
                        self.name
                    );
                }
                self.saving.is_failing = true;
                self.saving.due_ms = Some(self.clock.now().own_ms + SAVE_AGAIN_AFTER_MS);
            }
        }
    }

    /// For how long there is nothing to do unless something happens.
    fn wait_ms(&self, is_sending: bool) -> u64 {
        let now_ms = self.clock.now().own_ms;
        let message = self.batcher.due_ms(now_ms).filter(|_| !is_sending);
        let due = [message, self.saving.due_ms].into_iter().flatten().min();
        due.map_or(LONGEST_SLEEP_MS, |due| due.saturating_sub(now_ms))
    }
}

/// The outcome of the message under way; never where there is none.
async fn ended(sending: &mut Option<Sending>) -> Result<(), Failure> {
    let Some(under_way) = sending else {
        return std::future::pending().await;
    };
    let sent = under_way.await;
    *sending = None;
    sent.unwrap_or_else(|_| Err(Failure::lasting("sending it failed within".to_owned())))
}

async fn on_disk(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}
