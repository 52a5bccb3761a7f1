//! How many labels are kept, and who waits for others.

use std::time::Duration;

use tokio::time::timeout;

use super::*;

fn label(score: f32) -> Label {
    Label {
        score,
        consequence: Consequence::Act(Action::Deny),
        reason: ReasonCode::try_from("sidecar.rules".to_owned()).unwrap(),
        pending: false,
    }
}

#[test]
fn the_last_labels_are_kept() {
    const MOST: usize = 1_000;
    let labels = Labels::new(MOST);
    for case in 0..=MOST as u128 {
        labels.keep(CaseId(case), label(0.5));
        labels.keep(CaseId(case), label(0.6));
    }
    assert_eq!(labels.find(CaseId(0)), None);
    assert_eq!(labels.find(CaseId(1)).unwrap().score, 0.6);
    let kept = labels.kept.lock();
    assert_eq!((kept.labels.len(), kept.order.len()), (MOST, MOST));
}

#[tokio::test]
async fn a_word_that_is_not_the_last_ends_no_wait_and_replaces_no_other() {
    let labels = Labels::new(10);
    let pending = |score| Label {
        pending: true,
        ..label(score)
    };
    let waiting = labels.wait(CaseId(1)).unwrap();
    labels.keep(CaseId(1), pending(0.5));
    assert_eq!(labels.find(CaseId(1)), Some(pending(0.5)));
    labels.keep(CaseId(1), label(0.9));
    assert_eq!(waiting.await, Some(label(0.9)));
    labels.keep(CaseId(1), pending(0.6));
    assert_eq!(labels.find(CaseId(1)), Some(label(0.9)));
    assert_eq!(labels.kept.lock().order.len(), 1);
}

#[tokio::test]
async fn those_who_wait_are_told_and_leave_nothing_behind() {
    let labels = Labels::new(10);
    let waiting: Vec<_> = (0..MOST_WAITING.0)
        .map(|_| labels.wait(CaseId(1)).unwrap())
        .collect();
    assert!(labels.wait(CaseId(1)).is_none(), "too many for one case");
    let other = labels.wait(CaseId(2)).unwrap();
    labels.keep(CaseId(1), label(0.9));
    for waiting in waiting {
        assert_eq!(waiting.await, Some(label(0.9)));
    }
    assert!(timeout(Duration::from_millis(5), other).await.is_err());
    let unasked = labels.wait(CaseId(3)).unwrap();
    drop(unasked);
    let dismissed = labels.wait(CaseId(4)).unwrap();
    labels.dismiss();
    assert_eq!(dismissed.await, None);
    let kept = labels.kept.lock();
    assert_eq!((kept.waiting.len(), kept.waiters), (0, 0));
}
