//! The slow second opinion: a process beside the gateways that takes their cases over gRPC, assesses
//! them, and answers with decisions.
//!
//! What it decides holds where the gateways' stores say so; what it keeps itself is history. It never
//! proxies a request and knows nothing of Pingora.

pub mod alerts;
pub mod asking;
pub mod assess;
pub mod assessment;
pub mod board;
pub mod budget;
pub mod callers;
pub mod case;
pub mod classifier;
pub mod config;
pub mod export;
pub mod facts;
#[cfg(test)]
pub(crate) mod fixture;
pub mod history;
pub mod http;
pub mod identity;
pub mod llm;
pub mod metrics;
pub(crate) mod registry;
pub mod reload;
pub mod reputation;
pub mod serve;
pub mod service;
pub(crate) mod shutdown;
pub mod steps;
pub mod waiting;
pub(crate) mod wire;
