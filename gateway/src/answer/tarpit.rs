//! Holding a client in a slow stream, at the cost of one small task.

use std::time::{Duration, Instant};

use http::Version;
use pingora::{Result, proxy::Session};
use thornwall_detectors::request::plain_path;
use thornwall_filters::deception::{drip::Drip, pace::Pace, plan::Plan};
use tokio::{select, sync::watch, time::sleep};

use super::{
    channel::{Channel, Fields, Framing},
    detach::{Detached, detach},
};
use crate::{exchange::Exchange, request_id::RequestId, state::State, tarpit::Permit};

/// Bytes of a chunk: a line or two of text.
const CHUNK_BYTES: std::ops::RangeInclusive<u16> = 40..=200;

/// Takes the client in; `false` where there is no room for it.
pub(super) async fn hold(
    session: &mut Session,
    exchange: &mut Exchange,
    state: &State,
) -> Result<bool> {
    let (Some(site), Some(client)) = (exchange.site(), exchange.client.address) else {
        return Ok(false);
    };
    let request = session.req_header();
    let plan = Plan::new(&site.links, &plain_path(request.uri.path()));
    let limits = exchange.generation.tarpit;
    let Some(permit) = state.tarpit.enter(client, &limits) else {
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
    exchange.own.detached_status = Some(200);
    let held = HeldClient {
        channel,
        drip,
        shutdown: state.shutdown.clone(),
        permit,
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
    permit: Permit,
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
        self.permit.metrics().stay.observe(stay);
    }

    /// Whether the client took the bytes in.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = self.channel.send(bytes).await;
        if sent {
            self.permit.metrics().bytes.inc_by(bytes.len() as u64);
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
