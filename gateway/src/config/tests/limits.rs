//! What the built-in limits mean to people and to scrapers behind one address, by a clock of the
//! test's own.

use std::{net::Ipv4Addr, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Uri, header::ACCEPT};
use thornwall_detectors::request::RequestView;
use thornwall_filters::{
    context::FilterContext,
    filter::{Filter, Round},
    verdict::Verdict,
    watcher::Answer,
};

use super::standard_pipeline;

/// The limits of the built-in pipeline, and one client's requests.
struct Limits {
    filters: Vec<Box<dyn Filter>>,
    now: Duration,
    page: HeaderMap,
    part: HeaderMap,
}

impl Limits {
    fn shipped() -> Self {
        let pipeline = standard_pipeline();
        let limits = pipeline.filter.iter();
        let limits = limits.filter(|filter| filter.rate_limit.is_some());
        let build = |filter: &thornwall_filters::kinds::FilterSpec| {
            let (_, filter) = filter.build(&mut FilterContext::default()).unwrap();
            filter
        };
        let accepting = |value| HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(value))]);
        Self {
            filters: limits.map(build).collect(),
            now: Duration::from_secs(1000),
            page: accepting("text/html,application/xhtml+xml,*/*;q=0.8"),
            part: accepting("image/avif,image/webp,*/*;q=0.8"),
        }
    }

    /// Asks for something, as a page or as a part, and is answered at once with what it is; whether
    /// it was let through.
    fn passes(&self, asked_as_page: bool, is_page: bool) -> bool {
        let uri = Uri::from_static("/a");
        let headers = if asked_as_page {
            &self.page
        } else {
            &self.part
        };
        let request = RequestView {
            client: Ipv4Addr::new(192, 0, 2, 1).into(),
            now: self.now,
            ..RequestView::bare(&Method::GET, &uri, headers)
        };
        let answer = Answer {
            asked: self.now,
            now: self.now,
            page: Some(is_page),
        };
        self.filters.iter().all(|filter| {
            let mut round = Round::default();
            let verdict = filter.judge(&request, &mut round).unwrap();
            if let (Some(note), Some(watcher)) = (round.note, filter.watcher()) {
                watcher.answered(&note, &answer);
            }
            verdict == Verdict::Pass
        })
    }

    /// Opens a page of so many parts; how many of its requests were refused.
    fn open(&self, parts: usize) -> usize {
        let page = usize::from(!self.passes(true, true));
        page + (0..parts).filter(|_| !self.passes(false, false)).count()
    }
}

#[test]
fn two_hundred_people_who_read_behind_one_address_are_never_refused() {
    let mut limits = Limits::shipped();
    let start = limits.now;
    // Each opens a page of forty parts every ten to twenty seconds.
    let pause = |person: u64, page: u64| {
        let spread = (person * 7919 + page * 104_729) % 1000;
        Duration::from_millis(10_000 + spread * 10)
    };
    let first = |person: u32| start + Duration::from_millis(75) * person;
    let mut next: Vec<Duration> = (0..200).map(first).collect();
    let mut pages = 0;
    while limits.now < start + Duration::from_secs(300) {
        for (person, due) in (0..).zip(&mut next) {
            if *due <= limits.now {
                pages += 1;
                assert_eq!(limits.open(40), 0, "page {pages} of person {person}");
                *due = limits.now + pause(person, pages);
            }
        }
        limits.now += Duration::from_millis(50);
    }
    assert!(pages > 3500, "{pages}");
}

#[test]
fn thirty_people_may_open_a_page_of_a_hundred_parts_in_the_same_second() {
    let mut limits = Limits::shipped();
    for person in 0..30 {
        assert_eq!(limits.open(100), 0, "{person}");
        limits.now += Duration::from_millis(33);
    }
}

#[test]
fn a_search_engine_at_five_pages_a_second_is_never_refused() {
    let mut limits = Limits::shipped();
    for page in 0..3000 {
        assert!(limits.passes(true, true), "{page}");
        limits.now += Duration::from_millis(200);
    }
}

#[test]
fn a_scraper_gets_no_more_than_the_limit_of_pages_however_it_asks() {
    for asked_as_page in [true, false] {
        let mut limits = Limits::shipped();
        let mut served = [0, 0];
        for minute in &mut served {
            for _ in 0..6000 {
                *minute += usize::from(limits.passes(asked_as_page, true));
                limits.now += Duration::from_millis(10);
            }
        }
        let [first, second] = served;
        assert!((1340..=1360).contains(&first), "{first}");
        assert!((1190..=1210).contains(&second), "{second}");
    }
}
