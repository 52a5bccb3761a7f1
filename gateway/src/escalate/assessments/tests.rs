//! How many assessments are kept, and who waits for others.

use std::time::Duration;

use tokio::time::timeout;

use super::*;

fn assessment(score: f32) -> Assessment {
    Assessment {
        score,
        consequence: Consequence::Act(Action::Deny),
        reason: ReasonCode::try_from("sidecar.rules".to_owned()).unwrap(),
        pending: false,
    }
}

#[test]
fn the_last_assessments_are_kept() {
    const MOST: usize = 1_000;
    let assessments = Assessments::new(MOST);
    for case in 0..=MOST as u128 {
        assessments.keep(CaseId(case), assessment(0.5));
        assessments.keep(CaseId(case), assessment(0.6));
    }
    assert_eq!(assessments.find(CaseId(0)), None);
    assert_eq!(assessments.find(CaseId(1)).unwrap().score, 0.6);
    let kept = assessments.kept.lock();
    assert_eq!((kept.assessments.len(), kept.order.len()), (MOST, MOST));
}

#[tokio::test]
async fn a_pending_assessment_ends_no_wait_and_replaces_no_final_one() {
    let assessments = Assessments::new(10);
    let pending = |score| Assessment {
        pending: true,
        ..assessment(score)
    };
    let waiting = assessments.wait(CaseId(1)).unwrap();
    assessments.keep(CaseId(1), pending(0.5));
    assert_eq!(assessments.find(CaseId(1)), Some(pending(0.5)));
    assessments.keep(CaseId(1), assessment(0.9));
    assert_eq!(waiting.await, Some(assessment(0.9)));
    assessments.keep(CaseId(1), pending(0.6));
    assert_eq!(assessments.find(CaseId(1)), Some(assessment(0.9)));
    assert_eq!(assessments.kept.lock().order.len(), 1);
}

#[tokio::test]
async fn those_who_wait_are_answered_and_leave_nothing_behind() {
    let assessments = Assessments::new(10);
    let waiting: Vec<_> = (0..MOST_WAITING.0)
        .map(|_| assessments.wait(CaseId(1)).unwrap())
        .collect();
    assert!(
        assessments.wait(CaseId(1)).is_none(),
        "too many for one case"
    );
    let other = assessments.wait(CaseId(2)).unwrap();
    assessments.keep(CaseId(1), assessment(0.9));
    for waiting in waiting {
        assert_eq!(waiting.await, Some(assessment(0.9)));
    }
    assert!(timeout(Duration::from_millis(5), other).await.is_err());
    let unasked = assessments.wait(CaseId(3)).unwrap();
    drop(unasked);
    let dismissed = assessments.wait(CaseId(4)).unwrap();
    assessments.dismiss();
    assert_eq!(dismissed.await, None);
    let kept = assessments.kept.lock();
    assert_eq!((kept.waiting.len(), kept.waiters), (0, 0));
}
