//! Who gets a connection at all: lists, and caps in all and per client.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{ending::Ending, limits::Limits};
use crate::{
    generation::Generation,
    shares::{Share, Shares},
    state::State,
};

/// Counts connections.
#[derive(Debug, Default)]
pub(super) struct Admission {
    total: AtomicUsize,
    by_client: Arc<Shares>,
}

/// One connection among all, given back when dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<Admission>);

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
        &self,
        client: IpAddr,
        state: &State,
        generation: &Generation,
    ) -> Result<Option<Share>, Ending> {
        if State::trusts(generation, client) {
            return Ok(None);
        }
        if state.shuts_out(generation, client) {
            return Err(Ending::Blocklist);
        }
        match self
            .by_client
            .take(client, generation.limits.max_per_client)
        {
            None => Err(Ending::LimitClient),
            share => Ok(share),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.total.fetch_sub(1, Relaxed);
    }
}
