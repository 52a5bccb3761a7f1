//! Where a WebDAV client wants to copy or move to, as the origin can understand it.
//!
//! `Destination` is a whole URL of the public site (RFC 4918 section 10.3). An origin that is spoken
//! to in clear text, below TLS that ended here or before us, takes `https://` for another server, and
//! refuses it with 502 or 400.

use http::{HeaderName, HeaderValue, header::HOST};
use pingora::{Result, http::RequestHeader, proxy::Session};

use super::Public;
use crate::{exchange::Exchange, hosts::split_authority};

const DESTINATION: HeaderName = HeaderName::from_static("destination");

/// Lets a destination on the host that is asked for begin as the origin's own URLs do: with the
/// scheme that it is spoken to in, and the host that it is asked for. Others stay: whether they can
/// be reached is the origin's business.
pub(super) fn map(
    session: &Session,
    request: &mut RequestHeader,
    exchange: &Exchange,
) -> Result<()> {
    if !matches!(request.method.as_str(), "COPY" | "MOVE") {
        return Ok(());
    }
    let (sent, host) = (request.headers.get(&DESTINATION), request.headers.get(HOST));
    let texts = sent.and_then(|sent| sent.to_str().ok().zip(host?.to_str().ok()));
    let Some((sent, host)) = texts else {
        return Ok(());
    };
    let scheme = match exchange.origin.attempt.speaks_tls() {
        true => "https",
        false => "http",
    };
    let public = Public::of(session.req_header(), exchange);
    let mapped = path_on(sent, &public).map(|path| format!("{scheme}://{host}{path}"));
    match mapped.and_then(|mapped| HeaderValue::try_from(mapped).ok()) {
        Some(mapped) => request.insert_header(DESTINATION, mapped),
        None => Ok(()),
    }
}

/// What follows the authority of a URL that lies on `public`, whatever its scheme: that we were
/// reached over TLS may be known to a proxy before us alone.
fn path_on<'a>(url: &'a str, public: &Public) -> Option<&'a str> {
    let (scheme, rest) = url.split_once("://")?;
    let secure = scheme.eq_ignore_ascii_case("https");
    if !secure && !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (host, port) = split_authority(authority)?;
    let place = Public::new(secure, host, port);
    let same_port = place.port == public.port || place.effective_port() == public.effective_port();
    (place.host == public.host && same_port).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::{Public, path_on};

    #[test]
    fn destinations_on_the_host_that_is_asked_for_are_the_origins() {
        let check = |url: &str, port: Option<u16>, expected: Option<&str>| {
            let public = Public::new(false, "dav.example".to_owned(), port);
            assert_eq!(path_on(url, &public), expected, "{url} {port:?}");
        };
        let other = Some(8443);
        check("https://dav.example/b%20c?d", None, Some("/b%20c?d"));
        check("HTTPS://Dav.Example.:443/b", None, Some("/b"));
        check("http://dav.example/b", None, Some("/b"));
        check("https://dav.example:8443/b", other, Some("/b"));
        check("https://dav.example", Some(443), Some(""));
        check("https://dav.example/b", other, None);
        check("https://dav.example:8444/b", other, None);
        check("https://other.example/b", None, None);
        check("https://dav.example@other.example/b", None, None);
        check("ftp://dav.example/b", None, None);
        check("/b", None, None);
        check("", None, None);
    }
}
