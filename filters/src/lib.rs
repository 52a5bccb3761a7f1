//! Filters, the pipeline that runs them, and the configuration that they are written in.
//!
//! A filter decides from memory: it opens no socket, spawns no task and writes no response. A filter's verdict is data (a [`verdict::Verdict`]); the gateway turns the pipeline's
//! [`verdict::Ruling`] into bytes. This crate knows neither Pingora nor gRPC.

pub mod carry;
pub mod context;
pub mod counters;
pub mod deception;
pub mod decide;
pub mod escalation;
pub mod filter;
pub mod key;
pub mod kinds;
pub mod metrics;
pub mod mode;
pub mod pipeline;
pub mod rate;
pub mod table_stats;
pub mod verdict;
pub mod watcher;
pub(crate) mod when;
