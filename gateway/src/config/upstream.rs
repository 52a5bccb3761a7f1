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
    /// Its servers; one for now.
    pub servers: Spanned<Vec<UpstreamServer>>,
    /// Longest wait for a TCP connection.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout_ms: NonZeroU32,
    /// Longest silence of the origin while a request or response is under way.
    #[serde(default = "default_read_timeout")]
    pub read_timeout_secs: NonZeroU32,
    /// How long an unused connection is kept. Below the origin's own keepalive time, or requests
    /// meet connections that are just being closed.
    #[serde(default = "default_idle_timeout")]
    pub idle_timeout_secs: NonZeroU32,
}

const fn default_connect_timeout() -> NonZeroU32 {
    NonZeroU32::new(2000).expect("the default is not zero")
}

const fn default_read_timeout() -> NonZeroU32 {
    NonZeroU32::new(60).expect("the default is not zero")
}

const fn default_idle_timeout() -> NonZeroU32 {
    NonZeroU32::new(30).expect("the default is not zero")
}

/// One server of an origin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamServer {
    /// Address or name, and port.
    pub address: Spanned<String>,
}
