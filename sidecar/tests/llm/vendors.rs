//! Each vendor's calls and answers.

use serde_json::Value;
use thornwall_sidecar::llm::INSTRUCTIONS;

use super::{
    Bench, case, checked,
    stand_in::{Manner, StandIn},
    step,
};

const SCRAPER: &str = r#"{"verdict":"scraper","confidence":1.0,"reason":"reads everything"}"#;

/// Asks one vendor's model; the call that it got, and its whole body as text.
async fn ask(uri: &str, base: &str) -> (super::stand_in::Question, String) {
    let vendor = StandIn::start(Manner::Says(SCRAPER.to_owned())).await;
    let bench = Bench::new(&format!(
        "[[provider]]\nname = 'one'\nuri = '{uri}'\nendpoint = 'http://{}{base}'\n\
         key_file = 'k'\ninput_price = 1.0\noutput_price = 1.0\n",
        vendor.address
    ));
    let assessment = bench
        .assess(&checked(case(1, 0.5, "agent-of-the-record")), 0)
        .await;
    let step = step(&assessment);
    assert!(!step.failed, "{uri}: {step:?}");
    // 1 - (1 - 0.5) (1 - 0.85), cut at the band's end.
    assert!((step.score - 0.90).abs() < 1e-4, "{uri}: {step:?}");
    assert!(
        step.evidence.contains("scraper (1.00): reads everything"),
        "{step:?}"
    );
    let model = uri.split_once("://").unwrap().1;
    let counted = format!(
        "thornwall_sidecar_llm_verdicts_total{{model=\"{model}\",provider=\"one\",verdict=\"scraper\"}}"
    );
    assert_eq!(bench.metric(&counted), 1.0, "{uri}");
    let spent = bench.metric("thornwall_sidecar_llm_tokens{window=\"hour\"}");
    assert_eq!(spent, 320.0, "{uri}: what the vendor says it took");
    let call = vendor.last();
    let text = call.body.to_string();
    assert!(text.contains("agent-of-the-record"), "{uri}: {text}");
    (call, text)
}

fn bearer(call: &super::stand_in::Question) -> &str {
    call.headers["authorization"].to_str().unwrap()
}

fn content(message: &Value) -> &str {
    message["content"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn openai_and_whoever_speaks_like_it() {
    let (call, text) = ask("openai://gpt-4o-mini", "/v1").await;
    assert_eq!(call.path, "/v1/chat/completions");
    assert_eq!(bearer(&call), "Bearer the-key");
    assert_eq!(call.body["model"], "gpt-4o-mini");
    let messages = call.body["messages"].as_array().unwrap();
    assert_eq!(content(&messages[0]), INSTRUCTIONS);
    assert!(!content(&messages[0]).contains("agent-of-the-record"));
    assert!(content(&messages[1]).starts_with("BEGIN RECORD\n"));
    assert_eq!(call.body["response_format"]["type"], "json_schema");
    assert!(text.contains("\"max_tokens\":200"), "{text}");
}

#[tokio::test]
async fn mistral() {
    let (call, _) = ask("mistral://open-mistral-7b", "/v1/?api-version=1").await;
    assert_eq!(call.path, "/v1/chat/completions");
    assert_eq!(call.query.as_deref(), Some("api-version=1"));
    assert_eq!(bearer(&call), "Bearer the-key");
    assert_eq!(call.body["model"], "open-mistral-7b");
}

#[tokio::test]
async fn anthropic() {
    let (call, _) = ask("anthropic://claude-3-5-haiku-latest", "/v1/").await;
    assert_eq!(call.path, "/v1/messages");
    assert_eq!(call.headers["x-api-key"], "the-key");
    assert!(
        call.body["system"]
            .to_string()
            .contains("You classify clients")
    );
    assert!(
        !call.body["system"]
            .to_string()
            .contains("agent-of-the-record")
    );
    assert_eq!(call.body["max_tokens"], 200);
}

#[tokio::test]
async fn gemini() {
    let (call, _) = ask("gemini://gemini-2.0-flash", "/v1beta/").await;
    assert_eq!(call.path, "/v1beta/models/gemini-2.0-flash:generateContent");
    assert_eq!(call.headers["x-goog-api-key"], "the-key");
    let system = call.body["systemInstruction"].to_string();
    assert!(system.contains("You classify clients"), "{}", call.body);
    assert!(!system.contains("agent-of-the-record"));
}

#[tokio::test]
async fn cohere() {
    let (call, _) = ask("cohere://command-r", "/v1/").await;
    assert_eq!(call.path, "/v1/chat");
    assert_eq!(bearer(&call), "Bearer the-key");
    let preamble = call.body["preamble"].to_string();
    assert!(preamble.contains("You classify clients"), "{}", call.body);
    assert!(!preamble.contains("agent-of-the-record"));
}

#[tokio::test]
async fn ollama() {
    let (call, _) = ask("ollama://llama3.2:1b", "/").await;
    assert_eq!(call.path, "/api/chat");
    assert_eq!(call.body["model"], "llama3.2:1b");
    assert_eq!(content(&call.body["messages"][0]), INSTRUCTIONS);
}
