//! How well a judge does on clients of a kind that it has never seen.
//!
//! All clients of one engine are left out together, since two clients of one library look alike and
//! a model that was shown one knows the other. The threshold that an engine is judged by is found
//! without it too: by leaving out, one after the other, the engines that remain.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    forest::{Forest, ForestError},
    recording::Recorded,
    table::{Row, Table},
};

/// Lowest and highest threshold that a model gets, whatever its scores say.
const THRESHOLDS: (f32, f32) = (0.5, 0.95);

/// The rule of [`threshold`], as cards tell it.
pub const THRESHOLD_RULE: &str = "above every score of a welcome client, half-way to the next \
    score of a scraper, all scored by models that had not seen their engine; within 0.5..0.95";

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
}

impl Evaluation {
    /// Trains and tries a forest with each engine left out.
    pub fn of_forest(judge: &'static str, table: &Table) -> Result<Self, ForestError> {
        let mut engines = Vec::new();
        for engine in table.engines() {
            let others = table.without(engine);
            let threshold = threshold(&others, &left_out_scores(&others)?);
            let forest = Forest::fit(&others)?;
            let rows = table.rows.iter().filter(|row| row.engine == engine);
            engines.push(Tally::of(engine, rows, |row| {
                forest.score(&row.values) >= threshold
            }));
        }
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
            if row.is_scraper() {
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
        self
    }
}

/// A score for each row, from a forest that has not seen the row's engine.
pub fn left_out_scores(table: &Table) -> Result<Vec<f32>, ForestError> {
    let mut scores = vec![0.0; table.rows.len()];
    for engine in table.engines() {
        let forest = Forest::fit(&table.without(engine))?;
        for (row, score) in table.rows.iter().zip(&mut scores) {
            if row.engine == engine {
                *score = forest.score(&row.values);
            }
        }
    }
    Ok(scores)
}

/// The score from which a request is anomalous: [`THRESHOLD_RULE`].
pub fn threshold(table: &Table, scores: &[f32]) -> f32 {
    let of_class = |scraper: bool| {
        let scored = table.rows.iter().zip(scores);
        scored
            .filter(move |(row, _)| row.is_scraper() == scraper)
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
            let found = threshold(&table, &scores);
            assert!((found - expected).abs() < 1e-6, "{rows:?}: {found}");
        };
        check(
            &[(Person, 0.6), (Feed, 0.2), (Scraper, 0.5), (Scraper, 0.8)],
            0.7,
        );
        check(&[(Person, 0.1), (Feed, 0.7), (Scraper, 0.9)], 0.8);
        check(&[(Person, 0.1), (Scraper, 0.2)], 0.5);
        check(&[(Person, 0.99), (Scraper, 0.999)], 0.95);
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
            Evaluation::of_forest("test", &table).expect("fits").total
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
