//! Every counter and gauge of the process, in one registry.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{
    Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};
use thornwall_decisions::store::StoreMetrics;
use thornwall_detectors::signal::Reason;
use thornwall_filters::{metrics::FilterMetrics, table_stats::TableStats};

use crate::{
    export::ExportMetrics,
    families::{Families, bring_to},
    feeds::FeedMetrics,
    proxies::ProxyMetrics,
    tarpit::TarpitMetrics,
    tls::Expiry,
    upstream::metrics::UpstreamMetrics,
};

mod connections;
mod escalation;
mod requests;
mod shared_store;

pub(crate) use connections::EdgeMetrics;
use escalation::EscalationMetrics;
use requests::RequestMetrics;
use shared_store::SharedStoreMetrics;

/// All families of the gateway.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// What the runner of the pipelines counts.
    pub filters: FilterMetrics,
    /// What the tarpit counts.
    pub tarpit: TarpitMetrics,
    /// What the edge counts.
    pub edge: EdgeMetrics,
    /// What is counted about exports.
    pub export: ExportMetrics,
    /// What is counted about feeds.
    pub feeds: FeedMetrics,
    /// What is counted about proxies that are not trusted.
    pub proxies: ProxyMetrics,
    /// What the store counts.
    pub store: StoreMetrics,
    /// What is counted about requests.
    pub(crate) requests: RequestMetrics,
    own_answers: IntCounterVec,
    reloads: IntCounterVec,
    pub(crate) tables: TableGauges,
    /// The way to other stores.
    pub(crate) shared: SharedStoreMetrics,
    /// The ways to the sidecars.
    pub(crate) escalation: EscalationMetrics,
    /// What is counted of upstreams; locked while it is filled and read.
    pub(crate) upstreams: Mutex<UpstreamMetrics>,
    /// Requests that `explain` can find.
    pub(crate) recent: IntGauge,
    /// Number of the serving generation.
    pub(crate) generation: IntGauge,
    certificates: IntGaugeVec,
    adaptive: IntGaugeVec,
    /// Connections of the admin listener that gave way to others.
    pub admin_gave_way: IntCounter,
    /// Lines that the access log had no room for.
    pub log_dropped: IntCounter,
}

/// Families with a row for each bounded table.
#[derive(Debug)]
pub(crate) struct TableGauges {
    entries: IntGaugeVec,
    capacity: IntGaugeVec,
    evictions: IntCounterVec,
    overflows: IntCounterVec,
}

impl Metrics {
    /// Registers every family in a fresh registry.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let make = Families::of(&registry);
        Ok(Self {
            filters: FilterMetrics::register(&registry)?,
            tarpit: TarpitMetrics::register(&make)?,
            edge: EdgeMetrics::register(&make)?,
            export: ExportMetrics::register(&make)?,
            feeds: FeedMetrics::register(&make)?,
            proxies: ProxyMetrics::register(&make)?,
            store: StoreMetrics::register(&registry)?,
            requests: RequestMetrics::register(&make)?,
            own_answers: make.counters(
                "thornwall_answers_total",
                "Answers of our own, by reason code.",
                &["reason"],
            )?,
            reloads: make.counters(
                "thornwall_reloads_total",
                "Reloads of the configuration, by whether they took effect.",
                &["result"],
            )?,
            tables: TableGauges::register(&make)?,
            shared: SharedStoreMetrics::register(&make)?,
            escalation: EscalationMetrics::register(&make)?,
            upstreams: Mutex::new(UpstreamMetrics::register(&make)?),
            recent: make.gauge(
                "thornwall_recent_decisions",
                "Decisions that explain can find.",
            )?,
            generation: make.gauge("thornwall_generation", "Number of the serving generation.")?,
            certificates: make.gauges(
                "thornwall_certificate_expiry_timestamp_seconds",
                "When a certificate, or the first of its chain, ends; by its first name.",
                &["host", "key"],
            )?,
            adaptive: make.gauges(
                "thornwall_rate_limit_adaptive",
                "What a limit that changes with the origin is now, in requests of its own time.",
                &["site", "filter"],
            )?,
            admin_gave_way: make.counter(
                "thornwall_admin_connections_dropped_total",
                "Connections of the admin listener that gave way to others.",
            )?,
            log_dropped: make.counter(
                "thornwall_access_log_dropped_total",
                "Access lines that found no room.",
            )?,
            registry,
        })
    }

    /// Counts one ended request.
    pub(crate) fn request(&self, site: &str, ruling: &str, status: u16, seconds: f64) {
        self.requests.count(site, ruling, status, seconds);
    }

    /// Counts one answer that did not come from the origin.
    pub(crate) fn own_answer(&self, reason: Reason) {
        self.own_answers.with_label_values(&[reason.code()]).inc();
    }

    pub(crate) fn reload(&self, took_effect: bool) {
        let result = if took_effect { "applied" } else { "refused" };
        self.reloads.with_label_values(&[result]).inc();
    }

    /// Shows when certificates end.
    pub(crate) fn show_certificates<'a>(&self, expiries: impl Iterator<Item = Expiry<'a>>) {
        // Names that a reload took away are no names any more.
        self.certificates.reset();
        for expiry in expiries {
            let labels = [expiry.host, expiry.key];
            self.certificates
                .with_label_values(&labels)
                .set(expiry.expires);
        }
    }

    /// Shows limits that change with their origins, by site and filter.
    pub(crate) fn show_adaptive<'a>(&self, limits: impl Iterator<Item = (&'a str, &'a str, u32)>) {
        // Sites and filters that a reload took away have no limits any more.
        self.adaptive.reset();
        for (site, filter, limit) in limits {
            self.adaptive
                .with_label_values(&[site, filter])
                .set(limit.into());
        }
    }

    /// Everything as it stands now, in the text format of Prometheus.
    pub(crate) fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl TableGauges {
    fn register(make: &Families<'_>) -> prometheus::Result<Self> {
        let gauges = |name: &str, help: &str| make.gauges(name, help, &["table"]);
        let counters = |name: &str, help: &str| make.counters(name, help, &["table"]);
        Ok(Self {
            entries: gauges("thornwall_table_entries", "Entries of a bounded table.")?,
            capacity: gauges("thornwall_table_capacity_entries", "Most entries that fit.")?,
            evictions: counters(
                "thornwall_table_evictions_total",
                "Entries given up for others since the table was made.",
            )?,
            overflows: counters(
                "thornwall_table_overflows_total",
                "Requests that found no room since the table was made.",
            )?,
        })
    }

    /// Shows how full the tables are.
    pub(crate) fn show(&self, tables: &[(String, Arc<TableStats>)]) {
        use std::sync::atomic::Ordering::Relaxed;
        let value = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for (name, stats) in tables {
            let set = |family: &IntGaugeVec, count: u64| {
                family.with_label_values(&[name]).set(value(count));
            };
            set(&self.entries, stats.entries.load(Relaxed));
            set(&self.capacity, stats.capacity);
            let raise = |family: &IntCounterVec, count: u64| {
                bring_to(&family.with_label_values(&[name]), count);
            };
            raise(&self.evictions, stats.evictions.load(Relaxed));
            raise(&self.overflows, stats.overflows.load(Relaxed));
        }
    }
}
