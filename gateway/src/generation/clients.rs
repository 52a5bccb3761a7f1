//! Whom a request counts for, who may ask the operator's listener, and how many the tarpit holds.

use std::time::Duration;

use http::HeaderName;
use thornwall_decisions::prefix_set::{Prefix, PrefixSet};
use thornwall_settings::report::Report;

use super::{ClientAddress, edge};
use crate::{config, hosts::normalise_host, tarpit::TarpitLimits};

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

/// Host names of the operator's listener, in the form that requests have them.
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
