//! The sites, with the upstreams and pipelines that they name.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use thornwall_filters::{
    carry::Carry, context::FilterContext, deception::links::Links, metrics::FilterMetrics,
    pipeline::Pipeline,
};
use thornwall_settings::{load::Problem, report::Report};
use toml::Spanned;

use super::{Backend, Inputs, Route, Site, socket_address, unknown};
use crate::{
    config::{self, Config},
    cookies::Cookies,
    mark::Mark,
    tls::SiteTls,
    upstream::Upstream,
};

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
            // The operator has not written what they would be about.
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
