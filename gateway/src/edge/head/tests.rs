//! The judge held against the table of raw requests, which the black-box tests send to a running
//! gateway, and against what the table cannot say.

use serde::Deserialize;
use thornwall_detectors::signal::Reason;

use super::{Framing, HeadLimits, Refusal, Scan, judge, scan};

const LIMITS: HeadLimits = HeadLimits {
    max_bytes: 32 << 10,
    max_fields: 128,
};

#[derive(Deserialize)]
struct Table {
    row: Vec<Row>,
}

/// What of a row concerns the judge.
#[derive(Deserialize)]
struct Row {
    name: String,
    send: String,
    repeat: Option<(String, usize)>,
    status: u16,
    #[serde(default)]
    late: bool,
    body: Option<String>,
}

impl Row {
    fn bytes(&self) -> Vec<u8> {
        let filler = self.repeat.as_ref();
        let filler = filler.map_or_else(String::new, |(text, count)| text.repeat(*count));
        let text = self.send.replace("{repeat}", &filler);
        text.chars().map(|c| u8::try_from(c).unwrap()).collect()
    }
}

fn table() -> Vec<Row> {
    let text = include_str!("../../../../tests/tests/black_box/requests.toml");
    toml::from_str::<Table>(text).unwrap().row
}

/// What becomes of bytes that arrive `step` at a time.
fn ask(bytes: &[u8], step: usize) -> Result<Option<Framing>, Refusal> {
    let (mut scanned, mut there) = (0, 0);
    while there < bytes.len() {
        there = bytes.len().min(there + step);
        let before = scanned;
        if let Scan::Complete(end) = scan(&bytes[..there], &mut scanned, &LIMITS)? {
            return judge(&bytes[..end], &LIMITS).map(|judged| Some(judged.framing));
        }
        assert!((before..=there).contains(&scanned), "never looks back");
    }
    Ok(None)
}

#[test]
fn the_table_is_followed() {
    for row in table() {
        let bytes = row.bytes();
        let judged = ask(&bytes, bytes.len());
        let name = &row.name;
        if row.status != 200 && !row.late {
            assert_eq!(
                judged.map_err(|refusal| refusal.status),
                Err(row.status),
                "{name}"
            );
            continue;
        }
        let framing = judged.unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
        let framing = framing.unwrap_or_else(|| panic!("{name}: no end"));
        if let Some(body) = &row.body {
            let empty = matches!(framing, Framing::None | Framing::Length(0));
            assert_eq!(body.is_empty(), empty, "{name}: {framing:?}");
        }
    }
}

#[test]
fn a_head_that_arrives_in_pieces_is_judged_alike() {
    for row in table() {
        let bytes = row.bytes();
        let whole = ask(&bytes, bytes.len());
        for step in [1, 2, 3, 7] {
            let pieces = ask(&bytes, step);
            // Which rule is broken first depends on what is there, but not whether one is.
            assert_eq!(pieces.is_ok(), whole.is_ok(), "{} by {step}", row.name);
            if whole.is_ok() {
                assert_eq!(pieces, whole, "{} by {step}", row.name);
            }
        }
    }
}

#[test]
fn noise_and_broken_lines_are_refused_before_their_end() {
    let check = |bytes: &[u8], expected: Option<Reason>| {
        let refused = scan(bytes, &mut 0, &LIMITS)
            .err()
            .map(|refusal| refusal.reason);
        assert_eq!(refused, expected, "{}", bytes.escape_ascii());
    };
    check(b"\x16", Some(Reason::RequestNotHttp));
    check(b"\x00", Some(Reason::RequestNotHttp));
    check(b"\r\n ", Some(Reason::RequestNotHttp));
    check(b"PRI * HTTP/2.0", Some(Reason::RequestNotHttp));
    check(b"GET / HTTP/1.1\n", Some(Reason::RequestLineInvalid));
    check(b"GET / HTTP/1.1\rX", Some(Reason::RequestLineInvalid));
    check(b"GET / HTTP/1.1\r\nX: \0", Some(Reason::RequestLineInvalid));
    check(b"\n", Some(Reason::RequestNotHttp));
    check(b"\r\n\n", Some(Reason::RequestNotHttp));
    check(b"\r\r", Some(Reason::RequestLineInvalid));
    check(
        b"GET / HTTP/1.1\r\nX: \x7f",
        Some(Reason::RequestLineInvalid),
    );
    check(b"\r\n\r\n", Some(Reason::RequestLineInvalid));
    for partial in [
        b"".as_slice(),
        b"\r",
        b"\r\n",
        b"\r\n\r",
        b"G",
        b"GET / HTTP/1.1\r",
    ] {
        check(partial, None);
    }
}

#[test]
fn limits_hold_to_the_byte_and_to_the_field() {
    let check = |bytes: &[u8], max_bytes: usize, max_fields: usize, expected: Option<u16>| {
        let limits = HeadLimits {
            max_bytes,
            max_fields,
        };
        let scanned = scan(bytes, &mut 0, &limits);
        let judged = scanned.and_then(|scanned| match scanned {
            Scan::Complete(end) => judge(&bytes[..end], &limits).map(|_| ()),
            Scan::Partial => Ok(()),
        });
        assert_eq!(judged.err().map(|refusal| refusal.status), expected);
    };
    let head = b"GET / HTTP/1.1\r\nHost: t\r\nX: y\r\n\r\nbody";
    check(head, 33, 2, None);
    check(head, 32, 2, Some(431));
    check(head, 33, 1, Some(431));
    check(head, 16, 2, Some(431));
    check(head, 15, 2, Some(414));
    check(b"GET /aaaa", 10, 2, None);
    check(b"GET /aaaaa", 10, 2, Some(414));
    check(b"GET / HTTP/1.1\r\nX: aaaa", 23, 2, Some(431));
}

#[test]
fn a_body_is_framed_as_it_is_sent() {
    let check = |fields: &str, expected: Framing| {
        let head = format!("POST / HTTP/1.1\r\nHost: t\r\n{fields}\r\n");
        let framing = judge(head.as_bytes(), &LIMITS).map(|judged| judged.framing);
        assert_eq!(framing, Ok(expected), "{fields}");
    };
    check("", Framing::None);
    check("Content-Length: 0\r\n", Framing::Length(0));
    check(
        "content-length:  999999999999999999 \r\n",
        Framing::Length(999_999_999_999_999_999),
    );
    check("Transfer-Encoding:chunked\r\n", Framing::Chunked);
    check(
        "X-Content-Length: 5\r\nTransfer-Encodings: x\r\n",
        Framing::None,
    );
}

#[test]
fn a_head_goes_on_with_a_target_that_is_one() {
    let check = |head: &str, expected: &str| {
        let judged = judge(head.as_bytes(), &LIMITS).unwrap();
        let safe = judged.safe(head.as_bytes().into());
        assert_eq!(safe, expected.as_bytes());
    };
    let fields = "HTTP/1.1\r\nHost: t\r\nX: \u{e9}#<\r\n\r\n";
    for (sent, safe) in [
        ("\r\nGET /\u{e9}#x", "\r\nGET /%C3%A9"),
        ("OPTIONS http://t/?<", "OPTIONS http://t/?%3C"),
        ("GET /a?b", "GET /a?b"),
    ] {
        check(&format!("{sent} {fields}"), &format!("{safe} {fields}"));
    }
    assert!(judge(format!("GET http://t#x {fields}").as_bytes(), &LIMITS).is_err());
}

#[test]
fn bytes_after_the_blank_line_are_no_head() {
    let head = b"GET / HTTP/1.1\r\nHost: t\r\n\r\nGET / HTTP/1.1\r\nHost: t\r\n\r\n";
    assert!(judge(head, &LIMITS).is_err());
    assert!(judge(&head[..20], &LIMITS).is_err());
    assert!(judge(b"", &LIMITS).is_err());
}
