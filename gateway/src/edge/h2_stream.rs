//! An HTTP/2 connection as Pingora sees it, with an eye on the frames that the client sends.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pingora::protocols::ALPN;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    connection::Connection,
    h2_frames::{self, FrameWatch},
    pingora_io::pingora_stream,
    transport::Transport,
    watch::Phase,
};
use crate::{ending::Ending, limits::Tick, metrics::EdgeMetrics};

/// A client's HTTP/2 connection.
#[derive(Debug)]
pub(super) struct H2Stream {
    transport: Transport,
    frames: FrameWatch,
    limits: h2_frames::Limits,
    /// When the frame budgets were last filled up.
    ticked: Tick,
    /// Whether the first bytes are still being kept.
    early: bool,
    metrics: EdgeMetrics,
}

impl H2Stream {
    pub(super) fn new(
        transport: Transport,
        limits: h2_frames::Limits,
        metrics: EdgeMetrics,
    ) -> Self {
        let ticked = transport.connection().clock().now();
        Self {
            transport,
            frames: FrameWatch::default(),
            limits,
            ticked,
            early: true,
            metrics,
        }
    }

    /// Whose connection it is.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        self.transport.connection()
    }

    /// Looks at what has just been read.
    fn look_at(&mut self, bytes: &[u8]) -> io::Result<()> {
        let connection = Arc::clone(self.connection());
        if self.early {
            self.early = connection.keep_preface(bytes);
        }
        let now = connection.clock().now();
        while now.wrapping_sub(self.ticked) >= 1000 {
            self.ticked = self.ticked.wrapping_add(1000);
            self.frames.tick();
        }
        let began = self.frames.preface_done();
        if let Err(abuse) = self.frames.feed(bytes, &self.limits) {
            self.metrics.abuse(abuse.code());
            if connection.end(Ending::H2Abuse) {
                self.metrics.closed(Ending::H2Abuse);
            }
            return Err(io::Error::new(io::ErrorKind::InvalidData, abuse.code()));
        }
        if !began && self.frames.preface_done() {
            connection.enter(Phase::Streams);
        }
        let open = self.frames.is_inside_headers();
        connection.watch.set_block_open(open, now);
        Ok(())
    }
}

impl AsyncRead for H2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(context, buffer))?;
        self.look_at(&buffer.filled()[before..])?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for H2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(context)
    }
}

pingora_stream!(H2Stream, alpn: Some(ALPN::H2));
