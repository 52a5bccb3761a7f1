//! The bytes of a request target (RFC 9112 section 3.2): which are refused, and which are judged and
//! passed on in another form.
//!
//! Programs send bytes that no URI is made of: letters above ASCII, markup, quotes, and a fragment.
//! Servers take them, and differ in what they make of them. So they are percent-encoded (RFC 3986
//! section 2.1) before anybody looks, which changes no resource's name, and the fragment, which is
//! none of a server's business (section 3.5), is cut off. Everything else stays byte for byte,
//! since some protocols sign the target.

use thornwall_detectors::signal::Reason;

use super::Refusal;

/// Longest target that a URI of the `http` crate holds.
const LONGEST: usize = 65_534;

/// No target has it: controls and the space, which end the target for some parsers.
const REFUSED: u8 = 2;
/// Taken in another form.
const REWRITTEN: u8 = 1;

/// What a path may contain as it is: RFC 3986, and what programs send and origins are known to take. A
/// backslash is a slash to some servers, and no browser sends one.
const PATH: [u8; 256] = classes(b"#<>\\`");
/// What a query may contain as it is; browsers send more there (WHATWG URL, percent-encode sets).
const QUERY: [u8; 256] = classes(b"#\"<>");

const fn classes(rewritten: &[u8]) -> [u8; 256] {
    let mut table = [REWRITTEN; 256];
    let mut byte = 0;
    while byte < 0x80 {
        table[byte] = if byte <= 0x20 || byte == 0x7f {
            REFUSED
        } else {
            0
        };
        byte += 1;
    }
    let mut at = 0;
    while at < rewritten.len() {
        table[rewritten[at] as usize] = REWRITTEN;
        at += 1;
    }
    table
}

/// The form in which a target is judged and passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    AsSent,
    /// What [`rewrite`] makes of it.
    Rewritten,
}

/// Judges path and query.
pub(super) fn judge(target: &[u8]) -> Result<Form, Refusal> {
    if target.len() > LONGEST {
        return Err(too_long());
    }
    let (path, query) = split(target);
    let seen = |bytes: &[u8], table: &[u8; 256]| {
        bytes
            .iter()
            .fold(0, |seen, byte| seen | table[usize::from(*byte)])
    };
    match seen(path, &PATH) | seen(query, &QUERY) {
        0 => Ok(Form::AsSent),
        REWRITTEN if climbs_by_backslash(path) => Err(invalid()),
        REWRITTEN if rewrite(target).len() > LONGEST => Err(too_long()),
        REWRITTEN => Ok(Form::Rewritten),
        _ => Err(invalid()),
    }
}

/// A target in the form that is judged and passed on.
pub(super) fn rewrite(target: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let end = memchr::memchr(b'#', target).unwrap_or(target.len());
    let (path, query) = split(&target[..end]);
    let mut rewritten = Vec::with_capacity(target.len() * 3);
    for (bytes, table) in [(path, &PATH), (query, &QUERY)] {
        for byte in bytes {
            if table[usize::from(*byte)] == 0 {
                rewritten.push(*byte);
            } else {
                let digit = |value: u8| DIGITS[usize::from(value)];
                rewritten.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    rewritten
}

fn split(target: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'?', target).unwrap_or(target.len());
    target.split_at(end)
}

/// Whether a path has dot segments for servers to which a backslash is a slash. Encoded, it would
/// climb there all the same, past what was judged.
fn climbs_by_backslash(path: &[u8]) -> bool {
    const DOTS: [&[u8]; 6] = [b".", b"..", b"%2e", b".%2e", b"%2e.", b"%2e%2e"];
    let dots = |segment: &[u8]| DOTS.iter().any(|dots| segment.eq_ignore_ascii_case(dots));
    path.contains(&b'\\') && path.split(|byte| b"/\\".contains(byte)).any(dots)
}

const fn too_long() -> Refusal {
    Refusal::new(414, Reason::RequestHeadTooLarge)
}

const fn invalid() -> Refusal {
    Refusal::new(400, Reason::RequestTargetInvalid)
}

#[cfg(test)]
mod tests {
    use super::{Form, LONGEST, judge, rewrite};

    #[test]
    fn a_target_is_passed_on_in_one_form() {
        let check = |sent: &[u8], expected: &[u8]| {
            let form = judge(sent).unwrap();
            assert_eq!(form == Form::AsSent, sent == expected);
            let rewritten = rewrite(sent);
            assert_eq!(rewritten, expected, "{}", rewritten.escape_ascii());
            assert_eq!(judge(&rewritten), Ok(Form::AsSent));
        };
        check(b"/a|b^{c}'\"?d=`\\|^{}'", b"/a|b^{c}'\"?d=`\\|^{}'");
        check(b"/%zz%", b"/%zz%");
        check("/\u{e9}?\u{e9}".as_bytes(), b"/%C3%A9?%C3%A9");
        check(b"/\xe9?\xff\x80", b"/%E9?%FF%80");
        check(b"/<b>`\\?<i>\"x\"", b"/%3Cb%3E%60%5C?%3Ci%3E%22x%22");
        check(b"/a#b?c", b"/a");
        check(b"/a?b#c", b"/a?b");
        check(b"/a\\b", b"/a%5Cb");
        check(b"http://t.example/\xe9", b"http://t.example/%E9");
    }

    #[test]
    fn what_ends_a_target_elsewhere_is_refused() {
        for byte in (0..=0x20).chain([0x7f]) {
            for sent in [
                [b'/', byte].as_slice(),
                &[b'/', b'?', byte],
                &[b'/', b'#', byte],
            ] {
                let refused = judge(sent).map_err(|refusal| refusal.status);
                assert_eq!(refused, Err(400), "{byte}");
            }
        }
    }

    #[test]
    fn backslashes_do_not_climb() {
        for sent in [r"/a\..\b", r"/..\b", r"/a\.", r"/a/%2E%2e\b", r"/a\.%2e/b"] {
            assert!(judge(sent.as_bytes()).is_err(), "{sent}");
        }
        for sent in [r"/a\..b", r"/a?\..\", r"/a\b/...\c"] {
            assert!(judge(sent.as_bytes()).is_ok(), "{sent}");
        }
    }

    #[test]
    fn no_target_grows_beyond_what_a_uri_holds() {
        let status = |sent: &[u8]| judge(sent).err().map(|refusal| refusal.status);
        let long = |byte: u8, length: usize| [b"/".as_slice(), &vec![byte; length - 1]].concat();
        assert_eq!(status(&long(b'a', LONGEST)), None);
        assert_eq!(status(&long(b'a', LONGEST + 1)), Some(414));
        assert_eq!(status(&long(0xe9, LONGEST / 3)), None);
        assert_eq!(status(&long(0xe9, LONGEST / 3 + 2)), Some(414));
    }
}
