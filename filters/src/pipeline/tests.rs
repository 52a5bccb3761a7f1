//! The runner's duties, each with filters that do nothing but what the test says.

mod lab;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use prometheus::Registry;
use thornwall_detectors::{
    fixture::Request,
    request::RequestView,
    signal::{Reason, Signal},
};

use thornwall_decisions::decision::Action;
use thornwall_settings::report::Report;

use crate::{
    context::FilterContext,
    decide::Proposal,
    filter::{Filter, FilterError, Hold, Round},
    kinds::KindFacts,
    metrics::FilterMetrics,
    mode::{Mode, OnError},
    pipeline::{Judgement, Pipeline, PipelineSpec, Stage},
    verdict::{Answer, Denial, Ruling, Verdict},
    watcher::{Answer as Begun, Finished, Note, Watcher},
    when::Condition,
};

/// Says the same about every request.
struct Says {
    signal: Option<f32>,
    verdict: Result<Verdict, &'static str>,
}

impl Filter for Says {
    fn judge(&self, _: &RequestView<'_>, round: &mut Round) -> Result<Verdict, FilterError> {
        if let Some(weight) = self.signal {
            round.trail.push(Signal::new(Reason::PathProbe, weight));
        }
        self.verdict.map_err(|error| FilterError(error.to_owned()))
    }
}

/// Leaves a hold with each request.
struct Holding(Arc<AtomicUsize>);

struct Held(Arc<AtomicUsize>);

impl Filter for Holding {
    fn judge(&self, _: &RequestView<'_>, round: &mut Round) -> Result<Verdict, FilterError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        round.holds.keep(Held(Arc::clone(&self.0)));
        Ok(Verdict::Pass)
    }
}

impl Hold for Held {
    fn pace(&mut self, _: usize, _: Duration) -> Duration {
        Duration::from_secs(1)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn metrics() -> FilterMetrics {
    FilterMetrics::register(&Registry::new()).unwrap()
}

/// A pipeline with the shipped ladder and the given filters.
fn pipeline(stages: Vec<Stage>) -> Pipeline {
    let spec: PipelineSpec = toml::from_str(
        "name = \"p\"\n[ladder]\nthrottle = 0.5\ntarpit = 0.8\ndeny = 0.95\n\
         [throttle]\nrequests = 1\nper_secs = 10\nburst = 2\nparts = 3\n",
    )
    .unwrap();
    let mut context = FilterContext::default();
    let mut pipeline = Pipeline::build(&spec, &metrics(), &mut context).unwrap();
    assert_eq!(context.report.problems, []);
    pipeline.stages = stages;
    pipeline
}

fn stage(signal: Option<f32>, verdict: Result<Verdict, &'static str>) -> Stage {
    Stage {
        name: "s".to_owned(),
        kind: KindFacts {
            name: "test",
            cost: "",
        },
        enforces_decisions: false,
        filter: Box::new(Says { signal, verdict }),
        mode: Mode::Enforce,
        on_error: OnError::Pass,
        condition: None,
        decide: None,
        metrics: metrics().stage("p", "s", Mode::Enforce),
    }
}

fn judge_at(pipeline: &Pipeline, client: &str, now: Duration) -> Judgement {
    let request = Request::new("GET /a", &[]).client(client).at(now);
    pipeline.judge(&request.view())
}

fn judge(pipeline: &Pipeline) -> Judgement {
    judge_at(pipeline, "192.0.2.1", Duration::ZERO)
}

const DENIED: Verdict = Verdict::Act(Action::Deny, Reason::BlocklistListed);

fn denied(reason: Reason) -> Ruling {
    Ruling::Answer(Answer::Deny(Denial::forbidden(reason)))
}

#[test]
fn the_ladder_turns_the_score_into_an_action() {
    let check = |weights: &[f32], expected: Ruling| {
        let stages = weights
            .iter()
            .map(|weight| stage(Some(*weight), Ok(Verdict::Pass)));
        let judgement = judge(&pipeline(stages.collect()));
        assert_eq!(
            judgement.ruling, expected,
            "{weights:?} make {}",
            judgement.score
        );
    };
    let held = Ruling::Answer(Answer::Tarpit(Reason::PathProbe));
    check(&[], Ruling::Forward);
    check(&[0.49], Ruling::Forward);
    check(&[0.79], Ruling::Forward);
    check(&[0.8], held);
    check(&[0.6, 0.6], held);
    check(&[0.95], denied(Reason::PathProbe));
    check(&[0.8, 0.8], denied(Reason::PathProbe));
}

#[test]
fn a_throttled_client_meets_429_only_above_its_slower_rate() {
    let pipeline = pipeline(vec![stage(Some(0.6), Ok(Verdict::Pass))]);
    let ask = |client: &str, secs: u64, page: bool| {
        let now = Duration::from_secs(secs);
        let judgement = judge_at(&pipeline, client, now);
        let answer = Begun {
            asked: now,
            now,
            page: Some(page),
        };
        pipeline.answered(&judgement.notes, &answer);
        judgement.ruling
    };
    let refused = |ruling: Ruling| {
        assert_eq!(ruling.name(), "limit");
        assert_eq!(ruling.reason(), Some(Reason::ThrottleExceeded));
    };
    // Two pages at once, with two parts for each that do not have the name of a part and get what they
    // paid back.
    for (page, number) in [(true, 1), (false, 4), (true, 1)] {
        for _ in 0..number {
            assert_eq!(ask("192.0.2.1", 0, page), Ruling::Forward);
        }
    }
    refused(ask("192.0.2.1", 0, false));
    for _ in 0..2 {
        assert_eq!(ask("192.0.2.2", 0, true), Ruling::Forward);
    }
    refused(ask("192.0.2.2", 0, true));
    refused(ask("192.0.2.2", 0, false));
    assert_eq!(ask("192.0.2.2", 10, true), Ruling::Forward);
}

#[test]
fn a_verdict_ends_the_round() {
    let after = || stage(Some(1.0), Ok(DENIED));
    let first = |verdict| judge(&pipeline(vec![stage(None, Ok(verdict)), after()]));
    assert_eq!(first(Verdict::Pass).ruling, denied(Reason::BlocklistListed));
    let allowed = first(Verdict::Allow(Reason::PathProbe));
    assert_eq!(
        (allowed.ruling, allowed.timings.len()),
        (Ruling::Forward, 1)
    );
    let held = first(Verdict::Act(Action::Tarpit, Reason::PathProbe));
    assert_eq!(
        held.ruling,
        Ruling::Answer(Answer::Tarpit(Reason::PathProbe))
    );
    assert_eq!(
        first(Verdict::Act(Action::Throttle, Reason::PathProbe)).ruling,
        Ruling::Forward
    );
}

#[test]
fn an_observing_filter_changes_nothing() {
    let mut observing = stage(Some(0.9), Ok(DENIED));
    observing.mode = Mode::Observe;
    let counted = observing.metrics.clone();
    let judgement = judge(&pipeline(vec![
        observing,
        stage(Some(0.1), Ok(Verdict::Pass)),
    ]));
    assert_eq!(judgement.ruling, Ruling::Forward);
    assert!((judgement.score - 0.1).abs() < 1e-6);
    assert_eq!(judgement.trail.signals().len(), 2);
    assert!(judgement.trail.signals()[0].observed);
    assert_eq!(counted.duration.get_sample_count(), 1);
}

#[test]
fn a_failing_filter_is_settled_by_its_own_rule() {
    let check = |on_error: OnError, expected: Ruling| {
        let mut failing = stage(None, Err("no memory of it"));
        failing.on_error = on_error;
        let errors = failing.metrics.errors.clone();
        let judgement = judge(&pipeline(vec![failing]));
        assert_eq!((judgement.ruling, errors.get()), (expected, 1));
        assert_eq!(judgement.trail.signals()[0].reason, Reason::FilterFailed);
    };
    check(OnError::Pass, Ruling::Forward);
    check(OnError::Deny, denied(Reason::FilterFailed));
}

#[test]
fn a_filter_looks_only_at_what_it_is_for() {
    let check = |when: &str, looks: bool| {
        let mut report = Report::default();
        let mut only = stage(None, Ok(DENIED));
        only.condition = Some(Condition::build(
            &toml::from_str(when).unwrap(),
            &mut report,
        ));
        assert_eq!(report.problems, []);
        let judgement = judge(&pipeline(vec![only]));
        assert_eq!(judgement.ruling != Ruling::Forward, looks, "{when}");
    };
    check("", true);
    check("paths = [\"/a\"]", true);
    check("paths = [\"/b\", \"/*\"]", true);
    check("paths = [\"/b\"]", false);
    check("not_paths = [\"/a*\"]", false);
    check("methods = [\"POST\"]", false);
    check("methods = [\"GET\", \"POST\"]", true);
    check("hosts = [\"*.Example\"]", true);
    check("hosts = [\"other.example\"]", false);
    check("hosts = [\"t.example\"]\npaths = [\"/b\"]", false);
}

#[test]
fn repeated_offences_lead_to_decisions_that_hold_longer_each_time() {
    let spec: PipelineSpec = toml::from_str(
        "name = \"p\"\ndecide = { after = 3, within_secs = 60, for_secs = 100, most_secs = 300 }\n\
         [ladder]\ndeny = 0.95\n",
    )
    .unwrap();
    let mut context = FilterContext::default();
    let mut pipeline = Pipeline::build(&spec, &metrics(), &mut context).unwrap();
    pipeline.stages = vec![stage(Some(1.0), Ok(Verdict::Pass))];
    let proposed = |client: &str, secs: u64| {
        let judgement = judge_at(&pipeline, client, Duration::from_secs(secs));
        judgement.proposal.map(|proposal| {
            let Proposal {
                subject, lifetime, ..
            } = *proposal;
            (subject.to_string(), lifetime.as_secs())
        })
    };
    let first = |secs| Some(("192.0.2.7".to_owned(), secs));
    assert_eq!(proposed("192.0.2.7", 600), None);
    assert_eq!(proposed("192.0.2.8", 600), None);
    assert_eq!(proposed("192.0.2.7", 601), None);
    assert_eq!(proposed("192.0.2.7", 602), first(100));
    // While that one holds, requests under way lead to no other.
    assert_eq!(proposed("192.0.2.7", 603), None);
    // Three in a minute again, after it.
    let mut again = (0..3).map(|second| proposed("192.0.2.7", 780 + second));
    assert_eq!(again.find_map(|found| found), first(200));
    let mut again = (0..3).map(|second| proposed("192.0.2.7", 1200 + second));
    assert_eq!(again.find_map(|found| found), first(300));
    // The addresses of one subscriber are one client.
    for host in 1..3 {
        assert_eq!(proposed(&format!("2001:db8::{host}"), 600), None);
    }
    let network = Some(("2001:db8::/64".to_owned(), 100));
    assert_eq!(proposed("2001:db8::9", 601), network);
}

#[test]
fn what_is_wrong_with_a_decide_table_is_told() {
    let check = |decide: &str, part: &str| {
        let text = format!("name = \"p\"\ndecide = {decide}\n");
        let spec: PipelineSpec = toml::from_str(&text).unwrap();
        let mut context = FilterContext::default();
        assert!(Pipeline::build(&spec, &metrics(), &mut context).is_none());
        assert!(context.report.problems[0].what.contains(part), "{part}");
    };
    check(
        "{ for_secs = 100, most_secs = 99 }",
        "`for_secs` is 100; expected at most",
    );
    check("{ most_secs = 9999999 }", "expected at most 2592000");
}

#[test]
fn what_filters_hold_lasts_as_long_as_a_request_that_is_forwarded() {
    let check = |after: Stage, forwarded: usize| {
        let held = Arc::new(AtomicUsize::new(0));
        let mut holding = stage(None, Ok(Verdict::Pass));
        holding.filter = Box::new(Holding(Arc::clone(&held)));
        let judgement = judge(&pipeline(vec![holding, after]));
        assert_eq!(held.load(Ordering::Relaxed), forwarded);
        assert_eq!(judgement.holds.is_empty(), forwarded == 0);
        drop(judgement);
        assert_eq!(held.load(Ordering::Relaxed), 0);
    };
    check(stage(None, Ok(Verdict::Pass)), 1);
    check(stage(Some(0.6), Ok(Verdict::Pass)), 1);
    check(stage(None, Ok(DENIED)), 0);
    check(stage(Some(0.9), Ok(Verdict::Pass)), 0);
    check(
        stage(None, Ok(Verdict::Act(Action::Tarpit, Reason::PathProbe))),
        0,
    );
}

#[test]
fn what_an_observing_filter_holds_makes_nobody_wait() {
    for (mode, wait) in [(Mode::Enforce, 1), (Mode::Observe, 0)] {
        let mut holding = stage(None, Ok(Verdict::Pass));
        holding.filter = Box::new(Holding(Arc::default()));
        holding.mode = mode;
        let mut holds = judge(&pipeline(vec![holding])).holds;
        assert_eq!(holds.pace(1, Duration::ZERO), Duration::from_secs(wait));
    }
}

const NOTE: Note = Note {
    in_use: 7,
    claim: None,
};

/// Notes each request, and counts those that it is told of.
struct Learns(Arc<AtomicUsize>);

impl Filter for Learns {
    fn judge(&self, _: &RequestView<'_>, round: &mut Round) -> Result<Verdict, FilterError> {
        round.note = Some(NOTE);
        Ok(Verdict::Pass)
    }

    fn watcher(&self) -> Option<&dyn Watcher> {
        Some(self)
    }
}

impl Watcher for Learns {
    fn watch(&self, note: &Note, finished: &Finished) {
        assert_eq!((*note, finished.status), (NOTE, Some(200)));
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

const FINISHED: Finished = Finished {
    site: 0,
    now: Duration::ZERO,
    status: Some(200),
    page: Some(false),
    suspect: false,
    took: None,
    load: None,
};

#[test]
fn a_filter_learns_from_the_end_of_requests_that_it_noted() {
    let check = |path: &str, verdict: Verdict, told: usize| {
        let count = Arc::new(AtomicUsize::new(0));
        let mut learning = stage(None, Ok(Verdict::Pass));
        learning.filter = Box::new(Learns(Arc::clone(&count)));
        let when = toml::from_str(&format!("paths = [\"{path}\"]")).unwrap();
        learning.condition = Some(Condition::build(&when, &mut Report::default()));
        let other = || stage(None, Ok(Verdict::Pass));
        let pipeline = pipeline(vec![other(), learning, other(), stage(None, Ok(verdict))]);
        pipeline.finished(&judge(&pipeline).notes, &FINISHED);
        assert_eq!(count.load(Ordering::Relaxed), told, "{path} {verdict:?}");
    };
    check("/a", Verdict::Pass, 1);
    check("/a", Verdict::Act(Action::Throttle, Reason::PathProbe), 1);
    check("/a", DENIED, 0);
    check("/b", Verdict::Pass, 0);
}
