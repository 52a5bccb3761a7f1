//! Health checks: servers are asked at intervals, whether or not there are requests.

use std::{sync::Arc, time::Duration};

use http::{
    StatusCode,
    uri::{Authority, PathAndQuery},
};
use pingora::Result;
use thornwall_decisions::clock::ProcessTime;
use thornwall_settings::report::Report;
use tokio::{task::JoinSet, time::timeout};
use toml::Spanned;

use super::{
    Upstream,
    probe::{Asked, Probe, failed},
    server_health::CheckLimits,
    table::Endpoint,
};
use crate::config;

/// Servers of one upstream that are asked at once.
const AT_ONCE: usize = 32;

/// Bytes of an answer that are read, so that the server can finish it.
const MOST_BYTES: usize = 64 << 10;

/// How the servers of an upstream are asked.
#[derive(Debug, Clone)]
pub(super) struct Check {
    path: Option<String>,
    host: Option<String>,
    expect: Vec<u16>,
    /// Time between two checks.
    pub every: Duration,
    timeout: Duration,
    limits: CheckLimits,
}

impl Check {
    /// Reads the settings; notes what is wrong with them.
    pub(super) fn build(spec: &Spanned<config::HealthCheck>, report: &mut Report) -> Self {
        let check = spec.get_ref();
        if let Some(path) = &check.path
            && !is_path(path.get_ref())
        {
            let what = format!(
                "`{}` is no path; expected one such as \"/health\"",
                path.get_ref()
            );
            report.problem(path.span(), what);
        }
        if let Some(host) = &check.host
            && host.get_ref().parse::<Authority>().is_err()
        {
            let what = format!(
                "`{}` is no host; expected a name or address",
                host.get_ref()
            );
            report.problem(host.span(), what);
        }
        let statuses = check.expect_statuses.get_ref();
        if statuses
            .iter()
            .any(|status| StatusCode::from_u16(*status).is_err())
        {
            let what = "expected statuses from 100 to 999";
            report.problem(check.expect_statuses.span(), what);
        }
        if check.path.is_none() && (check.host.is_some() || !statuses.is_empty()) {
            let what = "host and expect_statuses have no effect; expected a path beside them";
            report.problem(spec.span(), what);
        }
        Self {
            path: check.path.as_ref().map(|path| path.get_ref().clone()),
            host: check.host.as_ref().map(|host| host.get_ref().clone()),
            expect: statuses.clone(),
            every: Duration::from_secs(u64::from(check.interval_secs.get())),
            timeout: Duration::from_millis(u64::from(check.timeout_ms.get())),
            limits: CheckLimits {
                healthy_after: check.healthy_after.get(),
                unhealthy_after: check.unhealthy_after.get(),
            },
        }
    }

    fn is_well(&self, status: u16) -> bool {
        if self.expect.is_empty() {
            (100..400).contains(&status)
        } else {
            self.expect.contains(&status)
        }
    }

    /// Asks one server.
    async fn ask(&self, probe: &Probe, endpoint: &Endpoint, authority: &str) -> Result<()> {
        let Some(path) = &self.path else {
            return probe.connect(&endpoint.peer).await;
        };
        let asked = Asked {
            authority: self.host.as_deref().unwrap_or(authority),
            target: path,
            fields: &[],
            most_bytes: MOST_BYTES,
        };
        let reply = probe.get(&endpoint.peer, &asked).await?;
        if self.is_well(reply.status) {
            return Ok(());
        }
        Err(failed(format!("status {}", reply.status)))
    }
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.parse::<PathAndQuery>().is_ok()
}

/// Checks the servers of an upstream until it is dropped.
pub(super) async fn keep_checking(upstream: Arc<Upstream>, time: ProcessTime) {
    let Some(check) = &upstream.settings.health_check else {
        return;
    };
    let probe = Probe::ready().await;
    loop {
        check_all(&upstream, check, probe, time).await;
        tokio::time::sleep(check.every).await;
    }
}

async fn check_all(
    upstream: &Arc<Upstream>,
    check: &Check,
    probe: &'static Probe,
    time: ProcessTime,
) {
    let table = upstream.table.load_full();
    let mut asked = JoinSet::new();
    for endpoint in &table.endpoints {
        if asked.len() >= AT_ONCE {
            asked.join_next().await;
        }
        let (upstream, check) = (Arc::clone(upstream), check.clone());
        let endpoint = Arc::clone(endpoint);
        asked.spawn(async move {
            let authority = upstream.authority_of(&endpoint);
            let answer = timeout(check.timeout, check.ask(probe, &endpoint, &authority)).await;
            let answer = answer.unwrap_or_else(|_| Err(failed("no answer in time")));
            upstream.note_check(&endpoint, &check.limits, answer, time.since_start());
        });
    }
    while asked.join_next().await.is_some() {}
}

impl Upstream {
    /// The host that a server is asked for, where the configuration names none.
    pub(super) fn authority_of(&self, endpoint: &Endpoint) -> String {
        let server = self
            .servers
            .iter()
            .find(|server| server.label == endpoint.server);
        server
            .map(|server| server.address.authority())
            .unwrap_or_default()
    }

    fn note_check(
        &self,
        endpoint: &Endpoint,
        limits: &CheckLimits,
        answer: Result<()>,
        now: Duration,
    ) {
        let news = endpoint.health.checked(answer.is_ok(), limits, now);
        let (name, server) = (&self.name, &endpoint.server);
        let address = &endpoint.peer._address;
        match (news, answer) {
            (Some(true), Err(error)) => log::warn!(
                "server down; upstream={name} server={server} address={address} error={error}"
            ),
            (Some(false), _) => {
                log::info!("server up; upstream={name} server={server} address={address}");
            }
            _ => {}
        }
    }

    /// Without health checks nothing would bring back a server that they took out.
    pub(super) fn forget_checks(&self, now: Duration) {
        if self.settings.health_check.is_none() {
            for endpoint in &self.table.load().endpoints {
                endpoint.health.set_down(false, now);
            }
        }
    }
}

/// The beginning of what an upstream answers to a request of our own. `None` where it has no
/// server.
pub(crate) async fn fetch(
    upstream: &Upstream,
    asked: &Asked<'_>,
    now: Duration,
) -> Result<super::ProbeReply> {
    let table = upstream.table.load_full();
    let well = table
        .endpoints
        .iter()
        .find(|endpoint| endpoint.health.is_available(now));
    let endpoint = well.or_else(|| table.endpoints.first());
    let endpoint = endpoint.ok_or_else(|| failed("no server is known"))?;
    let probe = Probe::ready().await;
    probe.get(&endpoint.peer, asked).await
}
