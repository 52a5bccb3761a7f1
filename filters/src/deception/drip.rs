//! The content of an answer as a sequence of small chunks, each with the wait before it.

use std::time::Duration;

use bytes::Bytes;

use crate::deception::{
    pace::Pace,
    page::{Cursor, Page},
    random::Random,
};

/// Some bytes and the wait before they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// What to send; never empty.
    pub bytes: Bytes,
    /// How long to wait after the chunk before; zero for the first.
    pub after: Duration,
}

/// The chunks of one answer.
///
/// The first one holds the head of the document and comes at once, so that the client believes.
/// The waits sum up to [`Pace::total`], and the last chunk makes the document whole.
///
/// Thousands of these are held at a time: no text is kept between two chunks. A piece of text that
/// spans several chunks is written anew for each.
#[derive(Debug, Clone)]
pub struct Drip {
    page: Page,
    /// Where the piece begins that is being sent.
    cursor: Cursor,
    /// How much of that piece is sent.
    sent: usize,
    pace: Pace,
    jitter: Random,
    /// Time of the chunks so far, `None` before the first chunk.
    spent: Option<Duration>,
    ended: bool,
}

impl Drip {
    pub(crate) fn new(page: Page, pace: Pace, connection: u64) -> Self {
        Self {
            cursor: page.start(),
            sent: 0,
            pace,
            jitter: Random::of_part(page.seed, connection),
            spent: None,
            ended: false,
            page,
        }
    }

    /// The wait before the next chunk, and whether that is the last one.
    fn advance(&mut self) -> (Duration, bool) {
        let (spent, wait) = match self.spent {
            None => (Duration::ZERO, Duration::ZERO),
            Some(spent) => (spent, self.pace.wait(&mut self.jitter)),
        };
        let after = wait.min(self.pace.total.saturating_sub(spent));
        self.spent = Some(spent + after);
        (after, spent + after >= self.pace.total)
    }

    /// The next `length` bytes of the document.
    fn take(&mut self, length: usize) -> Vec<u8> {
        let mut taken = Vec::with_capacity(length);
        while taken.len() < length {
            let mut next = self.cursor;
            let piece = self.page.piece(&mut next);
            let rest = piece.get(self.sent..).unwrap_or_default();
            let missing = length - taken.len();
            if rest.len() > missing {
                taken.extend_from_slice(&rest[..missing]);
                self.sent += missing;
            } else {
                taken.extend_from_slice(rest);
                self.cursor = next;
                self.sent = 0;
            }
        }
        taken
    }

    /// What is left of the piece that is being sent.
    fn rest(&self) -> usize {
        let mut next = self.cursor;
        self.page.piece(&mut next).len() - self.sent
    }
}

impl Iterator for Drip {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        if self.ended {
            return None;
        }
        let first = self.spent.is_none();
        let (after, last) = self.advance();
        let drawn = self.pace.bytes(&mut self.jitter);
        let length = if first { drawn.max(self.rest()) } else { drawn };
        let mut bytes = self.take(length);
        if last {
            self.ended = true;
            if self.sent > 0 {
                let rest = self.rest();
                bytes.extend(self.take(rest));
            }
            bytes.extend_from_slice(self.page.ending(&self.cursor).as_bytes());
        }
        Some(Chunk {
            bytes: bytes.into(),
            after,
        })
    }
}
