//! Filters, the pipeline that runs them, and the configuration that they are written in.
//!
//! A filter decides from memory: it opens no socket, spawns no task and writes no response. What is
//! decided may be shared with other gateways; that is done beside the requests, in [`store::shared`].
//! What a filter says is data (a [`verdict::Verdict`]); the gateway turns the pipeline's
//! [`verdict::Ruling`] into bytes. This crate knows neither Pingora nor gRPC.

pub mod build;
pub mod clock;
pub mod counters;
pub mod deception;
pub mod decision;
pub mod decisions;
pub mod escalation;
pub mod feed;
pub mod filter;
pub mod key;
pub mod kinds;
pub mod load;
pub mod metrics;
pub mod pem;
pub mod pipeline;
pub mod prefix_set;
pub mod printable;
pub mod rate;
pub mod regular_file;
pub mod secret_file;
pub mod spec;
pub mod store;
pub mod token;
pub mod verdict;
pub mod watcher;
pub mod when;
