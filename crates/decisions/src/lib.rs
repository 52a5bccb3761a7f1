//! What is decided about clients, and where it is kept.
//!
//! A decision is an expiring entry about a network. Requests look into an immutable table of them;
//! a thread owns the store, its file, and what is exchanged with other gateways through Redis. Lists
//! of networks and the feeds that they are read from are here too. This crate judges nothing, and
//! knows neither filters nor HTTP.

pub mod clock;
pub mod decision;
pub mod decisions;
pub mod feed;
pub mod ladder;
pub mod limit_report;
pub mod prefix_set;
pub mod store;
