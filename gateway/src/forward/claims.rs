//! Fields in which a request claims what only we or a proxy that we trust may say to an origin.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use pingora::{http::RequestHeader, proxy::Session};
use thornwall_detectors::address::claimed_client;

use crate::{edge::Connection, exchange::Exchange, state::State};

/// Whom a peer named that is not believed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// The field and the client in it.
    pub client: Option<(HeaderName, IpAddr)>,
}

impl Claims {
    /// Keeps the first field that names a client.
    fn take(&mut self, name: &HeaderName, headers: &HeaderMap) {
        if self.client.is_none() {
            let lines = headers.get_all(name).iter();
            let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
            let client = claimed_client(lines.into_iter());
            self.client = client.map(|client| (name.clone(), client));
        }
    }
}

/// Takes out what only we or a proxy that we trust may say to an origin.
pub(super) fn remove(request: &mut RequestHeader, exchange: &Exchange) -> Claims {
    let named = &exchange.generation.client_address.header;
    let unwanted = |name: &&HeaderName| {
        is_claim(name.as_str())
            || (!exchange.client.peer_trusted && (is_proxys_word(name.as_str()) || *name == named))
    };
    // Nearly always none, which allocates nothing.
    let found: Vec<HeaderName> = request.headers.keys().filter(unwanted).cloned().collect();
    let mut claims = Claims::default();
    for name in found {
        if !exchange.client.peer_trusted && (names_client(name.as_str()) || name == *named) {
            claims.take(&name, &request.headers);
        }
        request.remove_header(&name);
    }
    claims
}

/// Has the peer of a request that is not believed watched, as it may be a proxy of the operator's.
pub(super) fn note(session: &Session, exchange: &Exchange, claims: &Claims, state: &State) {
    if exchange.client.peer_trusted || !state.proxies.looks_at(claims.client.is_some()) {
        return;
    }
    // A PROXY header has said whose the connection is.
    if !Connection::of(session).is_some_and(|connection| connection.may_name_others()) {
        return;
    }
    let terms = || state.terms(&exchange.generation);
    let peer = Connection::client_of(session);
    (state.proxies).note(peer, claims.client.as_ref(), state.now(), terms);
}

/// Whether a field has no honest use from anybody.
///
/// CGI and its heirs read `X_Forwarded_For`, `X.Forwarded.For` and `X-Forwarded-For` as one: some fold
/// every byte that no variable's name can have. So only letters, digits and `-` pass, as in nginx
/// (`ignore_invalid_headers`). `Proxy` is the variable that names the proxy of their own requests (RFC
/// 3875 section 4.1.18, CVE-2016-5385). The id in the last but two is ours. The last two make Symfony and IIS serve another path than the
/// one that was judged.
fn is_claim(name: &str) -> bool {
    let is_folded = |byte: u8| !(byte.is_ascii_alphanumeric() || byte == b'-');
    name.bytes().any(is_folded)
        || matches!(
            name,
            "client-cert"
                | "client-cert-chain"
                | "proxy"
                | "x-gateway-request-id"
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
            | "forwarded"
            | "front-end-https"
            | "true-client-ip"
            | "x-client-ip"
            | "x-cluster-client-ip"
            | "x-forwarded"
            | "x-original-forwarded-for"
            | "x-original-host"
            | "x-real-ip"
            | "x-url-scheme"
    );
    known || name.starts_with("x-forwarded-")
}

/// Whether a field names the client by its address.
fn names_client(name: &str) -> bool {
    const FIELDS: [&str; 11] = [
        "cf-connecting-ip",
        "cf-connecting-ipv6",
        "client-ip",
        "fastly-client-ip",
        "forwarded",
        "true-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-forwarded",
        "x-forwarded-for",
        "x-real-ip",
    ];
    FIELDS.contains(&name)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::{is_claim, is_proxys_word};

    #[test]
    fn claims_are_names_as_the_header_map_has_them() {
        let kept = ["accept", "cookie", "x-forward", "x-csrf-token"];
        for name in kept {
            assert!(!is_claim(name) && !is_proxys_word(name), "{name}");
        }
        for name in [
            "proxy",
            "x-gateway-request-id",
            "x-original-url",
            "x_real_ip",
            "x.real.ip",
            "client.cert",
            "x~real!ip",
        ] {
            assert!(is_claim(HeaderName::from_static(name).as_str()), "{name}");
        }
        for name in [
            "cf-connecting-ip",
            "forwarded",
            "x-real-ip",
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
