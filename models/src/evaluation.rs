//! How well a judge does on clients of a kind that it has never seen.
//!
//! All clients of one engine are left out together, since two clients of one library look alike and
//! a model that was shown one knows the other. The threshold that an engine is judged by is found
//! without it too: by leaving out, one after the other, the engines that remain.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde::Serialize;

use crate::{
    forest::{Forest, ForestError},
    recording::Recorded,
    table::{Row, Table},
};

/// Lowest and highest threshold that a model gets, whatever its scores say.
const THRESHOLDS: (f32, f32) = (0.5, 0.99);

/// The rule of [`threshold`], as cards tell it.
pub const THRESHOLD_RULE: &str = "above every score of a welcome client, half-way to the next \
    score of a scraper, all scored by models that had not seen their engine; within 0.5..0.99";

/// Fewest engines of each class: one left out, one left out to find the threshold, one to learn.
pub const FEWEST_ENGINES: usize = 3;

/// What one judge made of every engine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Who judged.
    pub judge: &'static str,
    /// All engines together.
    pub total: Tally,
    /// One by one.
    pub engines: Vec<Tally>,
}

/// Requests of one engine and what was made of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Tally {
    /// What was left out, or `all`.
    pub engine: String,
    /// Requests of people and feed readers.
    pub welcome: usize,
    /// Those of them that were called anomalous.
    pub false_positives: usize,
    /// People's header sets as altered on their way.
    pub altered: usize,
    /// Those of them that were called anomalous.
    pub altered_flagged: usize,
    /// Requests of scrapers.
    pub scraper: usize,
    /// Those of them that were called anomalous.
    pub caught: usize,
    /// Share of what was called anomalous that was; absent where nothing was.
    pub precision: Option<f64>,
    /// Share of the scrapers' requests that was caught; absent where there are none.
    pub recall: Option<f64>,
    /// Share of welcome requests that was called anomalous; absent where there are none.
    pub false_positive_rate: Option<f64>,
    /// Share of altered sets that was called anomalous; absent where there are none.
    pub altered_rate: Option<f64>,
}

impl Evaluation {
    /// Trains a forest on what `taught` has of all other engines, and tries it on each engine of
    /// `table`.
    pub fn of_forest(
        judge: &'static str,
        taught: &Table,
        table: &Table,
    ) -> Result<Self, ForestError> {
        let engines: Vec<&str> = table.engines().into_iter().collect();
        let thresholds = thresholds(taught, &engines)?;
        let tallies = side_by_side(engines.len(), |at| {
            let (engine, threshold) = (engines[at], thresholds[at]);
            let forest = Forest::fit(&taught.without(&[engine]))?;
            let rows = table.rows.iter().filter(|row| row.engine == engine);
            Ok(Tally::of(engine, rows, |row| {
                forest.score(&row.values) >= threshold
            }))
        });
        let engines = tallies.into_iter().collect::<Result<_, ForestError>>()?;
        Ok(Self::sum_up(judge, engines))
    }

    /// Tries a judge that needs no training: the first column of `table` is its score.
    pub fn of_score(judge: &'static str, table: &Table, threshold: f32) -> Self {
        let tally = |engine| {
            let rows = table.rows.iter().filter(|row| row.engine == engine);
            Tally::of(engine, rows, |row| row.values[0] >= threshold)
        };
        Self::sum_up(judge, table.engines().into_iter().map(tally).collect())
    }

    fn sum_up(judge: &'static str, engines: Vec<Tally>) -> Self {
        let mut total = Tally {
            engine: "all".to_owned(),
            ..Tally::default()
        };
        for tally in &engines {
            total.welcome += tally.welcome;
            total.false_positives += tally.false_positives;
            total.altered += tally.altered;
            total.altered_flagged += tally.altered_flagged;
            total.scraper += tally.scraper;
            total.caught += tally.caught;
        }
        Self {
            judge,
            total: total.with_rates(),
            engines,
        }
    }
}

impl Tally {
    fn of<'a>(
        engine: &str,
        rows: impl Iterator<Item = &'a Row>,
        anomalous: impl Fn(&Row) -> bool,
    ) -> Self {
        let mut tally = Self {
            engine: engine.to_owned(),
            ..Self::default()
        };
        for row in rows {
            let flagged = if anomalous(row) { row.requests } else { 0 };
            if row.altered {
                tally.altered += row.requests;
                tally.altered_flagged += flagged;
            } else if row.is_scraper() {
                tally.scraper += row.requests;
                tally.caught += flagged;
            } else {
                tally.welcome += row.requests;
                tally.false_positives += flagged;
            }
        }
        tally.with_rates()
    }

    fn with_rates(mut self) -> Self {
        let share = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
        self.precision = share(self.caught, self.caught + self.false_positives);
        self.recall = share(self.caught, self.scraper);
        self.false_positive_rate = share(self.false_positives, self.welcome);
        self.altered_rate = share(self.altered_flagged, self.altered);
        self
    }
}

/// A score for each row, from a forest that has not seen the row's engine.
pub fn left_out_scores(table: &Table) -> Result<Vec<f32>, ForestError> {
    let engines: Vec<&str> = table.engines().into_iter().collect();
    let forests = side_by_side(engines.len(), |at| {
        Forest::fit(&table.without(&[engines[at]]))
    });
    let mut scores = vec![0.0; table.rows.len()];
    for (engine, forest) in engines.iter().zip(forests) {
        score_rows(&forest?, table, engine, &mut scores);
    }
    Ok(scores)
}

/// The threshold for each of these engines that those find who never heard of it. Of two engines
/// that are left out, the same forest judges the one for the other and the other way round.
fn thresholds(table: &Table, engines: &[&str]) -> Result<Vec<f32>, ForestError> {
    let pairs: Vec<(usize, usize)> = (0..engines.len())
        .flat_map(|first| (first + 1..engines.len()).map(move |second| (first, second)))
        .collect();
    let forests = side_by_side(pairs.len(), |at| {
        let (first, second) = pairs[at];
        Forest::fit(&table.without(&[engines[first], engines[second]]))
    });
    let mut scores = vec![vec![0.0; table.rows.len()]; engines.len()];
    for ((first, second), forest) in pairs.into_iter().zip(forests) {
        let forest = forest?;
        score_rows(&forest, table, engines[second], &mut scores[first]);
        score_rows(&forest, table, engines[first], &mut scores[second]);
    }
    let of_others = |(engine, scores): (&&str, Vec<f32>)| {
        let others = table.rows.iter().zip(scores);
        let others = others.filter(|(row, _)| row.engine != *engine);
        threshold(others)
    };
    Ok(engines.iter().zip(scores).map(of_others).collect())
}

/// Scores the rows of one engine.
fn score_rows(forest: &Forest, table: &Table, engine: &str, scores: &mut [f32]) {
    let rows = table.rows.iter().zip(scores);
    for (row, score) in rows.filter(|(row, _)| row.engine == engine) {
        *score = forest.score(&row.values);
    }
}

/// What comes of each number below `count`, in order, by as many threads as there are processors.
fn side_by_side<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let take_turns = || {
        let turns = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let turns = turns.take_while(|at| *at < count);
        turns.map(|at| (at, work(at))).collect::<Vec<_>>()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(take_turns)).collect();
        let ended = workers.into_iter().map(|worker| worker.join());
        ended
            .flat_map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, found)| found).collect()
}

/// The score from which a request is anomalous: [`THRESHOLD_RULE`].
pub fn threshold<'a>(scored: impl Iterator<Item = (&'a Row, f32)>) -> f32 {
    let scored: Vec<(bool, f32)> = scored
        .map(|(row, score)| (row.is_scraper(), score))
        .collect();
    let of_class = |wanted: bool| {
        let scored = scored.iter();
        scored
            .filter(move |(scraper, _)| *scraper == wanted)
            .map(|(_, score)| *score)
    };
    let welcome = of_class(false).fold(0.0, f32::max);
    let next = of_class(true)
        .filter(|score| *score > welcome)
        .fold(1.0, f32::min);
    f32::midpoint(welcome, next).clamp(THRESHOLDS.0, THRESHOLDS.1)
}

/// Whether there are engines enough to leave some out.
pub fn has_engines_enough(table: &Table) -> bool {
    [true, false].into_iter().all(|scraper| {
        let rows = table
            .rows
            .iter()
            .filter(|row| row.is_scraper() == scraper)
            .cloned();
        let engines: BTreeSet<String> = rows.map(|row| row.engine).collect();
        engines.len() >= FEWEST_ENGINES
    })
}

/// Columns of [`path_and_time`].
pub const PATH_AND_TIME: usize = 6;

/// What a judge sees who must not be able to judge: the path and the time. A model that does well
/// on these has learned the lab's schedule, and so may ours have.
pub fn path_and_time(request: &Recorded) -> [f32; PATH_AND_TIME] {
    let path = request.uri().path();
    let segments = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .count();
    let last = path.rsplit('/').next().unwrap_or(path);
    [
        request.seconds as f32,
        path.len() as f32,
        segments as f32,
        f32::from(u8::from(request.uri().query().is_some())),
        bucket(path),
        bucket(last.rsplit_once('.').map_or("", |(_, ending)| ending)),
    ]
}

/// A text as a number that trees can split on: FNV-1a folded to 16 bits.
fn bucket(text: &str) -> f32 {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (hash >> 16) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        recording::Label,
        table::tests::{row, table},
    };

    fn scored(rows: &[(Label, f32)]) -> (Table, Vec<f32>) {
        let same = rows.iter().map(|(label, _)| row("f", "c", *label, &[0.0]));
        (
            table(same.collect()),
            rows.iter().map(|(_, score)| *score).collect(),
        )
    }

    #[test]
    fn threshold_lies_above_all_welcome_scores() {
        use Label::{Feed, Person, Scraper};
        let check = |rows: &[(Label, f32)], expected: f32| {
            let (table, scores) = scored(rows);
            let found = threshold(table.rows.iter().zip(scores));
            assert!((found - expected).abs() < 1e-6, "{rows:?}: {found}");
        };
        check(
            &[(Person, 0.6), (Feed, 0.2), (Scraper, 0.5), (Scraper, 0.8)],
            0.7,
        );
        check(&[(Person, 0.1), (Feed, 0.7), (Scraper, 0.9)], 0.8);
        check(&[(Person, 0.1), (Scraper, 0.2)], 0.5);
        check(&[(Person, 0.999), (Scraper, 0.9995)], 0.99);
        check(&[(Person, 0.8), (Scraper, 0.3)], 0.9);
    }

    #[test]
    fn tallies_count_requests_and_not_rows() {
        let mut rows = vec![
            row("a", "a", Label::Scraper, &[0.9]),
            row("a", "a", Label::Scraper, &[0.1]),
            row("b", "b", Label::Person, &[0.6]),
        ];
        rows[0].requests = 3;
        let evaluation = Evaluation::of_score("test", &table(rows), 0.5);
        let total = &evaluation.total;
        assert_eq!((total.scraper, total.caught), (4, 3));
        assert_eq!((total.welcome, total.false_positives), (1, 1));
        assert_eq!((total.precision, total.recall), (Some(0.75), Some(0.75)));
        assert_eq!(evaluation.engines[0].false_positive_rate, None);
        assert_eq!(evaluation.engines[1].recall, None);
    }

    /// Engines whose rows tell their class, or only name their engine.
    fn engines(telling: bool) -> Table {
        let mut rows = Vec::new();
        for family in 0..8_u8 {
            let label = if family % 2 == 0 {
                Label::Person
            } else {
                Label::Scraper
            };
            let name = format!("f{family}");
            for at in 0..20_u8 {
                let told = f32::from(family % 2) * 5.0 + f32::from(at % 3);
                let value = if telling { told } else { f32::from(family) };
                // Twice, since each tree sees half of the columns.
                rows.push(row(&name, &name, label, &[value, value]));
            }
        }
        table(rows)
    }

    #[test]
    fn engine_that_was_left_out_is_judged_by_what_others_taught() {
        let try_on = |telling: bool| {
            let table = engines(telling);
            assert!(has_engines_enough(&table));
            Evaluation::of_forest("test", &table, &table)
                .expect("fits")
                .total
        };
        let told = try_on(true);
        assert_eq!(
            (told.recall, told.false_positive_rate),
            (Some(1.0), Some(0.0))
        );
        // What only names an engine is of no use for another one: a leak between the engines
        // would show here as a perfect result.
        assert!(try_on(false).recall.is_some_and(|recall| recall < 0.6));
    }

    #[test]
    fn few_engines_are_noticed() {
        let (few, _) = scored(&[(Label::Person, 0.1), (Label::Scraper, 0.2)]);
        assert!(!has_engines_enough(&few));
    }
}
