//! How the client reaches what it asks for: scheme, host and port, as far as they are believed.

use http::{HeaderName, Version, header::HOST};
use pingora::http::RequestHeader;

use super::identity::FORWARDED_HOST;
use crate::{exchange::Exchange, hosts::split_authority};

const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Scheme and authority of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Public {
    /// Whether the scheme is `https`.
    pub secure: bool,
    /// In the form that sites are looked up by.
    pub host: String,
    /// `None` for the scheme's own.
    pub port: Option<u16>,
}

impl Public {
    /// A place, its port left out where it is the scheme's own.
    pub(crate) fn new(secure: bool, host: String, port: Option<u16>) -> Self {
        Self {
            secure,
            host,
            port: port.filter(|port| *port != usual_port(secure)),
        }
    }

    /// Where the client of a request believes to be. What it says itself counts as far as a site
    /// serves it; what a trusted proxy says stands before that, as long as it is the same site's.
    pub(crate) fn of(request: &RequestHeader, exchange: &Exchange) -> Self {
        let sent = sent_authority(request).and_then(split_authority);
        let (host, port) = sent.unwrap_or_else(|| (exchange.asked.host.clone(), None));
        let own = Self::new(exchange.asked.secure, host, port);
        if !exchange.client.peer_trusted {
            return own;
        }
        let text = |name: HeaderName| {
            request
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        // The first of a list is what the client asked for.
        let first = |text: &str| split_authority(text.split(',').next().unwrap_or_default().trim());
        // Proxies pass these fields on as their clients sent them, so a host has to be known here, and a
        // port beside one that is not is no valid claim.
        let claimed = text(FORWARDED_HOST).and_then(first);
        let made_up = claimed
            .as_ref()
            .is_some_and(|(host, _)| *host != own.host && !exchange.is_named_beside(host));
        if made_up {
            return own;
        }
        let port = text(FORWARDED_PORT).and_then(|port| port.trim().parse().ok());
        match claimed {
            Some((host, own_port)) => Self::new(own.secure, host, own_port.or(port)),
            None => Self::new(own.secure, own.host, port.or(own.port)),
        }
    }

    /// The port, named or not.
    pub(crate) fn effective_port(&self) -> u16 {
        self.port.unwrap_or_else(|| usual_port(self.secure))
    }

    /// Host and port as a `Host` field has them.
    pub(crate) fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// `http` or `https`.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

/// What a request says whom it is for.
pub(crate) fn sent_authority(request: &RequestHeader) -> Option<&str> {
    let target = request.uri.authority().map(http::uri::Authority::as_str);
    if request.version >= Version::HTTP_2 && target.is_some() {
        return target;
    }
    request.headers.get(HOST)?.to_str().ok()
}

/// The port that goes without saying.
const fn usual_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}
