//! The header of a request as the origin gets it.

use http::{
    HeaderName, HeaderValue, Method, Version,
    header::{CONNECTION, COOKIE, EXPECT, HOST, UPGRADE},
    uri::{PathAndQuery, Uri},
};
use pingora::{ErrorType, OrErr, Result, http::RequestHeader, proxy::Session};

use super::{claims, destination, identity};
use crate::{exchange::Exchange, state::State};

/// The certificate that the client has shown, RFC 9440 section 2.2.
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// Writes who asks, in the fields that the origin trusts us to send: whatever the client itself
/// sent in them is replaced, unless the client is a proxy that we trust.
pub(crate) fn prepare(
    session: &mut Session,
    request: &mut RequestHeader,
    exchange: &Exchange,
    state: &State,
) -> Result<()> {
    retarget(request, exchange)?;
    if !exchange.asked.upgrade && request.remove_header(&UPGRADE).is_some() {
        // Pingora looks at no more than the one field.
        request.remove_header(&CONNECTION);
    }
    let claims = claims::remove(request, exchange);
    claims::note(session, exchange, &claims, state);
    join_cookies(request)?;
    let upstream = exchange.upstream();
    if let Some(sticky) = upstream.and_then(|upstream| upstream.sticky.as_ref()) {
        sticky.strip(request)?;
    }
    // A client that waited for `100 Continue` has had it from us.
    request.remove_header(&EXPECT);
    guard_body(session, request)?;
    if let Some(certificate) = client_certificate(exchange) {
        request.insert_header(CLIENT_CERT, certificate)?;
    }
    give_host(request, exchange)?;
    if let Some(site) = exchange.site() {
        site.mark.leave(request)?;
    }
    identity::add_identity(session, request, exchange)?;
    destination::map(session, request, exchange)
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
    let target = match &exchange.asked.target {
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

/// Names a host to the origin where the client named none, since HTTP/1.1 requires one: the
/// server's, as nginx does.
fn give_host(request: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    if !exchange.asked.host.is_empty() {
        return Ok(());
    }
    match exchange.origin.attempt.authority() {
        Some(authority) => request.insert_header(HOST, authority),
        None => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use pingora::http::RequestHeader;

    use super::join_cookies;

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
}
