//! The header fields (RFC 9112 section 5), and the framing that they agree on.

use thornwall_detectors::signal::Reason;

use super::{Framing, Lines, Refusal, is_token, line::RequestLine};
use crate::hosts::host_name;

/// What the fields say about the request as a whole.
#[derive(Default)]
pub(super) struct Fields<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    expects: bool,
    websocket: bool,
    nominations: usize,
}

impl<'a> Fields<'a> {
    /// Reads up to the blank line.
    pub(super) fn read(lines: &mut Lines<'a>, max_fields: usize) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for count in 0.. {
            let line = lines.next().ok_or(Refusal::field())?;
            if line.is_empty() {
                break;
            }
            if count == max_fields {
                return Err(Refusal::new(431, Reason::RequestHeadTooLarge));
            }
            let (name, value) = split(line)?;
            fields.note(name, value)?;
        }
        Ok(fields)
    }

    /// Looks at the fields that decide what a request is, and where it ends.
    fn note(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        let is = |field: &[u8]| name.eq_ignore_ascii_case(field);
        match name.len() {
            4 if is(b"host") => self.note_host(trim(value)),
            6 if is(b"expect") => self.note_expect(trim(value)),
            7 if is(b"upgrade") => {
                self.websocket |=
                    elements(value).any(|word| word.eq_ignore_ascii_case(b"websocket"));
                Ok(())
            }
            10 if is(b"connection") => self.note_connection(value),
            14 if resembles(name, b"content-length") => self.note_length(name, trim(value)),
            17 if resembles(name, b"transfer-encoding") => self.note_coding(name, trim(value)),
            _ => Ok(()),
        }
    }

    /// Exactly one (RFC 9112 section 3.2), a name or address with or without a port.
    fn note_host(&mut self, host: &'a [u8]) -> Result<(), Refusal> {
        if self.host.replace(host).is_some() {
            return Err(Refusal::new(400, Reason::HostInvalid));
        }
        Ok(())
    }

    /// `100-continue`, once; 417 for anything else (RFC 9110 section 10.1.1). Spellings that only
    /// one side understands leave a body behind (Kettle, "HTTP/1.1 must die", 2025).
    fn note_expect(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.expects || !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::new(417, Reason::RequestExpectation));
        }
        self.expects = true;
        Ok(())
    }

    /// A list or a second field is refused even where it repeats the first, which RFC 9110 section
    /// 8.6 leaves open.
    fn note_length(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let length = plain_number(value).filter(|_| !name.contains(&b'_'));
        let length = length.ok_or(Refusal::framing())?;
        if self.length.replace(length).is_some() {
            return Err(Refusal::framing());
        }
        Ok(())
    }

    /// `chunked`, once and alone. Known codings before it are 501 (RFC 9112 section 6.1), all else
    /// is an attempt to be read in two ways (Kettle, "HTTP Desync Attacks", 2019: TE.TE).
    fn note_coding(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        const KNOWN: [&[u8]; 5] = [b"compress", b"deflate", b"gzip", b"x-compress", b"x-gzip"];
        if self.chunked || name.contains(&b'_') {
            return Err(Refusal::framing());
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            return Ok(());
        }
        let known = |coding: &[u8]| KNOWN.iter().any(|known| coding.eq_ignore_ascii_case(known));
        let mut codings = value.rsplit(|byte| *byte == b',').map(trim);
        let last = codings.next().unwrap_or_default();
        if last.eq_ignore_ascii_case(b"chunked") && codings.all(known) {
            return Err(Refusal::new(501, Reason::RequestFramingInvalid));
        }
        Err(Refusal::framing())
    }

    /// Fields that a client declares hop-by-hop are taken out on the way (RFC 9110 section 7.6.1).
    /// It may not do that to those that the origin is to rely on (Davison, "Abusing HTTP
    /// hop-by-hop request headers", 2019), and Pingora refuses a tenth nomination.
    fn note_connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        const MOST_NOMINATIONS: usize = 9;
        for word in elements(value) {
            self.nominations += 1;
            let sound = self.nominations <= MOST_NOMINATIONS
                && word.iter().all(|byte| is_token(*byte))
                && !is_end_to_end(word);
            if !sound {
                return Err(Refusal::field());
            }
        }
        Ok(())
    }

    /// What all of it comes to.
    pub(super) fn framing(&self, line: &RequestLine<'_>) -> Result<Framing, Refusal> {
        self.judge_host(line)?;
        // HTTP/1.0 has no chunks (RFC 9112 section 6.1), and two framings are one too many
        // (section 6.3).
        if self.chunked && (self.length.is_some() || !line.modern) {
            return Err(Refusal::framing());
        }
        let framing = match self.length {
            _ if self.chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::None,
        };
        // A handshake is a GET without a body (RFC 6455 section 4.1): what follows it is not ours
        // to read, so nothing may follow it before the origin has agreed.
        let body = !matches!(framing, Framing::None | Framing::Length(0));
        if self.websocket && (body || line.method != b"GET") {
            return Err(Refusal::framing());
        }
        Ok(framing)
    }

    /// An absolute target must name the same host, byte for byte: stricter than RFC 9112 section
    /// 3.2.2, which lets the target win, and origins disagree. Only HTTP/1.1 requires a host, which
    /// may be empty (section 3.2): whether a site serves those who name none is not known here.
    fn judge_host(&self, line: &RequestLine<'_>) -> Result<(), Refusal> {
        let host = match self.host.filter(|host| !host.is_empty()) {
            Some(host) => host,
            None if line.authority.is_none() && (self.host.is_some() || !line.modern) => {
                return Ok(());
            }
            None => return Err(Refusal::new(400, Reason::HostMissing)),
        };
        let valid = std::str::from_utf8(host).is_ok_and(|host| host_name(host).is_some());
        if !valid || line.authority.is_some_and(|authority| authority != host) {
            return Err(Refusal::new(400, Reason::HostInvalid));
        }
        Ok(())
    }
}

/// Name and value of a field. No name is empty, folded (RFC 9112 section 5.2) or followed by a
/// space (section 5.1), as none of these is a token.
fn split(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let mut end = 0;
    while line.get(end).is_some_and(|byte| is_token(*byte)) {
        end += 1;
    }
    match line.split_at(end) {
        ([], _) => Err(Refusal::field()),
        (name, [b':', value @ ..]) => Ok((name, value)),
        _ => Err(Refusal::field()),
    }
}

/// A value without the spaces around it. Tabs are allowed there too (RFC 9110 section 5.6.3), but
/// not all parsers know, so in the fields that are trimmed here they are refused with the value.
fn trim(value: &[u8]) -> &[u8] {
    let start = value.iter().position(|byte| *byte != b' ');
    let end = value.iter().rposition(|byte| *byte != b' ');
    match (start, end) {
        (Some(start), Some(end)) => &value[start..=end],
        _ => &[],
    }
}

/// The elements of a list (RFC 9110 section 5.6.1), empty ones left out.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|word| !word.is_empty())
}

/// A length in plain digits (RFC 9110 section 8.6). No leading zero, which `strtol` takes for octal;
/// at most 18 digits, so that it fits a signed number anywhere.
pub(super) fn plain_number(value: &[u8]) -> Option<u64> {
    let plain = matches!(value, [b'0'] | [b'1'..=b'9', ..])
        && value.len() <= 18
        && value.iter().all(u8::is_ascii_digit);
    let digits = value.iter().map(|digit| u64::from(digit - b'0'));
    plain.then(|| digits.fold(0, |number, digit| number * 10 + digit))
}

/// Whether a name is this field's, or is read as it by servers that take `_` for `-`.
pub(super) fn resembles(name: &[u8], field: &[u8]) -> bool {
    let same = |(sent, expected): (&u8, &u8)| {
        sent.eq_ignore_ascii_case(expected) || (*sent == b'_' && *expected == b'-')
    };
    name.len() == field.len() && name.iter().zip(field).all(same)
}

/// Whether a field is meant for the origin, or says who asks.
fn is_end_to_end(name: &[u8]) -> bool {
    const FIELDS: [&[u8]; 13] = [
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"cookie",
        b"expect",
        b"forwarded",
        b"host",
        b"origin",
        b"transfer-encoding",
        b"x-real-ip",
        b"x-request-id",
    ];
    const PREFIX: &[u8] = b"x-forwarded-";
    let prefixed = name
        .get(..PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
    prefixed || FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field))
}
