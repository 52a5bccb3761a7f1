//! The client's TCP connection: every byte of it goes through here, and so do its deadlines.

use std::{
    io::{self, IoSlice},
    mem::take,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::connection::Connection;

/// A TCP connection that is watched, with bytes that were read before their time.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    /// Read already, and to be read again: what came behind a PROXY header, or a ClientHello.
    again: Bytes,
    connection: Arc<Connection>,
}

impl Socket {
    pub(super) const fn new(tcp: TcpStream, connection: Arc<Connection>) -> Self {
        Self {
            tcp,
            again: Bytes::new(),
            connection,
        }
    }

    /// Whose connection it is.
    pub(super) const fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Gives bytes back, to be read again before what is left of those given back before.
    pub(super) fn unread(&mut self, bytes: Bytes) {
        self.again = if self.again.is_empty() {
            bytes
        } else {
            [bytes, take(&mut self.again)].concat().into()
        };
    }

    /// More bytes at the end of `buffer`; how many, 0 at the end of the stream.
    pub(super) async fn read_more(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        tokio::io::AsyncReadExt::read_buf(self, buffer).await
    }

    /// The connection is to end by a reset, however it comes to its end.
    pub(super) fn reset_at_the_end(&self) {
        // Fails only where the connection is over.
        let _ = self.tcp.set_zero_linger();
    }

    /// Ready when there is something to read, and nothing is held ready for it meanwhile.
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.watch.check()?;
        if !self.again.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match self.tcp.poll_read_ready(context) {
            Poll::Ready(ready) => Poll::Ready(ready),
            Poll::Pending => {
                self.connection.watch.await_read(context);
                self.connection.watch.check()?;
                Poll::Pending
            }
        }
    }

    /// Reports the result of a write to the watch.
    fn wrote(
        &self,
        context: &Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let watch = &self.connection.watch;
        if let Poll::Ready(result) = written {
            if let Ok(bytes) = result {
                watch.sent(bytes);
            }
            return Poll::Ready(result);
        }
        watch.await_write(context);
        watch.check()?;
        Poll::Pending
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = &mut *self;
        let watch = &socket.connection.watch;
        watch.check()?;
        if !socket.again.is_empty() {
            let taken = socket.again.len().min(buffer.remaining());
            buffer.put_slice(&socket.again[..taken]);
            socket.again.advance(taken);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut socket.tcp).poll_read(context, buffer) {
            Poll::Ready(result) => {
                watch.received(buffer.filled().len() - before);
                Poll::Ready(result)
            }
            Poll::Pending => {
                watch.await_read(context);
                watch.check()?;
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.connection.watch.check()?;
        let written = Pin::new(&mut self.tcp).poll_write(context, bytes);
        self.wrote(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.connection.watch.check()?;
        let written = Pin::new(&mut self.tcp).poll_write_vectored(context, slices);
        self.wrote(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.tcp).poll_shutdown(context))?;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::{Bytes, BytesMut};
    use tokio::net::{TcpListener, TcpStream};

    use super::Socket;
    use crate::edge::{clock::Clock, connection::Connection};

    #[tokio::test]
    async fn bytes_are_read_again_in_the_order_they_came() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tcp = TcpStream::connect(address).await.unwrap();
        let connection = Arc::new(Connection::new(address, Arc::new(Clock::default())));
        let mut socket = Socket::new(tcp, connection);
        socket.unread(Bytes::from_static(b"hello and more"));
        // As much as there is room for is taken, found to be enough, and given back.
        let mut hello = BytesMut::with_capacity(5);
        assert_eq!(socket.read_more(&mut hello).await.unwrap(), 5);
        socket.unread(hello.freeze());
        let mut all = BytesMut::with_capacity(64);
        assert_eq!(socket.read_more(&mut all).await.unwrap(), 14);
        assert_eq!(&all[..], b"hello and more");
    }
}
