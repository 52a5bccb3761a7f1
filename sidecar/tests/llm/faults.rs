//! A model that is slow, busy, broken or talkative costs its case nothing but its opinion.

use std::time::Duration;

use super::{
    Bench, case, checked,
    stand_in::{Manner, StandIn},
    step,
};

const SCRAPER: &str = r#"{"verdict":"scraper","confidence":1.0,"reason":"x"}"#;

fn provider(name: &str, server: &StandIn, more: &str) -> String {
    format!(
        "[[provider]]\nname = '{name}'\nuri = 'openai://m'\nendpoint = 'http://{}/v1'\n\
         timeout_secs = 1\nretries = 0\nlocal = true\n{more}\n",
        server.address
    )
}

/// What is said of a model with this manner, which came to nothing.
async fn failure(manner: Manner) -> (String, f64) {
    let server = StandIn::start(manner).await;
    let bench = Bench::new(&provider("one", &server, ""));
    let assessment = bench.assess(&checked(case(1, 0.5, "x")), 0).await;
    let step = step(&assessment);
    assert!(step.failed && (step.score - 0.5).abs() < 1e-4, "{step:?}");
    let spent = bench.metric("thornwall_sidecar_llm_tokens{window=\"hour\"}");
    (step.evidence.clone(), spent)
}

#[tokio::test]
async fn what_is_no_answer_is_none() {
    let huge = format!(
        "{{\"verdict\":\"scraper\",\"confidence\":1,\"reason\":\"{}\"}}",
        "x".repeat(1 << 20)
    );
    let large = "x".repeat(100_000);
    let wrong_schema = r#"{"bot":true,"certainty":"high"}"#;
    let says = |text: &str| Manner::Says(text.to_owned());
    for (manner, expected, is_paid) in [
        (says("I think that it is a scraper."), "not the JSON", true),
        (says(""), "an empty answer", true),
        (says(&huge), "longer than any verdict", true),
        (says(&large), "an answer of 100", true),
        (Manner::Endless, "longer than any verdict", true),
        (says(wrong_schema), "not the JSON", true),
        (Manner::Raw(429, "{}".to_owned()), "429", false),
        (Manner::Raw(500, "{}".to_owned()), "500", true),
        (
            Manner::Raw(401, "{\"error\":\"the-key\"}".to_owned()),
            "401",
            false,
        ),
        (Manner::Raw(200, String::new()), "not JSON", true),
        (
            Manner::Raw(200, "x".repeat(1 << 20)),
            "longer than any verdict",
            true,
        ),
        (Manner::Raw(200, "x".repeat(1 << 10)), "not JSON", true),
        (Manner::Raw(200, "{}".to_owned()), "an empty answer", true),
        (Manner::Raw(302, String::new()), "302", false),
        (
            Manner::Slow(Duration::from_secs(3), SCRAPER.to_owned()),
            "within its time",
            true,
        ),
    ] {
        let shown = format!("{manner:?}").chars().take(80).collect::<String>();
        let (evidence, spent) = failure(manner).await;
        assert!(evidence.contains(expected), "{shown}: {evidence}");
        assert!(!evidence.contains("the-key"), "{evidence}");
        // Whoever may have charged for it is taken to have done so.
        assert_eq!(spent > 0.0, is_paid, "{shown}: {spent}");
    }
}

#[tokio::test]
async fn who_is_busy_is_asked_again() {
    let server = StandIn::start(Manner::Recovers(2, 429, SCRAPER.to_owned())).await;
    let bench = Bench::new(&provider("one", &server, "").replace("retries = 0", "retries = 2"));
    let assessment = bench.assess(&checked(case(1, 0.5, "x")), 0).await;
    assert!(!step(&assessment).failed);
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn another_provider_answers_for_one_that_is_away() {
    let (away, there) = (
        StandIn::start(Manner::Raw(503, "{}".to_owned())).await,
        StandIn::start(Manner::Says(SCRAPER.to_owned())).await,
    );
    let both = provider("away", &away, "") + &provider("there", &there, "");
    let bench = Bench::new(&both);
    for number in 0..5_u8 {
        // Records that differ, as the same one is asked about once.
        let agent = format!("agent {}", char::from(b'a' + number));
        let assessment = bench
            .assess(
                &checked(case(number.into(), 0.5, &agent)),
                1_000 * u64::from(number),
            )
            .await;
        assert!(
            step(&assessment)
                .evidence
                .starts_with("there/m says scraper")
        );
    }
    // After three failures it is left alone.
    assert_eq!((away.count(), there.count()), (3, 5));
    let later = bench.assess(&checked(case(9, 0.5, "later")), 70_000).await;
    assert!(!step(&later).failed);
    assert_eq!(away.count(), 4);
}

#[tokio::test]
async fn where_two_disagree_the_milder_counts() {
    let (harsh, mild) = (
        StandIn::start(Manner::Says(SCRAPER.to_owned())).await,
        StandIn::start(Manner::Says(
            r#"{"verdict":"person","confidence":0.9,"reason":"reads"}"#.to_owned(),
        ))
        .await,
    );
    let both = provider("harsh", &harsh, "") + &provider("mild", &mild, "");
    let bench = Bench::new(&format!("second_opinion = 1.0\n{both}"));
    let assessment = bench.assess(&checked(case(1, 0.5, "x")), 0).await;
    let step = step(&assessment);
    assert!((step.score - 0.5).abs() < 1e-4, "{step:?}");
    assert!(
        step.evidence.starts_with("harsh/m and mild/m says person"),
        "{step:?}"
    );
    let opinions =
        "thornwall_sidecar_llm_second_opinions_total{agrees=\"no\",model=\"m\",provider=\"mild\"}";
    assert_eq!(bench.metric(opinions), 1.0);
    // A trap proves who was right.
    let id = assessment.case;
    bench
        .paid
        .proved(id, thornwall_sidecar::assessment::Truth::Trap);
    bench
        .paid
        .proved(id, thornwall_sidecar::assessment::Truth::Trap);
    for (name, word) in [("harsh", "scraper"), ("mild", "person")] {
        let truth = format!(
            "thornwall_sidecar_llm_truth_total{{model=\"m\",provider=\"{name}\",truth=\"trap\",verdict=\"{word}\"}}"
        );
        assert_eq!(bench.metric(&truth), 1.0, "{name}");
    }
}
