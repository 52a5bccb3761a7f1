//! The request line (RFC 9112 section 3).

use memchr::memchr;
use thornwall_detectors::signal::Reason;

use super::{
    Refusal, is_token,
    target::{self, Form},
};

/// What the request line says that the fields are held against.
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) form: Form,
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
        let (authority, form) = judge_target(method, target)?;
        Ok(Self {
            method,
            target,
            form,
            authority,
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

/// Origin form, absolute form, or the asterisk of OPTIONS (RFC 9112 section 3.2); the authority
/// of an absolute one.
fn judge_target<'a>(method: &[u8], target: &'a [u8]) -> Result<(Option<&'a [u8]>, Form), Refusal> {
    let Some(after_scheme) = strip_scheme(target) else {
        return judge_path(method, target).map(|form| (None, form));
    };
    let end = after_scheme.iter().position(|byte| b"/?".contains(byte));
    let authority = &after_scheme[..end.unwrap_or(after_scheme.len())];
    // What the authority may contain is said by the host that it must be.
    Ok((Some(authority), target::judge(target)?))
}

/// Origin form, or the asterisk of OPTIONS: what the `:path` of HTTP/2 is too (RFC 9113 section
/// 8.3.1).
pub(super) fn judge_path(method: &[u8], target: &[u8]) -> Result<Form, Refusal> {
    if target.first() == Some(&b'/') {
        return target::judge(target);
    }
    if target == b"*" && method == b"OPTIONS" {
        return Ok(Form::AsSent);
    }
    Err(Refusal::new(400, Reason::RequestTargetInvalid))
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    [b"http://".as_slice(), b"https://"]
        .into_iter()
        .find_map(|scheme| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        })
}
