//! Connections without a request: at a cap they give way, the longest idle of whoever holds most.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
};

use super::{
    BOUND, Site,
    caps::{ACCOMPLICE, ATTACKER, PERSON, ask, connect, hold, is_served, patient},
    closed,
    frames::Client,
    gateway, is_quiet,
    secure::Secure,
};
use crate::harness::wait_for;

/// Connections that there may be.
const CAP: usize = 12;

/// Holds whoever names no browser, after whatever it says.
const TRAP: &str = "[tarpit]\ninterval_ms = 100\nmax_per_client = 100\n\
    [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
    [[pipeline]]\nname = \"p\"\n[[pipeline.filter]]\nname = \"shape\"\nheuristics = {}\n\
    when = { paths = [\"/trap\"] }\n[pipeline.ladder]\ntarpit = 0.2\n";

/// Twice as many connections as there may be, of a few clients.
fn fill<S>(port: u16, mut begin: impl FnMut(TcpStream) -> S) -> Vec<S> {
    let source = |number: usize| Ipv4Addr::new(127, 0, 1, u8::try_from(number % 5).unwrap() + 1);
    (0..2 * CAP)
        .map(|number| begin(connect(port, source(number))))
        .collect()
}

/// A person is served, though all places are taken.
fn person_is_served(secure: &Secure) {
    assert!(
        is_served(&secure.gateway, PERSON),
        "{:?}",
        super::endings(&secure.gateway)
    );
}

#[test]
fn whoever_has_no_request_gives_way_to_a_newcomer() {
    let origin = Site::start();
    let secure = Secure::with(&origin, &patient(&format!("max_connections = {CAP}")), TRAP);
    let plain = secure.gateway.port;
    let silent = fill(plain, |stream| stream);
    person_is_served(&secure);
    let half = fill(plain, |mut stream| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: t").unwrap();
        stream
    });
    person_is_served(&secure);
    let kept = fill(plain, |mut stream| {
        let request = b"GET / HTTP/1.1\r\nHost: t.example\r\n\r\n";
        stream.write_all(request).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream
    });
    person_is_served(&secure);
    let before_tls = fill(secure.port, |stream| stream);
    person_is_served(&secure);
    let behind_tls = fill(secure.port, |stream| secure.secured(stream, "http/1.1"));
    person_is_served(&secure);
    let without_streams = fill(secure.port, |stream| {
        Client::over(secure.secured(stream, "h2"), 65_535)
    });
    person_is_served(&secure);
    let held = fill(secure.port, |stream| {
        let mut client = Client::over(secure.secured(stream, "h2"), 65_535);
        client.get(1, "/trap");
        client.is_served(1);
        client
    });
    person_is_served(&secure);
    let entered = secure.gateway.metric("thornwall_tarpit_entered_total");
    assert_eq!(entered, 2.0 * CAP as f64);
    closed(&secure.gateway, &["evicted"], 7 * CAP as u32);
    drop((silent, half, kept, before_tls));
    drop((behind_tls, without_streams, held));
}

#[test]
fn a_client_at_its_own_cap_gives_way_to_itself() {
    let origin = Site::start();
    let gateway = gateway(&origin, &patient("max_connections_per_client = 4"));
    let mut person = hold(&gateway, PERSON, 1);
    let _held = hold(&gateway, ATTACKER, 4);
    assert!(is_served(&gateway, ATTACKER));
    closed(&gateway, &["evicted"], 1);
    assert!(is_kept(&mut person[0]));
}

#[test]
fn whoever_holds_less_keeps_what_it_has() {
    let origin = Site::start();
    let gateway = gateway(&origin, &patient("max_connections = 8"));
    let mut person = hold(&gateway, PERSON, 2);
    let _under_way = ask(&origin, &gateway, ACCOMPLICE, 2);
    let _held = hold(&gateway, ATTACKER, 20);
    for stream in &mut person {
        assert!(is_kept(stream));
    }
    assert_eq!(
        origin.large_ended.load(std::sync::atomic::Ordering::SeqCst),
        0
    );
    wait_for("nothing but what was idle to be gone", || {
        gateway.metric("thornwall_connections ") == 8.0
    });
    closed(&gateway, &["evicted"], 16);
}

/// Whether nobody has ended the connection.
fn is_kept(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(super::TICK)).unwrap();
    matches!(stream.read(&mut [0; 64]), Err(error) if is_quiet(&error))
}
