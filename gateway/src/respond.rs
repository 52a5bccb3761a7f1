//! The origin's answer on its way to the client, and the end of the request.

use std::time::Duration;

use pingora::{Error, Result, http::ResponseHeader, proxy::Session};

use crate::{answer, exchange::Exchange, forward, outcome, permits, state::State};

/// Makes of the head of an origin's answer the one that the client gets. The order counts: what is
/// refused changes nothing, filters learn of the head as the origin sent it, and fields of ours come
/// last, over whatever the origin says.
pub(crate) fn prepare(
    session: &mut Session,
    response: &mut ResponseHeader,
    exchange: &mut Exchange,
    state: &State,
) -> Result<()> {
    let now = state.now();
    exchange.origin_answers(response.status.as_u16(), now);
    let secure = exchange.asked.secure;
    (exchange.origin.attempt).answered(session, response, secure, now)?;
    forward::judge(response, exchange)?;
    outcome::begins(session, response, exchange, now);
    let lasts = permits::lasts(response);
    exchange.origin.body = forward::body_of(response, lasts);
    if lasts {
        permits::count_as_lasting(exchange, state);
    }
    forward::lead_back(session, response, exchange)?;
    forward::adapt_to_client(session, response, exchange);
    answer::add_own_headers(response, exchange)
}

/// Ends a request, however it ended: gives back what it held, notifies filters, writes the record,
/// and lets the client read its answer.
pub(crate) async fn conclude(
    session: &mut Session,
    error: Option<&Error>,
    exchange: &mut Exchange,
    state: &State,
) {
    if let Some(error) = error {
        state.metrics.edge.ended_with(error);
    }
    exchange.holds.release();
    let now = state.now();
    outcome::notify_watchers(exchange, now);
    let took: Duration = now.saturating_sub(exchange.started);
    state.conclude(outcome::ended(session, exchange, took));
    answer::close_after_error_page(session, exchange, error.is_some(), state).await;
}
