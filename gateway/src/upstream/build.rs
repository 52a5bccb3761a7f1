//! From an upstream as it is written to one that serves.

use std::{collections::HashSet, time::Duration};

use arc_swap::ArcSwap;
use http::HeaderName;
use thornwall_filters::carry::Carry;
use thornwall_settings::report::Report;
use toml::Spanned;

use super::{
    HashBy, Retry, Server, Settings, Upstream,
    address::Address,
    balance::{Balancer, MOST_RETRIES},
    budget,
    health::Check,
    learned::Learned,
    peer, queue,
    server_health::Rules,
    sticky::Sticky,
    table::{MOST_ENDPOINTS, Table},
    tls::{Tls, wrong_name},
};
use crate::config::{self, Balance, HttpVersion};

/// Largest weight: turns are written down beforehand.
const MOST_WEIGHT: u32 = 1000;

pub(super) fn upstream(
    spec: &config::Upstream,
    secret: &[u8; 32],
    report: &mut Report,
    carry: &mut Carry,
) -> Option<Upstream> {
    let before = report.problems.len();
    let tls = spec.tls.as_ref().map(|tls| Tls::build(tls, report));
    let tls = tls.as_ref().map(Option::as_ref);
    let servers = servers(spec, tls.flatten(), report);
    let settings = settings(spec, secret, report);
    let sticky = spec.sticky_cookie.as_ref();
    let sticky = sticky.map(|sticky| Sticky::build(sticky, report));
    check_contradictions(spec, report);
    if report.problems.len() > before {
        return None;
    }
    let settings = settings?;
    let name = spec.name.get_ref();
    report.scope = format!("upstream.{name}");
    let built = Upstream {
        name: name.as_str().into(),
        sticky: sticky.flatten(),
        servers,
        balancer: Balancer::new(settings.balance, settings.ejection),
        table: ArcSwap::from_pointee(Table::default()),
        learned: carry.over(
            (&report.scope, "shared"),
            |_: &Learned| true,
            Learned::default,
        ),
        settings,
    };
    built.rebuild();
    Some(built)
}

fn servers(spec: &config::Upstream, tls: Option<&Tls>, report: &mut Report) -> Vec<Server> {
    let written = spec.servers.get_ref();
    if written.is_empty() || written.len() > MOST_ENDPOINTS {
        let what = format!("{} servers; expected 1 to {MOST_ENDPOINTS}", written.len());
        report.problem(spec.servers.span(), what);
    }
    let mut seen = HashSet::new();
    for server in written {
        if !seen.insert(server.address.get_ref()) {
            let what = format!(
                "server `{}` is there twice; expected a weight instead",
                server.address.get_ref()
            );
            report.problem(server.address.span(), what);
        }
    }
    let built = written
        .iter()
        .map(|server| build_server(spec, server, tls, report));
    built.collect::<Vec<_>>().into_iter().flatten().collect()
}

fn build_server(
    spec: &config::Upstream,
    server: &config::UpstreamServer,
    tls: Option<&Tls>,
    report: &mut Report,
) -> Option<Server> {
    let weight = server.weight.get_ref().get();
    if weight > MOST_WEIGHT {
        let what = format!("{weight} is too heavy; expected 1 to {MOST_WEIGHT}");
        report.problem(server.weight.span(), what);
    }
    let address = Address::parse(server.address.get_ref());
    let address = address.map_err(|what| report.problem(server.address.span(), what));
    let address = address.ok()?;
    let name = name_to_verify(&address, tls);
    let name = name.map_err(|what| report.problem(server.address.span(), what));
    let name = name.ok()?;
    Some(Server {
        label: server.address.get_ref().as_str().into(),
        address,
        weight: f64::from(weight),
        max_connections: server.max_connections,
        peer: peer::template(spec, tls, name),
    })
}

/// The name that a server is held to; empty without TLS.
fn name_to_verify(address: &Address, tls: Option<&Tls>) -> Result<String, String> {
    let Some(tls) = tls else {
        return Ok(String::new());
    };
    if let Some(name) = &tls.server_name {
        return Ok(name.clone());
    }
    let name = address.host().ok_or(
        "a unix socket has no name that a certificate could be for; expected \
         tls = { server_name = \"..\" }",
    )?;
    wrong_name(&name).map_or(Ok(name), Err)
}

fn settings(spec: &config::Upstream, secret: &[u8; 32], report: &mut Report) -> Option<Settings> {
    let millis = |number: u32| Duration::from_millis(u64::from(number));
    let secs = |number: u32| Duration::from_secs(u64::from(number));
    let hash = hash_by(spec.hash.as_ref(), report);
    let health_check = spec.health_check.as_ref();
    let health_check = health_check.map(|check| Check::build(check, report));
    let (ejection, queue) = (spec.ejection.get_ref(), spec.queue.get_ref());
    Some(Settings {
        balance: *spec.balance.get_ref(),
        hash: hash?,
        secret: *secret,
        try_timeout: spec
            .try_timeout_ms
            .as_ref()
            .map(|time| millis(time.get_ref().get())),
        total_timeout: spec
            .total_timeout_secs
            .as_ref()
            .map(|time| secs(time.get_ref().get())),
        resolve_every: secs(spec.resolve_secs.get()),
        health_check,
        ejection: Rules {
            failures: ejection.failures,
            base: secs(ejection.base_secs.get()),
            most: secs(ejection.max_secs.get()),
            slow_start: secs(ejection.slow_start_secs),
        },
        retry: retry(&spec.retry, report),
        queue: queue::Limits {
            max_waiting: queue.max_waiting,
            timeout: millis(queue.timeout_ms.get()),
        },
    })
}

fn retry(spec: &Spanned<config::Retry>, report: &mut Report) -> Retry {
    let retry = spec.get_ref();
    let most = usize::from(retry.most);
    if most > MOST_RETRIES {
        let what = format!("{most} is too often; expected most = 0 to {MOST_RETRIES}");
        report.problem(spec.span(), what);
    }
    if retry.percent > 100 {
        report.problem(spec.span(), "expected percent = 0 to 100");
    }
    Retry {
        most,
        terms: budget::Terms {
            ratio: f64::from(retry.percent) / 100.0,
            floor_per_sec: f64::from(retry.floor_per_sec),
        },
    }
}

fn hash_by(spec: Option<&Spanned<String>>, report: &mut Report) -> Option<HashBy> {
    let Some(spec) = spec else {
        return Some(HashBy::Client);
    };
    let found = match spec.get_ref().split_once(':') {
        None if spec.get_ref() == "client" => Some(HashBy::Client),
        Some(("header", name)) => HeaderName::from_bytes(name.as_bytes())
            .ok()
            .map(HashBy::Header),
        Some(("cookie", name)) if !name.is_empty() => Some(HashBy::Cookie(name.to_owned())),
        _ => None,
    };
    if found.is_none() {
        let what = format!(
            "`{}` cannot be hashed; expected \"client\", \"header:NAME\" or \"cookie:NAME\"",
            spec.get_ref()
        );
        report.problem(spec.span(), what);
    }
    found
}

/// Settings that would have no effect together, or the opposite one.
fn check_contradictions(spec: &config::Upstream, report: &mut Report) {
    let hashes = *spec.balance.get_ref() == Balance::ConsistentHash;
    if let (Some(hash), false) = (&spec.hash, hashes) {
        let what = "hash has no effect; expected balance = \"consistent_hash\" beside it";
        report.problem(hash.span(), what);
    }
    let limited = spec
        .servers
        .get_ref()
        .iter()
        .any(|server| server.max_connections > 0);
    let is_written = |span: std::ops::Range<usize>| !span.is_empty();
    if is_written(spec.queue.span()) && !limited {
        let what = "queue has no effect; expected max_connections at a server beside it";
        report.problem(spec.queue.span(), what);
    }
    let times = [
        (
            "try_timeout_ms",
            spec.try_timeout_ms.as_ref().map(Spanned::span),
        ),
        (
            "total_timeout_secs",
            spec.total_timeout_secs.as_ref().map(Spanned::span),
        ),
    ];
    for (name, span) in times {
        if let (Some(span), HttpVersion::Two) = (span, spec.http) {
            let what = format!(
                "{name} cannot cut off one of many requests on a connection; expected \
                 http = \"1\" beside it, or read_timeout_secs instead"
            );
            report.problem(span, what);
        }
    }
    if let (Some(each), Some(total)) = (&spec.try_timeout_ms, &spec.total_timeout_secs)
        && u64::from(each.get_ref().get()) > 1000 * u64::from(total.get_ref().get())
    {
        let what = "try_timeout_ms is longer than total_timeout_secs; expected a shorter time";
        report.problem(each.span(), what);
    }
    let ejection = spec.ejection.get_ref();
    if ejection.base_secs > ejection.max_secs {
        let what = "base_secs is longer than max_secs; expected a shorter time";
        report.problem(spec.ejection.span(), what);
    }
}
