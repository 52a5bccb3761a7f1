//! `anomaly`: scores each request with an ONNX model.
//!
//! The model sees the shape of one request (user agent, header fields, method, path and protocol), and
//! returns the likelihood that its client is unwelcome. From the model's threshold on, the signal
//! `model.anomalous` weighs 0.5, rising evenly to `weight` at a score of 1, so that the model alone
//! never denies; below the threshold the signal weighs nothing, and only shows the score. The filter
//! never gives a verdict of its own.
//!
//! | Key | Value | Default |
//! | --- | --- | --- |
//! | `model` | Name of the model: `models_dir/NAME.onnx` and its card `NAME.json`. | required |
//! | `threshold` | Score from which a request is anomalous, between 0 and 1. | the card's |
//! | `weight` | Weight of a score of 1 where the client contradicts itself, 0.5 to 0.9. | `0.9` |
//! | `cached_shapes` | Scores that are kept, 16 bytes each; 0 scores every request anew. | `65536` |
//!
//! A model has learned what browsers look like. Of a browser, program or proxy that was never recorded
//! it knows only that it looks different, which is no guilt. So how much the signal weighs depends on
//! what the rules found before:
//!
//! - **In full**, as above, only against a client that claims to be a browser and contradicts itself:
//!   one of `headers.accept_wildcard`, `headers.client_hint_mismatch` and
//!   `headers.fetch_metadata_mismatch` was noticed before, by a filter that enforces. A field that is
//!   missing contradicts nothing.
//! - **Up to a cap** against all others: browsers without findings or with fields missing, programs of
//!   every kind, unknown names, clients without a name. There it weighs at most what lifts the score so
//!   far to 0.44, and nothing where that is higher already. That is below 0.50, where the shipped ladder
//!   starts to act, with room for a later signal of up to 0.08, and below the band in which
//!   `escalate` asks for a second opinion by default (from 0.45).
//!
//! The signal shows the model's own score in either case. Put the filter behind `heuristics`: a
//! signal that is noticed later adds to the model's, and without rules no client is ever found to
//! contradict itself.
//!
//! A shape that was scored before is not scored again: scores are kept by the shape's hash in a
//! table of fixed size, from which a new shape takes the place of an old one. Scoring takes some
//! microseconds, a lookup a small part of one. The table's metrics show how well that works: entries
//! and evictions together are the shapes that the model was asked about.
//!
//! ```toml
//! [[pipeline.filter]]
//! name = "model"
//! anomaly = { model = "bot_score" }
//! ```

use std::sync::Arc;

use serde::Deserialize;
use thornwall_detectors::{
    features::{self, COUNT},
    heuristics::CONTRADICTIONS,
    model::{Model, ModelError, init_runtime},
    request::RequestView,
    signal::{Evidence, Reason, Signal, Trail},
};
use thornwall_settings::report::{Noted, Report};
use toml::Spanned;

use crate::{
    context::FilterContext,
    filter::{Filter, FilterError, Round},
    kinds::Kind,
    verdict::Verdict,
};

mod shapes;

use shapes::Shapes;

/// Weight of a score that just reaches the threshold: where the shipped ladder starts to act.
const LEAST_WEIGHT: f32 = 0.5;

/// Highest weight of a score: below where the shipped ladder denies.
const MOST_WEIGHT: f32 = 0.9;

/// The score up to which the model alone may lift a client that does not contradict itself. Below where
/// the shipped ladder starts to act (0.50) even if the weight of an outdated browser (0.08) is added
/// later, and below the band from which a second opinion is usually asked for (0.45): a sidecar's
/// assessment is bound by no cap.
const UNCONTRADICTED_SCORE: f32 = 0.44;

/// Most scores that may be kept: a quarter of a gigabyte.
const MOST_SHAPES: usize = 1 << 24;

/// The table `anomaly`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    model: Spanned<String>,
    threshold: Option<Spanned<f32>>,
    #[serde(default = "default_weight")]
    weight: Spanned<f32>,
    #[serde(default = "default_shapes")]
    cached_shapes: Spanned<usize>,
}

fn default_weight() -> Spanned<f32> {
    Spanned::new(0..0, MOST_WEIGHT)
}

fn default_shapes() -> Spanned<usize> {
    Spanned::new(0..0, 65_536)
}

impl Kind for Config {
    const COST: &'static str = "about 1 us, 6 us where the shape is new";

    fn build(spec: &Spanned<Self>, context: &mut FilterContext) -> Result<Box<dyn Filter>, Noted> {
        let config = spec.get_ref();
        let sound = check(config, &mut context.report);
        let name = &config.model;
        match load(name.get_ref(), context) {
            Ok(model) if sound => Ok(Box::new(Anomaly::new(config, model, context))),
            Ok(_) => Err(Noted),
            Err(error) => {
                let what = format!("model `{}` cannot be used: {error}", name.get_ref());
                context.report.problem(name.span(), what);
                Err(Noted)
            }
        }
    }
}

/// Notes every key that is out of range.
fn check(config: &Config, report: &mut Report) -> bool {
    let before = report.problems.len();
    if let Some(threshold) = &config.threshold
        && !(*threshold.get_ref() > 0.0 && *threshold.get_ref() < 1.0)
    {
        report.problem(threshold.span(), "`threshold` must lie between 0 and 1");
    }
    if !(LEAST_WEIGHT..=MOST_WEIGHT).contains(config.weight.get_ref()) {
        let what = format!("`weight` must lie in {LEAST_WEIGHT}..={MOST_WEIGHT}");
        report.problem(config.weight.span(), what);
    }
    if *config.cached_shapes.get_ref() > MOST_SHAPES {
        let what = format!("`cached_shapes` must be at most {MOST_SHAPES}");
        report.problem(config.cached_shapes.span(), what);
    }
    report.problems.len() == before
}

fn load(name: &str, context: &FilterContext) -> Result<Model, ModelError> {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if name.is_empty() || !name.bytes().all(bare) {
        return Err(ModelError::Name);
    }
    init_runtime(context.onnxruntime.as_deref(), &context.models_dir)?;
    let path = context.models_dir.join(format!("{name}.onnx"));
    Model::load(&path, context.workers)
}

struct Anomaly {
    model: Model,
    threshold: f32,
    most_weight: f32,
    shapes: Option<Arc<Shapes>>,
}

impl Anomaly {
    fn new(config: &Config, model: Model, context: &mut FilterContext) -> Self {
        let capacity = *config.cached_shapes.get_ref();
        let sha256 = &model.card().onnx_sha256;
        let shapes = (capacity > 0).then(|| {
            let fits = |old: &Shapes| old.is_for(sha256, capacity);
            let make = || Shapes::new(sha256.clone(), capacity);
            let shapes = context.carry_over("shapes", fits, make);
            context.show_table("shapes", shapes.stats());
            shapes
        });
        let threshold = config
            .threshold
            .as_ref()
            .map(|threshold| *threshold.get_ref());
        Self {
            threshold: threshold.unwrap_or_else(|| model.card().threshold),
            most_weight: *config.weight.get_ref(),
            model,
            shapes,
        }
    }

    fn score(&self, features: &[f32; COUNT]) -> Result<f32, ModelError> {
        match &self.shapes {
            None => self.model.score(features),
            Some(shapes) => shapes.score(features, || self.model.score(features)),
        }
    }
}

impl Filter for Anomaly {
    fn judge(&self, request: &RequestView<'_>, round: &mut Round) -> Result<Verdict, FilterError> {
        let trail = &mut round.trail;
        let features = features::extract(request);
        let score = self
            .score(&features)
            .map_err(|error| FilterError(error.to_string()))?;
        let mut weight = weight(score, self.threshold, self.most_weight);
        if weight > 0.0 && !(features::claims_browser(&features) && is_contradicted(trail)) {
            weight = weight.min(room(trail));
        }
        trail.push(Signal::with_evidence(
            Reason::ModelAnomalous,
            weight,
            Evidence::Score(score),
        ));
        Ok(Verdict::Pass)
    }
}

/// How much a score counts: nothing below the threshold, [`LEAST_WEIGHT`] at it, `most` at 1.
fn weight(score: f32, threshold: f32, most: f32) -> f32 {
    if score < threshold {
        return 0.0;
    }
    LEAST_WEIGHT + (most - LEAST_WEIGHT) * (score - threshold) / (1.0 - threshold)
}

/// Whether the rules have noticed something that the client's claim to be a browser cannot explain,
/// and it counts.
fn is_contradicted(trail: &Trail) -> bool {
    let counted = trail.signals().iter().filter(|signal| !signal.observed);
    counted
        .map(|signal| signal.reason)
        .any(|reason| CONTRADICTIONS.contains(&reason))
}

/// The weight that lifts the trail's score to [`UNCONTRADICTED_SCORE`] (noisy-or solved for it).
fn room(trail: &Trail) -> f32 {
    let innocent = 1.0 - trail.score();
    let kept = 1.0 - UNCONTRADICTED_SCORE;
    if innocent > kept {
        1.0 - kept / innocent
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests;
