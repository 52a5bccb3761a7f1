//! What came of cases, on the disk: for people, for training, and for the next start.
//!
//! The file holds the contract's messages as they are sent: what a later version wrote into one is read
//! and answered as it is.
//!
//! A thread of its own writes in batches. A queue that is full drops, and counts: history is no truth,
//! and an assessment must not wait for a disk.

use std::{
    iter,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use prometheus::{IntCounter, IntGauge};
use prost::Message;
use thiserror::Error;
use thornwall_decisions::clock::{Clock, ProcessTime};
use thornwall_proto::v1;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    assessment::{Assessment, Decision, Label, Truth, Withdrawal},
    case::{Case, CaseId},
    config,
    history::file::{File, Stored},
};

mod file;
mod read;

pub(crate) use file::{FileError, Page, Remembered, is_page};
pub(crate) use read::{ReadError, each_kept};

/// Orders that may wait for the thread.
const QUEUE: usize = 16_384;
/// Orders that are taken together.
const MOST_BATCH: usize = 4_096;
/// Time from a failure to the next attempt; what comes meanwhile is not kept.
const RETRY_AFTER_MS: u64 = 1_000;
/// How long the first case of a batch waits for others.
const WAIT: Duration = Duration::from_millis(50);

/// A handle to the history.
#[derive(Clone)]
pub(crate) struct History {
    orders: SyncSender<Order>,
    dropped: IntCounter,
}

/// Counters of the history.
#[derive(Debug, Clone)]
pub struct HistoryMetrics {
    /// Cases that found no room in the queue.
    pub dropped: IntCounter,
    pub failed: IntCounter,
    /// Whether the last write failed.
    pub failing: IntGauge,
}

/// Error: the history does not answer.
#[derive(Debug, Error)]
pub(crate) enum HistoryError {
    /// The queue of the thread is full.
    #[error("the history has too much to do")]
    Busy,
    /// The thread has ended.
    #[error("the history has ended")]
    Ended,
    /// The last write failed, and the file is not open again yet.
    #[error("the disk of the history fails")]
    Failing,
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What the thread is asked for.
enum Order {
    Case(Written),
    Decision(v1::Decision),
    Withdrawal(v1::Withdrawal),
    Proved(CaseId, v1::outcome::Truth),
    Explain(
        CaseId,
        oneshot::Sender<Result<Option<v1::Explanation>, HistoryError>>,
    ),
    Label(
        CaseId,
        v1::Label,
        String,
        oneshot::Sender<Result<Option<v1::Explanation>, HistoryError>>,
    ),
    List(v1::ListRequest, oneshot::Sender<Result<Page, HistoryError>>),
    Stop,
}

impl Order {
    /// Whether a caller awaits the answer.
    const fn is_answered(&self) -> bool {
        !matches!(
            self,
            Self::Case(_) | Self::Decision(_) | Self::Withdrawal(_) | Self::Proved(..)
        )
    }
}

/// A case and what it came to, as the file has it.
struct Written {
    id: CaseId,
    /// When it was assessed.
    made_ms: u64,
    /// A [`v1::Explanation`].
    bytes: Vec<u8>,
}

/// What an earlier process left.
#[derive(Debug)]
pub(crate) struct Inherited {
    /// Names this numbering.
    pub name: String,
    /// A number that is not below any that was given, also where the last ones were not written:
    /// numbers begin at the milliseconds of Unix time, and no process gives a thousand a second.
    pub last: u64,
    /// Decisions that may still hold.
    pub decisions: Vec<Decision>,
    /// Cases of the last week that led to a decision, or that a person labelled.
    pub remembered: Vec<Remembered>,
}

impl History {
    /// Opens the file, and starts the thread `history`.
    pub(crate) fn open(
        path: &Path,
        limits: config::History,
        metrics: HistoryMetrics,
        now_ms: u64,
    ) -> Result<(Self, Inherited, JoinHandle<()>), FileError> {
        let file = File::open(path)?;
        let Stored {
            name,
            last,
            decisions,
            remembered,
        } = file.load(now_ms)?;
        let name = match name {
            Some(name) => name,
            None => file.set_name(&Uuid::new_v4().as_simple().to_string())?,
        };
        let (orders, inbox) = sync_channel(QUEUE);
        let dropped = metrics.dropped.clone();
        let mut writer = Writer {
            path: path.to_path_buf(),
            file: Some(file),
            retry_ms: 0,
            time: ProcessTime::start(),
            limits,
            metrics,
        };
        let thread = thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || writer.run(&inbox))
            .map_err(FileError::Io)?;
        let inherited = Inherited {
            name,
            last: last.max(now_ms),
            decisions: decisions.into_iter().filter_map(readable).collect(),
            remembered,
        };
        Ok((Self { orders, dropped }, inherited, thread))
    }

    /// Keeps what a case came to, and returns it as it is sent; dropped and counted where the queue is full.
    pub(crate) fn keep(&self, case: Case, assessment: Assessment) -> v1::Assessment {
        let (id, made_ms) = (case.id, assessment.made_ms);
        let kept = v1::Explanation {
            case: Some(case.into()),
            assessment: Some(assessment.into()),
            ..v1::Explanation::default()
        };
        // Memory that one thread takes and another gives back is dear: only bytes change hands.
        let bytes = kept.encode_to_vec();
        self.offer(Order::Case(Written { id, made_ms, bytes }));
        kept.assessment.unwrap_or_default()
    }

    /// Keeps a decision, so that its number is not given again.
    pub(crate) fn decided(&self, decision: Decision) {
        self.offer(Order::Decision(decision.into()));
    }

    /// Keeps that a decision was taken back.
    pub(crate) fn withdrawn(&self, withdrawal: Withdrawal) {
        self.offer(Order::Withdrawal(withdrawal.into()));
    }

    /// Keeps what proved true about the client of a case.
    pub(crate) fn proved(&self, id: CaseId, truth: Truth) {
        self.offer(Order::Proved(id, truth.into()));
    }

    /// A case and what it came to.
    pub(crate) async fn explain(
        &self,
        id: CaseId,
    ) -> Result<Option<v1::Explanation>, HistoryError> {
        self.ask(|answer| Order::Explain(id, answer)).await
    }

    /// Stores the label that a person gave; the case as it is then.
    pub(crate) async fn label(
        &self,
        id: CaseId,
        label: Label,
        note: String,
    ) -> Result<Option<v1::Explanation>, HistoryError> {
        self.ask(|answer| Order::Label(id, label.into(), note, answer))
            .await
    }

    /// A page of cases.
    pub(crate) async fn list(&self, request: v1::ListRequest) -> Result<Page, HistoryError> {
        self.ask(|answer| Order::List(request, answer)).await
    }

    /// Ends the thread once it has written what it was given.
    pub(crate) fn stop(&self) {
        // A thread that is gone has stopped.
        let _ = self.orders.send(Order::Stop);
    }

    fn offer(&self, order: Order) {
        if let Err(TrySendError::Full(_)) = self.orders.try_send(order) {
            self.dropped.inc();
        }
    }

    async fn ask<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, HistoryError>>) -> Order,
    ) -> Result<T, HistoryError> {
        let (answer, answered) = oneshot::channel();
        match self.orders.try_send(order(answer)) {
            Ok(()) => answered.await.unwrap_or(Err(HistoryError::Ended)),
            Err(TrySendError::Full(_)) => Err(HistoryError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(HistoryError::Ended),
        }
    }
}

/// A decision of the file, unless it is about something that no gateway could act on.
fn readable(kept: v1::Decision) -> Option<Decision> {
    let number = kept.number;
    let read = Decision::try_from(kept);
    read.inspect_err(|error| log::warn!("a kept decision is unreadable; number={number} {error}"))
        .ok()
}

struct Writer {
    path: PathBuf,
    /// Nothing after a failure, until it can be opened again.
    file: Option<File>,
    /// When to try that next.
    retry_ms: u64,
    time: ProcessTime,
    limits: config::History,
    metrics: HistoryMetrics,
}

impl Writer {
    #[expect(clippy::disallowed_methods, reason = "its thread is its own")]
    fn run(&mut self, inbox: &Receiver<Order>) {
        let mut batch = Vec::new();
        loop {
            let first = inbox.recv().unwrap_or(Order::Stop);
            if !first.is_answered() {
                // Senders have no thread to wake meanwhile, which would cost more than the call.
                thread::sleep(WAIT);
            }
            let others = inbox.try_iter().take(MOST_BATCH);
            for order in iter::once(first).chain(others) {
                if order.is_answered() {
                    self.write(&mut batch);
                }
                match order {
                    Order::Stop => return,
                    order if order.is_answered() => self.answer(order),
                    order => batch.push(order),
                }
            }
            self.write(&mut batch);
        }
    }

    /// Answers an order; callers that left get none.
    fn answer(&self, order: Order) {
        match order {
            Order::Explain(id, answer) => {
                let _ = answer.send(self.ask(|file| file.explain(id)));
            }
            Order::Label(id, label, note, answer) => {
                let _ = answer.send(self.ask(|file| file.label(id, label, note)));
            }
            Order::List(request, answer) => {
                let _ = answer.send(self.ask(|file| file.list(&request)));
            }
            Order::Case(_)
            | Order::Decision(_)
            | Order::Withdrawal(_)
            | Order::Proved(..)
            | Order::Stop => {}
        }
    }

    fn ask<T>(
        &self,
        question: impl FnOnce(&File) -> Result<T, FileError>,
    ) -> Result<T, HistoryError> {
        let file = self.file.as_ref().ok_or(HistoryError::Failing)?;
        Ok(question(file)?)
    }

    fn write(&mut self, batch: &mut Vec<Order>) {
        let now_ms = self.time.now().own_ms;
        let waits = self.file.is_none() && now_ms < self.retry_ms;
        if batch.is_empty() {
            return;
        }
        if waits {
            self.metrics.dropped.inc_by(batch.len() as u64);
            batch.clear();
            return;
        }
        match self.try_to_write(batch) {
            Ok(()) => {
                if self.metrics.failing.get() == 1 {
                    log::info!("history is written again");
                }
                self.metrics.failing.set(0);
            }
            Err(error) => {
                self.metrics.failed.inc();
                self.metrics.dropped.inc_by(batch.len() as u64);
                if self.metrics.failing.get() == 0 {
                    log::error!("history is not written; error={error}");
                }
                self.metrics.failing.set(1);
                // A file that failed takes nothing more before it is opened again.
                self.file = None;
                self.retry_ms = now_ms + RETRY_AFTER_MS;
            }
        }
        batch.clear();
    }

    fn try_to_write(&mut self, batch: &[Order]) -> Result<(), FileError> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(&self.path)?,
        };
        self.file.insert(file).write(batch, self.limits)
    }
}
