//! From Pingora's session to the facts that filters see, and who answers the request.

use std::{borrow::Cow, net::IpAddr};

use http::{
    HeaderMap, HeaderName, Uri, Version,
    header::{CONTENT_LENGTH, HOST},
    uri::PathAndQuery,
};
use pingora::{http::RequestHeader, proxy::Session};
use thornwall_detectors::{
    address::reported_client,
    request::{RequestView, SiteFacts, normalise_path, plain_path, spells},
    signal::Reason,
};
use thornwall_filters::{
    deception::links::Marked,
    pipeline::Judgement,
    verdict::{self, Denial, Ruling},
};

use crate::{
    answer::Answer,
    edge::{Connection, head::judge_decoded},
    exchange::Exchange,
    forward::proxy_id,
    generation::{Backend, Generation, Site},
    hosts::normalise_host,
    permits, second_opinion,
    state::State,
    tls::{self, Arrival},
};

mod own_paths;
mod robots;

use own_paths::OwnPath;

/// Header in which a trusted proxy says how the client reached it.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Decides who answers a request: an answer of the gateway's own, or else the backend of its route.
pub(crate) async fn decide(
    session: &Session,
    exchange: &mut Exchange,
    state: &State,
) -> Option<Answer> {
    admit(session, exchange, state).await.err()
}

/// Lets a request through to the backend of its route. `Err` is what it is answered with instead.
async fn admit(session: &Session, exchange: &mut Exchange, state: &State) -> Result<(), Answer> {
    let (mut judgement, own) = judge(session, exchange, state)?;
    second_opinion::settle(&mut judgement, exchange, state).await;
    let ruling = judgement.ruling;
    exchange.judgement = Some(judgement);
    if let Ruling::Answer(answer) = ruling {
        return Err(answer.into());
    }
    if permits::take(exchange, state).await.is_none() {
        return Err(Answer::Refuse(429, Reason::ClientTooManyRequests));
    }
    if own == Some(OwnPath::Robots)
        && let Some(file) = robots::answer(session.req_header(), exchange, state.now()).await
    {
        return Err(Answer::Robots(file));
    }
    match exchange.route().map(|route| &route.backend) {
        Some(Backend::Upstream(_)) => Ok(()),
        None => Err(Answer::Refuse(421, Reason::HostUnknown)),
    }
}

/// Finds out who asks for what, and asks the site's pipeline, unless the path is one that needs no
/// further look. `Err` answers a request that no site can be asked about.
fn judge(
    session: &Session,
    exchange: &mut Exchange,
    state: &State,
) -> Result<(Judgement, Option<OwnPath>), Answer> {
    let header = session.req_header();
    identify_client(session, header, exchange);
    admit_head(header, &exchange.generation)?;
    exchange.asked.target = target(&header.uri)?;
    find_site(header, exchange)?;
    let unknown = Answer::Refuse(421, Reason::HostUnknown);
    let (Some(site), Some(route)) = (exchange.site(), exchange.route()) else {
        return Err(unknown);
    };
    let Some(client) = exchange.client.address else {
        return Err(unknown);
    };
    if site.mark.is_in_circles(&header.headers) {
        return Err(Answer::Refuse(508, Reason::RequestLoop));
    }
    let path = plain_path(header.uri.path());
    admit_arrival(site, &path, exchange)?;
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
        host: &exchange.asked.host,
        site: SiteFacts {
            id: site.id,
            robots: robots.as_ref().map(|file| &file.rules),
        },
        secure: exchange.asked.secure,
        now,
    };
    let own = own_paths::find(site, &request);
    let mut judgement = match own {
        Some(OwnPath::Marked(marked)) => {
            if marked == Marked::Signed {
                second_opinion::trap(&request, state);
            }
            judge_marked(marked)
        }
        Some(OwnPath::Robots) | None => route.pipeline.judge(&request),
    };
    if let Some(proposal) = judgement.proposal.take() {
        state.propose(*proposal, &site.name, exchange.id);
    }
    second_opinion::submit(&mut judgement, exchange.id, state);
    exchange.holds = std::mem::take(&mut judgement.holds);
    Ok((judgement, own))
}

/// Whether the site is to be reached in the way in which the request came.
fn admit_arrival(site: &Site, path: &str, exchange: &Exchange) -> Result<(), Answer> {
    let arrival = Arrival {
        tls: exchange.tls(),
        secure: exchange.asked.secure,
        path,
    };
    site.tls.admits(&arrival).map_err(|refusal| match refusal {
        tls::Refusal::Redirect => Answer::RedirectToHttps,
        _ => Answer::Refuse(refusal.status(), refusal.reason()),
    })
}

/// A path that only tarpit pages contain leads into the tarpit; whatever else is asked for below their
/// prefix does not exist.
fn judge_marked(marked: Marked) -> Judgement {
    Judgement::without_filters(match marked {
        Marked::Signed => verdict::Answer::Tarpit(Reason::DeceptionMarkedLink),
        Marked::Forged => verdict::Answer::Deny(Denial::forbidden(Reason::DeceptionUnsignedLink)),
    })
}

fn identify_client(session: &Session, header: &RequestHeader, exchange: &mut Exchange) {
    let peer = Connection::client_of(session);
    let names_others = Connection::of(session).is_some_and(|c| c.may_name_others());
    exchange.client.peer_trusted = names_others && State::trusts(&exchange.generation, peer);
    exchange.client.address = Some(peer);
    exchange.asked.secure = exchange.tls().is_some();
    if exchange.client.peer_trusted {
        exchange.client.address =
            Some(claimed_client(header, &exchange.generation).unwrap_or(peer));
        exchange.asked.proxy_id = proxy_id(header);
        if let Some(proto) = header.headers.get(FORWARDED_PROTO) {
            exchange.asked.secure = proto.as_bytes().eq_ignore_ascii_case(b"https");
        }
    }
}

/// Heads of HTTP/1 have been judged as bytes; those of HTTP/2 come as fields.
fn admit_head(header: &RequestHeader, generation: &Generation) -> Result<(), Answer> {
    if header.version < Version::HTTP_2 {
        return Ok(());
    }
    let most = generation.limits.max_headers;
    judge_decoded(&header.method, header.raw_path(), &header.headers, most)
        .map_err(|refusal| Answer::Refuse(refusal.status, refusal.reason))
}

/// A request without a host gets the site for all hosts that no other serves, if there is one.
fn find_site(header: &RequestHeader, exchange: &mut Exchange) -> Result<(), Answer> {
    let host = authority(&header.uri, &header.headers, header.version);
    if exchange.find_site(host.map_err(|reason| Answer::Refuse(400, reason))?) {
        return Ok(());
    }
    Err(match exchange.asked.host.as_str() {
        "" => Answer::Refuse(400, Reason::HostMissing),
        _ => Answer::Refuse(421, Reason::HostUnknown),
    })
}

/// What the origin is asked with where the path that was sent could be read as another one than the
/// one that is judged. The query stays byte for byte.
fn target(uri: &Uri) -> Result<Option<PathAndQuery>, Answer> {
    let refused = || Answer::Refuse(400, Reason::RequestTargetInvalid);
    let path = normalise_path(uri.path()).map_err(|_| refused())?;
    let Cow::Owned(judged) = path else {
        return Ok(None);
    };
    if spells(uri.path(), &judged) {
        return Ok(None);
    }
    let target = match uri.query() {
        Some(query) => format!("{judged}?{query}"),
        None => judged,
    };
    let target = PathAndQuery::try_from(target).map_err(|_| refused())?;
    Ok(Some(target))
}

/// A body that says that it is too large is refused before it reaches the origin; others are
/// measured on their way, in [`forward::measure_body`].
///
/// [`forward::measure_body`]: crate::forward::measure_body
fn admit_body(headers: &HeaderMap, most: Option<u64>) -> Result<(), Answer> {
    let (Some(most), Some(length)) = (most, headers.get(CONTENT_LENGTH)) else {
        return Ok(());
    };
    let announced = length.to_str().ok().and_then(|text| text.parse().ok());
    if announced.is_none_or(|announced: u64| announced > most) {
        return Err(Answer::Refuse(413, Reason::RequestBodyTooLarge));
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
/// a server is there: the site for all hosts that no other serves takes it, as with nginx.
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

    use super::{Answer, PathAndQuery, admit_body, authority, target};

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
        let check = |sent: &str, asked: Option<&str>| {
            let found = target(&sent.parse().unwrap()).unwrap();
            let found = found.as_ref().map(PathAndQuery::as_str);
            assert_eq!(found, asked, "{sent}");
        };
        check("/a/b?c=%zz/../", None);
        check("/a/../b?c=%zz/../", Some("/b?c=%zz/../"));
        check("//a?", Some("/a?"));
        check("https://t.example/%61?x", None);
        check("/%61/%2e%2e/%62?x", Some("/b?x"));
        check("*", None);
        for refused in ["/%zz", "/a\\b", "/\u{e9}"] {
            let found = target(&refused.parse().unwrap());
            let is_refused = matches!(found, Err(Answer::Refuse(400, _)));
            assert!(is_refused, "{refused}");
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
