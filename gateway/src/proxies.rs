//! Proxies in front of us that the configuration does not name.
//!
//! Behind a proxy or CDN that is not in `client_address.trusted_proxies`, all people are one client:
//! limits meant for one throttle them all, and what is decided about one is decided about everybody.
//! The field in which the proxy names its clients is there to be seen, so it is shown: in the log,
//! in `thornwall status` and as a metric.
//!
//! Anybody can send such a field, and an operator who trusts a stranger lets it pose as whomever it
//! likes. So a forged field must not look like a proxy: a peer is reported only where it names
//! several different clients, and does so in nearly all of its requests, which a proxy does and an
//! address behind which strangers come together (a container's network, a NAT) does not. The report
//! says what must be true before it is trusted.
//!
//! It costs requests without such a field nothing as long as no peer sends one.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use http::HeaderName;
use parking_lot::Mutex;
use prometheus::IntCounter;
use serde_json::{Map, Value, json};
use thornwall_detectors::address::is_global;

use crate::{families::Families, pseudonymise::Pseudonymiser};

/// Peers that are watched at once.
const MOST_PEERS: usize = 64;
/// Different clients of a peer that are distinguished.
const MOST_CLIENTS: usize = 16;
/// Different clients that a peer has to name: one of a private network, where own proxies stand and
/// strangers do not, and one of the internet, who may be a bot with many false names.
const CLIENTS_OF_PRIVATE: usize = 3;
const CLIENTS_OF_PUBLIC: usize = MOST_CLIENTS;
/// One request in this many may come without the field, such as a proxy's own health check.
const FEW: u32 = 10;
/// When both counts of a peer are halved, so that what it does now counts.
const MANY: u32 = 10_000;
/// How long a peer is reported, and after which it is logged again.
const FRESH: Duration = Duration::from_secs(3600);
/// Time between two lines of the log about any peers.
const PAUSE: Duration = Duration::from_secs(10);

/// What is counted of requests whose peer names another client and is not believed.
#[derive(Debug, Clone)]
pub(crate) struct ProxyMetrics {
    private: IntCounter,
    public: IntCounter,
}

impl ProxyMetrics {
    pub(crate) fn register(make: &Families<'_>) -> prometheus::Result<Self> {
        let claims = make.counters(
            "thornwall_untrusted_forwarding_total",
            "Requests whose peer names another client and is no trusted proxy, by the peer's network.",
            &["peer"],
        )?;
        Ok(Self {
            private: claims.with_label_values(&["private"]),
            public: claims.with_label_values(&["public"]),
        })
    }
}

/// What advice about a peer goes by.
pub(crate) struct Terms<'a> {
    /// The field that names clients, as it is configured.
    pub(crate) header: &'a HeaderName,
    /// How addresses may be shown.
    pub(crate) pseudonymiser: &'a Pseudonymiser,
    /// Milliseconds of Unix time.
    pub(crate) unix_ms: u64,
}

/// The peers that name other clients, bounded.
#[derive(Debug)]
pub(crate) struct Proxies {
    metrics: ProxyMetrics,
    /// Whether there is anything in the table.
    watching: AtomicBool,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    peers: Vec<Peer>,
    /// When one was last logged.
    logged: Option<Duration>,
}

#[derive(Debug)]
struct Peer {
    address: IpAddr,
    field: HeaderName,
    clients: Vec<IpAddr>,
    with: u32,
    without: u32,
    seen: Duration,
    logged: Option<Duration>,
}

impl Proxies {
    pub(crate) const fn new(metrics: ProxyMetrics) -> Self {
        Self {
            metrics,
            watching: AtomicBool::new(false),
            table: Mutex::new(Table {
                peers: Vec::new(),
                logged: None,
            }),
        }
    }

    /// Whether a request is looked at: one that `names` another client than its peer, and any other as long as
    /// there is anything in the table.
    pub(crate) fn looks_at(&self, names: bool) -> bool {
        names || self.watching.load(Relaxed)
    }

    /// Notes a request that goes on to its origin, and whom its peer named in vain.
    pub(crate) fn note<'a>(
        &self,
        peer: IpAddr,
        claim: Option<&(HeaderName, IpAddr)>,
        now: Duration,
        terms: impl FnOnce() -> Terms<'a>,
    ) {
        let Some((field, client)) = claim else {
            // Under contention a request is not looked at, rather than made to wait.
            if let Some(mut table) = self.table.try_lock() {
                table.saw_none(peer);
                if !table.is_fresh(now) {
                    self.watching.store(false, Relaxed);
                }
            }
            return;
        };
        match is_private(peer) {
            true => self.metrics.private.inc(),
            false => self.metrics.public.inc(),
        }
        let Some(mut table) = self.table.try_lock() else {
            return;
        };
        table.saw(peer, field, *client, now);
        self.watching.store(true, Relaxed);
        let due = table.due(peer, now).map(|peer| peer.advice(&terms()));
        drop(table);
        if let Some(advice) = due {
            log::warn!("{}", advice.warning());
        }
    }

    /// The peers to report, by address; `None` where there are none.
    pub(crate) fn status(
        &self,
        is_trusted: impl Fn(IpAddr) -> bool,
        now: Duration,
        terms: &Terms<'_>,
    ) -> Option<Map<String, Value>> {
        let table = self.table.lock();
        let proxies = table.peers.iter().filter(|peer| {
            let fresh = now.saturating_sub(peer.seen) < FRESH;
            fresh && peer.is_proxy() && !is_trusted(peer.address)
        });
        let shown: Map<String, Value> = proxies
            .map(|peer| peer.advice(terms))
            .map(|advice| (advice.peer.clone(), advice.to_json()))
            .collect();
        (!shown.is_empty()).then_some(shown)
    }
}

impl Table {
    /// Whether anybody has named others of late.
    fn is_fresh(&self, now: Duration) -> bool {
        let mut peers = self.peers.iter();
        peers.any(|peer| now.saturating_sub(peer.seen) < FRESH)
    }

    fn saw_none(&mut self, address: IpAddr) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.address == address) {
            peer.without += 1;
            peer.age();
        }
    }

    fn saw(&mut self, address: IpAddr, field: &HeaderName, client: IpAddr, now: Duration) {
        let at = self.peers.iter().position(|peer| peer.address == address);
        let at = at.unwrap_or_else(|| self.make_room(address, field, now));
        let peer = &mut self.peers[at];
        peer.with += 1;
        peer.seen = now;
        if peer.field != *field {
            peer.field = field.clone();
        }
        // A company's proxy names addresses of its own network, and is none of ours.
        let counts = is_private(address) || is_global(client, client);
        let known = client == address || peer.clients.contains(&client);
        if counts && !known && peer.clients.len() < MOST_CLIENTS {
            peer.clients.push(client);
        }
        peer.age();
    }

    /// The place of a new peer: where the table is full, that of the one which names fewest.
    fn make_room(&mut self, address: IpAddr, field: &HeaderName, now: Duration) -> usize {
        let peer = Peer {
            address,
            field: field.clone(),
            clients: Vec::new(),
            with: 0,
            without: 0,
            seen: now,
            logged: None,
        };
        if self.peers.len() < MOST_PEERS {
            self.peers.push(peer);
            return self.peers.len() - 1;
        }
        let worth = |peer: &Peer| {
            let fresh = now.saturating_sub(peer.seen) < FRESH;
            (
                fresh,
                is_private(peer.address),
                peer.clients.len(),
                peer.seen,
            )
        };
        let least = self
            .peers
            .iter()
            .enumerate()
            .min_by_key(|(_, peer)| worth(peer));
        let at = least.map_or(0, |(at, _)| at);
        self.peers[at] = peer;
        at
    }

    /// The peer, where it is to be logged now.
    fn due(&mut self, address: IpAddr, now: Duration) -> Option<&Peer> {
        let past = |logged: Option<Duration>, pause: Duration| {
            logged.is_none_or(|logged| now.saturating_sub(logged) >= pause)
        };
        let peer = self.peers.iter_mut().find(|peer| peer.address == address)?;
        if !peer.is_proxy() || !past(peer.logged, FRESH) || !past(self.logged, PAUSE) {
            return None;
        }
        peer.logged = Some(now);
        self.logged = Some(now);
        Some(peer)
    }
}

impl Peer {
    /// Whether it does what proxies do.
    fn is_proxy(&self) -> bool {
        let least = match is_private(self.address) {
            true => CLIENTS_OF_PRIVATE,
            false => CLIENTS_OF_PUBLIC,
        };
        self.clients.len() >= least && self.without <= self.with / FEW
    }

    const fn age(&mut self) {
        if self.with.saturating_add(self.without) > MANY {
            self.with /= 2;
            self.without /= 2;
        }
    }

    fn advice(&self, terms: &Terms<'_>) -> Advice {
        // A stranger's address is shown as far as it may be, and then there is no line to add.
        let hidden = terms.pseudonymiser.hides() && !is_private(self.address);
        let header = match self.field == *terms.header {
            true => String::new(),
            false => format!(", header = \"{}\"", self.field),
        };
        let line = format!(
            "[client_address] trusted_proxies = [\"{}\"]{header}",
            self.address
        );
        Advice {
            peer: match hidden {
                true => terms.pseudonymiser.client(self.address, terms.unix_ms),
                false => self.address.to_string(),
            },
            field: self.field.to_string(),
            clients: self.clients.len(),
            line: (!hidden).then_some(line),
        }
    }
}

/// The report to the operator.
struct Advice {
    peer: String,
    field: String,
    clients: usize,
    line: Option<String>,
}

/// What must be true before a peer is trusted.
const ONLY_IF: &str = "only if this address is your own proxy or CDN, and sets that field itself: \
    anybody else could then pose as any client";

impl Advice {
    /// `3`, or `16 or more`.
    fn count(&self) -> String {
        match self.clients {
            MOST_CLIENTS => format!("{MOST_CLIENTS} or more"),
            few => few.to_string(),
        }
    }

    fn line(&self) -> &str {
        let hidden = "its address, which privacy.mode hides, to client_address.trusted_proxies";
        self.line.as_deref().unwrap_or(hidden)
    }

    fn warning(&self) -> String {
        format!(
            "a peer that is no trusted proxy names clients, who all count as one; peer={} field={} \
             clients={} add={} ({ONLY_IF})",
            self.peer,
            self.field,
            self.count(),
            self.line(),
        )
    }

    fn to_json(&self) -> Value {
        json!({
            "names_clients_in": self.field,
            "clients": self.count(),
            "add": self.line(),
            "but": ONLY_IF,
        })
    }
}

fn is_private(address: IpAddr) -> bool {
    !is_global(address, address)
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, time::Duration};

    use http::HeaderName;

    use super::{FRESH, MOST_PEERS, PAUSE, Table};

    const FIELD: HeaderName = HeaderName::from_static("x-forwarded-for");
    const START: Duration = Duration::from_secs(1);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Requests of a peer that name the first so many addresses after another.
    fn name(table: &mut Table, peer: &str, first: &str, clients: u8) {
        let IpAddr::V4(first) = address(first) else {
            panic!("{first}");
        };
        for client in 0..clients {
            let client = IpAddr::V4((first.to_bits() + u32::from(client)).into());
            table.saw(address(peer), &FIELD, client, START);
        }
    }

    #[test]
    fn several_clients_make_a_proxy_and_one_does_not() {
        let check = |peer: &str, first: &str, clients: u8, proxy: bool| {
            let mut table = Table::default();
            name(&mut table, peer, first, clients);
            let due = table.due(address(peer), START).is_some();
            assert_eq!(due, proxy, "{peer} {first} {clients}");
        };
        check("10.0.0.5", "192.0.2.1", 2, false);
        check("10.0.0.5", "192.0.2.1", 3, true);
        check("10.0.0.5", "10.9.0.1", 3, true);
        check("::1", "192.0.2.1", 3, true);
        check("198.51.100.7", "192.0.2.1", 15, false);
        check("198.51.100.7", "192.0.2.1", 16, true);
        check("198.51.100.7", "192.168.0.1", 100, false);
    }

    #[test]
    fn an_address_that_strangers_share_is_no_proxy() {
        let mut table = Table::default();
        let peer = address("172.17.0.1");
        name(&mut table, "172.17.0.1", "192.0.2.1", 20);
        for _ in 0..3 {
            table.saw_none(peer);
        }
        assert!(table.due(peer, START).is_none());
        name(&mut table, "172.17.0.1", "192.0.2.1", 20);
        assert!(table.due(peer, START).is_some());
    }

    #[test]
    fn the_log_is_told_now_and_then() {
        let mut table = Table::default();
        let (one, other) = (address("10.0.0.5"), address("10.0.0.6"));
        name(&mut table, "10.0.0.5", "192.0.2.1", 3);
        name(&mut table, "10.0.0.6", "192.0.2.1", 3);
        assert!(table.due(one, START).is_some());
        assert!(table.due(one, START).is_none());
        assert!(table.due(other, START).is_none());
        assert!(table.due(other, START + PAUSE).is_some());
        assert!(table.due(one, START + PAUSE).is_none());
        assert!(table.due(one, START + FRESH).is_some());
    }

    #[test]
    fn strangers_push_no_proxy_out() {
        let mut table = Table::default();
        name(&mut table, "10.0.0.5", "192.0.2.1", 3);
        name(&mut table, "198.51.100.7", "192.0.2.1", 9);
        for stranger in 0..1000_u32 {
            let stranger = IpAddr::V4((0x0100_0000 + stranger).into());
            table.saw(stranger, &FIELD, address("192.0.2.1"), START);
        }
        assert_eq!(table.peers.len(), MOST_PEERS);
        let kept = |peer: &str| table.peers.iter().any(|kept| kept.address == address(peer));
        assert!(kept("10.0.0.5") && kept("198.51.100.7"));
    }
}
