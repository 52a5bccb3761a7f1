//! What became of a request: for the filters that learn from it, and for the record.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{
    HeaderName, Method, StatusCode,
    header::{CONTENT_TYPE, USER_AGENT},
};
use pingora::{http::ResponseHeader, proxy::Session};
use thornwall_detectors::signal::Reason;
use thornwall_filters::watcher::{Answer, Finished};

use crate::{
    exchange::{Exchange, answer_of},
    record::{Client, Ended, LONGEST_METHOD, LONGEST_TEXT, clip},
};

/// Notifies the filters that noted something about the request whether the origin's answer is a
/// page.
pub(crate) fn begins(
    session: &Session,
    answer: &ResponseHeader,
    exchange: &mut Exchange,
    now: Duration,
) {
    // What comes before an answer says nothing of it.
    let is_answer =
        !answer.status.is_informational() || answer.status == StatusCode::SWITCHING_PROTOCOLS;
    if is_answer && noted(exchange) {
        settle(exchange, is_page(&session.req_header().method, answer), now);
    }
}

fn noted(exchange: &Exchange) -> bool {
    let judgement = exchange.judgement.as_ref();
    judgement.is_some_and(|judgement| !judgement.notes.is_empty())
}

fn settle(exchange: &mut Exchange, page: Option<bool>, now: Duration) {
    exchange.origin.settled = true;
    exchange.origin.page = page;
    if let (Some(route), Some(judgement)) = (exchange.route(), &exchange.judgement) {
        let answer = Answer {
            asked: exchange.started,
            now,
            page,
        };
        route.pipeline.answered(&judgement.notes, &answer);
    }
}

/// Whether an answer carries a page or a part of one; nothing where it does not say what it is.
fn is_page(method: &Method, answer: &ResponseHeader) -> Option<bool> {
    let empty = matches!(
        answer.status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT
    );
    if !answer.status.is_success() || empty || method == Method::HEAD {
        return Some(false);
    }
    let kind = answer.headers.get(CONTENT_TYPE)?.as_bytes();
    // Parameters may follow (RFC 9110 section 8.3.1).
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii();
    let html = ["text/html", "application/xhtml+xml"];
    Some(
        html.iter()
            .any(|html| essence.eq_ignore_ascii_case(html.as_bytes())),
    )
}

/// Notifies the filters that noted something about the request how it ended.
pub(crate) fn notify_watchers(exchange: &mut Exchange, now: Duration) {
    if !noted(exchange) {
        return;
    }
    let broke_off = exchange.own.reason.is_some_and(is_failure);
    let Some(status) = outcome(exchange.origin.status, broke_off, exchange.asked.upgrade) else {
        return;
    };
    if broke_off && !exchange.origin.settled {
        // An origin that failed before it said anything gave no page.
        settle(exchange, Some(false), now);
    }
    let (Some(site), Some(route)) = (exchange.site(), exchange.route()) else {
        return;
    };
    let Some(judgement) = &exchange.judgement else {
        return;
    };
    let finished = Finished {
        site: site.id,
        now,
        status,
        page: exchange.origin.page,
        suspect: judgement.throttled,
        took: exchange.origin.waited,
        load: exchange.origin.attempt.load(),
    };
    route.pipeline.finished(&judgement.notes, &finished);
}

/// Sums up a request that has ended after `took`. What it held of texts is taken out of the exchange.
pub(crate) fn ended(session: &Session, exchange: &mut Exchange, took: Duration) -> Ended {
    let request = session.req_header();
    let (site, route) = (exchange.site(), exchange.route());
    Ended {
        id: exchange.id,
        proxy_id: exchange.asked.proxy_id.clone(),
        time: SystemTime::now(),
        client: exchange.client.address.map(Client::Address),
        site: site.map(|site| Arc::clone(&site.name)),
        filters: route.map(|route| route.pipeline.filter_names()),
        method: clip(request.method.as_str(), LONGEST_METHOD),
        path: clip(request.uri.path(), LONGEST_TEXT),
        user_agent: bytes(session, &USER_AGENT),
        status: exchange
            .own
            .detached_status
            .unwrap_or_else(|| written_status(session)),
        bytes: session.body_bytes_sent() as u64,
        host: std::mem::take(&mut exchange.asked.host),
        judgement: exchange.judgement.take(),
        signals: None,
        reason: exchange.own.reason,
        held: exchange.own.held,
        failed_connects: exchange.origin.failed_connects,
        origin_took: exchange.origin.took,
        took,
        generation: exchange.generation.number,
    }
}

fn written_status(session: &Session) -> u16 {
    answer_of(session).map_or(0, |answer| answer.status.as_u16())
}

/// The beginning of a field's bytes.
fn bytes(session: &Session, name: &HeaderName) -> Option<Box<[u8]>> {
    let value = session.req_header().headers.get(name)?.as_bytes();
    Some(value[..value.len().min(LONGEST_TEXT)].into())
}

/// Status of the origin's answer, `Some(None)` where it failed, or nothing where the origin had no
/// part in how the request ended: an answer of our own, a client that left.
fn outcome(status: Option<u16>, broke_off: bool, upgrade: bool) -> Option<Option<u16>> {
    match status {
        // A connection that carries another protocol ends as its parties like.
        Some(status) if !broke_off || upgrade => Some(Some(status)),
        _ => broke_off.then_some(None),
    }
}

/// Whether the origin is why a request failed.
const fn is_failure(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::UpstreamAnswerInvalid
            | Reason::UpstreamBusy
            | Reason::UpstreamConnectFailed
            | Reason::UpstreamFailed
            | Reason::UpstreamHeadTooLarge
            | Reason::UpstreamTimeout
            | Reason::UpstreamTlsFailed
            | Reason::UpstreamTooManyFields
            | Reason::UpstreamUnresolved
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_the_origin_says_it_is() {
        let check = |method: Method, status: u16, kind: Option<&'static str>, page| {
            let mut answer = ResponseHeader::build(status, None).unwrap();
            if let Some(kind) = kind {
                answer.insert_header(CONTENT_TYPE, kind).unwrap();
            }
            let found = is_page(&method, &answer);
            assert_eq!(found, page, "{method} {status} {kind:?}");
        };
        let html = Some("text/html");
        for kind in [
            "text/html; charset=utf-8",
            "TEXT/HTML ",
            "application/xhtml+xml",
        ] {
            check(Method::GET, 200, Some(kind), Some(true));
        }
        check(Method::POST, 200, html, Some(true));
        check(Method::GET, 206, html, Some(true));
        for kind in ["text/htmlx", "text/plain", "image/png", "application/json"] {
            check(Method::GET, 200, Some(kind), Some(false));
        }
        check(Method::GET, 200, None, None);
        check(Method::HEAD, 200, html, Some(false));
        for status in [101, 204, 301, 304, 404, 429, 502] {
            check(Method::GET, status, html, Some(false));
        }
    }

    #[test]
    fn only_what_the_origin_did_counts() {
        // A client that left before there was an answer, or an answer of our own.
        assert_eq!(outcome(None, false, false), None);
        assert_eq!(outcome(None, true, false), Some(None));
        // One that left during the answer.
        assert_eq!(outcome(Some(200), false, false), Some(Some(200)));
        assert_eq!(outcome(Some(200), true, false), Some(None));
        assert_eq!(outcome(Some(101), true, true), Some(Some(101)));
        assert!(is_failure(Reason::UpstreamTimeout) && !is_failure(Reason::RequestBodyTooLarge));
    }
}
