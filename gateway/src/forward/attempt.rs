//! The tries of one request at its site's upstream, from Pingora's hooks.

use std::{sync::Arc, time::Duration};

use pingora::{Error, ErrorType, Result, proxy::Session, upstreams::peer::HttpPeer};

use crate::{
    exchange::{Exchange, has_begun},
    upstream::attempt::Circumstances,
};

/// Finds a server for a request, or for its next try.
pub(super) async fn choose(
    session: &Session,
    exchange: &mut Exchange,
    now: Duration,
) -> Result<Box<HttpPeer>> {
    let upstream = exchange.upstream().map(Arc::clone);
    let upstream =
        upstream.ok_or_else(|| Error::explain(ErrorType::InternalError, "no server was chosen"))?;
    let (asker, attempt) = (
        (exchange.client.address, exchange.id),
        &mut exchange.origin.attempt,
    );
    let chosen = attempt.choose(session.req_header(), upstream, asker, now);
    chosen.await.map_err(|refusal| {
        let status = ErrorType::HTTPStatus(refusal.status());
        Error::because(status, "no server", refusal)
    })
}

/// A connection could not be made.
pub(crate) fn failed_to_connect(
    exchange: &mut Exchange,
    error: Box<Error>,
    now: Duration,
) -> Box<Error> {
    exchange.origin.failed_connects = exchange.origin.failed_connects.saturating_add(1);
    exchange.origin.attempt.failed_to_connect(error, now)
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
        upgrade: exchange.asked.upgrade,
        has_begun: has_begun(session),
    };
    let attempt = &mut exchange.origin.attempt;
    attempt.failed_while_proxying(session, error, &circumstances, now)
}
