//! Hellos of real clients, as one record and as many, and what is none.

use super::{Hello, MOST_BYTES, NotTls, message, read};

/// What the clients sent first to `https://localhost` (`openssl s_client` to `t.example`).
const CAPTURES: [&[u8]; 4] = [
    include_bytes!("../captures/client_hello_chromium.bin"),
    include_bytes!("../captures/client_hello_curl.bin"),
    include_bytes!("../captures/client_hello_firefox.bin"),
    include_bytes!("../captures/client_hello_openssl.bin"),
];

/// Reads the bytes whole and cut off at every length: all cuts must agree with each other.
fn check(bytes: &[u8], expected: Result<Hello, NotTls>) {
    let whole = read(bytes);
    assert_eq!(whole, expected);
    let first = (0..=bytes.len()).find(|&end| read(&bytes[..end]) != Ok(Hello::Partial));
    for end in first.unwrap_or(bytes.len())..=bytes.len() {
        assert_eq!(read(&bytes[..end]), whole, "{end} bytes");
    }
    if let (Ok(Hello::Complete { length }), Some(first)) = (whole, first) {
        assert_eq!(first, length, "known at its last byte");
    }
}

fn complete(length: usize) -> Result<Hello, NotTls> {
    Ok(Hello::Complete { length })
}

/// The handshake message in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |fragment: &[u8]| {
        let length = u16::try_from(fragment.len()).unwrap().to_be_bytes();
        [&[22, 3, 1][..], &length, fragment].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

/// A hello whose body is of this length.
fn hello(length: u32) -> Vec<u8> {
    let mut hello = (1 << 24 | length).to_be_bytes().to_vec();
    hello.resize(4 + length as usize, 0xab);
    hello
}

#[test]
fn hellos_of_real_clients_end_where_their_bytes_end() {
    for capture in CAPTURES {
        check(capture, complete(capture.len()));
        check(&[capture, b"more"].concat(), complete(capture.len()));
        assert_eq!(message(capture).unwrap(), capture[5..]);
        assert_eq!(message(&[capture, b"more"].concat()).unwrap(), capture[5..]);
        assert_eq!(message(&capture[..capture.len() - 1]), None);
    }
}

#[test]
fn a_hello_may_span_records() {
    for capture in CAPTURES {
        for size in [capture.len() / 63, 300, capture.len() - 6] {
            let split = records(&capture[5..], size);
            check(&split, complete(split.len()));
            assert_eq!(message(&split).unwrap(), capture[5..], "by {size}");
        }
    }
    // Even the four bytes of its header.
    let split = records(&hello(10), 1);
    check(&split, complete(14 * 6));
    assert_eq!(message(&split).unwrap(), hello(10));
}

#[test]
fn the_longest_hello_is_told_from_one_that_is_too_long() {
    let most = u32::try_from(MOST_BYTES - 9).unwrap();
    assert_eq!(
        read(&records(&hello(most), MOST_BYTES)),
        complete(MOST_BYTES)
    );
    check(
        &records(&hello(most + 1), MOST_BYTES)[..9],
        Err(NotTls::TooLong),
    );
    check(
        &records(&hello(0xff_ffff)[..100], 100),
        Err(NotTls::TooLong),
    );
    // Its own length is small enough, but not with the headers of two records.
    let split = records(&hello(most), 10_000);
    assert_eq!(read(&split), Err(NotTls::TooLong));
    assert_eq!(read(&split[..MOST_BYTES]), Err(NotTls::TooLong));
}

#[test]
fn other_first_bytes_are_known_at_once() {
    let cases: &[(&[u8], NotTls)] = &[
        (b"G", NotTls::ClearText),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NotTls::ClearText),
        (b"SSH-2.0-OpenSSH_9.2\r\n", NotTls::ClearText),
        (b"\0", NotTls::ContentType(0)),
        // A hello as SSL 2.0 wrote it (RFC 5246, appendix E.2).
        (b"\x80\x2e\x01\x03\x01", NotTls::ContentType(0x80)),
        (b"\x15\x03\x01\0\x02\x02\x28", NotTls::ContentType(21)),
        (b"\x17\x03\x03\0\x20", NotTls::ContentType(23)),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", NotTls::ContentType(13)),
        (b"\x16\x02", NotTls::Version(2)),
        (b"\x16\xfe\xfd", NotTls::Version(0xfe)),
        (b"\x16\x03\x01\0\0", NotTls::FragmentLength(0)),
        (b"\x16\x03\x01\x40\x01", NotTls::FragmentLength(0x4001)),
        (b"\x16\x03\x01\0\x20\x02", NotTls::MessageType(2)),
        (b"\x16\x03\x01\0\x20\0", NotTls::MessageType(0)),
        (
            b"\x16\x03\x01\0\x01\x01\x16\x03\x01\0\0",
            NotTls::FragmentLength(0),
        ),
        (b"\x16\x03\x01\0\x01\x01\x14", NotTls::ContentType(0x14)),
        (b"\x16\x03\x01\0\x05\x01\0\0\0", NotTls::RecordGoesOn),
        (b"\x16\x03\x01\0\x04\x01\x01\0\0", NotTls::TooLong),
    ];
    for &(bytes, expected) in cases {
        check(bytes, Err(expected));
        assert_eq!(message(bytes), None);
    }
}

#[test]
fn a_flood_of_small_records_ends() {
    let split = records(&hello(1000), 1);
    check(&split[..6 * 70], Err(NotTls::TooManyRecords));
}
