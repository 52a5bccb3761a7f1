//! What an assessment does to the request that waited for it.

use std::cell::Cell;

use thornwall_decisions::decision::ReasonCode;
use thornwall_detectors::signal::Trail;
use thornwall_filters::{
    filter::Holds,
    pipeline::{Notes, Timings},
};

use super::*;
use crate::escalate::Consequence;

fn judgement(throttled: bool) -> Judgement {
    let mut trail = Trail::default();
    trail.push(Signal::new(Reason::MethodUnusual, 0.5));
    Judgement {
        ruling: Ruling::Forward,
        throttled,
        score: trail.score(),
        trail,
        proposal: None,
        referral: None,
        holds: Holds::default(),
        timings: Timings::new(),
        notes: Notes::new(),
    }
}

#[test]
fn an_assessment_counts_for_the_request_that_waited() {
    let slowed = Cell::new(0);
    let check = |consequence: Consequence, throttled: bool, ruling: &str, score: f32| {
        let mut judgement = judgement(throttled);
        let assessment = Assessment {
            score: 0.9,
            consequence,
            reason: ReasonCode::try_from("sidecar.rules".to_owned()).unwrap(),
            pending: false,
        };
        apply(&assessment, &mut judgement, |_| {
            slowed.set(slowed.get() + 1);
            Ruling::Forward
        });
        assert_eq!(judgement.ruling.name(), ruling, "{consequence:?}");
        assert_eq!(judgement.score, score, "{consequence:?}");
        judgement.throttled
    };
    assert!(!check(Consequence::None, false, "forward", 0.5));
    assert!(!check(Consequence::Alert, false, "forward", 0.5));
    assert!(!check(Consequence::Act(Action::Deny), false, "deny", 1.0));
    assert!(!check(
        Consequence::Act(Action::Tarpit),
        false,
        "tarpit",
        1.0
    ));
    assert!(check(
        Consequence::Act(Action::Throttle),
        false,
        "forward",
        0.5
    ));
    assert!(check(
        Consequence::Act(Action::Throttle),
        true,
        "forward",
        0.5
    ));
    // One request is taken from the slower rate once.
    assert_eq!(slowed.get(), 1);
}
