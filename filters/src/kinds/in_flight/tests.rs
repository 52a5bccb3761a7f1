//! The limit through its configuration.

use std::{mem, time::Duration};

use thornwall_detectors::{fixture::Request, signal::Reason};
use toml::Spanned;

use super::Config;
use crate::{
    context::FilterContext,
    filter::{Filter, Round},
    kinds::Kind,
    verdict::{Denial, Refusal, Verdict},
};

#[derive(serde::Deserialize)]
struct File {
    in_flight: Spanned<Config>,
}

fn build_one(config: &str, context: &mut FilterContext) -> Option<Box<dyn Filter>> {
    let file: File = toml::from_str(config).unwrap();
    Config::build(&file.in_flight, context).ok()
}

/// A request that lasts as long as its round.
fn ask(filter: &dyn Filter, client: &str) -> (Verdict, Round) {
    let mut round = Round::default();
    let request = Request::new("GET /", &[]).client(client);
    let verdict = filter.judge(&request.view(), &mut round).unwrap();
    (verdict, round)
}

#[test]
fn so_many_of_a_key_are_under_way_at_once() {
    let check = |status: &str, told: u16| {
        let config = format!("in_flight = {{ most = 2{status} }}");
        let filter = build_one(&config, &mut FilterContext::default()).unwrap();
        let first = ask(filter.as_ref(), "192.0.2.1");
        let second = ask(filter.as_ref(), "192.0.2.1");
        assert_eq!((first.0, second.0), (Verdict::Pass, Verdict::Pass));
        let (verdict, round) = ask(filter.as_ref(), "192.0.2.1");
        let reason = Reason::InFlightExceeded;
        let refusal = Refusal::Busy(told, Duration::from_secs(1));
        assert_eq!(verdict, Verdict::Limit(Denial { reason, refusal }));
        assert!(round.holds.is_empty());
        assert_eq!(round.trail.signals()[0].evidence.to_string(), "client");
        assert_eq!(ask(filter.as_ref(), "192.0.2.2").0, Verdict::Pass);
        drop(second.1);
        assert_eq!(ask(filter.as_ref(), "192.0.2.1").0, Verdict::Pass);
    };
    check("", 429);
    check(", status = 503", 503);
}

#[test]
fn counts_live_on_through_reloads() {
    let mut context = FilterContext::default();
    let before = build_one("in_flight = { most = 1 }", &mut context).unwrap();
    let (_, round) = ask(before.as_ref(), "192.0.2.1");
    context.carry.previous = mem::take(&mut context.carry.carried);
    let after = build_one("in_flight = { most = 2 }", &mut context).unwrap();
    drop(before);
    let passes = |client: &str| ask(after.as_ref(), client);
    let second = passes("192.0.2.1");
    assert_eq!(second.0, Verdict::Pass);
    assert!(matches!(passes("192.0.2.1").0, Verdict::Limit(_)));
    drop(round);
    assert_eq!(passes("192.0.2.1").0, Verdict::Pass);
}

#[test]
fn mistakes_are_reported_where_they_are() {
    let check = |config: &str, place: &str, what: &str| {
        let mut context = FilterContext::default();
        assert!(build_one(config, &mut context).is_none());
        let [problem] = context.report.problems.as_slice() else {
            panic!("{:?}", context.report.problems);
        };
        assert_eq!(&config[problem.span.clone().unwrap()], place);
        assert_eq!(problem.what, what);
    };
    check(
        "in_flight = { most = 0 }",
        "0",
        "`most` is 0; expected 1 to 1000000",
    );
    check(
        "in_flight = { most = 1, status = 500 }",
        "500",
        "`status` is 500; expected 429 or 503",
    );
    check(
        "in_flight = { most = 1, capacity = 1 }",
        "1",
        "`capacity` is 1; expected 1024 to 1048576",
    );
}
