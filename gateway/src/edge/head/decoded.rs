//! Heads of HTTP/2, which come decoded: held to what is asked of the bytes of HTTP/1, since most
//! origins get them as such.
//!
//! What RFC 9113 section 8 itself forbids, hop-by-hop fields above all, the HTTP/2 library has
//! refused already.

use http::{
    HeaderMap, Method,
    header::{CONTENT_LENGTH, COOKIE, EXPECT},
};
use thornwall_detectors::signal::Reason;

use super::{
    Refusal,
    fields::{plain_number, resembles},
    is_token,
    line::{judge_method, judge_path},
    target::Form,
};

/// Judges a head that came as fields: `path` is its `:path`, in the form of [`safe_uri`](super::safe_uri).
///
/// # Errors
/// The errors that [`judge`](super::judge) has for the same request of HTTP/1.
pub fn judge_decoded(
    method: &Method,
    path: &[u8],
    headers: &HeaderMap,
    max_fields: usize,
) -> Result<(), Refusal> {
    judge_method(method.as_str().as_bytes())?;
    if judge_path(method.as_str().as_bytes(), path)? == Form::Rewritten {
        return Err(Refusal::new(400, Reason::RequestTargetInvalid));
    }
    // Cookies may come in crumbs (section 8.2.3), which are one line for the origin.
    let crumbs = headers.get_all(COOKIE).iter().count();
    if headers.len() - crumbs + crumbs.min(1) > max_fields {
        return Err(Refusal::new(431, Reason::RequestHeadTooLarge));
    }
    headers
        .keys()
        .try_for_each(|name| judge_name(name.as_str()))?;
    judge_length(headers)?;
    judge_expectation(headers)
}

/// The library lets quotation marks through.
fn judge_name(name: &str) -> Result<(), Refusal> {
    let name = name.as_bytes();
    if !name.iter().all(|byte| is_token(*byte)) {
        return Err(Refusal::field());
    }
    let framing = [b"content-length".as_slice(), b"transfer-encoding"];
    if name.contains(&b'_') && framing.iter().any(|field| resembles(name, field)) {
        return Err(Refusal::framing());
    }
    Ok(())
}

fn judge_length(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let sound = match (lengths.next(), lengths.next()) {
        (None, _) => true,
        (Some(length), None) => plain_number(length.as_bytes()).is_some(),
        (Some(_), Some(_)) => false,
    };
    sound.then_some(()).ok_or(Refusal::framing())
}

fn judge_expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut expected = headers.get_all(EXPECT).iter();
    let known = expected
        .next()
        .is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if !known || expected.next().is_some() {
        return Err(Refusal::new(417, Reason::RequestExpectation));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::judge_decoded;

    /// The status that a GET with these fields is refused with, where at most four are allowed.
    fn refused(fields: &[(&str, &str)]) -> Option<u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_lowercase(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let judged = judge_decoded(&Method::GET, b"/", &headers, 4);
        judged.err().map(|refusal| refusal.status)
    }

    #[test]
    fn one_plain_length_is_taken() {
        let length = "content-length";
        assert_eq!(refused(&[(length, "0")]), None);
        assert_eq!(refused(&[(length, "999999999999999999")]), None);
        for bad in ["010", "5, 5", "+5", "", "1000000000000000000"] {
            assert_eq!(refused(&[(length, bad)]), Some(400), "{bad}");
        }
        for second in ["5", "05"] {
            let twice = [(length, "5"), (length, second)];
            assert_eq!(refused(&twice), Some(400), "{second}");
        }
        assert_eq!(refused(&[("content_length", "5")]), Some(400));
        assert_eq!(refused(&[("transfer_encoding", "chunked")]), Some(400));
    }

    #[test]
    fn fields_are_counted_but_for_crumbs() {
        let crumb = ("cookie", "a=b");
        assert_eq!(refused(&[crumb; 100]), None);
        let four = [("a", ""), ("b", ""), ("b", ""), ("c", "")];
        assert_eq!(refused(&four), None);
        assert_eq!(refused(&[&four[..], &[crumb]].concat()), Some(431));
        assert_eq!(refused(&[&four[..3], &[crumb; 9]].concat()), None);
    }

    #[test]
    fn names_are_tokens_and_one_thing_is_expected() {
        assert_eq!(refused(&[("a\"b", "")]), Some(400));
        let expect = ("expect", "100-Continue");
        assert_eq!(refused(&[expect]), None);
        assert_eq!(refused(&[expect, expect]), Some(417));
        assert_eq!(refused(&[("expect", "x")]), Some(417));
    }

    #[test]
    fn a_path_is_one() {
        let check = |method: Method, path: &[u8], expected: Option<u16>| {
            let judged = judge_decoded(&method, path, &HeaderMap::new(), 4);
            let status = judged.err().map(|refusal| refusal.status);
            assert_eq!(status, expected, "{method} {}", path.escape_ascii());
        };
        check(Method::GET, b"/a?b", None);
        check(Method::OPTIONS, b"*", None);
        check(Method::GET, b"*", Some(400));
        check(Method::GET, b"?x", Some(400));
        check(Method::GET, b"", Some(400));
        check(Method::GET, b"a", Some(400));
        check(Method::GET, "/?\u{e9}".as_bytes(), Some(400));
        check(Method::GET, b"/a\\b", Some(400));
        check(Method::TRACE, b"/", Some(405));
        check(Method::from_bytes(b"track").unwrap(), b"/", Some(405));
    }
}
