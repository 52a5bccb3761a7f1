//! The limit through its configuration.

use std::{mem, time::Duration};

use http::Method;
use thornwall_detectors::{
    fixture::Request,
    signal::{Reason, Trail},
};
use toml::Spanned;

use super::Config;
use crate::{
    context::FilterContext,
    filter::{Filter, Round},
    kinds::Kind,
    verdict::{Denial, Refusal, Verdict},
    watcher::{Answer, Finished, Note},
};

/// When everything is asked for.
const NOW: Duration = Duration::from_secs(1);

#[derive(serde::Deserialize)]
struct File {
    rate_limit: Spanned<Config>,
}

#[test]
fn each_key_counts_for_itself() {
    let check = |key: &str, reason: Reason, (site, client): (u16, &str), apart: bool| {
        let config = format!("rate_limit = {{ key = '{key}', requests = 1, per_secs = 10 }}");
        let filter = build_one(&config, &mut FilterContext::default()).unwrap();
        assert_eq!(judge(filter.as_ref(), 0, "192.0.2.1"), Verdict::Pass);
        match judge(filter.as_ref(), site, client) {
            Verdict::Pass => assert!(apart, "{key} {site} {client}"),
            Verdict::Limit(Denial {
                reason: given,
                refusal: Refusal::Limited(limit),
            }) => {
                assert!(!apart, "{key} {site} {client}");
                assert_eq!(given, reason);
                assert_eq!((limit.burst, limit.window.as_secs()), (1, 10));
                assert_eq!(limit.retry_after, Duration::from_secs(10));
            }
            other => panic!("{other:?}"),
        }
    };
    check("client", Reason::RateLimitClient, (0, "192.0.2.1"), false);
    check("client", Reason::RateLimitClient, (0, "192.0.2.2"), true);
    check("client", Reason::RateLimitClient, (1, "192.0.2.1"), true);
    check("prefix", Reason::RateLimitPrefix, (0, "192.0.2.2"), false);
    check("prefix", Reason::RateLimitPrefix, (0, "192.0.3.1"), true);
    check("site", Reason::RateLimitSite, (0, "2001:db8::1"), false);
    check("site", Reason::RateLimitSite, (1, "192.0.2.1"), true);
}

#[test]
fn other_keys_are_named_in_the_evidence() {
    let config = "rate_limit = { key = ['path', 'client'], requests = 1, per_secs = 10 }";
    let filter = build_one(config, &mut FilterContext::default()).unwrap();
    assert_eq!(judge(filter.as_ref(), 0, "192.0.2.1"), Verdict::Pass);
    let mut trail = Trail::default();
    let verdict = judge_into(&mut trail, filter.as_ref(), 0, "192.0.2.1");
    assert!(matches!(verdict, Verdict::Limit(_)));
    let signal = trail.signals()[0];
    assert_eq!(signal.reason, Reason::RateLimitKey);
    assert_eq!(signal.evidence.to_string(), "client+path");
    assert_eq!(judge(filter.as_ref(), 0, "192.0.2.2"), Verdict::Pass);
}

#[test]
fn several_limits_stand_beside_each_other() {
    // A burst for each client, and a slower rate for the network that it is in.
    let limits = [
        "key = 'client', requests = 2",
        "key = 'prefix', requests = 3",
    ]
    .map(|keys| format!("rate_limit = {{ {keys}, per_secs = 60 }}"))
    .map(|config| build_one(&config, &mut FilterContext::default()).unwrap());
    let passes = |client: &str| {
        let mut asked = limits.iter().map(|limit| judge(limit.as_ref(), 0, client));
        asked.all(|verdict| verdict == Verdict::Pass)
    };
    assert_eq!([(); 3].map(|()| passes("192.0.2.1")), [true, true, false]);
    assert_eq!([(); 2].map(|()| passes("192.0.2.2")), [true, false]);
    assert!(passes("198.51.100.1"));
}

#[test]
fn the_first_cost_that_fits_is_taken() {
    let config = "rate_limit = { requests = 1, per_secs = 60, burst = 10, costs = [\
        { paths = ['/search*'], methods = ['POST'], cost = 8 }, \
        { paths = ['/search*', '*.pdf'], cost = 3 }] }";
    let filter = build_one(config, &mut FilterContext::default()).unwrap();
    // What is left of ten after each, told by the next that is refused.
    let check = |client: &str, path: &str, method: Method, passes: usize| {
        let ask = || judge_as(filter.as_ref(), client, path, &method) == Verdict::Pass;
        assert_eq!((0..20).filter(|_| ask()).count(), passes, "{method} {path}");
    };
    check("192.0.2.1", "/", Method::GET, 10);
    check("192.0.2.2", "/search?q=x", Method::POST, 1);
    check("192.0.2.3", "/search", Method::GET, 3);
    check("192.0.2.4", "/a.pdf", Method::POST, 3);
    check("192.0.2.5", "/a/..%2Fsearch", Method::POST, 1);
}

#[test]
fn mistakes_are_reported_where_they_are() {
    let check = |config: &str, mistakes: &[(&str, &str)]| {
        let mut context = FilterContext::default();
        assert!(build_one(config, &mut context).is_none());
        let found: Vec<(&str, &str)> = context
            .report
            .problems
            .iter()
            .map(|problem| {
                (
                    &config[problem.span.clone().unwrap()],
                    problem.what.as_str(),
                )
            })
            .collect();
        assert_eq!(found, mistakes);
    };
    check(
        "rate_limit = { requests = 0 }",
        &[("0", "`requests` is 0; expected 1 to 1000000")],
    );
    check(
        "rate_limit = { key = 'asn', requests = 0 }",
        &[
            (
                "'asn'",
                "the fact `asn` is still to come; expected `client`, `prefix`, `site`, `path`, \
                 `header:NAME` or `cookie:NAME`",
            ),
            ("0", "`requests` is 0; expected 1 to 1000000"),
        ],
    );
    check(
        "rate_limit = { requests = 5, costs = [{ paths = ['x'], cost = 6 }, { cost = 1 }] }",
        &[
            ("6", "`cost` is 6; expected 1 to the burst, 5"),
            (
                "'x'",
                "pattern `x` can match nothing; expected a text that starts with `/` or `*`",
            ),
            (
                "{ cost = 1 }",
                "a cost of every request; expected `paths`, `methods` or both",
            ),
        ],
    );
    check(
        "rate_limit = { requests = 5, adaptive = { floor = 6, ceiling = 4, headroom = 0.5 } }",
        &[
            ("6", "`floor` is 6; expected at most `requests`, 5"),
            ("4", "`ceiling` is 4; expected at least `requests`, 5"),
            ("0.5", "`headroom` is 0.5; expected 1 to 100"),
        ],
    );
    check(
        "rate_limit = { requests = 5, adaptive = { floor = 0, ceiling = 1000001 } }",
        &[
            ("0", "`floor` is 0; expected 1 to 1000000"),
            ("1000001", "`ceiling` is 1000001; expected 1 to 1000000"),
        ],
    );
    check(
        "rate_limit = { requests = 5, counts = 'pages', adaptive = { floor = 1, mode = 'observe' } }",
        &[(
            "{ floor = 1, mode = 'observe' }",
            "a changed limit that observes counts requests; expected `counts = \"requests\"`, or \
             `mode = \"enforce\"`",
        )],
    );
    check(
        "rate_limit = { requests = 5, burst = 1000001, per_secs = 86401, capacity = 1023 }",
        &[
            ("86401", "`per_secs` is 86401; expected 1 to 86400"),
            ("1000001", "`burst` is 1000001; expected 1 to 1000000"),
            ("1023", "`capacity` is 1023; expected 1024 to 16777216"),
        ],
    );
}

#[test]
fn a_limit_for_a_whole_site_deserves_a_second_look() {
    let warnings = |key: &str| {
        let mut context = FilterContext::default();
        let config = format!("rate_limit = {{ key = '{key}', requests = 1 }}");
        assert!(build_one(&config, &mut context).is_some());
        context.report.warnings.len()
    };
    assert_eq!(
        ["client", "path", "site", "cookie:a"].map(warnings),
        [0, 1, 1, 0]
    );
}

#[test]
fn counts_survive_a_reload_that_leaves_the_limit_alone() {
    let check = |next: &str, survives: bool| {
        let mut context = FilterContext::default();
        context.report.scope = String::from("standard.per_client");
        let before = build_one("rate_limit = { requests = 1 }", &mut context).unwrap();
        assert_eq!(judge(before.as_ref(), 0, "192.0.2.1"), Verdict::Pass);
        assert_eq!(context.tables[0].0, "standard.per_client.buckets");
        context.carry.previous = mem::take(&mut context.carry.carried);
        let after = build_one(next, &mut context).unwrap();
        let verdict = judge(after.as_ref(), 0, "192.0.2.1");
        assert_eq!(matches!(verdict, Verdict::Limit(_)), survives, "{next}");
    };
    check("rate_limit = { requests = 1 }", true);
    check(
        "rate_limit = { requests = 1, burst = 1, per_secs = 1 }",
        true,
    );
    check("rate_limit = { requests = 1, burst = 2 }", false);
    check("rate_limit = { requests = 1, per_secs = 2 }", false);
    check("rate_limit = { requests = 1, capacity = 2048 }", false);
    check("rate_limit = { requests = 1, counts = 'pages' }", false);
}

/// Asks at once, as what takes anything, and tells what the answer was; whether it passed.
fn ask_page(filter: &dyn Filter, path: &str, page: bool) -> bool {
    let mut round = Round::default();
    let verdict = judge_round(&mut round, filter, (0, "192.0.2.1", path, &Method::GET));
    if let Some(note) = round.note {
        let answer = Answer {
            asked: NOW,
            now: NOW,
            page: Some(page),
        };
        filter.watcher().unwrap().answered(&note, &answer);
    }
    verdict == Verdict::Pass
}

#[test]
fn a_limit_of_pages_counts_what_the_origin_answers_with_one() {
    let check = |more: &str, path: &str, page: bool, passes: usize| {
        let config = format!("rate_limit = {{ counts = 'pages', requests = 4{more} }}");
        let filter = build_one(&config, &mut FilterContext::default()).unwrap();
        let asked = (0..50).filter(|_| ask_page(filter.as_ref(), path, page));
        assert_eq!(asked.count(), passes, "{more} {path} {page}");
    };
    check("", "/a", false, 50);
    // The last of them finds an empty bucket, and leaves a debt.
    check("", "/a", true, 5);
    check(", burst = 10", "/logo.png?page=1", true, 11);
    let costs = ", burst = 10, costs = [{ paths = ['/search*'], cost = 5 }]";
    check(costs, "/a", true, 11);
    check(costs, "/search", true, 3);
    check(", adaptive = { floor = 2, ceiling = 8 }", "/a", true, 9);
}

#[test]
fn what_a_limit_of_pages_refuses_says_so() {
    let config = "rate_limit = { counts = 'pages', requests = 1 }";
    let mut context = FilterContext::default();
    context.report.scope = String::from("standard.pages");
    let filter = build_one(config, &mut context).unwrap();
    assert_eq!(context.tables[0].0, "standard.pages.pages");
    assert!(
        [(); 2]
            .iter()
            .all(|()| ask_page(filter.as_ref(), "/", true))
    );
    let mut trail = Trail::default();
    let verdict = judge_into(&mut trail, filter.as_ref(), 0, "192.0.2.1");
    assert!(matches!(verdict, Verdict::Limit(_)));
    let signal = trail.signals()[0];
    assert_eq!(signal.reason, Reason::RateLimitClient);
    assert_eq!(signal.evidence.to_string(), "pages by client");
}

/// Seconds in which ten answers came, all of them failures.
fn fail(filter: &dyn Filter, site: u16, secs: std::ops::Range<u64>) {
    for number in secs.start * 10..secs.end * 10 {
        filter.watcher().unwrap().watch(
            &Note {
                in_use: 1,
                claim: None,
            },
            &Finished {
                site,
                now: Duration::from_millis(number * 100),
                status: Some(503),
                page: Some(false),
                suspect: false,
                took: None,
                load: None,
            },
        );
    }
}

/// How many of fifty requests at once pass.
fn passing(filter: &dyn Filter, site: u16) -> usize {
    let asked = (0..50).map(|_| judge(filter, site, "192.0.2.1"));
    asked.filter(|verdict| *verdict == Verdict::Pass).count()
}

#[test]
fn a_limit_closes_while_the_origin_fails_and_for_its_site_alone() {
    for key in ["client", "site", "path"] {
        let config = format!(
            "rate_limit = {{ key = '{key}', requests = 20, adaptive = {{ floor = 4, ceiling = 40 }} }}"
        );
        let mut context = FilterContext::default();
        let filter = build_one(&config, &mut context).unwrap();
        assert_eq!(passing(filter.as_ref(), 3), 40, "{key}");
        fail(filter.as_ref(), 1, 1..30);
        assert_eq!(passing(filter.as_ref(), 1), 4, "{key}");
        assert_eq!(passing(filter.as_ref(), 2), 40, "{key}");
        assert_eq!(context.adaptive[0].1.limit(1), 4);
    }
}

#[test]
fn an_observing_limit_notes_whom_it_would_have_refused() {
    let config = "rate_limit = { requests = 20, adaptive = { floor = 4, mode = 'observe' } }";
    let mut context = FilterContext::default();
    let filter = build_one(config, &mut context).unwrap();
    fail(filter.as_ref(), 1, 1..30);
    let noted = |client: &str| {
        let mut trail = Trail::default();
        let verdict = judge_into(&mut trail, filter.as_ref(), 1, client);
        let noted = trail.signals().iter().map(|signal| signal.reason);
        (
            matches!(verdict, Verdict::Limit(_)),
            noted.collect::<Vec<_>>(),
        )
    };
    let would = vec![Reason::RateLimitAdaptive];
    for number in 1..=20 {
        let expected = if number > 4 { would.clone() } else { vec![] };
        assert_eq!(noted("192.0.2.1"), (false, expected), "{number}");
    }
    assert_eq!(noted("192.0.2.1"), (true, vec![Reason::RateLimitClient]));
    assert_eq!(noted("192.0.2.2"), (false, vec![]));
    let tables: Vec<&str> = context
        .tables
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(tables, [".buckets", ".observed"]);
}

#[test]
fn what_was_learnt_survives_a_reload_that_leaves_bounds_and_key_alone() {
    let check = |next: &str, survives: bool| {
        let mut context = FilterContext::default();
        let config = "rate_limit = { requests = 20, adaptive = { floor = 4 } }";
        let before = build_one(config, &mut context).unwrap();
        fail(before.as_ref(), 1, 1..30);
        context.carry.previous = mem::take(&mut context.carry.carried);
        let after = build_one(&format!("rate_limit = {{ {next} }}"), &mut context).unwrap();
        assert_eq!(passing(after.as_ref(), 1) == 4, survives, "{next}");
    };
    check("requests = 20, adaptive = { floor = 4 }", true);
    check(
        "requests = 20, capacity = 2048, adaptive = { floor = 4 }",
        true,
    );
    check(
        "requests = 20, key = 'prefix', adaptive = { floor = 4 }",
        false,
    );
    check(
        "requests = 20, per_secs = 2, adaptive = { floor = 4 }",
        false,
    );
    check("requests = 20, adaptive = { floor = 5 }", false);
    check("requests = 20", false);
}

#[test]
fn a_limit_that_stays_has_nothing_to_learn() {
    let filter = build_one(
        "rate_limit = { requests = 1 }",
        &mut FilterContext::default(),
    );
    assert!(filter.unwrap().watcher().is_none());
}

fn build_one(config: &str, context: &mut FilterContext) -> Option<Box<dyn Filter>> {
    let file: File = toml::from_str(config).unwrap();
    Config::build(&file.rate_limit, context).ok()
}

fn judge(filter: &dyn Filter, site: u16, client: &str) -> Verdict {
    judge_into(&mut Trail::default(), filter, site, client)
}

fn judge_into(trail: &mut Trail, filter: &dyn Filter, site: u16, client: &str) -> Verdict {
    judge_view(trail, filter, (site, client, "/", &Method::GET))
}

fn judge_as(filter: &dyn Filter, client: &str, path: &str, method: &Method) -> Verdict {
    judge_view(&mut Trail::default(), filter, (0, client, path, method))
}

/// Site, client, path and method.
type Sent<'a> = (u16, &'a str, &'a str, &'a Method);

fn judge_view(trail: &mut Trail, filter: &dyn Filter, sent: Sent<'_>) -> Verdict {
    let mut round = Round::default();
    let verdict = judge_round(&mut round, filter, sent);
    *trail = round.trail;
    verdict
}

fn judge_round(
    round: &mut Round,
    filter: &dyn Filter,
    (site, client, path, method): Sent<'_>,
) -> Verdict {
    let request = Request::new(&format!("{method} {path}"), &[])
        .client(client)
        .site(site)
        .at(NOW);
    filter.judge(&request.view(), round).unwrap()
}
