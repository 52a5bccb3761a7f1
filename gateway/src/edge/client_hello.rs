//! Where the first message of a TLS client ends, so that it can be kept before TLS consumes it.
//!
//! A ClientHello (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2) is a handshake message (a type,
//! three bytes of length, a body) in one or more records (section 5.1: a type, two bytes of version,
//! two of length, a fragment). Nothing inside its body is judged here: that is the TLS library's.

use thiserror::Error;

/// Longest hello that is read, the headers of its records included. Browsers send 500 to 2,000 bytes,
/// of which a post-quantum key share is 1,216; a resumption ticket adds at most a few hundred.
pub const MOST_BYTES: usize = 16 << 10;

/// Most records of one hello. Clients use one; tools against censorship split it in two to five; a
/// small device with records of 256 bytes fills [`MOST_BYTES`] with this many.
const MOST_RECORDS: usize = 64;

const RECORD_HEADER_BYTES: usize = 5;
/// Content type of records (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
/// The first byte of every version since SSL 3.0; the second one is to be ignored (section 5.1).
const MAJOR_VERSION: u8 = 3;
/// Longest fragment (section 5.1).
const MOST_FRAGMENT_BYTES: usize = 1 << 14;
/// Type and length of a handshake message (section 4).
const MESSAGE_HEADER_BYTES: usize = 4;
/// Handshake type of a hello (section 4).
const CLIENT_HELLO: u8 = 1;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hello {
    /// The start of a hello; there is more to come.
    Partial,
    /// A whole hello.
    Complete {
        /// Bytes of all records that carry it.
        length: usize,
    },
}

/// Why the first bytes of a connection are no ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotTls {
    /// A capital letter where a record should start, as HTTP's methods have: clear text.
    #[error("clear text where TLS is spoken")]
    ClearText,
    /// A record of this type, which is not a handshake's.
    #[error("no TLS handshake: a record of type {0}")]
    ContentType(u8),
    /// A fragment that is empty or longer than 2^14 bytes, which section 5.1 forbids.
    #[error("a TLS record of {0} bytes")]
    FragmentLength(u16),
    /// A handshake message of this type, which is not a hello.
    #[error("no ClientHello: a handshake message of type {0}")]
    MessageType(u8),
    /// Something follows the hello in its record, though a client has to wait for an answer.
    #[error("a TLS record goes on behind the ClientHello")]
    RecordGoesOn,
    /// Longer than [`MOST_BYTES`].
    #[error("the ClientHello is too long")]
    TooLong,
    /// In more than 64 records.
    #[error("the ClientHello is in too many records")]
    TooManyRecords,
    /// A record of another protocol: the version begins with this byte, not with 3.
    #[error("a TLS record of version {0}")]
    Version(u8),
}

/// Reads the hello at the start of `buffer`, which may hold more than that.
///
/// More bytes never change an answer other than [`Hello::Partial`], and a buffer of [`MOST_BYTES`]
/// always gets another one.
pub fn read(buffer: &[u8]) -> Result<Hello, NotTls> {
    let mut message = Message::default();
    let mut rest = buffer;
    for _ in 0..MOST_RECORDS {
        let Some(length) = fragment_length(rest)? else {
            return Ok(Hello::Partial);
        };
        let start = buffer.len() - rest.len() + RECORD_HEADER_BYTES;
        if start + length > MOST_BYTES {
            return Err(NotTls::TooLong);
        }
        let fragment = &buffer[start..buffer.len().min(start + length)];
        let is_last = message.add(fragment, length)?;
        if fragment.len() < length {
            return Ok(Hello::Partial);
        }
        if is_last {
            let length = start + length;
            return Ok(Hello::Complete { length });
        }
        rest = &buffer[start + length..];
    }
    Err(NotTls::TooManyRecords)
}

/// The hello alone: a handshake message without the headers of the records that carry it.
///
/// `None` where [`read`] finds no whole hello at the start of `records`.
pub fn message(records: &[u8]) -> Option<Vec<u8>> {
    let Ok(Hello::Complete { length }) = read(records) else {
        return None;
    };
    let mut message = Vec::with_capacity(length);
    let mut rest = records.get(..length)?;
    while let Some(length) = fragment_length(rest).ok()? {
        let (fragment, next) = rest.get(RECORD_HEADER_BYTES..)?.split_at_checked(length)?;
        message.extend_from_slice(fragment);
        rest = next;
    }
    Some(message)
}

/// The length in a record's header; `None` where the header is not whole.
fn fragment_length(record: &[u8]) -> Result<Option<usize>, NotTls> {
    match *record {
        [HANDSHAKE, MAJOR_VERSION, _, high, low, ..] => {
            let length = u16::from_be_bytes([high, low]);
            match usize::from(length) {
                1..=MOST_FRAGMENT_BYTES => Ok(Some(length.into())),
                _ => Err(NotTls::FragmentLength(length)),
            }
        }
        [] | [HANDSHAKE] | [HANDSHAKE, MAJOR_VERSION, ..] => Ok(None),
        [HANDSHAKE, version, ..] => Err(NotTls::Version(version)),
        [b'A'..=b'Z', ..] => Err(NotTls::ClearText),
        [content_type, ..] => Err(NotTls::ContentType(content_type)),
    }
}

/// What is known of the handshake message that the records carry.
#[derive(Default)]
struct Message {
    header: [u8; MESSAGE_HEADER_BYTES],
    /// Bytes in the records so far.
    bytes: usize,
}

impl Message {
    /// Adds a record of `length` bytes, of which `fragment` is there: whether it is the last one.
    fn add(&mut self, fragment: &[u8], length: usize) -> Result<bool, NotTls> {
        let free = self.header.get_mut(self.bytes..).unwrap_or_default();
        for (to, from) in free.iter_mut().zip(fragment) {
            *to = *from;
        }
        let there = self.bytes + fragment.len();
        self.bytes += length;
        let [kind, length @ ..] = self.header;
        if there > 0 && kind != CLIENT_HELLO {
            return Err(NotTls::MessageType(kind));
        }
        if there < MESSAGE_HEADER_BYTES {
            return Ok(false);
        }
        let [high, middle, low] = length.map(usize::from);
        let whole = MESSAGE_HEADER_BYTES + (high << 16 | middle << 8 | low);
        if whole > MOST_BYTES - RECORD_HEADER_BYTES {
            return Err(NotTls::TooLong);
        }
        if self.bytes > whole {
            return Err(NotTls::RecordGoesOn);
        }
        Ok(self.bytes == whole)
    }
}

#[cfg(test)]
mod tests;
