//! An HTTP/1 connection as Pingora sees it: one request at a time, and of its body no byte more than
//! its head announced.
//!
//! Pingora gets the head from us, judged. What comes behind the body stays here: it is the next
//! request's head, which is judged too.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::{
    chunks::{Chunks, Malformed},
    connection::Connection,
    head::Framing,
    linger::Lingering,
    pingora_io::pingora_stream,
    transport::Transport,
    watch::Phase,
};

/// Small pieces of an answer wait for the next one up to this size: a head and a short body go out
/// together.
const GATHER: usize = 4096;

/// Most of a chunked body that is taken apart at once: it goes on in one chunk.
const MOST_AT_ONCE: usize = 32 << 10;

/// What frames such a chunk, and ends the body: `7fff`, three ends of lines, and the last chunk.
const FRAME: usize = 16;

/// A client's HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct H1Stream {
    transport: Transport,
    /// Bytes that were read, and are not handed on yet.
    pub(super) ahead: BytesMut,
    body: Body,
    /// Written by Pingora, and not sent yet.
    out: BytesMut,
    /// The wait for a client that still sends after its last answer.
    lingering: Option<Box<Lingering>>,
}

/// What is still to come of the current request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Done,
    Length(u64),
    Chunked(Chunks),
    /// Where it ends is unknown.
    Malformed,
}

impl H1Stream {
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            transport,
            ahead: BytesMut::new(),
            body: Body::Done,
            out: BytesMut::new(),
            lingering: None,
        }
    }

    /// Whose connection it is.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        self.transport.connection()
    }

    /// The connection is to end by a reset, so that its end is not taken for that of an answer.
    pub(crate) fn reset_at_the_end(&self) {
        self.transport.socket().reset_at_the_end();
    }

    /// A request begins, with this body.
    pub(super) fn begin(&mut self, framing: Framing) {
        self.body = match framing {
            Framing::None | Framing::Length(0) => Body::Done,
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked(Chunks::new()),
        };
        self.connection()
            .watch
            .set_body_due(self.body != Body::Done);
    }

    /// Whether the request's body has been taken in whole, and another request may follow.
    pub(super) fn is_between_requests(&self) -> bool {
        self.body == Body::Done && !self.connection().is_upgraded()
    }

    /// Ready when the client says more, or left.
    pub(super) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.transport.poll_readable(context)
    }

    /// Reads into what is ahead; how many bytes, 0 at the end.
    pub(super) fn poll_read_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut pinned = Pin::new(&mut self.transport);
        let mut read = std::pin::pin!(AsyncReadExt::read_buf(&mut pinned, &mut self.ahead));
        read.as_mut().poll(context)
    }

    /// Lets go of what an idle connection does not need.
    pub(super) fn slim(&mut self) {
        self.out = BytesMut::new();
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
    }

    /// Reads away what is left of a body that was not wanted: closing a socket with unread bytes
    /// resets it, and the answer may be lost.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.body == Body::Done {
            return Poll::Ready(());
        }
        let mut lingering = self.lingering.take().unwrap_or_else(|| {
            self.connection().enter(Phase::Leaving);
            Box::default()
        });
        let mut scratch = [0; 16 << 10];
        while self.body != Body::Done && !lingering.is_over(context) {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = match self.body {
                Body::Malformed => self.poll_bytes(context, &mut buffer),
                _ => Pin::new(&mut *self).poll_read(context, &mut buffer),
            };
            let Poll::Ready(read) = read else {
                self.lingering = Some(lingering);
                return Poll::Pending;
            };
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            lingering.received(buffer.filled().len());
        }
        self.lingering = Some(lingering);
        Poll::Ready(())
    }

    /// Where no body is due, a byte is the next request's, and an end is an end.
    fn poll_idle(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(context, buffer))?;
        if buffer.filled().len() == before {
            return Poll::Ready(Ok(()));
        }
        self.ahead.extend_from_slice(&buffer.filled()[before..]);
        buffer.set_filled(before);
        Poll::Pending
    }

    /// What is ahead first, then what the client sends.
    fn poll_bytes(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.transport).poll_read(context, buffer);
        }
        let taken = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..taken]);
        self.ahead.advance(taken);
        Poll::Ready(Ok(()))
    }

    fn poll_length(
        &mut self,
        left: u64,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let before = buffer.filled().len();
        if most >= buffer.remaining() {
            ready!(self.poll_bytes(context, buffer))?;
        } else {
            let mut limited = ReadBuf::new(buffer.initialize_unfilled_to(most));
            ready!(self.poll_bytes(context, &mut limited))?;
            let read = limited.filled().len();
            buffer.advance(read);
        }
        let read = buffer.filled().len() - before;
        self.body = match left - read as u64 {
            0 => Body::Done,
            left => Body::Length(left),
        };
        if self.body == Body::Done {
            self.connection().body_is_complete();
        }
        Poll::Ready(Ok(()))
    }

    /// Shows all that is there of a chunked body as one chunk.
    fn poll_chunked(
        &mut self,
        mut chunks: Chunks,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining().saturating_sub(FRAME);
        if room == 0 {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        }
        loop {
            if self.ahead.is_empty() {
                self.ahead.reserve(MOST_AT_ONCE);
                if ready!(self.poll_read_ahead(context))? == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            let taken = self.ahead.len().min(room).min(MOST_AT_ONCE);
            let Ok(decoded) = chunks.decode(&mut self.ahead[..taken]) else {
                self.body = Body::Malformed;
                return Poll::Ready(Err(malformed()));
            };
            frame(buffer, &self.ahead[..decoded.content], chunks.is_done());
            self.ahead.advance(decoded.seen);
            if chunks.is_done() {
                self.body = Body::Done;
                self.connection().body_is_complete();
                return Poll::Ready(Ok(()));
            }
            self.body = Body::Chunked(chunks);
            if decoded.content > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Sends what waits, and `more` behind it; how much of `more`.
    fn poll_send(&mut self, context: &mut Context<'_>, more: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut transport = Pin::new(&mut self.transport);
            if self.out.is_empty() {
                return match more {
                    [] => Poll::Ready(Ok(0)),
                    more => transport.poll_write(context, more),
                };
            }
            let sent = if more.is_empty() {
                ready!(transport.as_mut().poll_write(context, &self.out))?
            } else {
                let slices = [IoSlice::new(&self.out), IoSlice::new(more)];
                ready!(transport.as_mut().poll_write_vectored(context, &slices))?
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let waited = self.out.len();
            if sent >= waited {
                self.out.clear();
                if sent > waited {
                    return Poll::Ready(Ok(sent - waited));
                }
            } else {
                self.out.advance(sent);
            }
        }
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Malformed)
}

/// Writes a chunk (RFC 9112 section 7.1), where there is anything in it, and the end of the body.
fn frame(buffer: &mut ReadBuf<'_>, content: &[u8], end: bool) {
    if !content.is_empty() {
        buffer.put_slice(format!("{:x}\r\n", content.len()).as_bytes());
        buffer.put_slice(content);
        buffer.put_slice(b"\r\n");
    }
    if end {
        buffer.put_slice(b"0\r\n\r\n");
    }
}

impl Drop for H1Stream {
    /// What waits belongs to an answer that breaks off here: its client is to see as much of it as
    /// came, and not a connection that ended before any answer, over which it may ask again.
    fn drop(&mut self) {
        let _ = self.poll_send(&mut Context::from_waker(Waker::noop()), &[]);
    }
}

impl AsyncRead for H1Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.body {
            // All of it belongs to the reader.
            Body::Done if self.connection().is_upgraded() => self.poll_bytes(context, buffer),
            Body::Done => self.poll_idle(context, buffer),
            Body::Length(left) => self.poll_length(left, context, buffer),
            Body::Chunked(chunks) => self.poll_chunked(chunks, context, buffer),
            Body::Malformed => Poll::Ready(Err(malformed())),
        }
    }
}

impl AsyncWrite for H1Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.out.len() + bytes.len() <= GATHER {
            self.out.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        self.poll_send(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context, &[]))?;
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(self.as_mut().poll_flush(context))?;
            ready!(Pin::new(&mut self.transport).poll_shutdown(context))?;
        }
        self.poll_linger(context).map(Ok)
    }
}

pingora_stream!(H1Stream, alpn: None);
