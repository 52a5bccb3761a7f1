//! Answers of origins that break the protocol, or that clients of another version cannot be given.

use std::{
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use http::Request;

use crate::{
    harness::{Folder, Gateway, OPEN_SITE, PATIENCE, Reply, connect},
    scripted::{Scripted, answer},
    tls_client::{Client, SecureListener},
};

/// A gateway that speaks HTTP/1 in plain, and HTTP/2 over TLS for `a.example`.
struct Both {
    gateway: Gateway,
    client: Client,
    _files: Folder,
}

impl Both {
    fn before(origin: &Scripted) -> Self {
        let listener = SecureListener::named("a.example");
        let extra = format!("{}{OPEN_SITE}", listener.toml);
        Self {
            gateway: Gateway::start(origin.port, &extra),
            client: listener.client,
            _files: listener.files,
        }
    }

    fn h2(&self, path: &str) -> Result<Reply, String> {
        let request = Request::get(format!("https://a.example{path}"));
        let request = request.body(()).unwrap();
        self.client.h2_send("a.example", request, None)
    }

    fn reason(&self, reply: &Reply) -> String {
        let told = &self.gateway.explain(reply.id())["reason"];
        told.as_str().unwrap_or_default().to_owned()
    }
}

/// An origin that closes each connection after the answer whose number is the path.
fn answering(answers: impl IntoIterator<Item = String>) -> Scripted {
    let answers: Vec<String> = answers.into_iter().collect();
    Scripted::start(move |peer| {
        let head = peer.request().unwrap_or_default();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let number: usize = path.trim_start_matches('/').parse().unwrap();
        peer.say(&answers[number]);
    })
}

/// All that comes back, to the end of the connection.
fn raw(gateway: &Gateway, request: &str) -> String {
    let mut stream = connect(gateway.port).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
const ACCEPTED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nsmuggled";

#[test]
fn a_101_that_nobody_asked_for_is_a_bad_gateway() {
    let origin = Scripted::saying(ACCEPTED);
    let both = Both::before(&origin);
    let check = |line: &str, fields: &str| {
        let before = origin.heads().len();
        let answer = raw(
            &both.gateway,
            &format!("{line}\r\nHost: a.example\r\n{fields}\r\n"),
        );
        assert!(
            answer.starts_with("HTTP/1.1 502"),
            "{line} {fields}: {answer}"
        );
        assert!(!answer.contains("smuggled"), "{line} {fields}: {answer}");
        // Half of a wish is none (RFC 9110 section 7.8).
        let seen = origin.heads().remove(before).to_ascii_lowercase();
        assert!(!seen.contains("upgrade"), "{seen}");
    };
    let get = "GET / HTTP/1.1";
    check(get, "");
    check(get, "Upgrade: websocket\r\n");
    check(get, "Upgrade: websocket\r\nConnection: keep-alive\r\n");
    check(get, "Connection: Upgrade\r\n");
    check(get, "Connection: Upgrade\r\nUpgrade: h2c\r\n");
    check(get, "Connection: Upgrade\r\nUpgrade: websockets\r\n");
    check("GET / HTTP/1.0", UPGRADE);
    check("GET / HTTP/1.0", "");
    let reply = both.h2("/").unwrap();
    assert_eq!(reply.status, 502);
    assert_eq!(both.reason(&reply), "upstream.answer_invalid");
}

#[test]
fn a_101_that_does_not_say_what_was_asked_for_is_a_bad_gateway() {
    let answers = [
        "HTTP/1.1 101 X\r\nConnection: Upgrade\r\n",
        "HTTP/1.1 101 X\r\nUpgrade: websocket\r\n",
        "HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n",
        "HTTP/1.1 101 X\r\n",
        "HTTP/1.0 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    ];
    let both = Both::before(&answering(
        answers.map(|head| format!("{head}\r\nsmuggled")),
    ));
    for (number, head) in answers.iter().enumerate() {
        let answer = raw(
            &both.gateway,
            &format!("GET /{number} HTTP/1.1\r\nHost: a.example\r\n{UPGRADE}\r\n"),
        );
        assert!(answer.starts_with("HTTP/1.1 502"), "{head:?}: {answer}");
        assert!(!answer.contains("smuggled"), "{head:?}: {answer}");
    }
}

#[test]
fn a_transfer_coding_that_nobody_can_undo_is_a_bad_gateway() {
    let codings = [
        ("Transfer-Encoding: chunked", 200),
        ("transfer-encoding:  Chunked ", 200),
        ("Transfer-Encoding: gzip", 502),
        ("Transfer-Encoding: identity", 502),
        ("Transfer-Encoding: chunked, gzip", 502),
        ("Transfer-Encoding: chunked, identity", 502),
        ("Transfer-Encoding: chunked, chunked", 502),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            502,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            502,
        ),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 502),
        // Undoing it is nobody's promise: we ask for no coding (RFC 9110 section 10.1.4).
        ("Transfer-Encoding: gzip, chunked", 502),
        ("Transfer-Encoding: chunked,", 502),
        ("Transfer-Encoding: chunked;q=1", 502),
        ("Transfer-Encoding: xchunked", 502),
        ("Transfer-Encoding: \"chunked\"", 502),
        ("Transfer-Encoding:", 502),
    ];
    let answers = codings
        .map(|(fields, _)| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n4\r\ntext\r\n0\r\n\r\n"));
    let both = Both::before(&answering(answers));
    for (number, (fields, expected)) in codings.into_iter().enumerate() {
        let path = format!("/{number}");
        let first = both.gateway.get(&path, "");
        let old = format!("GET {path} HTTP/1.0\r\nHost: a.example\r\n\r\n");
        let old = both.gateway.send(&old);
        let second = both.h2(&path).unwrap();
        for reply in [&first, &old, &second] {
            assert_eq!(reply.status, expected, "{fields}");
            if expected == 502 {
                assert_eq!(both.reason(reply), "upstream.answer_invalid", "{fields}");
                assert!(!reply.body.contains("text\r"), "{fields}: {}", reply.body);
            }
        }
        if expected == 200 {
            assert!(first.body.starts_with("4\r\ntext\r\n"), "{}", first.body);
            assert_eq!((&*old.body, &*second.body), ("text", "text"), "{fields}");
        }
    }
}

#[test]
fn an_answer_that_is_cut_short_arrives_as_cut_short() {
    let starts = [
        "Transfer-Encoding: chunked\r\n\r\n4\r\ntext\r\n",
        "Transfer-Encoding: chunked\r\n\r\n8\r\ntext",
        "Transfer-Encoding: chunked\r\n\r\n4\r\ntext\r\n0\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\ntext\r\nzz\r\n",
        "Transfer-Encoding: chunked\r\n\r\n",
        "Content-Length: 8\r\n\r\ntext",
    ];
    let answers = starts.map(|start| format!("HTTP/1.1 200 OK\r\n{start}"));
    let both = Both::before(&answering(answers));
    for (number, start) in starts.into_iter().enumerate() {
        // The client would keep the connection; that it ends says that something is missing.
        let asked = format!("GET /{number} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let began = Instant::now();
        let answer = raw(&both.gateway, &asked);
        assert!(
            began.elapsed() < PATIENCE,
            "{start:?}: the connection stays open"
        );
        assert!(answer.starts_with("HTTP/1.1 200"), "{start:?}: {answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "{start:?}: {answer}");
        let second = both.h2(&format!("/{number}"));
        let error = second.expect_err(start);
        assert!(!error.contains("no answer in time"), "{start:?}: {error}");
    }
}

#[test]
fn what_came_of_a_short_answer_arrives_however_it_broke_off() {
    let origin = Scripted::start(|peer| {
        let head = peer.request().unwrap_or_default();
        if head.starts_with("GET /head") {
            peer.say("HTTP/1.1 200 OK\r\nContent-Le");
            return;
        }
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
        peer.say("piece");
        if head.starts_with("GET /later") {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let both = Both::before(&origin);
    for path in ["/at-once", "/later"].repeat(10) {
        let asked = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let answer = raw(&both.gateway, &asked);
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer:?}");
        assert!(answer.ends_with("\r\n\r\npiece"), "{path}: {answer:?}");
        let second = both.client.h1("a.example", "a.example", path, "");
        let second = second.expect("as much as came");
        assert_eq!((second.status, second.body.as_str()), (200, "piece"));
    }
    let asked = "GET /head HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let answer = raw(&both.gateway, asked);
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer:?}");
}

/// Reads a head, and a body of `length` bytes.
fn read(stream: &mut impl Read, length: usize) -> String {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    seen.extend_from_slice(&body);
    String::from_utf8(seen).unwrap()
}

#[test]
fn interim_answers_reach_whom_they_are_for() {
    let origin = Scripted::saying(
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let both = Both::before(&origin);
    // HTTP/1.0 knows none (RFC 9110 section 15.2).
    for connection in ["", "Connection: keep-alive\r\n"] {
        let request = format!("GET / HTTP/1.0\r\nHost: a.example\r\n{connection}\r\n");
        let mut stream = connect(both.gateway.port).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let answer = read(&mut stream, 2);
        assert!(
            answer.contains(" 200 ") && answer.ends_with("ok"),
            "{answer}"
        );
    }
    let mut stream = connect(both.gateway.port).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        .unwrap();
    assert!(read(&mut stream, 0).starts_with("HTTP/1.1 102"));
    let hints = read(&mut stream, 0);
    assert!(
        hints.starts_with("HTTP/1.1 103") && hints.contains("preload"),
        "{hints}"
    );
    assert!(read(&mut stream, 2).ends_with("ok"));
    let reply = both.h2("/").unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, "ok"));
}

#[test]
fn an_interim_answer_is_no_answer() {
    let origin = Scripted::saying("HTTP/1.1 103 Early Hints\r\n\r\n");
    let both = Both::before(&origin);
    let answer = raw(&both.gateway, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(answer.contains("HTTP/1.1 502"), "{answer}");
    assert_eq!(both.h2("/").unwrap().status, 502);
}

#[test]
fn an_origin_that_never_comes_to_its_answer_is_a_bad_gateway() {
    let origin = Scripted::start(|peer| {
        while let Some(head) = peer.request() {
            let path = head.split(' ').nth(1).unwrap_or_default();
            for _ in 0..path.trim_start_matches('/').parse().unwrap_or(0) {
                peer.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
            }
            peer.say(&answer("ok"));
        }
    });
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    for (count, last) in [(32, "200"), (33, "502"), (20_000, "502")] {
        let answer = raw(
            &gateway,
            &format!("GET /{count} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"),
        );
        let passed = answer.matches("HTTP/1.1 103").count();
        assert!(
            passed == 32 || passed < 32 && last == "502",
            "{count}: {passed}"
        );
        let end = answer.rsplit_once("HTTP/1.1 ").unwrap().1;
        assert!(end.starts_with(last), "{count}: {end}");
    }
}

#[test]
fn an_answer_without_a_body_announces_none() {
    // RFC 9112 section 6.1, RFC 9110 section 8.6.
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    let chunks = "Transfer-Encoding: chunked\r\n\r\n4\r\ntext\r\n0\r\n\r\n";
    let text = "Content-Length: 4\r\n\r\ntext";
    let cases: [(u16, &str); 9] = [
        (204, chunked),
        (204, chunks),
        (204, text),
        (204, "Content-Length: 0\r\n\r\n"),
        (204, "\r\n"),
        (304, chunked),
        (304, chunks),
        (304, "ETag: \"a\"\r\nContent-Length: 4\r\n\r\n"),
        (304, text),
    ];
    let origin = Scripted::start(move |peer| {
        while let Some(head) = peer.request() {
            let path = head.split(' ').nth(1).unwrap_or_default();
            match path.trim_start_matches('/').parse::<usize>() {
                Ok(number) => {
                    let (status, rest) = cases[number];
                    peer.say(&format!("HTTP/1.1 {status} X\r\n{rest}"));
                }
                Err(_) => peer.say(&answer("next")),
            }
        }
    });
    let both = Both::before(&origin);
    for (number, (status, rest)) in cases.into_iter().enumerate() {
        let mut stream = connect(both.gateway.port).unwrap();
        write!(stream, "GET /{number} HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
        let head = read(&mut stream, 0);
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{rest:?}: {head}"
        );
        let gone = ["transfer-encoding", "content-length"];
        for field in &gone[..if status == 204 { 2 } else { 1 }] {
            assert!(
                !head.to_ascii_lowercase().contains(field),
                "{rest:?}: {head}"
            );
        }
        // No byte of a body is taken for the next answer.
        let next = "GET /next HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        stream.write_all(next.as_bytes()).unwrap();
        let next = read(&mut stream, 4);
        assert!(
            next.starts_with("HTTP/1.1 200") && next.ends_with("next"),
            "{rest:?}: {next}"
        );
        let reply = both.h2(&format!("/{number}")).unwrap();
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (status, ""),
            "{rest:?}"
        );
    }
}

#[test]
fn who_waits_for_a_100_gets_one_from_us() {
    // It never says 100 by itself.
    let origin = Scripted::start(|peer| {
        while let Some(head) = peer.request() {
            let expects = head.to_ascii_lowercase().contains("expect:");
            peer.say(&answer(if expects { "expects" } else { "served!" }));
        }
    });
    let both = Both::before(&origin);
    let mut stream = connect(both.gateway.port).unwrap();
    for _ in 0..2 {
        let head = "PUT / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let interim = read(&mut stream, 0);
        assert!(
            interim.starts_with("HTTP/1.1 100 Continue\r\n"),
            "{interim}"
        );
        stream.write_all(b"text").unwrap();
        let reply = read(&mut stream, 7);
        assert!(reply.ends_with("served!"), "{reply}");
    }
    // Who does not wait gets on as well.
    let reply = both.gateway.send(
        "PUT / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\
         Connection: close\r\n\r\ntext",
    );
    assert_eq!(reply.status, 100);
    assert!(reply.body.ends_with("served!"), "{}", reply.body);
}

#[test]
fn a_failure_after_our_100_is_still_told() {
    let origin = Scripted::start(|peer| {
        peer.request();
    });
    let both = Both::before(&origin);
    let answer = raw(
        &both.gateway,
        "POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\ntext",
    );
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 502"),
        "{answer}"
    );
}

#[test]
fn an_answers_head_has_bounds_that_are_told() {
    let fields = |count: usize, length: usize| {
        let value = "x".repeat(length);
        let fields: String = (0..count).map(|n| format!("X-{n}: {value}\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fields}\r\nok")
    };
    let cases = [
        (fields(200, 10), 200, ""),
        (fields(300, 10), 502, "upstream.too_many_fields"),
        (fields(3, 100_000), 200, ""),
        (fields(200, 10_000), 502, "upstream.head_too_large"),
    ];
    let both = Both::before(&answering(cases.clone().map(|(answer, ..)| answer)));
    for (number, (_, status, reason)) in cases.iter().enumerate() {
        let path = format!("/{number}");
        for reply in [both.gateway.get(&path, ""), both.h2(&path).unwrap()] {
            assert_eq!(reply.status, *status, "{reason}");
            assert_eq!(both.reason(&reply), *reason);
        }
    }
}
