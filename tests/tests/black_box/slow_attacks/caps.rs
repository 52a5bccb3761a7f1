//! Clients that open more connections than they may.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::Ordering,
};

use tokio::net::TcpSocket;

use super::{
    BOUND, LARGE_PATH, Site, closed,
    frames::{Client, HEADERS},
    gateway, listening,
    secure::Secure,
    silence, until_gone,
};
use crate::harness::{Gateway, wait_for};

/// Clients of their own: every address of 127.0.0.0/8 is this machine.
pub(super) const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
pub(super) const ACCOMPLICE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
pub(super) const PERSON: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

/// A connection that comes from `source`.
pub(super) fn connect(port: u16, source: Ipv4Addr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((source, 0))).unwrap();
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        socket.connect(target).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    listening(stream)
}

/// So many connections from `source` that were served, and are kept.
pub(super) fn hold(gateway: &Gateway, source: Ipv4Addr, count: usize) -> Vec<TcpStream> {
    let held = (0..count).map(|_| {
        let mut stream = connect(gateway.port, source);
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: t.example\r\n\r\n")
            .unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream
    });
    held.collect()
}

/// So many connections from `source` with a request under way.
pub(super) fn ask(
    origin: &Site,
    gateway: &Gateway,
    source: Ipv4Addr,
    count: usize,
) -> Vec<TcpStream> {
    let before = origin.large_begun.load(Ordering::SeqCst);
    let begin = |_| {
        let mut stream = connect(gateway.port, source);
        let request = format!("GET {LARGE_PATH} HTTP/1.1\r\nHost: t.example\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let asked = (0..count).map(begin).collect();
    wait_for("every answer to begin", || {
        origin.large_begun.load(Ordering::SeqCst) == before + count
    });
    asked
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: t.example\r\nConnection: close\r\n\r\n";

/// Whether a request from `source`, on a connection of its own, is answered.
pub(super) fn is_served(gateway: &Gateway, source: Ipv4Addr) -> bool {
    let mut stream = connect(gateway.port, source);
    // A connection that is closed at once may be gone before the request is written.
    let _ = stream.write_all(REQUEST);
    until_gone(&mut stream, silence)
        .said()
        .starts_with("HTTP/1.1 200")
}

/// Limits that these connections do not meet by waiting.
pub(super) fn patient(limits: &str) -> String {
    let secs = BOUND.as_secs() * 4;
    format!("header_timeout_secs = {secs}\nidle_timeout_secs = {secs}\n{limits}")
}

#[test]
fn one_client_cannot_take_more_than_its_share() {
    let origin = Site::start();
    let gateway = gateway(&origin, &patient("max_connections_per_client = 4"));
    let held = ask(&origin, &gateway, ATTACKER, 4);
    assert!(!is_served(&gateway, ATTACKER));
    closed(&gateway, &["limit_client"], 1);
    assert!(is_served(&gateway, PERSON));
    drop(held);
    wait_for("room for the same client", || is_served(&gateway, ATTACKER));
}

#[test]
fn all_clients_together_cannot_take_more_than_there_is() {
    let origin = Site::start();
    let gateway = gateway(&origin, &patient("max_connections = 8"));
    let mut held = ask(&origin, &gateway, ATTACKER, 4);
    assert!(is_served(&gateway, PERSON));
    // The person's connection is given back once the gateway has seen its end.
    wait_for("room for four more", || {
        gateway.metric("thornwall_connections ") <= 4.0
    });
    held.extend(ask(&origin, &gateway, ACCOMPLICE, 4));
    assert!(!is_served(&gateway, PERSON));
    closed(&gateway, &["limit_total"], 1);
    drop(held);
    wait_for("room for a person", || is_served(&gateway, PERSON));
}

#[test]
fn one_client_cannot_have_more_requests_under_way_than_its_share() {
    let origin = Site::start();
    let limits = "max_requests_per_client = 4\nrequest_wait_secs = 0";
    let gateway = gateway(&origin, &patient(limits));
    let held = ask(&origin, &gateway, ATTACKER, 4);
    let mut stream = connect(gateway.port, ATTACKER);
    stream.write_all(REQUEST).unwrap();
    let said = until_gone(&mut stream, silence).said();
    assert!(said.starts_with("HTTP/1.1 429"), "{said}");
    let counted = "thornwall_answers_total{reason=\"client.too_many_requests\"}";
    assert_eq!(gateway.metric(counted), 1.0);
    assert!(is_served(&gateway, PERSON));
    drop(held);
    wait_for("room for the same client", || is_served(&gateway, ATTACKER));
}

#[test]
fn what_one_client_asks_for_beyond_its_share_waits() {
    let origin = Site::start();
    let gateway = gateway(&origin, &patient("max_requests_per_client = 2"));
    let mut held = ask(&origin, &gateway, ATTACKER, 2);
    let mut stream = connect(gateway.port, ATTACKER);
    stream.write_all(REQUEST).unwrap();
    wait_for("the third to wait", || {
        gateway.metric("thornwall_requests_waiting ") == 1.0
    });
    assert!(is_served(&gateway, PERSON));
    held.pop();
    let said = until_gone(&mut stream, silence).said();
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
}

#[test]
fn streams_of_one_connection_count_as_requests() {
    let origin = Site::start();
    let limits = "max_requests_per_client = 4\nrequest_wait_secs = 0";
    let secure = Secure::start(&origin, &patient(limits));
    let mut client = Client::connect(&secure, 0);
    for stream in [1, 3, 5, 7] {
        client.get(stream, LARGE_PATH);
        client.is_served(stream);
    }
    client.get(9, "/");
    let refused = client.wait_for("an answer", |frame| {
        frame.stream == 9 && frame.kind == HEADERS
    });
    assert!(!refused.is_ok());
    assert_eq!(origin.requests.load(Ordering::SeqCst), 4);
}

#[test]
fn a_refused_connection_costs_the_others_nothing() {
    let origin = Site::start();
    let gateway = gateway(&origin, &patient("max_connections_per_client = 4"));
    let _held = ask(&origin, &gateway, ATTACKER, 4);
    for _ in 0..200 {
        drop(connect(gateway.port, ATTACKER));
        assert!(is_served(&gateway, PERSON));
    }
    closed(&gateway, &["limit_client"], 100);
}
