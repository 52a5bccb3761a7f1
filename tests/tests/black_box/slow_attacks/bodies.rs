//! HTTP/2 bodies that nobody moves: uploads that rest on an early word of the origin, and answers
//! that are left unread.

use std::{
    io::{self, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::Ordering,
    thread,
};

use super::{
    LARGE_PATH, SHORT, Site, closed,
    frames::{Client, DATA, END_HEADERS, HEADERS, NONE, POST, WINDOW_UPDATE, field, fields, frame},
    head,
    secure::Secure,
    settled, silence, until_gone,
};
use crate::harness::wait_for;

/// An origin that says this as soon as it has read a head, and nothing more.
fn origin_that_says(word: &'static str) -> Site {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || say(&stream, word));
        }
    });
    Site::at(port)
}

fn say(mut stream: &TcpStream, word: &str) -> Option<()> {
    let (path, _) = head(&mut io::BufReader::with_capacity(1, stream))?;
    let other = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let answer = if path == UPLOAD { word } else { other };
    stream.write_all(answer.as_bytes()).ok()?;
    if path == UPLOAD {
        io::copy(&mut stream, &mut io::sink()).ok()?;
    }
    Some(())
}

/// Where the origin says its word.
const UPLOAD: &str = "/upload";

/// A client that has announced a body of 1000 bytes, with another field beside it.
/// It is so large that its origin is asked once it has begun.
fn announced(secure: &Secure, name: &str, value: &str) -> Client {
    let mut client = Client::connect(secure, 65_535);
    let mut upload = fields(POST, UPLOAD);
    upload.extend(field("content-length", "100000"));
    upload.extend(field(name, value));
    client.send(HEADERS, END_HEADERS, 1, &upload).unwrap();
    client
}

#[test]
fn an_early_answer_excuses_no_upload() {
    let origin = origin_that_says("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let secure = Secure::start(&origin, SHORT);
    let mut client = announced(&secure, "x-a", "a");
    client.send(DATA, NONE, 1, b"b").unwrap();
    client.wait_for("the answer", |frame| {
        frame.stream == 1 && frame.kind == HEADERS
    });
    until_gone(&mut client.stream, silence);
    closed(&secure.gateway, &["body_timeout", "too_slow"], 1);
    secure.person_is_served();
}

#[test]
fn an_interim_answer_excuses_no_upload() {
    let origin = origin_that_says("HTTP/1.1 100 Continue\r\n\r\n");
    let secure = Secure::start(&origin, SHORT);
    let mut client = announced(&secure, "expect", "100-continue");
    let byte = frame(DATA, NONE, 1, b"b");
    until_gone(&mut client.stream, |stream| {
        stream.write_all(&byte)?;
        stream.flush()
    });
    closed(&secure.gateway, &["too_slow"], 1);
    secure.person_is_served();
}

#[test]
fn a_word_about_grpc_excuses_no_upload_to_an_origin_without_http2() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let mut client = announced(&secure, "content-type", "application/grpc");
    until_gone(&mut client.stream, silence);
    closed(&secure.gateway, &["body_timeout"], 1);
    secure.person_is_served();
}

#[test]
fn answers_that_are_left_unread_hold_little_memory() {
    const STREAMS: u32 = 100;
    let origin = Site::start();
    let secure = Secure::start(
        &origin,
        "header_timeout_secs = 60\nmax_unread_bytes_per_client = 1000000000",
    );
    secure.person_is_served();
    let before = secure.gateway.most_memory();
    // Windows so wide that only the socket holds the answers back.
    let widest = (1 << 31) - 1;
    let mut client = Client::connect(&secure, widest);
    let more = (widest - 65_535).to_be_bytes();
    client.send(WINDOW_UPDATE, NONE, 0, &more).unwrap();
    for number in 0..STREAMS {
        client.get(2 * number + 1, LARGE_PATH);
    }
    wait_for("every answer to begin", || {
        origin.large_begun.load(Ordering::SeqCst) == STREAMS as usize
    });
    let grown = settled(|| secure.gateway.most_memory()) - before;
    assert!(grown < 70 << 10, "{grown} KiB");
}
