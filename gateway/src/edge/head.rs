//! The head judge: whether bytes are one request of HTTP/1, and where its body ends; and whether what
//! came over HTTP/2 would be one.
//!
//! Pingora takes heads that other servers read differently, and drops `Content-Length` beside
//! `Transfer-Encoding` before any hook could see it. So each head is judged as raw bytes, and
//! Pingora gets only what has one meaning. Where RFC 9110 and RFC 9112 leave servers a choice,
//! this is the stricter one, as long as no browser, crawler or library is known to need the other.
//! A refusal always ends the connection: nothing that follows it is read.
//!
//! Pure, and without allocation for what is sent as it should be: it stands before every request.

use std::{ops::Range, sync::LazyLock};

use bytes::BytesMut;
use http::Uri;
use memchr::{memchr, memmem};
use thornwall_detectors::signal::Reason;

mod decoded;
mod fields;
mod line;
mod target;

pub use decoded::judge_decoded;

use fields::Fields;
use line::RequestLine;
use target::Form;

/// Bounds of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes, from the first of the request line to the last of the blank line.
    pub max_bytes: usize,
    /// Header fields.
    pub max_fields: usize,
}

/// How much of a head is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// Its end is still to come.
    Partial,
    /// All of it: so many bytes, blank line included.
    Complete(usize),
}

/// Where the body ends (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
}

/// What a complete head was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Where its body ends.
    pub framing: Framing,
    /// Where its target stands, if that is passed on in another form than it was sent in.
    rewritten: Option<Range<usize>>,
}

/// Why a head is not passed on, and the status to say so with. The connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Status of the answer.
    pub status: u16,
    /// Reason code of metrics and logs.
    pub reason: Reason,
}

impl Refusal {
    const fn new(status: u16, reason: Reason) -> Self {
        Self { status, reason }
    }

    const fn line() -> Self {
        Self::new(400, Reason::RequestLineInvalid)
    }

    const fn field() -> Self {
        Self::new(400, Reason::RequestFieldInvalid)
    }

    const fn framing() -> Self {
        Self::new(400, Reason::RequestFramingInvalid)
    }
}

/// One blank line may stand before a request (RFC 9112 section 2.2).
const CRLF: &[u8] = b"\r\n";

/// The last line of a head ends, and a blank one follows.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Made once, since making it costs as much as finding the end of a head with it.
static FIND_END: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(HEAD_END));

/// How a client of HTTP/2 begins (RFC 9113 section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Looks for the end of the head at the start of `buffer`, and refuses what can no longer become
/// one. `scanned` starts at 0 for each head and says what was looked at already, so that a head
/// that arrives byte by byte costs no more than one that arrives whole.
///
/// # Errors
/// 400 for a bare CR, bare LF or control byte (RFC 9112 section 2.2, RFC 9110 section 5.5) and for
/// what is no HTTP/1 from its first bytes on; 414 for a request line and 431 for a head that is too
/// large.
pub fn scan(buffer: &[u8], scanned: &mut usize, limits: &HeadLimits) -> Result<Scan, Refusal> {
    judge_beginning(buffer)?;
    let seen = (*scanned).min(buffer.len());
    // The end, and a CRLF, may have begun in what was seen.
    let from = seen.saturating_sub(HEAD_END.len() - 1);
    let found = FIND_END.find(&buffer[from..]);
    let end = found.map(|at| from + at + HEAD_END.len());
    let there = end.unwrap_or(buffer.len());
    if !is_sound(&buffer[seen.saturating_sub(1)..there]) || buffer.starts_with(HEAD_END) {
        return Err(Refusal::line());
    }
    *scanned = there;
    match end {
        Some(end) if end <= limits.max_bytes => Ok(Scan::Complete(end)),
        None if buffer.len() < limits.max_bytes => Ok(Scan::Partial),
        _ => Err(too_large(buffer, limits)),
    }
}

/// Judges a complete head: its request line, each field, and how the body is framed.
///
/// # Errors
/// What is refused, with which status and for which reason, stands beside each rule of
/// `head/line.rs`, `head/target.rs` and `head/fields.rs`, and row by row in `tests/tests/black_box/requests.toml`.
pub fn judge(head: &[u8], limits: &HeadLimits) -> Result<Judged, Refusal> {
    if head.len() > limits.max_bytes {
        return Err(too_large(head, limits));
    }
    judge_beginning(head)?;
    if !is_sound(head) {
        return Err(Refusal::line());
    }
    let begun = head.strip_prefix(CRLF).unwrap_or(head);
    let mut lines = Lines(begun);
    let line = RequestLine::parse(lines.next().ok_or(Refusal::line())?)?;
    let fields = Fields::read(&mut lines, limits.max_fields)?;
    if !lines.0.is_empty() {
        return Err(Refusal::field());
    }
    let framing = fields.framing(&line)?;
    let start = head.len() - begun.len() + line.method.len() + 1;
    let rewritten = (line.form == Form::Rewritten).then(|| start..start + line.target.len());
    Ok(Judged { framing, rewritten })
}

impl Judged {
    /// The head that is passed on.
    pub fn safe(&self, head: BytesMut) -> BytesMut {
        let Some(Range { start, end }) = self.rewritten else {
            return head;
        };
        let target = target::rewrite(&head[start..end]);
        let mut safe = BytesMut::with_capacity(head.len() + target.len());
        safe.extend_from_slice(&head[..start]);
        safe.extend_from_slice(&target);
        safe.extend_from_slice(&head[end..]);
        safe
    }
}

/// What an HTTP/2 request is to ask for in place of what it came with, where its target is one that
/// is passed on in another form.
pub fn safe_uri(uri: &Uri) -> Option<Uri> {
    let target = uri.path_and_query()?.as_str();
    if target.is_ascii() && memchr(b'\\', uri.path().as_bytes()).is_none() {
        return None;
    }
    let form = target::judge(target.as_bytes()).ok()?;
    let rewritten = target::rewrite(target.as_bytes());
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(rewritten.try_into().ok()?);
    Uri::from_parts(parts)
        .ok()
        .filter(|_| form == Form::Rewritten)
}

/// A TLS handshake or noise is distinguished from a request by its first byte, which is a token's;
/// the preface of HTTP/2 is made to look like a request.
fn judge_beginning(buffer: &[u8]) -> Result<(), Refusal> {
    let line = buffer.strip_prefix(CRLF).unwrap_or(buffer);
    let noise = line
        .first()
        .is_some_and(|byte| !is_token(*byte) && *byte != b'\r');
    if noise || line.starts_with(HTTP2_PREFACE) {
        return Err(Refusal::new(400, Reason::RequestNotHttp));
    }
    Ok(())
}

/// Whether bytes are free of controls, and each CR stands before an LF and each LF behind a CR, as
/// far as these bytes show.
fn is_sound(bytes: &[u8]) -> bool {
    let Some((first, rest)) = bytes.split_first() else {
        return true;
    };
    let allowed = |byte: u8| (byte >= b' ' && byte != 0x7f) || b"\t\r\n".contains(&byte);
    // Without a way out in the middle, the compiler looks at many bytes at once.
    let pairs = bytes.iter().zip(rest);
    let broken = pairs.fold(false, |broken, (byte, next)| {
        broken | ((*byte == b'\r') != (*next == b'\n')) | !allowed(*next)
    });
    allowed(*first) && !broken
}

/// 414 where not even the request line fits (RFC 9110 section 15.5.15), else 431 (RFC 6585
/// section 5).
fn too_large(buffer: &[u8], limits: &HeadLimits) -> Refusal {
    let fits = &buffer[..buffer.len().min(limits.max_bytes)];
    let line = fits.strip_prefix(CRLF).unwrap_or(fits);
    let status = if memchr(b'\n', line).is_some() {
        431
    } else {
        414
    };
    Refusal::new(status, Reason::RequestHeadTooLarge)
}

/// Lines that end with CRLF, without it.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    /// The next line; `None` where no line ends, or one ends in half a CRLF.
    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr(b'\r', self.0)?;
        let (line, rest) = self.0.split_at(end);
        self.0 = rest.strip_prefix(CRLF)?;
        Some(line)
    }
}

/// Bytes of a token (RFC 9110 section 5.6.2).
const TOKEN: [bool; 256] = bytes_but(b"\"(),/:;<=>?@[\\]{}");

const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// The visible bytes of ASCII but for these.
const fn bytes_but(excluded: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = true;
        byte += 1;
    }
    let mut at = 0;
    while at < excluded.len() {
        table[excluded[at] as usize] = false;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests;
