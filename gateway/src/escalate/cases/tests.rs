//! How cases grow, when they are sent, and which give way.

use thornwall_detectors::signal::Reason;

use super::*;

const UNIX: u64 = 1_700_000_000_000;

fn sighting(client: u32, score: f32, now_ms: u64) -> Sighting {
    Sighting {
        site: 3,
        client: std::net::Ipv4Addr::from_bits(0xc000_0200 + client).into(),
        shape: 9,
        score,
        now: Duration::from_millis(now_ms),
    }
}

fn question(case: CaseId, sighting: Sighting, text: usize) -> Question {
    let long = |most: usize| "x".repeat(most.min(text));
    Question {
        case,
        sighting,
        signals: vec![(Reason::MethodUnusual, sighting.score)],
        method: "GET".to_owned(),
        path: format!("/{}", long(255)),
        parameters: vec![long(32); 8],
        user_agent: long(256),
        accept_language: long(64),
        referer: long(256),
        header_names: vec![long(64); 64],
        http_version: 11,
        tls: true,
    }
}

/// One request from filter to table; whether its facts were wanted.
fn ask(cases: &Cases, client: u32, score: f32, now_ms: u64) -> bool {
    let sighting = sighting(client, score, now_ms);
    let interest = cases.sight(&sighting);
    if interest.facts {
        let question = question(interest.case, sighting, 4);
        cases.submit(question, RequestId::fresh(), UNIX + now_ms);
    }
    interest.facts
}

fn next(cases: &Cases, now_ms: u64) -> Option<v1::Case> {
    cases.next(now_ms, |number| (number == 3).then(|| "shop".into()))
}

#[test]
fn a_thousand_requests_of_one_client_are_one_case() {
    let cases = Cases::new(100);
    let facts = (0..1000).filter(|at| ask(&cases, 7, 0.5, *at)).count();
    assert_eq!((facts, cases.len()), (32, 1));
    let case = next(&cases, 1000).unwrap();
    assert_eq!(case.id.len(), 32);
    assert_eq!(
        (case.site.as_str(), case.subject.as_str()),
        ("shop", "192.0.2.7")
    );
    assert_eq!((case.requests, case.samples.len()), (1000, 32));
    assert_eq!((case.first_ms, case.last_ms), (UNIX, UNIX + 999));
    assert_eq!((case.request_ids.len(), case.signals.len()), (8, 1));
    let sample = &case.samples[31];
    assert_eq!(
        (sample.method.as_str(), sample.path.as_str()),
        ("GET", "/xxxx")
    );
    assert_eq!((sample.parameters.len(), sample.after_ms), (8, 31));
    assert!(next(&cases, 1000).is_none());
}

#[test]
fn a_case_is_sent_again_when_it_has_grown() {
    let cases = Cases::new(100);
    for now_ms in 0..4 {
        ask(&cases, 7, 0.5, now_ms);
    }
    assert_eq!(next(&cases, 10).unwrap().requests, 4);
    for now_ms in 20..23 {
        ask(&cases, 7, 0.54, now_ms);
    }
    assert!(next(&cases, 5_000).is_none(), "neither doubled nor risen");
    ask(&cases, 7, 0.54, 30);
    assert!(next(&cases, 1_009).is_none(), "sent within the last second");
    assert_eq!(cases.nap(30), Duration::from_millis(980));
    assert_eq!(next(&cases, 1_010).unwrap().requests, 8);
    ask(&cases, 7, 0.56, 3_000);
    assert!(next(&cases, 3_000).is_none());
    ask(&cases, 7, 0.6, 3_001);
    let case = next(&cases, 3_001).unwrap();
    assert_eq!((case.requests, case.score), (10, 0.6));
    assert_eq!(cases.sent(), 3);
}

#[test]
fn a_case_that_has_all_samples_is_asked_for_facts_only_when_it_is_sent() {
    let cases = Cases::new(100);
    for _ in 0..40 {
        ask(&cases, 7, 0.5, 0);
    }
    assert!(next(&cases, 0).is_some());
    assert!((41..80).all(|_| !ask(&cases, 7, 0.5, 2_000)));
    assert!(ask(&cases, 7, 0.5, 2_000));
    assert!(!ask(&cases, 7, 0.5, 2_000));
}

#[test]
fn the_most_valuable_case_goes_first() {
    let cases = Cases::new(100);
    for (client, score, requests) in [(1, 0.5, 1), (2, 0.7, 1), (3, 0.5, 9), (4, 0.6, 1)] {
        for _ in 0..requests {
            ask(&cases, client, score, 0);
        }
    }
    ask(&cases, 1, 0.65, 0);
    let order: Vec<String> = std::iter::from_fn(|| next(&cases, 0))
        .map(|case| case.subject)
        .collect();
    assert_eq!(order, ["192.0.2.2", "192.0.2.1", "192.0.2.4", "192.0.2.3"]);
}

#[test]
fn a_full_table_sheds_what_is_worth_least() {
    let cases = Cases::new(3);
    for (client, score) in [(1, 0.5), (2, 0.6), (3, 0.7)] {
        assert!(ask(&cases, client, score, 0));
    }
    assert!(!ask(&cases, 4, 0.5, 0), "worth no more than the least");
    assert!(ask(&cases, 5, 0.55, 0));
    assert_eq!((cases.len(), cases.shed()), (3, 2));
    // What was sent makes room without a loss.
    let first = next(&cases, 0).unwrap();
    assert_eq!(first.subject, "192.0.2.3");
    assert!(ask(&cases, 6, 0.45, 1));
    assert_eq!((cases.len(), cases.shed()), (3, 2));
    let left: Vec<String> = std::iter::from_fn(|| next(&cases, 1))
        .map(|case| case.subject)
        .collect();
    assert_eq!(left, ["192.0.2.2", "192.0.2.5", "192.0.2.6"]);
}

#[test]
fn what_is_idle_ends() {
    let cases = Cases::new(10);
    ask(&cases, 1, 0.5, 0);
    ask(&cases, 2, 0.5, 1);
    assert!(next(&cases, 0).is_some());
    ask(&cases, 3, 0.5, 500_000);
    cases.sweep(600_000);
    assert_eq!((cases.len(), cases.shed()), (3, 0));
    cases.sweep(600_002);
    assert_eq!((cases.len(), cases.shed()), (1, 1));
    cases.sweep(1_200_000);
    assert_eq!(cases.len(), 0);
    assert!(next(&cases, 1_200_000).is_none());
}

#[test]
fn what_a_lost_sidecar_left_open_is_sent_again() {
    let cases = Cases::new(10);
    ask(&cases, 1, 0.5, 0);
    ask(&cases, 2, 0.6, 0);
    let (second, first) = (next(&cases, 0).unwrap(), next(&cases, 0).unwrap());
    let id = |case: &v1::Case| CaseId(u128::from_str_radix(&case.id, 16).unwrap());
    assert!(cases.is_open(id(&first)) && cases.answered(id(&first)));
    assert!(!cases.is_open(id(&first)) && cases.is_open(id(&second)));
    assert!(!cases.answered(CaseId(1)) && !cases.is_open(CaseId(1)));
    cases.send_again();
    assert_eq!(next(&cases, 1).map(|case| case.id), Some(second.id));
    assert!(next(&cases, 1).is_none());
}

#[test]
fn ten_thousand_of_the_largest_cases_stay_below_64_mib() {
    let cases = Cases::new(1);
    let sighting = sighting(1, 0.5, 0);
    for _ in 0..100 {
        let interest = cases.sight(&sighting);
        let question = question(interest.case, sighting, 5_000);
        cases.submit(question, RequestId::fresh(), UNIX);
    }
    let largest = cases.table.lock().cases.values().next().unwrap().bytes();
    assert!(
        largest > 3_000 && largest <= super::super::case::MOST_BYTES,
        "{largest}"
    );
    // The case itself, its place in the table, which may be half empty, and in one set.
    let each = largest + 2 * (size_of::<(CaseId, Case)>() + 1) + 64;
    assert!(each * MOST_CASES < 64 << 20, "{each}");
    let case = next(&cases, 0).unwrap();
    assert!(case.samples.len() > 1 && case.claims.unwrap().header_names.len() > 10);
}

#[test]
fn a_sidecar_hears_once_of_a_client_in_the_trap() {
    let cases = Cases::new(10);
    let sighting = sighting(1, 0.5, 0);
    cases.trap(&sighting);
    ask(&cases, 1, 0.5, 0);
    cases.trap(&sighting);
    assert_eq!(cases.next_trapped(), None, "it knows nothing of the case");
    let id = next(&cases, 0).unwrap().id;
    cases.trap(&sighting);
    cases.trap(&sighting);
    assert_eq!(cases.next_trapped().map(|case| case.to_string()), Some(id));
    assert_eq!(cases.next_trapped(), None);
}

#[test]
fn sites_that_are_gone_have_no_cases() {
    let cases = Cases::new(10);
    ask(&cases, 1, 0.5, 0);
    assert!(cases.next(0, |_| None).is_none());
    assert_eq!(cases.len(), 0);
}
