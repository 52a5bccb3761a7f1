//! Refusals of heads that never became a request of Pingora's.

use std::fmt::Write;

use bytes::Bytes;
use http::StatusCode;
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};

use super::{METHODS, page};
use crate::request_id::RequestId;

/// A complete HTTP/1.1 response that ends the connection: the short page of `status`, with the id
/// that the access line has. A client that asks with HEAD gets none of the page (RFC 9110 section
/// 9.3.2).
pub(crate) fn refusal(status: u16, id: &RequestId, now: Timestamp, is_head: bool) -> Bytes {
    let body = page::body(status);
    let title = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    let mut head = format!(
        "HTTP/1.1 {status} {title}\r\n\
         Content-Type: text/html; charset=utf-8\r\n\
         Content-Length: {}\r\n\
         Cache-Control: no-store\r\n\
         Connection: close\r\n\
         X-Request-Id: {id}\r\n",
        body.len()
    );
    // Fails only before year 0, where RFC 9110 section 6.6.1 lets a clock go without.
    if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&now) {
        // Writing to a `String` cannot fail.
        let _ = write!(head, "Date: {date}\r\n");
    }
    if status == 405 {
        let _ = write!(head, "Allow: {METHODS}\r\n");
    }
    head.push_str("\r\n");
    let mut response = head.into_bytes();
    if !is_head {
        response.extend_from_slice(&body);
    }
    response.into()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::refusal;
    use crate::request_id::RequestId;

    #[test]
    fn a_refusal_is_a_whole_response() {
        let id = RequestId::fresh();
        let check = |status: u16, start: &str, field: &str| {
            let whole = refusal(status, &id, Timestamp::UNIX_EPOCH, false);
            let head = refusal(status, &id, Timestamp::UNIX_EPOCH, true);
            assert!(whole.starts_with(&head) && head.ends_with(b"\r\n\r\n"));
            let response = whole;
            let text = std::str::from_utf8(&response).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let mut lines = head.split("\r\n");
            assert_eq!(lines.next(), Some(start));
            let lines: Vec<&str> = lines.collect();
            let id = format!("X-Request-Id: {id}");
            let length = format!("Content-Length: {}", body.len());
            let date = "Date: Thu, 01 Jan 1970 00:00:00 GMT";
            for line in [&id, &length, date, "Connection: close", field] {
                assert!(lines.contains(&line), "{line} is not in {head}");
            }
        };
        let close = "Connection: close";
        check(400, "HTTP/1.1 400 Bad Request", close);
        check(
            405,
            "HTTP/1.1 405 Method Not Allowed",
            "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        );
        check(431, "HTTP/1.1 431 Request Header Fields Too Large", close);
    }
}
