//! Judging without I/O: what a request is, what is odd about it, and how sure we are.
//!
//! This crate turns request facts into signals and features. It never opens a socket, reads a
//! clock, spawns a task or knows of a proxy: everything it needs arrives as an argument, so every
//! judgement can be repeated from a recording.

pub mod address;
pub mod alteration;
pub mod asked;
pub mod cookies;
pub mod features;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
pub mod headers;
pub mod heuristics;
pub mod model;
pub mod path;
pub mod request;
pub mod robots;
pub mod signal;
pub mod user_agent;
pub mod weights;
