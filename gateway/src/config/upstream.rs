//! `[[upstream]]`: an origin, its servers and what it is given.

use std::num::NonZeroU32;

use serde::Deserialize;
use toml::Spanned;

/// An origin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// What sites call it by.
    pub name: Spanned<String>,
    /// Its servers.
    pub servers: Spanned<Vec<UpstreamServer>>,
    /// Which server a request goes to.
    #[serde(default = "unwritten")]
    pub balance: Spanned<Balance>,
    /// What `consistent_hash` hashes: `client`, `header:NAME` or `cookie:NAME`.
    pub hash: Option<Spanned<String>>,
    /// Keeps a client with its server by a cookie of ours.
    pub sticky_cookie: Option<StickyCookie>,
    /// Version that the servers speak: `1`, or `2` for all that gRPC needs.
    #[serde(default)]
    pub http: HttpVersion,
    /// How to speak TLS with the servers; absent: in plain.
    pub tls: Option<Spanned<UpstreamTls>>,
    /// Longest wait for a TCP connection.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout_ms: NonZeroU32,
    /// Longest wait of one try for the first byte of its answer.
    pub try_timeout_ms: Option<Spanned<NonZeroU32>>,
    /// Longest wait for an answer to begin, over all tries.
    pub total_timeout_secs: Option<Spanned<NonZeroU32>>,
    /// Longest silence of the origin while a request or response is under way.
    #[serde(default = "default_read_timeout")]
    pub read_timeout_secs: NonZeroU32,
    /// Bytes that the system takes in ahead of us over each connection of HTTP/1, up to `net.core.rmem_max`; 0 for as
    /// much as it likes.
    #[serde(default = "default_receive_buffer")]
    pub receive_buffer_bytes: u32,
    /// How long an unused connection is kept, where the origin does not say that it keeps it for
    /// less.
    #[serde(default = "default_idle_timeout")]
    pub idle_timeout_secs: NonZeroU32,
    /// How often the names of servers are looked up.
    #[serde(default = "default_resolve")]
    pub resolve_secs: NonZeroU32,
    /// Asks the servers now and then how they are.
    pub health_check: Option<Spanned<HealthCheck>>,
    /// Leaves out servers that fail.
    #[serde(default = "unwritten")]
    pub ejection: Spanned<Ejection>,
    /// Second tries of failed requests.
    #[serde(default = "unwritten")]
    pub retry: Spanned<Retry>,
    /// Where requests wait while every server has its `max_connections`.
    #[serde(default = "unwritten")]
    pub queue: Spanned<Queue>,
}

const fn of(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("the defaults are not zero")
}

/// The default; that it was not written shows in its empty span.
fn unwritten<T: Default>() -> Spanned<T> {
    Spanned::new(0..0, T::default())
}

const fn default_connect_timeout() -> NonZeroU32 {
    of(2000)
}

const fn default_receive_buffer() -> u32 {
    256 << 10
}

const fn default_read_timeout() -> NonZeroU32 {
    of(60)
}

const fn default_idle_timeout() -> NonZeroU32 {
    of(30)
}

const fn default_resolve() -> NonZeroU32 {
    of(30)
}

/// One server of an origin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamServer {
    /// Address or name, and port; or `unix:` and a path.
    pub address: Spanned<String>,
    /// Its share of the requests, beside that of the others.
    #[serde(default = "default_weight")]
    pub weight: Spanned<NonZeroU32>,
    /// Requests at once, which with HTTP/1 are connections in use; 0 for any number.
    #[serde(default)]
    pub max_connections: u32,
}

fn default_weight() -> Spanned<NonZeroU32> {
    Spanned::new(0..0, of(1))
}

/// Which server a request goes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Requests with the same key go to the same server.
    ConsistentHash,
    /// The one with the fewest requests under way.
    LeastConnections,
    /// Any.
    Random,
    /// Each in its turn.
    #[default]
    RoundRobin,
}

impl Balance {
    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConsistentHash => "consistent_hash",
            Self::LeastConnections => "least_connections",
            Self::Random => "random",
            Self::RoundRobin => "round_robin",
        }
    }
}

/// Version of HTTP that servers speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum HttpVersion {
    /// HTTP/1.1.
    #[default]
    #[serde(rename = "1")]
    One,
    /// HTTP/2: by ALPN over TLS, from the first byte on in plain.
    #[serde(rename = "2")]
    Two,
}

/// A cookie that names a client's server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StickyCookie {
    /// Name of the cookie.
    #[serde(default = "default_cookie")]
    pub name: Spanned<String>,
    /// How long browsers keep it; absent: until they end.
    pub max_age_secs: Option<NonZeroU32>,
}

fn default_cookie() -> Spanned<String> {
    Spanned::new(0..0, "thornwall_server".to_owned())
}

/// TLS with the servers. Their certificates are always verified.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// Name that is asked for and that the certificate must be for; default: each server's own.
    pub server_name: Option<Spanned<String>>,
    /// Authorities that are trusted; default: those of the system.
    pub ca_file: Option<Spanned<String>>,
    /// Certificate that we show, with what leads to its authority.
    pub client_chain_file: Option<Spanned<String>>,
    /// Its key.
    pub client_key_file: Option<Spanned<String>>,
}

/// How servers are asked whether they are well.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthCheck {
    /// What is asked for; absent: being able to connect is enough.
    pub path: Option<Spanned<String>>,
    /// Host that is asked for; default: the server's own name or address.
    pub host: Option<Spanned<String>>,
    /// Statuses that mean well; default: any below 400.
    pub expect_statuses: Spanned<Vec<u16>>,
    /// Time between two checks.
    pub interval_secs: NonZeroU32,
    /// Longest wait for one check.
    pub timeout_ms: NonZeroU32,
    /// Checks in a row that bring a server back.
    pub healthy_after: NonZeroU32,
    /// Failed checks in a row that take a server out.
    pub unhealthy_after: NonZeroU32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            path: None,
            host: None,
            expect_statuses: Spanned::new(0..0, Vec::new()),
            interval_secs: of(5),
            timeout_ms: of(2000),
            healthy_after: of(2),
            unhealthy_after: of(3),
        }
    }
}

/// When a failing server is left out, and how it comes back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ejection {
    /// Failures in a row; 0 for never.
    pub failures: u32,
    /// First time out; each further time is twice as long.
    pub base_secs: NonZeroU32,
    /// Longest time out.
    pub max_secs: NonZeroU32,
    /// How long a server that came back gets less than its share; 0 for not at all.
    pub slow_start_secs: u32,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: 5,
            base_secs: of(10),
            max_secs: of(300),
            slow_start_secs: 30,
        }
    }
}

/// How often a failed request is tried again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Further tries of one request.
    pub most: u8,
    /// Further tries of all requests, as a share of the requests.
    pub percent: u8,
    /// Further tries of all requests that are always allowed.
    pub floor_per_sec: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            most: 1,
            percent: 20,
            floor_per_sec: 10,
        }
    }
}

/// Where requests wait for a server that is free.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Requests in waiting.
    pub max_waiting: u32,
    /// Longest wait.
    pub timeout_ms: NonZeroU32,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            max_waiting: 128,
            timeout_ms: of(1000),
        }
    }
}
