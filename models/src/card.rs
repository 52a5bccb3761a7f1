//! The card of a trained model: what scoring needs, and what people should know.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::Serialize;
use thornwall_detectors::{alteration::ALL, model::Card};

use crate::{
    cases::CaseFacts,
    evaluation::{Evaluation, Tally},
    recording::{Label, Recording},
    table::Table,
};

/// Everything that is written next to a model.
#[derive(Debug, Serialize)]
pub struct FullCard {
    /// What scoring needs.
    #[serde(flatten)]
    pub card: Card,
    /// Day of the training.
    pub created: String,
    /// How the threshold was found.
    pub threshold_rule: &'static str,
    /// Families that were judged and not learned from.
    pub not_taught: &'static [&'static str],
    /// What it was trained on.
    pub data: DataFacts,
    /// How well judges do on engines that they have not seen.
    pub evaluation: Vec<Evaluation>,
}

/// What a model was trained on.
#[derive(Debug, Serialize)]
pub struct DataFacts {
    /// Name of the recording.
    pub file: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Requests in it.
    pub requests: usize,
    /// Rows that the model learned from: vectors that differ within a client.
    pub rows: usize,
    /// Rows beside them that nobody recorded: people's header sets, altered.
    pub altered_rows: usize,
    /// What was done to people's header sets, each alone and every two together.
    pub alterations: BTreeSet<&'static str>,
    /// Who sent them.
    pub clients: Vec<ClientFacts>,
    /// Cases that it learned from beside them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cases: Option<CaseFacts>,
}

/// One client of a recording.
#[derive(Debug, PartialEq, Serialize)]
pub struct ClientFacts {
    /// Its name.
    pub client: String,
    /// Its family.
    pub family: String,
    /// What it was there for.
    pub label: &'static str,
    /// Requests that it sent.
    pub requests: usize,
    /// How many of them differ in their features.
    pub rows: usize,
}

impl DataFacts {
    /// The facts of a recording and the table that was made of it.
    pub fn of(file: &str, recording: &Recording, table: &Table) -> Self {
        let mut clients: BTreeMap<(&str, &str, Label), (usize, usize)> = BTreeMap::new();
        for row in &table.rows {
            if row.altered {
                continue;
            }
            let counts = clients
                .entry((&row.family, &row.client, row.label))
                .or_default();
            counts.0 += row.requests;
            counts.1 += 1;
        }
        let facts =
            |((family, client, label), (requests, rows)): ((&str, &str, Label), _)| ClientFacts {
                client: client.to_owned(),
                family: family.to_owned(),
                label: label.name(),
                requests,
                rows,
            };
        let taught = ALL.iter().filter(|one| !one.only_adds());
        Self {
            file: file.to_owned(),
            sha256: recording.sha256.clone(),
            requests: recording.requests.len(),
            rows: table.rows.iter().filter(|row| !row.altered).count(),
            altered_rows: table.rows.iter().filter(|row| row.altered).count(),
            alterations: taught.map(|one| one.name()).collect(),
            clients: clients.into_iter().map(facts).collect(),
            cases: None,
        }
    }
}

impl FullCard {
    /// The card for people, in Markdown.
    pub fn to_markdown(&self) -> String {
        let alterations: Vec<&str> = self.data.alterations.iter().copied().collect();
        let mut text = format!(
            "# Model `{}`\n\nTrained {} on {} requests ({} rows) of {} clients from `{}`.\n\
             A request is anomalous from a score of {:.4} on: {}.\n\
             Judged and not learned from: {}.\n\n\
             It learned {} rows more as people's, which nobody recorded: the header sets of people's \
             browsers, altered as on their way to a site, each alteration alone and every two that \
             can happen together: {}. Fields that are added need no lesson, since no field more is ever judged worse. So a field that is missing is no guilt by itself.\n\n\
             ## Evaluation\n\n\
             All clients of an engine were left out of training and threshold, then judged.\n\
             Cells: share of welcome requests called anomalous / of people's altered header sets / \
             share of scrapers' requests caught.\n\n",
            self.card.name,
            self.created,
            self.data.requests,
            self.data.rows,
            self.data.clients.len(),
            self.data.file,
            self.card.threshold,
            self.threshold_rule,
            self.not_taught.join(", "),
            self.data.altered_rows,
            alterations.join(", "),
        );
        if let Some(cases) = &self.data.cases {
            text.push_str(&told(cases));
        }
        self.write_evaluation(&mut text);
        text.push_str("\n## Clients\n\n| family | client | label | requests | rows |\n");
        text.push_str("|---|---|---|---:|---:|\n");
        for client in &self.data.clients {
            let ClientFacts {
                client,
                family,
                label,
                requests,
                rows,
            } = client;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| {family} | {client} | {label} | {requests} | {rows} |"
            );
        }
        text
    }

    fn write_evaluation(&self, text: &mut String) {
        let judges: Vec<&str> = self.evaluation.iter().map(|one| one.judge).collect();
        let _ = writeln!(
            text,
            "| engine | welcome | altered | scraper | {} |",
            judges.join(" | ")
        );
        let _ = writeln!(text, "|---|---:|---:|---:|{}", "---:|".repeat(judges.len()));
        let Some(first) = self.evaluation.first() else {
            return;
        };
        for (at, engine) in first.engines.iter().enumerate() {
            let cells = self
                .evaluation
                .iter()
                .filter_map(|one| one.engines.get(at))
                .map(rates);
            write_row(text, engine, cells);
        }
        write_row(
            text,
            &first.total,
            self.evaluation.iter().map(|one| rates(&one.total)),
        );
        let precisions = self
            .evaluation
            .iter()
            .map(|one| percent(one.total.precision));
        let precisions: Vec<String> = precisions.collect();
        let _ = writeln!(text, "| precision | | | | {} |", precisions.join(" | "));
    }
}

fn write_row(text: &mut String, tally: &Tally, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    let Tally {
        engine,
        welcome,
        altered,
        scraper,
        ..
    } = tally;
    let _ = writeln!(
        text,
        "| {engine} | {welcome} | {altered} | {scraper} | {} |",
        cells.join(" | ")
    );
}

/// What people should know of cases that were learned from.
fn told(cases: &CaseFacts) -> String {
    let CaseFacts {
        people,
        scrapers,
        weak,
        welcome,
        ..
    } = cases;
    format!(
        "It also learned from cases of {people} people and {scrapers} scrapers, each time anew, so that an \
         engine left out below may be among them; {weak} weak labels and {welcome} welcome crawlers were \
         left out.\n\n"
    )
}

fn rates(tally: &Tally) -> String {
    format!(
        "{} / {} / {}",
        percent(tally.false_positive_rate),
        percent(tally.altered_rate),
        percent(tally.recall)
    )
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}
