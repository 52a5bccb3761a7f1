//! Answers that their clients do not take in: what they may hold of memory, in all and of one
//! client.
//!
//! Pingora reads some ten pieces of 64 KiB ahead of a client, and can be set neither to read fewer
//! nor smaller ones. An answer holds them where its origin has more to say that is not read, or
//! where its client's connection has no room; one that its origin writes slowly holds nothing, and
//! does not count. As long as all that hold are below the limits, a client may pause for as long as
//! the edge lets it; beyond them, those end over whose connection nothing has gone, of the client
//! that has most first.

use std::{
    cmp::Reverse,
    collections::{HashMap, hash_map},
    fmt,
    net::IpAddr,
    os::fd::RawFd,
    sync::Arc,
};

use nix::sys::socket::{MsgFlags, recv};
use parking_lot::Mutex;
use slab::Slab;
use thornwall_detectors::address::subscriber;
use tokio::{select, sync::Notify, task_local};

use crate::{
    ending::Ending,
    limits::{HELD, Limits, Tick},
};

/// Shorter ones hold no more than any request, and are not looked at.
const LARGE: u64 = 64 << 10;

/// Between two looks, in milliseconds.
const SECOND: Tick = 1000;

/// A connection over which less goes between two looks stands still: answers to PING are no progress.
const STILL_BYTES: u64 = 1 << 10;

/// Looks at which a connection has stood still. The system takes in 64 KiB at once (`TCP_NOTSENT_LOWAT`), so
/// that a line of 64 kbit/s moves each eight seconds.
const STILL: u32 = 8;

task_local! {
    /// Notified where the running request is to end.
    static STOP: Arc<Notify>;
}

/// A stream of HTTP/2.
#[derive(Debug, Clone)]
pub(crate) struct Stream(Arc<Notify>);

impl Stream {
    /// That of the running request, where it is one.
    fn running() -> Option<Self> {
        STOP.try_with(|stop| Self(Arc::clone(stop))).ok()
    }

    /// Has it reset.
    pub(crate) fn stop(&self) {
        self.0.notify_one();
    }
}

/// Runs a request of HTTP/2 unless its answer stands still and has to end; whether it ended by itself.
pub(crate) async fn guard(request: impl Future<Output = ()>) -> bool {
    let stop = Arc::<Notify>::default();
    select! {
        biased;
        () = STOP.scope(Arc::clone(&stop), request) => true,
        () = stop.notified() => false,
    }
}

/// The connection that an answer goes over.
pub(crate) trait Recipient: fmt::Debug + Send + Sync {
    /// Bytes that have gone over it.
    fn sent_bytes(&self) -> u64;

    /// Whether a write found no room.
    fn awaits_room(&self) -> bool;

    /// Ends it; whether it was not to be ended before.
    fn end(&self, ending: Ending) -> bool;
}

/// Large answers that are under way.
#[derive(Debug, Default)]
pub(crate) struct UnreadAnswers(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    answers: Slab<Entry>,
    by_client: HashMap<IpAddr, u64>,
    looked: Tick,
}

#[derive(Debug)]
struct Entry {
    /// `None` where the connection may carry many clients.
    client: Option<IpAddr>,
    connection: Arc<dyn Recipient>,
    /// Where the connection carries others.
    stream: Option<Stream>,
    /// The connection that the answer comes over, where it carries no other.
    origin: Option<RawFd>,
    /// What had gone over the client's connection at the last look.
    sent: u64,
    still: u32,
}

/// An answer that counts as long as this is there.
#[derive(Debug)]
struct UnreadAnswer {
    answers: Arc<UnreadAnswers>,
    place: usize,
}

/// A large answer that is to end.
pub(crate) struct Victim {
    pub(crate) connection: Arc<dyn Recipient>,
    pub(crate) stream: Option<Stream>,
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    is_large: bool,
    entry: Option<UnreadAnswer>,
}

impl AnswerBody {
    /// The body of an answer of this length, where that is known.
    pub(crate) fn new(length: Option<u64>) -> Self {
        Self {
            is_large: length.is_none_or(|length| length > LARGE),
            entry: None,
        }
    }

    /// A piece goes on to a client: from the first one on it counts, as the next ones may wait behind
    /// other streams.
    pub(crate) fn passes<R: Recipient + 'static>(
        &mut self,
        answers: &Arc<UnreadAnswers>,
        client: impl FnOnce() -> Option<IpAddr>,
        connection: &Arc<R>,
        origin: Option<RawFd>,
    ) {
        if self.entry.is_none() {
            let connection: Arc<dyn Recipient> = Arc::<R>::clone(connection);
            self.entry = Some(answers.enter(client(), connection, origin));
        }
    }

    /// Whether it may be a large one.
    pub(crate) const fn is_large(&self) -> bool {
        self.is_large
    }
}

impl UnreadAnswers {
    fn enter(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        connection: Arc<dyn Recipient>,
        origin: Option<RawFd>,
    ) -> UnreadAnswer {
        let client = client.map(subscriber);
        let mut entries = self.0.lock();
        if let Some(client) = client {
            *entries.by_client.entry(client).or_default() += 1;
        }
        let place = entries.answers.insert(Entry {
            client,
            connection,
            stream: Stream::running(),
            origin,
            sent: 0,
            still: 0,
        });
        UnreadAnswer {
            answers: Arc::clone(self),
            place,
        }
    }

    /// Whether a client's would be within the bound, if none of them were taken in.
    pub(crate) fn has_room(&self, client: IpAddr, limits: &Limits) -> bool {
        let entries = self.0.lock();
        let under_way = entries.by_client.get(&subscriber(client)).copied();
        under_way.unwrap_or_default() < limits.unread_of_client / HELD
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().answers.len()
    }

    /// Looks at all of them, where a second has passed; those that are to end.
    pub(crate) fn look(&self, now: Tick, limits: &Limits) -> Vec<Victim> {
        let (in_all, of_client) = (limits.unread / HELD, limits.unread_of_client / HELD);
        let mut entries = self.0.lock();
        let is_due = now.wrapping_sub(entries.looked) >= SECOND;
        if entries.answers.len() as u64 <= in_all.min(of_client) || !is_due {
            return Vec::new();
        }
        entries.looked = now;
        let (mut total, mut held) = (0, HashMap::<Option<IpAddr>, u64>::new());
        let mut still = Vec::new();
        for (_, entry) in &mut entries.answers {
            entry.look();
            if entry.holds() {
                total += 1;
                *held.entry(entry.client).or_default() += 1;
                still.extend((entry.still >= STILL).then_some(&*entry));
            }
        }
        // Connections that may carry many clients come last.
        let most = |entry: &Entry| entry.client.and_then(|_| held.get(&entry.client).copied());
        still.sort_by_key(|entry| Reverse((most(entry), entry.still)));
        let mut victims = Vec::new();
        for entry in still {
            let held = held.entry(entry.client).or_default();
            if total > in_all || (entry.client.is_some() && *held > of_client) {
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
        let sent = self.connection.sent_bytes();
        let moved = sent.wrapping_sub(self.sent) >= STILL_BYTES;
        self.still = if moved { 0 } else { self.still + 1 };
        self.sent = sent;
    }

    /// Whether pieces wait for the client.
    fn holds(&self) -> bool {
        self.connection.awaits_room() || self.origin.is_some_and(has_more)
    }
}

/// Whether bytes have come over a connection that have not been read: Pingora reads what it has
/// room for.
fn has_more(origin: RawFd) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(origin, &mut [0], flags).is_ok_and(|bytes| bytes > 0)
}

impl Drop for UnreadAnswer {
    fn drop(&mut self) {
        let mut entries = self.answers.0.lock();
        let Some(client) = entries.answers.remove(self.place).client else {
            return;
        };
        if let hash_map::Entry::Occupied(mut count) = entries.by_client.entry(client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
