//! What is asked, how often, and for how long it is known.

use std::future::{pending, ready};

use tokio::sync::oneshot;

use super::*;
use crate::fixture::configured;

const LIMITS: Limits = Limits {
    timeout_secs: 1,
    keep_secs: 100,
    keep_failures_secs: 10,
    max_cached: 1024,
    per_hour: 5,
    per_day: 8,
};
const HOUR_MS: u64 = 3_600_000;

fn asker() -> Asker<u32> {
    of(&Services::new().unwrap(), &LIMITS)
}

fn of(services: &Services, limits: &Limits) -> Asker<u32> {
    Asker::new(services.service("oracle", limits), limits)
}

fn good() -> Result<Finding, Failure> {
    Ok(Finding::new(0.3, "it knows".to_owned()))
}

fn bad() -> Result<Finding, Failure> {
    Err(Failure::new("status 500"))
}

#[tokio::test]
async fn one_question_is_asked_once_however_many_have_it() {
    let asker = asker();
    let (sender, receiver) = oneshot::channel();
    let first = asker.ask(1, 0, async {
        receiver.await.unwrap();
        good()
    });
    let second = asker.ask(1, 0, async { panic!("asked twice") });
    let answer = async { sender.send(()).unwrap() };
    let (first, second, ()) = tokio::join!(first, second, answer);
    assert_eq!(first, second);
    assert_eq!(first.unwrap().weight, 0.3);
    let counted = (
        asker.service.metrics.asked.get(),
        asker.service.metrics.cached.get(),
    );
    assert_eq!(counted, (1, 1));
}

#[tokio::test]
async fn whoever_leaves_does_not_keep_others_waiting() {
    let asker = asker();
    {
        let mut left = Box::pin(asker.ask(1, 0, pending()));
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(left.as_mut().poll(context).is_pending())
        });
        assert!(polled.await);
    }
    assert!(asker.ask(1, 0, ready(good())).await.is_ok());
}

#[tokio::test]
async fn answers_and_failures_are_kept_for_their_time() {
    let asker = asker();
    assert_eq!(asker.recall(&1, 0), None);
    asker.ask(1, 0, ready(good())).await.unwrap();
    assert!(asker.recall(&1, 99_999).is_some());
    assert_eq!(asker.recall(&1, 100_000), None);
    // A failure is no answer, and is the answer to all that ask within its time.
    asker.ask(2, 0, ready(bad())).await.unwrap_err();
    assert_eq!(asker.recall(&2, 0), None);
    let again = asker.ask(2, 9_999, ready(good())).await.unwrap_err();
    assert_eq!(again.to_string(), "oracle: status 500");
    assert!(asker.ask(2, 10_000, ready(good())).await.is_ok());
    assert_eq!(asker.service.metrics.failed.get(), 1);
}

#[tokio::test]
async fn what_the_budget_has_no_room_for_is_not_asked() {
    let asker = asker();
    for key in 0..5 {
        asker.ask(key, 0, ready(good())).await.unwrap();
    }
    let refused = asker.ask(5, 0, async { panic!("too much") }).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "oracle: its budget is used up"
    );
    // What is known costs nothing, and an hour later there is room.
    assert!(asker.ask(1, 0, async { panic!("known") }).await.is_ok());
    assert!(asker.ask(5, HOUR_MS, ready(good())).await.is_ok());
    assert_eq!(
        (
            asker.service.metrics.refused.get(),
            asker.service.metrics.asked.get()
        ),
        (1, 6)
    );
}

#[tokio::test]
async fn a_service_that_fails_is_left_alone() {
    let asker = asker();
    for key in 0..3 {
        asker.ask(key, 0, ready(bad())).await.unwrap_err();
    }
    let left = asker.ask(9, 1, async { panic!("left alone") }).await;
    let said = left.unwrap_err().to_string();
    assert_eq!(said, "oracle: not asked for another 60 s after failures");
    assert_eq!(asker.service.metrics.paused.get(), 1);
    assert!(asker.ask(9, 60_000, ready(good())).await.is_ok());
    assert!(asker.ask(10, 60_000, ready(good())).await.is_ok());
}

#[tokio::test]
async fn a_service_that_says_when_is_believed() {
    let asker = asker();
    let enough = Failure {
        what: "status 429".to_owned(),
        pause: Some(Duration::from_secs(1800)),
    };
    asker.ask(1, 0, ready(Err(enough))).await.unwrap_err();
    assert!(asker.ask(2, 1_799_000, ready(good())).await.is_err());
    assert!(asker.ask(2, 1_800_000, ready(good())).await.is_ok());
}

#[test]
fn answers_that_are_none_are_told_apart() {
    let check = |status: u16, body: &str, expected: Option<u64>| {
        let answer = Answer {
            status: status.try_into().unwrap(),
            body: body.as_bytes().to_vec(),
            retry_after: None,
        };
        let pause = json_of(&answer).unwrap_err().pause;
        assert_eq!(pause.map(|pause| pause.as_secs()), expected, "{status}");
    };
    check(200, "x", None);
    check(401, "{}", None);
    check(429, "{}", Some(60));
    check(503, "{}", Some(60));
}

#[test]
fn text_of_others_is_bounded_and_does_nothing() {
    assert_eq!(shown("a\u{1b}[2J\n"), "a\\u{1b}[2J\\n");
    assert!(shown(&"\u{e9}\u{7}".repeat(500)).len() <= MOST_TEXT);
}

#[test]
fn a_key_is_named_and_not_shown() {
    let file = configured("");
    let key = key_of(&file, "x.key_file", "key", true).unwrap();
    assert_eq!(key, "Bearer open-sesame");
    assert!(key.is_sensitive());
    let check = |name: &str, content: Option<&[u8]>, expected: &str| {
        if let Some(content) = content {
            std::fs::write(file.resolve(name), content).unwrap();
        }
        let error = key_of(&file, "x.key_file", name, false).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("`x.key_file`: ") && said.contains(expected),
            "{said}"
        );
        assert!(said.contains(name) && !said.contains("secret"), "{said}");
    };
    check("absent", None, "No such file");
    check("empty", Some(b" \n"), "no key in it");
    check("long", Some(&b"secret".repeat(1000)), "no key in it");
    check("lines", Some(b"secret\nsecret"), "on one line");
    check("bytes", Some(b"secret\xff"), "expected text");
}

#[tokio::test]
async fn what_was_asked_outlives_a_change_of_the_file() {
    let services = Services::new().unwrap();
    let before = of(&services, &LIMITS);
    for key in 0..5 {
        before.ask(key, 0, ready(good())).await.unwrap();
    }
    let same = of(&services, &LIMITS);
    assert!(same.ask(9, 0, ready(good())).await.is_err());
    let more = of(
        &services,
        &Limits {
            per_hour: 6,
            ..LIMITS
        },
    );
    assert!(more.ask(9, 0, ready(good())).await.is_ok());
    assert!(more.ask(10, 0, ready(good())).await.is_err());
}
