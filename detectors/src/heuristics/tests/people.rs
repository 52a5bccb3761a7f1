//! Browsers as people use them: every browser with every kind of request, with and without TLS,
//! and with whatever extensions, filtering proxies and settings take away or add.

// One request a line would be ten otherwise.
#[rustfmt::skip]
mod browsers;

use browsers::{BROWSERS, Browser, FIREFOX, KINDS, Kind};

use super::{codes, trail};
use crate::fixture::Request;

/// What happens to a browser's request before it arrives.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    Nothing,
    /// A filtering proxy takes `Accept-Encoding` away.
    Encoding,
    /// An extension takes `Accept-Language` away.
    Language,
    /// A proxy takes fetch metadata away.
    Metadata,
    /// An extension names another browser and forgets the client hints.
    Name,
    /// A setting takes `Referer` away.
    Referer,
    /// Wishes for privacy are added.
    Wishes,
}

const CHANGES: &[Change] = &[
    Change::Nothing,
    Change::Encoding,
    Change::Language,
    Change::Metadata,
    Change::Name,
    Change::Referer,
    Change::Wishes,
];

fn request(browser: &Browser, kind: &Kind, secure: bool, changes: [Change; 2]) -> Request {
    let changed = |change: Change| changes.contains(&change);
    let agent = if changed(Change::Name) {
        FIREFOX
    } else {
        browser.agent
    };
    let mut headers = vec![
        "Host: site.example".to_owned(),
        format!("User-Agent: {agent}"),
    ];
    match kind.accept {
        "" => headers.push(format!("Accept: {}", browser.page)),
        "-" => {}
        accept => headers.push(format!("Accept: {accept}")),
    }
    if !changed(Change::Language) {
        headers.push("Accept-Language: de-DE,de;q=0.9,en;q=0.8".into());
    }
    if !changed(Change::Encoding) {
        let tls_only = if secure { ", br" } else { "" };
        headers.push(format!("Accept-Encoding: gzip, deflate{tls_only}"));
    }
    if changed(Change::Wishes) {
        headers.extend(["DNT: 1".to_owned(), "Sec-GPC: 1".to_owned()]);
    }
    let known = !kind.metadata[0].is_empty();
    let told = secure && browser.metadata && known && !changed(Change::Metadata);
    if told {
        let names = ["Site", "Mode", "Dest"].iter().zip(kind.metadata);
        headers.extend(names.map(|(name, value)| format!("Sec-Fetch-{name}: {value}")));
    }
    if secure {
        headers.extend(browser.hints.iter().map(|hint| (*hint).to_owned()));
    }
    let further = kind.further.iter().filter(|header| {
        (told || !header.starts_with("Sec-Fetch"))
            && !(header.starts_with("Referer") && changed(Change::Referer))
    });
    headers.extend(further.map(|header| (*header).to_owned()));
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let request = Request::new(kind.line, &headers);
    if secure { request.secure() } else { request }
}

/// A script that asks for anything without fetch metadata, language or referrer sends, field by
/// field, what an HTTP library under a borrowed name sends. Nobody can tell them apart by one
/// request, so both may be slowed down and neither is turned away.
fn is_a_library_to_the_letter(
    browser: &Browser,
    kind: &Kind,
    secure: bool,
    changes: [Change; 2],
) -> bool {
    let anything = kind.accept == "*/*";
    let refers = kind
        .further
        .iter()
        .any(|header| header.starts_with("Referer"));
    anything
        && !(secure && browser.metadata)
        && changes.contains(&Change::Language)
        && (changes.contains(&Change::Referer) || !refers)
}

fn check(browser: &Browser, kind: &Kind, secure: bool, changes: [Change; 2]) {
    let trail = trail(&request(browser, kind, secure, changes));
    let most = match changes {
        _ if is_a_library_to_the_letter(browser, kind, secure, changes) => 0.65,
        [Change::Nothing, Change::Nothing] => 0.45,
        _ => 0.5,
    };
    let case = (browser.agent, kind.line, secure, changes);
    assert!(
        trail.score() < most,
        "{} {case:?} {:?}",
        trail.score(),
        codes(&trail)
    );
}

#[test]
fn no_browser_is_stopped() {
    for browser in BROWSERS {
        for kind in KINDS {
            for (at, first) in CHANGES.iter().enumerate() {
                for second in &CHANGES[at..] {
                    for secure in [true, false] {
                        check(browser, kind, secure, [*first, *second]);
                    }
                }
            }
        }
    }
}

/// Internet Explorer asks for anything when it loads a page again.
#[test]
fn old_reload_is_served() {
    let agent = "User-Agent: Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 5.1; Trident/4.0)";
    for line in ["GET /", "GET /a/b"] {
        let headers = [
            agent,
            "Accept: */*",
            "Accept-Language: en-us",
            "Accept-Encoding: gzip, deflate",
        ];
        assert!(trail(&Request::new(line, &headers)).score() < 0.5);
        assert!(trail(&Request::new(line, &headers[..3])).score() < 0.5);
    }
}
