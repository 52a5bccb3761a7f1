//! What a connection is doing and since when: written by its task, judged by the sweep.
//!
//! One sweep over all connections four times a second replaces a timer per connection, per request
//! and per read. A connection that has to end is marked and woken; its next read or write fails.

use std::{
    io,
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    task::Context,
};

use atomic_waker::AtomicWaker;

use crate::{
    ending::Ending,
    limits::{Limits, Tick},
};

/// Makes the phases, so that none can be missing where one is read back from its number.
macro_rules! phases {
    ($($(#[$doc:meta])* $phase:ident,)*) => {
        /// What a connection is at.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Phase {
            $($(#[$doc])* $phase,)*
        }

        impl Phase {
            /// All of them, in the order of their numbers.
            const ALL: &[Self] = &[$(Self::$phase),*];
        }
    };
}

phases! {
    /// PROXY header, or the first bytes of TLS.
    Opening,
    Handshake,
    Preface,
    /// Between two HTTP/1 requests.
    Idle,
    /// In the head of an HTTP/1 request.
    Head,
    /// In an HTTP/1 request, whose body may still be on its way in.
    Request,
    /// Another protocol has taken over.
    Upgraded,
    /// HTTP/2, with or without requests.
    Streams,
    /// Held in the tarpit, which has limits of its own.
    Held,
    /// Answered for the last time, while its client still sends: it lingers within limits of its own.
    Leaving,
}

/// A read found nothing; the client is awaited.
const AWAITS_READ: u8 = 1;
/// A write found no room; the client is awaited.
const AWAITS_WRITE: u8 = 2;
/// Bytes of a request's body are still due.
const BODY_DUE: u8 = 4;

/// The watched state of one connection.
#[derive(Debug)]
pub(super) struct Watch {
    phase: AtomicU8,
    since: AtomicU32,
    opened: Tick,
    awaits: AtomicU8,
    received: AtomicU64,
    sent: AtomicU64,
    streams: AtomicU32,
    /// HTTP/2 streams among `streams` that the tarpit holds.
    held: AtomicU32,
    /// Start of an open HTTP/2 header block, plus one; 0 for none.
    block_since: AtomicU32,
    window: Window,
    ending: AtomicU8,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

/// Where the sweep measures pace from; a start of 0 is none yet.
#[derive(Debug, Default)]
struct Window {
    start: AtomicU32,
    received: AtomicU64,
    sent: AtomicU64,
    /// How often a body has been found fast enough.
    passed: AtomicU32,
}

impl Watch {
    pub(super) fn new(now: Tick) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Opening as u8),
            since: AtomicU32::new(now),
            opened: now,
            awaits: AtomicU8::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            streams: AtomicU32::new(0),
            held: AtomicU32::new(0),
            block_since: AtomicU32::new(0),
            window: Window::default(),
            ending: AtomicU8::new(0),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        }
    }

    /// The connection goes on to something else.
    pub(super) fn enter(&self, phase: Phase, now: Tick) {
        self.since.store(now, Relaxed);
        self.window.start.store(0, Relaxed);
        self.window.passed.store(0, Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    fn phase(&self) -> Phase {
        let number = usize::from(self.phase.load(Relaxed));
        Phase::ALL.get(number).copied().unwrap_or(Phase::Opening)
    }

    /// Whether bytes of a request's body are due.
    pub(super) fn set_body_due(&self, due: bool) {
        if due {
            self.awaits.fetch_or(BODY_DUE, Relaxed);
        } else {
            self.awaits.fetch_and(!BODY_DUE, Relaxed);
        }
    }

    /// A header block of HTTP/2 has begun, or is over.
    pub(super) fn set_block_open(&self, open: bool, now: Tick) {
        let since = self.block_since.load(Relaxed);
        if open && since == 0 {
            self.block_since.store(now.saturating_add(1), Relaxed);
        } else if !open && since != 0 {
            self.block_since.store(0, Relaxed);
        }
    }

    /// Counts one more HTTP/2 request under way.
    pub(super) fn stream_begins(&self) {
        self.streams.fetch_add(1, Relaxed);
    }

    /// Counts one HTTP/2 request less.
    pub(super) fn stream_ends(&self, now: Tick) {
        self.since.store(now, Relaxed);
        self.streams.fetch_sub(1, Relaxed);
    }

    /// The tarpit holds one more HTTP/2 request.
    pub(super) fn hold_begins(&self) {
        self.held.fetch_add(1, Relaxed);
    }

    /// It holds one less.
    pub(super) fn hold_ends(&self) {
        self.held.fetch_sub(1, Relaxed);
    }

    /// Since when no request is under way that work is done for: such a connection may be ended
    /// for another client's sake.
    pub(super) fn idle_since(&self) -> Option<Tick> {
        let busy = match self.phase() {
            Phase::Request | Phase::Upgraded => true,
            Phase::Streams => self.streams.load(Relaxed) > self.held.load(Relaxed),
            Phase::Opening | Phase::Handshake | Phase::Preface | Phase::Idle => false,
            Phase::Head | Phase::Held | Phase::Leaving => false,
        };
        (!busy && self.ending().is_none()).then(|| self.since.load(Relaxed))
    }

    /// Whether no HTTP/2 request is under way.
    pub(super) fn is_without_streams(&self) -> bool {
        self.streams.load(Relaxed) == 0
    }

    pub(super) fn received(&self, bytes: usize) {
        // Only the connection's own task writes here, so that no locked instruction is needed.
        let total = self.received.load(Relaxed) + bytes as u64;
        self.received.store(total, Relaxed);
        self.clear(AWAITS_READ);
    }

    pub(super) fn sent(&self, bytes: usize) {
        let total = self.sent.load(Relaxed) + bytes as u64;
        self.sent.store(total, Relaxed);
        self.clear(AWAITS_WRITE);
    }

    /// Bytes that went out so far.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Whether a write waits for room at the client.
    pub(super) fn awaits_room(&self) -> bool {
        self.awaits.load(Relaxed) & AWAITS_WRITE != 0
    }

    fn clear(&self, bit: u8) {
        if self.awaits.load(Relaxed) & bit != 0 {
            self.awaits.fetch_and(!bit, Relaxed);
        }
    }

    /// A read is about to wait.
    pub(super) fn await_read(&self, context: &Context<'_>) {
        self.reader.register(context.waker());
        self.awaits.fetch_or(AWAITS_READ, Relaxed);
    }

    /// A write is about to wait.
    pub(super) fn await_write(&self, context: &Context<'_>) {
        self.writer.register(context.waker());
        self.awaits.fetch_or(AWAITS_WRITE, Relaxed);
    }

    /// Marks the connection as to be ended; tasks that wait for it are woken. Whether it was not
    /// marked before.
    pub(super) fn end(&self, ending: Ending) -> bool {
        let first = (self.ending)
            .compare_exchange(0, ending as u8, Relaxed, Relaxed)
            .is_ok();
        if first {
            self.reader.wake();
            self.writer.wake();
        }
        first
    }

    /// Lets a connection that was to be ended live on for a last answer.
    pub(super) fn pardon(&self) {
        self.ending.store(0, Relaxed);
    }

    /// Why the connection is to be ended, where it is.
    pub(super) fn ending(&self) -> Option<Ending> {
        Ending::from_number(self.ending.load(Relaxed))
    }

    /// An error where the connection is to be ended.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.ending() {
            None => Ok(()),
            Some(ending) => Err(io::Error::new(io::ErrorKind::TimedOut, ending.code())),
        }
    }

    /// Whether the connection has reached its greatest age.
    pub(super) fn is_old(&self, now: Tick, limits: &Limits) -> bool {
        now.wrapping_sub(self.opened) >= limits.max_age
    }

    /// Whether it is between two requests of HTTP/1.
    pub(super) fn is_idle(&self) -> bool {
        self.phase() == Phase::Idle
    }

    /// Whether it is only there so that its client reads its last answer.
    pub(super) fn is_leaving(&self) -> bool {
        self.phase() == Phase::Leaving
    }

    /// Whether its first request, or one that has begun, is still to come.
    pub(super) fn is_opening(&self) -> bool {
        match self.phase() {
            Phase::Opening | Phase::Handshake | Phase::Preface | Phase::Head => true,
            Phase::Idle | Phase::Request | Phase::Upgraded => false,
            Phase::Streams | Phase::Held | Phase::Leaving => false,
        }
    }

    /// Time since the connection went on to what it is at.
    pub(super) fn in_phase(&self, now: Tick) -> Tick {
        now.wrapping_sub(self.since.load(Relaxed))
    }

    /// What the sweep finds overdue.
    pub(super) fn overdue(&self, now: Tick, limits: &Limits) -> Option<Ending> {
        let waited = self.in_phase(now);
        let late = |limit, ending| (waited >= limit).then_some(ending);
        match self.phase() {
            Phase::Opening | Phase::Head => late(limits.header_timeout, Ending::HeaderTimeout),
            Phase::Handshake => late(limits.header_timeout, Ending::TlsHandshake),
            Phase::Preface => late(limits.header_timeout, Ending::H2Preface),
            Phase::Idle => late(limits.idle_timeout, Ending::IdleTimeout),
            Phase::Request => self.pace(now, limits),
            Phase::Upgraded => self.silence(now, limits),
            Phase::Streams => self.overdue_streams(now, waited, limits),
            // They have limits of their own.
            Phase::Held | Phase::Leaving => None,
        }
    }

    fn overdue_streams(&self, now: Tick, waited: Tick, limits: &Limits) -> Option<Ending> {
        let block = self.block_since.load(Relaxed);
        if block != 0 && now.wrapping_sub(block) >= limits.header_timeout {
            return Some(Ending::HeaderTimeout);
        }
        if block == 0 && self.is_without_streams() && waited >= limits.idle_timeout {
            return Some(Ending::IdleTimeout);
        }
        self.pace(now, limits)
    }

    /// An upgraded connection moves in either direction, or it is gone.
    fn silence(&self, now: Tick, limits: &Limits) -> Option<Ending> {
        let (received, sent) = (self.received.load(Relaxed), self.sent.load(Relaxed));
        let start = self.window.start.load(Relaxed);
        let moved = start == 0
            || received != self.window.received.load(Relaxed)
            || sent != self.window.sent.load(Relaxed);
        if moved {
            self.open_window(now, received, sent);
            return None;
        }
        let silent = now.wrapping_sub(start);
        (silent >= limits.websocket_idle).then_some(Ending::IdleTimeout)
    }

    /// A client that is awaited must move; time in which nothing waits for it does not count.
    fn pace(&self, now: Tick, limits: &Limits) -> Option<Ending> {
        let awaits = self.awaits.load(Relaxed);
        let (received, sent) = (self.received.load(Relaxed), self.sent.load(Relaxed));
        let sending = awaits & AWAITS_WRITE != 0;
        let receiving = awaits & (AWAITS_READ | BODY_DUE) == AWAITS_READ | BODY_DUE;
        let start = self.window.start.load(Relaxed);
        if !(sending || receiving) || start == 0 {
            self.open_window(now, received, sent);
            return None;
        }
        let waited = now.wrapping_sub(start);
        if waited < limits.body_timeout {
            return None;
        }
        let (moved, least, stalled) = if sending {
            let moved = sent - self.window.sent.load(Relaxed);
            (moved, limits.min_send_rate.into(), Ending::SendStalled)
        } else {
            let moved = received - self.window.received.load(Relaxed);
            let passed = self.window.passed.fetch_add(1, Relaxed);
            (moved, limits.receive_rate(passed), Ending::BodyTimeout)
        };
        self.open_window(now, received, sent);
        if moved == 0 {
            return Some(stalled);
        }
        let due = least * u64::from(waited) / 1000;
        (moved < due).then_some(Ending::TooSlow)
    }

    fn open_window(&self, now: Tick, received: u64, sent: u64) {
        self.window.start.store(now.max(1), Relaxed);
        self.window.received.store(received, Relaxed);
        self.window.sent.store(sent, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        task::{Context, Waker},
        time::Duration,
    };

    use super::{Phase, Watch};
    use crate::{ending::Ending, limits::Limits};

    const LIMITS: Limits = Limits {
        max_connections: 1,
        max_per_client: 1,
        max_requests_per_client: 1,
        request_wait: Duration::ZERO,
        unread: 0,
        unread_of_client: 0,
        header_timeout: 10_000,
        max_header_bytes: 1024,
        max_headers: 8,
        idle_timeout: 30_000,
        body_timeout: 20_000,
        min_receive_rate: 100,
        min_send_rate: 100,
        websocket_idle: 60_000,
        max_age: 60_000,
        max_requests: 1,
        max_streams: 1,
    };

    #[test]
    fn each_phase_has_its_deadline() {
        let phases = [
            (Phase::Opening, 10_000, Ending::HeaderTimeout),
            (Phase::Handshake, 10_000, Ending::TlsHandshake),
            (Phase::Preface, 10_000, Ending::H2Preface),
            (Phase::Head, 10_000, Ending::HeaderTimeout),
            (Phase::Idle, 30_000, Ending::IdleTimeout),
            (Phase::Streams, 30_000, Ending::IdleTimeout),
        ];
        for (phase, after, ending) in phases {
            // Close to where the clock starts over.
            let began = u32::MAX - 5000;
            let watch = Watch::new(began);
            watch.enter(phase, began);
            let just_before = began.wrapping_add(after - 1);
            assert_eq!(watch.overdue(just_before, &LIMITS), None, "{phase:?}");
            let due = began.wrapping_add(after);
            assert_eq!(watch.overdue(due, &LIMITS), Some(ending), "{phase:?}");
        }
    }

    /// What a body comes to that gets `bytes` a second, `waiting` in between.
    fn body(bytes: usize, waiting: bool) -> Option<Ending> {
        let watch = Watch::new(0);
        let context = Context::from_waker(Waker::noop());
        watch.enter(Phase::Request, 0);
        watch.set_body_due(true);
        (1..=60).find_map(|second| {
            if bytes > 0 {
                watch.received(bytes);
            }
            if waiting {
                watch.await_read(&context);
            }
            watch.overdue(second * 1000, &LIMITS)
        })
    }

    #[test]
    fn a_body_must_move_while_it_is_awaited() {
        assert_eq!(body(0, true), Some(Ending::BodyTimeout));
        assert_eq!(body(50, true), Some(Ending::TooSlow));
        assert_eq!(body(150, true), Some(Ending::TooSlow));
        assert_eq!(body(400, true), None);
        // The origin is slow, and the client cannot help it.
        assert_eq!(body(0, false), None);
    }

    #[test]
    fn an_answer_must_be_taken_in() {
        let watch = Watch::new(0);
        let context = Context::from_waker(Waker::noop());
        watch.enter(Phase::Request, 0);
        let ending = (1..=60).find_map(|second| {
            watch.await_write(&context);
            watch.overdue(second * 1000, &LIMITS)
        });
        assert_eq!(ending, Some(Ending::SendStalled));
    }

    #[test]
    fn an_upgraded_connection_moves_either_way() {
        let watch = Watch::new(0);
        watch.enter(Phase::Upgraded, 1000);
        for second in 1..=59 {
            assert_eq!(watch.overdue(second * 1000, &LIMITS), None);
        }
        watch.sent(1);
        assert_eq!(watch.overdue(60_000, &LIMITS), None);
        watch.received(1);
        assert_eq!(watch.overdue(100_000, &LIMITS), None);
        assert_eq!(watch.overdue(159_999, &LIMITS), None);
        let due = watch.overdue(160_000, &LIMITS);
        assert_eq!(due, Some(Ending::IdleTimeout));
    }

    #[test]
    fn an_open_header_block_is_not_left_open() {
        let watch = Watch::new(0);
        watch.enter(Phase::Streams, 0);
        watch.stream_begins();
        watch.set_block_open(true, 1000);
        watch.set_block_open(true, 9000);
        assert_eq!(watch.overdue(10_000, &LIMITS), None);
        assert_eq!(watch.overdue(11_001, &LIMITS), Some(Ending::HeaderTimeout));
        watch.set_block_open(false, 11_001);
        assert_eq!(watch.overdue(11_001, &LIMITS), None);
    }

    #[test]
    fn only_the_first_reason_counts() {
        let watch = Watch::new(0);
        assert!(watch.check().is_ok());
        assert!(watch.end(Ending::Age));
        assert!(!watch.end(Ending::TooSlow));
        assert_eq!(watch.ending(), Some(Ending::Age));
        assert!(watch.check().is_err());
    }
}
