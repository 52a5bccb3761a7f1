//! A case as JSON: to classifiers, and in exports. Everything in it is bounded as the
//! contract of cases bounds it, and all of it is data that a client sent or that was measured of it.

use serde::Serialize;
use thornwall_decisions::prefix_set::Prefix;

use crate::case::Case;

/// A case as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Facts<'a> {
    site: &'a str,
    subject: String,
    shape: String,
    requests: u32,
    seconds: f64,
    score: f32,
    signals: Vec<Signal<'a>>,
    samples: Vec<Sample<'a>>,
    claims: Claims<'a>,
}

#[derive(Debug, Serialize)]
struct Signal<'a> {
    reason: &'a str,
    weight: f32,
}

#[derive(Debug, Serialize)]
struct Sample<'a> {
    after_ms: u32,
    method: &'a str,
    path: &'a str,
    parameters: &'a [String],
    score: f32,
}

#[derive(Debug, Serialize)]
struct Claims<'a> {
    user_agent: &'a str,
    accept_language: &'a str,
    referer: &'a str,
    header_names: &'a [String],
    http_version: u32,
    tls: bool,
}

impl<'a> Facts<'a> {
    /// The facts of a case, whose client is shown as `subject`.
    pub(crate) fn of(case: &'a Case, subject: Prefix) -> Self {
        let signals = case.signals.iter().map(|signal| Signal {
            reason: &signal.reason,
            weight: signal.weight,
        });
        let samples = case.samples.iter().map(|sample| Sample {
            after_ms: sample.after_ms,
            method: &sample.method,
            path: &sample.path,
            parameters: &sample.parameters,
            score: sample.score,
        });
        Self {
            site: &case.site,
            subject: subject.to_string(),
            shape: format!("{:016x}", case.shape),
            requests: case.requests,
            seconds: (case.last_ms - case.first_ms) as f64 / 1e3,
            score: case.score,
            signals: signals.collect(),
            samples: samples.collect(),
            claims: Claims {
                user_agent: &case.claims.user_agent,
                accept_language: &case.claims.accept_language,
                referer: &case.claims.referer,
                header_names: &case.claims.header_names,
                http_version: case.claims.http_version,
                tls: case.claims.tls,
            },
        }
    }
}
