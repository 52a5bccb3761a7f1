//! What a sidecar may say, and what is refused.

use thornwall_decisions::decision::Action;

use super::*;

const NOW: Moment = Moment {
    own_ms: 5,
    unix_ms: 1_700_000_000_000,
};

fn sent(subject: &str) -> v1::Decision {
    v1::Decision {
        number: 4,
        subject: subject.to_owned(),
        site: "shop".to_owned(),
        action: v1::Action::Deny.into(),
        reason: "sidecar.history".to_owned(),
        evidence: "e".repeat(1_000),
        made_ms: NOW.unix_ms - 1_000,
        until_ms: NOW.unix_ms + 60_000,
        request_ids: vec!["a".repeat(32); 20],
        by_operator: false,
        note: String::new(),
    }
}

fn take(sent: v1::Decision) -> Result<Taken, AnswerError> {
    decision(sent, NOW, |site| site == "shop")
}

fn made(sent: v1::Decision) -> decision::Decision {
    match take(sent) {
        Ok(Taken::Change(Change::Decide(decision))) => decision,
        other => panic!("{other:?}"),
    }
}

#[test]
fn decisions_are_bounded() {
    let decision = made(sent("192.0.2.7"));
    assert_eq!(decision.source, Source::Sidecar);
    assert_eq!(decision.action, Action::Deny);
    assert_eq!(decision.scope, Scope::Site("shop".into()));
    assert_eq!((decision.evidence.len(), decision.requests.len()), (256, 8));
    assert_eq!(decision.until_ms, NOW.unix_ms + 60_000);
    let mut long = sent("2001:db8::/64");
    (long.site, long.until_ms) = (String::new(), u64::MAX);
    let decision = made(long.clone());
    assert_eq!(decision.scope, Scope::Deployment);
    assert_eq!(decision.until_ms, decision.made_ms + LONGEST_MS);
    long.by_operator = true;
    let decision = made(long);
    assert_eq!(decision.source, Source::Operator);
    assert!(decision.until_ms > decision.made_ms + LONGEST_MS);
    // A clock that is ahead makes nothing hold longer.
    let mut ahead = sent("192.0.2.7");
    (ahead.made_ms, ahead.until_ms) = (NOW.unix_ms + 5_000, NOW.unix_ms + 6_000);
    let decision = made(ahead);
    assert_eq!(
        (decision.made_ms, decision.until_ms),
        (NOW.unix_ms, NOW.unix_ms + 1_000)
    );
}

#[test]
fn what_is_no_decision_here_is_let_be() {
    for action in [0, 1, 2, 77] {
        let nothing = v1::Decision {
            action,
            ..sent("192.0.2.7")
        };
        assert_eq!(take(nothing), Ok(Taken::Nothing), "{action}");
    }
    let elsewhere = v1::Decision {
        site: "another".to_owned(),
        ..sent("192.0.2.7")
    };
    assert_eq!(take(elsewhere), Ok(Taken::Nothing));
}

#[test]
fn what_cannot_be_taken_is_refused() {
    let check = |change: &dyn Fn(&mut v1::Decision), expected: AnswerError| {
        let mut bad = sent("192.0.2.7");
        change(&mut bad);
        assert_eq!(take(bad.clone()), Err(expected), "{bad:?}");
    };
    for subject in ["", "shop.example", "192.0.2.7/33", "192.0.2.7 "] {
        check(&|d| d.subject = subject.to_owned(), AnswerError::Subject);
    }
    for subject in ["0.0.0.0/0", "192.0.0.0/23", "::/0", "2001:db8::/47"] {
        check(&|d| d.subject = subject.to_owned(), AnswerError::Wide);
    }
    for reason in ["", "Sidecar", "a b", &"a".repeat(65)] {
        check(&|d| d.reason = reason.to_owned(), AnswerError::Reason);
    }
    check(&|d| d.until_ms = d.made_ms, AnswerError::Time);
    check(&|d| d.until_ms = d.made_ms - 1, AnswerError::Time);
    check(&|d| d.until_ms = NOW.unix_ms, AnswerError::Time);
    let wide = v1::Decision {
        by_operator: true,
        ..sent("198.51.0.0/16")
    };
    assert_eq!(made(wide).source, Source::Operator);
}

#[test]
fn withdrawals_are_their_makers() {
    let sent = v1::Withdrawal {
        number: 5,
        subject: "192.0.2.7".to_owned(),
        site: String::new(),
        made_ms: u64::MAX,
        by_operator: false,
    };
    match withdrawal(&sent, NOW, |_| true) {
        Ok(Taken::Change(Change::Withdraw(taken))) => {
            assert_eq!(taken.source, Source::Sidecar);
            assert_eq!(
                (taken.key.scope, taken.made_ms),
                (Scope::Deployment, NOW.unix_ms)
            );
        }
        other => panic!("{other:?}"),
    }
    let bad = v1::Withdrawal {
        subject: "x".to_owned(),
        ..sent
    };
    assert_eq!(withdrawal(&bad, NOW, |_| true), Err(AnswerError::Subject));
}

#[test]
fn labels_are_checked() {
    let sent = |case: &str, score, reason: &str| v1::Assessment {
        case_id: case.to_owned(),
        score,
        action: v1::Action::Tarpit.into(),
        reason: reason.to_owned(),
        ..v1::Assessment::default()
    };
    let id = "00000000000000000000000000000abc";
    let (case, kept) = assessment(&sent(id, 0.9, "sidecar.rules")).unwrap();
    assert_eq!(
        (case, kept.consequence),
        (CaseId(0xabc), Consequence::Act(Action::Tarpit))
    );
    for (case, score, reason, expected) in [
        ("abc", 0.9, "a", AnswerError::Case),
        (
            "+0000000000000000000000000000abc",
            0.9,
            "a",
            AnswerError::Case,
        ),
        (id, 1.1, "a", AnswerError::Score),
        (id, f32::NAN, "a", AnswerError::Score),
        (id, 0.9, "a\n", AnswerError::Reason),
    ] {
        assert_eq!(
            assessment(&sent(case, score, reason)),
            Err(expected),
            "{case} {score}"
        );
    }
}
