//! A filter as it is written in TOML, and the registry of kinds.
//!
//! One struct with an `Option` per kind, because serde then reports the exact line and column of
//! every mistake. **Adding a filter** means: a file in `kinds/`, a `mod` line there, a field here.

use serde::Deserialize;
use toml::Spanned;

use crate::{
    build::BuildContext,
    filter::Filter,
    kinds::{anomaly, bandwidth, blocklist, escalate, heuristics, in_flight, rate_limit},
    pipeline::DecideSpec,
    when::When,
};

/// One `[[pipeline.filter]]` table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterSpec {
    /// Unique within the pipeline; the label of metrics and logs.
    pub name: Spanned<String>,
    /// Whether its word counts.
    #[serde(default)]
    pub mode: Mode,
    /// What a failure of the filter means.
    #[serde(default)]
    pub on_error: OnError,
    /// Who is refused or held by it again and again is decided about.
    pub decide: Option<Spanned<DecideSpec>>,
    /// Which requests it looks at; all where absent.
    pub when: Option<Spanned<When>>,

    /// Scores requests with an ONNX model.
    pub anomaly: Option<Spanned<anomaly::Config>>,
    /// Paces the bodies of answers per key.
    pub bandwidth: Option<Spanned<bandwidth::Config>>,
    /// Denies listed addresses.
    pub blocklist: Option<Spanned<blocklist::Config>>,
    /// Asks a sidecar for a second opinion.
    pub escalate: Option<Spanned<escalate::Config>>,
    /// Weighs user agent, headers, method, path and robots.txt.
    pub heuristics: Option<Spanned<heuristics::Config>>,
    /// Limits requests under way per key.
    pub in_flight: Option<Spanned<in_flight::Config>>,
    /// Limits requests per key.
    pub rate_limit: Option<Spanned<rate_limit::Config>>,
}

/// Whether a filter acts or only watches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Its verdicts and signals count.
    #[default]
    Enforce,
    /// Its verdicts and signals are counted in metrics and shown, and change nothing.
    Observe,
}

/// What happens to a request that a filter failed to judge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It is refused.
    Deny,
    /// The next filter decides.
    #[default]
    Pass,
}

impl FilterSpec {
    /// Builds the filter, or notes in `context` what is wrong with it.
    pub fn build(&self, context: &mut BuildContext) -> Option<Box<dyn Filter>> {
        let Some(kind) = self.only_kind() else {
            context.problem(
                self.name.span(),
                format!(
                    "filter `{}` must have exactly one kind; expected one of {}",
                    self.name.get_ref(),
                    KINDS.join(", ")
                ),
            );
            return None;
        };
        match kind {
            Kind::Anomaly(spec) => anomaly::build(spec, context),
            Kind::Bandwidth(spec) => bandwidth::build(spec, context),
            Kind::Blocklist(spec) => blocklist::build(spec, context),
            Kind::Escalate(spec) => escalate::build(spec, context),
            Kind::Heuristics(spec) => heuristics::build(spec, context),
            Kind::InFlight(spec) => in_flight::build(spec, context),
            Kind::RateLimit(spec) => rate_limit::build(spec, context),
        }
    }

    /// The name of the filter's kind, as it is written.
    pub fn kind_name(&self) -> &'static str {
        match self.only_kind() {
            Some(Kind::Anomaly(_)) => "anomaly",
            Some(Kind::Bandwidth(_)) => "bandwidth",
            Some(Kind::Blocklist(_)) => "blocklist",
            Some(Kind::Escalate(_)) => "escalate",
            Some(Kind::Heuristics(_)) => "heuristics",
            Some(Kind::InFlight(_)) => "in_flight",
            Some(Kind::RateLimit(_)) => "rate_limit",
            None => "none",
        }
    }

    fn only_kind(&self) -> Option<Kind<'_>> {
        let kinds = [
            self.anomaly.as_ref().map(Kind::Anomaly),
            self.bandwidth.as_ref().map(Kind::Bandwidth),
            self.blocklist.as_ref().map(Kind::Blocklist),
            self.escalate.as_ref().map(Kind::Escalate),
            self.heuristics.as_ref().map(Kind::Heuristics),
            self.in_flight.as_ref().map(Kind::InFlight),
            self.rate_limit.as_ref().map(Kind::RateLimit),
        ];
        let mut present = kinds.into_iter().flatten();
        present.next().filter(|_| present.next().is_none())
    }
}

/// The kinds of filter, as they are written.
pub const KINDS: &[&str] = &[
    "anomaly",
    "bandwidth",
    "blocklist",
    "escalate",
    "heuristics",
    "in_flight",
    "rate_limit",
];

enum Kind<'a> {
    Anomaly(&'a Spanned<anomaly::Config>),
    Bandwidth(&'a Spanned<bandwidth::Config>),
    Blocklist(&'a Spanned<blocklist::Config>),
    Escalate(&'a Spanned<escalate::Config>),
    Heuristics(&'a Spanned<heuristics::Config>),
    InFlight(&'a Spanned<in_flight::Config>),
    RateLimit(&'a Spanned<rate_limit::Config>),
}
