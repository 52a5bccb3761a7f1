//! The filter against a real model file.

use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use thornwall_detectors::{
    features::{FEATURES, extract},
    signal::TRAIL_CAPACITY,
};

use super::*;

#[derive(Deserialize)]
struct Written {
    anomaly: Spanned<Config>,
}

/// Builds what is written, with the models of this repository.
fn built(text: &str, context: &mut FilterContext) -> Option<Box<dyn Filter>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    context.models_dir = root.join("models");
    context.workers = 2;
    let written: Written = toml::from_str(text).expect("the keys are known");
    Config::build(&written.anomaly, context).ok()
}

/// The same, where it must go well.
fn sound(text: &str, context: &mut FilterContext) -> Box<dyn Filter> {
    let filter = built(text, context);
    filter.unwrap_or_else(|| panic!("{}", context.report.problems[0]))
}

fn problems(text: &str) -> String {
    let mut context = FilterContext::default();
    assert!(built(text, &mut context).is_none(), "{text}");
    let said = context
        .report
        .problems
        .iter()
        .map(|problem| format!("{problem}\n"));
    said.collect()
}

#[test]
fn weight_rises_from_the_threshold() {
    let check = |score: f32, expected: f32| {
        let found = weight(score, 0.6, 0.9);
        assert!((found - expected).abs() < 1e-6, "{score}: {found}");
    };
    check(0.0, 0.0);
    check(0.599, 0.0);
    check(0.6, 0.5);
    check(0.8, 0.7);
    check(1.0, 0.9);
    let weights: Vec<f32> = (0..=100)
        .map(|step| weight(step as f32 / 100.0, 0.3, 0.7))
        .collect();
    assert!(
        weights.windows(2).all(|pair| pair[0] <= pair[1]),
        "{weights:?}"
    );
}

#[test]
fn mistakes_are_told() {
    let check = |text: &str, complaint: &str| {
        let said = problems(text);
        assert!(said.contains(complaint), "{text}: {said}");
    };
    for name in ["", "../bot_score", "a/b", "a.b", "bot score"] {
        check(
            &format!("anomaly = {{ model = '{name}' }}"),
            "letters, digits",
        );
    }
    check("anomaly = { model = 'nowhere' }", "nowhere.json");
    check(
        "anomaly = { model = 'bot_score', threshold = 0.0 }",
        "`threshold`",
    );
    check(
        "anomaly = { model = 'bot_score', threshold = 1.0 }",
        "`threshold`",
    );
    check(
        "anomaly = { model = 'bot_score', threshold = nan }",
        "`threshold`",
    );
    check(
        "anomaly = { model = 'bot_score', weight = 0.95 }",
        "`weight`",
    );
    check(
        "anomaly = { model = 'bot_score', weight = 0.1 }",
        "`weight`",
    );
    check(
        "anomaly = { model = 'bot_score', cached_shapes = 99999999 }",
        "`cached_shapes`",
    );
    assert!(toml::from_str::<Written>("anomaly = { model = 'x', colour = 1 }").is_err());
    assert!(toml::from_str::<Written>("anomaly = { model = 'x', cached_shapes = -1 }").is_err());
}

/// The vectors and scores that `tests/golden/make.py` wrote.
#[derive(Deserialize)]
struct Golden {
    onnx_sha256: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    method: String,
    path: String,
    secure: bool,
    headers: Vec<(String, String)>,
    /// Those that are not 0, by name.
    features: std::collections::HashMap<String, f32>,
    score: f32,
}

impl Golden {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/anomaly.json");
        let text = std::fs::read_to_string(path).expect("tests/golden/make.py wrote it");
        serde_json::from_str(&text).expect("the golden vectors are JSON")
    }
}

impl Case {
    fn with_view<T>(&self, look: impl FnOnce(&RequestView<'_>) -> T) -> T {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            headers.append(name, HeaderValue::from_str(value).expect("a header value"));
        }
        let uri: Uri = self.path.parse().expect("a path");
        let method = Method::from_bytes(self.method.as_bytes()).expect("a method");
        look(&RequestView {
            secure: self.secure,
            ..RequestView::bare(&method, &uri, &headers)
        })
    }
}

/// What the filter noted about a request: the weight and the score.
fn judged(filter: &dyn Filter, request: &RequestView<'_>) -> (f32, f32) {
    let mut round = Round::default();
    assert_eq!(
        filter.judge(request, &mut round).expect("a judgement"),
        Verdict::Pass
    );
    match round.trail.signals() {
        [
            Signal {
                reason: Reason::ModelAnomalous,
                weight,
                evidence: Evidence::Score(score),
                ..
            },
        ] => (*weight, *score),
        signals => panic!("{signals:?}"),
    }
}

#[test]
fn features_are_those_that_were_worked_out_by_hand() {
    for case in Golden::read().cases {
        let found = case.with_view(extract);
        for name in case.features.keys() {
            assert!(
                FEATURES.iter().any(|feature| feature.name == name),
                "{name}"
            );
        }
        for (feature, found) in FEATURES.iter().zip(found) {
            let expected = case.features.get(feature.name).copied().unwrap_or(0.0);
            let name = (&case.name, feature.name);
            assert!(
                (found - expected).abs() < 1e-6,
                "{name:?}: {found}, not {expected}"
            );
        }
    }
}

#[test]
fn scores_are_those_of_onnx_runtime_in_python() {
    let golden = Golden::read();
    for cached_shapes in [0, 1024] {
        let text = format!("anomaly = {{ model = 'bot_score', cached_shapes = {cached_shapes} }}");
        let mut context = FilterContext::default();
        let filter = sound(&text, &mut context);
        for _ in 0..2 {
            for case in &golden.cases {
                let (weight, score) = case.with_view(|view| judged(filter.as_ref(), view));
                let expected = case.score;
                assert!(
                    (score - expected).abs() < 1e-5,
                    "{}: {score}, not {expected}",
                    case.name
                );
                let anomalous = case.name.starts_with("scraper");
                assert_eq!(weight > 0.0, anomalous, "{}", case.name);
            }
        }
    }
}

#[test]
fn golden_scores_are_of_the_model_that_is_shipped() {
    let card = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/bot_score.json");
    let card = std::fs::read_to_string(card).expect("the card is shipped");
    let card: thornwall_detectors::model::Card = serde_json::from_str(&card).expect("a card");
    assert_eq!(
        Golden::read().onnx_sha256,
        card.onnx_sha256,
        "run tests/golden/make.py"
    );
}

#[test]
fn reload_keeps_scores_of_the_same_model() {
    let text =
        |shapes: usize| format!("anomaly = {{ model = 'bot_score', cached_shapes = {shapes} }}");
    let mut first = FilterContext::default();
    let filter = sound(&text(64), &mut first);
    let case = &Golden::read().cases[0];
    case.with_view(|view| judged(filter.as_ref(), view));
    let entries = |context: &FilterContext| {
        let (name, stats) = &context.tables[0];
        assert_eq!(name, ".shapes");
        stats.entries.load(std::sync::atomic::Ordering::Relaxed)
    };
    assert_eq!(entries(&first), 1);
    for (shapes, kept) in [(64, 1), (128, 0)] {
        let mut next = FilterContext::default();
        next.carry.previous = first.carry.carried.clone();
        sound(&text(shapes), &mut next);
        assert_eq!(entries(&next), kept, "{shapes}");
    }
}

#[test]
fn threshold_of_the_configuration_comes_first() {
    let case = &Golden::read().cases[0];
    let weigh = |threshold: &str| {
        let text = format!("anomaly = {{ model = 'bot_score', threshold = {threshold} }}");
        let filter = sound(&text, &mut FilterContext::default());
        case.with_view(|view| judged(filter.as_ref(), view)).0
    };
    assert!((weigh("1e-9") - UNCONTRADICTED_SCORE).abs() < 1e-6);
    assert_eq!(weigh("0.99999994"), 0.0);
}

/// The score of the trail after a model has called the request anomalous: `before` is what was noticed
/// before it, with weights that count unless `observed`.
fn lifted(case: &str, before: &[(Reason, f32)], observed: bool) -> f32 {
    let text = "anomaly = { model = 'bot_score', threshold = 1e-9, weight = 0.9 }";
    let filter = sound(text, &mut FilterContext::default());
    let mut round = Round::default();
    round.observe(observed);
    for (reason, weight) in before {
        round.trail.push(Signal::new(*reason, *weight));
    }
    round.observe(false);
    let golden = Golden::read();
    let case = golden
        .cases
        .iter()
        .find(|one| one.name == case)
        .expect(case);
    let verdict = case.with_view(|view| filter.judge(view, &mut round));
    assert_eq!(verdict.expect("a judgement"), Verdict::Pass);
    let last = round.trail.signals().last().expect("the model's signal");
    assert!(matches!(last.evidence, Evidence::Score(score) if score > 0.0));
    round.trail.score()
}

#[test]
fn whoever_does_not_contradict_itself_stays_below_the_first_rung() {
    use Reason::*;
    let check = |case: &str, before: &[(Reason, f32)], observed: bool, expected: f32| {
        let score = lifted(case, before, observed);
        assert!(
            (score - expected).abs() < 1e-5,
            "{case} {before:?}: {score}"
        );
    };
    let (chrome, library) = ("scraper that says it is Chrome", "scraper with a library");
    let most = UNCONTRADICTED_SCORE;
    check(chrome, &[], false, most);
    check(library, &[], false, most);
    check("client without a name", &[], false, most);
    // What is missing, what is outdated and what is asked for contradict no claim.
    let missing = [
        (HeadersAcceptLanguageMissing, 0.26),
        (UserAgentOutdatedBrowser, 0.08),
    ];
    check(chrome, &missing, false, most);
    check(
        chrome,
        &[(HeadersFetchMetadataMissing, 0.28), (PathProbe, 0.02)],
        false,
        most,
    );
    // Where the rules have said more already, the model adds nothing.
    check(library, &[(UserAgentHttpLibrary, 0.82)], false, 0.82);
    check(library, &[(UserAgentHttpLibrary, most)], false, most);
    // Contradictions of a filter that only observes do not count, and only browsers contradict.
    check(chrome, &[(HeadersAcceptWildcard, 0.34)], true, most);
    check(
        "client without a name",
        &[(HeadersAcceptWildcard, 0.35)],
        false,
        most,
    );
    // A later signal of 0.08 does not reach the rung.
    assert!(1.0 - (1.0 - most) * (1.0 - 0.08) < 0.5);
}

#[test]
fn whoever_contradicts_itself_is_weighed_in_full() {
    for reason in CONTRADICTIONS {
        let score = lifted("scraper that says it is Chrome", &[(*reason, 0.25)], false);
        assert!(score > 0.8, "{reason}: {score}");
    }
}

#[test]
fn full_trail_is_no_error() {
    let text = "anomaly = { model = 'bot_score' }";
    let filter = sound(text, &mut FilterContext::default());
    let mut round = Round::default();
    for _ in 0..TRAIL_CAPACITY {
        round.trail.push(Signal::new(Reason::MethodUnusual, 0.1));
    }
    let case = &Golden::read().cases[0];
    let verdict = case.with_view(|view| filter.judge(view, &mut round));
    assert!(verdict.is_ok());
}
