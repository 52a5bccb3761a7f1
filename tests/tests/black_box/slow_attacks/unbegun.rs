//! Uploads of which nothing comes: the origin hears nothing of them, and so keeps its workers.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    BOUND, SHORT, attacker, closed,
    frames::{Client, DATA, END_HEADERS, END_STREAM, HEADERS, NONE, POST, field, fields},
    gateway, head, person_is_served,
    secure::Secure,
    silence, until_gone,
};
use crate::harness::wait_for;

/// An origin that counts heads of uploads, and answers once a body is there.
struct Counting {
    site: super::Site,
    begun: Arc<AtomicUsize>,
}

impl Counting {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let site = super::Site::at(listener.local_addr().unwrap().port());
        let begun: Arc<AtomicUsize> = Arc::default();
        let counts = Arc::clone(&begun);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let counts = Arc::clone(&counts);
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().ok()?);
                    loop {
                        let (path, length) = head(&mut reader)?;
                        counts.fetch_add(usize::from(path == UPLOAD), Ordering::SeqCst);
                        let mut body = vec![0; usize::try_from(length).ok()?];
                        std::io::Read::read_exact(&mut reader, &mut body).ok()?;
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                        stream.write_all(answer).ok()?;
                    }
                    #[expect(unreachable_code, reason = "it says what the block comes to")]
                    Some(())
                });
            }
        });
        Self { site, begun }
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

const UPLOAD: &str = "/upload";

/// The head of an upload of four bytes.
fn upload(field: &str) -> String {
    format!("POST {UPLOAD} HTTP/1.1\r\nHost: t.example\r\nContent-Length: 4\r\n{field}\r\n")
}

#[test]
fn an_upload_that_does_not_begin_never_reaches_its_origin() {
    let origin = Counting::start();
    let gateway = gateway(&origin.site, SHORT);
    let chunked =
        format!("POST {UPLOAD} HTTP/1.1\r\nHost: t.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    for head in [upload(""), upload("Expect: 100-continue\r\n"), chunked] {
        let mut stream = attacker(gateway.port);
        stream.write_all(head.as_bytes()).unwrap();
        until_gone(&mut stream, silence);
    }
    closed(&gateway, &["body_timeout"], 3);
    assert_eq!(origin.begun(), 0);
    person_is_served(&gateway);
}

#[test]
fn a_stream_that_does_not_begin_its_upload_never_reaches_the_origin() {
    let origin = Counting::start();
    let secure = Secure::start(&origin.site, SHORT);
    let mut client = Client::connect(&secure, 65_535);
    let mut request = fields(POST, UPLOAD);
    request.extend(field("content-length", "4"));
    client.send(HEADERS, END_HEADERS, 1, &request).unwrap();
    until_gone(&mut client.stream, silence);
    closed(&secure.gateway, &["body_timeout"], 1);
    assert_eq!(origin.begun(), 0);
}

#[test]
fn an_upload_that_was_waited_for_arrives_whole() {
    let origin = Counting::start();
    let gateway = gateway(&origin.site, "");
    for (field, pieces) in [
        ("", &["t", "ext"][..]),
        ("", &["text"]),
        ("Expect: 100-continue\r\n", &["te", "xt"]),
    ] {
        let mut stream = attacker(gateway.port);
        stream.set_read_timeout(Some(BOUND)).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        stream.write_all(upload(field).as_bytes()).unwrap();
        let mut line = String::new();
        if !field.is_empty() {
            reader.read_line(&mut line).unwrap();
            assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
            reader.read_line(&mut line).unwrap();
        }
        let asked = origin.begun();
        for piece in pieces {
            assert_eq!(origin.begun(), asked, "all of a small one is waited for");
            stream.write_all(piece.as_bytes()).unwrap();
            // Time for what must not happen.
            thread::sleep(Duration::from_millis(50));
        }
        wait_for("the origin to be asked", || origin.begun() == asked + 1);
        line.clear();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    }
}

/// A form that never ends costs no worker either, and what is large goes on as it comes.
#[test]
fn only_a_large_upload_reaches_its_origin_before_its_end() {
    let origin = Counting::start();
    let gateway = gateway(&origin.site, SHORT);
    let mut stream = attacker(gateway.port);
    stream.write_all(upload("").as_bytes()).unwrap();
    stream.write_all(b"tex").unwrap();
    until_gone(&mut stream, silence);
    assert_eq!(origin.begun(), 0);

    let body = vec![b'x'; 100 << 10];
    let length = format!("Content-Length: {}", body.len());
    let mut stream = attacker(gateway.port);
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let head = upload("").replace("Content-Length: 4", &length);
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body[..1000]).unwrap();
    wait_for("the origin to be asked", || origin.begun() == 1);
    stream.write_all(&body[1000..]).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 200 OK\r\n");
}

#[test]
fn empty_bodies_that_were_announced_end() {
    let origin = Counting::start();
    let secure = Secure::start(&origin.site, "");
    let mut client = Client::connect(&secure, 65_535);
    client
        .send(HEADERS, END_HEADERS, 1, &fields(POST, "/empty"))
        .unwrap();
    client.send(DATA, NONE, 1, b"").unwrap();
    client.send(DATA, END_STREAM, 1, b"").unwrap();
    client.wait_for("an answer", |frame| {
        frame.stream == 1 && frame.kind == HEADERS
    });
    let mut stream = attacker(secure.gateway.port);
    let chunked = "POST /empty HTTP/1.1\r\nHost: t.example\r\nConnection: close\r\n\
                   Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    stream.write_all(chunked.as_bytes()).unwrap();
    let gone = until_gone(&mut stream, silence);
    assert!(gone.said().starts_with("HTTP/1.1 200"), "{}", gone.said());
}
