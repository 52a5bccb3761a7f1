//! Connections to origins that are kept for the next request, and what becomes of it where they
//! turn out to be over.

use std::{
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

use crate::{
    harness::{Gateway, PATIENCE, Reply, connect, wait_for},
    scripted::{Peer, Scripted, answer},
    upstream::{config, metric_of_upstream, send},
};

/// No further try is allowed, so that none is needed.
const NO_RETRIES: &str = "retry = { most = 0, percent = 0, floor_per_sec = 0 }";

fn gateway(origin: &Scripted, keys: &str) -> Gateway {
    let server = format!("address = \"127.0.0.1:{}\"", origin.port);
    Gateway::start(9, &config(&[&server], keys))
}

fn get(gateway: &Gateway) -> Reply {
    gateway.get("/", "")
}

#[test]
fn an_origin_that_closes_without_saying_so_fails_no_request() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&closed);
    let origin = Scripted::start(move |peer| {
        peer.request();
        peer.say(&answer("once"));
        peer.close();
        count.fetch_add(1, SeqCst);
    });
    let gateway = gateway(&origin, NO_RETRIES);
    // As fast as answers come, the end of the connection may still be on its way.
    let client = || {
        let mut stream = connect(gateway.port).unwrap();
        for _ in 0..100 {
            let request = b"GET / HTTP/1.1\r\nHost: t.example\r\n\r\n";
            stream.write_all(request).unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\nonce") {
                let mut buffer = [0; 1024];
                let read = stream.read(&mut buffer).unwrap();
                seen.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&seen);
                assert!(read > 0 && text.starts_with("HTTP/1.1 200"), "{text}");
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(client);
        }
    });
    // Nothing is written to a connection that has ended, so that this is as good as any other.
    for done in 800..900 {
        wait_for("the origin to close", || closed.load(SeqCst) >= done);
        assert_eq!(send(&gateway, "POST").status, 200);
    }
    assert_eq!(metric_of_upstream(&gateway, "retries_total"), 0.0);
    assert_eq!(metric_of_upstream(&gateway, "retries_refused_total"), 0.0);
}

/// Answers the first request of a connection, reads the second one, and leaves.
fn leaves_at_the_second(peer: &mut Peer) {
    peer.request();
    peer.say(&answer("first"));
    peer.request();
}

#[test]
fn a_kept_connection_that_breaks_is_replaced_for_what_may_be_sent_twice() {
    let origin = Scripted::start(leaves_at_the_second);
    let gateway = gateway(&origin, NO_RETRIES);
    let check = |method: &str, status: u16| {
        assert_eq!(get(&gateway).status, 200, "a connection is kept");
        let before = origin.heads().len();
        assert_eq!(send(&gateway, method).status, status, "{method}");
        let seen = origin.heads().split_off(before);
        let times = if status == 200 { 2 } else { 1 };
        assert_eq!(seen.len(), times, "{method}: {seen:?}");
    };
    let idempotent = [
        "OPTIONS", "PUT", "PROPFIND", "MKCOL", "REPORT", "COPY", "UNLOCK",
    ];
    for method in idempotent {
        check(method, 200);
    }
    // Whether the origin has done it already, nobody knows (RFC 9110 section 9.2.2).
    for method in ["POST", "PATCH", "LOCK"] {
        check(method, 502);
    }
    assert_eq!(metric_of_upstream(&gateway, "retries_total"), 0.0);
    assert_eq!(metric_of_upstream(&gateway, "retries_refused_total"), 0.0);
}

#[test]
fn a_body_that_is_too_long_to_be_kept_is_sent_once() {
    let origin = Scripted::start(leaves_at_the_second);
    let gateway = gateway(&origin, "");
    let put = |length: usize| {
        assert_eq!(get(&gateway).status, 200, "a connection is kept");
        let body = "x".repeat(length);
        gateway.send(&format!(
            "PUT / HTTP/1.1\r\nHost: t.example\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        ))
    };
    assert_eq!(put(60_000).status, 200);
    assert_eq!(put(200_000).status, 502);
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn fresh(gateway: &Gateway, method: &str) -> Reply {
    gateway.send(&format!(
        "{method} /fresh HTTP/1.1\r\nHost: t.example\r\nConnection: close\r\n\r\n"
    ))
}

#[test]
fn a_body_that_comes_too_late_fails_no_request_that_may_be_sent_again() {
    let origin = Scripted::start(|peer| {
        while let Some(asked) = peer.request() {
            if asked.starts_with("HEAD ") {
                peer.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n");
                // It notices that it owes a body when the next request is there.
                peer.request();
                peer.say("origin");
            }
            peer.say(&answer("fresh"));
        }
    });
    let gateway = gateway(&origin, NO_RETRIES);
    for method in ["GET", "PUT", "OPTIONS"] {
        let head = gateway.send("HEAD / HTTP/1.1\r\nHost: t.example\r\nConnection: close\r\n\r\n");
        assert_eq!(head.status, 200);
        let reply = fresh(&gateway, method);
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, "fresh"),
            "{method}"
        );
    }
    assert_eq!(metric_of_upstream(&gateway, "retries_total"), 0.0);
}

#[test]
fn what_nobody_asked_for_ends_the_connection_that_it_came_over() {
    let check = |method: &str, first: &'static str, late: &'static str| {
        let (told, tells) = mpsc::channel();
        let (ended, ends) = mpsc::channel();
        let origin = Scripted::start(move |peer| {
            let mut is_spent = false;
            while let Some(asked) = peer.request() {
                if is_spent {
                    // Whoever asks here gets what is nobody's.
                    peer.say(&answer("stale"));
                } else if asked.contains(" /fresh ") {
                    peer.say(&answer("fresh"));
                } else {
                    is_spent = true;
                    peer.say(first);
                    peer.say(late);
                    let _ = told.send(());
                }
            }
            let _ = ended.send(());
        });
        let gateway = gateway(&origin, NO_RETRIES);
        for turn in 0..20 {
            let mut stream = connect(gateway.port).unwrap();
            write!(
                stream,
                "{method} /{turn} HTTP/1.1\r\nHost: t.example\r\n\r\n"
            )
            .unwrap();
            let head = read_head(&mut stream);
            assert!(
                head.starts_with("HTTP/1.1 200"),
                "{method} {late:?}: {head}"
            );
            tells.recv_timeout(PATIENCE).unwrap();
            if late.len() == 1 {
                // Pingora takes a byte off an idle connection before it takes the connection out of
                // the pool: a request that gets it in between finds nothing there.
                ends.recv_timeout(PATIENCE)
                    .expect("the connection is not kept");
            }
            for method in ["GET", "POST"] {
                let reply = fresh(&gateway, method);
                let got = (reply.status, reply.body.as_str());
                assert_eq!(got, (200, "fresh"), "{turn}: {method} after {late:?}");
            }
        }
    };
    let six = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n";
    check("HEAD", six, "origin");
    check(
        "HEAD",
        six,
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nnobody",
    );
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\norigin";
    check("GET", whole, "x");
    check(
        "GET",
        whole,
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nnobody",
    );
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    check(
        "GET",
        chunked,
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nnobody",
    );
    let nothing = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    check("POST", nothing, "\r\n");
}

#[test]
fn the_origins_own_time_for_kept_connections_is_heeded() {
    let (tell, left) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let origin = Scripted::start(move |peer| {
        while peer.request().is_some() {
            peer.say(
                "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=3, max=100\r\nConnection: Keep-Alive\r\n\
                 Content-Length: 2\r\n\r\nok",
            );
        }
        let _ = tell.lock().unwrap().send(());
    });
    // A time that would outlast every wait of this test.
    let gateway = gateway(&origin, "idle_timeout_secs = 600");
    for _ in 0..2 {
        let reply = get(&gateway);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("keep-alive"), None, "{}", reply.head);
    }
    left.recv_timeout(PATIENCE)
        .expect("the gateway lets go of the connection before the origin does");
    assert_eq!(get(&gateway).status, 200);
}

#[test]
fn what_concerns_one_connection_goes_no_further() {
    let origin = Scripted::saying(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Hop , x-other, Content-Length,Cache-Control\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nX-Hop: 1\r\nX-Other: 2\r\n\
         Upgrade: h2c\r\nTE: gzip\r\nProxy-Authenticate: Basic\r\nCache-Control: no-store\r\nX-End: 3\r\n\
         Content-Length: 2\r\n\r\nok",
    );
    let gateway = gateway(&origin, "");
    let reply = get(&gateway);
    assert_eq!((reply.status, reply.body.as_str()), (200, "ok"));
    for gone in [
        "keep-alive",
        "proxy-connection",
        "x-hop",
        "x-other",
        "upgrade",
        "te",
    ] {
        assert_eq!(reply.header(gone), None, "{}", reply.head);
    }
    // Fields that are meant for everybody cannot be named (RFC 9110 section 7.6.1).
    for (kept, value) in [
        ("cache-control", "no-store"),
        ("content-length", "2"),
        ("x-end", "3"),
    ] {
        assert_eq!(reply.header(kept), Some(value), "{}", reply.head);
    }
}
