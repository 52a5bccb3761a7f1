//! Where a chunked body ends (RFC 9112 section 7.1).
//!
//! The body is taken apart, so that nothing reads past its end into the next request, and goes on in
//! chunks of our own: as large as what is there, since each one costs the origin and us the same
//! whatever is in it. What two parsers could read differently is refused: line ends that are not CRLF,
//! sizes that overflow, extensions without end.

use std::{error::Error, io};

/// Hexadecimal digits of a size: 16 EiB need more than anybody sends.
const MOST_DIGITS: u8 = 15;

/// Bytes of one size line's extensions, and of all trailer fields: room for a signature.
const MOST_EXTRA: u16 = 8192;

/// How far a chunked body has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunks {
    at: At,
    left: u64,
    extra: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In a chunk's size; the number of digits so far.
    Size(u8),
    /// Behind the size, up to the line's end.
    Extension,
    /// The line feed of a size line is due.
    SizeLf,
    /// In a chunk's data.
    Payload,
    /// The carriage return behind data is due.
    PayloadCr,
    /// The line feed behind data is due.
    PayloadLf,
    /// At the start of a line of the trailer section.
    TrailerStart,
    /// In a trailer field.
    Trailer,
    /// The line feed of a trailer field is due.
    TrailerLf,
    /// The very last line feed is due.
    LastLf,
    Done,
}

/// Not a chunked body, or one that is read differently by different parsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunks")]
pub(super) struct Malformed;

/// Whether something failed since a chunked body was malformed.
pub(crate) fn is_malformed(cause: &(dyn Error + Send + Sync + 'static)) -> bool {
    let failure = cause.downcast_ref::<io::Error>();
    failure.is_some_and(|failure| {
        failure
            .get_ref()
            .is_some_and(|inner| inner.is::<Malformed>())
    })
}

/// What became of some bytes of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decoded {
    /// How many of them belong to it.
    pub(super) seen: usize,
    /// How many of those were content, which lies at their front now.
    pub(super) content: usize,
}

impl Chunks {
    /// At the start of a body.
    pub(super) const fn new() -> Self {
        Self {
            at: At::Size(0),
            left: 0,
            extra: 0,
        }
    }

    /// Whether the whole body has been seen.
    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Takes the next bytes apart.
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, Malformed> {
        let (mut seen, mut content) = (0, 0);
        while let Some(&byte) = bytes.get(seen) {
            match self.at {
                At::Done => break,
                At::Payload => {
                    let here = bytes.len() - seen;
                    let taken = usize::try_from(self.left).map_or(here, |left| left.min(here));
                    self.left -= taken as u64;
                    if self.left == 0 {
                        self.at = At::PayloadCr;
                    }
                    match taken {
                        1 => bytes[content] = byte,
                        _ => bytes.copy_within(seen..seen + taken, content),
                    }
                    seen += taken;
                    content += taken;
                }
                _ => {
                    self.at = self.step(byte)?;
                    seen += 1;
                }
            }
        }
        Ok(Decoded { seen, content })
    }

    fn step(&mut self, byte: u8) -> Result<At, Malformed> {
        match (self.at, byte) {
            (At::Size(digits), _) => self.size(digits, byte),
            (At::Extension, b'\r') => Ok(At::SizeLf),
            (At::Extension, _) => self.extra(byte, At::Extension),
            (At::SizeLf, b'\n') if self.left == 0 => Ok(At::TrailerStart),
            (At::SizeLf, b'\n') => Ok(At::Payload),
            (At::PayloadCr, b'\r') => Ok(At::PayloadLf),
            (At::PayloadLf, b'\n') => {
                self.extra = 0;
                Ok(At::Size(0))
            }
            (At::TrailerStart, b'\r') => Ok(At::LastLf),
            (At::Trailer, b'\r') => Ok(At::TrailerLf),
            (At::TrailerStart | At::Trailer, _) => self.extra(byte, At::Trailer),
            (At::TrailerLf, b'\n') => Ok(At::TrailerStart),
            (At::LastLf, b'\n') => Ok(At::Done),
            _ => Err(Malformed),
        }
    }

    fn size(&mut self, digits: u8, byte: u8) -> Result<At, Malformed> {
        match char::from(byte).to_digit(16) {
            Some(digit) if digits < MOST_DIGITS => {
                self.left = (self.left << 4) | u64::from(digit);
                Ok(At::Size(digits + 1))
            }
            None if digits > 0 && byte == b'\r' => Ok(At::SizeLf),
            None if digits > 0 && matches!(byte, b';' | b' ' | b'\t') => {
                self.extra(byte, At::Extension)
            }
            _ => Err(Malformed),
        }
    }

    /// A byte that carries nothing for us.
    fn extra(&mut self, byte: u8, at: At) -> Result<At, Malformed> {
        self.extra += 1;
        let control = byte != b'\t' && (byte < b' ' || byte == 0x7f);
        if control || self.extra > MOST_EXTRA {
            return Err(Malformed);
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunks, Malformed};

    /// How long the body is, what it carries, and whether it is whole, in pieces of so many bytes.
    fn cut(bytes: &[u8], size: usize) -> Result<(usize, Vec<u8>, bool), Malformed> {
        let (mut chunks, mut length, mut content) = (Chunks::new(), 0, Vec::new());
        for piece in bytes.chunks(size) {
            let mut piece = piece.to_vec();
            let decoded = chunks.decode(&mut piece)?;
            length += decoded.seen;
            content.extend_from_slice(&piece[..decoded.content]);
        }
        Ok((length, content, chunks.is_done()))
    }

    /// How long the body is, and whether it is whole; the same however it is cut.
    fn follow(bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let whole = cut(bytes, bytes.len());
        for size in 1..8 {
            assert_eq!(cut(bytes, size), whole);
        }
        whole.map(|(length, _, done)| (length, done))
    }

    #[test]
    fn the_content_is_what_the_chunks_carry() {
        let body = b"1\r\na\r\n1;x\r\nb\r\n3\r\n\r\nc\r\n0\r\nx: 1\r\n\r\n";
        assert_eq!(cut(body, body.len()).unwrap().1, b"ab\r\nc");
    }

    #[test]
    fn the_end_is_found() {
        let body = b"4\r\nWiki\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(follow(body), Ok((body.len(), true)));
        let mut longer = body.to_vec();
        longer.extend_from_slice(b"GET / HTTP/1.1\r\n");
        assert_eq!(follow(&longer), Ok((body.len(), true)));
        assert!(!follow(&body[..body.len() - 1]).unwrap().1);
        let trailers = b"0\r\nx-sum: 1\r\ny: 2\r\n\r\n";
        assert_eq!(follow(trailers), Ok((trailers.len(), true)));
    }

    #[test]
    fn what_two_parsers_read_differently_is_refused() {
        let refused: [&[u8]; 9] = [
            b"4\nWiki\r\n",
            b"\r\n",
            b"4\r\nWikiX\r\n",
            b"4;x\nWiki\r\n",
            b"+4\r\nWiki\r\n",
            b"0x4\r\nWiki\r\n",
            b"ffffffffffffffff1\r\n",
            b"0\r\n\n",
            b"4\r\nWiki\n0\r\n\r\n",
        ];
        for body in refused {
            assert_eq!(follow(body), Err(Malformed), "{:?}", body.escape_ascii());
        }
        let endless = [b"4;".as_slice(), &[b'x'; 9000]].concat();
        assert_eq!(follow(&endless), Err(Malformed));
    }
}
