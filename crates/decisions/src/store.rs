//! The one store behind everything that is decided.
//!
//! One thread owns it. It takes changes from a bounded queue, applies them to the table that requests
//! see, writes them to the disk a batch at a time, and only then confirms that they are kept. Requests
//! never wait for it: they read the table, and what they propose is dropped, and counted, where the
//! queue is full.
//!
//! ```text
//!  filters ── propose ──┐                       ┌─> Decisions (memory, what requests see)
//!  operators ── write ──┼─> queue ─> the thread ┼─> Disk (redb)
//!  feeds ── list ───────┤                       └─> unsent ─> the shared store
//!  the shared store ────┘
//! ```

mod disk;
mod late;
mod metrics;
mod query;
pub mod record;
pub mod shared;
mod writer;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
};

use self::writer::Writer;
pub use self::{
    disk::DiskError,
    metrics::StoreMetrics,
    query::{Page, Query},
};
use crate::{
    clock::Clock,
    decision::{Change, Decision, DecisionKey, Source},
    decisions::Decisions,
    prefix_set::Prefix,
};

/// Changes that may wait for the thread.
const QUEUE: usize = 65_536;

/// What the store is made with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most decisions that are kept, besides what feeds list.
    pub capacity: usize,
    /// Whether every change is also sent to a shared store.
    pub shared: bool,
    /// Whether only decisions about networks of neighbours are kept on the disk, and sent to a shared
    /// store: those about single addresses live in memory alone, and end with the process.
    pub coarse_only: bool,
}

/// A handle to the store; clones are the same store.
#[derive(Clone)]
pub struct Store {
    orders: SyncSender<Order>,
    decisions: Arc<Decisions>,
    metrics: StoreMetrics,
}

/// What the thread is asked for.
enum Order {
    /// Note, from now on, which entries the shared store has.
    BeginResync { done: Done<()> },
    /// Close the file; another process opens it.
    Close { done: Done<()> },
    /// Settle what the shared store turned out not to have.
    EndResync { missing: Missing, done: Done<usize> },
    /// Replace what one source lists.
    List { source: Source, listed: Listed },
    /// Open the file, and take up what is in it.
    Open {
        path: PathBuf,
        done: Done<Result<Loaded, DiskError>>,
    },
    /// Let what one source lists end at another time.
    Prolong { source: Source, until_ms: u64 },
    /// Read decisions.
    Read { query: Query, done: Done<Page> },
    /// Note how far the shared store was followed.
    Note { position: Position },
    /// Read how far the shared store was followed.
    Position { done: Done<Option<Position>> },
    /// These changes were sent to the shared store.
    Sent { keys: Vec<(DecisionKey, u64)> },
    /// End.
    Stop,
    /// Read the changes that are to be sent to the shared store.
    Unsent {
        most: usize,
        done: Done<Vec<Unsent>>,
    },
    /// Notify the watcher of every decision that is made from now on.
    Watch { watcher: Watcher },
    /// Make changes.
    Write {
        changes: Vec<Change>,
        from: ChangeOrigin,
        done: Option<Done<Receipt>>,
    },
}

/// Callback for an answer, called on the store's thread.
pub type Done<T> = Box<dyn FnOnce(T) + Send>;

/// Callback for every decision that is made, called on the store's thread: it must not wait.
pub type Watcher = Box<dyn Fn(&Decision) + Send>;

/// Where changes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeOrigin {
    /// This gateway.
    Here,
    /// The shared store, one after the other as it came to know of them.
    Shared,
    /// The shared store, as it is now: what was missed in between counts no more.
    Snapshot,
}

/// What to make of entries that the shared store turns out not to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// They were withdrawn while this gateway was not connected: remove them here.
    Remove,
    /// It has lost them: send them again.
    Resend,
}

/// How far the shared store was followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The epoch (life) of the shared store that the position belongs to.
    pub epoch: String,
    /// The last entry of its stream.
    pub entry: String,
}

/// Result of writing one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// There was no entry to withdraw.
    Absent,
    /// The decision had ended before it was made.
    Ended,
    /// The decision holds.
    Made,
    /// Its subject is on the never-block list.
    Spared,
    /// A decision that counts more, or that is later, stands.
    Superseded,
    /// The entry was removed.
    Withdrawn,
}

/// Results of writing several changes.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// Result of each change, in order.
    pub outcomes: Vec<WriteOutcome>,
    /// Whether they are on the disk.
    pub durable: bool,
}

/// What one feed lists.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// The networks that it lists.
    pub subjects: Vec<Prefix>,
    /// End of their decisions, in milliseconds of Unix time.
    pub until_ms: u64,
}

/// A change that was not sent to the shared store yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsent {
    /// Subject and scope of the change.
    pub key: DecisionKey,
    /// Its number, for [`Store::sent`].
    pub number: u64,
    /// What is decided now; nothing where the entry was taken away.
    pub decision: Option<Decision>,
}

/// What was in a file when it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Decisions that hold.
    pub decisions: usize,
    /// Records that could not be read.
    pub broken: u64,
    /// Where the file lies that could not be used, if there was one.
    pub set_aside: Option<PathBuf>,
}

impl Store {
    /// Starts the thread `store`. Nothing is kept on the disk before [`Self::open`].
    pub fn start(
        decisions: Arc<Decisions>,
        clock: Arc<dyn Clock>,
        options: Options,
        metrics: StoreMetrics,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (orders, inbox) = mpsc::sync_channel(QUEUE);
        let writer = Writer::new(Arc::clone(&decisions), metrics.clone(), clock, options);
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(&inbox))?;
        let store = Self {
            orders,
            decisions,
            metrics,
        };
        Ok((store, thread))
    }

    /// What requests see.
    pub const fn decisions(&self) -> &Arc<Decisions> {
        &self.decisions
    }

    /// What the store counts.
    pub const fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }

    /// Proposes a decision without waiting; where the queue is full it is dropped and counted.
    pub fn propose(&self, decision: Decision) {
        let order = Order::Write {
            changes: vec![Change::Decide(decision)],
            from: ChangeOrigin::Here,
            done: None,
        };
        if let Err(TrySendError::Full(_)) = self.orders.try_send(order) {
            self.metrics.dropped.inc();
        }
    }

    /// Makes changes. `done` is called when they are on the disk, or could not be written; where there
    /// is no room for the order, it is dropped.
    pub fn write(&self, changes: Vec<Change>, from: ChangeOrigin, done: Done<Receipt>) {
        self.offer(Order::Write {
            changes,
            from,
            done: Some(done),
        });
    }

    /// Replaces what one feed, or the predecessor, lists. Waits for room, so no task may call it
    /// among others.
    pub fn list(&self, source: Source, listed: Listed) {
        self.order(Order::List { source, listed });
    }

    /// Lets what a feed lists hold until another time, in milliseconds of Unix time. Waits as
    /// [`Self::list`] does.
    pub fn prolong(&self, source: Source, until_ms: u64) {
        self.order(Order::Prolong { source, until_ms });
    }

    /// Looks up decisions. Where there is no room for the order, `done` is dropped.
    pub fn read(&self, query: Query, done: Done<Page>) {
        self.offer(Order::Read { query, done });
    }

    /// Opens the file of decisions and takes up what is in it.
    pub fn open(&self, path: PathBuf) -> Result<Loaded, DiskError> {
        let (done, answer) = answer();
        self.order(Order::Open { path, done });
        answer.recv().unwrap_or_else(|_| Err(gone().into()))
    }

    /// Closes the file, since another process is to open it. Later changes are left for it beside
    /// the file.
    pub fn close(&self) {
        let (done, answer) = answer();
        self.order(Order::Close { done });
        // A thread that is gone has closed it.
        let _ = answer.recv();
    }

    /// Notifies `watcher` of every decision that is made, or prolonged, from now on.
    pub fn watch(&self, watcher: Watcher) {
        self.order(Order::Watch { watcher });
    }

    /// Reads at most `most` changes that are to be sent to the shared store.
    pub fn unsent(&self, most: usize, done: Done<Vec<Unsent>>) {
        self.offer(Order::Unsent { most, done });
    }

    /// Notes that these changes were sent to the shared store.
    pub fn sent(&self, keys: Vec<(DecisionKey, u64)>) {
        self.offer(Order::Sent { keys });
    }

    /// Begins to note what the shared store has: everything that is written
    /// [`ChangeOrigin::Shared`] or [`ChangeOrigin::Snapshot`].
    pub fn begin_resync(&self, done: Done<()>) {
        self.offer(Order::BeginResync { done });
    }

    /// Settles everything that the shared store turned out not to have since
    /// [`Self::begin_resync`]; `done` receives how many entries that were. Unsent changes stay.
    pub fn end_resync(&self, missing: Missing, done: Done<usize>) {
        self.offer(Order::EndResync { missing, done });
    }

    /// How far the shared store was followed, also by the process before; nothing where it never
    /// was.
    pub fn position(&self, done: Done<Option<Position>>) {
        self.offer(Order::Position { done });
    }

    /// Notes how far the shared store was followed. It is on the disk some time after the changes
    /// are that led there, and never before.
    pub fn note(&self, position: Position) {
        self.offer(Order::Note { position });
    }

    /// Ends the thread once it has done what it was asked for before.
    pub fn stop(&self) {
        self.order(Order::Stop);
    }

    /// Queues an order without waiting, since a task that serves requests must not wait for a disk
    /// that stands still: where the queue is full, the order is dropped, and with it the answer's
    /// sender, by which the waiting task notices.
    fn offer(&self, order: Order) {
        let _ = self.orders.try_send(order);
    }

    /// Queues an order, and waits for room in the queue.
    fn order(&self, order: Order) {
        // Where the thread is gone, the answer's sender is dropped too, by which the caller notices.
        let _ = self.orders.send(order);
    }
}

/// Callback for an order, and the receiver on which its caller waits for the answer.
fn answer<T: Send + 'static>() -> (Done<T>, mpsc::Receiver<T>) {
    let (sender, receiver) = mpsc::sync_channel(1);
    let done = Box::new(move |value| {
        // The caller no longer waits.
        let _ = sender.send(value);
    });
    (done, receiver)
}

fn gone() -> std::io::Error {
    std::io::Error::other("the store has ended")
}

#[cfg(test)]
mod tests;
