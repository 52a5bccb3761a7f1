//! The request line (RFC 9112 section 3).

use memchr::memchr;
use thornwall_detectors::signal::Reason;

use super::{Refusal, bytes_but, is_token};

/// What the request line says that the fields are held against.
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    /// Host and port of a target in absolute form.
    pub(super) authority: Option<&'a [u8]>,
    /// Whether it is HTTP/1.1.
    pub(super) modern: bool,
}

impl<'a> RequestLine<'a> {
    /// Exactly one space between its three parts: servers that take more, or a tab, or leave the
    /// version out (HTTP/0.9), read another target.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, Refusal> {
        let (method, rest) = split_at_space(line)?;
        let (target, version) = split_at_space(rest)?;
        let modern = judge_version(version)?;
        judge_method(method)?;
        Ok(Self {
            method,
            authority: judge_target(method, target)?,
            modern,
        })
    }
}

fn split_at_space(text: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let at = memchr(b' ', text).ok_or(Refusal::line())?;
    Ok((&text[..at], &text[at + 1..]))
}

/// HTTP/1.0 and HTTP/1.1, in capital letters; 505 for others (RFC 9110 section 15.6.6).
fn judge_version(version: &[u8]) -> Result<bool, Refusal> {
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Refusal::new(505, Reason::RequestVersionUnsupported))
        }
        _ => Err(Refusal::line()),
    }
}

/// Any token but these three: TRACE sends back what browsers hide from scripts (RFC 9110 section
/// 9.3.8), TRACK is its name elsewhere, and CONNECT is for proxies that anybody may use. 405 and
/// not 501, since we know them and no resource of ours takes them (section 15.5.6). In any case,
/// as some origins do not mind it.
pub(super) fn judge_method(method: &[u8]) -> Result<(), Refusal> {
    const REFUSED: [&[u8]; 3] = [b"CONNECT", b"TRACE", b"TRACK"];
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err(Refusal::line());
    }
    if REFUSED.iter().any(|name| method.eq_ignore_ascii_case(name)) {
        return Err(Refusal::new(405, Reason::RequestMethodRefused));
    }
    Ok(())
}

/// Longest target that a URI of the `http` crate holds.
const LONGEST_TARGET: usize = 65_534;

/// What a query may contain: RFC 3986 and the characters that browsers send as they are (WHATWG
/// URL, percent-encode sets). A fragment is none of a server's business.
const QUERY: [bool; 256] = bytes_but(b"\"#<>");
/// What a path may contain. A backslash is a slash to some servers, and no browser sends one.
const PATH: [bool; 256] = bytes_but(b"#<>\\`");

/// Origin form, absolute form, or the asterisk of OPTIONS (RFC 9112 section 3.2); the authority
/// of an absolute one.
fn judge_target<'a>(method: &[u8], target: &'a [u8]) -> Result<Option<&'a [u8]>, Refusal> {
    let Some(after_scheme) = strip_scheme(target) else {
        return judge_path(method, target).map(|()| None);
    };
    if target.len() > LONGEST_TARGET {
        return Err(Refusal::new(414, Reason::RequestHeadTooLarge));
    }
    let end = after_scheme.iter().position(|byte| b"/?".contains(byte));
    let (authority, rest) = after_scheme.split_at(end.unwrap_or(after_scheme.len()));
    judge_bytes(rest)?;
    Ok(Some(authority))
}

/// Origin form, or the asterisk of OPTIONS: what the `:path` of HTTP/2 is too (RFC 9113 section
/// 8.3.1).
pub(super) fn judge_path(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    if target.len() > LONGEST_TARGET {
        return Err(Refusal::new(414, Reason::RequestHeadTooLarge));
    }
    if target.first() == Some(&b'/') {
        return judge_bytes(target);
    }
    if target == b"*" && method == b"OPTIONS" {
        return Ok(());
    }
    Err(Refusal::new(400, Reason::RequestTargetInvalid))
}

fn judge_bytes(target: &[u8]) -> Result<(), Refusal> {
    let end = memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let sound = path.iter().all(|byte| PATH[usize::from(*byte)])
        && query.iter().all(|byte| QUERY[usize::from(*byte)]);
    if sound {
        Ok(())
    } else {
        Err(Refusal::new(400, Reason::RequestTargetInvalid))
    }
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    [b"http://".as_slice(), b"https://"]
        .into_iter()
        .find_map(|scheme| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        })
}
