//! Decisions as they are written and read.

use std::sync::Arc;

use super::*;

fn decision() -> Decision {
    Decision {
        subject: "192.0.2.7".parse().unwrap(),
        scope: Scope::Site("shop".into()),
        action: Action::Tarpit,
        reason: ReasonCode::Known(Reason::RateLimitClient),
        source: Source::Filter("standard.per_client".into()),
        evidence: "12 in 60 s".to_owned(),
        note: String::new(),
        requests: vec!["0198c0de7f3a7cc0a1b2c3d4e5f60718".to_owned()],
        made_ms: 1_000,
        until_ms: 61_000,
    }
}

#[test]
fn decisions_are_written_as_people_read_them() {
    let text = serde_json::to_string(&decision()).unwrap();
    let expected = concat!(
        r#"{"subject":"192.0.2.7","scope":"shop","action":"tarpit","#,
        r#""reason":"rate_limit.client","source":"filter:standard.per_client","#,
        r#""evidence":"12 in 60 s","requests":["0198c0de7f3a7cc0a1b2c3d4e5f60718"],"#,
        r#""made_ms":1000,"until_ms":61000}"#
    );
    assert_eq!(text, expected);
    assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision());
    let everywhere = text.replace(r#""scope":"shop""#, r#""scope":null"#);
    let everywhere: Decision = serde_json::from_str(&everywhere).unwrap();
    assert_eq!(everywhere.scope, Scope::Deployment);
}

#[test]
fn what_others_wrote_is_bounded() {
    let check = |text: &str, expected: Result<ReasonCode, ()>| {
        let read = ReasonCode::try_from(text.to_owned()).map_err(|_| ());
        assert_eq!(read, expected, "{text}");
    };
    let foreign = |code: &str| Ok(ReasonCode::Foreign(code.into()));
    check(
        "rate_limit.client",
        Ok(ReasonCode::Known(Reason::RateLimitClient)),
    );
    check("of_another.version", foreign("of_another.version"));
    check("", Err(()));
    check("with space", Err(()));
    check(&"a".repeat(65), Err(()));
    for source in ["", "feed:", "nobody", "feed", "operator:x"] {
        assert!(Source::try_from(source.to_owned()).is_err(), "{source}");
    }
    assert_eq!(
        Source::try_from("feed:a:b".to_owned()),
        Ok(Source::Feed(Arc::from("a:b")))
    );
    let mut long = decision();
    long.note = "é".repeat(200);
    long.requests = vec!["x".repeat(300); 20];
    long.until_ms = u64::MAX;
    let bounded = long.bounded();
    assert_eq!(bounded.note.len(), 256);
    assert_eq!(bounded.requests.len(), MOST_REQUESTS);
    assert_eq!(bounded.requests[0].len(), 256);
    assert_eq!(bounded.until_ms, 1_000 + LONGEST.as_millis() as u64);
}

#[test]
fn subjects_are_read_as_operators_write_them() {
    let check = |text: &str, expected: Result<&str, &str>| match (parse_subject(text), expected) {
        (Ok((subject, _)), Ok(expected)) => assert_eq!(subject.to_string(), expected),
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
        (read, _) => panic!("{text}: {read:?}"),
    };
    check("192.0.2.7", Ok("192.0.2.7"));
    check("192.0.2.7/24", Ok("192.0.2.0/24"));
    check("::ffff:192.0.2.7", Ok("192.0.2.7"));
    check("asn:64500", Err("still to come"));
    check("token:abc", Err("still to come"));
    check("shop.example", Err("is not an address"));
    check("fe80::1%eth0", Ok("fe80::1"));
    check("fe80::1%eth0/64", Ok("fe80::/64"));
    check("%/%", Err("is not an address"));
    let warned = parse_subject("192.0.2.7/24").unwrap().1;
    assert!(warned.unwrap().contains("192.0.2.0/24"));
    assert_eq!(parse_subject("192.0.2.7").unwrap().1, None);
}

#[test]
fn actions_are_written_and_numbered_as_ever() {
    let written = [
        (Action::Throttle, 2, "throttle"),
        (Action::Tarpit, 1, "tarpit"),
        (Action::Deny, 0, "deny"),
    ];
    for (action, number, name) in written {
        assert_eq!(action.number(), number);
        assert_eq!(Action::from_number(number), Some(action));
        assert_eq!((action.name(), name.parse()), (name, Ok(action)));
        assert_eq!(serde_json::to_value(action).unwrap(), name);
    }
    assert_eq!(Action::from_number(3), None);
    assert!(Action::ALL.is_sorted() && Action::Throttle < Action::Deny);
    let expected = "expected deny, tarpit or throttle";
    assert_eq!("Deny".parse::<Action>(), Err(expected.to_owned()));
}
