//! The cases that the predecessor's own functions were measured with, and each rule of its edge
//! and of its escalation engine: what it said, what we say, and why where we differ.

use super::{codes, trail};
use crate::fixture::Request;

/// The actions of the usual ladder.
fn action(score: f32) -> &'static str {
    match score {
        ..0.50 => "pass",
        ..0.60 => "throttle",
        ..0.80 => "challenge",
        ..0.95 => "tarpit",
        _ => "deny",
    }
}

/// One case: request, headers, the predecessor's outcome, ours, and why where they differ.
struct Case {
    line: &'static str,
    headers: &'static [&'static str],
    theirs: &'static str,
    ours: &'static str,
    why: &'static str,
}

const ROBOTS: &str = "User-agent: *\nDisallow: /admin/\nDisallow: /wp-admin/\n";

fn check(cases: &[Case]) {
    for case in cases {
        let trail = trail(&Request::new(case.line, case.headers).with_robots(ROBOTS));
        let found = codes(&trail);
        let context = format!(
            "{} {:?} {} {found:?}",
            case.line,
            case.headers,
            trail.score()
        );
        assert_eq!(action(trail.score()), case.ours, "{context}");
        assert_eq!(
            case.theirs == case.ours,
            case.why.is_empty(),
            "unexplained: {context}"
        );
    }
}

const CHROME: &str = "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
const GPTBOT: &str = "User-Agent: Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.2; +https://openai.com/gptbot";
const PERPLEXITY: &str =
    "User-Agent: Mozilla/5.0 (compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)";
const GOOGLEBOT: &str =
    "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const CURL: &str = "User-Agent: curl/8.5.0";
const HTML: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const ENCODING: &str = "Accept-Encoding: gzip, deflate, br";
const LANGUAGE: &str = "Accept-Language: en";

/// Rule scores of the escalation engine. Rates (its 30, 60 and 70 hits) and shared fingerprints
/// belong to the rate limit and to fingerprinting, not to one request's shape.
#[rustfmt::skip]
#[test]
fn escalation_vectors() {
    check(&[
        Case { line: "GET /", headers: &[CHROME, HTML, ENCODING, LANGUAGE], theirs: "pass", ours: "pass", why: "" },
        Case { line: "GET /", headers: &[CHROME, HTML, ENCODING], theirs: "pass", ours: "pass", why: "" },
        Case { line: "POST /", headers: &[CHROME, HTML, ENCODING, LANGUAGE], theirs: "pass", ours: "pass", why: "" },
        Case { line: "GET /wp-admin/x", headers: &[CHROME, HTML, ENCODING, LANGUAGE], theirs: "challenge", ours: "pass",
            why: "robots.txt binds robots; a person with a browser may be the site's editor" },
        Case { line: "GET /", headers: &[CURL, "Accept: */*"], theirs: "pass", ours: "tarpit",
            why: "0.7 + 0.1 fell below its 0.8 by rounding; its edge meant to tarpit curl, and so do we" },
        Case { line: "GET /", headers: &[GPTBOT, LANGUAGE], theirs: "pass", ours: "tarpit",
            why: "a declared AI crawler is what the system is for" },
        Case { line: "GET /admin/", headers: &[GPTBOT], theirs: "deny", ours: "tarpit",
            why: "0.93: a tarpit costs a crawler more than a refusal; the decision to block comes with repetition" },
        Case { line: "GET /", headers: &[PERPLEXITY], theirs: "pass", ours: "tarpit",
            why: "its list was too old to know the name" },
        Case { line: "GET /admin/", headers: &[GOOGLEBOT], theirs: "pass", ours: "challenge",
            why: "an unverified name is no pass, and Googlebot itself obeys robots.txt" },
        Case { line: "GET /", headers: &[], theirs: "challenge", ours: "tarpit",
            why: "its 0.6 counted the missing name and language; the other fields are missing too" },
        Case { line: "POST /", headers: &[], theirs: "pass", ours: "tarpit",
            why: "the same rounding; posting without a name is how comment spam arrives" },
        Case { line: "POST /", headers: &["Accept: */*", ENCODING, LANGUAGE], theirs: "challenge", ours: "pass",
            why: "privacy proxies take names away, and a person behind one cannot tell why they are slowed down" },
    ]);
}

/// The edge's score by hand, tarpit from 0.70.
#[rustfmt::skip]
#[test]
fn edge_vectors() {
    check(&[
        Case { line: "GET /", headers: &[CURL, HTML, ENCODING, LANGUAGE, "Sec-Fetch-Site: none", "Referer: https://site.example/"], theirs: "tarpit", ours: "tarpit", why: "" },
        Case { line: "GET /a", headers: &["Accept: */*"], theirs: "tarpit", ours: "tarpit", why: "" },
        Case { line: "GET /a", headers: &[HTML, ENCODING, LANGUAGE, "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"], theirs: "pass", ours: "pass", why: "" },
        Case { line: "GET /a", headers: &[CHROME, "Accept: */*"], theirs: "pass", ours: "throttle",
            why: "a browser's name with nothing of a browser behind it" },
        Case { line: "PROPFIND /a", headers: &[CHROME, "Accept: */*"], theirs: "tarpit", ours: "pass",
            why: "a file manager opens a WebDAV folder like this; `Accept: */*` counts only on pages that are read" },
        Case { line: "DELETE /a", headers: &[CURL], theirs: "deny", ours: "tarpit",
            why: "its sum had no meaning beyond 0.70; DELETE itself is an ordinary method of interfaces" },
    ]);
}

/// Each rule of the edge and of the escalation engine, alone against a stock browser: the reason
/// that we note, or none and why.
#[test]
fn every_rule_has_its_equivalent() {
    let browser = [CHROME, HTML, ENCODING, LANGUAGE];
    let without = |left_out: &str| -> Vec<&str> {
        browser
            .into_iter()
            .filter(|header| *header != left_out)
            .collect()
    };
    let named = |agent: &'static str| vec![agent, HTML, ENCODING, LANGUAGE];
    let anything = vec![CHROME, "Accept: */*", ENCODING, LANGUAGE];
    #[rustfmt::skip]
    let rules: &[(&str, &str, Vec<&str>, Option<&str>)] = &[
        ("bad user agent", "GET /", named(CURL), Some("user_agent.http_library")),
        ("benign user agent, believed", "GET /", named(GOOGLEBOT), Some("user_agent.unverified_crawler")),
        ("benign user agent where robots.txt forbids it", "GET /admin/", named(GOOGLEBOT), Some("robots.disallowed")),
        ("missing user agent", "GET /", without(CHROME), Some("user_agent.missing")),
        ("no Accept-Language", "GET /", without(LANGUAGE), Some("headers.accept_language_missing")),
        ("Accept exactly */*", "GET /", anything, Some("headers.accept_wildcard")),
        ("no Referer below the front page", "GET /a/b", browser.to_vec(), Some("headers.referer_missing")),
        // One level deep is what people type and share; two levels is what they follow to.
        ("no Referer on an entry page", "GET /a", browser.to_vec(), None),
        ("unusual method", "TRACE /", browser.to_vec(), Some("method.unusual")),
        // Forms post, and interfaces put and delete: its 0.2 for every POST stopped people.
        ("method other than GET and HEAD", "POST /", browser.to_vec(), None),
        // robots.txt speaks to robots.
        ("forbidden path, whoever asks", "GET /admin/", browser.to_vec(), None),
    ];
    for (rule, line, headers, expected) in rules {
        let found = codes(&trail(&Request::new(line, headers).with_robots(ROBOTS)));
        match expected {
            Some(code) => assert!(found.contains(code), "{rule}: {found:?}"),
            None => assert!(found.is_empty(), "{rule}: {found:?}"),
        }
    }
    // Fetch metadata is sent over TLS only: its rule hit every visitor over plain HTTP.
    let silent =
        |request: Request| codes(&trail(&request)).contains(&"headers.fetch_metadata_missing");
    assert!(silent(Request::new("GET /", &browser).secure()));
    assert!(!silent(Request::new("GET /", &browser)));
}

/// Substrings that the predecessor matched anywhere are words here.
#[test]
fn substrings_are_not_names() {
    for agent in [
        "Mozilla/5.0 (Linux; Android 11; CUBOT X30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
        "Mozilla/5.0 (Linux; Android 13; Scanpal EDA52) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 OpenJava/1",
        "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0 Curlew/1.0",
    ] {
        let agent = format!("User-Agent: {agent}");
        let found = codes(&trail(&Request::new(
            "GET /",
            &[&agent, HTML, ENCODING, LANGUAGE],
        )));
        assert!(found.is_empty(), "{agent} {found:?}");
    }
}
