//! What becomes of a bucket of pages when answers come.

use std::{net::Ipv4Addr, sync::Arc};

use http::{HeaderMap, HeaderValue, Uri};

use super::*;
use crate::{key::KeySeed, rate::Quota};

const SECOND: Duration = Duration::from_secs(1);

/// A limit of `burst` pages at once, of which one comes back in a second.
struct Limited {
    buckets: Arc<Buckets>,
    now: Duration,
}

impl Limited {
    fn new(burst: u32) -> Self {
        Self::over(Buckets::new(quota(burst), 1024))
    }

    fn over(buckets: Buckets) -> Self {
        Self {
            buckets: Arc::new(buckets),
            now: Duration::from_secs(1000),
        }
    }

    fn ask(&self, wanted: bool) -> Option<Note> {
        let asked = self.buckets.ask(wanted, key(), NonZeroU32::MIN, self.now);
        asked.ok()
    }

    fn settle(&self, note: Note, page: Option<bool>, took: Duration) {
        let answer = Answer {
            asked: self.now,
            now: self.now + took,
            page,
        };
        self.buckets.settle(&note, &answer);
    }

    /// Requests of a kind that are let through one after the other, each answered at once.
    fn passing(&self, tries: usize, wanted: bool, page: bool) -> usize {
        let asked = (0..tries).filter(|_| {
            let note = self.ask(wanted);
            note.map(|note| self.settle(note, Some(page), Duration::ZERO))
                .is_some()
        });
        asked.count()
    }

    /// Pages that are left in the bucket.
    fn left(&self) -> usize {
        self.passing(1000, true, true)
    }
}

fn quota(burst: u32) -> Quota {
    Quota {
        requests: NonZeroU32::MIN,
        per: SECOND,
        burst: NonZeroU32::new(burst).unwrap(),
    }
}

fn key() -> LimitKey {
    KeySeed::new(&[1; 32]).client(0, Ipv4Addr::new(192, 0, 2, 1).into())
}

#[test]
fn pages_are_counted_and_what_is_none_is_not() {
    for (wanted, page, tries, pass) in [
        (true, true, 100, 10),
        (true, false, 100, 100),
        (false, false, 100, 100),
        // The one after the last finds the bucket empty, and owes nothing yet.
        (false, true, 100, 11),
    ] {
        let limited = Limited::new(10);
        let passed = limited.passing(tries, wanted, page);
        assert_eq!(passed, pass, "wanted: {wanted}, page: {page}");
    }
}

#[test]
fn parts_pass_beside_an_empty_bucket_and_not_beside_a_debt() {
    let limited = Limited::new(10);
    assert_eq!(limited.passing(20, true, true), 10);
    assert_eq!(limited.passing(500, false, false), 500);
    assert_eq!(limited.passing(1, false, true), 1);
    assert_eq!(limited.passing(5, false, false), 0);
    let refused = limited
        .buckets
        .ask(false, key(), NonZeroU32::MIN, limited.now);
    assert_eq!(refused.unwrap_err().retry_after, SECOND);
}

#[test]
fn requests_at_once_are_bounded_before_any_answer() {
    let limited = Limited::new(10);
    let notes: Vec<Note> = (0..50).filter_map(|_| limited.ask(true)).collect();
    assert_eq!(notes.len(), 10);
    for note in notes {
        limited.settle(note, Some(false), Duration::ZERO);
    }
    assert_eq!(limited.left(), 10, "all of it is given back");
}

#[test]
fn who_disguises_pages_gets_them_no_faster_over_time() {
    // Forty at a time, each of which is let through before any answer has come.
    let mut limited = Limited::new(10);
    let mut pages = 0;
    for _ in 0..600 {
        let notes: Vec<Note> = (0..40).filter_map(|_| limited.ask(false)).collect();
        pages += notes.len();
        for note in notes {
            limited.settle(note, Some(true), Duration::ZERO);
        }
        limited.now += SECOND;
    }
    assert!((600..=650).contains(&pages), "{pages}");
}

#[test]
fn a_debt_has_an_end() {
    let mut limited = Limited::new(10);
    let notes: Vec<Note> = (0..5000).filter_map(|_| limited.ask(false)).collect();
    assert_eq!(notes.len(), 5000);
    for note in notes {
        limited.settle(note, Some(true), Duration::ZERO);
    }
    limited.now += 59 * SECOND;
    assert_eq!(limited.ask(false), None);
    limited.now += SECOND;
    assert!(limited.ask(false).is_some());
}

#[test]
fn an_answer_that_does_not_say_what_it_is_counts_as_what_was_asked_for() {
    let limited = Limited::new(10);
    for wanted in [true, false] {
        for _ in 0..3 {
            let note = limited.ask(wanted).unwrap();
            limited.settle(note, None, Duration::ZERO);
        }
    }
    // Nor is anything given back for a client that leaves: nobody hears of an answer.
    assert!(limited.ask(true).is_some());
    assert_eq!(limited.left(), 6);
}

#[test]
fn what_has_come_back_by_itself_is_not_given_back_again() {
    for took in [900, 1000, 5000] {
        let mut limited = Limited::new(10);
        let (asked, took) = (limited.now, Duration::from_millis(took));
        let note = limited.ask(true).unwrap();
        limited.now = asked + took;
        // Another is asked for before the first is answered with something else.
        assert_eq!(limited.passing(1, true, true), 1);
        limited.now = asked;
        limited.settle(note, Some(false), took);
        limited.now = asked + took;
        assert_eq!(limited.left(), 9, "{took:?}");
    }
}

#[test]
fn requests_cost_what_they_do() {
    let limited = Limited::new(10);
    let cost = NonZeroU32::new(4).unwrap();
    let ask = |wanted| limited.buckets.ask(wanted, key(), cost, limited.now);
    let notes: Vec<Note> = (0..5).filter_map(|_| ask(true).ok()).collect();
    assert_eq!(notes.len(), 2);
    limited.settle(notes[0], Some(false), Duration::ZERO);
    limited.settle(notes[1], Some(true), Duration::ZERO);
    limited.settle(ask(false).unwrap(), Some(true), Duration::ZERO);
    assert_eq!(limited.left(), 2);
}

#[test]
fn other_gateways_hear_of_pages_alone() {
    let limited = Limited::over(Buckets::shared(quota(200), 1024));
    limited.buckets.meet(2, true);
    assert_eq!(limited.passing(5, true, false), 5);
    assert_eq!(limited.passing(5, false, false), 5);
    let waiting = limited.ask(true).unwrap();
    assert_eq!(limited.buckets.taken(), []);
    assert_eq!(limited.passing(3, true, true), 3);
    assert_eq!(limited.passing(2, false, true), 2);
    limited.settle(waiting, Some(true), Duration::ZERO);
    assert_eq!(limited.buckets.taken(), [(key(), 6)]);
}

#[test]
fn a_key_without_a_bucket_loses_nothing() {
    let limited = Limited::over(Buckets::new(quota(10), 1));
    let other = KeySeed::new(&[2; 32]).client(0, Ipv4Addr::LOCALHOST.into());
    let fill = limited
        .buckets
        .ask(true, other, NonZeroU32::MIN, limited.now);
    assert!(fill.is_ok());
    let note = limited.ask(true).unwrap();
    assert_eq!(note.in_use, 0);
    limited.settle(note, Some(false), Duration::ZERO);
    assert!(limited.ask(false).is_some());
}

#[test]
fn only_gets_and_posts_that_accept_html_ask_for_pages() {
    let check = |method: Method, accept: Option<&'static str>, wanted: bool| {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        let uri = Uri::from_static("/a");
        let request = RequestView::bare(&method, &uri, &headers);
        assert_eq!(asks_for_page(&request), wanted, "{method} {accept:?}");
    };
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    check(Method::GET, Some(browser), true);
    check(Method::POST, Some(browser), true);
    check(Method::HEAD, Some(browser), false);
    check(
        Method::GET,
        Some("application/rss+xml, text/html;q=0.5"),
        true,
    );
    check(Method::GET, Some("image/avif,image/webp,*/*;q=0.8"), false);
    check(Method::GET, Some("text/css,*/*;q=0.1"), false);
    check(Method::GET, Some("*/*"), false);
    check(Method::GET, None, false);
}
