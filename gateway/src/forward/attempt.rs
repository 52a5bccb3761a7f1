//! The tries of one request at its site's upstream, from Pingora's hooks.

use std::{sync::Arc, time::Duration};

use pingora::{Error, ErrorType, Result, proxy::Session, upstreams::peer::HttpPeer};
use thornwall_detectors::signal::Reason;

use crate::{
    exchange::{Exchange, has_begun},
    upstream::{Refusal, attempt::Circumstances},
};

/// Finds a server for a request, or for its next try.
pub(super) async fn choose(
    session: &Session,
    exchange: &mut Exchange,
    now: Duration,
) -> Result<Box<HttpPeer>> {
    let site = exchange.site();
    let upstream = site.map(|site| Arc::clone(&site.upstream));
    let upstream =
        upstream.ok_or_else(|| Error::explain(ErrorType::InternalError, "no site was chosen"))?;
    let (asker, attempt) = ((exchange.client, exchange.id), &mut exchange.attempt);
    let chosen = attempt.choose(session.req_header(), upstream, asker, now);
    chosen.await.map_err(|refusal| {
        let (status, reason) = match refusal {
            Refusal::Busy => (503, Reason::UpstreamBusy),
            Refusal::Nobody => (502, Reason::UpstreamUnresolved),
        };
        exchange.reason = Some(reason);
        Error::explain(ErrorType::HTTPStatus(status), "no server")
    })
}

/// A connection could not be made.
pub(crate) fn failed_to_connect(
    exchange: &mut Exchange,
    error: Box<Error>,
    now: Duration,
) -> Box<Error> {
    exchange.failed_connects = exchange.failed_connects.saturating_add(1);
    exchange.attempt.failed_to_connect(error, now)
}

/// An exchange broke off after a connection was there.
pub(crate) fn failed_while_proxying(
    session: &mut Session,
    exchange: &mut Exchange,
    error: Box<Error>,
    reused: bool,
    now: Duration,
) -> Box<Error> {
    let circumstances = Circumstances {
        reused,
        upgrade: exchange.upgrade,
        has_begun: has_begun(session),
    };
    let attempt = &mut exchange.attempt;
    attempt.failed_while_proxying(session, error, &circumstances, now)
}
