//! The header of a request as the origin gets it.

use std::borrow::Cow;

use http::{
    HeaderName, HeaderValue, Method, Version,
    header::{CONNECTION, COOKIE, EXPECT, HOST, UPGRADE},
    uri::{PathAndQuery, Uri},
};
use pingora::{Error, ErrorType, OrErr, Result, http::RequestHeader, proxy::Session};

use crate::{exchange::Exchange, request::peer_address};

/// The certificate that the client has shown, RFC 9440 section 2.2.
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Header in which the origin and the client read the request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Tells the origin who asks, in the words that it trusts us to use: whatever the client itself
/// sent in them is replaced, unless the client is a proxy that we trust.
pub fn prepare(
    session: &mut Session,
    request: &mut RequestHeader,
    exchange: &Exchange,
) -> Result<()> {
    retarget(request, exchange)?;
    if !exchange.upgrade && request.remove_header(&UPGRADE).is_some() {
        // Pingora looks at no more than the one field.
        request.remove_header(&CONNECTION);
    }
    remove_claims(request, exchange);
    join_cookies(request)?;
    if let Some(sticky) = exchange
        .site()
        .and_then(|site| site.upstream.sticky.as_ref())
    {
        sticky.strip(request)?;
    }
    guard_body(session, request)?;
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

/// Tells a client that waits for a `100 Continue` (RFC 9110 section 10.1.1) to go on, now that there
/// is somebody to send to: an origin may never say so. nginx does the same.
pub async fn invite(
    session: &mut Session,
    request: &mut RequestHeader,
    exchange: &mut Exchange,
) -> Result<()> {
    if request.remove_header(&EXPECT).is_none() || exchange.invited {
        return Ok(());
    }
    let client = session.as_downstream_mut();
    // Without a body there must be none, and HTTP/1.0 knows none.
    if client.is_body_empty() || client.req_header().version < Version::HTTP_11 {
        return Ok(());
    }
    exchange.invited = true;
    // Pingora would close the connection behind any answer that comes before the body.
    client.set_close_on_response_before_downstream_finish(false);
    let written = client.write_continue_response().await;
    client.set_close_on_response_before_downstream_finish(true);
    written.map_err(Error::into_down)
}

/// What the client spoke to us, where no proxy that we trust says more.
fn own_proto(exchange: &Exchange) -> HeaderValue {
    let tls = exchange.tls().is_some();
    HeaderValue::from_static(if tls { "https" } else { "http" })
}

/// What the client has shown, for the origins of sites that ask for it.
fn client_certificate(exchange: &Exchange) -> Option<HeaderValue> {
    exchange.site()?.tls.policy.as_ref()?;
    exchange.tls()?.client_certificate.clone()
}

/// Asks for what was judged, and in origin form where the client's target was absolute (RFC 9112
/// section 3.2.1).
fn retarget(request: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    let absolute = !request.raw_path().starts_with(b"/") && request.uri.path().starts_with('/');
    let target = match &exchange.target {
        Some(target) => target.clone(),
        None if absolute => {
            let sent = request.uri.path_and_query().cloned();
            sent.unwrap_or_else(|| PathAndQuery::from_static("/"))
        }
        None => return Ok(()),
    };
    let mut parts = request.uri.clone().into_parts();
    parts.path_and_query = Some(target);
    let uri = Uri::from_parts(parts).or_err(ErrorType::InvalidHTTPHeader, "request target")?;
    request.set_uri(uri);
    Ok(())
}

/// Takes out what only we or a proxy that we trust may tell an origin.
fn remove_claims(request: &mut RequestHeader, exchange: &Exchange) {
    let named = &exchange.generation.client_address.header;
    let unwanted = |name: &&HeaderName| {
        is_claim(name.as_str())
            || (!exchange.peer_trusted && (is_proxys_word(name.as_str()) || *name == named))
    };
    // Nearly always none, which allocates nothing.
    let found: Vec<HeaderName> = request.headers.keys().filter(unwanted).cloned().collect();
    for name in found {
        request.remove_header(&name);
    }
}

/// Whether a field has no honest use from anybody.
///
/// CGI and its heirs read `X_Forwarded_For` and `X-Forwarded-For` as one, and `Proxy` as the
/// variable that names the proxy of their own requests (RFC 3875 section 4.1.18, CVE-2016-5385).
/// Who the client is, is said in `X-Forwarded-For` alone. The last two make Symfony and IIS
/// serve another path than the one that was judged.
fn is_claim(name: &str) -> bool {
    name.contains('_')
        || matches!(
            name,
            "client-cert"
                | "client-cert-chain"
                | "forwarded"
                | "proxy"
                | "x-real-ip"
                | "x-original-url"
                | "x-rewrite-url"
        )
}

/// Whether a field is how proxies and CDNs speak of their client. Proxies make up further names
/// with the usual prefix, such as `X-Forwarded-Client-Cert` and `X-Forwarded-User`.
fn is_proxys_word(name: &str) -> bool {
    let known = matches!(
        name,
        "cf-connecting-ip"
            | "cf-connecting-ipv6"
            | "client-ip"
            | "fastly-client-ip"
            | "front-end-https"
            | "true-client-ip"
            | "x-client-ip"
            | "x-cluster-client-ip"
            | "x-forwarded"
            | "x-original-forwarded-for"
            | "x-original-host"
            | "x-url-scheme"
    );
    known || name.starts_with("x-forwarded-")
}

/// HTTP/2 clients send cookies one by one; origins expect one line (RFC 9113 section 8.2.3).
fn join_cookies(request: &mut RequestHeader) -> Result<()> {
    let mut crumbs = request.headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return Ok(());
    };
    let mut joined = first.as_bytes().to_vec();
    for crumb in [second].into_iter().chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    let joined =
        HeaderValue::from_bytes(&joined).or_err(ErrorType::InvalidHTTPHeader, "cookies")?;
    request.insert_header(COOKIE, joined)
}

/// Keeps a request's body from being read as a request of its own.
///
/// Bodies that mean nothing (RFC 9110 sections 9.3.1, 9.3.2 and 9.3.5) are left unread by many
/// origins, so that they would be the start of the next client's request on the same connection.
fn guard_body(session: &mut Session, request: &mut RequestHeader) -> Result<()> {
    let downstream = session.as_downstream_mut();
    let bodiless = downstream.is_body_empty();
    let meaningless = [Method::GET, Method::HEAD, Method::DELETE].contains(&request.method);
    if !bodiless && meaningless && request.version == Version::HTTP_11 {
        request.insert_header(CONNECTION, HeaderValue::from_static("close"))?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use http::{HeaderName, header::COOKIE};
    use pingora::http::RequestHeader;

    use super::{is_claim, is_proxys_word, join_cookies};

    #[test]
    fn crumbs_become_one_line() {
        let check = |crumbs: &[&str], expected: &[&str]| {
            let mut request = RequestHeader::build("GET", b"/", None).unwrap();
            for crumb in crumbs {
                request.append_header(COOKIE, *crumb).unwrap();
            }
            join_cookies(&mut request).unwrap();
            let lines: Vec<&[u8]> = request
                .headers
                .get_all(COOKIE)
                .iter()
                .map(|line| line.as_bytes())
                .collect();
            let expected: Vec<&[u8]> = expected.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(lines, expected);
        };
        check(&[], &[]);
        check(&["a=b; c=d"], &["a=b; c=d"]);
        check(&["a=b", "c=d", "e=\u{e9}"], &["a=b; c=d; e=\u{e9}"]);
    }

    #[test]
    fn claims_are_names_as_the_header_map_has_them() {
        let kept = ["accept", "cookie", "x-forward", "x-csrf-token"];
        for name in kept {
            assert!(!is_claim(name) && !is_proxys_word(name), "{name}");
        }
        for name in [
            "proxy",
            "forwarded",
            "x-real-ip",
            "x-original-url",
            "x_real_ip",
        ] {
            assert!(is_claim(HeaderName::from_static(name).as_str()), "{name}");
        }
        for name in [
            "cf-connecting-ip",
            "x-forwarded-client-cert",
            "x-forwarded-for",
            "x-forwarded-user",
            "true-client-ip",
        ] {
            assert!(
                is_proxys_word(HeaderName::from_static(name).as_str()),
                "{name}"
            );
        }
    }
}
