//! What real clients sent, what attackers send, and where the line between them is.

use super::{Abuse, CONTROL_FORGIVEN, FrameWatch, Limits, PREFACE, RESETS_FORGIVEN};

/// A page of 120 pictures that is left for another one before they are there: 120 resets at once.
const CHROMIUM: &[u8] = include_bytes!("../captures/h2_chromium_leaves_a_page.bin");
/// 30 MB.
const CURL: &[u8] = include_bytes!("../captures/h2_curl_downloads.bin");
/// One request, and five PRIORITY before it.
const NGHTTP: &[u8] = include_bytes!("../captures/h2_nghttp.bin");

const LIMITS: Limits = Limits {
    max_header_block_bytes: 1000,
    max_continuations: 3,
    max_reset_debt: 20,
    max_control_debt: 30,
};

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    frame.extend_from_slice(payload);
    frame
}

fn repeated(times: u32, one: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..times).flat_map(one).collect()
}

fn start() -> Vec<u8> {
    [&PREFACE[..], &frame(4, 0, 0, &[0, 3, 0, 0, 0, 100])].concat()
}

/// A request that ends with its HEADERS.
fn request(number: u32) -> Vec<u8> {
    frame(1, 0x5, 2 * number + 1, b"\x82\x84\x86")
}

fn reset(number: u32) -> Vec<u8> {
    frame(3, 0, 2 * number + 1, &[0, 0, 0, 8])
}

fn ping(_: u32) -> Vec<u8> {
    frame(6, 0, 0, &[7; 8])
}

fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(8, 0, stream, &increment.to_be_bytes())
}

/// Where in `bytes` the watch ended the connection, when they came in chunks of `size`.
fn fed(bytes: &[u8], size: usize, limits: &Limits) -> (FrameWatch, Option<(usize, Abuse)>) {
    let mut watch = FrameWatch::default();
    for (at, chunk) in bytes.chunks(size).enumerate() {
        if let Err(abuse) = watch.feed(chunk, limits) {
            return (watch, Some((at * size + chunk.len(), abuse)));
        }
    }
    (watch, None)
}

/// Feeds the bytes in chunks of several sizes, which must not make a difference.
fn check(bytes: &[u8], limits: &Limits, expected: Result<(), Abuse>) {
    let (single, ended) = fed(bytes, 1, limits);
    assert_eq!(ended.map_or(Ok(()), |(_, abuse)| Err(abuse)), expected);
    for size in [2, 3, 7, 9, 10, 13, 64, 1000, bytes.len()] {
        let (watch, chunked) = fed(bytes, size, limits);
        assert_eq!(chunked.map(|(_, abuse)| abuse), expected.err(), "by {size}");
        if expected.is_ok() {
            assert_eq!(format!("{watch:?}"), format!("{single:?}"), "by {size}");
        }
    }
}

#[test]
fn it_is_small() {
    assert!(size_of::<FrameWatch>() <= 64, "{}", size_of::<FrameWatch>());
}

#[test]
fn real_clients_pass() {
    for capture in [CHROMIUM, CURL, NGHTTP] {
        check(capture, &Limits::for_heads_of(32 << 10), Ok(()));
        let (watch, _) = fed(capture, 100, &Limits::for_heads_of(32 << 10));
        assert!(watch.preface_done() && !watch.is_inside_headers());
    }
    // Chromium's resets are what the budget is for: with a small one they are too many.
    check(CHROMIUM, &LIMITS, Err(Abuse::RapidReset));
}

#[test]
fn the_preface_ends_with_settings() {
    let start = start();
    for end in 0..=start.len() {
        let (watch, ended) = fed(&start[..end], 5, &LIMITS);
        assert_eq!(ended, None);
        assert_eq!(watch.preface_done(), end == start.len(), "{end} bytes");
    }
    let empty = [&PREFACE[..], &frame(4, 0, 0, b"")].concat();
    assert!(fed(&empty, 1, &LIMITS).0.preface_done());
}

#[test]
fn other_starts_are_known_at_their_first_wrong_byte() {
    for at in 0..PREFACE.len() {
        let mut bytes = start();
        bytes[at] ^= 0x20;
        assert_eq!(fed(&bytes, 1, &LIMITS).1, Some((at + 1, Abuse::NotHttp2)));
        check(&bytes, &LIMITS, Err(Abuse::NotHttp2));
    }
    let others = [
        ping(0),
        request(0),
        frame(4, 1, 0, b""),
        frame(4, 0, 1, b""),
    ];
    for other in others {
        check(
            &[&PREFACE[..], &other].concat(),
            &LIMITS,
            Err(Abuse::NotHttp2),
        );
    }
}

#[test]
fn an_open_block_is_seen_until_its_last_byte() {
    let block = [
        frame(1, 0x1, 1, &[0x82; 10]),
        frame(9, 0, 1, b""),
        frame(9, 0x4, 1, &[0x84; 5]),
    ]
    .concat();
    let bytes = [start(), block].concat();
    let mut watch = FrameWatch::default();
    for (at, byte) in bytes.iter().enumerate() {
        watch.feed(&[*byte], &LIMITS).unwrap();
        let open = at >= start().len() && at + 1 < bytes.len();
        let head = (PREFACE.len()..PREFACE.len() + 8).contains(&at);
        assert_eq!(watch.is_inside_headers(), open || head, "at {at}");
    }
    // A body takes its time.
    watch
        .feed(&frame(0, 0, 1, &[0; 90])[..20], &LIMITS)
        .unwrap();
    assert!(!watch.is_inside_headers());
}

#[test]
fn header_blocks_are_bounded() {
    let with = |frames: Vec<u8>| [start(), frames].concat();
    let longest = |bytes| frame(1, 0x5, 1, &vec![0; bytes]);
    check(&with(longest(1000)), &LIMITS, Ok(()));
    let larger = with(longest(1001));
    check(&larger, &LIMITS, Err(Abuse::HeaderBlockTooLarge));
    let (at, _) = fed(&larger, 1, &LIMITS).1.unwrap();
    assert_eq!(at, start().len() + 9, "known by its header");

    let split = |continuations, bytes| {
        let more = repeated(continuations, |_| frame(9, 0, 1, &vec![0; bytes]));
        with([frame(1, 0x1, 1, b""), more].concat())
    };
    check(&split(3, 333), &LIMITS, Ok(()));
    check(&split(3, 334), &LIMITS, Err(Abuse::HeaderBlockTooLarge));
    check(&split(4, 0), &LIMITS, Err(Abuse::ContinuationFlood));
}

#[test]
fn nothing_comes_between_the_frames_of_a_block() {
    let open = frame(1, 0x1, 1, b"\x82");
    for between in [
        ping(0),
        request(1),
        frame(9, 0x4, 3, b""),
        frame(0, 0, 1, b"x"),
    ] {
        let bytes = [start(), open.clone(), between].concat();
        check(&bytes, &LIMITS, Err(Abuse::HeaderBlockBroken));
    }
    let lone = [start(), frame(9, 0x4, 1, b"")].concat();
    check(&lone, &LIMITS, Err(Abuse::HeaderBlockBroken));
    let late = [start(), request(0), frame(9, 0x4, 1, b"")].concat();
    check(&late, &LIMITS, Err(Abuse::HeaderBlockBroken));
}

#[test]
fn resets_beyond_requests_and_time_are_too_many() {
    let rapid = |times| repeated(times, |n| [request(n), reset(n)].concat());
    // The first of them has no debt to pay back: 2, and 1 for each further one.
    check(&[start(), rapid(19)].concat(), &LIMITS, Ok(()));
    check(
        &[start(), rapid(20)].concat(),
        &LIMITS,
        Err(Abuse::RapidReset),
    );
    let every_second = repeated(500, |n| {
        [request(2 * n), request(2 * n + 1), reset(n)].concat()
    });
    check(&[start(), every_second].concat(), &LIMITS, Ok(()));

    let broken = [
        window_update(1, 0),
        frame(2, 0, 1, b""),
        frame(8, 0, 1, b"abc"),
    ]
    .concat();
    check(
        &[start(), broken.repeat(4)].concat(),
        &LIMITS,
        Err(Abuse::RapidReset),
    );

    let mut watch = FrameWatch::default();
    watch.feed(&start(), &LIMITS).unwrap();
    for _ in 0..100 {
        watch.feed(&repeated(10, reset), &LIMITS).unwrap();
        watch.tick();
    }
}

#[test]
fn trailers_are_no_request() {
    let trailers = |n| [reset(n), request(0)].concat();
    let bytes = [start(), request(0), repeated(11, trailers)].concat();
    check(&bytes, &LIMITS, Err(Abuse::RapidReset));
}

#[test]
fn control_frames_beyond_requests_and_time_are_too_many() {
    let floods: [&dyn Fn(u32) -> Vec<u8>; 8] = [
        &ping,
        &|_| frame(4, 1, 0, b""),
        &|_| frame(2, 0, 1, b"\0\0\0\0\x10"),
        &|n| window_update(n % 2, 255),
        &|_| frame(0, 0, 1, b""),
        &|_| frame(0, 0x8, 1, b"\x03\0\0\0"),
        &|_| frame(16, 0, 0, b"\0\0\0\x01u=1"),
        &|_| frame(0x4b, 0, 0, b"grease"),
    ];
    for flood in floods {
        // The first SETTINGS are one of the thirty.
        check(&[start(), repeated(29, flood)].concat(), &LIMITS, Ok(()));
        let bytes = [start(), repeated(30, flood)].concat();
        check(&bytes, &LIMITS, Err(Abuse::ControlFlood));
        let per_call = repeated(100, |n| [request(n), repeated(4, flood)].concat());
        check(&[start(), per_call].concat(), &LIMITS, Ok(()));
        let mut watch = FrameWatch::default();
        watch.feed(&start(), &LIMITS).unwrap();
        for _ in 0..100 {
            watch.feed(&repeated(20, flood), &LIMITS).unwrap();
            watch.tick();
        }
    }
    // Later settings may move all windows, and weigh by their number too.
    let limits = Limits {
        max_control_debt: 1000,
        ..LIMITS
    };
    let moved = |frames| [start(), repeated(frames, |_| frame(4, 0, 0, &[0; 6]))].concat();
    check(&moved(9), &limits, Ok(()));
    check(&moved(10), &limits, Err(Abuse::ControlFlood));
    let many = [start(), frame(4, 0, 0, &[0; 6 * 300])].concat();
    check(&many, &LIMITS, Err(Abuse::ControlFlood));
}

#[test]
fn bodies_and_downloads_cost_nothing() {
    let busy = |n| {
        [
            window_update(0, 256),
            window_update(1, 4096),
            frame(0, 0, 1, b"x"),
            frame(0, 0x8, 1, b"\x03x\0\0\0"),
            frame(0, 0x1, 2 * n + 1, b""),
        ]
        .concat()
    };
    let bytes = [start(), repeated(1000, busy)].concat();
    check(&bytes, &LIMITS, Ok(()));
}

#[test]
fn a_second_pays_back_what_the_documentation_says() {
    assert_eq!((RESETS_FORGIVEN, CONTROL_FORGIVEN), (2000, 20_000));
    let limits = Limits::for_heads_of(32 << 10);
    let mut watch = FrameWatch::default();
    watch.feed(&start(), &limits).unwrap();
    // As gRPC does within one machine, and for calls that miss their deadlines.
    let control = repeated(9_999, |n| [ping(n), window_update(0, 20)].concat());
    let missed = |n| [request(n), reset(n)].concat();
    for second in 0..5 {
        watch.feed(&control, &limits).unwrap();
        let missed = repeated(1_999, |n| missed(second * 1_999 + n));
        watch.feed(&missed, &limits).unwrap();
        watch.tick();
    }
}
