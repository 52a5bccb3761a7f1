//! The cases that the predecessor's escalation engine was measured with, on our whole way: what the
//! gateway's heuristics notice of such requests goes through the steps as a case.
//!
//! Theirs are the scores that its own functions gave, without a model and with its own robots.txt;
//! ours are those of these steps with nothing known of the past and nobody to ask. Levels are named
//! as the actions of ours: its "block" is a denial. What differs says why.
//!
//! The gateway's own ladder acts on single requests and comes first: what it holds to these requests is
//! tested in `detectors/src/heuristics/tests/predecessor.rs`.

use std::path::Path;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use thornwall_detectors::{
    heuristics,
    request::{RequestView, SiteFacts},
    robots::Robots,
    signal::Trail,
};

use super::*;
use crate::{
    assessment::Consequence::{self, Alert, None},
    case::{CaseId, Claims, Noticed, Sample},
};

const TARPIT: Consequence = Consequence::Act(Action::Tarpit);
const DENY: Consequence = Consequence::Act(Action::Deny);

const ROBOTS: &str = "User-agent: *\nDisallow: /admin/\nDisallow: /wp-admin/\n";
const CHROME: &str = "user-agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
const GPTBOT: &str = "user-agent: Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.2; +https://openai.com/gptbot";
const PERPLEXITY: &str =
    "user-agent: Mozilla/5.0 (compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)";
const GOOGLEBOT: &str =
    "user-agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const CURL: &str = "user-agent: curl/8.5.0";
const ANY: &str = "accept: */*";
const HTML: &str = "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const ENCODING: &str = "accept-encoding: gzip, deflate, br, zstd";
const LANGUAGE: &str = "accept-language: en";
/// What every Chromium sends over TLS with a page that somebody opens.
const MODES: [&str; 4] = [
    "sec-fetch-site: none",
    "sec-fetch-mode: navigate",
    "sec-fetch-dest: document",
    "sec-fetch-user: ?1",
];

/// A client's requests, what the predecessor made of them, what we do, and why where that differs.
struct Vector {
    line: &'static str,
    headers: &'static [&'static str],
    /// Whether the client also sends what only a browser does.
    is_browser: bool,
    requests: u32,
    theirs: (f32, Consequence),
    ours: (f32, Consequence),
    why: &'static str,
}

/// One request.
const ONE: Vector = Vector {
    line: "GET /",
    headers: &[],
    is_browser: false,
    requests: 1,
    theirs: (0.0, None),
    ours: (0.0, None),
    why: "",
};
/// One page that somebody opens with a browser.
const PAGE: Vector = Vector {
    headers: &[CHROME, HTML, ENCODING, LANGUAGE],
    is_browser: true,
    ..ONE
};

#[rustfmt::skip]
const VECTORS: [Vector; 14] = [
    PAGE,
    Vector { headers: &[CHROME, HTML, ENCODING], theirs: (0.1, None), ours: (0.26, None),
        why: "extensions remove the languages, scripts forget them more often; neither acts on it", ..PAGE },
    Vector { line: "POST /", theirs: (0.2, None), ours: (0.0, None),
        why: "forms post: a method is no sign of a bot", ..PAGE },
    Vector { line: "GET /wp-admin/x", theirs: (0.6, None), ours: (0.02, None),
        why: "robots.txt binds robots; whoever opens it with a browser may be the site's editor", ..PAGE },
    Vector { headers: &[CURL, ANY], theirs: (0.8, None), ours: (0.82, Alert),
        why: "its 0.7 + 0.1 fell below its own 0.8 by rounding; thresholds of ours have a tolerance", ..ONE },
    Vector { headers: &[GPTBOT, LANGUAGE], theirs: (0.7, None), ours: (0.82, Alert),
        why: "a crawler for AI that says so is what the system is for", ..ONE },
    Vector { line: "GET /admin/", headers: &[GPTBOT], theirs: (1.0, DENY), ours: (0.93, TARPIT),
        why: "evidence adds up to certainty only where it is certain; a tarpit costs a crawler more", ..ONE },
    Vector { headers: &[PERPLEXITY], theirs: (0.1, None), ours: (0.82, Alert),
        why: "its list was too old to know the name", ..ONE },
    Vector { line: "GET /admin/", headers: &[GOOGLEBOT], theirs: (0.0, None), ours: (0.66, None),
        why: "a name that nobody verified clears nobody, and the real one obeys robots.txt", ..ONE },
    Vector { theirs: (0.6, None), ours: (0.848, Alert),
        why: "it looked for name and language alone; media types and encodings are missing too", ..ONE },
    Vector { line: "POST /", theirs: (0.8, None), ours: (0.848, Alert),
        why: "the same rounding, and the same fields that are missing", ..ONE },
    Vector { requests: 40, theirs: (0.3, None), ours: (0.597, None),
        why: "beside the count and the gaps, that a clock sent pages alone: enough to ask somebody, not to act", ..PAGE },
    Vector { requests: 70, theirs: (0.5, None), ours: (0.686, None),
        why: "the same; pace alone condemns nobody in either, as limits are the gateway's and hold at once", ..PAGE },
    Vector { theirs: (0.2, None), ours: (0.0, None),
        why: "many people send what a stock browser sends; a shape counts where it was condemned before", ..PAGE },
];

#[test]
fn cases_come_to_what_the_table_says() {
    let mut wrong = Vec::new();
    for (at, vector) in VECTORS.iter().enumerate() {
        let found = assess(vector);
        let (score, consequence) = (found.score, found.consequence);
        if (score - vector.ours.0).abs() > 0.005 || consequence != vector.ours.1 {
            wrong.push(format!(
                "{at}: {} {score:.3} {consequence:?} {found:?}",
                vector.line
            ));
        }
        let same =
            (vector.theirs.0 - vector.ours.0).abs() < 0.005 && vector.theirs.1 == vector.ours.1;
        if same && vector.requests == 1 && !vector.why.is_empty() || !same && vector.why.is_empty()
        {
            wrong.push(format!("{at}: explained, or not: {}", vector.why));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn assess(vector: &Vector) -> Assessment {
    let (method, path) = vector.line.split_once(' ').unwrap();
    let trail = noticed(vector.line, &headers(vector));
    let signals = trail.signals().iter().map(|signal| Noticed {
        reason: signal.reason.code().to_owned(),
        weight: signal.weight,
    });
    // A fifth of a second apart; a case shows 32 requests at most.
    let samples = (0..vector.requests.min(32)).map(|number| Sample {
        after_ms: number * 200,
        method: method.to_owned(),
        path: path.to_owned(),
        parameters: Vec::new(),
        score: trail.score(),
    });
    let case = Case {
        id: CaseId(1),
        site: "shop".to_owned(),
        subject: "192.0.2.7".parse().unwrap(),
        shape: 1,
        requests: vector.requests,
        first_ms: 0,
        last_ms: u64::from(vector.requests - 1) * 200,
        score: trail.score(),
        signals: signals.collect(),
        samples: samples.collect(),
        claims: Claims::default(),
        request_ids: Vec::new(),
    };
    let memory = Arc::new(Memory::default());
    let assessor = Assessor::new(LadderSpec::default(), Band::default(), memory, Vec::new());
    assessor.assess(&case, 100_000).assessment
}

fn headers(vector: &Vector) -> HeaderMap {
    let modes = if vector.is_browser { &MODES[..] } else { &[] };
    let fields = vector.headers.iter().chain(modes).map(|field| {
        let (name, value) = field.split_once(": ").unwrap();
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    fields.collect()
}

fn noticed(line: &str, headers: &HeaderMap) -> Trail {
    let (method, target) = line.split_once(' ').unwrap();
    let (method, uri): (Method, Uri) = (method.parse().unwrap(), target.parse().unwrap());
    let robots = Robots::parse(ROBOTS.as_bytes());
    let view = RequestView {
        site: SiteFacts {
            id: 0,
            robots: Some(&robots),
        },
        secure: true,
        ..RequestView::bare(&method, &uri, headers)
    };
    let mut trail = Trail::default();
    heuristics::judge(&view, &mut |signal| trail.push(signal));
    trail
}

/// Its score of attacks in the text of a request, which nothing of it ever called: what is noticed of
/// the same text here. Looking for injections in what clients send is a web application firewall's,
/// which Thornwall is not; a path that no browser would ask for is noticed.
#[rustfmt::skip]
#[test]
fn attacks_in_text_are_noticed_where_no_browser_sends_them() {
    let page = headers(&PAGE);
    for (text, theirs, codes) in [
        ("GET /?id=1%20union%20select%20a%20from%20b", 0.6, &[][..]),
        ("GET /?q=%3Cscript%3Ealert(1)%3C/script%3E", 0.1, &[]),
        ("GET /?file=../../etc/passwd", 0.075, &["path.traversal"]),
        // Its rules took the words for an attack that was worse than the two before.
        ("GET /?q=use%20curl%20--%20now", 0.225, &[]),
        ("GET /?q=hello%20world", 0.0, &[]),
    ] {
        let trail = noticed(text, &page);
        let found: Vec<&str> = trail.signals().iter().map(|signal| signal.reason.code()).collect();
        assert_eq!(found, codes, "{text}; theirs {theirs}");
    }
}

/// Where else its measured functions went: a file that has it, or why there is none.
#[rustfmt::skip]
#[test]
fn every_other_vector_has_its_place_or_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (theirs, lives, why) in [
        ("sequence [/, /list, /item] after three sessions: 0.183503", "sidecar/src/assess/rules.rs",
            "never called; a chain without smoothing calls each page that is new an anomaly: 0.99 and 1.0 for \
             [/item, /item, /item] and [/x]; order is judged by pace, regularity and breadth instead"),
        ("sequence of nothing: 1.0", "sidecar/src/assess/rules.rs", "nothing seen is nothing noticed: 0"),
        ("risk {}: 0; {is_vpn}: 0.16; {anomaly 0.9}: 0.252", "sidecar/src/reputation.rs",
            "never called, nor were its facts ever gathered; what is known of an address is a step"),
        ("risk of everything at once: 0.92", "sidecar/src/assess/evidence.rs",
            "a weighted mean dilutes each fact by those that are missing; ours adds up by noisy-or"),
        ("rate base 60: [] 60, [60, 60] 60", "filters/src/rate/adaptive.rs", "a calm origin keeps its limit"),
        ("rate base 60: [100, 100] 30, [10, 20] 90", "filters/src/rate/adaptive.rs",
            "it halved by the mean of others' rates, so that a crowd closed a site that was well; \
             ours follows how the origin answers"),
    ] {
        assert!(root.join(lives).is_file() && !why.is_empty(), "{theirs}: {lives}");
    }
}
