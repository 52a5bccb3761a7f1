//! The way to the sidecars: cases go up, what they come to goes into the store and stands beside the
//! requests that led to it.
//!
//! ```text
//!  filters `escalate` ── sight ──> Sidecars: which of them
//!  request.rs ── question ───────>  Cases ── task `sidecar` ──> sidecar (gRPC)
//!  proxy.rs <── who waits ──────── Labels <───────┴──> store: decisions of `Source::Sidecar`
//! ```
//!
//! There is a table of cases and a task for each sidecar; what all of them decide is enforced. No request waits for one unless its filter says so, and none at all while it is away:
//! then cases gather in their bounded table, and go up when it is back.

mod answers;
mod case;
mod cases;
mod client;
mod labels;
mod link;
mod sidecar;
mod sidecars;
mod tally;

pub(crate) use cases::{Cases, MOST_CASES};
pub(crate) use client::Client;
pub(crate) use labels::{Consequence, Label, Labels};
pub(crate) use link::Settings;
pub(crate) use sidecar::Sidecar;
pub(crate) use sidecars::Sidecars;
pub(crate) use tally::Tally;
