//! What the whole process shares.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use thornwall_decisions::{
    clock::{Clock, Moment, ProcessTime},
    decision::{self, ReasonCode, Scope, Source},
    limit_report::Group,
    store::{Store, shared::SharedTables},
};
use thornwall_filters::{decide::Proposal, key::LimitKey, rate::groups::groups};

use crate::{
    access_log::AccessLog,
    arrivals::Arrivals,
    escalate::Sidecars,
    export::{self, BanLog},
    feeds::FeedStatuses,
    generation::Generation,
    metrics::Metrics,
    proxies::{Proxies, Terms},
    pseudonymise::Pseudonymiser,
    quota::ClientQuota,
    recent::Recent,
    record::Ended,
    request_id::RequestId,
    shared_store::StoreStates,
    tarpit::Tarpit,
    unread::UnreadAnswers,
};

/// Everything that outlives a generation.
pub(crate) struct State {
    /// What serves now.
    pub generation: ArcSwap<Generation>,
    /// Every counter and gauge.
    pub metrics: Metrics,
    /// Recent requests, for `explain`.
    pub recent: Recent,
    /// One line per request.
    pub access_log: AccessLog,
    /// Lines for fail2ban.
    pub ban_log: BanLog,
    /// What is decided at run time.
    pub store: Store,
    /// State of the connections to other stores.
    pub store_states: StoreStates,
    /// Gateways that keep limits together, this one included; 0 until they have been counted.
    pub gateways: AtomicU32,
    /// Whether reports of the other gateways arrive.
    gateways_report: AtomicBool,
    /// What is kept for sidecars, where there are any.
    pub sidecars: Option<Arc<Sidecars>>,
    /// The state of every feed.
    pub feeds: FeedStatuses,
    /// Connections held in slow streams.
    pub tarpit: Arc<Tarpit>,
    /// Turns true once, when the process is to end.
    pub shutdown: watch::Receiver<bool>,
    /// Requests under way.
    pub in_flight: Arc<InFlight>,
    /// Requests in flight per client (`max_requests_per_client`).
    pub requests: Arc<ClientQuota>,
    /// WebSockets, event streams and long polls in flight per client.
    pub lasting: Arc<ClientQuota>,
    /// Large answers under way.
    pub unread: Arc<UnreadAnswers>,
    /// Whether the accept loops take new connections; they wait while it is false, without closing
    /// their listeners.
    pub accepting: watch::Sender<bool>,
    /// The gateway's own connections to its listeners.
    pub arrivals: Arrivals,
    /// Turns true once, when every listener was found to be served.
    pub serving: AtomicBool,
    /// Replaces clients' addresses in what is logged and shown.
    pub pseudonymiser: Pseudonymiser,
    /// Peers that name other clients and are not believed.
    pub proxies: Proxies,
    time: ProcessTime,
}

impl State {
    /// The state of a process that starts now.
    pub(crate) fn new(
        generation: Generation,
        metrics: Metrics,
        access_log: AccessLog,
        (store, time, store_states): (Store, ProcessTime, StoreStates),
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let recent = Recent::new(generation.cold.recent_decisions);
        store.decisions().spare(Arc::clone(&generation.never_block));
        Self {
            pseudonymiser: Pseudonymiser::new(generation.cold.privacy),
            tarpit: Arc::new(Tarpit::new(metrics.tarpit.clone())),
            sidecars: generation.sidecars.clone(),
            feeds: FeedStatuses::new(metrics.feeds.clone()),
            proxies: Proxies::new(metrics.proxies.clone()),
            generation: ArcSwap::from_pointee(generation),
            metrics,
            recent,
            access_log,
            ban_log: BanLog::default(),
            store,
            store_states,
            gateways: AtomicU32::new(0),
            gateways_report: AtomicBool::new(true),
            shutdown,
            in_flight: Arc::new(InFlight::default()),
            requests: Arc::default(),
            lasting: Arc::default(),
            unread: Arc::default(),
            accepting: watch::Sender::new(true),
            arrivals: Arrivals::default(),
            serving: AtomicBool::new(false),
            time,
        }
    }

    /// Monotonic time since the start: the clock of every filter.
    pub(crate) fn now(&self) -> Duration {
        self.time.since_start()
    }

    /// The clocks themselves, for parts that know nothing else of the process.
    pub(crate) const fn time(&self) -> ProcessTime {
        self.time
    }

    /// This moment by both clocks.
    pub(crate) fn moment(&self) -> Moment {
        self.time.now()
    }

    /// Both clocks, for parts that run a task of their own.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.time)
    }

    /// Lets this generation serve.
    pub(crate) fn take_up(&self, generation: Generation) {
        let never_block = Arc::clone(&generation.never_block);
        self.store.decisions().spare(never_block);
        self.generation.store(Arc::new(generation));
        // Its limits may be new, and while no report of the others arrives nothing else sets them.
        self.introduce();
    }

    /// Passes what is known of other gateways, if any, on to the limits of the running generation.
    fn introduce(&self) {
        let gateways = self.gateways.load(Ordering::Relaxed);
        let reporting = self.gateways_report.load(Ordering::Relaxed);
        if gateways > 0 {
            for limit in &self.generation.load().shared_limits {
                limit.buckets.meet(gateways, reporting);
            }
        }
    }

    /// Has a decision made that a pipeline proposes because of this request.
    pub(crate) fn propose(&self, proposal: Proposal, site: &Arc<str>, id: RequestId) {
        let Moment { unix_ms, .. } = self.moment();
        let lifetime = u64::try_from(proposal.lifetime.as_millis()).unwrap_or(u64::MAX);
        self.store.propose(decision::Decision {
            subject: proposal.subject,
            scope: Scope::Site(Arc::clone(site)),
            action: proposal.action,
            reason: ReasonCode::Known(proposal.reason),
            source: Source::Filter(proposal.by),
            evidence: proposal.evidence,
            note: String::new(),
            requests: vec![id.to_string()],
            made_ms: unix_ms,
            until_ms: unix_ms.saturating_add(lifetime),
        });
    }

    /// The name of a site by its number.
    fn site_name(&self, number: u16) -> Option<Arc<str>> {
        match self.store.decisions().sites().scope(number)? {
            Scope::Site(name) => Some(name),
            Scope::Deployment => None,
        }
    }

    /// Whether `client` gets no connection.
    pub(crate) fn shuts_out(&self, generation: &Generation, client: IpAddr) -> bool {
        let listed = generation.blocklist.lookup(client).is_some();
        if !listed && !self.store.decisions().denies_connection(client, self.now()) {
            return false;
        }
        !Self::trusts(generation, client) && generation.never_block.lookup(client).is_none()
    }

    /// Counts, keeps and logs an ended request.
    pub(crate) fn conclude(&self, mut request: Ended) {
        if self.pseudonymiser.hides() {
            request.hide(&self.pseudonymiser, self.moment().unix_ms);
        }
        let site = request.site.as_deref().unwrap_or("none");
        let (ruling, took) = (request.ruling(), request.took.as_secs_f64());
        self.metrics.request(site, ruling, request.status, took);
        if let Some(reason) = request.reason {
            self.metrics.own_answer(reason);
        }
        let request = Arc::new(request);
        self.access_log.write(&request);
        self.recent.push(request);
    }

    /// What advice about proxies that are not trusted goes by.
    pub(crate) fn terms<'a>(&'a self, generation: &'a Generation) -> Terms<'a> {
        Terms {
            header: &generation.client_address.header,
            pseudonymiser: &self.pseudonymiser,
            unix_ms: self.moment().unix_ms,
        }
    }

    /// What exports are made of.
    pub(crate) fn denials(&self) -> export::Source<'_> {
        export::Source {
            decisions: self.store.decisions(),
            metrics: &self.metrics.export,
            time: self.time,
        }
    }

    /// Whether the process is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.shutdown.borrow()
    }

    /// Whether a peer's word about its client counts.
    pub(crate) fn trusts(generation: &Generation, peer: IpAddr) -> bool {
        generation.client_address.trusted.lookup(peer).is_some()
    }
}

impl SharedTables for State {
    fn taken(&self) -> Vec<Group> {
        let generation = self.generation.load();
        let limits = generation.shared_limits.iter();
        let name = |number| self.site_name(number);
        limits
            .flat_map(|limit| groups(limit.number, limit.buckets.taken(), name))
            .collect()
    }

    fn owe(&self, group: &Group) {
        let generation = self.generation.load();
        let mut limits = generation.shared_limits.iter();
        let limit = limits.find(|limit| limit.number == group.limit);
        let site = self.store.decisions().sites().known(&group.site);
        // Another configuration's limit or site is none of ours.
        if let (Some(limit), Some(site)) = (limit, site) {
            let now = self.now();
            for (digest, cost) in &group.keys {
                limit.buckets.owe(LimitKey::of(site, *digest), *cost, now);
            }
        }
    }

    fn counted(&self, gateway: u64) -> Option<Vec<u8>> {
        let generation = self.generation.load();
        let counters = generation.shared_counters.as_ref()?;
        counters.report(gateway, self.now(), |number| self.site_name(number))
    }

    fn count(&self, bytes: &[u8], is_reporting: &dyn Fn(u64) -> bool) -> bool {
        let generation = self.generation.load();
        let Some(counters) = &generation.shared_counters else {
            return true;
        };
        let sites = self.store.decisions().sites();
        let number = |site: &str| sites.known(site);
        counters
            .absorb(bytes, is_reporting, self.now(), number)
            .is_ok()
    }

    fn meet(&self, gateways: u32, reporting: bool) {
        self.gateways.store(gateways, Ordering::Relaxed);
        self.gateways_report.store(reporting, Ordering::Relaxed);
        self.introduce();
    }
}

/// Number of requests under way.
#[derive(Debug, Default)]
pub(crate) struct InFlight(AtomicUsize);

impl InFlight {
    /// Counts a request until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> InFlightGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(Arc::clone(self))
    }

    /// Requests under way now.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Guard: counts one request under way until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlightGuard(Arc<InFlight>);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
