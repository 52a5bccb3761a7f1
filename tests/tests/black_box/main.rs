//! Black-box tests: the built commands, over real sockets.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests say what they check by their names, measure processes, tell what they found, and \
              stop where they cannot go on"
)]

mod harness;

mod adaptive_limits;
mod admin_callers;
mod client_address;
mod configuration;
mod decisions;
mod documents;
mod early_answers;
mod edge_wire;
mod escalation;
mod exports;
mod feeds;
mod filters;
mod house;
mod known_programs;
mod lifecycle;
mod limits;
mod observability;
mod operator_slips;
mod operator_tools;
mod origin_answers;
mod origin_connections;
mod page_limits;
mod people;
mod privacy;
mod private_files;
mod proxy;
mod recording;
mod redirects;
mod redis;
mod refusals;
mod requests;
mod requests_h2;
mod robots;
mod scripted;
mod service;
mod shared_limits;
mod shared_store;
mod slow_attacks;
mod stored;
mod targets;
mod tarpit;
mod tls;
mod tls_client;
mod tls_files;
mod upgrade;
mod uploads;
mod upstream;
mod upstream_failures;
mod upstream_h2;
mod upstream_tls;
mod webdav;
mod websockets;
