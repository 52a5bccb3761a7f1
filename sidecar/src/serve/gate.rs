//! What a caller costs before and after it has shown a token.
//!
//! A connection is a stranger's until a call on it brought a token. Strangers are few, and have to show
//! one soon. A token is looked at as the head of a call arrives: no message of anybody else is read,
//! for room is made by the length that a message announces. Calls whose messages are read are few at a
//! time for the same reason.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use parking_lot::Mutex;
use prometheus::IntCounterVec;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    transport::server::Connected,
};

use crate::service::Sidecar;

/// Connections on which nobody has shown a token.
const MOST_STRANGERS: usize = 256;
/// Connections of callers.
const MOST_CALLERS: usize = 1024;
/// Calls whose messages are read at a time, each of at most 64 KiB.
const MOST_CALLS: usize = 512;
/// Questions about health, which need no token.
const MOST_CHECKS: usize = 64;
/// The same on one connection, so that one stranger does not take them all.
const MOST_CHECKS_EACH: usize = 4;
/// How long a connection may be a stranger's.
const STRANGE_FOR: Duration = Duration::from_secs(5);

/// How many there may be of everything.
#[derive(Debug)]
pub struct Places {
    strangers: Arc<Semaphore>,
    callers: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    checks: Arc<Semaphore>,
    turned_away: IntCounterVec,
}

impl Places {
    /// None is taken yet; `turned_away` counts who found none, by what was full.
    pub fn new(turned_away: IntCounterVec) -> Arc<Self> {
        Arc::new(Self {
            strangers: Arc::new(Semaphore::new(MOST_STRANGERS)),
            callers: Arc::new(Semaphore::new(MOST_CALLERS)),
            calls: Arc::new(Semaphore::new(MOST_CALLS)),
            checks: Arc::new(Semaphore::new(MOST_CHECKS)),
            turned_away,
        })
    }

    /// A place for a connection that is new.
    pub fn stranger(self: &Arc<Self>) -> Option<Stranger> {
        let place = Arc::clone(&self.strangers).try_acquire_owned();
        let Ok(place) = place else {
            self.turn_away("connections");
            return None;
        };
        Some(Stranger {
            standing: Arc::new(Standing {
                is_caller: AtomicBool::new(false),
                place: Mutex::new(place),
                checks: Arc::new(Semaphore::new(MOST_CHECKS_EACH)),
            }),
            until: Box::pin(sleep(STRANGE_FOR)),
            is_over: false,
            places: Arc::clone(self),
        })
    }

    fn turn_away(&self, why: &str) {
        self.turned_away.with_label_values(&[why]).inc();
    }
}

/// A place among the strangers, from the connection's first moment on.
pub struct Stranger {
    standing: Arc<Standing>,
    until: Pin<Box<Sleep>>,
    is_over: bool,
    places: Arc<Places>,
}

impl Stranger {
    /// Fails once its time is over. Whoever waits on the connection is woken then, whatever it waits for.
    fn stay(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.standing.is_caller.load(Relaxed) || self.until.as_mut().poll(cx).is_pending() {
            return Ok(());
        }
        if !std::mem::replace(&mut self.is_over, true) {
            self.places.turn_away("silence");
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// Whether a connection is a caller's.
#[derive(Debug)]
pub struct Standing {
    is_caller: AtomicBool,
    place: Mutex<OwnedSemaphorePermit>,
    checks: Arc<Semaphore>,
}

impl Standing {
    /// Takes a place among the callers; whether there was one.
    fn admit(&self, places: &Places) -> bool {
        if self.is_caller.load(Relaxed) {
            return true;
        }
        let place = Arc::clone(&places.callers).try_acquire_owned();
        let Ok(place) = place else {
            return false;
        };
        *self.place.lock() = place;
        self.is_caller.store(true, Relaxed);
        true
    }
}

/// What is read and written.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that ends where nobody shows a token on it.
pub struct Connection {
    stream: Box<dyn Duplex>,
    stranger: Stranger,
}

impl Connection {
    /// The connection of a stranger.
    pub fn new(stream: Box<dyn Duplex>, stranger: Stranger) -> Self {
        Self { stream, stranger }
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Standing>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Arc::clone(&self.stranger.standing)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stranger.stay(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Who takes no answers in is not read from either.
        self.stranger.stay(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stranger.stay(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stranger.stay(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A service behind the gate.
#[derive(Clone)]
pub struct Guarded<S> {
    service: S,
    sidecar: Arc<Sidecar>,
    places: Arc<Places>,
    /// Whether a call needs a token.
    closed: bool,
}

impl<S> Guarded<S> {
    /// One that only callers reach.
    pub const fn closed(service: S, sidecar: Arc<Sidecar>, places: Arc<Places>) -> Self {
        Self {
            service,
            sidecar,
            places,
            closed: true,
        }
    }

    /// One that everybody reaches.
    pub fn open(service: S, sidecar: Arc<Sidecar>, places: Arc<Places>) -> Self {
        Self {
            closed: false,
            ..Self::closed(service, sidecar, places)
        }
    }

    /// Turns that a call needs, or why there are none.
    fn admit(&self, call: &http::Request<Body>) -> Result<Vec<OwnedSemaphorePermit>, Status> {
        let full = || Status::resource_exhausted("too many calls at a time");
        let standing = call.extensions().get::<Arc<Standing>>();
        let turns = if self.closed {
            let known = self.sidecar.callers.load().known(call.headers()).map(drop);
            known.inspect_err(|_| self.places.turn_away("token"))?;
            if standing.is_some_and(|standing| !standing.admit(&self.places)) {
                self.places.turn_away("callers");
                return Err(full());
            }
            [Some(&self.places.calls), None]
        } else {
            [
                standing.map(|standing| &standing.checks),
                Some(&self.places.checks),
            ]
        };
        let taken = turns.into_iter().flatten().map(|turns| {
            Arc::clone(turns).try_acquire_owned().map_err(|_| {
                self.places.turn_away("calls");
                full()
            })
        });
        taken.collect()
    }
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let _ = ready!(self.service.poll_ready(cx));
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: http::Request<Body>) -> Self::Future {
        match self.admit(&call) {
            Ok(turns) => {
                let answer = self.service.call(call);
                Box::pin(async move {
                    let answer = answer.await;
                    drop(turns);
                    answer
                })
            }
            Err(status) => Box::pin(std::future::ready(Ok(status.into_http()))),
        }
    }
}
