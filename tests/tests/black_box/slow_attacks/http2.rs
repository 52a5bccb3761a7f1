//! Slow and greedy clients over HTTP/2.

use std::{io::Write, sync::atomic::Ordering, thread, time::Duration};

use super::{
    LARGE_PATH, SHORT, Site, closed, frames,
    frames::{
        CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, GET, HEADERS, NONE, PING, POST,
        PREFACE, RST_STREAM, WINDOW_UPDATE, field, fields, frame,
    },
    rest_is_short,
    secure::Secure,
    silence, until_gone,
};
use crate::harness::wait_for;

/// The window that RFC 9113 section 6.9.2 starts with.
const WINDOW: u32 = 65_535;

#[test]
fn who_never_says_the_preface_is_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    until_gone(&mut secure.connect("h2"), silence);
    closed(&secure.gateway, &["header_timeout", "h2_preface"], 1);
    secure.person_is_served();
}

#[test]
fn a_refused_upload_that_falls_silent_is_reset_behind_its_answer_and_without_an_error() {
    let origin = Site::start();
    let secure = Secure::start(&origin, "");
    let mut client = Client::connect(&secure, WINDOW);
    let mut block = fields(POST, "/");
    block.extend(field("content-length", "999999999999"));
    client.send(HEADERS, END_HEADERS, 1, &block).unwrap();
    client.send(DATA, NONE, 1, b"a part of it").unwrap();
    let ended = |frame: &frames::Frame| {
        assert_ne!(frame.kind, RST_STREAM, "the reset comes before the answer");
        frame.stream == 1 && frame.flags & END_STREAM != 0
    };
    client.wait_for("the end of the answer", ended);
    let reset = client.wait_for("the reset", |frame| frame.kind == RST_STREAM);
    assert_eq!((reset.stream, &*reset.payload), (1, &[0, 0, 0, 0][..]));
    client.get(3, "/");
    client.is_served(3);
}

#[test]
fn an_upload_has_room_for_a_round_trip() {
    const SETTINGS: u8 = 4;
    const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
    let origin = Site::start();
    let secure = Secure::start(&origin, "");
    let mut client = Client::connect(&secure, WINDOW);
    let settings = client.wait_for("settings", |frame| frame.kind == SETTINGS);
    let window = settings.payload.chunks(6).find_map(|setting| {
        let value: [u8; 4] = setting[2..].try_into().unwrap();
        (setting[..2] == INITIAL_WINDOW_SIZE).then(|| u32::from_be_bytes(value))
    });
    assert!(window.is_some_and(|bytes| bytes >= 1 << 20), "{window:?}");
    let whole = |frame: &frames::Frame| frame.kind == WINDOW_UPDATE && frame.stream == 0;
    let more = client.wait_for("the connection's window", whole).payload;
    let more = u32::from_be_bytes(more.try_into().unwrap());
    // The whole connection bounds what its streams hold together.
    assert!((1 << 20..=4 << 20).contains(&(WINDOW + more)), "{more}");
}

#[test]
fn an_upload_that_goes_on_gets_wider_windows_of_which_there_is_a_number() {
    const UPLOAD: usize = 1 << 20;
    let origin = Site::start();
    let secure = Secure::start(&origin, "");
    let upload = || {
        let mut client = Client::connect(&secure, WINDOW);
        let mut block = fields(POST, "/");
        block.extend(field("content-length", &UPLOAD.to_string()));
        client.send(HEADERS, END_HEADERS, 1, &block).unwrap();
        // The whole connection may send 64 KiB before it is told of its window.
        let whole = |frame: &frames::Frame| frame.kind == WINDOW_UPDATE && frame.stream == 0;
        client.wait_for("the connection's window", whole);
        let pieces = UPLOAD / (16 << 10);
        for piece in 1..=pieces {
            let flags = if piece == pieces { END_STREAM } else { NONE };
            client.send(DATA, flags, 1, &[0; 16 << 10]).unwrap();
        }
        client.is_served(1);
        client
    };
    let held: Vec<Client> = (0..9).map(|_| upload()).collect();
    let wide = || secure.gateway.metric("thornwall_http2_wide_windows");
    assert_eq!(wide(), 8.0);
    drop(held);
    wait_for("the places", || wide() == 0.0);
    secure.person_is_served();
}

#[test]
fn half_a_preface_is_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let mut stream = secure.connect("h2");
    stream.write_all(&PREFACE[..10]).unwrap();
    until_gone(&mut stream, silence);
    closed(&secure.gateway, &["header_timeout", "h2_preface"], 1);
    secure.person_is_served();
}

#[test]
fn what_is_no_preface_is_closed_at_once() {
    let origin = Site::start();
    let secure = Secure::start(&origin, "header_timeout_secs = 60");
    let mut stream = secure.connect("h2");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: t.example\r\n\r\n")
        .unwrap();
    until_gone(&mut stream, silence);
    closed(&secure.gateway, &["h2_preface", "h2_abuse"], 1);
    secure.person_is_served();
}

#[test]
fn a_header_block_that_stays_open_is_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let mut client = Client::connect(&secure, WINDOW);
    client.get(1, "/");
    client.is_served(1);
    client
        .send(HEADERS, END_STREAM, 3, &fields(GET, "/"))
        .unwrap();
    until_gone(&mut client.stream, silence);
    closed(&secure.gateway, &["header_timeout"], 1);
    secure.person_is_served();
}

#[test]
fn a_header_block_in_dribbled_continuations_is_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let mut client = Client::connect(&secure, WINDOW);
    client
        .send(HEADERS, END_STREAM, 1, &fields(GET, "/"))
        .unwrap();
    let more = frame(CONTINUATION, NONE, 1, &field("x-a", "a"));
    until_gone(&mut client.stream, |stream| {
        stream.write_all(&more)?;
        stream.flush()
    });
    closed(&secure.gateway, &["header_timeout", "h2_abuse"], 1);
    secure.person_is_served();
}

#[test]
fn a_flood_of_continuations_is_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, "header_timeout_secs = 60");
    let mut client = Client::connect(&secure, WINDOW);
    client
        .send(HEADERS, END_STREAM, 1, &fields(GET, "/"))
        .unwrap();
    let flood = frame(CONTINUATION, NONE, 1, &field("x-a", "a")).repeat(1000);
    until_gone(&mut client.stream, |stream| {
        stream.write_all(&flood)?;
        stream.flush()
    });
    closed(&secure.gateway, &["h2_abuse"], 1);
    assert_eq!(origin.requests.load(Ordering::SeqCst), 0);
    secure.person_is_served();
}

#[test]
fn rapid_resets_are_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, "header_timeout_secs = 60");
    let mut client = Client::connect(&secure, WINDOW);
    let mut id: u32 = 1;
    // CANCEL, RFC 9113 section 7.
    let cancel = 8_u32.to_be_bytes();
    until_gone(&mut client.stream, |stream| {
        let mut burst = Vec::new();
        for _ in 0..200 {
            let flags = END_STREAM | END_HEADERS;
            burst.extend(frame(HEADERS, flags, id, &fields(GET, "/")));
            burst.extend(frame(RST_STREAM, NONE, id, &cancel));
            id += 2;
        }
        stream.write_all(&burst)?;
        stream.flush()
    });
    closed(&secure.gateway, &["h2_abuse"], 1);
    secure.person_is_served();
}

#[test]
fn a_stalled_upload_ends_and_its_neighbours_do_not() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let mut client = Client::connect(&secure, WINDOW);
    let mut upload = fields(POST, "/");
    upload.extend(field("content-length", "1000"));
    client.send(HEADERS, END_HEADERS, 1, &upload).unwrap();
    client.send(DATA, NONE, 1, b"begun").unwrap();
    client.get(3, "/");
    client.is_served(3);
    let gone = until_gone(&mut client.stream, silence);
    assert!(gone.after > Duration::from_millis(300), "{:?}", gone.after);
    closed(&secure.gateway, &["body_timeout", "too_slow"], 1);
    secure.person_is_served();
}

#[test]
fn a_dribbled_upload_is_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let mut client = Client::connect(&secure, WINDOW);
    let mut upload = fields(POST, "/");
    upload.extend(field("content-length", "100000"));
    client.send(HEADERS, END_HEADERS, 1, &upload).unwrap();
    let byte = frame(DATA, NONE, 1, b"b");
    until_gone(&mut client.stream, |stream| {
        stream.write_all(&byte)?;
        stream.flush()
    });
    closed(&secure.gateway, &["too_slow", "body_timeout"], 1);
    secure.person_is_served();
}

#[test]
fn a_window_that_never_opens_is_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let mut client = Client::connect(&secure, 0);
    client.get(1, LARGE_PATH);
    client.is_served(1);
    until_gone(&mut client.stream, silence);
    closed(&secure.gateway, &["send_stalled"], 1);
    origin.is_let_go();
    secure.person_is_served();
}

#[test]
fn a_window_that_opens_byte_by_byte_is_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let mut client = Client::connect(&secure, 0);
    client.get(1, LARGE_PATH);
    client.is_served(1);
    let one = frame(WINDOW_UPDATE, NONE, 1, &1_u32.to_be_bytes());
    until_gone(&mut client.stream, |stream| {
        stream.write_all(&one)?;
        stream.flush()
    });
    closed(&secure.gateway, &["too_slow", "send_stalled"], 1);
    origin.is_let_go();
    secure.person_is_served();
}

#[test]
fn who_reads_nothing_from_the_socket_is_sent_away() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    // Windows so wide that only the socket holds the answer back.
    let widest = (1 << 31) - 1;
    let mut client = Client::connect(&secure, widest);
    let more = (widest - WINDOW).to_be_bytes();
    client.send(WINDOW_UPDATE, NONE, 0, &more).unwrap();
    client.get(1, LARGE_PATH);
    closed(&secure.gateway, &["send_stalled"], 1);
    origin.is_let_go();
    rest_is_short(&mut client.stream);
    secure.person_is_served();
}

#[test]
fn an_idle_connection_is_ended() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let mut client = Client::connect(&secure, WINDOW);
    client.get(1, "/");
    client.is_served(1);
    until_gone(&mut client.stream, silence);
    closed(&secure.gateway, &["idle_timeout"], 1);
    secure.person_is_served();
}

#[test]
fn pings_do_not_keep_an_idle_connection() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let mut client = Client::connect(&secure, WINDOW);
    client.get(1, "/");
    client.is_served(1);
    let ping = frame(PING, NONE, 0, &[0; 8]);
    until_gone(&mut client.stream, |stream| {
        stream.write_all(&ping)?;
        stream.flush()
    });
    closed(&secure.gateway, &["idle_timeout"], 1);
    secure.person_is_served();
}

#[test]
fn a_busy_connection_ends_at_its_age() {
    let origin = Site::start();
    let secure = Secure::start(&origin, "max_connection_secs = 1");
    let mut client = Client::connect(&secure, WINDOW);
    let mut id = 1;
    client.get(id, "/");
    client.is_served(id);
    until_gone(&mut client.stream, |stream| {
        id += 2;
        let flags = END_STREAM | END_HEADERS;
        stream.write_all(&frame(HEADERS, flags, id, &fields(GET, "/")))?;
        stream.flush()
    });
    assert!(id > 5, "only {id}");
    closed(&secure.gateway, &["age"], 1);
    secure.person_is_served();
}

#[test]
fn a_slow_but_honest_upload_is_served() {
    let origin = Site::start();
    let secure = Secure::start(&origin, SHORT);
    let mut client = Client::connect(&secure, WINDOW);
    let mut upload = fields(POST, "/");
    upload.extend(field("content-length", "15000"));
    client.send(HEADERS, END_HEADERS, 1, &upload).unwrap();
    for piece in 1..=30 {
        let flags = if piece == 30 { END_STREAM } else { NONE };
        client.send(DATA, flags, 1, &[b'b'; 500]).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    client.is_served(1);
}
