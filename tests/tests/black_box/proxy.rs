//! What a client and an origin see of each other.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use crate::harness::{CHROME, Gateway, OPEN_SITE, Origin, connect, free_port, send};

#[test]
fn a_request_reaches_the_origin_with_the_clients_facts() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    let reply = gateway.send(
        "GET /a?b=c HTTP/1.1\r\nHost: Shop.Example\r\nX-Forwarded-For: 203.0.113.9\r\n\
         X-Real-IP: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil.example\r\nX-Request-Id: mine\r\nProxy-Authorization: secret\r\n\
         Connection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nCookie: a=b\r\n\r\n",
    );
    assert_eq!((reply.status, reply.body.as_str()), (200, "origin"));
    let seen = origin.requests().remove(0).to_ascii_lowercase();
    let has = |line: &str| seen.lines().any(|seen| seen == line);
    assert!(seen.starts_with("get /a?b=c http/1.1\r\n"), "{seen}");
    for line in [
        "host: shop.example",
        "x-forwarded-for: 127.0.0.1",
        "x-real-ip: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: shop.example",
        "cookie: a=b",
        &format!("x-request-id: {}", reply.id()),
    ] {
        assert!(has(line), "{line} is not in\n{seen}");
    }
    for gone in ["203.0.113.9", "evil", "mine", "secret", "x-hop", "te:"] {
        assert!(!seen.contains(gone), "{gone} is in\n{seen}");
    }
}

/// CGI makes one variable of all of these, and lighttpd of the first and the last: nginx passes none.
#[test]
fn names_that_an_origin_folds_do_not_reach_it() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    let mut fields = String::new();
    for name in [
        "X-Real-IP",
        "Client-Cert",
        "X-Original-URL",
        "X-Forwarded-For",
    ] {
        for byte in "!#$%&'*+.^_`|~".chars() {
            let folded = name.replace('-', &byte.to_string());
            fields.push_str(&format!("{folded}: folded\r\n"));
        }
    }
    assert_eq!(
        gateway
            .get("/", &format!("{fields}X-Plain-1: plain\r\n"))
            .status,
        200
    );
    let seen = origin.requests().remove(0);
    assert!(!seen.contains("folded"), "{seen}");
    assert!(
        seen.to_ascii_lowercase().contains("x-plain-1: plain\r\n"),
        "{seen}"
    );
}

#[test]
fn a_trusted_proxys_word_counts() {
    let origin = Origin::start();
    let trusted = format!("[client_address]\ntrusted_proxies = [\"127.0.0.0/8\"]\n{OPEN_SITE}");
    let gateway = Gateway::start(origin.port, &trusted);
    let reply = gateway.get(
        "/",
        "X-Forwarded-For: 198.51.100.66, 203.0.113.9\r\nX-Forwarded-Proto: https\r\n",
    );
    let seen = origin.requests().remove(0).to_ascii_lowercase();
    assert!(
        seen.contains("x-forwarded-for: 198.51.100.66, 203.0.113.9, 127.0.0.1\r\n"),
        "{seen}"
    );
    assert!(seen.contains("x-forwarded-proto: https\r\n"), "{seen}");
    assert_eq!(gateway.explain(reply.id())["client"], "203.0.113.9");
}

#[test]
fn hosts_choose_sites_and_bad_ones_are_refused() {
    let (first, second) = (Origin::start(), Origin::start());
    let sites = format!(
        "[[upstream]]\nname = \"p\"\nservers = [{{ address = \"127.0.0.1:{}\" }}]\n\
         [[site]]\nname = \"a\"\nhosts = [\"a.example\"]\nupstream = \"o\"\npipeline = \"open\"\n\
         [[site]]\nname = \"b\"\nhosts = [\"*.b.example\"]\nupstream = \"p\"\npipeline = \"open\"\n\
         [[pipeline]]\nname = \"open\"\n",
        second.port
    );
    let gateway = Gateway::start(first.port, &sites);
    let check = |host: &str, status: u16, first_sees: usize, second_sees: usize| {
        let reply = gateway.send(&format!(
            "GET / HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
        ));
        assert_eq!(reply.status, status, "{host:?}");
        assert_eq!(first.requests().len(), first_sees, "{host:?}");
        assert_eq!(second.requests().len(), second_sees, "{host:?}");
        reply
    };
    check("Host: a.example\r\n", 200, 1, 0);
    check("Host: x.b.example:8080\r\n", 200, 1, 1);
    check("Host: b.example\r\n", 421, 1, 1);
    check("", 400, 1, 1);
    let reply = check("Host: a/../b?\"<x>\r\n", 400, 1, 1);
    assert!(!reply.body.contains("<x>") && !reply.head.contains("<x>"));
    let decided = gateway.explain(reply.id());
    assert_eq!(
        (&decided["reason"], &decided["ruling"]),
        (&"host.invalid".into(), &"error".into())
    );
}

#[test]
fn error_pages_reflect_nothing_and_a_dead_origin_is_tried_twice() {
    let gateway = Gateway::start(free_port(), OPEN_SITE);
    let reply = gateway.get(
        "/marker-1?marker-2",
        "User-Agent: marker-3\r\nReferer: marker-4\r\n",
    );
    assert_eq!(reply.status, 502);
    assert!(
        !reply.body.contains("marker") && !reply.head.contains("marker"),
        "{reply:?}"
    );
    assert!(
        !reply.head.to_ascii_lowercase().contains("pingora"),
        "{}",
        reply.head
    );
    let decided = gateway.explain(reply.id());
    assert_eq!(decided["reason"], "upstream.connect_failed");
    assert_eq!(decided["failed_connects"], 2);
    assert_eq!(
        gateway.metric("thornwall_answers_total{reason=\"upstream.connect_failed\"}"),
        1.0
    );
}

#[test]
fn an_origin_that_breaks_off_is_a_bad_gateway() {
    let check = |answer: &'static str, reason: &str| {
        let gateway = Gateway::start(Origin::answering(answer, Duration::ZERO).port, OPEN_SITE);
        let reply = gateway.get("/", "");
        assert_eq!(reply.status, 502, "{answer:?}");
        assert_eq!(gateway.explain(reply.id())["reason"], reason);
    };
    check("", "upstream.failed");
    check("this is not HTTP\r\n\r\n", "upstream.failed");
}

#[test]
fn a_silent_origin_is_a_gateway_timeout() {
    let origin = Origin::answering("", Duration::from_secs(10));
    let extra = OPEN_SITE.replace("upstream = \"o\"", "upstream = \"s\"");
    let extra = format!(
        "[[upstream]]\nname = \"s\"\nservers = [{{ address = \"127.0.0.1:{}\" }}]\n\
         read_timeout_secs = 1\n{extra}",
        origin.port
    );
    let gateway = Gateway::start(origin.port, &extra);
    let reply = gateway.get("/", "");
    assert_eq!(reply.status, 504);
    assert_eq!(gateway.explain(reply.id())["reason"], "upstream.timeout");
}

#[test]
fn an_old_origins_answer_arrives_whole_as_http_1_1() {
    let origin = Origin::answering(
        "HTTP/1.0 200 OK\r\nX-Old: 1\r\n\r\nold text",
        Duration::ZERO,
    );
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    let reply = gateway.get("/", CHROME);
    assert!(reply.head.starts_with("HTTP/1.1 200"), "{}", reply.head);
    assert!(reply.body.contains("old text"), "{}", reply.body);
}

#[test]
fn keepalive_serves_one_request_after_the_other() {
    let origin = Origin::start();
    let gateway = Gateway::start(origin.port, OPEN_SITE);
    let mut stream = connect(gateway.port).unwrap();
    for turn in 1..=5 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            .unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\norigin") {
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "closed in turn {turn}");
            seen.extend_from_slice(&buffer[..count]);
        }
    }
    assert_eq!(origin.requests().len(), 5);
}

/// An origin that agrees to a WebSocket and sends back what it reads.
pub(crate) fn echoing_origin() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                }
                let answer: &[u8] = if head.starts_with(b"GET /chat") {
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                      Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                } else {
                    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                };
                stream.write_all(answer).unwrap();
                let mut echo = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut stream, &mut echo);
            });
        }
    });
    port
}

pub(crate) const WEBSOCKET: &str = "Host: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn of_many_websockets_none_ends_with_its_handshake() {
    let gateway = Gateway::start(echoing_origin(), OPEN_SITE);
    for number in 0..300 {
        let mut stream = open_websocket(gateway.port);
        stream.write_all(b"x").unwrap();
        let echoed = stream.read_exact(&mut [0]);
        assert!(echoed.is_ok(), "number {number}: {echoed:?}");
    }
}

#[test]
fn a_websocket_carries_bytes_both_ways() {
    let gateway = Gateway::start(echoing_origin(), OPEN_SITE);
    let mut stream = open_websocket(gateway.port);
    for turn in 0..3 {
        let sent = format!("frame {turn}");
        stream.write_all(sent.as_bytes()).unwrap();
        let mut echoed = vec![0; sent.len()];
        stream.read_exact(&mut echoed).unwrap();
        assert_eq!(echoed, sent.as_bytes());
    }
}

/// A WebSocket whose handshake is over.
fn open_websocket(port: u16) -> TcpStream {
    let mut stream = connect(port).unwrap();
    write!(stream, "GET /chat HTTP/1.1\r\n{WEBSOCKET}\r\n").unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    stream
}

#[test]
fn upgrade_requests_meet_the_same_filters() {
    let lists = crate::harness::Folder::new();
    let list = lists.write("deny.txt", "127.0.0.0/8\n");
    let extra = format!(
        "[[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
         [[pipeline]]\nname = \"p\"\n[[pipeline.filter]]\nname = \"known_bad\"\n\
         blocklist = {{ files = [\"{}\"] }}\n",
        list.display()
    );
    let gateway = Gateway::start(echoing_origin(), &extra);
    for upgrade in ["websocket", "h2c", "x"] {
        let headers = WEBSOCKET
            .replace("websocket", upgrade)
            .replace(": Upgrade", ": Upgrade, close");
        let reply = send(
            gateway.port,
            &format!("GET /chat HTTP/1.1\r\n{headers}\r\n"),
        );
        assert_eq!(reply.status, 403, "{upgrade}");
    }
}

#[test]
fn what_origins_may_mistake_for_our_word_is_taken_out() {
    let origin = Origin::start();
    let named = format!("[client_address]\nheader = \"cf-connecting-ip\"\n{OPEN_SITE}");
    let gateway = Gateway::start(origin.port, &named);
    let reply = gateway.send(
        "GET http://t.example/a?b HTTP/1.1\r\nHost: t.example\r\nX_Forwarded_For: 6.6.6.6\r\n\
         X_Real_IP: 6.6.6.6\r\nCF-Connecting-IP: 6.6.6.6\r\nX-Forwarded-User: 6.6.6.6\r\n\
         X-Forwarded-Client-Cert: 6.6.6.6\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(reply.status, 200);
    let seen = origin.requests().remove(0);
    assert!(seen.starts_with("GET /a?b HTTP/1.1\r\n"), "{seen}");
    assert!(!seen.contains("6.6.6.6"), "{seen}");
}

#[test]
fn a_byte_that_is_no_text_hides_nobody() {
    let origin = Origin::start();
    let trusted = format!("[client_address]\ntrusted_proxies = [\"127.0.0.0/8\"]\n{OPEN_SITE}");
    let gateway = Gateway::start(origin.port, &trusted);
    let mut stream = connect(gateway.port).unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: \xff, 203.0.113.77\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let reply = crate::harness::Reply::parse(&answer).unwrap();
    assert_eq!(gateway.explain(reply.id())["client"], "203.0.113.77");
    assert!(
        origin.requests()[0].contains("203.0.113.77, 127.0.0.1"),
        "{:?}",
        origin.requests()
    );
}

#[test]
fn an_old_client_reads_to_the_end_of_the_connection() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntext\r\n0\r\n\r\n";
    let gateway = Gateway::start(Origin::answering(chunked, Duration::ZERO).port, OPEN_SITE);
    let reply = gateway.send("GET / HTTP/1.0\r\nHost: t\r\n\r\n");
    assert_eq!((reply.status, reply.body.as_str()), (200, "text"));
    assert_eq!(reply.header("transfer-encoding"), None);
    let gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    let reply = gateway.send("GET / HTTP/1.0\r\nHost: t\r\n\r\n");
    assert_eq!(
        (reply.body.as_str(), reply.header("connection")),
        ("origin", Some("close"))
    );
}

#[test]
fn an_endless_method_is_not_kept() {
    let gateway = Gateway::start(Origin::start().port, OPEN_SITE);
    let method = "A".repeat(100_000);
    let reply = gateway.send(&format!(
        "{method} / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
    ));
    let kept = gateway.explain(reply.id())["method"]
        .as_str()
        .unwrap()
        .len();
    assert_eq!(kept, 32);
}
