//! Connections for handshakes of WebSockets.
//!
//! Pingora 0.9.1 looks at two things at once: at what the origin answers, and at the end of the
//! handshake's empty body, which it hands to the sending side after the head has gone out. Where both
//! are there at its first look it draws lots, and if the 101 is drawn first, it takes the body's end
//! for the end of the WebSocket. So the first look at an answer after something was sent finds
//! nothing here, and at once asks for another: by then the end has been passed on.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    Error,
    ErrorType::{ConnectError, ConnectNoRoute, ConnectRefused, ConnectTimedout},
    Result,
    connectors::L4Connect,
    protocols::l4::{
        socket::SocketAddr,
        stream::Stream,
        virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream},
    },
};
use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::answer_wait::AnswerWait;

/// Makes such connections.
#[derive(Debug)]
pub(crate) struct Connect {
    /// Longest wait for one.
    pub within: Option<Duration>,
    /// The wait for the handshake's answer.
    pub wait: AnswerWait,
}

#[async_trait]
impl L4Connect for Connect {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let connected = match self.within {
            Some(within) => timeout(within, self.open(address))
                .await
                .map_err(|_| Error::explain(ConnectTimedout, format!("{address} took too long")))?,
            None => self.open(address).await,
        };
        connected.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::ConnectionRefused => ConnectRefused,
                io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                    ConnectNoRoute
                }
                _ => ConnectError,
            };
            Error::because(kind, format!("connecting to {address}"), error)
        })
    }
}

impl Connect {
    async fn open(&self, address: &SocketAddr) -> io::Result<Stream> {
        match address {
            SocketAddr::Inet(address) => Ok(self.patient(TcpStream::connect(address).await?)),
            SocketAddr::Unix(address) => {
                let path = address.as_pathname().ok_or(io::ErrorKind::InvalidInput)?;
                Ok(self.patient(UnixStream::connect(path).await?))
            }
        }
    }

    fn patient<S: Socket>(&self, socket: S) -> Stream {
        // Pingora does not have the descriptor of a socket that is not its own.
        self.wait.made(socket.as_raw_fd());
        let patient = Patient {
            socket,
            has_sent: false,
        };
        VirtualSocketStream::new(Box::new(patient)).into()
    }
}

trait Socket:
    AsyncRead + AsyncWrite + AsFd + AsRawFd + Unpin + Send + Sync + std::fmt::Debug + 'static
{
}

impl Socket for TcpStream {}
impl Socket for UnixStream {}

/// A socket that is not read in the moment in which it was written to.
#[derive(Debug)]
struct Patient<S> {
    socket: S,
    has_sent: bool,
}

impl<S: Socket> VirtualSocket for Patient<S> {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        set(self.socket.as_fd(), &option)
    }
}

fn set(socket: BorrowedFd<'_>, option: &VirtualSockOpt) -> io::Result<()> {
    // What is for TCP alone is not for UNIX sockets.
    if rustix::net::getsockname(socket)?.address_family() == rustix::net::AddressFamily::UNIX {
        return Ok(());
    }
    match option {
        VirtualSockOpt::NoDelay => sockopt::set_tcp_nodelay(socket, true)?,
        VirtualSockOpt::KeepAlive(keepalive) => {
            sockopt::set_socket_keepalive(socket, true)?;
            sockopt::set_tcp_keepidle(socket, keepalive.idle)?;
            sockopt::set_tcp_keepintvl(socket, keepalive.interval)?;
            let count = u32::try_from(keepalive.count).unwrap_or(u32::MAX);
            sockopt::set_tcp_keepcnt(socket, count)?;
        }
        // Others are to come, and none that we ask for.
        _ => {}
    }
    Ok(())
}

impl<S: Socket> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.has_sent) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: Socket> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.has_sent = true;
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.has_sent = true;
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
