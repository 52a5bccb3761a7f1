//! What cases come to.

use thornwall_decisions::decision::Action;

use super::*;
use crate::{
    case::{CaseId, Claims, Noticed, Sample},
    config::LadderSpec,
};

mod parity;

fn assessor() -> Assessor {
    with_steps(Vec::new())
}

fn with_steps(steps: Vec<Arc<dyn Step>>) -> Assessor {
    let memory = Arc::new(Memory::default());
    Assessor::new(LadderSpec::default(), Band::default(), memory, steps)
}

/// Condemns another case of this client for an hour.
fn condemn(assessor: &Assessor, case: &Case, id: u128, when_ms: u64) {
    assessor.memory().condemn(&Condemnation {
        id: CaseId(id),
        site: &case.site,
        subject: case.subject,
        shape: case.shape,
        when_ms,
        until_ms: when_ms + 3_600_000,
    });
}

fn case(signals: &[(&str, f32)], gaps_ms: &[u32]) -> Case {
    let noticed = |(reason, weight): &(&str, f32)| Noticed {
        reason: (*reason).to_owned(),
        weight: *weight,
    };
    let mut after_ms = 0;
    let mut samples = Vec::new();
    for (number, gap) in gaps_ms.iter().enumerate() {
        after_ms += gap;
        samples.push(Sample {
            after_ms,
            method: "GET".to_owned(),
            path: format!("/item/{number}"),
            parameters: Vec::new(),
            score: 0.5,
        });
    }
    Case {
        id: CaseId(1),
        site: "shop".to_owned(),
        subject: "192.0.2.7".parse().unwrap(),
        shape: 9,
        requests: u32::try_from(gaps_ms.len().max(1)).unwrap(),
        first_ms: 1_000,
        last_ms: 1_000 + u64::from(after_ms),
        score: 0.0,
        signals: signals.iter().map(noticed).collect(),
        samples,
        claims: Claims::default(),
        request_ids: Vec::new(),
    }
}

#[test]
fn every_step_only_adds() {
    let assessed = assessor().assess(&case(&[("path.probe", 0.5)], &[200; 20]), 5_000);
    let scores: Vec<f32> = assessed
        .assessment
        .steps
        .iter()
        .map(|step| step.score)
        .collect();
    assert!(scores.is_sorted(), "{scores:?}");
    assert!(scores[0] >= 0.5);
    let names: Vec<&str> = assessed
        .assessment
        .steps
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(names, ["history", "rules"]);
}

#[test]
fn a_clock_that_reads_pages_alone_is_told_from_a_reader() {
    let score = |gaps: &[u32]| {
        assessor()
            .assess(&case(&[("x", 0.5)], gaps), 5_000)
            .assessment
            .score
    };
    let robot = score(&[2_000; 20]);
    let reader = score(&[
        900, 31_000, 4_200, 65_000, 12_000, 1_100, 140_000, 9_000, 20_000, 3_300,
    ]);
    assert!(robot > 0.7, "{robot}");
    assert!(reader < 0.65, "{reader}");
}

#[test]
fn who_was_condemned_before_is_for_longer() {
    let assessor = assessor();
    let bad = case(&[("user_agent.scanner", 0.99)], &[]);
    let first = assessor.assess(&bad, 5_000);
    assert_eq!(first.assessment.consequence, Consequence::Act(Action::Deny));
    assert_eq!(first.lifetime_ms, Some(3_600_000));
    condemn(&assessor, &bad, 2, 5_000);
    let second = assessor.assess(&bad, 6_000);
    assert_eq!(second.lifetime_ms, Some(7_200_000));
    // A week later nobody remembers.
    let later = assessor.assess(&bad, 6_000 + 7 * 24 * 3_600_000);
    assert_eq!(later.lifetime_ms, Some(3_600_000));
}

#[test]
fn neighbours_and_shapes_count_a_little_and_within_their_site() {
    let assessor = assessor();
    for host in 10..20 {
        let other = Case {
            subject: format!("192.0.2.{host}").parse().unwrap(),
            ..case(&[], &[])
        };
        condemn(&assessor, &other, host, 5_000);
    }
    let dubious = case(&[("x", 0.5)], &[]);
    let near = assessor.assess(&dubious, 6_000).assessment.score;
    assert!(near > 0.7 && near < 0.85, "{near}");
    let elsewhere = Case {
        site: "blog".to_owned(),
        ..dubious.clone()
    };
    let score = assessor.assess(&elsewhere, 6_000).assessment.score;
    assert!((score - 0.5).abs() < 1e-4, "{score}");
    let later = assessor
        .assess(&dubious, 5_000 + 3_600_000)
        .assessment
        .score;
    assert!((later - 0.5).abs() < 1e-4, "{later}");
}

#[test]
fn a_persons_word_spares() {
    let assessor = assessor();
    let bad = case(&[("user_agent.scanner", 0.99)], &[]);
    assessor
        .memory()
        .label(&bad.site, bad.subject, Label::WelcomeBot);
    let spared = assessor.assess(&bad, 5_000);
    assert_eq!(spared.assessment.consequence, Consequence::None);
    assert_eq!(spared.lifetime_ms, None);
    assessor
        .memory()
        .label(&bad.site, bad.subject, Label::Scraper);
    assert_eq!(
        assessor.assess(&bad, 5_000).assessment.consequence,
        Consequence::Act(Action::Deny)
    );
}

#[test]
fn the_reason_is_what_weighed_most() {
    let found = assessor().assess(&case(&[("a", 0.2), ("b", 0.4)], &[]), 5_000);
    assert_eq!(found.assessment.reason, "b");
    let found = assessor().assess(&case(&[("a", 0.1)], &[100; 30]), 5_000);
    assert_eq!(found.assessment.reason, "sidecar.rules");
}

#[test]
fn a_case_is_no_evidence_against_itself_while_it_is_condemned() {
    let assessor = assessor();
    let bad = case(&[("user_agent.scanner", 0.99)], &[]);
    for when_ms in [5_000, 6_000, 7_000] {
        condemn(&assessor, &bad, 1, when_ms);
    }
    let again = assessor.assess(&bad, 8_000);
    assert_eq!(again.lifetime_ms, Some(3_600_000));
    // Whoever comes back after its time has not learnt from it.
    let later = assessor.assess(&bad, 7_000 + 3_600_000);
    assert_eq!(later.lifetime_ms, Some(7_200_000));
}

/// A step that is always sure, up to a ceiling.
struct Sure(f32);

#[async_trait::async_trait]
impl Step for Sure {
    fn name(&self) -> &'static str {
        LANGUAGE_MODEL
    }

    fn recall(&self, _: &Case, _: u64) -> Option<Finding> {
        Some(Finding {
            weight: 1.0,
            ceiling: self.0,
            evidence: String::new(),
        })
    }

    async fn ask(&self, case: &Case, now_ms: u64) -> Result<Finding, StepError> {
        self.recall(case, now_ms)
            .ok_or_else(|| StepError(String::new()))
    }
}

#[tokio::test]
async fn a_step_with_a_ceiling_lifts_what_is_in_doubt_and_no_further() {
    let assessor = with_steps(vec![Arc::new(Sure(0.90))]);
    for (signal, expected, lifted) in [
        (0.2, 0.2, false),
        (0.5, 0.9, true),
        (0.89, 0.9, true),
        (0.95, 0.95, false),
    ] {
        let dubious = case(&[("x", signal)], &[]);
        let recalled = assessor.assess(&dubious, 0).assessment;
        let asked = assessor.assess_fully(&dubious, 0).await.assessment;
        for found in [recalled, asked] {
            assert!((found.score - expected).abs() < 1e-4, "{signal}: {found:?}");
            assert_eq!(is_lifted(&found.steps), lifted, "{signal}");
        }
    }
}
