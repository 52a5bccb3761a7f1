//! What happens before and around HTTP: sockets, PROXY headers, TLS, deadlines, caps.
//!
//! A connection is accepted by a `listener`, opened by `open`, and served by `h1` or `h2`,
//! which hand one request at a time to Pingora. Every byte passes a `socket`, whose `watch` the
//! sweep of the `registry` judges four times a second.

use std::{pin::Pin, sync::Arc};

use pingora::{
    apps::{HttpServerApp, ReusedHttpStream},
    protocols::http::ServerSession,
    server::ShutdownWatch,
};

use crate::{
    ending::Ending,
    generation::Generation,
    limits::{Limits, ListenerFacts},
    metrics::EdgeMetrics,
    state::State,
};

mod admission;
mod chunks;
pub mod client_hello;
mod clock;
mod connection;
mod eviction;
mod h1;
mod h1_stream;
mod h2;
pub mod h2_frames;
mod h2_stream;
pub mod head;
pub mod linger;
mod listener;
mod open;
mod pingora_io;
pub mod proxy_protocol;
mod registry;
mod socket;
mod stall;
mod transport;
mod watch;
mod windows;

pub(crate) use chunks::is_malformed;
pub(crate) use connection::{Connection, OpenStream, Tunnel};
pub(crate) use h1_stream::H1Stream;
pub(crate) use listener::listen;
pub(crate) use registry::sweep;
pub(crate) use stall::Upload;

use admission::Admission;
use clock::Clock;
use eviction::Cap;
use registry::{Registry, awaits_a_request, sweep_once};
use windows::Windows;

/// What requests are handed to: an application of Pingora's.
trait App: Send + Sync {
    /// Serves a request; its connection, where that can carry another.
    fn serve<'a>(&'a self, session: ServerSession, shutdown: &'a ShutdownWatch) -> Served<'a>;
}

/// A request that is being served. Pingora boxes its applications' futures anyway.
type Served<'a> = Pin<Box<dyn Future<Output = Option<ReusedHttpStream>> + Send + 'a>>;

impl<A: HttpServerApp + Send + Sync> App for Arc<A> {
    fn serve<'a>(&'a self, session: ServerSession, shutdown: &'a ShutdownWatch) -> Served<'a> {
        self.process_new_http(session, shutdown)
    }
}

/// What all connections share.
pub(crate) struct Edge {
    app: Box<dyn App>,
    state: Arc<State>,
    clock: Arc<Clock>,
    admission: Arc<Admission>,
    registry: Arc<Registry>,
    windows: Windows,
    metrics: EdgeMetrics,
}

impl Edge {
    /// An edge in front of `app`, without connections.
    pub(crate) fn new(app: impl HttpServerApp + Send + Sync + 'static, state: Arc<State>) -> Self {
        let clock = Arc::new(Clock::default());
        clock.set(state.now());
        let windows = Windows::new(state.metrics.edge.wide.clone());
        Self {
            app: Box::new(Arc::new(app)),
            metrics: state.metrics.edge.clone(),
            state,
            clock,
            admission: Arc::default(),
            registry: Arc::default(),
            windows,
        }
    }

    /// The process stops: idle connections end now, the others after what they are at.
    pub(crate) fn retire(&self) {
        sweep_once(self);
    }

    /// Whether a client that was let in is still to say what it came for.
    pub(crate) fn awaits_a_request(&self) -> bool {
        awaits_a_request(self)
    }

    /// Public sockets and what is spoken there, in the order of the configuration.
    pub(crate) fn listeners(&self) -> Vec<(String, ListenerFacts)> {
        self.state.generation.load().cold.listeners.clone()
    }

    /// Ends a connection, and counts it unless that was done already.
    fn end(&self, connection: &Connection, ending: Ending) {
        if connection.end(ending) {
            self.metrics.closed(ending);
        }
    }

    /// Has an idle connection give way to a newcomer that has met a cap; whether there was one.
    fn make_room(&self, generation: &Generation, newcomer: &Connection, cap: Cap) -> bool {
        let carriers = |client| State::trusts(generation, client);
        let found = (self.registry).idle_longest(newcomer, cap, self.state.now(), carriers);
        found.is_some_and(|connection| {
            self.end(&connection, Ending::Evicted);
            true
        })
    }

    fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.state.generation.load().limits)
    }
}
