//! One immutable snapshot of everything that is built from one configuration.
//!
//! A request takes one `Arc<Generation>` and keeps it to its end; a reload swaps it for the next.

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

use http::HeaderName;
use thornwall_decisions::{decisions::Decisions, prefix_set::PrefixSet};
use thornwall_filters::{
    carry::Carried, context::FilterContext, counters::SharedCounters, deception::links::Links,
    kinds::blocklist::read_files, metrics::FilterMetrics, rate::SharedLimit,
    table_stats::TableStats,
};
use thornwall_settings::report::Report;
use thornwall_settings::{file::ConfigFile, load::Problem};
use toml::Spanned;

use crate::{
    config::{self, Config, PrivacyMode},
    cookies::Cookies,
    escalate::{self, Sidecars},
    feeds::Spec,
    hosts::Hosts,
    limits::{Limits, ListenerFacts},
    mark::Mark,
    robots::Robots,
    shared_store::StoreSettings,
    tarpit::TarpitLimits,
    tls::{SiteTls, Tls},
    upstream::Upstream,
};

mod clients;
mod cold;
mod context;
mod edge;
mod feeds;
mod loops;
mod never;
mod route;
mod sites;

pub(crate) use route::{Backend, Route};

/// Everything that serves requests until the next reload.
pub(crate) struct Generation {
    /// Counts up from 1 with every reload.
    pub number: u64,
    /// Sites, in the order of the file.
    pub sites: Vec<Site>,
    /// Which site serves which host.
    pub hosts: Arc<Hosts>,
    /// Where it listens to the public.
    pub ports: Vec<u16>,
    /// Peers that are believed about the client's address.
    pub client_address: ClientAddress,
    /// How slow and how many the tarpit holds.
    pub tarpit: TarpitLimits,
    /// What is known of the hosts' robots.txt, over all generations.
    pub robots: Arc<Robots>,
    /// What clients may cost before and beside their requests.
    pub limits: Arc<Limits>,
    /// Who gets no connection.
    pub blocklist: PrefixSet,
    /// About whom nothing is decided.
    pub never_block: Arc<PrefixSet>,
    /// What others publish about addresses.
    pub feeds: Vec<Arc<Spec>>,
    /// Certificates, and what each name asks of TLS.
    pub tls: Tls,
    /// Names that the operator's listener is asked for by.
    pub admin_hosts: Vec<String>,
    /// What only a restart can change.
    pub cold: Cold,
    /// Bounded tables, for their gauges.
    pub tables: Vec<(String, Arc<TableStats>)>,
    /// Counters that gateways keep together, where they do.
    pub shared_counters: Option<Arc<SharedCounters>>,
    /// What is kept for sidecars, where there are any.
    pub sidecars: Option<Arc<Sidecars>>,
    /// Limits that gateways keep together.
    pub shared_limits: Vec<SharedLimit>,
    /// State that the next generation may take over.
    pub carried: Carried,
    /// What works but deserves a second look.
    pub warnings: Vec<String>,
    /// Longest wait for running requests at the end.
    pub shutdown_grace: Duration,
}

/// Hosts that belong together: a tenant.
pub(crate) struct Site {
    /// Stays with the name over reloads: the tenant part of table keys.
    pub id: u16,
    /// The label of metrics and logs.
    pub name: Arc<str>,
    /// Routes of the site: one, for all its paths, until the configuration can name more.
    pub routes: Vec<Route>,
    /// Largest request body; `None` for any.
    pub max_body_bytes: Option<u64>,
    /// Signed links of its tarpit pages.
    pub links: Arc<Links>,
    /// Whether addresses that name the origin itself lead clients back to the gateway.
    pub rewrite_redirects: bool,
    /// What becomes of the origin's cookies.
    pub cookies: Cookies,
    /// What its requests carry, so that they are known when they come back.
    pub mark: Mark,
    /// What it asks of the way to it.
    pub tls: SiteTls,
}

impl Site {
    /// The route of its requests. A site without one serves nothing.
    pub(crate) fn route(&self) -> Option<&Route> {
        self.routes.first()
    }

    /// Whether decisions about clients count on all of it.
    pub(crate) fn enforces_decisions(&self) -> bool {
        let mut routes = self.routes.iter();
        routes.all(|route| route.pipeline.enforces_decisions())
    }
}

/// Who is believed about the client's address.
pub(crate) struct ClientAddress {
    /// Peers whose forwarding headers count.
    pub trusted: PrefixSet,
    /// The header with the client's address.
    pub header: HeaderName,
}

/// Settings that a reload cannot change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cold {
    /// Public sockets: address and what is spoken there.
    pub listeners: Vec<(String, ListenerFacts)>,
    /// The operator's socket.
    pub admin: String,
    pub threads: usize,
    /// Folder of what survives a restart.
    pub data_dir: PathBuf,
    /// File of the operator's token.
    pub token_file: PathBuf,
    /// File of the token of those who may only look.
    pub viewer_token_file: Option<PathBuf>,
    /// Where decisions are kept.
    pub store: config::StoreKind,
    /// Where they are shared, and read from the predecessor.
    pub shared: StoreSettings,
    /// Where sidecars are.
    pub escalation: Option<escalate::Settings>,
    /// Decisions that are kept at most.
    pub max_decisions: usize,
    /// Where access lines go.
    pub access_log: String,
    /// Size of the ring of recent decisions.
    pub recent_decisions: usize,
    /// How clients' addresses are logged and shown.
    pub privacy: PrivacyMode,
    pub nftables_file: Option<PathBuf>,
    /// Log for fail2ban.
    pub fail2ban_log: Option<PathBuf>,
    /// ONNX Runtime's library, which a process loads once.
    pub onnxruntime: Option<PathBuf>,
}

/// What a generation is built from besides its configuration.
pub(crate) struct Inputs<'a> {
    /// Families of filter metrics.
    pub metrics: &'a FilterMetrics,
    /// The installation's secret, which signs links.
    pub secret: &'a [u8; 32],
    /// What is decided at run time.
    pub decisions: &'a Arc<Decisions>,
    /// The generation that is being replaced.
    pub previous: Option<&'a Generation>,
}

impl Generation {
    /// Builds all of it, or says everything that is wrong. Nothing is touched but files read.
    pub(crate) fn build(file: &ConfigFile, inputs: &Inputs<'_>) -> Result<Self, Vec<Problem>> {
        let loaded = Config::parse(file);
        let mut problems = loaded.problems;
        let Some(mut config) = loaded.value else {
            return Err(problems);
        };
        config.complete();
        let (mut context, shared_counters) = context::context(file, &config, inputs);
        let sidecars = context::sidecars(&config, &mut context);
        loops::warn(&config, &mut context.report);
        let built = Self::assemble(&config, file, inputs, &mut context);
        problems.append(&mut context.report.problems);
        problems.sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
        match built {
            Some(mut generation) if problems.is_empty() => {
                generation.tables = context.tables;
                generation.shared_counters = shared_counters;
                generation.sidecars = sidecars;
                generation.shared_limits = context.shared_limits;
                generation.carried = context.carry.carried;
                generation.warnings = context.report.warnings;
                Ok(generation)
            }
            _ => Err(problems),
        }
    }

    fn assemble(
        config: &Config,
        file: &ConfigFile,
        inputs: &Inputs<'_>,
        context: &mut FilterContext,
    ) -> Option<Self> {
        let report = &mut context.report;
        let cold = cold::cold_with_files(config, file, report);
        let client_address = clients::client_address(&config.client_address, report);
        let tarpit = clients::tarpit(&config.tarpit, report);
        let held = tarpit.as_ref().map_or(0, |tarpit| tarpit.max_connections);
        let limits = edge::limits(&config.limits, held, report);
        let blocklist = read_files(&config.blocklist.files, report);
        let never_block = never::build(config, report);
        let feeds = feeds::build(&config.feed, report);
        let upstreams =
            sites::upstreams(&config.upstream, inputs.secret, report, &mut context.carry);
        let pipelines = sites::pipelines(config, inputs.metrics, context);
        let robots = context::robots(context);
        let report = &mut context.report;
        let hosts = Arc::new(Hosts::build(&config.site, report));
        let before = inputs.previous.map(|previous| &previous.tls);
        let tls = Tls::build(config, &hosts, report, before);
        sites::check_sites(&config.site, &file.path, report);
        let sites: Vec<Option<Site>> = config
            .site
            .iter()
            .enumerate()
            .map(|(at, site)| {
                let policy = tls.as_ref().and_then(|tls| tls.client_policy(at));
                let asks = SiteTls::build(site, policy.cloned(), report);
                sites::site(site, asks, &upstreams, &pipelines, inputs, report)
            })
            .collect();
        let sites: Vec<Site> = sites.into_iter().collect::<Option<_>>()?;
        Some(Self {
            number: inputs.previous.map_or(1, |previous| previous.number + 1),
            sites,
            hosts,
            ports: sites::ports(config),
            robots,
            client_address: client_address?,
            tarpit: tarpit?,
            limits: Arc::new(limits?),
            blocklist: blocklist.ok()?,
            never_block: Arc::new(never_block?),
            feeds: feeds?,
            tls: tls?,
            admin_hosts: clients::admin_hosts(&config.admin, report),
            cold: cold?,
            tables: Vec::new(),
            shared_counters: None,
            sidecars: None,
            shared_limits: Vec::new(),
            carried: Carried::new(),
            warnings: Vec::new(),
            shutdown_grace: Duration::from_secs(config.server.shutdown_grace_secs),
        })
    }
}

impl Generation {
    /// What limits that change with their origins are now, by site and filter.
    pub(crate) fn adaptive_limits(&self) -> impl Iterator<Item = (&str, &str, u32)> {
        self.sites.iter().flat_map(|site| {
            let limits = (site.routes.iter()).flat_map(|route| route.pipeline.adaptive());
            limits.map(|(filter, limit)| (&*site.name, filter.as_str(), limit.limit(site.id)))
        })
    }

    /// The upstreams that sites use, each once.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = Arc<Upstream>> {
        let mut seen = HashSet::new();
        let routes = self.sites.iter().flat_map(|site| &site.routes);
        let all = routes.filter_map(|route| route.backend.upstream());
        all.filter(move |upstream| seen.insert(Arc::as_ptr(upstream)))
            .cloned()
    }
}

impl Cold {
    /// Only the settings that a reload cannot change, of a file whose rest may be wrong.
    pub(crate) fn read(file: &ConfigFile) -> Result<Self, String> {
        let loaded = Config::parse(file);
        let config = loaded
            .value
            .ok_or_else(|| file.describe(&loaded.problems))?;
        let mut report = Report {
            folder: file.folder(),
            ..Report::default()
        };
        cold::cold(&config, file, &mut report).ok_or_else(|| file.describe(&report.problems))
    }
}

/// Text and place of a name that refers to another table.
type Reference = Spanned<String>;

/// What is wrong with a name that no table has.
fn unknown(kind: &str, name: &Reference, known: &[String]) -> String {
    let name = name.get_ref();
    match known {
        [] => format!("no {kind} `{name}`; there is none at all"),
        _ => format!("no {kind} `{name}`; expected one of {}", known.join(", ")),
    }
}

/// A listener's address as Pingora and the system take it.
fn socket_address(spec: &config::Listener) -> Option<std::net::SocketAddr> {
    spec.address.get_ref().parse().ok()
}
