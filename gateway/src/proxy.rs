//! Pingora's hooks. Each calls one function elsewhere; nothing is decided here.

use std::{os::fd::RawFd, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::{
    Error, Result,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    protocols::Digest,
    proxy::{FailToProxy, ProxyHttp, Session},
    upstreams::peer::HttpPeer,
};

use crate::{answer, exchange::Exchange, forward, request, respond, state::State};

/// The proxy of all sites.
pub(crate) struct Proxy {
    state: Arc<State>,
}

impl Proxy {
    /// A proxy over the process's state.
    pub(crate) const fn new(state: Arc<State>) -> Self {
        Self { state }
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    /// Boxed, since Pingora moves it from future to future.
    type CTX = Box<Exchange>;

    fn new_ctx(&self) -> Box<Exchange> {
        let generation = self.state.generation.load_full();
        let in_flight = self.state.in_flight.enter();
        Box::new(Exchange::new(generation, self.state.now(), in_flight))
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {
        // Pingora's default adds a compression module that is off: a cost for nothing.
    }

    async fn early_request_filter(
        &self,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        forward::bound(session, exchange, self.state.is_stopping());
        Ok(())
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
    ) -> Result<bool> {
        match request::decide(session, exchange, &self.state).await {
            Some(answer) => answer::send(session, exchange, answer, &self.state).await,
            None => Ok(false),
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
    ) -> Result<Box<HttpPeer>> {
        forward::await_body(session, exchange).await?;
        forward::peer(session, exchange, self.state.now()).await
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        forward::prepare(session, request, exchange, &self.state)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        if end {
            exchange.origin.upload_ended = Some(self.state.now());
        }
        forward::measure_body(session, body, end, exchange)?;
        exchange.origin.attempt.sent(body, end);
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        respond::prepare(session, response, exchange, &self.state)
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Box<Exchange>,
    ) -> Result<Option<Duration>> {
        if end {
            exchange.origin.attempt.over();
        }
        Ok(forward::pace(body.as_ref(), exchange, &self.state))
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        exchange: &mut Box<Exchange>,
        error: Box<Error>,
    ) -> Box<Error> {
        forward::failed_to_connect(exchange, error, self.state.now())
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        reused: bool,
        _: &HttpPeer,
        fd: RawFd,
        digest: Option<&Digest>,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        exchange.upload.resume(digest);
        let (upgrade, now) = (exchange.asked.upgrade, self.state.now());
        (exchange.origin.attempt).connected(session, upgrade, (reused, fd), now)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        exchange: &mut Box<Exchange>,
        reused: bool,
    ) -> Box<Error> {
        let now = self.state.now();
        forward::failed_while_proxying(session, exchange, error, reused, now)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        exchange: &mut Box<Exchange>,
    ) -> FailToProxy {
        let error_code = answer::explain_failure(session, exchange, error).await;
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
    }

    fn suppress_error_log(&self, _: &Session, _: &Box<Exchange>, _: &Error) -> bool {
        // The access line carries the reason; Pingora's own line would print the raw path.
        true
    }

    async fn logging(
        &self,
        session: &mut Session,
        error: Option<&Error>,
        exchange: &mut Box<Exchange>,
    ) {
        respond::conclude(session, error, exchange, &self.state).await;
    }
}
