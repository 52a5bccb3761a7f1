//! Connections of the admin listener: few, none for long without an answer, and with descriptors of
//! their own, so that neither callers of this port nor the public keep an operator out.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use prometheus::IntCounter;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::{Instant, Sleep, sleep},
};

use crate::limits::ADMIN_CONNECTIONS;

/// Longest time from the start of a connection, or from what was last written on it, to the next
/// answer: for head and body of a request, and between two of them. Who takes in nothing for so long
/// is let go of too.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause where those that gave way are still to go, or no connection can be had.
const PAUSE: Duration = Duration::from_millis(5);

/// The listener of the operator, with a bounded number of connections.
pub(super) struct LimitedListener {
    listener: TcpListener,
    open: VecDeque<Open>,
    count: Arc<AtomicUsize>,
    gave_way: IntCounter,
}

/// What is known of an open connection from outside.
struct Open {
    end: oneshot::Sender<()>,
    answered: Arc<AtomicBool>,
}

/// One connection of a caller.
pub(super) struct Caller<S> {
    stream: S,
    end: oneshot::Receiver<()>,
    answered: Arc<AtomicBool>,
    patience: Pin<Box<Sleep>>,
    count: Arc<AtomicUsize>,
}

impl LimitedListener {
    pub(super) fn new(listener: TcpListener, gave_way: IntCounter) -> Self {
        Self {
            listener,
            gave_way,
            open: VecDeque::new(),
            count: Arc::default(),
        }
    }

    /// Takes a connection in, and lets go of another one where there are too many.
    fn admit<S>(&mut self, stream: S) -> Caller<S> {
        self.open.retain(|open| !open.end.is_closed());
        if self.open.len() >= ADMIN_CONNECTIONS {
            let unanswered = |open: &Open| !open.answered.load(Relaxed);
            let at = self.open.iter().position(unanswered).unwrap_or_default();
            if let Some(oldest) = self.open.remove(at) {
                // It may have ended by itself.
                let _ = oldest.end.send(());
                self.gave_way.inc();
            }
        }
        let (end, ended) = oneshot::channel();
        let answered = Arc::<AtomicBool>::default();
        self.open.push_back(Open {
            end,
            answered: Arc::clone(&answered),
        });
        self.count.fetch_add(1, Relaxed);
        Caller {
            stream,
            end: ended,
            answered,
            patience: Box::pin(sleep(PATIENCE)),
            count: Arc::clone(&self.count),
        }
    }
}

impl Listener for LimitedListener {
    type Io = Caller<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        while self.count.load(Relaxed) >= 2 * ADMIN_CONNECTIONS {
            sleep(PAUSE).await;
        }
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return (self.admit(stream), peer),
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, LimitedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, LimitedListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl<S> Caller<S> {
    /// An error where the connection is to end.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let ended = Pin::new(&mut self.end).poll(context).is_ready();
        if ended || self.patience.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    fn wrote(&mut self) {
        self.answered.store(true, Relaxed);
        self.patience.as_mut().reset(Instant::now() + PATIENCE);
    }
}

impl<S> Drop for Caller<S> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Caller<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Caller<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.wrote();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::IntCounter;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        net::TcpListener,
        time::{Instant, sleep},
    };

    use super::{ADMIN_CONNECTIONS, Caller, LimitedListener};

    async fn listener() -> LimitedListener {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        LimitedListener::new(listener, IntCounter::new("a", "b").unwrap())
    }

    fn calls(listener: &mut LimitedListener) -> (Caller<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(64);
        (listener.admit(ours), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_a_byte_now_and_then_is_let_go() {
        let mut listener = listener().await;
        let (mut caller, mut theirs) = calls(&mut listener);
        tokio::spawn(async move {
            while theirs.write_all(b"G").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let began = Instant::now();
        while caller.read(&mut [0; 16]).await.is_ok() {}
        assert_eq!(began.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_answered_may_ask_again_and_who_takes_in_nothing_may_not() {
        let mut listener = listener().await;
        let (mut caller, theirs) = calls(&mut listener);
        sleep(Duration::from_secs(9)).await;
        caller.write_all(&[b'a'; 64]).await.unwrap();
        sleep(Duration::from_secs(9)).await;
        let began = Instant::now();
        assert!(caller.write_all(b"a").await.is_err());
        assert_eq!(began.elapsed().as_secs(), 1);
        drop(theirs);
    }

    #[tokio::test]
    async fn the_oldest_without_an_answer_gives_way() {
        let mut listener = listener().await;
        let mut open: Vec<_> = (0..ADMIN_CONNECTIONS)
            .map(|_| calls(&mut listener))
            .collect();
        open[0].0.write_all(b"a").await.unwrap();
        open.push(calls(&mut listener));
        assert!(open[1].0.read(&mut [0; 16]).await.is_err());
        open[0].0.write_all(b"a").await.unwrap();
        open[2].0.write_all(b"a").await.unwrap();
    }
}
