//! HTTP/2 frame by frame (RFC 9113), for clients that do with it what no library would.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    time::Instant,
};

use super::{
    BOUND, is_quiet,
    secure::{NAME, Secure, Tls},
};

// Frame types, RFC 9113 section 6.
pub(super) const DATA: u8 = 0x0;
pub(super) const HEADERS: u8 = 0x1;
pub(super) const RST_STREAM: u8 = 0x3;
pub(super) const SETTINGS: u8 = 0x4;
pub(super) const PING: u8 = 0x6;
pub(super) const WINDOW_UPDATE: u8 = 0x8;
pub(super) const CONTINUATION: u8 = 0x9;

// Flags.
pub(super) const NONE: u8 = 0x0;
pub(super) const ACK: u8 = 0x1;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;

/// What every client says first, RFC 9113 section 3.4.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `SETTINGS_INITIAL_WINDOW_SIZE`.
const INITIAL_WINDOW_SIZE: u16 = 0x4;
/// Bytes before the payload of a frame.
const FRAME_HEAD: usize = 9;

/// A frame as it came.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// Whether this begins an answer with status 200, the eighth entry of HPACK's static table
    /// (RFC 7541, appendix A), after any change of the table's size.
    pub(super) fn is_ok(&self) -> bool {
        let mut fields = self.payload.iter().skip_while(|byte| *byte >> 5 == 1);
        self.kind == HEADERS && fields.next() == Some(&0x88)
    }
}

/// A client that has said its preface and settings.
pub(super) struct Client {
    pub(super) stream: Tls,
    received: VecDeque<u8>,
}

impl Client {
    /// Connects; answers to it may not be longer than `window` bytes before it opens the window.
    pub(super) fn connect(secure: &Secure, window: u32) -> Self {
        Self::over(secure.connect("h2"), window)
    }

    /// The same over a connection that is there.
    pub(super) fn over(stream: Tls, window: u32) -> Self {
        let mut client = Self {
            stream,
            received: VecDeque::new(),
        };
        client.stream.write_all(PREFACE).unwrap();
        let mut settings = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        settings.extend(window.to_be_bytes());
        client.send(SETTINGS, NONE, 0, &settings).unwrap();
        client
    }

    pub(super) fn send(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        self.stream
            .write_all(&frame(kind, flags, stream, payload))?;
        self.stream.flush()
    }

    /// Asks with GET.
    pub(super) fn get(&mut self, stream: u32, path: &str) {
        let flags = END_STREAM | END_HEADERS;
        self.send(HEADERS, flags, stream, &fields(GET, path))
            .unwrap();
    }

    /// Reads frames until one is `wanted`, and acknowledges settings on the way.
    pub(super) fn wait_for(&mut self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Frame {
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < BOUND, "waited in vain for {what}");
            self.fill()
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            while let Some(frame) = self.next() {
                if frame.kind == SETTINGS && frame.flags & ACK == 0 {
                    self.send(SETTINGS, ACK, 0, &[]).unwrap();
                }
                if wanted(&frame) {
                    return frame;
                }
            }
        }
    }

    /// Waits for an answer with status 200 on this stream.
    pub(super) fn is_served(&mut self, stream: u32) {
        self.wait_for("an answer", |frame| frame.stream == stream && frame.is_ok());
    }

    /// Takes in what came within a tick.
    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                self.received.extend(&buffer[..read]);
                Ok(())
            }
            Err(error) if is_quiet(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn next(&mut self) -> Option<Frame> {
        let bytes = self.received.make_contiguous();
        let head: [u8; FRAME_HEAD] = bytes.get(..FRAME_HEAD)?.try_into().ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let end = FRAME_HEAD + u32::from_be_bytes([0, a, b, c]) as usize;
        let payload = bytes.get(FRAME_HEAD..end)?.to_vec();
        self.received.drain(..end);
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
            payload,
        })
    }
}

/// The bytes of a frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

// `:method: GET` and `:method: POST` in HPACK's static table, as indexed fields.
pub(super) const GET: u8 = 0x82;
pub(super) const POST: u8 = 0x83;
/// `:scheme: https`.
const HTTPS: u8 = 0x87;
/// Positions of `:authority` and `:path` in the table, as names of literals that are not indexed.
const AUTHORITY: u8 = 0x01;
const PATH: u8 = 0x04;

/// The header block of a request.
pub(super) fn fields(method: u8, path: &str) -> Vec<u8> {
    let mut block = vec![method, HTTPS];
    for (name, value) in [(AUTHORITY, NAME), (PATH, path)] {
        block.push(name);
        literal(&mut block, value);
    }
    block
}

/// A field whose name is not in the table.
pub(super) fn field(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0];
    literal(&mut block, name);
    literal(&mut block, value);
    block
}

/// A string without Huffman coding, shorter than the 127 bytes that need a longer prefix.
fn literal(block: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 127, "{text} is too long");
    block.push(u8::try_from(text.len()).unwrap());
    block.extend(text.as_bytes());
}
