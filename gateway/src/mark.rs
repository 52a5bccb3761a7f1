//! Requests that come back to the site that sent them on, since its upstream leads to the gateway
//! itself, directly or by others: `CDN-Loop` (RFC 8586).
//!
//! The mark names the site too: behind what another site of the gateway answers with, say a cache,
//! may well be this one.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::{ErrorType, OrErr, Result, http::RequestHeader};

use crate::request_id::RequestId;

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// What no other process calls itself.
static PROCESS: LazyLock<u64> = LazyLock::new(|| RequestId::fresh().low_bits());

/// So often a request may come by.
const MOST_TURNS: usize = 4;

/// What a site's requests carry, for as long as the process runs.
#[derive(Debug, Clone)]
pub(crate) struct Mark(HeaderValue);

impl Mark {
    /// The mark of the site with this number.
    pub(crate) fn of(site: u16) -> Result<Self> {
        let mark = format!("thornwall-{:016x}-{site:x}", *PROCESS);
        let mark = HeaderValue::try_from(mark).or_err(ErrorType::InternalError, "mark")?;
        Ok(Self(mark))
    }

    /// Whether a request carries it so often that it goes in circles. An application that asks its own
    /// public name may pass the fields on that it got.
    pub(crate) fn is_in_circles(&self, headers: &HeaderMap) -> bool {
        let lines = headers.get_all(&CDN_LOOP).iter();
        let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        let ours = names.filter(|name| name.trim_ascii() == self.0.as_bytes());
        ours.count() >= MOST_TURNS
    }

    /// Marks a request that is to go on. What others have written stays (RFC 8586 section 2).
    pub(crate) fn leave(&self, request: &mut RequestHeader) -> Result<()> {
        let mark = self.0.clone();
        match request.headers.contains_key(&CDN_LOOP) {
            true => request.append_header(CDN_LOOP, mark).map(|_| ()),
            false => request.insert_header(CDN_LOOP, mark),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_among_others() {
        let (ours, other) = (Mark::of(7).unwrap(), Mark::of(8).unwrap());
        let text = ours.0.to_str().unwrap().to_owned();
        let check = |lines: &[&str], expected: bool| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CDN_LOOP, line.parse().unwrap());
            }
            assert_eq!(ours.is_in_circles(&headers), expected, "{lines:?}");
        };
        check(&[], false);
        check(&["", "cdn.example; a=b, x"], false);
        check(&[other.0.to_str().unwrap()], false);
        check(&["cdn.example", &text], false);
        let thrice = format!("cdn.example; a=\"b\",{text} , x,{text},{text}");
        check(&[&thrice], false);
        check(&[&thrice, &text], true);
        check(&[&thrice, &format!("x{text}")], false);
    }
}
