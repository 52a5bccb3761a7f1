//! Who gets a connection at all: lists, and caps in all and per client.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use thornwall_detectors::address::subscriber;

use super::{ending::Ending, limits::Limits};
use crate::{generation::Generation, state::State};

/// Counts connections. A client is one IPv4 address, or one /64 of IPv6, which is what a subscriber
/// gets (RFC 6177).
#[derive(Debug, Default)]
pub(super) struct Admission {
    total: AtomicUsize,
    by_client: Mutex<HashMap<IpAddr, u32>>,
}

/// One connection among all, given back when dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<Admission>);

/// One connection among a client's, given back when dropped.
#[derive(Debug)]
pub(super) struct ClientSeat {
    admission: Arc<Admission>,
    client: IpAddr,
}

impl Admission {
    /// A connection of somebody.
    pub(super) fn enter(self: &Arc<Self>, limits: &Limits) -> Result<Seat, Ending> {
        let seat = Seat(Arc::clone(self));
        let before = self.total.fetch_add(1, Relaxed);
        if before >= limits.max_connections {
            return Err(Ending::LimitTotal);
        }
        Ok(seat)
    }

    /// A connection of `client`. Trusted proxies carry many clients and have no cap.
    pub(super) fn identify(
        self: &Arc<Self>,
        client: IpAddr,
        limits: &Limits,
        generation: &Generation,
    ) -> Result<Option<ClientSeat>, Ending> {
        if State::trusts(generation, client) {
            return Ok(None);
        }
        if generation.blocklist.lookup(client).is_some() {
            return Err(Ending::Blocklist);
        }
        let client = subscriber(client);
        let mut by_client = self.by_client.lock();
        let mine = by_client.entry(client).or_insert(0);
        if *mine >= limits.max_per_client {
            return Err(Ending::LimitClient);
        }
        *mine += 1;
        Ok(Some(ClientSeat {
            admission: Arc::clone(self),
            client,
        }))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.total.fetch_sub(1, Relaxed);
    }
}

impl Drop for ClientSeat {
    fn drop(&mut self) {
        let mut by_client = self.admission.by_client.lock();
        if let Some(mine) = by_client.get_mut(&self.client) {
            *mine -= 1;
            if *mine == 0 {
                by_client.remove(&self.client);
            }
        }
    }
}
