//! Holding a client in a slow stream, at the cost of one small task.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Version;
use parking_lot::Mutex;
use pingora::{Result, proxy::Session};
use thornwall_detectors::{address::subscriber, request::plain_path};
use thornwall_filters::deception::{drip::Drip, pace::Pace, plan::Plan};
use tokio::{select, sync::watch, time::sleep};

use super::{
    channel::{Channel, Fields, Framing},
    detach::{Detached, detach},
};
use crate::{
    exchange::Exchange, generation::TarpitLimits, metrics::TarpitMetrics, request_id::RequestId,
    state::State,
};

/// Bytes of a chunk: a line or two of text.
const CHUNK_BYTES: std::ops::RangeInclusive<u16> = 40..=200;

/// The places of the tarpit.
pub struct Tarpit {
    held: Mutex<Held>,
    metrics: TarpitMetrics,
}

#[derive(Default)]
struct Held {
    total: usize,
    by_client: HashMap<IpAddr, usize>,
}

impl Tarpit {
    /// An empty tarpit.
    pub fn new(metrics: TarpitMetrics) -> Self {
        Self {
            held: Mutex::default(),
            metrics,
        }
    }

    /// A place for a connection of `client`, unless all or the client's own are taken.
    fn enter(self: &Arc<Self>, client: IpAddr, limits: &TarpitLimits) -> Option<Place> {
        let client = subscriber(client);
        let mut held = self.held.lock();
        let mine = held.by_client.get(&client).copied().unwrap_or_default();
        if held.total >= limits.max_connections || mine >= limits.max_per_client {
            self.metrics.shed.inc();
            return None;
        }
        held.total += 1;
        held.by_client.insert(client, mine + 1);
        self.metrics.entered.inc();
        self.metrics.held.inc();
        Some(Place {
            tarpit: Arc::clone(self),
            client,
        })
    }
}

/// One taken place, given back when dropped.
struct Place {
    tarpit: Arc<Tarpit>,
    client: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.tarpit.held.lock();
        held.total -= 1;
        if let Some(mine) = held.by_client.get_mut(&self.client) {
            *mine -= 1;
            if *mine == 0 {
                held.by_client.remove(&self.client);
            }
        }
        self.tarpit.metrics.held.dec();
    }
}

/// Takes the client in; `false` where there is no room for it.
pub(super) async fn hold(
    session: &mut Session,
    exchange: &mut Exchange,
    state: &State,
) -> Result<bool> {
    let (Some(site), Some(client)) = (exchange.site(), exchange.client) else {
        return Ok(false);
    };
    let request = session.req_header();
    let plan = Plan::new(&site.links, &plain_path(request.uri.path()));
    let limits = exchange.generation.tarpit;
    let Some(place) = state.tarpit.enter(client, &limits) else {
        return Ok(false);
    };
    let old = request.version < Version::HTTP_11;
    let fields = plan.headers();
    let pace = Pace {
        interval: limits.interval,
        chunk_bytes: CHUNK_BYTES,
        total: limits.total,
    };
    let framing = if old {
        Framing::Promised(plan.bound(&pace))
    } else {
        Framing::Chunked
    };
    let drip = plan.drip(pace, exchange.id.low_bits());
    let channel = match detach(session).await? {
        Detached::Connection(stream) => Channel::connection(stream, framing, exchange),
        Detached::Stream(session) => Channel::stream(session, exchange),
    };
    exchange.detached_status = Some(200);
    let held = HeldClient {
        channel,
        drip,
        shutdown: state.shutdown.clone(),
        place,
    };
    tokio::spawn(held.run(fields, exchange.id));
    Ok(true)
}

/// A client out of Pingora's hands. Task `tarpit connection`: it ends when the client leaves, when
/// its time is over, or when the process stops.
struct HeldClient {
    channel: Channel,
    drip: Drip,
    shutdown: watch::Receiver<bool>,
    place: Place,
}

impl HeldClient {
    #[expect(
        clippy::disallowed_methods,
        reason = "measures the stay for its histogram"
    )]
    async fn run(mut self, fields: Fields, id: RequestId) {
        let entered = Instant::now();
        let mut sent = self.channel.begin(fields, id).await;
        while sent {
            let Some(chunk) = self.drip.next() else { break };
            sent = self.wait(chunk.after).await && self.send(&chunk.bytes).await;
        }
        self.channel.abort();
        let stay = entered.elapsed().as_secs_f64();
        self.place.tarpit.metrics.stay.observe(stay);
    }

    /// Whether the client took the bytes in.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = self.channel.send(bytes).await;
        if sent {
            self.place.tarpit.metrics.bytes.inc_by(bytes.len() as u64);
        }
        sent
    }

    /// Whether the client is still there after `pause`, and may stay.
    async fn wait(&mut self, pause: Duration) -> bool {
        if *self.shutdown.borrow() {
            return false;
        }
        select! {
            () = sleep(pause) => true,
            _ = self.shutdown.changed() => false,
            () = self.channel.left() => false,
        }
    }
}
