//! What a request is for, where that decides which header fields are due with it.
//!
//! Most requests of a browser carry the same fields whatever they are for: beacons, event streams,
//! prefetches, scripts of service workers, favicons, manifests and parts of media have their own
//! `Accept` and are otherwise like the rest. Those below are made by another part of the browser,
//! which adds only what the protocol asks for.

use http::Method;

use super::fields::{Fields, contains};
use crate::request::RequestView;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// The opening handshake of a WebSocket (RFC 6455 section 4.1): Chrome sends no `Accept` and no
    /// fetch metadata with it, Safari no languages either.
    Handshake,
    /// Anything that carries a browser's usual fields.
    Ordinary,
    /// A question ahead of a script's request to another origin (Fetch standard, "CORS-preflight
    /// fetch"): of those for reports, Chrome's network service sends the bare minimum.
    Preflight,
    /// An upload whose answer is not read: reports (Reporting API, Content Security Policy, Network
    /// Error Logging) and pings of links. Chrome's network service sends reports outside of any page,
    /// without `Accept` and fetch metadata.
    Report,
}

impl Errand {
    /// What a request is for.
    pub fn of(view: &RequestView<'_>, fields: &Fields<'_>) -> Self {
        if is_handshake(view, fields) {
            Self::Handshake
        } else if is_preflight(view, fields) {
            Self::Preflight
        } else if is_report(view, fields) {
            Self::Report
        } else {
            Self::Ordinary
        }
    }

    /// Whether the fields are due that a browser adds for what a page or a person asks for.
    pub fn has_usual_fields(self) -> bool {
        self == Self::Ordinary
    }
}

/// All that the handshake must have: one without is no way past the rules.
fn is_handshake(view: &RequestView<'_>, fields: &Fields<'_>) -> bool {
    let upgrades = fields
        .connection
        .is_some_and(|list| contains(list, b"upgrade"));
    let to = fields.upgrade.unwrap_or_default();
    view.method == Method::GET
        && upgrades
        && to.eq_ignore_ascii_case(b"websocket")
        && fields.sec_websocket_key.is_some()
        && fields.sec_websocket_version.is_some()
}

fn is_preflight(view: &RequestView<'_>, fields: &Fields<'_>) -> bool {
    view.method == Method::OPTIONS
        && fields.origin.is_some()
        && fields.access_control_request_method.is_some()
}

fn is_report(view: &RequestView<'_>, fields: &Fields<'_>) -> bool {
    const TYPES: &[&[u8]] = &[
        b"application/csp-report",
        b"application/expect-ct-report+json",
        b"application/reports+json",
        b"text/ping",
    ];
    let sent = fields.content_type.unwrap_or_default();
    let named = sent.split(|byte| *byte == b';').next().unwrap_or_default();
    let named = named.trim_ascii();
    view.method == Method::POST && TYPES.iter().any(|known| named.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::{Errand, Fields};
    use crate::fixture::Request;

    #[test]
    fn requests_are_what_they_ask_for() {
        let check = |line: &str, headers: &[&str], expected: Errand| {
            let request = Request::new(line, headers);
            let view = request.view();
            assert_eq!(
                Errand::of(&view, &Fields::of(view.headers)),
                expected,
                "{line} {headers:?}"
            );
        };
        let handshake = [
            "Connection: keep-alive, Upgrade",
            "Upgrade: WebSocket",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ];
        check("GET /live", &handshake, Errand::Handshake);
        check("POST /live", &handshake, Errand::Ordinary);
        for left_out in 0..handshake.len() {
            let mut part = handshake.to_vec();
            part.remove(left_out);
            check("GET /live", &part, Errand::Ordinary);
        }
        let preflight = [
            "Origin: https://a.example",
            "Access-Control-Request-Method: PUT",
        ];
        check("OPTIONS /a", &preflight, Errand::Preflight);
        check("GET /a", &preflight, Errand::Ordinary);
        check("OPTIONS /a", &preflight[..1], Errand::Ordinary);
        check(
            "POST /r",
            &["Content-Type: application/reports+json"],
            Errand::Report,
        );
        check(
            "POST /r",
            &["Content-Type: Application/CSP-Report; charset=utf-8"],
            Errand::Report,
        );
        check("POST /r", &["Content-Type: text/ping"], Errand::Report);
        check(
            "GET /r",
            &["Content-Type: application/reports+json"],
            Errand::Ordinary,
        );
        check(
            "POST /r",
            &["Content-Type: application/json"],
            Errand::Ordinary,
        );
    }
}
