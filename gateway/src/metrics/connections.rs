//! What the edge counts of connections.

use pingora::{ErrorSource, ErrorType};
use prometheus::{IntCounter, IntCounterVec, IntGauge};

use crate::{ending::Ending, families::Families};

#[derive(Debug, Clone)]
pub(crate) struct EdgeMetrics {
    open: IntGauge,
    accepted: IntCounter,
    closed: IntCounterVec,
    streams_reset: IntCounterVec,
    abuse: IntCounterVec,
    accept_errors: IntCounter,
    /// HTTP/2 connections that may send far ahead.
    pub(crate) wide: IntGauge,
}

impl EdgeMetrics {
    pub(crate) fn register(make: &Families<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            open: make.gauge("thornwall_connections", "Connections of clients.")?,
            accepted: make.counter("thornwall_connections_total", "Connections accepted.")?,
            closed: make.counters(
                "thornwall_connections_closed_total",
                "Connections that we ended, by why.",
                &["reason"],
            )?,
            streams_reset: make.counters(
                "thornwall_streams_reset_total",
                "HTTP/2 requests that we reset, by why.",
                &["reason"],
            )?,
            abuse: make.counters(
                "thornwall_http2_abuse_total",
                "HTTP/2 connections ended for what their frames were, by kind.",
                &["kind"],
            )?,
            accept_errors: make.counter(
                "thornwall_accept_errors_total",
                "Connections that the system could not hand over.",
            )?,
            wide: make.gauge(
                "thornwall_http2_wide_windows",
                "HTTP/2 connections whose uploads have wide windows.",
            )?,
        })
    }

    /// Sets the gauge of connections that are open now.
    pub(crate) fn show_open(&self, count: usize) {
        self.open.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn accepted(&self) {
        self.accepted.inc();
    }

    pub(crate) fn accept_failed(&self) {
        self.accept_errors.inc();
    }

    /// A connection was ended by us.
    pub(crate) fn closed(&self, ending: Ending) {
        self.closed.with_label_values(&[ending.code()]).inc();
    }

    /// An exchange ended with an error. Pingora itself gives up on HTTP/2 clients that take nothing in.
    pub(crate) fn ended_with(&self, error: &pingora::Error) {
        let theirs = *error.esource() == ErrorSource::Downstream;
        if theirs && *error.etype() == ErrorType::WriteTimedout {
            self.stream_reset(Ending::SendStalled);
        }
    }

    pub(crate) fn stream_reset(&self, ending: Ending) {
        self.streams_reset.with_label_values(&[ending.code()]).inc();
    }

    pub(crate) fn abuse(&self, kind: &str) {
        self.abuse.with_label_values(&[kind]).inc();
    }
}
