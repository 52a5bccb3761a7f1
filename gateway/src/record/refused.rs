//! The record of a head that was refused before it could become a request.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use thornwall_detectors::signal::Reason;

use super::{Client, Ended, LONGEST_METHOD, LONGEST_TEXT, clip};
use crate::request_id::RequestId;

/// A head that was refused before it could become a request.
#[derive(Debug)]
pub(crate) struct RefusedHead<'a> {
    /// The id that the answer carries.
    pub id: RequestId,
    /// Who sent it, where that is known.
    pub client: Option<IpAddr>,
    /// The bytes that were read of it, as they are.
    pub line: &'a [u8],
    /// Status of the answer; 0 where the client got none.
    pub status: u16,
    /// Why it was refused.
    pub reason: Reason,
    /// Time from its first byte to its end.
    pub took: Duration,
    /// Number of the generation whose limits were applied.
    pub generation: u64,
}

impl Ended {
    /// Sums up a head that never became a request.
    pub(crate) fn refused(head: &RefusedHead<'_>) -> Self {
        let (method, path) = parts_of(head.line);
        Self {
            id: head.id,
            proxy_id: None,
            time: SystemTime::now(),
            client: head.client.map(Client::Address),
            site: None,
            filters: None,
            method,
            host: String::new(),
            path,
            user_agent: None,
            status: head.status,
            bytes: 0,
            judgement: None,
            signals: None,
            reason: Some(head.reason),
            held: None,
            failed_connects: 0,
            origin_took: None,
            took: head.took,
            generation: head.generation,
        }
    }
}

/// Method and path of what may be a request line, without the query, which may hold secrets.
/// Whatever is not visible ASCII is escaped: the line is what an attacker made of it.
fn parts_of(head: &[u8]) -> (Box<str>, Box<str>) {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let most = &head[..head.len().min(LONGEST_METHOD + 1 + LONGEST_TEXT)];
    let line = most.split(|byte| b"\r\n".contains(byte)).next();
    let mut words = line.unwrap_or_default().splitn(3, |byte| *byte == b' ');
    let mut next = |most: usize| {
        let word = words.next().unwrap_or_default();
        let end = word.iter().position(|byte| *byte == b'?');
        let word = &word[..end.unwrap_or(word.len())];
        clip(&word.escape_ascii().to_string(), most)
    };
    (next(LONGEST_METHOD), next(LONGEST_TEXT))
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_METHOD, LONGEST_TEXT, parts_of};

    #[test]
    fn refused_lines_are_kept_short_and_escaped() {
        let check = |head: &[u8], method: &str, path: &str| {
            let parts = parts_of(head);
            assert_eq!(
                (&*parts.0, &*parts.1),
                (method, path),
                "{}",
                head.escape_ascii()
            );
        };
        check(b"GET /a?token=1 HTTP/1.1\r\nHost: x\r\n", "GET", "/a");
        check(b"\r\nGET /a\r\n", "GET", "/a");
        check(b"\x16\x03\x01\n\x00", "\\x16\\x03\\x01", "");
        check(
            b"GET /\x1b[2J\xff\"x HTTP/1.1",
            "GET",
            "/\\x1b[2J\\xff\\\"x",
        );
        check(b"", "", "");
        let (method, path) =
            parts_of(&[b"A".repeat(9000), b" ".to_vec(), b"B".repeat(9000)].concat());
        assert_eq!((method.len(), path.len()), (LONGEST_METHOD, 0));
        let (_, path) = parts_of(&[b"GET /".to_vec(), b"B".repeat(9000)].concat());
        assert_eq!(path.len(), LONGEST_TEXT);
    }
}
