//! From a recording to a model in place: fit, evaluate, export, compare, put in place.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use thornwall_detectors::{
    features::{COUNT, FEATURES, Feature, Group, extract},
    heuristics,
    model::{Card, Model, ModelError, init_runtime},
    request::RequestView,
    signal::Trail,
};

use crate::{
    card::{DataFacts, FullCard},
    cases::Cases,
    evaluation::{
        Evaluation, FEWEST_ENGINES, PATH_AND_TIME, THRESHOLD_RULE, has_engines_enough,
        left_out_scores, path_and_time, threshold,
    },
    forest::{Forest, ForestError},
    onnx,
    prior::{Direction, NOT_TAUGHT, direction, directions},
    recording::{Recorded, Recording, RecordingError},
    table::{Row, Table},
};

/// Largest difference between our own score and ONNX Runtime's that is only rounding.
const ROUNDING: f32 = 1e-5;

/// Score from which the heuristics count as having called a request anomalous: where the shipped
/// ladder starts to act.
const HEURISTICS_THRESHOLD: f32 = 0.5;

/// What is trained, from what, and where it goes.
#[derive(Debug)]
pub struct Order {
    /// The recording.
    pub recording: PathBuf,
    /// Cases with labels, where there are some.
    pub cases: Option<PathBuf>,
    /// Whether labels count that are this system's own decisions.
    pub weak: bool,
    /// Folder that the model goes to.
    pub out: PathBuf,
    /// Name of the model.
    pub name: String,
    /// Day that the card tells.
    pub created: String,
    /// ONNX Runtime's library, where it is not in its usual place.
    pub onnxruntime: Option<PathBuf>,
}

/// Trains a model and puts it and its card in place; `progress` is told of each step.
///
/// What is put in place has been loaded and compared by the code that will score with it, so a
/// model that the gateway would refuse, or read differently, never gets there.
pub fn run(order: &Order, progress: impl Fn(&str)) -> Result<FullCard, TrainingError> {
    init_runtime(order.onnxruntime.as_deref(), &order.out)?;
    progress("reading the recording");
    let recording = Recording::read(&order.recording)
        .map_err(|source| TrainingError::Recording(order.recording.clone(), source))?;
    let mut table = Table::of(&recording.requests, directions(), |request| {
        seen(request, |_| true)
    });
    table.add_altered(&recording.requests, |request| seen(request, |_| true));
    if !has_engines_enough(&table.taught()) {
        return Err(TrainingError::FewEngines);
    }
    let cases = read_cases(order)?;
    if let Some(cases) = &cases {
        table.cases = shown_rows(&cases.rows, |_| true);
    }
    let evaluation = evaluate(&recording, &table, &progress)?;
    progress("fitting the model");
    let left_out = left_out_scores(&table)?;
    let threshold = threshold(table.rows.iter().zip(left_out));
    let forest = Forest::fit(&table)?;
    let onnx = onnx::encode(&forest, &order.name, COUNT);
    let file = order
        .recording
        .file_name()
        .unwrap_or(order.recording.as_os_str());
    let card = FullCard {
        card: Card::ours(&order.name, threshold, &onnx),
        created: order.created.clone(),
        threshold_rule: THRESHOLD_RULE,
        not_taught: NOT_TAUGHT,
        data: DataFacts {
            cases: cases.map(|cases| cases.facts),
            ..DataFacts::of(&file.to_string_lossy(), &recording, &table)
        },
        evaluation,
    };
    progress("comparing it with ONNX Runtime");
    put_in_place(order, &onnx, &card, |path| compare(path, &forest, &table))?;
    Ok(card)
}

fn evaluate(
    recording: &Recording,
    table: &Table,
    progress: impl Fn(&str),
) -> Result<Vec<Evaluation>, TrainingError> {
    let named = |feature: &Feature| feature.group == Group::UserAgent;
    let mut nameless = Table::of(&recording.requests, directions(), |request| {
        seen(request, |feature| !named(feature))
    });
    nameless.add_altered(&recording.requests, |request| {
        seen(request, |feature| !named(feature))
    });
    nameless.cases = shown_rows(&table.cases, |feature| !named(feature));
    let free = vec![Direction::Free; PATH_AND_TIME];
    let control = Table::of(&recording.requests, free, |one| path_and_time(one).to_vec());
    let mut evaluation = Vec::new();
    for (judge, taught, table) in [
        ("model", table, table),
        (
            "model that is taught no alteration",
            &table.recorded(),
            table,
        ),
        ("model without user agent", &nameless, &nameless),
        ("control: path and time only", &control, &control),
    ] {
        progress(&format!("evaluating, every engine left out once: {judge}"));
        evaluation.push(Evaluation::of_forest(judge, taught, table)?);
    }
    let by_rules = |request: &Recorded| vec![heuristic_score(&request.view())];
    let mut rules = Table::of(&recording.requests, vec![Direction::Rises], by_rules);
    rules.add_altered(&recording.requests, by_rules);
    evaluation.push(Evaluation::of_score(
        "heuristics alone",
        &rules,
        HEURISTICS_THRESHOLD,
    ));
    Ok(evaluation)
}

/// The features of a request as models are shown them: what is hidden is zero for all, so that no
/// split can use it.
fn seen(request: &Recorded, shown: impl Fn(&Feature) -> bool) -> Vec<f32> {
    masked(&extract(&request.view()), shown)
}

fn masked(features: &[f32], shown: impl Fn(&Feature) -> bool) -> Vec<f32> {
    let show = |(feature, value): (&Feature, &f32)| {
        let seen = direction(feature).is_some() && shown(feature);
        if seen { *value } else { 0.0 }
    };
    FEATURES.iter().zip(features).map(show).collect()
}

/// The rows of cases as models are shown them.
fn shown_rows(rows: &[Row], shown: impl Fn(&Feature) -> bool) -> Vec<Row> {
    let show = |row: &Row| Row {
        values: masked(&row.values, &shown),
        ..row.clone()
    };
    rows.iter().map(show).collect()
}

fn read_cases(order: &Order) -> Result<Option<Cases>, TrainingError> {
    let Some(path) = &order.cases else {
        return Ok(None);
    };
    let read = Cases::read(path, order.weak);
    let read = read.map_err(|source| TrainingError::Recording(path.clone(), source));
    read.map(Some)
}

/// What the rules that need no model make of a request.
fn heuristic_score(request: &RequestView<'_>) -> f32 {
    let mut trail = Trail::default();
    heuristics::judge(request, &mut |signal| trail.push(signal));
    trail.score()
}

/// Sees that ONNX Runtime gives the scores that the forest gives.
fn compare(path: &Path, forest: &Forest, table: &Table) -> Result<(), TrainingError> {
    let model = Model::load(path, 1)?;
    for row in &table.rows {
        let mut features = [0.0; COUNT];
        features.copy_from_slice(&row.values);
        let (ours, theirs) = (forest.score(&features), model.score(&features)?);
        if (ours - theirs).abs() > ROUNDING {
            return Err(TrainingError::Differs { ours, theirs });
        }
    }
    Ok(())
}

/// Writes the files to a folder of their own, lets `check` look at them, and moves them: the card
/// last, so that an interrupted move leaves a model that is refused and not one that is misread.
fn put_in_place(
    order: &Order,
    onnx: &[u8],
    card: &FullCard,
    check: impl Fn(&Path) -> Result<(), TrainingError>,
) -> Result<(), TrainingError> {
    let staged = order.out.join(format!(".{}.staged", order.name));
    let unwritable = |source| TrainingError::Unwritable(staged.clone(), source);
    fs::create_dir_all(&staged).map_err(unwritable)?;
    let json = serde_json::to_string_pretty(card)
        .map_err(io::Error::from)
        .map_err(unwritable)?;
    let files = [
        ("onnx", onnx),
        ("md", card.to_markdown().as_bytes()),
        ("json", format!("{json}\n").as_bytes()),
    ]
    .map(|(ending, bytes)| {
        let file = format!("{}.{ending}", order.name);
        fs::write(staged.join(&file), bytes).map(|()| file)
    });
    let files = files
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map_err(unwritable)?;
    let checked = check(&staged.join(&files[0]));
    if checked.is_ok() {
        for file in &files {
            fs::rename(staged.join(file), order.out.join(file)).map_err(unwritable)?;
        }
    }
    fs::remove_dir_all(&staged).map_err(unwritable)?;
    checked
}

/// Why no model was written.
#[derive(Debug, Error)]
pub enum TrainingError {
    /// The exported model scores differently.
    #[error("ONNX Runtime scores {theirs} where the trainer scores {ours}")]
    Differs {
        /// The forest's score.
        ours: f32,
        /// The exported model's.
        theirs: f32,
    },
    /// Nothing can be said about unseen engines.
    #[error(
        "the recording has fewer than {FEWEST_ENGINES} engines of scrapers or of welcome clients"
    )]
    FewEngines,
    /// No forest.
    #[error(transparent)]
    Forest(#[from] ForestError),
    /// ONNX Runtime is missing, or refuses what was exported.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The recording is wrong.
    #[error("{0}: {1}")]
    Recording(PathBuf, RecordingError),
    /// The model cannot be written.
    #[error("cannot write {0}: {1}")]
    Unwritable(PathBuf, io::Error),
}
