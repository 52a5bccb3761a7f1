//! WebSockets that say nothing, or whose client was denied meanwhile.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{Gateway, OPEN_SITE, connect, wait_for},
    proxy::{WEBSOCKET, echoing_origin},
};

/// A WebSocket whose handshake is over, of somebody whom a trusted proxy names.
fn open(gateway: &Gateway, host: &str, client: &str) -> TcpStream {
    let mut stream = connect(gateway.port).unwrap();
    let fields = WEBSOCKET.replace("Host: t\r\n", &format!("Host: {host}\r\n"));
    write!(
        stream,
        "GET /chat HTTP/1.1\r\n{fields}X-Forwarded-For: {client}\r\n\r\n"
    )
    .unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    stream
}

fn echoes(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    stream.write_all(b"x").is_ok() && stream.read_exact(&mut byte).is_ok() && byte == *b"x"
}

fn has_ended(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn done(gateway: &Gateway, arguments: &[&str]) {
    let (code, told) = gateway.run(arguments);
    assert_eq!(code, Some(0), "{told}");
}

#[test]
fn a_silent_websocket_ends_and_one_that_pings_lives_on() {
    let extra = format!("[limits]\nwebsocket_idle_secs = 1\nidle_timeout_secs = 1\n{OPEN_SITE}");
    let gateway = Gateway::start(echoing_origin(), &extra);
    let (mut silent, mut lively) = (open(&gateway, "t", "a"), open(&gateway, "t", "a"));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        assert!(echoes(&mut lively), "after {:?}", began.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    assert!(has_ended(&mut silent));
    assert!(echoes(&mut lively));
    let closed = "thornwall_connections_closed_total{reason=\"idle_timeout\"}";
    assert_eq!(gateway.metric(closed), 1.0);
}

/// Two sites, of which one has no list of whom to deny, behind a trusted proxy.
const SITES: &str = "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n\
    [[site]]\nname = \"t\"\nhosts = [\"t\"]\nupstream = \"o\"\npipeline = \"p\"\n\
    [[site]]\nname = \"open\"\nhosts = [\"open\"]\nupstream = \"o\"\npipeline = \"open\"\n\
    [[pipeline]]\nname = \"open\"\n\
    [[pipeline]]\nname = \"p\"\n[[pipeline.filter]]\nname = \"known_bad\"\nblocklist = {}\n";

#[test]
fn a_denied_clients_websocket_ends_and_no_other() {
    let gateway = Gateway::start(echoing_origin(), SITES);
    let mut denied = open(&gateway, "t", "192.0.2.7");
    let mut neighbour = open(&gateway, "t", "192.0.2.8");
    let mut elsewhere = open(&gateway, "open", "192.0.2.7");
    for stream in [&mut denied, &mut neighbour, &mut elsewhere] {
        assert!(echoes(stream));
    }
    done(
        &gateway,
        &["block", "192.0.2.7", "--for", "1h", "--reason", "test"],
    );
    assert!(has_ended(&mut denied));
    assert!(echoes(&mut neighbour));
    // Its site would let the client in again.
    assert!(echoes(&mut elsewhere));
}

#[test]
fn a_websocket_of_a_denied_connection_ends() {
    let gateway = Gateway::start(echoing_origin(), OPEN_SITE);
    let mut stream = open(&gateway, "t", "a");
    assert!(echoes(&mut stream));
    done(
        &gateway,
        &["block", "127.0.0.1", "--for", "1h", "--reason", "test"],
    );
    assert!(has_ended(&mut stream));
    let closed = "thornwall_connections_closed_total{reason=\"blocklist\"}";
    wait_for("its count", || gateway.metric(closed) >= 1.0);
}

#[test]
fn a_handshake_that_nobody_answers_ends_like_any_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let _held = thread::spawn(move || listener.incoming().flatten().collect::<Vec<_>>());
    let extra = format!(
        "[[upstream]]\nname = \"late\"\nservers = [{{ address = \"127.0.0.1:{port}\" }}]\n\
         read_timeout_secs = 1\n{}",
        OPEN_SITE.replace("upstream = \"o\"", "upstream = \"late\"")
    );
    let gateway = Gateway::start(9, &extra);
    let reply = gateway.send(&format!("GET /chat HTTP/1.1\r\n{WEBSOCKET}\r\n"));
    assert_eq!(reply.status, 504);
}
