//! Who gets a connection at all: lists, and caps in all and per client, at which another connection
//! gives way.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    ending::Ending,
    generation::Generation,
    limits::Limits,
    quota::{ClientQuota, Permit},
    state::State,
};

/// What has given way takes a moment to go. So many more than there may be, and such a part of them,
/// are let in meanwhile.
const SPARE: usize = 16;
const SPARE_PART: usize = 8;

/// How often, and how long each time, it is waited for them.
const SETTLE_TURNS: u32 = 50;
const SETTLE: Duration = Duration::from_millis(1);

/// Connections that there may be for a moment.
const fn beyond(limits: &Limits) -> usize {
    limits.max_connections + limits.max_connections / SPARE_PART + SPARE
}

/// Counts connections.
#[derive(Debug, Default)]
pub(super) struct Admission {
    total: AtomicUsize,
    by_client: Arc<ClientQuota>,
}

/// Permit of one connection among all, given back when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit(Arc<Admission>);

impl Admission {
    /// A permit for a new connection. Where none is left, `make_room` may have another connection
    /// give way.
    pub(super) fn enter(
        self: &Arc<Self>,
        limits: &Limits,
        make_room: impl FnOnce() -> bool,
    ) -> Result<ConnectionPermit, Ending> {
        let permit = ConnectionPermit(Arc::clone(self));
        let before = self.total.fetch_add(1, Relaxed);
        if before >= limits.max_connections && (before >= beyond(limits) || !make_room()) {
            return Err(Ending::LimitTotal);
        }
        Ok(permit)
    }

    /// Waits a little where so many have given way that the next one would be refused: they are about
    /// to go.
    pub(super) async fn settle(&self, limits: &Limits) {
        for _ in 0..SETTLE_TURNS {
            if self.total.load(Relaxed) < beyond(limits) {
                return;
            }
            sleep(SETTLE).await;
        }
    }

    /// A permit for a connection of `client`, for which `make_room` may have another one of the
    /// same client give way. Trusted proxies carry many clients and have no cap.
    pub(super) fn identify(
        &self,
        client: IpAddr,
        state: &State,
        generation: &Generation,
        make_room: impl FnOnce() -> bool,
    ) -> Result<Option<Permit>, Ending> {
        if State::trusts(generation, client) {
            return Ok(None);
        }
        if state.shuts_out(generation, client) {
            return Err(Ending::Blocklist);
        }
        let most = generation.limits.max_per_client;
        let permit = self.by_client.take(client, most).or_else(|| {
            let beyond = most.saturating_add(most / SPARE_PART as u32 + SPARE as u32);
            make_room().then(|| self.by_client.take(client, beyond))?
        });
        permit.map(Some).ok_or(Ending::LimitClient)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.total.fetch_sub(1, Relaxed);
    }
}
