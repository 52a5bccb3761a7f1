//! Answers that nobody takes in: together they hold no more memory than they may, and whoever takes his
//! in has it to the end.

use std::{
    cell::Cell,
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use super::{
    LARGE_PATH, Site, attacker, closed, endings,
    frames::{Client, DATA, END_STREAM, NONE, WINDOW_UPDATE},
    gateway, person_is_served,
    secure::Secure,
};
use crate::{harness::wait_for, scripted::Scripted};

/// Four answers of one client.
const FOUR: &str = "max_unread_bytes_per_client = 3145728";
const ANSWERS: usize = 10;

fn ask(port: u16) -> TcpStream {
    let mut stream = attacker(port);
    let request = format!("GET {LARGE_PATH} HTTP/1.1\r\nHost: t.example\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

#[test]
fn answers_that_stand_still_end_where_their_client_has_too_many() {
    let origin = Site::start();
    let gateway = gateway(&origin, FOUR);
    let _held: Vec<TcpStream> = (0..ANSWERS).map(|_| ask(gateway.port)).collect();
    closed(&gateway, &["unread"], 6);
    person_is_served(&gateway);
    let ended = endings(&gateway);
    assert!(ended.iter().all(|(_, count)| *count == 6.0), "{ended:?}");
}

#[test]
fn streams_that_stand_still_are_reset_alone() {
    let origin = Site::start();
    let secure = Secure::start(&origin, FOUR);
    let widest = (1 << 31) - 1;
    let mut client = Client::connect(&secure, widest);
    let more = (widest - 65_535_u32).to_be_bytes();
    client.send(WINDOW_UPDATE, NONE, 0, &more).unwrap();
    for number in 0..ANSWERS as u32 {
        client.get(2 * number + 1, LARGE_PATH);
    }
    wait_for("every answer to begin", || {
        origin.large_begun.load(Ordering::SeqCst) == ANSWERS
    });
    closed(&secure.gateway, &["unread"], 6);
    secure.person_is_served();
}

#[test]
fn whoever_takes_answers_in_slowly_has_them_to_the_end() {
    let origin = Site::start();
    let gateway = gateway(&origin, "max_unread_bytes_per_client = 786432");
    let mut held: Vec<TcpStream> = (0..3).map(|_| ask(gateway.port)).collect();
    let began = Instant::now();
    let mut piece = vec![0; 32 << 10];
    while began.elapsed() < Duration::from_secs(5) {
        for stream in &mut held {
            assert!(stream.read(&mut piece).unwrap() > 0);
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(endings(&gateway), []);
}

/// What an origin writes slowly waits for nobody: tokens of a model, progress of a build.
#[test]
fn answers_that_are_written_slowly_hold_nothing() {
    let origin = Scripted::start(|peer| {
        if peer.request().is_some() {
            peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for _ in 0..20 {
                peer.say("5\r\ntoken\r\n");
                thread::sleep(Duration::from_millis(500));
            }
            peer.say("0\r\n\r\n");
        }
    });
    let limits = "max_unread_bytes_per_client = 786432";
    let secure = Secure::start(&Site::at(origin.port), limits);
    let mut client = Client::connect(&secure, 65_535);
    for number in 0..4 {
        client.get(2 * number + 1, "/slow");
    }
    let ended = Cell::new(0);
    client.wait_for("the end of each", |frame| {
        ended.set(ended.get() + u32::from(frame.kind == DATA && frame.flags & END_STREAM != 0));
        ended.get() == 4
    });
    assert_eq!(endings(&secure.gateway), []);
}
