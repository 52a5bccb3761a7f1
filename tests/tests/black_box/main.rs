//! Black-box tests: the built commands, over real sockets.
#![allow(missing_docs, reason = "tests say what they check by their names")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for processes and measure them"
)]

mod harness;

mod configuration;
mod filters;
mod house;
mod lifecycle;
mod observability;
mod proxy;
mod recording;
mod tarpit;
