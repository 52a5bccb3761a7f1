//! The parts of a generation, each built and checked on its own.

use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
    path::PathBuf,
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use http::HeaderName;
use thornwall_decisions::prefix_set::{Prefix, PrefixSet};
use thornwall_filters::{
    carry::Carry,
    context::FilterContext,
    counters::{MemoryCounters, SharedCounters},
    deception::links::Links,
    key::KeySeed,
    metrics::FilterMetrics,
    pipeline::Pipeline,
};
use thornwall_settings::report::Report;
use thornwall_settings::{file::ConfigFile, load::Problem};
use toml::Spanned;

use super::{Backend, ClientAddress, Cold, Inputs, Route, Site, edge, socket_address, unknown};
use crate::{
    config::{self, Config},
    cookies::Cookies,
    escalate::{self, Sidecars},
    hosts::normalise_host,
    mark::Mark,
    robots::Robots,
    shared::Shared,
    tarpit::TarpitLimits,
    tls::SiteTls,
    upstream::Upstream,
};

/// What filters may need, and the counters among it that other gateways keep too.
pub(super) fn context(
    file: &ConfigFile,
    config: &Config,
    inputs: &Inputs<'_>,
) -> (FilterContext, Option<Arc<SharedCounters>>) {
    let folder = file.folder();
    let resolve = |path: &String| folder.join(path);
    let mut context = FilterContext {
        models_dir: config
            .server
            .models_dir
            .as_ref()
            .map_or_else(default_models_dir, resolve),
        onnxruntime: config.server.onnxruntime.as_ref().map(resolve),
        workers: threads(config),
        decisions: Arc::clone(inputs.decisions),
        gateways_share: config.store.url.is_some(),
        key_seed: match config.store.url {
            Some(_) => KeySeed::shared(config.store.tenant.get_ref()),
            None => KeySeed::new(inputs.secret),
        },
        carry: Carry {
            previous: inputs
                .previous
                .map(|previous| previous.carried.clone())
                .unwrap_or_default(),
            ..Carry::default()
        },
        report: Report {
            file: file.path.clone(),
            folder,
            scope: "clients".to_owned(),
            ..Report::default()
        },
        ..FilterContext::default()
    };
    let shared = context
        .gateways_share
        .then(|| context.carry_over("shared_counters", |_| true, SharedCounters::default));
    let stats = match &shared {
        Some(counters) => {
            context.counters = Arc::<SharedCounters>::clone(counters);
            counters.local().stats()
        }
        None => {
            let counters: Arc<MemoryCounters> =
                context.carry_over("counters", |_| true, MemoryCounters::default);
            let stats = counters.stats();
            context.counters = counters;
            stats
        }
    };
    for (name, stats) in stats {
        context.show_table(name, stats);
    }
    (context, shared)
}

/// What is kept for sidecars, over all generations. What is wrong with `[escalation]` is told where
/// it is resolved.
pub(super) fn sidecars(config: &Config, context: &mut FilterContext) -> Option<Arc<Sidecars>> {
    let spec = config.escalation.as_ref()?;
    let addresses: Vec<&str> = spec.addresses().iter().map(|(text, _)| *text).collect();
    let decisions = Arc::clone(&context.decisions);
    let most = *spec.max_cases.get_ref();
    let fresh = Sidecars::new(&addresses, most, context.key_seed, decisions)?;
    context.report.scope = "escalation".to_owned();
    let sidecars = context.carry_over("sidecars", |_| true, || fresh);
    context.escalation = Some(Arc::<Sidecars>::clone(&sidecars));
    Some(sidecars)
}

/// Where packages put the models.
const INSTALLED_MODELS: &str = "/usr/share/thornwall/models";

fn default_models_dir() -> PathBuf {
    let here = PathBuf::from("models");
    if here.is_dir() {
        return here;
    }
    PathBuf::from(INSTALLED_MODELS)
}

/// More threads than any machine has are a mistake.
const MOST_THREADS: usize = 1024;

fn threads(config: &Config) -> usize {
    match *config.server.threads.get_ref() {
        0 => available_parallelism().map_or(1, usize::from),
        threads => threads.min(MOST_THREADS),
    }
}

/// The most take some 100 MiB.
const DECISIONS: RangeInclusive<usize> = 1024..=4_194_304;

/// Sockets, threads and the ring of recent decisions.
fn check_process(config: &Config, file: &ConfigFile, report: &mut Report) {
    if config.listener.is_empty() {
        report.problems.push(Problem::in_file(
            &file.path,
            "no listener; expected a `[[listener]]` with an address",
        ));
    }
    for listener in &config.listener {
        if socket_address(listener).is_none() {
            let what = no_socket(listener.address.get_ref());
            report.problem(listener.address.span(), what);
        }
    }
    let admin = config.admin.address.get_ref();
    match admin.parse::<std::net::SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => report.warnings.push(format!(
            "admin.address = \"{admin}\" listens on every network; it belongs on a private one"
        )),
        Ok(_) => {}
        Err(_) => report.problem(config.admin.address.span(), no_socket(admin)),
    }
    if *config.server.threads.get_ref() > MOST_THREADS {
        let what = format!("too many threads; expected at most {MOST_THREADS}");
        report.problem(config.server.threads.span(), what);
    }
    let recent = *config.server.recent_decisions.get_ref();
    if !(16..=1 << 20).contains(&recent) {
        let what = "out of bounds; expected 16 to 1048576 decisions";
        report.problem(config.server.recent_decisions.span(), what);
    }
}

pub(super) fn cold(config: &Config, file: &ConfigFile, report: &mut Report) -> Option<Cold> {
    let before = report.problems.len();
    check_process(config, file, report);
    let decisions = most_decisions(&config.store, report);
    let shared = Shared::read(&config.store, report);
    check_privacy(config, report);
    let tenant = config.store.tenant.get_ref();
    let escalation = config.escalation.as_ref();
    let escalation = escalation.and_then(|spec| escalate::Settings::read(spec, tenant, report));
    let data_dir = report.resolve(&config.server.data_dir);
    let resolved = |path: &Option<String>| path.as_ref().map(|path| report.resolve(path));
    let shared = shared.filter(|_| report.problems.len() == before)?;
    Some(Cold {
        listeners: config.listener.iter().map(edge::listener).collect(),
        admin: config.admin.address.get_ref().clone(),
        threads: threads(config),
        token_file: match &config.admin.token_file {
            Some(path) => report.resolve(path),
            None => data_dir.join("admin.token"),
        },
        viewer_token_file: resolved(&config.admin.viewer_token_file),
        store: *config.store.kind.get_ref(),
        shared,
        escalation,
        max_decisions: decisions,
        data_dir,
        access_log: access_log(&config.access_log.file, report),
        recent_decisions: *config.server.recent_decisions.get_ref(),
        privacy: *config.privacy.mode.get_ref(),
        nftables_file: resolved(&config.export.nftables_file),
        fail2ban_log: resolved(&config.export.fail2ban_log),
        onnxruntime: resolved(&config.server.onnxruntime),
    })
}

/// The same, and what is wrong with the files that its tasks read.
pub(super) fn checked_cold(
    config: &Config,
    file: &ConfigFile,
    report: &mut Report,
) -> Option<Cold> {
    let cold = cold(config, file, report)?;
    cold.shared.check(&config.store, report);
    if let (Some(settings), Some(spec)) = (&cold.escalation, &config.escalation) {
        settings.check(spec, report);
    }
    Some(cold)
}

fn most_decisions(spec: &config::Store, report: &mut Report) -> usize {
    let decisions = *spec.max_decisions.get_ref();
    if !DECISIONS.contains(&decisions) {
        let (least, most) = DECISIONS.into_inner();
        let what = format!("out of bounds; expected {least} to {most} decisions");
        report.problem(spec.max_decisions.span(), what);
    }
    decisions
}

/// What others are told cannot be taken back, and is told as it is or not at all.
fn check_privacy(config: &Config, report: &mut Report) {
    if *config.privacy.mode.get_ref() == config::PrivacyMode::Full {
        return;
    }
    let told = [
        (
            "export.nftables_file",
            config.export.nftables_file.is_some(),
        ),
        ("export.fail2ban_log", config.export.fail2ban_log.is_some()),
        ("store.url", config.store.url.is_some()),
        ("escalation", config.escalation.is_some()),
    ];
    for (key, _) in told.iter().filter(|(_, is_told)| *is_told) {
        let what = format!(
            "{key} hands out addresses, which privacy.mode forbids; expected one of the two, or \
             privacy.mode = \"full\""
        );
        report.problem(config.privacy.mode.span(), what);
    }
}

fn no_socket(text: &str) -> String {
    format!("`{text}` is no socket address; expected address and port, such as \"127.0.0.1:8080\"")
}

fn access_log(file: &str, report: &Report) -> String {
    match file {
        "stdout" | "off" => file.to_owned(),
        path => report.resolve(path).display().to_string(),
    }
}

pub(super) fn client_address(
    spec: &config::ClientAddress,
    report: &mut Report,
) -> Option<ClientAddress> {
    let before = report.problems.len();
    let mut prefixes = Vec::new();
    for text in &spec.trusted_proxies {
        match text.get_ref().parse::<Prefix>() {
            Ok(prefix) => prefixes.push(prefix),
            Err(error) => report.problem(text.span(), error.to_string()),
        }
    }
    for broad in prefixes.iter().filter(|prefix| prefix.is_broad()) {
        report.warnings.push(format!(
            "client_address.trusted_proxies: {broad} is a large part of all addresses: whoever is in it is \
             nobody's client, so that no list, decision or cap holds, and may name any address as its own"
        ));
    }
    let header = HeaderName::from_bytes(spec.header.get_ref().as_bytes());
    if header.is_err() {
        let what = format!("`{}` is no header name", spec.header.get_ref());
        report.problem(spec.header.span(), what);
    }
    let header = header.ok()?;
    (report.problems.len() == before).then(|| ClientAddress {
        trusted: prefixes.into_iter().collect::<PrefixSet>(),
        header,
    })
}

/// As requests have them.
pub(super) fn admin_hosts(spec: &config::Admin, report: &mut Report) -> Vec<String> {
    let mut names = Vec::new();
    for host in &spec.hosts {
        match normalise_host(host.get_ref()) {
            Some(name) => names.push(name),
            None => {
                let what = format!("`{}` is no host name", host.get_ref());
                report.problem(host.span(), what);
            }
        }
    }
    names
}

pub(super) fn tarpit(spec: &config::Tarpit, report: &mut Report) -> Option<TarpitLimits> {
    let before = report.problems.len();
    let interval = *spec.interval_ms.get_ref();
    if !(10..=600_000).contains(&interval) {
        report.problem(
            spec.interval_ms.span(),
            "out of bounds; expected 10 to 600000",
        );
    }
    let total = *spec.max_secs.get_ref();
    if !(1..=86_400).contains(&total) {
        report.problem(spec.max_secs.span(), "out of bounds; expected 1 to 86400");
    }
    let most = most_held();
    if spec.max_connections > most {
        report.warnings.push(format!(
            "tarpit.max_connections = {} is lowered to {most}, half of the limit on open files: \
             the other half is for people",
            spec.max_connections
        ));
    }
    (report.problems.len() == before).then(|| TarpitLimits {
        max_connections: spec.max_connections.min(most),
        max_per_client: spec.max_per_client,
        interval: Duration::from_millis(interval),
        total: Duration::from_secs(total),
    })
}

/// Half of the files that this process may open.
fn most_held() -> usize {
    edge::open_files() / 2
}

pub(super) type Named<T> = HashMap<String, Option<Arc<T>>>;

pub(super) fn upstreams(
    specs: &[config::Upstream],
    secret: &[u8; 32],
    report: &mut Report,
    carry: &mut Carry,
) -> Named<Upstream> {
    let mut named = Named::new();
    for spec in specs {
        let built = Upstream::build(spec, secret, report, carry).map(Arc::new);
        insert_once(&mut named, "upstream", &spec.name, built, report);
    }
    named
}

pub(super) fn pipelines(
    config: &Config,
    metrics: &FilterMetrics,
    context: &mut FilterContext,
) -> Named<Pipeline> {
    let mut named = Named::new();
    for (at, spec) in config.pipeline.iter().enumerate() {
        let (before, warnings) = (context.report.problems.len(), context.report.warnings.len());
        let built = Pipeline::build(spec, metrics, context).map(Arc::new);
        if config.standard_added && at + 1 == config.pipeline.len() {
            // Nobody wrote what they would be about.
            context.report.warnings.truncate(warnings);
            // Its spans point into the built-in text and not into the file.
            for problem in &mut context.report.problems[before..] {
                problem.span = None;
                problem.what = format!("built-in pipeline `standard`: {}", problem.what);
            }
        }
        insert_once(
            &mut named,
            "pipeline",
            &spec.name,
            built,
            &mut context.report,
        );
    }
    named
}

fn insert_once<T>(
    named: &mut Named<T>,
    kind: &str,
    name: &Spanned<String>,
    built: Option<Arc<T>>,
    report: &mut Report,
) {
    if named.insert(name.get_ref().clone(), built).is_some() {
        let what = format!(
            "{kind} `{}` is there twice; expected unique names",
            name.get_ref()
        );
        report.problem(name.span(), what);
    }
}

/// The ports of the public listeners.
pub(super) fn ports(config: &Config) -> Vec<u16> {
    let addresses = config.listener.iter().filter_map(socket_address);
    addresses.map(|address| address.port()).collect()
}

/// What is known of the hosts' robots.txt.
pub(super) fn robots(context: &mut FilterContext) -> Arc<Robots> {
    context.report.scope = "sites".to_owned();
    let robots = context.carry_over("robots", |_| true, Robots::default);
    context.show_table("robots", robots.stats());
    robots
}

pub(super) fn site(
    spec: &config::Site,
    tls: SiteTls,
    upstreams: &Named<Upstream>,
    pipelines: &Named<Pipeline>,
    inputs: &Inputs<'_>,
    report: &mut Report,
) -> Option<Site> {
    if spec.hosts.get_ref().is_empty() {
        report.problem(
            spec.hosts.span(),
            "no host; expected a name, `*.name` or `*`",
        );
    }
    let upstream = look_up(upstreams, "upstream", &spec.upstream, report);
    let pipeline = look_up(pipelines, "pipeline", &spec.pipeline, report);
    let name = spec.name.get_ref().clone();
    let Some(id) = inputs.decisions.sites().number(&name) else {
        let what = "no number is left for another site; restart to give them anew";
        report.problem(spec.name.span(), what);
        return None;
    };
    Some(Site {
        id,
        max_body_bytes: (spec.max_body_bytes != 0).then_some(spec.max_body_bytes),
        routes: vec![Route {
            pipeline: pipeline?,
            backend: Backend::Upstream(upstream?),
        }],
        links: Arc::new(Links::new(inputs.secret, &name)),
        rewrite_redirects: spec.rewrite_redirects,
        cookies: Cookies::build(spec, report),
        mark: Mark::of(id).ok()?,
        tls,
        name: name.into(),
    })
}

fn look_up<T>(
    named: &Named<T>,
    kind: &str,
    name: &Spanned<String>,
    report: &mut Report,
) -> Option<Arc<T>> {
    let found = named.get(name.get_ref());
    if found.is_none() {
        let mut known: Vec<String> = named.keys().cloned().collect();
        known.sort();
        report.problem(name.span(), unknown(kind, name, &known));
    }
    found.and_then(Option::clone)
}

/// Most sites of one configuration: their numbers are 16 bits wide.
const MOST_SITES: usize = 65_535;

pub(super) fn check_sites(sites: &[config::Site], file: &std::path::Path, report: &mut Report) {
    if sites.is_empty() {
        report.problems.push(Problem::in_file(
            file,
            "no site; expected a `[[site]]`, or exactly one `[[upstream]]`",
        ));
    }
    let mut names = HashSet::new();
    for (at, site) in sites.iter().enumerate() {
        let name = site.name.get_ref();
        if !names.insert(name) {
            let what = format!("site `{name}` is there twice; expected unique names");
            report.problem(site.name.span(), what);
        }
        if at == MOST_SITES {
            let what = format!("too many sites; expected at most {MOST_SITES}");
            report.problem(site.name.span(), what);
        }
    }
}
