//! Slow clients over plain HTTP/1.1.

use std::{
    fs,
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use super::{
    BOUND, LARGE_PATH, SHORT, Site, attacker, closed, dribble, gateway, is_quiet, person_is_served,
    rest_is_short, silence, until_gone,
};
use crate::harness::{CHROME, Gateway, send};

/// Attackers at one time.
const CROWD: u32 = 8;

/// A whole request of a person who keeps the connection.
fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: t.example\r\n{CHROME}\r\n")
}

#[test]
fn slowloris_is_sent_away_while_a_person_is_served() {
    let origin = Site::start();
    let gateway = gateway(&origin, SHORT);
    let head = format!(
        "GET / HTTP/1.1\r\nHost: t.example\r\nX-A: {}",
        "a".repeat(1000)
    );
    thread::scope(|scope| {
        let attacks: Vec<_> = (0..CROWD)
            .map(|_| scope.spawn(|| until_gone(&mut attacker(gateway.port), dribble(&head))))
            .collect();
        while attacks.iter().any(|attack| !attack.is_finished()) {
            person_is_served(&gateway);
        }
        for attack in attacks {
            let gone = attack.join().unwrap();
            assert!(gone.after > Duration::from_millis(500), "{:?}", gone.after);
        }
    });
    closed(&gateway, &["header_timeout"], CROWD);
    person_is_served(&gateway);
}

#[test]
fn a_second_head_that_never_ends_is_sent_away() {
    let origin = Site::start();
    let gateway = gateway(&origin, SHORT);
    let mut stream = attacker(gateway.port);
    stream.write_all(request("/").as_bytes()).unwrap();
    let next = format!("GET / HTTP/1.1\r\nX-A: {}", "a".repeat(1000));
    let gone = until_gone(&mut stream, dribble(&next));
    assert!(gone.said().starts_with("HTTP/1.1 200"), "{}", gone.said());
    closed(&gateway, &["header_timeout"], 1);
    person_is_served(&gateway);
}

#[test]
fn who_says_nothing_at_all_is_sent_away() {
    let origin = Site::start();
    let gateway = gateway(&origin, SHORT);
    until_gone(&mut attacker(gateway.port), silence);
    closed(&gateway, &["header_timeout"], 1);
    person_is_served(&gateway);
}

#[test]
fn an_idle_connection_is_ended() {
    let origin = Site::start();
    let gateway = gateway(&origin, SHORT);
    let mut stream = attacker(gateway.port);
    stream.write_all(request("/").as_bytes()).unwrap();
    let gone = until_gone(&mut stream, silence);
    assert!(gone.said().starts_with("HTTP/1.1 200"), "{}", gone.said());
    assert!(gone.after > Duration::from_millis(500), "{:?}", gone.after);
    closed(&gateway, &["idle_timeout"], 1);
    person_is_served(&gateway);
}

/// CPU time of all threads, to the nanosecond.
fn cpu(gateway: &Gateway) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{}/task", gateway.child.id())).unwrap();
    let spent = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}

/// Sends a head of so many bytes, each in a packet of its own, and takes the answer in; the CPU time
/// that the gateway spent on it.
fn cost_of_dribbled_head(gateway: &Gateway, bytes: usize) -> Duration {
    let start = "GET / HTTP/1.1\r\nHost: t.example\r\nConnection: close\r\n";
    let field = format!("X-A: {}\r\n", "a".repeat(293));
    let mut head = start.to_owned();
    while head.len() + field.len() < bytes {
        head.push_str(&field);
    }
    head.push_str("\r\n");
    let before = cpu(gateway);
    let mut stream = attacker(gateway.port);
    for byte in head.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    let gone = until_gone(&mut stream, silence);
    assert!(gone.said().starts_with("HTTP/1.1 200"), "{}", gone.said());
    cpu(gateway).saturating_sub(before)
}

#[test]
fn a_head_in_packets_of_one_byte_costs_no_more_than_its_length() {
    let origin = Site::start();
    let gateway = gateway(&origin, "header_timeout_secs = 30");
    let short: Duration = (0..8).map(|_| cost_of_dribbled_head(&gateway, 3_750)).sum();
    let long = cost_of_dribbled_head(&gateway, 30_000);
    // As many bytes both times. A head that is parsed anew with each of them costs 8 times as much.
    assert!(long < short * 3, "{long:?} beside {short:?}");
    person_is_served(&gateway);
}

#[test]
fn header_bombs_get_431() {
    let origin = Site::start();
    let gateway = gateway(&origin, "max_header_bytes = 8192\nmax_headers = 20");
    let ask = |fields: &str| {
        let head =
            format!("GET / HTTP/1.1\r\nHost: t.example\r\nConnection: close\r\n{fields}\r\n");
        send(gateway.port, &head).status
    };
    assert_eq!(ask(&format!("X-A: {}\r\n", "a".repeat(4_000))), 200);
    assert_eq!(ask(&format!("X-A: {}\r\n", "a".repeat(9_000))), 431);
    assert_eq!(ask(&"X-A: a\r\n".repeat(10)), 200);
    assert_eq!(ask(&"X-A: a\r\n".repeat(30)), 431);
    person_is_served(&gateway);
}

#[test]
fn a_head_without_end_is_refused_before_it_is_all_there() {
    let origin = Site::start();
    let gateway = gateway(&origin, "max_header_bytes = 8192");
    let mut stream = attacker(gateway.port);
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: t.example\r\nX-A: ")
        .unwrap();
    let mut sent = 0;
    let gone = until_gone(&mut stream, |stream| {
        sent += 4096;
        stream.write_all(&[b'a'; 4096])
    });
    assert!(sent < 1 << 20, "{sent} bytes were taken in");
    // The answer may be lost to the reset that meets a client who goes on sending.
    assert!(
        gone.said.is_empty() || gone.said().starts_with("HTTP/1.1 431"),
        "{}",
        gone.said()
    );
    person_is_served(&gateway);
}

#[test]
fn who_takes_in_nothing_of_an_answer_is_sent_away() {
    let origin = Site::start();
    let gateway = gateway(&origin, SHORT);
    let mut stream = attacker(gateway.port);
    stream.write_all(request(LARGE_PATH).as_bytes()).unwrap();
    closed(&gateway, &["send_stalled"], 1);
    origin.is_let_go();
    rest_is_short(&mut stream);
    person_is_served(&gateway);
}

#[test]
fn who_takes_in_an_answer_too_slowly_is_sent_away() {
    let origin = Site::start();
    let pace = "body_timeout_secs = 1\nmin_send_bytes_per_sec = 20000000";
    let gateway = gateway(&origin, pace);
    let mut stream = attacker(gateway.port);
    stream.write_all(request(LARGE_PATH).as_bytes()).unwrap();
    let started = Instant::now();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        assert!(started.elapsed() < BOUND, "nobody minded");
        match stream.read(&mut buffer) {
            Ok(1..) => thread::sleep(Duration::from_millis(50)),
            Err(error) if is_quiet(&error) => {}
            Ok(0) | Err(_) => break,
        }
    }
    closed(&gateway, &["too_slow"], 1);
    origin.is_let_go();
    person_is_served(&gateway);
}

/// The head of an upload.
fn upload(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: t.example\r\nContent-Length: {length}\r\n\r\n")
}

#[test]
fn a_body_that_stalls_is_sent_away() {
    let origin = Site::start();
    let gateway = gateway(&origin, SHORT);
    let mut stream = attacker(gateway.port);
    stream.write_all(upload(1000).as_bytes()).unwrap();
    stream.write_all(b"begun").unwrap();
    let gone = until_gone(&mut stream, silence);
    assert!(
        gone.said.is_empty() || gone.said().starts_with("HTTP/1.1 408"),
        "{}",
        gone.said()
    );
    closed(&gateway, &["body_timeout"], 1);
    person_is_served(&gateway);
}

#[test]
fn a_body_that_dribbles_is_sent_away() {
    let origin = Site::start();
    let gateway = gateway(&origin, SHORT);
    let mut stream = attacker(gateway.port);
    stream.write_all(upload(100_000).as_bytes()).unwrap();
    until_gone(&mut stream, dribble(&"b".repeat(1000)));
    closed(&gateway, &["too_slow"], 1);
    person_is_served(&gateway);
}

#[test]
fn a_body_may_begin_slower_than_it_goes_on() {
    let origin = Site::start();
    let pace = "body_timeout_secs = 1\nmin_receive_bytes_per_sec = 10";
    let gateway = gateway(&origin, pace);
    let mut stream = attacker(gateway.port);
    stream.write_all(upload(100_000).as_bytes()).unwrap();
    // Some 20 bytes a second at most: enough at first, and too few for what is to last.
    let mut turns = 0;
    let gone = until_gone(&mut stream, |stream| {
        turns += 1;
        let due: &[u8] = if turns % 2 == 0 { b"bbb" } else { b"" };
        stream.write_all(due)
    });
    assert!(gone.after > Duration::from_millis(1500), "{:?}", gone.after);
    closed(&gateway, &["too_slow"], 1);
}

#[test]
fn a_slow_but_honest_upload_is_served() {
    let origin = Site::start();
    let gateway = gateway(&origin, SHORT);
    let mut stream = attacker(gateway.port);
    let body = "b".repeat(20_000);
    stream.write_all(upload(body.len()).as_bytes()).unwrap();
    // Three seconds, at many times the least pace.
    for piece in body.as_bytes().chunks(body.len() / 30) {
        stream.write_all(piece).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    let gone = until_gone(&mut stream, silence);
    assert!(gone.said().starts_with("HTTP/1.1 200"), "{}", gone.said());
}

#[test]
fn a_busy_connection_ends_at_its_age() {
    let origin = Site::start();
    let gateway = gateway(
        &origin,
        "max_connection_secs = 2\nmax_requests_per_connection = 4000000",
    );
    let mut stream = attacker(gateway.port);
    let gone = until_gone(&mut stream, |stream| {
        stream.write_all(request("/").as_bytes())
    });
    let answers = gone.said().matches("HTTP/1.1 200").count();
    assert!(answers >= 3, "{}", gone.said());
    closed(&gateway, &["age"], 1);
    person_is_served(&gateway);
}

#[test]
fn a_connection_ends_after_its_last_request() {
    let origin = Site::start();
    let gateway = gateway(&origin, "max_requests_per_connection = 3");
    let mut stream = attacker(gateway.port);
    let gone = until_gone(&mut stream, |stream| {
        stream.write_all(request("/").as_bytes())
    });
    assert_eq!(
        gone.said().matches("HTTP/1.1 200").count(),
        3,
        "{}",
        gone.said()
    );
    person_is_served(&gateway);
}
