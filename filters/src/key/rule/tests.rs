//! What keys join and what they keep apart, and mistakes in writing them.

use http::{HeaderMap, HeaderName, HeaderValue};
use thornwall_detectors::fixture::Request;
use thornwall_settings::report::{Noted, Report};
use toml::Spanned;

use super::{KeyRule, KeySpec};
use crate::key::{KeySeed, LimitKey};

#[derive(serde::Deserialize)]
struct File {
    key: Option<Spanned<KeySpec>>,
}

fn build(text: &str, report: &mut Report) -> Result<KeyRule, Noted> {
    let file: File = toml::from_str(text).unwrap();
    KeyRule::build(file.key.as_ref(), KeySeed::new(&[1; 32]), report)
}

fn rule(text: &str) -> KeyRule {
    let mut report = Report::default();
    build(text, &mut report).unwrap_or_else(|_| panic!("{:?}", report.problems))
}

/// A request: client, path and header fields.
type Sent<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

fn key(rule: &KeyRule, (client, path, fields): Sent<'_>) -> LimitKey {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    let request = Request::new(&format!("GET {path}"), &[])
        .headers(headers)
        .client(client)
        .site(3);
    rule.key(&request.view())
}

#[test]
fn owners_are_joined_as_written() {
    let check = |text: &str, one: Sent<'_>, other: Sent<'_>, same: bool| {
        let rule = rule(text);
        let (first, second) = (key(&rule, one), key(&rule, other));
        assert_eq!(first == second, same, "{text} {one:?} {other:?}");
        assert_eq!(first.site(), 3);
    };
    let (a, b) = ("192.0.2.1", "192.0.2.2");
    let plain = (a, "/", &[][..]);
    check("", plain, (b, "/", &[]), false);
    check("", plain, (a, "/x", &[("x", "y")]), true);
    check("key = 'prefix'", plain, (b, "/", &[]), true);
    check("key = 'site'", plain, ("2001:db8::1", "/x", &[]), true);
    check("key = 'path'", (a, "/o/1", &[]), (b, "/o/2", &[]), true);
    check("key = 'path'", (a, "/o/1", &[]), (a, "/p/1", &[]), false);
    // A header's value, whoever sends it.
    let header = "key = 'header:X-Api-Key'";
    fn with<'a>(client: &'a str, value: &'a [(&'a str, &'a str)]) -> Sent<'a> {
        (client, "/", value)
    }
    check(
        header,
        with(a, &[("x-api-key", "1")]),
        with(b, &[("x-api-key", "1")]),
        true,
    );
    check(
        header,
        with(a, &[("x-api-key", "1")]),
        with(a, &[("x-api-key", "2")]),
        false,
    );
    check(
        header,
        with(a, &[("x-api-key", "1"), ("x-api-key", "2")]),
        with(a, &[("x-api-key", "1")]),
        false,
    );
    let cookie = "key = 'cookie:sid'";
    check(
        cookie,
        with(a, &[("cookie", "a=b; sid=1")]),
        with(b, &[("cookie", "sid=1")]),
        true,
    );
    check(
        cookie,
        with(a, &[("cookie", "sid=1")]),
        with(a, &[("cookie", "sid=2")]),
        false,
    );
    // Several together.
    let both = "key = ['path', 'client']";
    check(both, (a, "/o/1", &[]), (a, "/o/2", &[]), true);
    check(both, (a, "/o/1", &[]), (b, "/o/1", &[]), false);
    check(both, (a, "/o/1", &[]), (a, "/p/1", &[]), false);
}

#[test]
fn without_header_or_cookie_each_client_counts_for_itself() {
    for text in [
        "key = 'header:x-api-key'",
        "key = 'cookie:sid'",
        "key = ['path', 'cookie:sid']",
    ] {
        let rule = rule(text);
        for fields in [
            &[][..],
            &[("x-api-key", "")],
            &[("cookie", "sid=")],
            &[("cookie", "sid")],
        ] {
            let of = |client| key(&rule, (client, "/", fields));
            assert_ne!(of("192.0.2.1"), of("192.0.2.2"), "{text} {fields:?}");
            assert_eq!(of("192.0.2.1"), of("192.0.2.1"), "{text} {fields:?}");
        }
    }
}

#[test]
fn the_same_owner_has_the_same_key_in_every_filter() {
    let request = ("192.0.2.1", "/o/1", &[("x", "1")][..]);
    let check = |one: &str, other: &str| {
        assert_eq!(
            key(&rule(one), request),
            key(&rule(other), request),
            "{one} {other}"
        );
    };
    check("", "key = 'client'");
    check("key = 'client'", "key = ['client']");
    check(
        "key = ['client', 'path', 'header:x']",
        "key = ['header:X', 'path', 'client']",
    );
    let seed = KeySeed::new(&[1; 32]);
    assert_eq!(
        key(&rule(""), request),
        seed.client(3, "192.0.2.1".parse().unwrap())
    );
}

#[test]
fn parts_cannot_be_moved_from_one_to_another() {
    let rule = rule("key = ['header:a', 'header:b']");
    let of = |fields: &[(&str, &str)]| key(&rule, ("192.0.2.1", "/", fields));
    let keys = [
        of(&[("a", "1"), ("b", "2")]),
        of(&[("a", "12")]),
        of(&[("b", "12")]),
        of(&[("a", "1"), ("a", "2")]),
        of(&[("a", "2"), ("b", "1")]),
    ];
    for (at, one) in keys.iter().enumerate() {
        assert!(!keys[..at].contains(one), "{at}");
    }
}

#[test]
fn mistakes_are_reported_where_they_are() {
    let check = |text: &str, place: &str, what: &str| {
        let mut report = Report::default();
        assert!(build(text, &mut report).is_err(), "{text}");
        let [problem] = report.problems.as_slice() else {
            panic!("{:?}", report.problems);
        };
        assert_eq!(&text[problem.span.clone().unwrap()], place);
        assert!(
            problem.what.contains(what),
            "{what} is not in {}",
            problem.what
        );
    };
    check(
        "key = 'clint'",
        "'clint'",
        "`clint` is no key; expected `client`",
    );
    check("key = 'client:x'", "'client:x'", "is no key");
    check("key = 'header'", "'header'", "is no key");
    check(
        "key = 'header:a b'",
        "'header:a b'",
        "`a b` is no name of a header",
    );
    check(
        "key = ['client', 'cookie:']",
        "'cookie:'",
        "is no name of a cookie",
    );
    for fact in ["asn", "country", "crawler", "fingerprint", "token"] {
        let place = format!("'{fact}'");
        let what = format!("the fact `{fact}` is still to come; expected `client`");
        check(&format!("key = ['client', {place}]"), &place, &what);
    }
    check("key = []", "[]", "lists 0 facts; expected 1 to 8");
    check(
        "key = ['path', 'client', 'path']",
        "'path'",
        "`path` is there twice",
    );
    check(
        "key = ['site', 'client']",
        "'site'",
        "expected `site` alone",
    );
}

#[test]
fn what_all_share_is_known() {
    let shared = |text: &str| {
        let mut report = Report::default();
        rule(text).warn_of_sharing("rate_limit", &mut report);
        !report.warnings.is_empty()
    };
    assert!(shared("key = 'site'") && shared("key = 'path'"));
    assert!(!shared("key = ['path', 'prefix']") && !shared("key = 'header:x'"));
    let label = |text: &str| rule(text).label().as_str().to_owned();
    assert_eq!(
        label("key = ['path', 'header:X-Api-Key']"),
        "header:x-api-key+path"
    );
}
