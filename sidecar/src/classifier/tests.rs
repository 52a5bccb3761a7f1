//! What a classifier is sent, and what is made of its answers.

use serde_json::{Value, json};

use super::*;
use crate::fixture::{self, Receiver, Reply, configured, dubious, wrong_answers};

fn step(receiver: &Receiver, more: &str) -> Classifier {
    let address = receiver.address;
    let text = format!("[classifier]\naddress = \"http://{address}/judge\"\n{more}");
    let services = Services::new().unwrap();
    let file = configured(&text);
    Classifier::build(&file, &services).unwrap().unwrap()
}

fn say(value: &Value) -> Reply {
    fixture::json(value.to_string())
}

#[tokio::test]
async fn a_case_is_sent_and_a_score_weighs_its_share() {
    let reason = "seen at \u{1b}[31mothers";
    let receiver = Receiver::start([say(&json!({"score": 0.5, "reason": reason}))]).await;
    let step = step(&receiver, "key_file = \"key\"");
    let case = dubious("192.0.2.7");
    let found = step.ask(&case, 0).await.unwrap();
    assert!((found.weight - 0.3).abs() < 1e-6, "{found:?}");
    assert_eq!(found.evidence, "score 0.500: seen at \\u{1b}[31mothers");
    let asked = &receiver.asked()[0];
    assert_eq!(
        (asked.method.as_str(), asked.uri.path()),
        ("POST", "/judge")
    );
    assert_eq!(asked.headers["authorization"], "Bearer open-sesame");
    let sent: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(sent["version"], 1);
    assert_eq!(
        (&sent["subject"], &sent["shape"]),
        (&json!("192.0.2.7"), &json!("00000000000000ff"))
    );
    assert_eq!(sent["seconds"], 60.0);
    assert_eq!(sent["signals"][0]["reason"], "user_agent.http_library");
    assert_eq!(sent["samples"][0]["parameters"], json!(["q"]));
    assert_eq!(sent["claims"]["user_agent"], "curl/8.5.0");
}

#[tokio::test]
async fn the_predecessors_service_is_understood() {
    let answers = [true, false].map(|is_bot| say(&json!({"is_bot": is_bot})));
    let receiver = Receiver::start(answers).await;
    let step = step(&receiver, "format = \"predecessor\"");
    let found = step.ask(&dubious("192.0.2.7"), 0).await.unwrap();
    assert!((found.weight - 0.6).abs() < 1e-6, "{found:?}");
    let sent: Value = serde_json::from_str(&receiver.asked()[0].body).unwrap();
    let expected = json!({
        "ipAddress": "192.0.2.7",
        "userAgent": "curl/8.5.0",
        "referer": "",
        "requestPath": "/item",
        "headers": {"host": "", "user-agent": "curl/8.5.0", "cookie": ""},
    });
    assert_eq!(sent, expected);
    let found = step.ask(&dubious("192.0.2.8"), 0).await.unwrap();
    assert_eq!((found.weight, found.ceiling), (0.0, 1.0));
}

#[tokio::test]
async fn a_case_is_asked_about_again_once_its_requests_have_doubled() {
    let answers = [0.1, 0.9].map(|score| say(&json!({"score": score})));
    let receiver = Receiver::start(answers).await;
    let step = step(&receiver, "");
    let mut case = dubious("192.0.2.7");
    for (requests, expected) in [(4, 0.06), (7, 0.06), (8, 0.54)] {
        case.requests = requests;
        let found = step.ask(&case, 0).await.unwrap();
        assert!(
            (found.weight - expected).abs() < 1e-6,
            "{requests}: {found:?}"
        );
        assert_eq!(step.recall(&case, 0), Some(found));
    }
    case.site = "blog".to_owned();
    assert_eq!(step.recall(&case, 0), None);
}

#[tokio::test]
async fn what_no_classifier_may_answer_is_a_failure() {
    let elsewhere = Receiver::start([]).await;
    let mut answers = wrong_answers(format!("http://{}/", elsewhere.address));
    for (answer, expected) in [
        (json!({"score": 1.5}), "out of range"),
        (json!({"score": -0.1}), "out of range"),
        (json!({"score": "0.5"}), "another form"),
        (json!({"score": 0.5, "reason": 7}), "another form"),
        (json!({"is_bot": true}), "another form"),
    ] {
        answers.push((say(&answer), expected));
    }
    for (reply, expected) in answers {
        let receiver = Receiver::start([reply]).await;
        let step = step(&receiver, "limits = { timeout_secs = 1 }");
        let said = step
            .ask(&dubious("192.0.2.7"), 0)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            said.starts_with("classifier: ") && said.contains(expected),
            "{said}"
        );
    }
    assert!(elsewhere.asked().is_empty());
}

#[test]
fn the_largest_case_is_a_bounded_question() {
    let mut case = dubious("192.0.2.7");
    let text = |length| "\u{1}".repeat(length);
    case.signals = vec![case.signals[0].clone(); 32];
    case.samples = vec![case.samples[0].clone(); 32];
    for sample in &mut case.samples {
        (sample.path, sample.parameters) = (text(256), vec![text(32); 8]);
    }
    case.claims.header_names = vec![text(64); 64];
    case.claims.user_agent = text(256);
    let sent = serde_json::to_vec(&format::Question::of(&case)).unwrap();
    // Each byte of control takes six.
    assert!(sent.len() < 160 << 10, "{}", sent.len());
}
