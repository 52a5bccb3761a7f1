//! `[limits]`: what a client may cost before and beside its requests.

use std::num::NonZeroU32;

use serde::Deserialize;
use toml::Spanned;

/// Bounds on connections and on the heads of requests, for all listeners.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Client connections at once, beside those in the tarpit; 0 for half of the files that the
    /// process may open besides those. The most is half of all.
    pub max_connections: u32,
    /// Client connections at once of one address (IPv4) or /64 (IPv6).
    pub max_connections_per_client: NonZeroU32,
    /// Requests at origins at once of one address (IPv4) or /64 (IPv6), over all of its connections. A
    /// browser has a hundred at most, and what people behind one address ask for beyond that waits.
    /// WebSockets and event streams do not count once they are open, but like connections.
    pub max_requests_per_client: NonZeroU32,
    /// Longest wait of a further request; 0 for none. Eight times as many may wait. Behind it, and
    /// once its answer has taken so long, a request counts apart, among as many again.
    pub request_wait_secs: u32,
    /// Bytes of memory for answers that wait for their clients, 768 KiB each; 0 for any. Beyond them those
    /// end that stand still, of the client that has most first.
    pub max_unread_bytes: Spanned<u64>,
    /// Bytes of memory for unread answers of one client; 0 for any.
    pub max_unread_bytes_per_client: Spanned<u64>,
    /// From the start of a connection, or of a request on it, to the end of the request's head;
    /// TLS handshake and PROXY header included.
    pub header_timeout_secs: NonZeroU32,
    /// Bytes of a request's head: its line and all fields.
    pub max_header_bytes: Spanned<u32>,
    /// Fields of a request.
    pub max_headers: Spanned<u32>,
    /// How long a connection without a request is kept.
    pub idle_timeout_secs: NonZeroU32,
    /// Longest silence inside a request's body, and longest time that a client takes in nothing.
    pub body_timeout_secs: NonZeroU32,
    /// Slowest pace of a body on its way in, in its first `body_timeout_secs`; it doubles with the second
    /// and the third. 0 for none.
    pub min_receive_bytes_per_sec: u32,
    /// Slowest pace at which a client may take in an answer that waits for it; 0 for none. With HTTP/2
    /// it is that of the connection: each stream has to take in 64 KiB in `body_timeout_secs`.
    pub min_send_bytes_per_sec: u32,
    /// Longest time without a byte either way on a WebSocket; clients and origins that mean to stay send
    /// pings.
    pub websocket_idle_secs: NonZeroU32,
    /// A connection this old ends after the request that is under way.
    pub max_connection_secs: NonZeroU32,
    /// Requests of one connection; then it ends.
    pub max_requests_per_connection: NonZeroU32,
    /// Requests at once on one HTTP/2 connection.
    pub h2_max_streams: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 0,
            max_connections_per_client: of(512),
            max_requests_per_client: of(128),
            request_wait_secs: 3,
            max_unread_bytes: Spanned::new(0..0, 128 << 20),
            max_unread_bytes_per_client: Spanned::new(0..0, 32 << 20),
            header_timeout_secs: of(10),
            max_header_bytes: Spanned::new(0..0, 32 << 10),
            max_headers: Spanned::new(0..0, 128),
            idle_timeout_secs: of(30),
            body_timeout_secs: of(30),
            min_receive_bytes_per_sec: 256,
            min_send_bytes_per_sec: 256,
            websocket_idle_secs: of(60),
            max_connection_secs: of(3600),
            max_requests_per_connection: of(1000),
            h2_max_streams: of(100),
        }
    }
}

const fn of(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("the defaults are not zero")
}
