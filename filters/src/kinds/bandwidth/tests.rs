//! The pace through its configuration.

use std::time::Duration;

use thornwall_detectors::fixture::Request;
use toml::Spanned;

use super::{Config, MOST_WAIT};
use crate::{
    context::FilterContext,
    filter::{Filter, Holds, Round},
    kinds::Kind,
    verdict::Verdict,
};

#[derive(serde::Deserialize)]
struct File {
    bandwidth: Spanned<Config>,
}

fn build_one(config: &str, context: &mut FilterContext) -> Option<Box<dyn Filter>> {
    let file: File = toml::from_str(config).unwrap();
    Config::build(&file.bandwidth, context).ok()
}

fn ask(filter: &dyn Filter, client: &str, observing: bool) -> Holds {
    let mut round = Round::default();
    round.observe(observing);
    let request = Request::new("GET /", &[]).client(client).at(START);
    let verdict = filter.judge(&request.view(), &mut round).unwrap();
    assert_eq!(verdict, Verdict::Pass);
    round.holds
}

const PIECE: usize = 65_536;
const START: Duration = Duration::from_secs(1);

fn filter() -> Box<dyn Filter> {
    let config = "bandwidth = { bytes_per_sec = 65536, burst_bytes = 131072 }";
    build_one(config, &mut FilterContext::default()).unwrap()
}

#[test]
fn a_burst_at_full_speed_then_the_pace() {
    let filter = filter();
    let mut holds = ask(filter.as_ref(), "192.0.2.1", false);
    let mut now = START;
    let waits = [(); 5].map(|()| {
        let wait = holds.pace(PIECE, now);
        now += wait;
        wait
    });
    let second = Duration::from_secs(1);
    assert_eq!(
        waits,
        [Duration::ZERO, Duration::ZERO, second, second, second]
    );
    // Another answer to the same client shares its pace, another client's does not.
    assert_eq!(
        ask(filter.as_ref(), "192.0.2.1", false).pace(PIECE, now),
        second
    );
    assert_eq!(
        ask(filter.as_ref(), "192.0.2.2", false).pace(PIECE, now),
        Duration::ZERO
    );
}

#[test]
fn no_piece_waits_longer_than_it_may_and_no_debt_lasts() {
    let filter = filter();
    let mut answers: Vec<Holds> = (0..100)
        .map(|_| ask(filter.as_ref(), "192.0.2.1", false))
        .collect();
    let waits = answers.iter_mut().map(|holds| holds.pace(PIECE, START));
    assert_eq!(waits.max(), Some(MOST_WAIT));
    // What was not waited for is forgiven.
    let later = START + MOST_WAIT + Duration::from_secs(2);
    assert_eq!(answers[0].pace(2 * PIECE, later), Duration::ZERO);
}

#[test]
fn who_only_observes_makes_nobody_wait() {
    let mut holds = ask(filter().as_ref(), "192.0.2.1", true);
    let waits = (0..10).map(|_| holds.pace(PIECE, START));
    assert_eq!(waits.max(), Some(Duration::ZERO));
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
        "bandwidth = { bytes_per_sec = 1 }",
        "1",
        "`bytes_per_sec` is 1; expected 16384 to 4000000000",
    );
    check(
        "bandwidth = { bytes_per_sec = 20000, burst_bytes = 2 }",
        "2",
        "`burst_bytes` is 2; expected 65536 to 4000000000",
    );
}
