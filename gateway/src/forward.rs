//! What goes on to the origin, and within which bounds.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{CONNECTION, CONTENT_LOCATION, LOCATION, REFRESH, SET_COOKIE, UPGRADE},
    uri::PathAndQuery,
};
use pingora::{
    Error, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
    upstreams::peer::HttpPeer,
};

use crate::{
    edge::Connection, exchange::Exchange, hash::Key, limits::Limits, permits, state::State,
    unread::AnswerBody, upstream::handshake,
};

mod answers;
mod attempt;
mod claims;
mod destination;
mod headers;
mod identity;
mod public;
mod redirects;
mod uploads;

pub(crate) use answers::{adapt_to_client, body_of, judge};
pub(crate) use attempt::{failed_to_connect, failed_while_proxying};

pub(crate) use headers::prepare;
pub(crate) use identity::proxy_id;
pub(crate) use identity::{FORWARDED_HOST, FORWARDED_PROTO};
pub(crate) use public::{Public, sent_authority};
pub(crate) use redirects::Way;
pub(crate) use uploads::await_body;

/// Longest time to read away the rest of a body that is not wanted.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence of one side of a conversation, and longest wait for a body of unknown length.
const CONVERSATION_TIMEOUT: Duration = Duration::from_secs(3600);

/// Puts a bound on everything that Pingora waits for without one.
pub(crate) fn bound(session: &mut Session, exchange: &mut Exchange, stopping: bool) {
    let header = session.req_header();
    // Half of the pair is no wish, and HTTP/1.0 has none (RFC 9110 section 7.8).
    exchange.asked.upgrade = session.is_upgrade_req()
        && header.method == Method::GET
        && names(&header.headers, &UPGRADE, "websocket")
        && names(&header.headers, &CONNECTION, "upgrade");
    let old = header.version < Version::HTTP_11;
    exchange.connection = Connection::of(session).cloned();
    let client = session.as_downstream_mut();
    if old {
        // HTTP/1.0 knows no 1xx (RFC 9110 section 15.2).
        client.set_ignore_info_resp(true);
    }
    if stopping {
        client.set_keepalive(None);
    }
    if client.is_http2() {
        // The connection's watch cannot see which stream a client leaves unread. The time is that of
        // one piece of at most 64 KiB, so that taking it in byte by byte does not help. It makes the
        // least pace of a stream 64 KiB per `body_timeout`: as long as `min_send_rate` allows for a
        // piece, who takes in nothing at all could stay too.
        let piece = Duration::from_millis(exchange.generation.limits.body_timeout.into());
        client.set_write_timeout(Some(piece));
    }
    client.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
}

/// Whether the body is one half of a conversation, which may rest: gRPC streams both ways. It needs
/// HTTP/2 up to the origin, so that elsewhere it is only the client's claim.
fn is_conversation(header: &RequestHeader, peer: &HttpPeer) -> bool {
    peer.options.alpn.get_min_http_version() == 2 && uploads::is_grpc(header)
}

/// Whether a field's list has this word.
fn names(headers: &HeaderMap, field: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(field).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|found| found.trim().eq_ignore_ascii_case(word))
}

/// A server of the site that is asked for.
pub(crate) async fn peer(
    session: &mut Session,
    exchange: &mut Exchange,
    now: Duration,
) -> Result<Box<HttpPeer>> {
    exchange.upload.pause();
    let mut peer = attempt::choose(session, exchange, now).await?;
    let conversation = is_conversation(session.req_header(), &peer);
    if conversation {
        exchange.upload.release();
    }
    let options = &mut peer.options;
    if exchange.asked.upgrade {
        // The edge ends it sooner where nothing goes either way.
        let silence = Duration::from_millis(exchange.generation.limits.websocket_idle.into());
        options.read_timeout = Some(silence.max(CONVERSATION_TIMEOUT));
        options.write_timeout = Some(CONVERSATION_TIMEOUT);
        options.custom_l4 = Some(Arc::new(handshake::Connect {
            within: options.connection_timeout,
            wait: exchange.origin.attempt.wait().clone(),
        }));
        // Not one of the kept connections, which are made by Pingora, and none to be kept.
        options.idle_timeout = Some(Duration::ZERO);
        peer.group_key = Key(peer.group_key).with(Key::of(b"handshake")).0;
    } else if options.alpn.get_min_http_version() == 2 && !session.is_body_empty() {
        // Over HTTP/2 Pingora begins to count before the body, and never anew.
        let upload = if conversation {
            CONVERSATION_TIMEOUT
        } else {
            longest_upload(session.req_header(), &exchange.generation.limits)
        };
        options.read_timeout = options.read_timeout.map(|time| time + upload);
    }
    Ok(peer)
}

/// How long a request's body may be on its way before the edge ends it.
fn longest_upload(header: &RequestHeader, limits: &Limits) -> Duration {
    let paced = uploads::length(header)
        .and_then(|length| length.checked_div(limits.lasting_receive_rate()));
    let silence = Duration::from_millis(limits.body_timeout.into());
    paced.map_or(CONVERSATION_TIMEOUT, |secs| {
        CONVERSATION_TIMEOUT.min(Duration::from_secs(secs).saturating_add(4 * silence))
    })
}

/// Ends a request whose body turns out larger than its site takes. Frames of a WebSocket are no
/// body.
pub(crate) fn measure_body(
    session: &Session,
    piece: &mut Option<Bytes>,
    end: bool,
    exchange: &Exchange,
) -> Result<()> {
    let bytes = piece.as_ref().map_or(0, Bytes::len);
    if bytes == 0 && end {
        // An empty DATA frame may end a body (RFC 9113 section 6.1). Pingora would write it as the last
        // chunk, and then the last chunk. Without an end, nothing would be taken for one.
        *piece = None;
    }
    exchange.upload.received(bytes);
    if let (true, Some(connection)) = (session.as_downstream().is_http2(), &exchange.connection) {
        connection.took_in(bytes);
    }
    if end {
        exchange.upload.release();
    }
    let most = exchange.site().and_then(|site| site.max_body_bytes);
    let downstream = session.as_downstream();
    let read = downstream.body_bytes_read() as u64;
    if most.is_some_and(|most| read > most) && !downstream.was_upgraded() {
        return Error::e_explain(
            ErrorType::HTTPStatus(413),
            "the request's body is too large",
        );
    }
    Ok(())
}

/// A piece of a large answer goes on: it counts, and where it has taken long no longer among those that
/// are soon over.
fn note_large(exchange: &mut Exchange, state: &State) {
    let (Some(client), Some(connection)) = (exchange.client.address, &exchange.connection) else {
        return;
    };
    let origin = exchange.origin.attempt.origin();
    if let Some(answer) = &mut exchange.origin.body {
        let is_one = |client: &IpAddr| !State::trusts(&exchange.generation, *client);
        answer.passes(
            &state.unread,
            || Some(client).filter(is_one),
            connection,
            origin,
        );
    }
    permits::let_last(exchange, client, state);
}

/// How long a piece of the answer's body has to wait for the limits that hold the request.
pub(crate) fn pace(
    piece: Option<&Bytes>,
    exchange: &mut Exchange,
    state: &State,
) -> Option<Duration> {
    let bytes = piece.map_or(0, Bytes::len);
    if bytes > 0
        && exchange
            .origin
            .body
            .as_ref()
            .is_some_and(AnswerBody::is_large)
    {
        note_large(exchange, state);
    }
    if exchange.holds.is_empty() || bytes == 0 {
        return None;
    }
    let wait = exchange.holds.pace(bytes, state.now());
    (!wait.is_zero()).then_some(wait)
}

/// Leads the client to where it reached us, and not to where the origin believes to be.
pub(crate) fn lead_back(
    session: &Session,
    response: &mut ResponseHeader,
    exchange: &Exchange,
) -> Result<()> {
    let Some(site) = exchange.site() else {
        return Ok(());
    };
    if !site.cookies.is_empty() {
        replace(response, &SET_COOKIE, |cookie| site.cookies.mended(cookie))?;
    }
    let mut fields = [LOCATION, CONTENT_LOCATION, REFRESH].into_iter();
    if !site.rewrite_redirects || !fields.any(|field| response.headers.contains_key(field)) {
        return Ok(());
    }
    let request = session.req_header();
    let public = Public::of(request, exchange);
    if public.host.is_empty() {
        return Ok(());
    }
    let target = request.uri.path_and_query().map(PathAndQuery::as_str);
    let target = target.filter(|_| [Method::GET, Method::HEAD].contains(&request.method));
    match Way::of(exchange, &public, target) {
        Some(way) => redirects::mend(response, &way),
        None => Ok(()),
    }
}

/// Replaces the values of a field for which there is something else.
fn replace(
    response: &mut ResponseHeader,
    field: &HeaderName,
    other: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<()> {
    let values = response.headers.get_all(field).iter();
    let others: Vec<Option<Vec<u8>>> = values.map(|value| other(value.as_bytes())).collect();
    if others.iter().all(Option::is_none) {
        return Ok(());
    }
    let values: Vec<HeaderValue> = response.headers.get_all(field).iter().cloned().collect();
    response.remove_header(field);
    for (value, other) in values.into_iter().zip(others) {
        let other = other.and_then(|other| HeaderValue::from_bytes(&other).ok());
        response.append_header(field, other.unwrap_or(value))?;
    }
    Ok(())
}
