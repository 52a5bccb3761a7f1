//! The way to the sidecars: cases are sent, and their assessments go into the store and stand beside
//! the requests that led to them.
//!
//! ```text
//!  filters `escalate` ── sight ──> Sidecars: which of them
//!  request.rs ── question ───────>  Cases ── task `sidecar` ──> sidecar (gRPC)
//!  proxy.rs <── who waits ───── Assessments <──────┴──> store: decisions of `Source::Sidecar`
//! ```
//!
//! There is a table of cases and a task for each sidecar; what all of them decide is enforced. No
//! request waits for one unless its filter says so, and none at all while it is away: then cases
//! gather in their bounded table, and are sent when it is back.

mod answers;
mod assessments;
mod case;
mod cases;
mod client;
mod link;
mod sidecar;
mod sidecars;
mod tally;

pub(crate) use assessments::{Assessment, Assessments, Consequence};
pub(crate) use cases::{Cases, MOST_CASES};
pub(crate) use client::Client;
pub(crate) use link::Settings;
pub(crate) use sidecar::Sidecar;
pub(crate) use sidecars::Sidecars;
pub(crate) use tally::Tally;
