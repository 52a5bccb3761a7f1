//! What became of a request that was handed on, for the filters that learn from it.

use std::time::Duration;

use thornwall_detectors::signal::Reason;
use thornwall_filters::watcher::Finished;

use crate::exchange::Exchange;

/// Tells the filters that noted something about the request how it ended.
pub fn tell(exchange: &Exchange, now: Duration) {
    let (Some(site), Some(judgement)) = (exchange.site(), &exchange.judgement) else {
        return;
    };
    if judgement.notes.is_empty() {
        return;
    }
    let broke_off = exchange.reason.is_some_and(is_failure);
    let Some(status) = outcome(exchange.origin_status, broke_off, exchange.upgrade) else {
        return;
    };
    let finished = Finished {
        site: site.id,
        now,
        status,
        suspect: judgement.throttled,
        took: exchange.origin_waited,
        load: exchange.attempt.load(),
    };
    site.pipeline.finished(&judgement.notes, &finished);
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
        Reason::UpstreamBusy
            | Reason::UpstreamConnectFailed
            | Reason::UpstreamFailed
            | Reason::UpstreamTimeout
            | Reason::UpstreamTlsFailed
            | Reason::UpstreamUnresolved
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
