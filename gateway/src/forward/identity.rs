//! What is sent to the origin about who asks, and about the request's name.
//!
//! What a stranger says of itself is replaced; what a proxy that we trust says is kept and added to.

use std::{borrow::Cow, net::IpAddr};

use http::{HeaderName, HeaderValue, header::HOST};
use pingora::{ErrorType, OrErr, Result, http::RequestHeader, proxy::Session};
use thornwall_detectors::address::reported_client;

use crate::{
    edge::Connection,
    exchange::Exchange,
    request_id::{OWN_REQUEST_ID, REQUEST_ID},
    state::State,
};

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Longest id of a proxy that is kept.
const LONGEST_ID: usize = 128;

/// Writes who asks into a request.
pub(super) fn add_identity(
    session: &Session,
    request: &mut RequestHeader,
    exchange: &Exchange,
) -> Result<()> {
    let peer = Connection::client_of(session);
    let written = address_value(peer)?;
    add_client(peer, &written, request, exchange)?;
    let reported = |name| exchange.client.peer_trusted && request.headers.contains_key(name);
    let (keep_proto, keep_host) = (reported(&FORWARDED_PROTO), reported(&FORWARDED_HOST));
    if !keep_proto {
        request.insert_header(FORWARDED_PROTO, own_proto(exchange))?;
    }
    if !keep_host
        && !exchange.asked.host.is_empty()
        && let Some(host) = request.headers.get(HOST).cloned()
    {
        request.insert_header(FORWARDED_HOST, host)?;
    }
    let own = exchange.id.header_value();
    match &exchange.asked.proxy_id {
        Some(id) => {
            request.insert_header(REQUEST_ID, id.clone())?;
            request.insert_header(OWN_REQUEST_ID, own)
        }
        None => request.insert_header(REQUEST_ID, own),
    }
}

fn add_client(
    peer: IpAddr,
    written: &HeaderValue,
    request: &mut RequestHeader,
    exchange: &Exchange,
) -> Result<()> {
    let client = match exchange.client.address {
        Some(client) if client != peer => address_value(client)?,
        _ => written.clone(),
    };
    request.insert_header(REAL_IP, client)?;
    if !exchange.client.peer_trusted {
        return request.insert_header(FORWARDED_FOR, written.clone());
    }
    let chain = joined(request, &FORWARDED_FOR, &peer.to_string())?;
    request.insert_header(FORWARDED_FOR, chain)?;
    if !request.headers.contains_key(&FORWARDED) {
        return Ok(());
    }
    if !agrees(request, exchange) {
        request.remove_header(&FORWARDED);
        return Ok(());
    }
    let element = match peer {
        IpAddr::V4(peer) => format!("for={peer}"),
        IpAddr::V6(peer) => format!("for=\"[{peer}]\""),
    };
    let chain = joined(request, &FORWARDED, &element)?;
    request.insert_header(FORWARDED, chain)
}

/// Whether the `Forwarded` of a trusted proxy names the client that was judged. Many proxies know one
/// of the two fields alone and let the other through as the client sent it: an origin that believes
/// it would get whatever the client likes.
fn agrees(request: &RequestHeader, exchange: &Exchange) -> bool {
    let lines = request.headers.get_all(&FORWARDED).iter();
    let lines: Vec<Cow<'_, str>> = lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    let client = reported_client(lines.iter().map(AsRef::as_ref), |hop| {
        State::trusts(&exchange.generation, hop)
    });
    client.is_some() && client == exchange.client.address
}

/// The lines of a field as one list, with another element at its end.
fn joined(request: &RequestHeader, name: &HeaderName, element: &str) -> Result<HeaderValue> {
    let reported = request.headers.get_all(name).iter();
    let mut chain: Vec<Cow<'_, str>> = reported
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .filter(|value| !value.trim().is_empty())
        .collect();
    chain.push(Cow::Borrowed(element));
    HeaderValue::try_from(chain.join(", ")).or_err(ErrorType::InvalidHTTPHeader, "forwarding chain")
}

fn address_value(address: IpAddr) -> Result<HeaderValue> {
    HeaderValue::try_from(address.to_string()).or_err(ErrorType::InvalidHTTPHeader, "an address")
}

/// What the client spoke to us, where no proxy that we trust says more.
fn own_proto(exchange: &Exchange) -> HeaderValue {
    let tls = exchange.tls().is_some();
    HeaderValue::from_static(if tls { "https" } else { "http" })
}

/// The id that a trusted proxy has given a request: one, of the characters that proxies make ids of,
/// so that it is safe in logs, and no longer than theirs are.
pub(crate) fn proxy_id(request: &RequestHeader) -> Option<HeaderValue> {
    let mut sent = request.headers.get_all(&REQUEST_ID).iter();
    let (id, None) = (sent.next()?, sent.next()) else {
        return None;
    };
    let sound = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:+/=@".contains(byte);
    let bytes = id.as_bytes();
    let kept = (1..=LONGEST_ID).contains(&bytes.len()) && bytes.iter().all(sound);
    kept.then(|| id.clone())
}

#[cfg(test)]
mod tests {
    use pingora::http::RequestHeader;

    use super::proxy_id;
    use crate::request_id::REQUEST_ID;

    #[test]
    fn ids_of_proxies_are_kept_where_they_are_safe() {
        let check = |sent: &[&str], expected: Option<&str>| {
            let mut request = RequestHeader::build("GET", b"/", None).unwrap();
            for id in sent {
                request.append_header(REQUEST_ID, *id).unwrap();
            }
            let kept = proxy_id(&request);
            assert_eq!(kept.as_ref().map(|id| id.to_str().unwrap()), expected);
        };
        let long = "x".repeat(129);
        check(&[], None);
        check(
            &["Root=1-5759e988/a+b:c@d~_"],
            Some("Root=1-5759e988/a+b:c@d~_"),
        );
        check(&[&long[1..]], Some(&long[1..]));
        check(&[&long], None);
        check(&[""], None);
        check(&["a", "b"], None);
        check(&["a b"], None);
        check(&["a\"b"], None);
        check(&["\u{e9}"], None);
    }
}
