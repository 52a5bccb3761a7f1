//! One process takes the place of another, and no connection is refused: `thornwall upgrade`.
//!
//! ```text
//!   command ── control socket ──> running ── starts `run --take-over`, a channel as its stdin ──> new
//!                                             new: everything is built             Ready
//!                                             running: here are the sockets        Sockets, ...
//!                                             new: nothing is missing              Release
//!                                             running: closed what one may hold    Released
//!                                             new: serves, and has checked it      Serving
//!                                             running: drains; replies to the command
//! ```
//!
//! Up to `Released` the running process accepts as before; from then on the new one does, and for the
//! moment in between connections wait in the system's queue. Where the new one ends, says that it
//! cannot, or takes too long, it is ended, and the running one takes back what it closed. The sockets
//! and the lock of the data folder are shared, not rebound: nothing is refused, and there is no gap.

use std::{collections::BTreeMap, io};

use serde::{Deserialize, Serialize};
use thiserror::Error;

mod channel;
mod control;
mod predecessor;
mod successor;
mod supervisor;

pub(crate) use control::{Control, Reply, Request, ask, socket_path};
pub(crate) use predecessor::{Inherited, Predecessor};

/// What both sides speak. A process that speaks another version cannot take over.
const PROTOCOL: u32 = 1;

/// Messages of the two processes, each in a packet of its own.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    /// New: everything is built, and only the sockets are missing.
    Ready {
        /// What it speaks.
        protocol: u32,
    },
    /// Running: what the descriptors of this packet are.
    Sockets {
        /// One role for each descriptor, in order.
        roles: Vec<Role>,
        /// Whether this is the last packet of them.
        last: bool,
    },
    /// New: has all that it needs, and asks for what only one process may hold.
    Release,
    /// Running: closed it all.
    Released {
        /// What parts of the process leave to their successors, by name.
        legacy: Legacy,
    },
    /// New: every listener is served.
    Serving,
    /// New: cannot, for a reason that the operator is shown.
    Failed { why: String },
}

/// What a descriptor is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// The operator's listener, with its address as configured.
    Admin(String),
    /// The listener of this protocol's command.
    Control,
    /// The lock of the data folder.
    Lock,
    /// A public listener, with its address as configured.
    Public(String),
}

/// A part of the process that only one process may run, or whose state its successor goes on from:
/// keys that sessions are resumed with, the files of a store.
pub(crate) trait HandedOver: Send + Sync {
    /// A name that stays the same over versions.
    fn name(&self) -> &'static str;

    /// Writes out and closes what only one process may hold, and returns what the successor needs:
    /// at most some kilobytes, which both versions understand.
    fn hand_over(&self) -> io::Result<Vec<u8>>;

    /// Takes up again what was handed over, after the successor has failed and is gone.
    fn take_back(&self) -> io::Result<()>;
}

/// What parts of a process left to their successors, by name.
pub(crate) type Legacy = BTreeMap<String, Vec<u8>>;

/// Why a process cannot take over from another.
#[derive(Debug, Error)]
pub(crate) enum HandoverError {
    /// The other side ended or closed the channel.
    #[error("the other process has ended")]
    Closed,
    /// The channel failed.
    #[error("the channel between the processes: {0}")]
    Io(#[from] io::Error),
    /// Standard input is no channel.
    #[error("--take-over is for the use of `thornwall upgrade` alone")]
    NotInvited,
    /// Something else was expected.
    #[error("the other process said what was not expected: {0}")]
    Unexpected(String),
}
