//! The lab's recording through the pipeline that ships, in process: no browser's header set is
//! harmed, as recorded or altered by whatever stands between a person and the site, and scrapers get
//! what is meant for them.

#![expect(clippy::print_stdout, reason = "the tables are what the tests found")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};
use serde::Deserialize;
use thornwall_detectors::{
    alteration::{self, Alteration, Message},
    path,
    request::{RequestView, plain_path},
};

use super::metrics;
use thornwall_decisions::{decision::Action, ladder::Ladder};

use crate::{
    context::FilterContext,
    pipeline::{Judgement, Pipeline, PipelineSpec},
    verdict::{Answer, Refusal, Ruling},
};

/// One line of the recording.
#[derive(Deserialize)]
struct Recorded {
    run: String,
    client: String,
    family: String,
    label: String,
    t: f64,
    method: String,
    path: String,
    version: String,
    secure: bool,
    headers: Vec<(String, String)>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn recording() -> Vec<Recorded> {
    let file = File::open(root().join("tests/lab/recording.jsonl.gz")).unwrap();
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}

/// The pipeline `standard` as it is built in, with the model that ships.
fn standard(workers: usize) -> Pipeline {
    #[derive(Deserialize)]
    struct Written {
        pipeline: Vec<PipelineSpec>,
    }
    let text = std::fs::read_to_string(root().join("gateway/src/config/standard.toml")).unwrap();
    let written: Written = toml::from_str(&text).unwrap();
    let mut context = FilterContext {
        models_dir: root().join("models"),
        workers,
        ..FilterContext::default()
    };
    let pipeline = Pipeline::build(&written.pipeline[0], &metrics(), &mut context);
    assert_eq!(context.report.problems, []);
    pipeline.unwrap()
}

/// A request that owns what a view borrows.
struct Request {
    uri: Uri,
    secure: bool,
    message: Message,
}

impl Request {
    fn of(recorded: &Recorded) -> Self {
        let Recorded {
            method,
            path,
            version,
            ..
        } = recorded;
        let fields = recorded.headers.iter();
        let fields = fields.map(|(name, value)| (name.as_str(), value.as_str()));
        Self::new([method, path, version], fields, recorded.secure)
    }

    fn new<'a>(
        [method, path, version]: [&str; 3],
        fields: impl Iterator<Item = (&'a str, &'a str)>,
        secure: bool,
    ) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Self {
            uri: path.parse().unwrap(),
            secure,
            message: Message {
                method: method.parse().unwrap(),
                version: match version {
                    "HTTP/1.0" => Version::HTTP_10,
                    _ => Version::HTTP_11,
                },
                headers,
            },
        }
    }

    fn judged(&self, pipeline: &Pipeline, client: u32, now: Duration) -> Judgement {
        pipeline.judge(&self.view(client, now))
    }

    fn view(&self, client: u32, now: Duration) -> RequestView<'_> {
        RequestView {
            version: self.message.version,
            client: IpAddr::V4(Ipv4Addr::from(client)),
            secure: self.secure,
            now,
            ..RequestView::bare(&self.message.method, &self.uri, &self.message.headers)
        }
    }

    /// What judges can tell requests apart by: of some fields only whether they are there.
    fn looks(&self) -> String {
        const PRESENT: &[&str] = &[
            "content-length",
            "cookie",
            "host",
            "if-modified-since",
            "if-none-match",
            "origin",
            "referer",
        ];
        let path = plain_path(self.uri.path());
        let mut looks = vec![format!(
            "{} {:?} {} {:?} {:?}",
            self.message.method,
            path::kind(&path),
            path::depth(&path).min(2),
            self.uri.query().map(str::is_empty),
            self.secure,
        )];
        looks.extend(self.message.headers.iter().map(|(name, value)| {
            if PRESENT.contains(&name.as_str()) {
                name.to_string()
            } else {
                format!("{name}: {value:?}")
            }
        }));
        looks.sort_unstable();
        looks.join("\n")
    }
}

/// A header set of somebody who reads.
struct Set {
    client: String,
    graphical: bool,
    request: Request,
}

/// Every different header set of people's programs.
fn sets_of_people() -> Vec<Set> {
    let mut known = BTreeSet::new();
    let people = recording()
        .into_iter()
        .filter(|recorded| recorded.label != "scraper");
    people
        .map(|recorded| Set {
            request: Request::of(&recorded),
            graphical: recorded.family.ends_with("-person"),
            client: recorded.client,
        })
        .filter(|set| known.insert(set.request.looks()))
        .collect()
}

/// What browsers ask for beside pages, over TLS.
fn errands() -> Vec<Set> {
    let text = std::fs::read_to_string(root().join("tests/golden/errands.txt")).unwrap();
    let heads = text.split("\n\n").filter(|head| !head.starts_with('#'));
    let set = |head: &str| {
        let (line, fields) = head.split_once('\n').unwrap();
        let line: Vec<&str> = line.split(' ').collect();
        let fields = fields.lines().map(|field| field.split_once(": ").unwrap());
        Set {
            client: "a browser".to_owned(),
            graphical: true,
            request: Request::new(line.try_into().unwrap(), fields, true),
        }
    };
    heads.map(set).collect()
}

/// Sets that were tried, and how many of them came to the rungs `throttle` and `tarpit`, by what was
/// done to them.
type Rungs = BTreeMap<Vec<&'static str>, [usize; 3]>;

/// What a walk found.
#[derive(Default)]
struct Walked {
    rungs: Rungs,
    /// Who came to a rung, and why.
    harmed: Vec<String>,
    /// Sets that nobody can tell from a program's, and that are therefore not promised anything.
    to_the_letter: usize,
}

/// Judges every alteration of these sets.
fn walk(pipeline: &Pipeline, sets: &[Set]) -> Walked {
    let mut walked = Walked::default();
    let mut clients = 0..;
    for set in sets {
        for alterations in alteration::none_one_and_two(set.graphical) {
            let Some(message) = alteration::altered(&set.request.message, &alterations) else {
                continue;
            };
            let uri = set.request.uri.clone();
            let request = Request {
                uri,
                message,
                ..set.request
            };
            // Each has an address of its own: limits by client are not what is tried here.
            let view = request.view(clients.next().unwrap(), Duration::ZERO);
            if alteration::is_program_to_the_letter(&view) {
                walked.to_the_letter += 1;
                continue;
            }
            walked.note(set, &alterations, &pipeline.judge(&view), pipeline.ladder());
        }
    }
    walked
}

impl Walked {
    fn note(&mut self, set: &Set, alterations: &[Alteration], judged: &Judgement, ladder: &Ladder) {
        let mut names: Vec<&str> = alterations.iter().map(|one| one.name()).collect();
        names.sort_unstable();
        let counts = self.rungs.entry(names).or_default();
        counts[0] += 1;
        let reached = ladder.action(judged.score);
        if judged.ruling != Ruling::Forward || reached.is_some() {
            counts[if reached >= Some(Action::Tarpit) {
                2
            } else {
                1
            }] += 1;
            let trail = judged.trail.signals().iter();
            let trail: Vec<String> = trail
                .map(|signal| format!("{} {:.2} {}", signal.reason, signal.weight, signal.evidence))
                .collect();
            let Set {
                client, request, ..
            } = set;
            let harmed = format!("{client} {} {alterations:?} {trail:?}", request.uri);
            self.harmed.push(harmed);
        }
    }

    fn add(&mut self, other: Self) {
        self.harmed.extend(other.harmed);
        self.to_the_letter += other.to_the_letter;
        for (names, counts) in other.rungs {
            let sum = self.rungs.entry(names).or_default();
            sum.iter_mut()
                .zip(counts)
                .for_each(|(sum, count)| *sum += count);
        }
    }
}

#[test]
fn no_setting_extension_or_proxy_brings_a_person_to_the_first_rung() {
    let (mut sets, errands) = (sets_of_people(), errands());
    assert!(sets.len() > 150, "{} sets", sets.len());
    assert!(errands.len() > 50, "{} errands", errands.len());
    sets.extend(errands);
    let mut all = Walked::default();
    std::thread::scope(|scope| {
        let parts = sets.chunks(sets.len().div_ceil(4));
        let walks: Vec<_> = parts
            .map(|part| scope.spawn(|| walk(&standard(1), part)))
            .collect();
        walks
            .into_iter()
            .for_each(|walked| all.add(walked.join().unwrap()));
    });
    for (names, [sets, throttled, held]) in &all.rungs {
        println!("| {} | {sets} | {throttled} | {held} |", names.join(", "));
    }
    let tried: usize = all.rungs.values().map(|counts| counts[0]).sum();
    println!(
        "{tried} sets, and {} like a program's to the letter",
        all.to_the_letter
    );
    assert!(all.rungs.len() > 80, "{} alterations", all.rungs.len());
    assert!(
        all.to_the_letter * 25 < tried,
        "{} exceptions",
        all.to_the_letter
    );
    let some = &all.harmed[..all.harmed.len().min(20)];
    assert!(
        all.harmed.is_empty(),
        "{} harmed, such as {some:#?}",
        all.harmed.len()
    );
}

#[test]
fn people_are_served_and_scrapers_contained_as_they_came() {
    let pipeline = standard(1);
    let mut runs = BTreeMap::new();
    let mut table: BTreeMap<(String, String, String), BTreeMap<&str, usize>> = BTreeMap::new();
    for recorded in recording() {
        let next = runs.len() as u32;
        let run = *runs.entry(recorded.run.clone()).or_insert(next);
        let request = Request::of(&recorded);
        let judgement = request.judged(&pipeline, run, Duration::from_secs_f64(recorded.t));
        let part = path::kind(&plain_path(request.uri.path())) != path::Kind::Page;
        let outcome = match judgement.ruling {
            _ if part && recorded.label == "scraper" => "parts of pages",
            Ruling::Forward if judgement.throttled => "served slowly",
            Ruling::Forward => "served",
            Ruling::Answer(Answer::Tarpit(_)) => "held",
            Ruling::Answer(Answer::Deny(denial)) if denial.refusal == Refusal::Forbidden => {
                "denied"
            }
            Ruling::Answer(Answer::Deny(_)) => "429",
        };
        let key = (recorded.label, recorded.family, recorded.client);
        *table.entry(key).or_default().entry(outcome).or_default() += 1;
    }
    for ((label, family, client), outcomes) in &table {
        println!("{label:8} {family:20} {client:30} {outcomes:?}");
    }
    for ((label, _, client), outcomes) in &table {
        let served = outcomes.get("served").copied().unwrap_or_default();
        let all: usize = outcomes.values().sum();
        if label != "scraper" {
            assert_eq!(served, all, "{client} {outcomes:?}");
        }
    }
}
