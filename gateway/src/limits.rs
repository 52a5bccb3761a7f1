//! What clients may cost before and beside their requests: `[limits]`, resolved, and what it is measured by.

use std::time::Duration;

/// Milliseconds since the start of the process, as of the last sweep.
pub(crate) type Tick = u32;

/// What is spoken on a public socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenerFacts {
    pub tls: bool,
    /// A PROXY header comes first.
    pub proxy_protocol: bool,
}

/// What an answer holds at most: measured, with what its task takes.
pub(crate) const HELD: u64 = 768 << 10;

/// Connections of the operator's listener at once. At more, the oldest one without an answer gives way, or
/// else the oldest.
pub(crate) const ADMIN_CONNECTIONS: usize = 64;

/// What a client may cost before and beside its requests; times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once of one client.
    pub max_per_client: u32,
    /// Requests at once of one client.
    pub max_requests_per_client: u32,
    /// Longest wait for a permit among them.
    pub request_wait: Duration,
    /// Bytes of memory that large answers under way may hold before those that stand still end.
    pub unread: u64,
    /// Bytes of memory that large answers of one client may hold.
    pub unread_of_client: u64,
    /// Longest time for PROXY header and TLS handshake, and again for each head.
    pub header_timeout: Tick,
    /// Bytes of a head.
    pub max_header_bytes: usize,
    /// Fields of a head.
    pub max_headers: usize,
    /// Without a request.
    pub idle_timeout: Tick,
    /// Without a byte of a body, in either direction.
    pub body_timeout: Tick,
    /// Bytes per second of a body, in its first `body_timeout`.
    pub min_receive_rate: u32,
    /// Bytes per second.
    pub min_send_rate: u32,
    /// Without a byte either way on an upgraded connection.
    pub websocket_idle: Tick,
    /// Greatest age of a connection.
    pub max_age: Tick,
    /// Requests of one connection.
    pub max_requests: u32,
    /// Requests at once on one HTTP/2 connection.
    pub max_streams: u32,
}

/// How often the least pace of a body doubles: to 1 KiB a second by default, half of what the slowest
/// mobile lines carry (GPRS, and flat rates that are used up: 16 kbit/s).
const DOUBLINGS: u32 = 2;

impl Limits {
    /// Bytes per second of a body that has been waited for `periods` times `body_timeout`: a client may
    /// begin slowly, but not hold its reader with a byte now and then.
    pub(crate) const fn receive_rate(&self, periods: u32) -> u64 {
        let doublings = if periods < DOUBLINGS {
            periods
        } else {
            DOUBLINGS
        };
        (self.min_receive_rate as u64) << doublings
    }

    /// Bytes per second of a body that lasts.
    pub(crate) const fn lasting_receive_rate(&self) -> u64 {
        self.receive_rate(DOUBLINGS)
    }
}
