//! The head of an origin's answer as the client gets it, where the client is to get it at all.

use http::{
    HeaderMap, HeaderName, StatusCode, Version,
    header::{
        CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TE, TRANSFER_ENCODING, UPGRADE,
    },
};
use pingora::{Error, Result, http::ResponseHeader, proxy::Session};

use super::names;
use crate::{
    edge::Tunnel, exchange::Exchange, unread::AnswerBody, upstream::attempt::REFUSED_ANSWER,
};

/// Fields of one connection, whether or not `Connection` names them (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 4] = [
    UPGRADE,
    TE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Most 1xx that come before one answer: some origins report their progress by them, none without
/// end.
const MOST_INTERIM: u8 = 32;

/// Refuses answers that would mislead the client, or that were not asked for.
pub(crate) fn judge(response: &ResponseHeader, exchange: &mut Exchange) -> Result<()> {
    let refused = |what| Err(Error::explain(REFUSED_ANSWER, what).into_up());
    let headers = &response.headers;
    exchange.origin.interim += u8::from(response.status.is_informational());
    match response.status {
        _ if exchange.origin.interim > MOST_INTERIM => {
            refused("the origin says more than any answer has before it")
        }
        StatusCode::SWITCHING_PROTOCOLS if !is_agreement(response, exchange) => {
            refused("the origin switches to a protocol that was not asked for")
        }
        status if is_bodiless(status) => Ok(()),
        _ if !is_plainly_chunked(headers) => {
            refused("the origin's transfer coding is not chunked alone")
        }
        _ => Ok(()),
    }
}

/// What is counted of the answer's body. One that `lasts` goes on at its parties' pace, and so does a
/// conversation of gRPC.
pub(crate) fn body_of(response: &ResponseHeader, lasts: bool) -> Option<AnswerBody> {
    let kind = response.headers.get(CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let length = response.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    (!lasts && !is_grpc).then(|| AnswerBody::new(length))
}

/// Whether a 101 says what the client asked for (RFC 9110 sections 7.8 and 15.2.2): what follows is
/// passed on unjudged.
fn is_agreement(response: &ResponseHeader, exchange: &Exchange) -> bool {
    exchange.asked.upgrade
        && response.version == Version::HTTP_11
        && names(&response.headers, &UPGRADE, "websocket")
        && names(&response.headers, &CONNECTION, "upgrade")
}

/// Whether an answer of this status has no body, whatever it says (RFC 9112 section 6.3).
fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Whether the body is framed by chunks and nothing else, or not by a coding at all. Pingora undoes
/// the last coding of the last line, and hands on the others as the body; we asked for none of them
/// (RFC 9110 section 10.1.4).
fn is_plainly_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let first = codings.next();
    first.is_none_or(|coding| {
        coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    }) && codings.next().is_none()
}

/// Makes an answer one for this client.
pub(crate) fn adapt_to_client(
    session: &mut Session,
    response: &mut ResponseHeader,
    exchange: &Exchange,
) {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        if let Some(connection) = &exchange.connection {
            let whose = exchange.client.address.zip(exchange.site());
            connection.upgrade(whose.map(|(client, site)| Tunnel::new(client, site.id)));
        }
        return;
    }
    remove_hop_by_hop(response);
    spell_length(response);
    if is_bodiless(response.status) {
        announce_no_body(response);
    }
    // A client of HTTP/1.0 knows no chunks: it reads to the end of the connection (RFC 9112 section
    // 6.3).
    let old = session.req_header().version < Version::HTTP_11;
    if old && response.remove_header(&TRANSFER_ENCODING).is_some() {
        session.as_downstream_mut().set_keepalive(None);
    }
}

/// Lengths that all say the same are one (RFC 9110 section 8.6): not every client reads `05` and `5, 5` so.
fn spell_length(response: &mut ResponseHeader) {
    let mut lengths = response.headers.get_all(CONTENT_LENGTH).iter();
    let (Some(first), more) = (lengths.next(), lengths.next().is_some()) else {
        return;
    };
    let is_plain = match first.as_bytes() {
        [] | [b'0', _, ..] => false,
        digits => digits.iter().all(u8::is_ascii_digit),
    };
    if is_plain && !more {
        return;
    }
    let text = first.to_str().unwrap_or_default();
    // Pingora has refused those that differ.
    let length = text
        .split(',')
        .next()
        .and_then(|text| text.trim().parse::<u64>().ok());
    match length {
        Some(length) => {
            let _ = response.insert_header(CONTENT_LENGTH, length);
        }
        None => {
            response.remove_header(&CONTENT_LENGTH);
        }
    }
}

/// A 304 may announce the length of what it stands for; nothing else without a body may announce one
/// (RFC 9110 section 8.6, RFC 9112 section 6.1).
fn announce_no_body(response: &mut ResponseHeader) {
    response.remove_header(&TRANSFER_ENCODING);
    if response.status != StatusCode::NOT_MODIFIED {
        response.remove_header(&CONTENT_LENGTH);
    }
}

/// Takes out what concerns the origin's connection alone (RFC 9110 section 7.6.1). Pingora writes a
/// `Connection` of ours into all but 1xx.
fn remove_hop_by_hop(response: &mut ResponseHeader) {
    let options = response.headers.get_all(CONNECTION).iter();
    let named: Vec<HeaderName> = options
        .flat_map(|options| options.as_bytes().split(|byte| *byte == b','))
        .filter_map(named_field)
        .collect();
    // A 426 must name the protocol that would do (RFC 9110 section 15.5.22).
    let kept = (response.status == StatusCode::UPGRADE_REQUIRED).then_some(UPGRADE);
    for name in named
        .iter()
        .chain(&HOP_BY_HOP)
        .filter(|name| Some(*name) != kept.as_ref())
    {
        response.remove_header(name);
    }
    if response.status.is_informational() {
        response.remove_header(&CONNECTION);
    }
}

/// The field that an option of `Connection` names, where it is one that can be: none that are meant
/// for every recipient.
fn named_field(option: &[u8]) -> Option<HeaderName> {
    let option = option.trim_ascii();
    if option.eq_ignore_ascii_case(b"close") || option.eq_ignore_ascii_case(b"keep-alive") {
        return None;
    }
    let name = HeaderName::from_bytes(option).ok()?;
    let everybodys = [CACHE_CONTROL, CONTENT_LENGTH, TRANSFER_ENCODING];
    (!everybodys.contains(&name)).then_some(name)
}
