//! Holding a client in a slow stream, at the cost of one small task.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{Method, Version};
use jiff::Timestamp;
use parking_lot::Mutex;
use pingora::{Result, http::ResponseHeader, protocols::Stream, proxy::Session};
use thornwall_detectors::{address::subscriber, request::normalise_path};
use thornwall_filters::deception::{drip::Drip, pace::Pace, plan::Plan};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
    time::{sleep, timeout},
};

use super::{detach::detach, name};
use crate::{exchange::Exchange, generation::TarpitLimits, metrics::TarpitMetrics, state::State};

/// A client that takes in nothing for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a held client may send meanwhile; one that sends more is not held but used.
const MOST_DISCARDED: usize = 1 << 20;

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
    let plan = Plan::new(&site.links, &normalise_path(request.uri.path()));
    if request.method == Method::HEAD {
        let mut response = ResponseHeader::build_no_case(200, Some(4))?;
        for (field, value) in plan.headers() {
            response.insert_header(field, value)?;
        }
        name(&mut response, exchange)?;
        session
            .write_response_header(Box::new(response), true)
            .await?;
        return Ok(true);
    }
    let limits = exchange.generation.tarpit;
    let Some(place) = state.tarpit.enter(client, &limits) else {
        return Ok(false);
    };
    let chunked = request.version >= Version::HTTP_11;
    let head = response_head(&plan, exchange, chunked);
    let pace = Pace {
        interval: limits.interval,
        chunk_bytes: CHUNK_BYTES,
        total: limits.total,
    };
    let held = HeldConnection {
        stream: detach(session).await?,
        drip: plan.drip(pace, exchange.id.low_bits()),
        chunked,
        shutdown: state.shutdown.clone(),
        place,
    };
    if let Some(connection) = &exchange.connection {
        connection.hold();
    }
    exchange.detached_status = Some(200);
    tokio::spawn(held.run(head));
    Ok(true)
}

/// The response header, as Pingora would write it.
fn response_head(plan: &Plan, exchange: &Exchange, chunked: bool) -> Vec<u8> {
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut head = String::from("HTTP/1.1 200 OK\r\n");
    for (field, value) in &plan.headers() {
        let value = value.to_str().unwrap_or_default();
        head.push_str(&format!("{field}: {value}\r\n"));
    }
    // The form of RFC 9110 section 5.6.7.
    head.push_str(&format!(
        "date: {}\r\n",
        now.strftime("%a, %d %b %Y %H:%M:%S GMT")
    ));
    head.push_str(&format!("x-request-id: {}\r\n", exchange.id));
    head.push_str(if chunked {
        "transfer-encoding: chunked\r\n\r\n"
    } else {
        "connection: close\r\n\r\n"
    });
    head.into_bytes()
}

/// A connection out of Pingora's hands. Task `tarpit connection`: it ends when the client leaves,
/// when its time is over, or when the process stops.
struct HeldConnection {
    stream: Stream,
    drip: Drip,
    chunked: bool,
    shutdown: watch::Receiver<bool>,
    place: Place,
}

impl HeldConnection {
    #[expect(
        clippy::disallowed_methods,
        reason = "measures the stay for its histogram"
    )]
    async fn run(mut self, head: Vec<u8>) {
        let entered = Instant::now();
        let mut sent = self.send(&head).await;
        while sent {
            let Some(chunk) = self.drip.next() else { break };
            sent = self.wait(chunk.after).await && self.send(&self.frame(&chunk.bytes)).await;
        }
        if sent && self.chunked {
            self.send(b"0\r\n\r\n").await;
        }
        let stay = entered.elapsed().as_secs_f64();
        self.place.tarpit.metrics.stay.observe(stay);
    }

    /// The chunk as it goes over the wire (RFC 9112 section 7.1).
    fn frame(&self, bytes: &[u8]) -> Vec<u8> {
        if !self.chunked {
            return bytes.to_vec();
        }
        let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b"\r\n");
        framed
    }

    /// Whether the client took the bytes in.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        let stream = &mut self.stream;
        let write = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        let sent = matches!(timeout(WRITE_TIMEOUT, write).await, Ok(Ok(())));
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
        let mut discarded = 0;
        let mut scratch = [0; 64];
        let pause = sleep(pause);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return true,
                _ = self.shutdown.changed() => return false,
                read = self.stream.read(&mut scratch) => match read {
                    Ok(count) if count > 0 && discarded < MOST_DISCARDED => discarded += count,
                    _ => return false,
                },
            }
        }
    }
}
