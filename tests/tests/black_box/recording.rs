//! The lab's recording, replayed through the running gateway with the pipeline that is shipped:
//! nobody who reads is harmed, and whoever says what it is gets what is meant for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader},
    sync::Mutex,
    thread,
};

use flate2::read::GzDecoder;
use serde::Deserialize;

use crate::harness::{Gateway, Origin, ask, root};

/// One line of `tests/lab/recording.jsonl.gz`.
#[derive(Deserialize)]
struct Recorded {
    run: String,
    client: String,
    label: String,
    method: String,
    path: String,
    version: String,
    secure: bool,
    headers: Vec<(String, String)>,
}

fn recording() -> BTreeMap<String, Vec<Recorded>> {
    let file = File::open(root().join("tests/lab/recording.jsonl.gz")).unwrap();
    let mut runs: BTreeMap<String, Vec<Recorded>> = BTreeMap::new();
    for line in BufReader::new(GzDecoder::new(file)).lines() {
        let request: Recorded = serde_json::from_str(&line.unwrap()).unwrap();
        runs.entry(request.run.clone()).or_default().push(request);
    }
    assert!(runs.len() > 100, "{} runs", runs.len());
    runs
}

/// The request as its client sent it, through a proxy that the gateway trusts.
fn raw(request: &Recorded, client: &str) -> String {
    let Recorded {
        method,
        path,
        version,
        ..
    } = request;
    let mut raw = format!("{method} {path} {version}\r\nX-Forwarded-For: {client}\r\n");
    if request.secure {
        raw.push_str("X-Forwarded-Proto: https\r\n");
    }
    // The recording has no bodies, and the connection ends with the answer.
    let left_out = [
        "connection",
        "content-length",
        "expect",
        "transfer-encoding",
    ];
    for (name, value) in &request.headers {
        if !left_out.contains(&name.to_ascii_lowercase().as_str()) {
            raw.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    raw + "Content-Length: 0\r\nConnection: close\r\n\r\n"
}

/// What became of a request, by the head of its answer: only the tarpit has no length.
fn outcome(port: u16, raw: &str) -> &'static str {
    let reply = ask(port, raw);
    match reply.status {
        200 if reply.header("content-length").is_some() => "served",
        200 => "tarpitted",
        429 => "throttled",
        403 => "denied",
        other => panic!("{other:?} to {raw}"),
    }
}

type Outcomes = BTreeMap<&'static str, usize>;

/// Replays runs, each from an address of its own, and counts outcomes by label and client.
fn replay(gateway: &Gateway, runs: &[Vec<Recorded>]) -> BTreeMap<(String, String), Outcomes> {
    let counted = Mutex::new(BTreeMap::new());
    let next = Mutex::new(runs.iter().enumerate());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((number, run)) = next.lock().unwrap().next() else {
                        return;
                    };
                    let client = format!("198.18.{}.{}", number / 250, number % 250 + 1);
                    for request in run {
                        let outcome = outcome(gateway.port, &raw(request, &client));
                        let key = (request.label.clone(), request.client.clone());
                        let mut counted = counted.lock().unwrap();
                        let outcomes: &mut Outcomes = counted.entry(key).or_default();
                        *outcomes.entry(outcome).or_default() += 1;
                    }
                }
            });
        }
    });
    counted.into_inner().unwrap()
}

/// Clients go to the parts by turns, each with all of its runs.
const PARTS: usize = 3;

fn runs_of_part(part: usize) -> Vec<Vec<Recorded>> {
    let runs: Vec<Vec<Recorded>> = recording().into_values().collect();
    let clients: BTreeSet<String> = runs.iter().map(|run| run[0].client.clone()).collect();
    let clients = clients.into_iter().skip(part).step_by(PARTS);
    let clients: BTreeSet<String> = clients.collect();
    let is_ours = |run: &Vec<Recorded>| clients.contains(&run[0].client);
    runs.into_iter().filter(is_ours).collect()
}

mod nobody_who_reads_is_harmed_and_declared_scrapers_are_caught {
    use super::check_part;

    #[test]
    fn among_the_first_third_of_clients() {
        check_part(0);
    }

    #[test]
    fn among_the_second_third_of_clients() {
        check_part(1);
    }

    #[test]
    fn among_the_last_third_of_clients() {
        check_part(2);
    }
}

fn check_part(part: usize) {
    let origin = Origin::start();
    let extra = "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n\
        [tarpit]\ninterval_ms = 1000\nmax_secs = 2\n\
        [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\n";
    let gateway = Gateway::start(origin.port, extra);
    let counted = replay(&gateway, &runs_of_part(part));
    let (mut harmed, mut missed) = (Vec::new(), Vec::new());
    let (mut readers, mut scrapers) = (0, 0);
    for ((label, client), outcomes) in &counted {
        println!("{label:8} {client:32} {outcomes:?}");
        let all: usize = outcomes.values().sum();
        let served = outcomes.get("served").copied().unwrap_or_default();
        if label != "scraper" && served < all {
            harmed.push(format!("{client}: {outcomes:?}"));
        }
        // robots.txt is everybody's to read.
        let declared = client.ends_with("-default") || client.ends_with("-default-mirror");
        readers += usize::from(label != "scraper");
        scrapers += usize::from(label == "scraper" && declared);
        if label == "scraper" && declared && served * 20 > all {
            missed.push(format!("{client}: {outcomes:?}"));
        }
    }
    assert!(harmed.is_empty(), "{harmed:#?}");
    assert!(missed.is_empty(), "{missed:#?}");
    assert!(readers > 0 && scrapers > 0, "{readers} {scrapers}");
}

/// One request of `tests/golden/anomaly.json`, and its score by Python's ONNX Runtime.
#[derive(Deserialize)]
struct Golden {
    name: String,
    method: String,
    path: String,
    secure: bool,
    headers: Vec<(String, String)>,
    score: f64,
}

#[test]
fn live_requests_score_as_they_do_outside_of_rust() {
    let text = std::fs::read_to_string(root().join("tests/golden/anomaly.json")).unwrap();
    let mut golden: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cases: Vec<Golden> = serde_json::from_value(golden["cases"].take()).unwrap();
    assert!(cases.len() > 4);
    let extra = "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n\
        [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
        [[pipeline]]\nname = \"p\"\n[[pipeline.filter]]\nname = \"model\"\n\
        anomaly = { model = \"bot_score\" }\n";
    let gateway = Gateway::start(Origin::start().port, extra);
    for case in cases {
        let mut raw = format!("{} {} HTTP/1.1\r\n", case.method, case.path);
        if case.secure {
            raw.push_str("X-Forwarded-Proto: https\r\n");
        }
        for (name, value) in &case.headers {
            raw.push_str(&format!("{name}: {value}\r\n"));
        }
        let decided = gateway.explain(ask(gateway.port, &(raw + "\r\n")).id());
        let signal = &decided["signals"][0];
        assert_eq!(signal["reason"], "model.anomalous", "{}", case.name);
        let score: f64 = signal["evidence"].as_str().unwrap().parse().unwrap();
        assert!(
            (score - case.score).abs() < 1e-4,
            "{}: {score} and {}",
            case.name,
            case.score
        );
    }
}
