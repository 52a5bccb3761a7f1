//! What is exported, of whom, and where from.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use thornwall_decisions::decision::Action;
use thornwall_proto::v1::escalation_server::EscalationServer;
use tokio::{net::TcpListener, sync::watch};
use tonic::transport::{Server, server::TcpIncoming};

use super::*;
use crate::{
    assessment::{Assessment, Consequence, Decision, Label, Truth},
    case::CaseId,
    config::History as Limits,
    fixture::{Configured, configured, dubious},
    history::{History, HistoryMetrics},
    metrics::Metrics,
    serve,
    service::Service,
};

/// What `thornwall-train` is tried with too.
const GOLDEN: &str = include_str!("../../../tests/golden/cases.jsonl");

fn wanted(file: &Configured, format: Format) -> Arguments {
    Arguments {
        config: file.folder.join("sidecar.toml"),
        format,
        reviewed: false,
        proved: false,
        since: None,
        addresses: false,
        out: Some(file.folder.join("out.jsonl")),
    }
}

/// Runs an export; its lines, in the order of their cases.
fn exported(arguments: &Arguments) -> Vec<String> {
    run(arguments).unwrap();
    let out = arguments.out.as_ref().unwrap();
    assert_eq!(out.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(out).unwrap();
    fs::remove_file(out).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Seven cases: what a person said of two, what proved true of two, what was decided of two, and one
/// that came to nothing.
async fn remember(history: &History) {
    let subjects = [
        "192.0.2.7",
        "2001:db8:1:2::/64",
        "198.51.100.9",
        "203.0.113.1",
    ];
    for number in 1..=7_u8 {
        let mut case = dubious(subjects[usize::from(number) % subjects.len()]);
        case.id = CaseId(number.into());
        let decided = (5..=6).contains(&number);
        let decision = Decision {
            number: 1,
            subject: case.subject,
            site: case.site.clone(),
            consequence: Consequence::Act(Action::Deny),
            reason: String::new(),
            evidence: String::new(),
            made_ms: 0,
            until_ms: 0,
            request_ids: Vec::new(),
            by_operator: false,
            note: String::new(),
        };
        let assessment = Assessment {
            case: case.id,
            site: case.site.clone(),
            subject: case.subject,
            score: 0.0,
            consequence: Consequence::None,
            steps: Vec::new(),
            pending: false,
            reason: if number == 6 {
                "sidecar.llm"
            } else {
                "sidecar.rules"
            }
            .to_owned(),
            decision: decided.then_some(decision),
            made_ms: u64::from(number) * 1000,
        };
        history.keep(case, assessment);
    }
    for (number, label) in [(1, Label::Person), (2, Label::Scraper)] {
        let note = "operator: seen".to_owned();
        let labelled = history.label(CaseId(number), label, note).await;
        assert!(labelled.unwrap().is_some());
    }
    // A person knows better than a trap.
    for (number, truth) in [(1, Truth::Trap), (3, Truth::Trap), (4, Truth::Verified)] {
        history.proved(CaseId(number), truth);
    }
    // Questions are answered after what was sent before.
    history.explain(CaseId(1)).await.unwrap();
}

async fn stopped() -> Configured {
    let file = configured("[server]\ndata_dir = \"data\"\n");
    let folder = file.folder.join("data");
    fs::create_dir_all(&folder).unwrap();
    let metrics: HistoryMetrics = Metrics::new().unwrap().history;
    let path = folder.join("history.redb");
    let (history, _, thread) = History::open(&path, Limits::default(), metrics, 0).unwrap();
    remember(&history).await;
    history.stop();
    thread.join().unwrap();
    file
}

#[tokio::test]
async fn lines_for_training_say_who_says_so() {
    let file = stopped().await;
    let lines = exported(&wanted(&file, Format::Training));
    let expected: Vec<&str> = GOLDEN.lines().collect();
    assert_eq!(lines, expected, "\n{}", lines.join("\n"));
    let reviewed = Arguments {
        reviewed: true,
        ..wanted(&file, Format::Training)
    };
    assert_eq!(exported(&reviewed), expected[..2]);
    let proved = Arguments {
        proved: true,
        ..wanted(&file, Format::Training)
    };
    assert_eq!(exported(&proved), expected[..4]);
    let late = Arguments {
        since: Some(1000),
        ..wanted(&file, Format::Training)
    };
    assert!(exported(&late).is_empty());
    let whole = Arguments {
        addresses: true,
        ..wanted(&file, Format::Training)
    };
    let text = exported(&whole).concat();
    assert!(text.contains("\"2001:db8:1:2::/64\"") && text.contains("\"198.51.100.9\""));
}

#[tokio::test]
async fn chats_are_what_people_said() {
    let file = stopped().await;
    let arguments = wanted(&file, Format::FineTuning);
    let lines = exported(&arguments);
    let chats: Vec<serde_json::Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let answers: Vec<&str> = chats
        .iter()
        .map(|chat| chat["messages"][2]["content"].as_str().unwrap())
        .collect();
    assert_eq!(answers.len(), 2);
    for verdict in ["person", "scraper"] {
        let wanted = format!(r#""verdict":"{verdict}""#);
        assert!(
            answers.iter().any(|answer| answer.contains(&wanted)),
            "{answers:?}"
        );
    }
    let record = chats[0]["messages"][1]["content"].as_str().unwrap();
    assert!(
        record.contains("curl/8.5.0") && !record.contains("192.0.2"),
        "{record}"
    );
    let proved = Arguments {
        proved: true,
        ..arguments
    };
    assert_eq!(exported(&proved).len(), 4);
}

#[tokio::test]
async fn a_file_that_is_there_is_not_overwritten() {
    let file = stopped().await;
    let arguments = wanted(&file, Format::Training);
    fs::write(arguments.out.as_ref().unwrap(), "mine").unwrap();
    let said = run(&arguments).unwrap_err().to_string();
    assert!(said.contains("File exists"), "{said}");
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let file = configured("[server]\ndata_dir = \"data\"\n");
    let said = run(&wanted(&file, Format::Training))
        .unwrap_err()
        .to_string();
    assert!(said.ends_with("history.redb: no such file"), "{said}");
    assert!(!Path::new(&file.resolve("data")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_sidecar_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let text = |callers: &str| {
        format!("[server]\naddress = \"{address}\"\ndata_dir = \"data\"\n{callers}")
    };
    let file = configured(&text(""));
    let (_stop, shutdown) = watch::channel(false);
    let (sidecar, thread, _keeper) = serve::build(&file, shutdown).unwrap();
    remember(&sidecar.history).await;
    let routes = Server::builder().add_service(EscalationServer::new(Service(sidecar.clone())));
    tokio::spawn(routes.serve_with_incoming(TcpIncoming::from(listener)));
    let arguments = wanted(&file, Format::Training);
    let ask = async |arguments: Arguments| {
        let asking = tokio::task::spawn_blocking(move || run(&arguments));
        asking.await.unwrap()
    };
    ask(wanted(&file, Format::Training)).await.unwrap();
    let out = fs::read_to_string(arguments.out.as_ref().unwrap()).unwrap();
    // The newest first.
    let lines: Vec<&str> = out.lines().rev().collect();
    assert_eq!(lines, GOLDEN.lines().collect::<Vec<_>>());
    fs::remove_file(arguments.out.as_ref().unwrap()).unwrap();
    // A caller without the role gets an error that names it.
    let callers = "[[caller]]\nname = \"a\"\ntoken_file = \"a\"\nroles = [\"assess\"]\n";
    fs::write(&arguments.config, text(callers)).unwrap();
    let said = ask(wanted(&file, Format::Training))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("no [[caller]] has the role `watch`"),
        "{said}"
    );
    sidecar.history.stop();
    thread.join().unwrap();
}

#[test]
fn times_are_read() {
    assert_eq!(span("12h"), Ok(43_200_000));
    assert_eq!(span("30d"), Ok(2_592_000_000));
    for wrong in [
        "",
        "d",
        "30",
        "-1d",
        "1w",
        "99999999999999999999d",
        "9999999999999999d",
        "1\u{e9}",
    ] {
        assert!(span(wrong).is_err(), "{wrong}");
    }
}
