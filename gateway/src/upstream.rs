//! Origins: the servers behind a name, which of them a request goes to, and what becomes of it
//! where one fails.
//!
//! An [`Upstream`] belongs to a generation. What is learnt about its servers is kept in `Learned`
//! under the upstream's name and outlives reloads.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::HeaderName;
use pingora::upstreams::peer::HttpPeer;
use thiserror::Error;
use thornwall_detectors::signal::Reason;
use thornwall_filters::carry::Carry;
use thornwall_settings::report::Report;
use tokio::time::Instant;

use crate::{config, hash::Key};

mod address;
mod answer_wait;
pub(crate) mod attempt;
mod balance;
mod budget;
mod build;
mod delivery;
pub(crate) mod handshake;
mod health;
mod kept;
mod learned;
pub(crate) mod metrics;
mod named;
mod peer;
mod probe;
mod queue;
mod resolve;
mod server_health;
mod sticky;
mod table;
mod tasks;
mod tls;

pub(crate) use answer_wait::{AnswerWait, watched};
pub(crate) use balance::MOST_TRIES;
pub(crate) use health::fetch;
pub(crate) use probe::{Asked, ProbeReply};
pub(crate) use resolve::settle;
pub(crate) use sticky::Sticky;
pub(crate) use tls::connector_ca_file;

use address::Address;
use balance::{Ask, Balancer, Choice, Tried};
use learned::Learned;
use server_health::{InFlight, Rules};
use table::{Endpoint, Table};

/// A named group of servers.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Label of logs and metrics.
    pub name: Arc<str>,
    /// The cookie that keeps clients with their servers, where there is one.
    pub sticky: Option<Sticky>,
    servers: Vec<Server>,
    settings: Settings,
    balancer: Balancer,
    table: ArcSwap<Table>,
    learned: Arc<Learned>,
}

/// A server as it is configured.
#[derive(Debug)]
struct Server {
    label: Arc<str>,
    address: Address,
    weight: f64,
    max_connections: u32,
    /// What every address of it is connected to with.
    peer: HttpPeer,
}

/// How requests are handled.
#[derive(Debug)]
struct Settings {
    balance: config::Balance,
    hash: HashBy,
    secret: [u8; 32],
    try_timeout: Option<Duration>,
    total_timeout: Option<Duration>,
    resolve_every: Duration,
    health_check: Option<health::Check>,
    ejection: Rules,
    retry: Retry,
    queue: queue::Limits,
}

/// Further tries.
#[derive(Debug, Clone, Copy)]
struct Retry {
    most: usize,
    terms: budget::Terms,
}

/// What `consistent_hash` hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum HashBy {
    Client,
    Header(HeaderName),
    Cookie(String),
}

/// A server that a request has got, until this is dropped.
#[derive(Debug)]
struct Lease {
    endpoint: Arc<Endpoint>,
    in_flight: Option<InFlight>,
    /// Notified that there is room again, where requests may be waiting for it.
    queue: Option<Arc<Learned>>,
}

/// Why no server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    /// All have as many requests as they may.
    #[error("all servers have as many requests as they may")]
    Busy,
    /// There is none, or all have been tried.
    #[error("there is no server, or all have been tried")]
    Nobody,
}

impl Refusal {
    /// The status that a client gets.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Busy => 503,
            Self::Nobody => 502,
        }
    }

    /// The code of logs and metrics.
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::Busy => Reason::UpstreamBusy,
            Self::Nobody => Reason::UpstreamUnresolved,
        }
    }
}

impl Upstream {
    /// Whether its servers are asked over HTTP/2.
    pub(crate) fn speaks_http2(&self) -> bool {
        let first = self.servers.first();
        first.is_some_and(|server| server.peer.options.alpn.get_min_http_version() == 2)
    }

    /// Builds an origin, or notes what is wrong with it. Names are not looked up here.
    pub(crate) fn build(
        spec: &config::Upstream,
        secret: &[u8; 32],
        report: &mut Report,
        carry: &mut Carry,
    ) -> Option<Self> {
        build::upstream(spec, secret, report, carry)
    }

    /// Its servers and how they are chosen, for people.
    pub(crate) fn describe(&self) -> String {
        let servers: Vec<&str> = self.servers.iter().map(|server| &*server.label).collect();
        match servers.as_slice() {
            [only] => (*only).to_owned(),
            _ => format!("{}: {}", self.settings.balance.name(), servers.join(", ")),
        }
    }

    /// Gets a server for a first try, and waits for one where it may.
    async fn lease(&self, ask: &Ask<'_>) -> Result<Lease, Refusal> {
        // Who comes now does not pass those who wait.
        let crowded = self.learned.queue.waiting() > 0 && self.table.load().limited;
        if !crowded {
            match self.try_lease(ask) {
                Err(Refusal::Busy) => {}
                other => return other,
            }
        }
        let (queue, came) = (&self.learned.queue, Instant::now());
        let entered = queue.wait(&self.settings.queue, || {
            let now = ask.now + came.elapsed();
            match self.try_lease(&Ask { now, ..*ask }) {
                Err(Refusal::Busy) => None,
                other => Some(other),
            }
        });
        entered.await.unwrap_or(Err(Refusal::Busy))
    }

    /// Gets a server for a further try: one that has not been tried, or else any. It waits for none,
    /// since all who wait have to be able to take whatever becomes free.
    fn lease_again(&self, ask: &Ask<'_>) -> Result<Lease, Refusal> {
        let tried = &Tried::default();
        self.try_lease(ask)
            .or_else(|_| self.try_lease(&Ask { tried, ..*ask }))
    }

    fn try_lease(&self, ask: &Ask<'_>) -> Result<Lease, Refusal> {
        let table = self.table.load();
        // Another request may be faster to take the last place.
        for _ in 0..=table.endpoints.len() {
            let place = match self.balancer.choose(&table, ask) {
                Choice::At(place) => place,
                Choice::Desperate(place) => {
                    self.learned.all_were_out();
                    place
                }
                Choice::Full => return Err(Refusal::Busy),
                Choice::Nobody => return Err(Refusal::Nobody),
            };
            let endpoint = Arc::clone(&table.endpoints[place]);
            let entered = InFlight::enter(&endpoint.health, endpoint.max_connections);
            if let Some(in_flight) = entered {
                return Ok(Lease {
                    queue: table.limited.then(|| Arc::clone(&self.learned)),
                    in_flight: Some(in_flight),
                    endpoint,
                });
            }
        }
        Err(Refusal::Busy)
    }

    /// Notes that a server failed a request.
    fn blame(&self, endpoint: &Endpoint, now: Duration) {
        let table = self.table.load();
        let others = table
            .endpoints
            .iter()
            .any(|other| other.key != endpoint.key && other.health.is_available(now));
        let left_out = endpoint.health.failed(now, &self.settings.ejection, others);
        if let Some(time) = left_out {
            log::warn!(
                "server left out after failures in a row; upstream={} server={} address={} secs={}",
                self.name,
                endpoint.server,
                endpoint.peer,
                time.as_secs()
            );
        }
    }

    /// Builds the table anew from the servers and what their names stand for now.
    fn rebuild(&self) {
        let mut endpoints = Vec::new();
        for server in &self.servers {
            let addresses = self.addresses(server);
            let share = server.weight / addresses.len().max(1) as f64;
            endpoints.extend(addresses.into_iter().map(|address| {
                let mut peer = server.peer.clone();
                peer._address = address;
                self.endpoint(server, share, peer)
            }));
        }
        self.table.store(Arc::new(Table::new(endpoints)));
    }

    fn addresses(&self, server: &Server) -> Vec<pingora::protocols::l4::socket::SocketAddr> {
        match server.address.fixed() {
            Some(address) => vec![address],
            None => {
                let answer = self.learned.answer(&server.label).unwrap_or_default();
                answer.iter().copied().map(Into::into).collect()
            }
        }
    }

    fn endpoint(&self, server: &Server, weight: f64, peer: HttpPeer) -> Arc<Endpoint> {
        let place = match &server.address {
            Address::Name(..) => format!("{} {}", server.label, peer._address),
            _ => server.label.to_string(),
        };
        let key = Key::of(place.as_bytes());
        let cookie = self.sticky.is_some();
        Arc::new(Endpoint {
            cookie: cookie.then(|| Sticky::value(&self.settings.secret, &self.name, &place)),
            server: Arc::clone(&server.label),
            key,
            weight,
            max_connections: server.max_connections,
            health: self.learned.health(key),
            peer,
        })
    }

    /// The servers whose names have to be looked up.
    fn named(&self) -> impl Iterator<Item = (&Arc<str>, &str, u16)> {
        self.servers
            .iter()
            .filter_map(|server| match &server.address {
                Address::Name(name, port) => Some((&server.label, name.as_str(), *port)),
                _ => None,
            })
    }

    /// Takes over what a name stands for; whether that is news.
    fn learn(&self, label: &Arc<str>, addresses: Vec<SocketAddr>) -> bool {
        let news = self.learned.learn(label, addresses);
        if news {
            self.rebuild();
        }
        news
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.in_flight.take());
        if let Some(learned) = &self.queue {
            learned.queue.freed();
        }
    }
}

#[cfg(test)]
mod tests;
