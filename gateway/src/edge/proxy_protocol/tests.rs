//! Headers as the specification and real proxies write them, and what is none.

use std::net::SocketAddr;

use super::{Invalid, MOST_V1_BYTES, MOST_V2_BYTES, Read, read};

/// Reads the bytes whole and cut off at every length: all cuts must agree with each other.
fn check(bytes: &[u8], expected: Result<Read, Invalid>) {
    let whole = read(bytes);
    assert_eq!(whole, expected, "{}", bytes.escape_ascii());
    let first = (0..=bytes.len()).find(|&end| read(&bytes[..end]) != Ok(Read::Partial));
    for end in first.unwrap_or(bytes.len())..=bytes.len() {
        assert_eq!(read(&bytes[..end]), whole, "{} bytes of {bytes:?}", end);
    }
    if let (Ok(Read::Complete { length, .. }), Some(first)) = (whole, first) {
        assert_eq!(first, length, "known at its last byte");
    }
}

fn complete(length: usize, source: &str) -> Result<Read, Invalid> {
    let source: SocketAddr = source.parse().unwrap();
    Ok(Read::Complete {
        length,
        source: Some(source),
    })
}

fn unnamed(length: usize) -> Result<Read, Invalid> {
    Ok(Read::Complete {
        length,
        source: None,
    })
}

#[test]
fn lines_of_version_1() {
    check(
        b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n",
        complete(45, "192.0.2.1:56324"),
    );
    check(
        b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n",
        complete(36, "[2001:db8::1]:0"),
    );
    check(
        b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n",
        complete(37, "[::ffff:192.0.2.1]:1"),
    );
    let longest = b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
        ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    check(
        longest,
        complete(104, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
    );
}

#[test]
fn lines_that_name_nobody() {
    check(b"PROXY UNKNOWN\r\nx", unnamed(15));
    check(b"PROXY UNKNOWN a b c d e f g \r h\n\r\n", unnamed(34));
    let mut longest = b"PROXY UNKNOWN ".to_vec();
    longest.resize(MOST_V1_BYTES - 2, b'x');
    check(&[&longest[..], b"\r\n"].concat(), unnamed(MOST_V1_BYTES));
    longest.push(b'x');
    check(&[&longest[..], b"\r\n"].concat(), Err(Invalid::TooLong));
}

#[test]
fn broken_lines_are_known_at_their_first_wrong_byte() {
    let cases: &[(&[u8], usize, Invalid)] = &[
        (b"GET / HTTP/1.1\r\n", 1, Invalid::NoHeader),
        (b"PUT / HTTP/1.1\r\n", 2, Invalid::NoHeader),
        (b"POST / HTTP/1.1\r\n", 2, Invalid::NoHeader),
        (b"PRI * HTTP/2.0\r\n", 3, Invalid::NoHeader),
        (b"PROXY  TCP4", 7, Invalid::Protocol),
        (b"PROXY tcp4", 7, Invalid::Protocol),
        (b"PROXY TCP5", 10, Invalid::Protocol),
        (b"PROXY TCP4\r\n", 11, Invalid::Protocol),
        (b"PROXY UDP4", 8, Invalid::Protocol),
        (b"PROXY UNKNOWNX\r\n", 14, Invalid::Protocol),
        (b"PROXY TCP4 \r\n", 12, Invalid::Address),
        (b"PROXY TCP4 localhost", 12, Invalid::Address),
        (b"PROXY TCP4 256.0.0.1 ", 21, Invalid::Address),
        (b"PROXY TCP4 192.0.2.01 ", 22, Invalid::Address),
        (b"PROXY TCP4 ::1 ", 15, Invalid::Address),
        (b"PROXY TCP6 192.0.2.1 ", 21, Invalid::Address),
        (b"PROXY TCP6 fe80::1%eth0 ", 19, Invalid::Address),
        (b"PROXY TCP4 192.0.2.1\t", 21, Invalid::Address),
        (b"PROXY TCP4 192.0.2.1  ", 22, Invalid::Address),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 +80 ", 32, Invalid::Port),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 080 ", 33, Invalid::Port),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 ", 37, Invalid::Port),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 80\r\n", 34, Invalid::Port),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 80 443\n",
            38,
            Invalid::Port,
        ),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 80 443 \r\n",
            38,
            Invalid::Port,
        ),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 80 443\r\r\n",
            39,
            Invalid::Port,
        ),
    ];
    for &(line, at, invalid) in cases {
        check(line, Err(invalid));
        let before = read(&line[..at - 1]);
        assert_eq!(before, Ok(Read::Partial), "{}", line.escape_ascii());
        assert_eq!(read(&line[..at]), Err(invalid), "{}", line.escape_ascii());
    }
    check(
        &[b"PROXY TCP6 ", &[b'a'; 200][..]].concat(),
        Err(Invalid::TooLong),
    );
    check(
        &[b"PROXY TCP4 1.1.1.1 1.1.1.1 ", &[b'1'; 200][..]].concat(),
        Err(Invalid::TooLong),
    );
}

/// A header of version 2, with `body` as its addresses and additions.
fn v2(version_and_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let fixed = [version_and_command, family, length[0], length[1]];
    [b"\r\n\r\n\0\r\nQUIT\n", &fixed[..], body].concat()
}

const IPV4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

#[test]
fn headers_of_version_2() {
    for family in [0x11, 0x12] {
        let header = v2(0x21, family, IPV4);
        check(&header, complete(28, "192.0.2.1:56324"));
        check(
            &[&header[..], b"\x16\x03\x01"].concat(),
            complete(28, "192.0.2.1:56324"),
        );
    }
    let mut ipv6 = [0; 36];
    ipv6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    ipv6[15] = 1;
    ipv6[33] = 7;
    check(&v2(0x21, 0x21, &ipv6), complete(52, "[2001:db8::1]:7"));
    // HAProxy's `send-proxy-v2-ssl` adds what it knows about TLS behind the addresses.
    let additions = [
        IPV4,
        &[
            0x20, 0, 15, 1, 0, 0, 0, 0, 0x21, 0, 7, b'T', b'L', b'S', b'v', b'1', b'.', b'3',
        ],
    ]
    .concat();
    check(&v2(0x21, 0x11, &additions), complete(46, "192.0.2.1:56324"));
    let mut longest = IPV4.to_vec();
    longest.resize(MOST_V2_BYTES - 16, 4);
    check(
        &v2(0x21, 0x11, &longest),
        complete(MOST_V2_BYTES, "192.0.2.1:56324"),
    );
}

#[test]
fn headers_of_version_2_that_name_nobody() {
    check(&v2(0x20, 0x00, b""), unnamed(16));
    check(&v2(0x20, 0x11, IPV4), unnamed(28));
    // The family of LOCAL is to be ignored, and so is what stands in for its addresses.
    check(&v2(0x20, 0x21, b""), unnamed(16));
    check(&v2(0x20, 0xff, b"abc"), unnamed(19));
    check(&v2(0x21, 0x00, b"abc"), unnamed(19));
    check(&v2(0x21, 0x31, &[0; 216]), unnamed(232));
}

#[test]
fn broken_headers_of_version_2() {
    check(b"\r\n\r\n\x01", Err(Invalid::NoHeader));
    check(b"\x16\x03\x01\x02\x00", Err(Invalid::NoHeader));
    check(&v2(0x11, 0x11, IPV4)[..13], Err(Invalid::Version(1)));
    check(&v2(0x31, 0x11, IPV4)[..13], Err(Invalid::Version(3)));
    check(&v2(0x22, 0x11, IPV4)[..13], Err(Invalid::Command(2)));
    for family in [0x01, 0x10, 0x13, 0x20, 0x30, 0x41, 0xff] {
        check(&v2(0x21, family, IPV4)[..14], Err(Invalid::Family(family)));
    }
    for (family, length) in [(0x11, 11), (0x21, 35), (0x31, 215)] {
        let short = v2(0x21, family, &vec![0; length]);
        check(&short[..16], Err(Invalid::AddressLength));
    }
    let long = v2(0x21, 0x11, &[0; MOST_V2_BYTES - 15]);
    check(&long[..16], Err(Invalid::TooLong));
    check(&v2(0x20, 0x00, &[0; 0xffff])[..16], Err(Invalid::TooLong));
}

#[test]
fn most_v2_bytes_are_enough_to_tell() {
    for start in [&b"PROXY UNKNOWN "[..], &v2(0x21, 0x11, &[0; 2264])] {
        let mut bytes = start.to_vec();
        bytes.resize(MOST_V2_BYTES, b' ');
        assert_ne!(read(&bytes), Ok(Read::Partial));
    }
}
