//! What goes on to the origin, and within which bounds.

use std::{borrow::Cow, time::Duration};

use http::{
    HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{HOST, TRANSFER_ENCODING, UPGRADE},
    uri::PathAndQuery,
};
use pingora::{
    Error, ErrorType, OrErr, Result,
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
    upstreams::peer::HttpPeer,
};

use crate::{edge::Connection, exchange::Exchange, request::peer_address};

/// Longest time that a client may take to take in what is sent to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time to read away the rest of a body that nobody wants.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence of an upgraded connection: people leave chats open.
const UPGRADED_TIMEOUT: Duration = Duration::from_secs(3600);

/// The certificate that the client has shown, RFC 9440 section 2.2.
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Header in which the origin and the client read the request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Puts a bound on everything that Pingora waits for without one.
pub fn bound(session: &mut Session, exchange: &mut Exchange, stopping: bool) {
    let header = session.req_header();
    let upgraded = session.is_upgrade_req()
        && header.method == Method::GET
        && names(header, &UPGRADE, "websocket");
    exchange.upgrade = upgraded;
    exchange.connection = Connection::of(session).cloned();
    let client = session.as_downstream_mut();
    if stopping {
        client.set_keepalive(None);
    }
    if client.is_http2() {
        // The connection's watch cannot see which stream a client leaves unread.
        client.set_write_timeout(Some(WRITE_TIMEOUT));
    }
    client.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
}

/// Whether a field's list has this word.
fn names(header: &RequestHeader, field: &HeaderName, word: &str) -> bool {
    let values = header.headers.get_all(field).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|found| found.trim().eq_ignore_ascii_case(word))
}

/// The origin of the site that is asked for.
pub fn peer(exchange: &Exchange) -> Result<Box<HttpPeer>> {
    let site = exchange
        .site()
        .ok_or_else(|| Error::explain(ErrorType::InternalError, "no site was chosen"))?;
    let mut peer = site.upstream.peer();
    if exchange.upgrade {
        peer.options.read_timeout = Some(UPGRADED_TIMEOUT);
        peer.options.write_timeout = Some(UPGRADED_TIMEOUT);
    }
    Ok(peer)
}

/// Fields with which a client could pass for another at the origin.
const CLAIMS: [HeaderName; 4] = [
    CLIENT_CERT,
    HeaderName::from_static("client-cert-chain"),
    FORWARDED,
    HeaderName::from_static("x-real-ip"),
];

/// Tells the origin who asks, in the words that it trusts us to use: whatever the client itself
/// sent in them is replaced, unless the client is a proxy that we trust.
pub fn prepare(session: &Session, request: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    if !request.raw_path().starts_with(b"/") && request.uri.path().starts_with('/') {
        // A target in absolute form; an origin is asked in origin form (RFC 9112 section 3.2.1).
        let path = request.uri.path_and_query().cloned();
        let path = path.as_ref().map_or("/", PathAndQuery::as_str);
        request.set_raw_path(path.as_bytes())?;
    }
    remove_ambiguous(request);
    let named = &exchange.generation.client_address.header;
    if !exchange.peer_trusted && *named != FORWARDED_FOR {
        request.remove_header(named);
    }
    for claim in &CLAIMS {
        if request.headers.contains_key(claim) {
            request.remove_header(claim);
        }
    }
    if let Some(certificate) = client_certificate(exchange) {
        request.insert_header(CLIENT_CERT, certificate)?;
    }
    let chain = forwarded_for(session, request, exchange)?;
    request.insert_header(FORWARDED_FOR, chain)?;
    let reported = |name| exchange.peer_trusted && request.headers.contains_key(name);
    let (keep_proto, keep_host) = (reported(&FORWARDED_PROTO), reported(&FORWARDED_HOST));
    if !keep_proto {
        request.insert_header(FORWARDED_PROTO, own_proto(exchange))?;
    }
    if !keep_host && let Some(host) = request.headers.get(HOST).cloned() {
        request.insert_header(FORWARDED_HOST, host)?;
    }
    request.insert_header(REQUEST_ID, exchange.id.header_value())
}

/// What the client spoke to us, where no proxy that we trust says more.
fn own_proto(exchange: &Exchange) -> HeaderValue {
    HeaderValue::from_static(if exchange.tls().is_some() {
        "https"
    } else {
        "http"
    })
}

/// What the client has shown, for the origins of sites that ask for it.
fn client_certificate(exchange: &Exchange) -> Option<HeaderValue> {
    exchange.site()?.tls.policy.as_ref()?;
    exchange.tls()?.client_certificate.clone()
}

/// Takes out fields with an underscore: CGI and its heirs read `X_Forwarded_For` and
/// `X-Forwarded-For` as one (RFC 3875 section 4.1.18).
fn remove_ambiguous(request: &mut RequestHeader) {
    let ambiguous = |name: &HeaderName| name.as_str().contains('_');
    let found: Vec<HeaderName> = request
        .headers
        .keys()
        .filter(|n| ambiguous(n))
        .cloned()
        .collect();
    for name in found {
        request.remove_header(&name);
    }
}

/// The chain of addresses: the peer's own, after what a trusted proxy reported.
fn forwarded_for(
    session: &Session,
    request: &RequestHeader,
    exchange: &Exchange,
) -> Result<HeaderValue> {
    let peer = peer_address(session).to_string();
    let chain = if exchange.peer_trusted {
        let reported = request.headers.get_all(&FORWARDED_FOR).iter();
        let mut chain: Vec<Cow<'_, str>> = reported
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        chain.push(Cow::Borrowed(&peer));
        chain.join(", ")
    } else {
        peer
    };
    HeaderValue::try_from(chain).or_err(ErrorType::InvalidHTTPHeader, "forwarding chain")
}

/// A client of HTTP/1.0 knows no chunks: it reads to the end of the connection (RFC 9112
/// section 6.3).
pub fn suit(session: &mut Session, response: &mut ResponseHeader, exchange: &Exchange) {
    if response.status == StatusCode::SWITCHING_PROTOCOLS
        && let Some(connection) = &exchange.connection
    {
        connection.upgrade();
    }
    let old = session.req_header().version < Version::HTTP_11;
    if old && response.remove_header(&TRANSFER_ENCODING).is_some() {
        session.as_downstream_mut().set_keepalive(None);
    }
}

/// A connection that was never made has carried nothing: any request may try once more.
pub fn retry_connect(exchange: &mut Exchange, mut error: Box<Error>) -> Box<Error> {
    exchange.failed_connects += 1;
    error.set_retry(exchange.failed_connects < 2);
    error
}
