//! From Pingora's session to the facts that filters see.

use std::{borrow::Cow, net::IpAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST},
    uri::PathAndQuery,
};
use pingora::{
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
};
use thornwall_detectors::{
    address::reported_client,
    request::{RequestView, SiteFacts, normalise_path, plain_path, spells},
    signal::{Reason, Signal, Trail},
};
use thornwall_filters::{
    deception::links::Marked,
    filter::Holds,
    pipeline::{Judgement, Notes, Timings},
    verdict::{Answer, Denial, Ruling},
};

use crate::{
    edge::{Connection, head::judge_decoded},
    exchange::{Exchange, Target},
    forward::proxy_id,
    generation::{Generation, Site},
    hosts::normalise_host,
    second_opinion,
    state::State,
    tls::Arrival,
    unread::AnswerBody,
};

mod robots;

pub(crate) use robots::answer as robots_answer;

/// Header in which a trusted proxy says how the client reached it.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Finds out who asks for what, and asks the site's pipeline. `Err` is a request that no site can
/// be asked about: its status and why.
pub(crate) fn judge(
    session: &Session,
    exchange: &mut Exchange,
    state: &State,
) -> Result<Judgement, (u16, Reason)> {
    let header = session.req_header();
    identify_client(session, header, exchange);
    admit_head(header, &exchange.generation)?;
    exchange.target = target(&header.uri)?;
    find_site(header, exchange)?;
    let (site, client) = (exchange.site(), exchange.client);
    let (Some(site), Some(client)) = (site, client) else {
        return Err((421, Reason::HostUnknown));
    };
    if site.mark.is_in_circles(&header.headers) {
        return Err((508, Reason::RequestLoop));
    }
    let path = plain_path(header.uri.path());
    let arrival = Arrival {
        tls: exchange.tls(),
        secure: exchange.secure,
        path: &path,
    };
    site.tls
        .admits(&arrival)
        .map_err(|refusal| (refusal.status(), refusal.reason()))?;
    admit_body(&header.headers, site.max_body_bytes)?;
    let now = state.now();
    let robots = robots::known(header, exchange, now);
    let request = RequestView {
        method: &header.method,
        uri: &header.uri,
        path,
        version: header.version,
        headers: &header.headers,
        client,
        host: &exchange.host,
        site: SiteFacts {
            id: site.id,
            robots: robots.as_ref().map(|file| &file.rules),
        },
        secure: exchange.secure,
        now,
    };
    let mut judgement =
        judge_marked_link(site, &request).unwrap_or_else(|| site.pipeline.judge(&request));
    if let Some(proposal) = judgement.proposal.take() {
        state.propose(*proposal, &site.name, exchange.id);
    }
    if judgement.ruling.reason() == Some(Reason::DeceptionMarkedLink) {
        second_opinion::trap(&request, state);
    }
    second_opinion::submit(&mut judgement, exchange.id, state);
    exchange.holds = std::mem::take(&mut judgement.holds);
    Ok(judgement)
}

/// Whoever asks for a path that only tarpit pages contain needs no further look; whatever else is
/// asked for below their prefix does not exist.
fn judge_marked_link(site: &Site, request: &RequestView<'_>) -> Option<Judgement> {
    let answer = match site.links.read(&request.path)? {
        Marked::Signed => Answer::Tarpit(Reason::DeceptionMarkedLink),
        Marked::Forged => Answer::Deny(Denial::forbidden(Reason::DeceptionUnsignedLink)),
    };
    let ruling = Ruling::Answer(answer);
    let mut trail = Trail::default();
    if let Some(reason) = ruling.reason() {
        trail.push(Signal::new(reason, 1.0));
    }
    Some(Judgement {
        ruling,
        throttled: false,
        score: trail.score(),
        trail,
        proposal: None,
        referral: None,
        holds: Holds::default(),
        timings: Timings::new(),
        notes: Notes::new(),
    })
}

fn identify_client(session: &Session, header: &RequestHeader, exchange: &mut Exchange) {
    let peer = Connection::client_of(session);
    let names_others = Connection::of(session).is_some_and(|c| c.may_name_others());
    exchange.peer_trusted = names_others && State::trusts(&exchange.generation, peer);
    exchange.client = Some(peer);
    exchange.secure = exchange.tls().is_some();
    if exchange.peer_trusted {
        exchange.client = Some(claimed_client(header, &exchange.generation).unwrap_or(peer));
        exchange.proxy_id = proxy_id(header);
        if let Some(proto) = header.headers.get(FORWARDED_PROTO) {
            exchange.secure = proto.as_bytes().eq_ignore_ascii_case(b"https");
        }
    }
}

/// Requests of a client that wait for each that may be under way: a class of pupils who open the same
/// page.
const WAITING: u32 = 8;

/// A place among the client's requests at origins. Where it has all of them, the request waits for one
/// of the others to end; `None` where none does. Trusted proxies that name nobody have no cap, as
/// with connections.
pub(crate) async fn take_share(exchange: &mut Exchange, state: &State) -> Option<()> {
    let generation = &exchange.generation;
    let client = exchange.client;
    let Some(client) = client.filter(|client| !State::trusts(generation, *client)) else {
        return Some(());
    };
    let most = generation.limits.max_requests_per_client;
    let within = generation.limits.request_wait;
    let waiting = most.saturating_mul(WAITING);
    let mut share = state.requests.wait(client, most, waiting, within).await;
    let limits = &generation.limits;
    if share.is_none() && !within.is_zero() && state.unread.has_room(client, limits) {
        // Where others last so long, as long polls do, there are as many places again.
        share = state.lasting.take(client, most);
    }
    let share = share?;
    exchange.share = Some(share);
    Some(())
}

/// Notes what kind of answer begins. One that lasts, a WebSocket or an event stream, counts no longer among
/// its client's requests but among those that last, of which it may have as many as connections.
pub(crate) fn settle_share(exchange: &mut Exchange, response: &ResponseHeader, state: &State) {
    let kind = response
        .headers
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes);
    let lasts = response.status == StatusCode::SWITCHING_PROTOCOLS
        || kind.is_some_and(|kind| kind.starts_with(b"text/event-stream"));
    let is_conversation = kind.is_some_and(|kind| kind.starts_with(b"application/grpc"));
    let length = response.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    exchange.answer = (!lasts && !is_conversation).then(|| AnswerBody::new(length));
    if let (true, Some(client), Some(_)) = (lasts, exchange.client, &exchange.share) {
        let most = exchange.generation.limits.max_per_client;
        if let Some(share) = state.lasting.take(client, most) {
            exchange.share = Some(share);
        }
    }
}

/// Heads of HTTP/1 have been judged as bytes; those of HTTP/2 come as fields.
fn admit_head(header: &RequestHeader, generation: &Generation) -> Result<(), (u16, Reason)> {
    if header.version < Version::HTTP_2 {
        return Ok(());
    }
    let most = generation.limits.max_headers;
    judge_decoded(&header.method, header.raw_path(), &header.headers, most)
        .map_err(|refusal| (refusal.status, refusal.reason))
}

/// Whoever names no host gets the site for all hosts that no other serves, if there is one.
fn find_site(header: &RequestHeader, exchange: &mut Exchange) -> Result<(), (u16, Reason)> {
    let host = authority(&header.uri, &header.headers, header.version);
    if exchange.find_site(host.map_err(|reason| (400, reason))?) {
        return Ok(());
    }
    Err(match exchange.host.as_str() {
        "" => (400, Reason::HostMissing),
        _ => (421, Reason::HostUnknown),
    })
}

/// What is judged in place of the path that was sent, and what the origin is asked with where that
/// could be read as another path. The query stays byte for byte.
fn target(uri: &Uri) -> Result<Target, (u16, Reason)> {
    let refused = (400, Reason::RequestTargetInvalid);
    let Ok(path) = normalise_path(uri.path()) else {
        return Err(refused);
    };
    let Cow::Owned(judged) = path else {
        return Ok(Target::default());
    };
    let mut asked = None;
    if !spells(uri.path(), &judged) {
        let target = match uri.query() {
            Some(query) => format!("{judged}?{query}"),
            None => judged.clone(),
        };
        asked = Some(PathAndQuery::try_from(target).map_err(|_| refused)?);
    }
    Ok(Target {
        judged: Some(judged),
        asked,
    })
}

/// A body that says that it is too large is refused before the origin hears of it; others are
/// measured on their way, in [`forward::measure_body`].
///
/// [`forward::measure_body`]: crate::forward::measure_body
fn admit_body(headers: &HeaderMap, most: Option<u64>) -> Result<(), (u16, Reason)> {
    let (Some(most), Some(length)) = (most, headers.get(CONTENT_LENGTH)) else {
        return Ok(());
    };
    let announced = length.to_str().ok().and_then(|text| text.parse().ok());
    if announced.is_none_or(|announced: u64| announced > most) {
        return Err((413, Reason::RequestBodyTooLarge));
    }
    Ok(())
}

fn claimed_client(header: &RequestHeader, generation: &Generation) -> Option<IpAddr> {
    // A byte that is no text must not hide what a trusted proxy wrote beside it.
    let lines: Vec<Cow<'_, str>> = header
        .headers
        .get_all(&generation.client_address.header)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    reported_client(lines.iter().map(AsRef::as_ref), |hop| {
        State::trusts(generation, hop)
    })
}

/// The host that is asked for, in the form that sites are looked up by: HTTP/2 names it in
/// `:authority` or else in `Host` (RFC 9113 section 8.3.1).
///
/// HTTP/1.1 requires a `Host` even beside an absolute target, and lets it be empty (RFC 9112 section
/// 3.2); HTTP/1.0 may go without. Both ask for the empty name, as programs do that only look whether
/// somebody is there: the site for all hosts that no other serves takes it, as with nginx.
pub fn authority(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<String, Reason> {
    let target = uri.authority().map(http::uri::Authority::as_str);
    let host = match (target, headers.get(HOST)) {
        (Some(target), _) if version >= Version::HTTP_2 => target,
        (None, None) if version < Version::HTTP_11 => "",
        (_, Some(sent)) => sent.to_str().map_err(|_| Reason::HostInvalid)?,
        (_, None) => return Err(Reason::HostMissing),
    };
    if host.is_empty() {
        return Ok(String::new());
    }
    normalise_host(host).ok_or(Reason::HostInvalid)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Uri, Version, header::CONTENT_LENGTH, header::HOST};
    use thornwall_detectors::signal::Reason;

    use super::{admit_body, authority, target};

    #[test]
    fn each_version_names_its_host() {
        let check = |uri: &str, host: Option<&[u8]>, version, expected: Result<&str, Reason>| {
            let uri: Uri = uri.parse().unwrap();
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(HOST, HeaderValue::from_bytes(host).unwrap());
            }
            let found = authority(&uri, &headers, version);
            assert_eq!(
                found.as_deref(),
                expected.as_ref().copied(),
                "{uri} {host:?}"
            );
        };
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        check("/", Some(b"T.Example.:80"), one, Ok("t.example"));
        check("/", None, one, Err(Reason::HostMissing));
        check("/", Some(b""), one, Ok(""));
        check("/", None, Version::HTTP_10, Ok(""));
        check("/", Some(b""), two, Ok(""));
        check("/", Some(b"a b"), one, Err(Reason::HostInvalid));
        check("/", Some(b"caf\xe9.example"), one, Err(Reason::HostInvalid));
        check("http://t.example/", None, one, Err(Reason::HostMissing));
        check("https://T.Example:443/", None, two, Ok("t.example"));
        check(
            "https://t.example/",
            Some(b"other.example"),
            two,
            Ok("t.example"),
        );
        check("/", Some(b"t.example"), two, Ok("t.example"));
        check(
            "https://[2001:DB8::1]:8443/",
            None,
            two,
            Ok("[2001:db8::1]"),
        );
        check("https://a@t.example/", None, two, Err(Reason::HostInvalid));
        check("/", None, two, Err(Reason::HostMissing));
    }

    #[test]
    fn a_target_is_rewritten_where_it_must_be() {
        let check = |sent: &str, judged: Option<&str>, asked: Option<&str>| {
            let uri: Uri = sent.parse().unwrap();
            let found = target(&uri).unwrap();
            assert_eq!(found.judged.as_deref(), judged, "{sent}");
            let found = found.asked.as_ref().map(|asked| asked.as_str());
            assert_eq!(found, asked, "{sent}");
        };
        check("/a/b?c=%zz/../", None, None);
        check("/a/../b?c=%zz/../", Some("/b"), Some("/b?c=%zz/../"));
        check("//a?", Some("/a"), Some("/a?"));
        check("https://t.example/%61?x", Some("/a"), None);
        check("/%61/%2e%2e/%62?x", Some("/b"), Some("/b?x"));
        check("*", None, None);
        for refused in ["/%zz", "/a\\b", "/\u{e9}"] {
            let found = target(&refused.parse().unwrap());
            assert_eq!(
                found.err().map(|(status, _)| status),
                Some(400),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_body_that_says_it_is_too_large_is_refused() {
        let check = |length: &str, most: Option<u64>, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, HeaderValue::from_str(length).unwrap());
            assert_eq!(
                admit_body(&headers, most).is_ok(),
                expected,
                "{length} {most:?}"
            );
        };
        check("100", Some(100), true);
        check("101", Some(100), false);
        check("101", None, true);
        check("99999999999999999999", Some(100), false);
        assert!(admit_body(&HeaderMap::new(), Some(0)).is_ok());
    }
}
