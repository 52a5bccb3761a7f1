//! How much of request bodies an HTTP/2 client may send ahead of their reader.
//!
//! A window lets through what it holds per round trip: 1 MiB is 20 MiB a second at 50 ms, a tenth of
//! what the same client gets over HTTP/1, where the system's buffers grow. Wider windows are memory
//! that a client can fill while its origin does not read. So a connection begins with windows that
//! suit nearly all uploads, and gets wider ones once an origin has taken in much of what it sends;
//! of those there is a number, in all and for each client.

use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::Connection;
use crate::quota::{ClientQuota, Permit};

/// Window of a stream at first.
pub(super) const STREAM: u32 = 1 << 20;
/// Window of a connection at first, which bounds what its streams hold together. There is room for
/// others beside an upload that its origin does not read.
pub(super) const CONNECTION: u32 = 2 << 20;
/// Window of a stream afterwards: 160 MiB a second at 50 ms.
pub(super) const WIDE: u32 = 8 << 20;
/// Window of a connection afterwards, with the same room for others as before.
pub(super) const WIDE_CONNECTION: u32 = WIDE + CONNECTION;
/// Bytes that origins must have taken in of a connection's uploads before its windows are widened.
pub(super) const PROVEN: u64 = 1 << 20;
/// Connections with wide windows: 1 GiB, if no origin of theirs reads any more.
const MOST: usize = 128;
/// Connections of one client with wide windows.
const MOST_PER_CLIENT: u32 = 8;

/// The permits for connections with wide windows.
#[derive(Debug)]
pub(super) struct Windows {
    permits: Arc<Semaphore>,
    clients: Arc<ClientQuota>,
    taken: IntGauge,
}

/// The permit of one connection for wide windows, given back when dropped.
#[derive(Debug)]
pub(super) struct WidePermit {
    taken: IntGauge,
    _of_all: OwnedSemaphorePermit,
    _of_client: Permit,
}

impl Windows {
    pub(super) fn new(taken: IntGauge) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(MOST)),
            clients: Arc::default(),
            taken,
        }
    }

    /// A permit for a connection, unless all or its client's own are taken. It is asked for once:
    /// who gets none goes on with what it has.
    pub(super) fn enter(&self, connection: &Connection) -> Option<WidePermit> {
        let of_client = self.clients.take(connection.client(), MOST_PER_CLIENT)?;
        let of_all = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        self.taken.inc();
        Some(WidePermit {
            taken: self.taken.clone(),
            _of_all: of_all,
            _of_client: of_client,
        })
    }
}

impl Drop for WidePermit {
    fn drop(&mut self) {
        self.taken.dec();
    }
}
