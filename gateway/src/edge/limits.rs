//! `[limits]`, resolved.

use super::watch::Tick;

/// What a client may cost before and beside its requests; times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once of one client.
    pub max_per_client: u32,
    /// Requests at once of one client.
    pub max_requests_per_client: u32,
    /// For PROXY header and TLS handshake, and again for each head.
    pub header_timeout: Tick,
    /// Bytes of a head.
    pub max_header_bytes: usize,
    /// Fields of a head.
    pub max_headers: usize,
    /// Without a request.
    pub idle_timeout: Tick,
    /// Without a byte of a body, in either direction.
    pub body_timeout: Tick,
    /// Bytes per second.
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
