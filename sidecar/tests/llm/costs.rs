//! What models may cost, and that nothing is paid for twice.

use std::sync::Arc;

use serde_json::json;
use thornwall_sidecar::assessment::Label;
use thornwall_sidecar::case::CaseId;

use super::{
    Bench, case, checked,
    stand_in::{INPUT_TOKENS, Manner, OUTPUT_TOKENS, StandIn},
    step,
};

const UNSURE: &str = r#"{"verdict":"unsure","confidence":0.5,"reason":"x"}"#;
const HOUR_MS: u64 = 3_600_000;

fn settings(server: &StandIn, more: &str) -> String {
    format!(
        "{more}\n[[provider]]\nname = 'one'\nuri = 'openai://m'\nendpoint = 'http://{}/v1'\n\
         key_file = 'k'\ninput_price = 1.0\noutput_price = 4.0\n",
        server.address
    )
}

/// A record of its own for each number: digits would be taken for the same.
fn agent(number: u64) -> String {
    let letter = |shift: u64| char::from(b'a' + u8::try_from((number / shift) % 26).unwrap());
    [letter(17_576), letter(676), letter(26), letter(1)]
        .iter()
        .collect()
}

#[tokio::test]
async fn cases_that_look_the_same_are_paid_for_once() {
    let server = StandIn::start(Manner::Says(UNSURE.to_owned())).await;
    let bench = Arc::new(Bench::new(&settings(&server, "")));
    let all = (0..200_u128).map(|number| {
        let bench = Arc::clone(&bench);
        let alike = case(number, 0.5, "crawler");
        tokio::spawn(async move { bench.assess(&checked(alike), 0).await })
    });
    for one in all.collect::<Vec<_>>() {
        assert!(!step(&one.await.unwrap()).failed);
    }
    assert_eq!(server.count(), 1);
    assert_eq!(bench.metric("thornwall_sidecar_llm_recalled_total"), 199.0);
    // And what is known needs nobody to be asked: the next case is ripe at once.
    let known = bench
        .assessor
        .assess(&checked(case(999, 0.5, "crawler")), 0);
    assert!(!known.assessment.pending);
    let another = bench.assessor.assess(&checked(case(999, 0.5, "other")), 0);
    assert!(another.assessment.pending);
}

/// 24 hours of mixed traffic, with the time passed in: persons, known crawls, cases in doubt that all
/// differ, and bursts. No hour and no day takes more than its budget, as the vendor counts.
#[tokio::test]
async fn no_hour_of_a_day_costs_more_than_it_may() {
    let server = StandIn::start(Manner::Says(UNSURE.to_owned())).await;
    let budget = "[budget]\ntokens_per_hour = 9000\ntokens_per_day = 60000\n\
                  money_per_hour = 0.01\nmoney_per_day = 0.05";
    let bench = Bench::new(&settings(&server, budget));
    let mut asked: Vec<u64> = Vec::new();
    let mut now_ms = 1_700_000_000_000;
    let end_ms = now_ms + 24 * HOUR_MS;
    let mut number = 0;
    while now_ms < end_ms {
        number += 1;
        // Every tenth is in a burst.
        now_ms += if number % 10 == 0 { 200 } else { 45_000 };
        let (score, agent) = match number % 5 {
            0 => (0.2, agent(number)),
            1 => (0.95, agent(number)),
            2 => (0.5, "a known crawl".to_owned()),
            _ => (0.5, agent(number)),
        };
        let before = server.count();
        bench
            .assess(&checked(case(number.into(), score, &agent)), now_ms)
            .await;
        asked.extend((before..server.count()).map(|_| now_ms));
    }
    let each = INPUT_TOKENS + OUTPUT_TOKENS;
    let most = |window_ms: u64| {
        let within = |from: &u64| {
            asked
                .iter()
                .filter(|at| (*from..from + window_ms).contains(*at))
                .count() as u64
        };
        asked.iter().map(within).max().unwrap_or(0)
    };
    let (hour, day) = (most(HOUR_MS) * each, most(24 * HOUR_MS) * each);
    assert!(hour <= 9_000 && day <= 60_000, "{hour} {day}");
    // It was spent, and not saved by asking nobody.
    assert!(hour >= 4_000 && day >= 40_000, "{hour} {day}");
    // A price of 1 and 4 for a million: 380 millionths each.
    assert!(most(HOUR_MS) * 380 <= 10_000 && most(24 * HOUR_MS) * 380 <= 50_000);
    let refused =
        "thornwall_sidecar_llm_failures_total{model=\"m\",provider=\"one\",why=\"budget\"}";
    assert!(bench.metric(refused) > 100.0, "{}", bench.metric(refused));
}

#[tokio::test]
async fn a_budget_of_nothing_asks_nobody() {
    let server = StandIn::start(Manner::Says(UNSURE.to_owned())).await;
    let bench = Bench::new(&settings(&server, "[budget]\nmoney_per_day = 0.0"));
    let assessment = bench.assess(&checked(case(1, 0.5, "x")), 0).await;
    let step = step(&assessment);
    assert!(
        step.failed && step.evidence.contains("budget of money per day"),
        "{step:?}"
    );
    assert_eq!(server.count(), 0);
}

/// All questions at once: what is set aside for each has to be the most that it can cost.
#[tokio::test]
async fn questions_at_once_do_not_exceed_the_budget_together() {
    let wait = std::time::Duration::from_millis(200);
    let server = StandIn::start(Manner::Slow(wait, UNSURE.to_owned())).await;
    let budget = "[budget]\ntokens_per_hour = 10000";
    let settings = settings(&server, budget) + "concurrency = 64\n";
    let bench = Arc::new(Bench::new(&settings));
    let all = (0..40).map(|number| {
        let bench = Arc::clone(&bench);
        let one = case(number.into(), 0.5, &agent(number));
        tokio::spawn(async move { bench.assess(&checked(one), 0).await })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    // A prompt of some 1,500 bytes, its frame and 200 tokens of answer, of which five fit.
    assert!((2..=5).contains(&server.count()), "{}", server.count());
}

/// What answers for a cheap model says how many tokens it took, and the budget is everybody's.
#[tokio::test]
async fn tokens_beyond_reason_use_up_no_budget() {
    let openai = json!({
        "choices": [{"message": {"content": UNSURE}}],
        "usage": {"prompt_tokens": u64::MAX, "completion_tokens": u64::MAX},
    });
    let anthropic = json!({
        "content": [{"type": "text", "text": UNSURE}],
        "usage": {"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": u64::MAX,
            "cache_creation_input_tokens": u64::MAX},
    });
    for (vendor, answer) in [("openai", openai), ("anthropic", anthropic)] {
        let server = StandIn::start(Manner::Raw(200, answer.to_string())).await;
        let settings = settings(&server, "").replace("openai", vendor);
        let bench = Bench::new(&settings);
        for number in 0..3 {
            let one = case(number.into(), 0.5, &agent(number));
            let assessment = bench.assess(&checked(one), 0).await;
            assert!(!step(&assessment).failed, "{assessment:?}");
        }
        assert_eq!(server.count(), 3);
    }
}

#[tokio::test]
async fn a_neighbourhood_has_its_share_and_no_more() {
    let server = StandIn::start(Manner::Says(UNSURE.to_owned())).await;
    let bench = Bench::new(&settings(&server, ""));
    let ask = |number: u64, subject: &str| {
        let mut one = case(number.into(), 0.5, &agent(number));
        one.subject = subject.to_owned();
        checked(one)
    };
    for number in 0..70 {
        let subject = format!("192.0.2.{}", number % 8);
        bench.assess(&ask(number, &subject), 0).await;
    }
    assert_eq!(server.count(), 60);
    let other = bench.assess(&ask(70, "198.51.100.1"), 0).await;
    assert!(!step(&other).failed);
    let later = bench.assess(&ask(71, "192.0.2.1"), HOUR_MS).await;
    assert!(!step(&later).failed);
}

#[tokio::test]
async fn a_verdict_that_was_wrong_about_a_person_serves_no_other() {
    let scraper = r#"{"verdict":"scraper","confidence":1.0,"reason":"x"}"#;
    let server = StandIn::start(Manner::Says(scraper.to_owned())).await;
    let bench = Bench::new(&settings(&server, ""));
    bench.assess(&checked(case(1, 0.5, "browser")), 0).await;
    bench.paid.labelled(CaseId(1), Label::Person);
    server.behave(Manner::Says(UNSURE.to_owned()));
    let other = bench.assess(&checked(case(2, 0.5, "browser")), 0).await;
    assert!((other.score - 0.5).abs() < 1e-4, "{other:?}");
    assert_eq!(server.count(), 2);
}
