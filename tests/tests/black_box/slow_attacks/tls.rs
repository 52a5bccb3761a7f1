//! Clients that are slow, or talk nonsense, while TLS is still being agreed upon; and slow ones behind
//! it.

use std::io::Write;

use super::{
    LARGE_PATH, SHORT, Site, attacker, closed, dribble, rest_is_short,
    secure::{NAME, Secure},
    silence, until_gone,
};

/// A handshake that is not over in time.
const UNFINISHED: &[&str] = &["header_timeout", "tls_handshake"];

/// The bytes of a ClientHello.
fn hello(gateway: &Secure) -> Vec<u8> {
    let mut bytes = Vec::new();
    gateway.client("http/1.1").write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn who_connects_and_says_nothing_is_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    until_gone(&mut attacker(secure.port), silence);
    closed(&secure.gateway, UNFINISHED, 1);
    secure.person_is_served();
}

#[test]
fn half_a_hello_is_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let hello = hello(&secure);
    let mut stream = attacker(secure.port);
    stream.write_all(&hello[..hello.len() / 2]).unwrap();
    until_gone(&mut stream, silence);
    closed(&secure.gateway, UNFINISHED, 1);
    secure.person_is_served();
}

#[test]
fn a_hello_byte_by_byte_is_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let mut bytes = hello(&secure).into_iter();
    until_gone(&mut attacker(secure.port), |stream| {
        bytes
            .next()
            .map_or(Ok(()), |byte| stream.write_all(&[byte]))
    });
    closed(&secure.gateway, UNFINISHED, 1);
    secure.person_is_served();
}

#[test]
fn a_handshake_that_is_never_finished_is_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let mut stream = attacker(secure.port);
    stream.write_all(&hello(&secure)).unwrap();
    let gone = until_gone(&mut stream, silence);
    assert_eq!(gone.said.first(), Some(&0x16), "a handshake record");
    closed(&secure.gateway, UNFINISHED, 1);
    secure.person_is_served();
}

#[test]
fn what_is_no_hello_is_closed_at_once() {
    let origin = Site::start();
    let secure = Secure::start(&origin, "header_timeout_secs = 60");
    let mut stream = attacker(secure.port);
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: t.example\r\n\r\n")
        .unwrap();
    until_gone(&mut stream, silence);
    closed(&secure.gateway, &["tls_invalid"], 1);
    secure.person_is_served();
}

#[test]
fn slowloris_behind_tls_is_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {NAME}\r\nX-A: {}",
        "a".repeat(1000)
    );
    until_gone(&mut secure.connect("http/1.1"), dribble(&head));
    closed(&secure.gateway, &["header_timeout"], 1);
    secure.person_is_served();
}

#[test]
fn an_idle_connection_behind_tls_is_ended() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let mut stream = secure.connect("http/1.1");
    let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let gone = until_gone(&mut stream, silence);
    assert!(gone.said().starts_with("HTTP/1.1 200"), "{}", gone.said());
    closed(&secure.gateway, &["idle_timeout"], 1);
    secure.person_is_served();
}

#[test]
fn who_takes_in_nothing_behind_tls_is_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let mut stream = secure.connect("http/1.1");
    let request = format!("GET {LARGE_PATH} HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    closed(&secure.gateway, &["send_stalled"], 1);
    origin.is_let_go();
    rest_is_short(&mut stream);
    secure.person_is_served();
}
