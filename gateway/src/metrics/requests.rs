//! What is counted about requests.

use prometheus::{HistogramVec, IntCounterVec, IntGauge};

use crate::{
    families::{Families, gauge_value},
    quota::ClientQuota,
};

/// Requests, ended ones and those under way.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    ended: IntCounterVec,
    duration: HistogramVec,
    in_flight: IntGauge,
    clients: IntGauge,
    waiting: IntGauge,
    large_answers: IntGauge,
}

/// 0.5 ms to 30 s: from an answer of our own to a slow origin.
const BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];

impl RequestMetrics {
    pub(crate) fn register(make: &Families<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            ended: make.counters(
                "thornwall_requests_total",
                "Requests, by what was ruled and the class of the answer's status.",
                &["site", "ruling", "status"],
            )?,
            duration: make.histograms(
                "thornwall_request_duration_seconds",
                "Time from a request's header to the end of its answer, by ruling.",
                &["ruling"],
                BUCKETS,
            )?,
            in_flight: make.gauge("thornwall_requests_in_flight", "Requests under way.")?,
            clients: make.gauge(
                "thornwall_request_clients",
                "Clients with requests under way, but for proxies that have no cap.",
            )?,
            waiting: make.gauge(
                "thornwall_requests_waiting",
                "Requests that wait for another one of their client to end.",
            )?,
            large_answers: make.gauge(
                "thornwall_large_answers",
                "Answers under way of more than 64 KiB, or of unknown length.",
            )?,
        })
    }

    pub(crate) fn count(&self, site: &str, ruling: &str, status: u16, seconds: f64) {
        let status = status_class(status);
        self.ended.with_label_values(&[site, ruling, status]).inc();
        self.duration.with_label_values(&[ruling]).observe(seconds);
    }

    /// Shows what is under way: requests, whose clients they are and how many wait, and large answers.
    pub(crate) fn show(&self, in_flight: usize, requests: &ClientQuota, large_answers: usize) {
        self.in_flight.set(gauge_value(in_flight));
        self.clients.set(gauge_value(requests.clients()));
        self.waiting.set(gauge_value(requests.waiting()));
        self.large_answers.set(gauge_value(large_answers));
    }
}

const fn status_class(status: u16) -> &'static str {
    match status {
        0 => "none",
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}
