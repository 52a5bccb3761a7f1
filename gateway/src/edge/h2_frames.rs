//! What a client does on HTTP/2, seen from the headers of its frames alone.
//!
//! The HTTP/2 library sees a frame only when it is whole, gives an open header block no deadline, and
//! answers whatever it is asked as often as it is asked. This watch stands before it. Section numbers
//! are those of RFC 9113.
//!
//! Two debts distinguish a flood from a busy client. What costs us work for nothing raises one;
//! requests, and the time that passes, pay it back. A debt that grows beyond its limit is an
//! attack.

use thiserror::Error;

/// What a client sends before its first frame (section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length, type, flags and stream of a frame (section 4.1).
const HEADER_BYTES: usize = 9;
/// Bytes of a payload that are looked at: the increment of a WINDOW_UPDATE (section 6.9).
const MOST_PEEKED: usize = 4;

/// Types of frames (section 6).
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const PRIORITY: u8 = 2;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
}

/// Flags of frames (section 6); bits mean different things in different types.
mod flag {
    pub(super) const ACK: u8 = 0x1;
    pub(super) const END_STREAM: u8 = 0x1;
    pub(super) const END_HEADERS: u8 = 0x4;
    pub(super) const PADDED: u8 = 0x8;
}

/// Debt of a stream that is reset, or that we have to reset. A request pays back half of it: a
/// client that gives up no more than every second request, as hedging gRPC clients do, never gets
/// into debt, and one that gives up all of them does by one for each.
const RESET_COST: u32 = 2;

/// Debt of resets that a second pays back. A gRPC client whose calls all miss their deadline of 50 ms,
/// because the origin stands still, gives up a hundred at once twenty times a second. As many plain
/// requests cost us no less and are nothing special; attacks come by the hundred thousand.
const RESETS_FORGIVEN: u32 = 2000;

/// Debt of control frames that a second pays back: PING and WINDOW_UPDATE for every round trip of
/// 0.1 ms, as a gRPC client measures its bandwidth within one machine. To serve them takes about a
/// hundredth of a core.
const CONTROL_FORGIVEN: u32 = 20_000;

/// Debt of control frames that a request pays back: beside a call, gRPC clients send WINDOW_UPDATE and
/// PING to measure their bandwidth; browsers send PRIORITY or PRIORITY_UPDATE, some of them twice.
const CONTROL_PER_REQUEST: u32 = 4;

/// A WINDOW_UPDATE by this much or more costs nothing. Fast downloads bring hundreds of thousands a
/// second, by the 4 KiB of Go's client or by whole frames. Flow control itself bounds them: windows
/// end at 2^31 - 1 (section 6.9.1), and only what we have sent makes room for more.
const HONEST_INCREMENT: u32 = 256;

/// What SETTINGS cost behind the first ones, as they may move the windows of all streams. Clients send
/// few in all.
const SETTINGS_COST: u32 = 100;
/// Bytes of SETTINGS that cost one more: ten of them; clients send up to seven.
const SETTINGS_BYTES_PER_COST: u32 = 60;

/// How much a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one header block on the wire: HEADERS, its padding and its CONTINUATION frames. Twice
    /// the limit of a decoded head, so that one that is just too long may get its answer.
    pub max_header_block_bytes: u32,
    /// CONTINUATION frames of one header block.
    pub max_continuations: u32,
    /// Debt of resets, two for each; requests pay back one each, and a second pays back 2,000.
    pub max_reset_debt: u32,
    /// Debt of control frames, one for each; requests pay back four each, and a second pays back
    /// 20,000.
    pub max_control_debt: u32,
}

impl Limits {
    /// Where a head may take up this many bytes.
    pub fn for_heads_of(bytes: usize) -> Self {
        let max_header_block_bytes = u32::try_from(bytes.saturating_mul(2)).unwrap_or(u32::MAX);
        Self {
            max_header_block_bytes,
            // Clients fill frames, which take 16 KiB at least; a quarter of that is still fine.
            max_continuations: max_header_block_bytes / (4 << 10) + 1,
            // A second's worth, and a page that is left on top: browsers reset its hundred streams at
            // once.
            max_reset_debt: 2500,
            // A second's worth, so that a network that held frames back does no harm.
            max_control_debt: 20_000,
        }
    }
}

/// Why a client's connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Abuse {
    /// A header block in more CONTINUATION frames than any client sends (CVE-2024-27316).
    #[error("a header block has too many continuations")]
    ContinuationFlood,
    /// PING, SETTINGS, PRIORITY, small WINDOW_UPDATE, empty DATA or unknown frames without end
    /// (CVE-2019-9511, 9512, 9513, 9515 and 9518).
    #[error("too many control frames")]
    ControlFlood,
    /// A header block is interrupted, or goes on where none is open (section 6.10).
    #[error("a header block is broken")]
    HeaderBlockBroken,
    /// A header block is longer than any request's.
    #[error("a header block is too large")]
    HeaderBlockTooLarge,
    /// The connection does not start with the preface and SETTINGS (section 3.4).
    #[error("the connection does not start as HTTP/2 does")]
    NotHttp2,
    /// Requests are reset nearly as fast as they come (CVE-2023-44487), or frames are sent that we
    /// have to reset them for (CVE-2025-8671).
    #[error("too many requests are reset")]
    RapidReset,
}

impl Abuse {
    /// The stable code of logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::ContinuationFlood => "continuation_flood",
            Self::ControlFlood => "control_flood",
            Self::HeaderBlockBroken => "header_block_broken",
            Self::HeaderBlockTooLarge => "header_block_too_large",
            Self::NotHttp2 => "not_http2",
            Self::RapidReset => "rapid_reset",
        }
    }
}

/// The watch over one connection.
#[derive(Debug, Default)]
pub struct FrameWatch {
    /// Bytes of the preface that were there.
    preface: u8,
    /// The first SETTINGS frame.
    settings: Settings,
    /// Header of a frame and what is looked at of its payload.
    head: [u8; HEADER_BYTES + MOST_PEEKED],
    /// Bytes of `head` that are there.
    head_bytes: u8,
    /// Bytes of the frame's payload still to come.
    payload_left: u32,
    /// The open header block.
    block: Option<Block>,
    /// Highest stream that the client has opened.
    last_stream: u32,
    reset_debt: u32,
    control_debt: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Settings {
    #[default]
    Awaited,
    Begun,
    Done,
}

/// A header block (section 4.3).
#[derive(Debug)]
struct Block {
    stream: u32,
    bytes: u32,
    continuations: u32,
    /// Whether it is over with the frame that is under way.
    ends: bool,
}

/// Header of a frame (section 4.1).
struct Frame {
    length: u32,
    kind: u8,
    flags: u8,
    stream: u32,
    /// The start of the payload, where it is looked at.
    peeked: [u8; MOST_PEEKED],
}

impl FrameWatch {
    /// Takes in what the client sent, in order and from the preface on, in chunks of any size.
    ///
    /// After an error the connection is to be closed; nothing that follows means anything.
    pub fn feed(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), Abuse> {
        let mut rest = self.skip_preface(bytes)?;
        loop {
            rest = self.skip_payload(rest);
            if self.payload_left > 0 {
                return Ok(());
            }
            let Some(frame) = self.take_head(&mut rest) else {
                return Ok(());
            };
            self.begin(&frame, limits)?;
            if self.payload_left == 0 {
                self.end();
            }
        }
    }

    /// Whether a header block or the header of a frame has begun and is not whole: an honest client
    /// sends the rest at once.
    pub fn is_inside_headers(&self) -> bool {
        self.block.is_some() || self.head_bytes > 0
    }

    /// Whether the preface and the client's SETTINGS were there (section 3.4).
    pub fn preface_done(&self) -> bool {
        self.settings == Settings::Done
    }

    /// A second has passed, which pays back debts.
    pub fn tick(&mut self) {
        self.reset_debt = self.reset_debt.saturating_sub(RESETS_FORGIVEN);
        self.control_debt = self.control_debt.saturating_sub(CONTROL_FORGIVEN);
    }

    /// What is behind the preface.
    fn skip_preface<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Abuse> {
        let missing = PREFACE.get(usize::from(self.preface)..).unwrap_or_default();
        let (preface, rest) = bytes.split_at(missing.len().min(bytes.len()));
        if !missing.starts_with(preface) {
            return Err(Abuse::NotHttp2);
        }
        // No more than the 24 bytes of the preface in all.
        self.preface += preface.len() as u8;
        Ok(rest)
    }

    /// What is behind the payload of the frame that is under way.
    fn skip_payload<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.payload_left == 0 {
            return bytes;
        }
        let left = usize::try_from(self.payload_left).unwrap_or(usize::MAX);
        let Some(rest) = bytes.get(left..) else {
            // Fewer bytes than are left, which are fewer than 2^24.
            self.payload_left -= bytes.len() as u32;
            return &[];
        };
        self.payload_left = 0;
        self.end();
        rest
    }

    /// The header of the next frame, once it is whole.
    fn take_head(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        let frame = match bytes.first_chunk() {
            // Nearly always; the other way is five times as slow.
            Some(head) if self.head_bytes == 0 => {
                let frame = Frame::read(head);
                *bytes = bytes.get(frame.head_length()..)?;
                frame
            }
            _ => self.piece_head_together(bytes)?,
        };
        // The types that are peeked into are as long as that at least.
        self.payload_left = frame.length - frame.peek_length() as u32;
        Some(frame)
    }

    fn piece_head_together(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        loop {
            let frame = Frame::read(&self.head);
            let there = usize::from(self.head_bytes);
            let wanted = match there {
                ..HEADER_BYTES => HEADER_BYTES,
                _ => frame.head_length(),
            };
            if there == wanted {
                (self.head, self.head_bytes) = Default::default();
                return Some(frame);
            }
            let (taken, rest) = bytes.split_at(bytes.len().min(wanted - there));
            self.head[there..there + taken.len()].copy_from_slice(taken);
            *bytes = rest;
            self.head_bytes += taken.len() as u8;
            if there + taken.len() < wanted {
                return None;
            }
        }
    }

    /// Judges a frame by its header.
    fn begin(&mut self, frame: &Frame, limits: &Limits) -> Result<(), Abuse> {
        if self.settings == Settings::Awaited {
            if frame.kind != kind::SETTINGS || frame.has(flag::ACK) || frame.stream != 0 {
                return Err(Abuse::NotHttp2);
            }
            self.settings = Settings::Begun;
        }
        if self.block.is_some() || frame.kind == kind::CONTINUATION {
            return self.go_on(frame, limits);
        }
        match frame.kind {
            kind::DATA if !frame.is_empty_data() => Ok(()),
            kind::HEADERS => self.open(frame, limits),
            kind::PRIORITY if frame.length != 5 => self.owe_reset(limits),
            kind::RST_STREAM => self.owe_reset(limits),
            kind::SETTINGS => {
                let is_small = frame.has(flag::ACK) || self.settings == Settings::Begun;
                let cost = if is_small { 1 } else { SETTINGS_COST };
                self.owe_control(cost + frame.length / SETTINGS_BYTES_PER_COST, limits)
            }
            kind::WINDOW_UPDATE => match frame.increment() {
                // We have to reset the stream (section 6.9).
                0 => self.owe_reset(limits),
                1..HONEST_INCREMENT => self.owe_control(1, limits),
                HONEST_INCREMENT.. => Ok(()),
            },
            // PING, PRIORITY and PRIORITY_UPDATE (RFC 9218), DATA without any, and what no client
            // has to send.
            _ => self.owe_control(1, limits),
        }
    }

    /// The frame that is under way is over.
    fn end(&mut self) {
        if self.settings == Settings::Begun {
            self.settings = Settings::Done;
        }
        if self.block.as_ref().is_some_and(|block| block.ends) {
            self.block = None;
        }
    }

    /// HEADERS (section 6.2): a request, or trailers.
    fn open(&mut self, frame: &Frame, limits: &Limits) -> Result<(), Abuse> {
        if frame.stream > self.last_stream {
            self.last_stream = frame.stream;
            self.reset_debt = self.reset_debt.saturating_sub(1);
            self.control_debt = self.control_debt.saturating_sub(CONTROL_PER_REQUEST);
        }
        self.block = Some(Block {
            stream: frame.stream,
            bytes: 0,
            continuations: 0,
            ends: false,
        });
        self.fill_block(frame, limits)
    }

    /// CONTINUATION, which has to follow an open block and to be the only thing that does
    /// (section 6.10).
    fn go_on(&mut self, frame: &Frame, limits: &Limits) -> Result<(), Abuse> {
        match &mut self.block {
            Some(block) if frame.kind == kind::CONTINUATION && frame.stream == block.stream => {
                block.continuations += 1;
                if block.continuations > limits.max_continuations {
                    return Err(Abuse::ContinuationFlood);
                }
            }
            _ => return Err(Abuse::HeaderBlockBroken),
        }
        self.fill_block(frame, limits)
    }

    fn fill_block(&mut self, frame: &Frame, limits: &Limits) -> Result<(), Abuse> {
        if let Some(block) = &mut self.block {
            block.ends = frame.has(flag::END_HEADERS);
            block.bytes = block.bytes.saturating_add(frame.length);
            if block.bytes > limits.max_header_block_bytes {
                return Err(Abuse::HeaderBlockTooLarge);
            }
        }
        Ok(())
    }

    fn owe_reset(&mut self, limits: &Limits) -> Result<(), Abuse> {
        self.reset_debt = self.reset_debt.saturating_add(RESET_COST);
        if self.reset_debt > limits.max_reset_debt {
            return Err(Abuse::RapidReset);
        }
        Ok(())
    }

    fn owe_control(&mut self, cost: u32, limits: &Limits) -> Result<(), Abuse> {
        self.control_debt = self.control_debt.saturating_add(cost);
        if self.control_debt > limits.max_control_debt {
            return Err(Abuse::ControlFlood);
        }
        Ok(())
    }
}

impl Frame {
    fn read(head: &[u8; HEADER_BYTES + MOST_PEEKED]) -> Self {
        let &[l2, l1, l0, kind, flags, s3, s2, s1, s0, ref peeked @ ..] = head;
        Self {
            length: u32::from_be_bytes([0, l2, l1, l0]),
            kind,
            flags,
            // The first bit is reserved and to be ignored.
            stream: u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]),
            peeked: *peeked,
        }
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Bytes of the header and of what is looked at behind it.
    fn head_length(&self) -> usize {
        HEADER_BYTES + self.peek_length()
    }

    /// Bytes of the payload that are looked at.
    fn peek_length(&self) -> usize {
        match self.kind {
            kind::WINDOW_UPDATE if self.length == 4 => 4,
            kind::DATA if self.has(flag::PADDED) && self.length > 0 => 1,
            _ => 0,
        }
    }

    /// DATA that carries nothing (section 6.1), not even the end of its stream.
    fn is_empty_data(&self) -> bool {
        let padding = match self.peek_length() {
            0 => 0,
            _ => 1 + u32::from(self.peeked[0]),
        };
        self.length <= padding && !self.has(flag::END_STREAM)
    }

    /// By how much a WINDOW_UPDATE opens its window (section 6.9); 0 for a broken one.
    fn increment(&self) -> u32 {
        match self.peek_length() {
            4 => u32::from_be_bytes(self.peeked) & 0x7fff_ffff,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests;
