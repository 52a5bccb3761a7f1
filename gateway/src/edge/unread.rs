//! Answers that nobody takes in: what they may hold of memory, in all and of one client.
//!
//! Pingora reads some ten pieces of 64 KiB ahead of a client, and can be told neither to read fewer nor
//! smaller ones. As long as all of that is below the limits, a client may pause for as long as the edge
//! lets it; beyond them, answers that have stood still end, those of whoever has most first.

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use slab::Slab;
use thornwall_detectors::address::subscriber;
use tokio::{select, sync::Notify, task_local};

use super::{Edge, connection::Connection, ending::Ending, limits::Limits, watch::Tick};

/// What an answer holds at most: measured, with what its task takes.
const HELD: u64 = 768 << 10;

/// Shorter ones hold no more than any request, and are not looked at.
const LARGE: u64 = 64 << 10;

/// Between two looks, in milliseconds.
const SECOND: Tick = 1000;

/// A connection over which less goes in a second stands still.
const STILL_BYTES: u64 = 4 << 10;

/// Points of an answer that has stood still: two looks, a second apart, where its connection did, and
/// eight where only its stream of HTTP/2 did, which passes on up to 256 KiB at once.
const STILL: u32 = 8;
const STILL_CONNECTION: u32 = 4;

task_local! {
    /// Told where the running request is to end.
    static STOP: Arc<Notify>;
}

/// A stream of HTTP/2.
#[derive(Debug, Clone)]
pub(super) struct Stream(Arc<Notify>);

impl Stream {
    /// That of the running request, where it is one.
    fn running() -> Option<Self> {
        STOP.try_with(|stop| Self(Arc::clone(stop))).ok()
    }

    /// Has it reset.
    pub(super) fn stop(&self) {
        self.0.notify_one();
    }
}

/// Runs a request of HTTP/2 unless its answer stands still and has to end.
pub(super) async fn guard(edge: &Edge, request: impl Future<Output = ()>) {
    let stop = Arc::<Notify>::default();
    select! {
        biased;
        () = STOP.scope(Arc::clone(&stop), request) => {}
        () = stop.notified() => edge.metrics.stream_reset(Ending::Unread),
    }
}

/// Large answers that are under way.
#[derive(Debug, Default)]
pub struct UnreadAnswers(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    answers: Slab<Entry>,
    looked: Tick,
}

#[derive(Debug)]
struct Entry {
    client: IpAddr,
    connection: Arc<Connection>,
    /// Where the connection carries others.
    stream: Option<Stream>,
    passed: Arc<AtomicU64>,
    seen: Seen,
    still: u32,
}

/// What had moved when it was looked at last.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    passed: u64,
    sent: u64,
}

/// An answer that counts as long as this is there.
#[derive(Debug)]
struct UnreadAnswer {
    answers: Arc<UnreadAnswers>,
    place: usize,
    passed: Arc<AtomicU64>,
}

/// One that is to end.
pub(super) struct Victim {
    pub(super) connection: Arc<Connection>,
    pub(super) stream: Option<Stream>,
}

/// How far an answer's body has come.
#[derive(Debug)]
pub struct AnswerBody {
    /// Whether it may be a large one.
    is_large: bool,
    passed: u64,
    entry: Option<UnreadAnswer>,
}

impl AnswerBody {
    /// One of this length, where that is known.
    pub fn new(length: Option<u64>) -> Self {
        Self {
            is_large: length.is_none_or(|length| length > LARGE),
            passed: 0,
            entry: None,
        }
    }

    /// So many more bytes go on to a client.
    pub fn passes(
        &mut self,
        bytes: usize,
        answers: &Arc<UnreadAnswers>,
        client: IpAddr,
        connection: &Arc<Connection>,
    ) {
        self.passed += bytes as u64;
        match &self.entry {
            Some(entry) => entry.passed.store(self.passed, Relaxed),
            // From its first piece on: the next ones may wait behind other streams.
            None if self.is_large && bytes > 0 => {
                self.entry = Some(answers.enter(client, connection))
            }
            None => {}
        }
    }
}

impl UnreadAnswers {
    fn enter(self: &Arc<Self>, client: IpAddr, connection: &Arc<Connection>) -> UnreadAnswer {
        let passed = Arc::<AtomicU64>::default();
        let place = self.0.lock().answers.insert(Entry {
            client: subscriber(client),
            connection: Arc::clone(connection),
            stream: Stream::running(),
            passed: Arc::clone(&passed),
            seen: Seen::default(),
            still: 0,
        });
        UnreadAnswer {
            answers: Arc::clone(self),
            place,
            passed,
        }
    }

    /// Looks at all of them, where a second has passed; those that are to end.
    pub(super) fn look(&self, now: Tick, limits: &Limits) -> Vec<Victim> {
        let (in_all, of_client) = (limits.unread / HELD, limits.unread_of_client / HELD);
        let mut entries = self.0.lock();
        let mut total = entries.answers.len() as u64;
        if total <= in_all.min(of_client) || now.wrapping_sub(entries.looked) < SECOND {
            return Vec::new();
        }
        entries.looked = now;
        let entries = &mut entries.answers;
        let mut held: HashMap<IpAddr, u64> = HashMap::new();
        for (_, entry) in entries.iter_mut() {
            entry.look();
            *held.entry(entry.client).or_default() += 1;
        }
        let still = entries.iter().filter(|(_, entry)| entry.still >= STILL);
        let mut still: Vec<&Entry> = still.map(|(_, entry)| entry).collect();
        still.sort_by_key(|entry| Reverse((held.get(&entry.client).copied(), entry.still)));
        let mut victims = Vec::new();
        for entry in still {
            let held = held.entry(entry.client).or_default();
            if total > in_all || *held > of_client {
                total -= 1;
                *held -= 1;
                victims.push(Victim {
                    connection: Arc::clone(&entry.connection),
                    stream: entry.stream.clone(),
                });
            }
        }
        victims
    }
}

impl Entry {
    fn look(&mut self) {
        let now = Seen {
            passed: self.passed.load(Relaxed),
            sent: self.connection.watch.sent_bytes(),
        };
        let sent = now.sent.wrapping_sub(self.seen.sent);
        let stands = self.stream.is_some() || self.connection.watch.awaits_room();
        self.still = match (stands, sent < STILL_BYTES) {
            (false, _) => 0,
            (true, true) => self.still + STILL_CONNECTION,
            // Others of the connection may move.
            (true, false) if self.stream.is_some() && now.passed == self.seen.passed => {
                self.still + 1
            }
            (true, false) => 0,
        };
        self.seen = now;
    }
}

impl Drop for UnreadAnswer {
    fn drop(&mut self) {
        self.answers.0.lock().answers.remove(self.place);
    }
}
