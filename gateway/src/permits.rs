//! The permit of one request among those of its client.
//!
//! A request has one from the time at which it may go on to an origin. Those that last, as WebSockets,
//! event streams and long polls do, hold another one, of which a client has as many again.

use std::net::IpAddr;

use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use pingora::http::ResponseHeader;

use crate::{exchange::Exchange, state::State};

/// Requests of a client that wait for each that may be under way: a class of pupils who open the same
/// page.
const WAITING: u32 = 8;

/// Takes a permit for a request. Where its client has all of them, the request waits for one of the
/// others to end; `None` where none does. Trusted proxies that name no client have no cap, as with
/// connections.
pub(crate) async fn take(exchange: &mut Exchange, state: &State) -> Option<()> {
    let generation = &exchange.generation;
    let client = exchange.client.address;
    let Some(client) = client.filter(|client| !State::trusts(generation, *client)) else {
        return Some(());
    };
    let limits = &generation.limits;
    let (most, within) = (limits.max_requests_per_client, limits.request_wait);
    let waiting = most.saturating_mul(WAITING);
    let mut permit = state.requests.wait(client, most, waiting, within).await;
    if permit.is_none() && !within.is_zero() && state.unread.has_room(client, limits) {
        // Where others last so long, as long polls do, there are as many permits again.
        permit = state.lasting.take(client, most);
    }
    exchange.client.permit = Some(permit?);
    Some(())
}

/// Whether an answer lasts by its nature: a WebSocket or an event stream.
pub(crate) fn lasts(response: &ResponseHeader) -> bool {
    let kind = response.headers.get(CONTENT_TYPE);
    response.status == StatusCode::SWITCHING_PROTOCOLS
        || (kind.map(HeaderValue::as_bytes))
            .is_some_and(|kind| kind.starts_with(b"text/event-stream"))
}

/// Has a request whose answer [`lasts`] count no longer among its client's requests but among those
/// that last, of which it may have as many as connections.
pub(crate) fn count_as_lasting(exchange: &mut Exchange, state: &State) {
    let client = &mut exchange.client;
    if let (Some(address), Some(_)) = (client.address, &client.permit) {
        let most = exchange.generation.limits.max_per_client;
        if let Some(permit) = state.lasting.take(address, most) {
            client.permit = Some(permit);
        }
    }
}

/// Has an answer that has taken longer than others wait for a permit count among those that last, as
/// long as there are not as many of its client.
pub(crate) fn let_last(exchange: &mut Exchange, address: IpAddr, state: &State) {
    let limits = &exchange.generation.limits;
    let client = &mut exchange.client;
    let is_new = (client.permit.as_ref()).is_some_and(|permit| permit.is_of(&state.requests));
    let wait = limits.request_wait;
    let lasts = || state.now().saturating_sub(exchange.started) > wait;
    if is_new && !wait.is_zero() && lasts() && state.unread.has_room(address, limits) {
        let permit = state.lasting.take(address, limits.max_requests_per_client);
        client.permit = permit.or_else(|| client.permit.take());
    }
}
