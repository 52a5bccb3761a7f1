//! Requests as rows of numbers, each weighted so that no client counts for more than another.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use thornwall_detectors::alteration::{is_library_to_the_letter, none_one_and_two};

use crate::{
    prior::{Direction, NOT_TAUGHT},
    recording::{Label, Recorded},
};

/// What a model learns from or is tried on.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The rows.
    pub rows: Vec<Row>,
    /// How each column may move a score.
    pub directions: Vec<Direction>,
    /// Rows that are learned from and never judged; what they do not know is `NaN`.
    pub cases: Vec<Row>,
}

/// Requests of one client that look the same.
#[derive(Debug, Clone)]
pub struct Row {
    /// What a model sees.
    pub values: Vec<f32>,
    /// What the client was there for.
    pub label: Label,
    /// Name of the client.
    pub client: String,
    /// The client's family, as recorded.
    pub family: String,
    /// What is left out as one in evaluation: what the function `engine` says.
    pub engine: String,
    /// How many requests look like this.
    pub requests: usize,
    /// Whether nobody recorded it: a person's header set, altered as on its way to a site.
    pub altered: bool,
}

impl Row {
    /// Whether the client is unwelcome.
    pub fn is_scraper(&self) -> bool {
        self.label == Label::Scraper
    }
}

impl Table {
    /// One row for each client and each different vector that `see` makes of its requests.
    pub fn of(
        requests: &[Recorded],
        directions: Vec<Direction>,
        see: impl Fn(&Recorded) -> Vec<f32>,
    ) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        let mut known: HashMap<(&str, Label, Vec<u32>), usize> = HashMap::new();
        for request in requests {
            let values = see(request);
            let bits = values.iter().map(|value| value.to_bits()).collect();
            let key = (request.client.as_str(), request.label, bits);
            let at = *known.entry(key).or_insert(rows.len());
            if at == rows.len() {
                rows.push(Row {
                    values,
                    label: request.label,
                    client: request.client.clone(),
                    family: request.family.clone(),
                    engine: engine(&request.family, &request.client).to_owned(),
                    requests: 0,
                    altered: false,
                });
            }
            rows[at].requests += 1;
        }
        Self {
            rows,
            directions,
            cases: Vec::new(),
        }
    }

    /// Adds what people's requests become on their way: a row for each engine and each different
    /// vector that is not there already. They are a family of their own beside the engine's, so that
    /// all that may happen to a browser weighs as much as the browser itself, however much it is.
    /// Alterations that only add are left out: by the directions of the columns, what has more is
    /// never judged worse.
    pub fn add_altered(&mut self, requests: &[Recorded], see: impl Fn(&Recorded) -> Vec<f32>) {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect();
        let mut known: HashSet<(String, Vec<u32>)> = HashSet::new();
        let own = self.rows.iter().filter(|row| row.label == Label::Person);
        known.extend(own.map(|row| (row.engine.clone(), bits(&row.values))));
        let people = requests
            .iter()
            .filter(|request| request.label == Label::Person);
        for request in people {
            let engine = engine(&request.family, &request.client);
            for alterations in none_one_and_two(request.is_graphical()) {
                if alterations.iter().any(|one| one.only_adds()) {
                    continue;
                }
                let Some(altered) = request.altered(&alterations) else {
                    continue;
                };
                if is_library_to_the_letter(&altered.view()) {
                    continue;
                }
                let values = see(&altered);
                if known.insert((engine.to_owned(), bits(&values))) {
                    self.rows.push(Row {
                        values,
                        label: Label::Person,
                        client: format!("{engine}, altered"),
                        family: format!("{engine}, altered"),
                        engine: engine.to_owned(),
                        requests: 1,
                        altered: true,
                    });
                }
            }
        }
    }

    /// The same without what nobody recorded.
    pub fn recorded(&self) -> Self {
        self.only(|row| !row.altered)
    }

    /// The engines, sorted.
    pub fn engines(&self) -> BTreeSet<&str> {
        self.rows.iter().map(|row| row.engine.as_str()).collect()
    }

    /// The rows of all other engines.
    pub fn without(&self, engines: &[&str]) -> Self {
        self.only(|row| !engines.contains(&row.engine.as_str()))
    }

    /// The rows that models may learn from: [`NOT_TAUGHT`] says of which not.
    pub fn taught(&self) -> Self {
        let mut taught = self.only(|row| !NOT_TAUGHT.contains(&row.family.as_str()));
        taught.rows.append(&mut taught.cases);
        taught
    }

    fn only(&self, kept: impl Fn(&Row) -> bool) -> Self {
        Self {
            rows: self.rows.iter().filter(|row| kept(row)).cloned().collect(),
            directions: self.directions.clone(),
            cases: self.cases.clone(),
        }
    }

    /// A weight for each row, 1 on average: both classes weigh the same, within a class each
    /// family, within a family each client, within a client each different vector. Otherwise the
    /// client that asked most often would be what the model learns.
    pub fn weights(&self) -> Vec<f64> {
        let mut families = BTreeMap::<bool, BTreeSet<&str>>::new();
        let mut clients = BTreeMap::<(bool, &str), BTreeSet<&str>>::new();
        let mut vectors = BTreeMap::<(bool, &str, &str), usize>::new();
        for row in &self.rows {
            let class = row.is_scraper();
            families.entry(class).or_default().insert(&row.family);
            clients
                .entry((class, &row.family))
                .or_default()
                .insert(&row.client);
            *vectors
                .entry((class, &row.family, &row.client))
                .or_default() += 1;
        }
        let total = self.rows.len() as f64;
        let weight = |row: &Row| {
            let class = row.is_scraper();
            let shares = families.len()
                * families[&class].len()
                * clients[&(class, row.family.as_str())].len()
                * vectors[&(class, row.family.as_str(), row.client.as_str())];
            total / shares as f64
        };
        self.rows.iter().map(weight).collect()
    }
}

/// What a client is built on, so that clients of one engine look alike. That is its family, but for
/// families named for a purpose: each feed reader and each text browser is built on something of
/// its own, and its configurations are told apart by what follows its name.
fn engine<'a>(family: &'a str, client: &'a str) -> &'a str {
    match family {
        "feed-reader" | "text-browser" => client.split('-').next().unwrap_or(client),
        _ => family,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row that stands for one request.
    pub(crate) fn row(family: &str, client: &str, label: Label, values: &[f32]) -> Row {
        Row {
            values: values.to_vec(),
            label,
            client: client.to_owned(),
            family: family.to_owned(),
            engine: family.to_owned(),
            requests: 1,
            altered: false,
        }
    }

    /// A table whose columns may move a score either way.
    pub(crate) fn table(rows: Vec<Row>) -> Table {
        let columns = rows.first().map_or(0, |row| row.values.len());
        Table {
            rows,
            directions: vec![Direction::Free; columns],
            cases: Vec::new(),
        }
    }

    #[test]
    fn weights_balance_classes_families_and_clients() {
        let rows = vec![
            row("python", "requests", Label::Scraper, &[1.0]),
            row("python", "requests", Label::Scraper, &[2.0]),
            row("python", "httpx", Label::Scraper, &[1.0]),
            row("curl", "curl", Label::Scraper, &[1.0]),
            row("firefox", "firefox", Label::Person, &[0.0]),
            row("feed", "reader", Label::Feed, &[0.0]),
        ];
        let weights = table(rows).weights();
        let expected = [0.375, 0.375, 0.75, 1.5, 1.5, 1.5];
        assert_eq!(weights, expected);
        assert!((weights.iter().sum::<f64>() - 6.0).abs() < 1e-9);
    }

    #[test]
    fn engines_are_families_but_for_those_of_a_purpose() {
        let check = |family, client, expected| assert_eq!(engine(family, client), expected);
        check("python-requests", "requests-agent", "python-requests");
        check("text-browser", "lynx", "lynx");
        check("text-browser", "lynx-configured", "lynx");
        check("feed-reader", "newsboat", "newsboat");
    }
}
