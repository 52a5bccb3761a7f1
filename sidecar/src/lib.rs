//! The slow second opinion: a process beside the gateways that takes their cases over gRPC, assesses
//! them, and answers with decisions.
//!
//! What it decides holds where the gateways' stores accept it; what it keeps itself is history. It never
//! proxies a request and knows nothing of Pingora.

pub mod alerts;
mod asking;
pub mod assess;
pub mod assessment;
mod budget;
mod callers;
pub mod case;
mod classifier;
pub mod config;
mod decision_log;
pub mod export;
mod facts;
#[cfg(test)]
mod fixture;
mod history;
mod http;
mod identity;
pub mod llm;
pub mod metrics;
mod registry;
mod reload;
mod reputation;
pub mod serve;
mod service;
mod shutdown;
mod step_builder;
mod waiting;
mod wire;
