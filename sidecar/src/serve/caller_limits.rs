//! What a caller costs before and after it has shown a token.
//!
//! A connection is unauthenticated until a call on it brought a token. Such connections are few, and have to
//! bring one soon. A token is looked at as the head of a call arrives: no message without one is read, for
//! room is made by the length that a message announces. Calls whose messages are read are few at a
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

/// Connections without a token so far.
const MOST_UNAUTHENTICATED: usize = 256;
/// Connections of callers.
const MOST_CALLERS: usize = 1024;
/// Calls whose messages are read at a time, each of at most 64 KiB.
const MOST_CALLS: usize = 512;
/// Questions about health, which need no token.
const MOST_CHECKS: usize = 64;
/// Questions about health on one connection, so that one connection does not take them all.
const MOST_CHECKS_EACH: usize = 4;
/// How long a connection may be unauthenticated.
const UNAUTHENTICATED_FOR: Duration = Duration::from_secs(5);

/// Limits of connections and calls.
#[derive(Debug)]
pub(crate) struct CallerLimits {
    unauthenticated: Arc<Semaphore>,
    callers: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    checks: Arc<Semaphore>,
    turned_away: IntCounterVec,
}

impl CallerLimits {
    /// Limits of which nothing is used; `turned_away` counts refusals, by what was full.
    pub(crate) fn new(turned_away: IntCounterVec) -> Arc<Self> {
        Arc::new(Self {
            unauthenticated: Arc::new(Semaphore::new(MOST_UNAUTHENTICATED)),
            callers: Arc::new(Semaphore::new(MOST_CALLERS)),
            calls: Arc::new(Semaphore::new(MOST_CALLS)),
            checks: Arc::new(Semaphore::new(MOST_CHECKS)),
            turned_away,
        })
    }

    /// A permit for a connection that is new.
    pub(crate) fn unauthenticated(self: &Arc<Self>) -> Option<Unauthenticated> {
        let permit = Arc::clone(&self.unauthenticated).try_acquire_owned();
        let Ok(permit) = permit else {
            self.turn_away("connections");
            return None;
        };
        Some(Unauthenticated {
            state: Arc::new(ConnectionState {
                is_caller: AtomicBool::new(false),
                permit: Mutex::new(permit),
                checks: Arc::new(Semaphore::new(MOST_CHECKS_EACH)),
            }),
            until: Box::pin(sleep(UNAUTHENTICATED_FOR)),
            is_over: false,
            limits: Arc::clone(self),
        })
    }

    fn turn_away(&self, why: &str) {
        self.turned_away.with_label_values(&[why]).inc();
    }
}

/// The permit of an unauthenticated connection, from its first moment on.
pub(crate) struct Unauthenticated {
    state: Arc<ConnectionState>,
    until: Pin<Box<Sleep>>,
    is_over: bool,
    limits: Arc<CallerLimits>,
}

impl Unauthenticated {
    /// Fails once the time is over. Tasks that wait on the connection are woken then, whatever they wait for.
    fn stay(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.state.is_caller.load(Relaxed) || self.until.as_mut().poll(cx).is_pending() {
            return Ok(());
        }
        if !std::mem::replace(&mut self.is_over, true) {
            self.limits.turn_away("silence");
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// Whether a connection is a caller's.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    is_caller: AtomicBool,
    permit: Mutex<OwnedSemaphorePermit>,
    checks: Arc<Semaphore>,
}

impl ConnectionState {
    /// Takes a permit among the callers; whether there was one.
    fn admit(&self, limits: &CallerLimits) -> bool {
        if self.is_caller.load(Relaxed) {
            return true;
        }
        let permit = Arc::clone(&limits.callers).try_acquire_owned();
        let Ok(permit) = permit else {
            return false;
        };
        *self.permit.lock() = permit;
        self.is_caller.store(true, Relaxed);
        true
    }
}

/// A stream of bytes in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that ends where no call on it brings a token in time.
pub(crate) struct Connection {
    stream: Box<dyn Duplex>,
    permit: Unauthenticated,
}

impl Connection {
    pub(crate) fn new(stream: Box<dyn Duplex>, permit: Unauthenticated) -> Self {
        Self { stream, permit }
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<ConnectionState>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Arc::clone(&self.permit.state)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.permit.stay(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A caller that takes no answers in is not read from either.
        self.permit.stay(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.permit.stay(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.permit.stay(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A service behind the gate.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    service: S,
    sidecar: Arc<Sidecar>,
    limits: Arc<CallerLimits>,
    /// Whether a call needs a token.
    closed: bool,
}

impl<S> Guarded<S> {
    /// A service that needs a token.
    pub(crate) const fn closed(
        service: S,
        sidecar: Arc<Sidecar>,
        limits: Arc<CallerLimits>,
    ) -> Self {
        Self {
            service,
            sidecar,
            limits,
            closed: true,
        }
    }

    /// A service that needs no token.
    pub(crate) fn open(service: S, sidecar: Arc<Sidecar>, limits: Arc<CallerLimits>) -> Self {
        Self {
            closed: false,
            ..Self::closed(service, sidecar, limits)
        }
    }

    /// Permits that a call needs, or why there are none.
    fn admit(&self, call: &http::Request<Body>) -> Result<Vec<OwnedSemaphorePermit>, Status> {
        let full = || Status::resource_exhausted("too many calls at a time");
        let state = call.extensions().get::<Arc<ConnectionState>>();
        let permits = if self.closed {
            let known = self.sidecar.callers.load().known(call.headers()).map(drop);
            known.inspect_err(|_| self.limits.turn_away("token"))?;
            if state.is_some_and(|state| !state.admit(&self.limits)) {
                self.limits.turn_away("callers");
                return Err(full());
            }
            [Some(&self.limits.calls), None]
        } else {
            [state.map(|state| &state.checks), Some(&self.limits.checks)]
        };
        let taken = permits.into_iter().flatten().map(|permits| {
            Arc::clone(permits).try_acquire_owned().map_err(|_| {
                self.limits.turn_away("calls");
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
            Ok(permits) => {
                let answer = self.service.call(call);
                Box::pin(async move {
                    let answer = answer.await;
                    drop(permits);
                    answer
                })
            }
            Err(status) => Box::pin(std::future::ready(Ok(status.into_http()))),
        }
    }
}
