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
use thornwall_detectors::signal::Reason;
use thornwall_filters::verdict::Ruling;

use crate::{
    answer, edge, exchange::Exchange, forward, outcome, request, second_opinion, state::State,
};

/// The proxy of all sites.
pub(crate) struct Proxy {
    state: Arc<State>,
}

impl Proxy {
    /// A proxy over the process's state.
    pub(crate) const fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    /// Judges a request and answers it, unless the origin is to.
    async fn admit(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        let mut judgement = match request::judge(session, exchange, &self.state) {
            Ok(judgement) => judgement,
            Err((status, reason)) => {
                return refuse(session, exchange, status, reason).await;
            }
        };
        second_opinion::settle(&mut judgement, exchange, &self.state).await;
        let ruling = judgement.ruling;
        exchange.reason = ruling.reason();
        exchange.judgement = Some(judgement);
        match ruling {
            Ruling::Answer(answer) => {
                answer::send(session, exchange, answer, &self.state).await?;
                Ok(true)
            }
            Ruling::Forward => {
                if request::take_share(exchange, &self.state).await.is_none() {
                    let reason = Reason::ClientTooManyRequests;
                    return refuse(session, exchange, 429, reason).await;
                }
                self.answer_robots(session, exchange).await
            }
        }
    }

    async fn answer_robots(&self, session: &mut Session, exchange: &Exchange) -> Result<bool> {
        let now = self.state.now();
        let Some(file) = request::robots_answer(session.req_header(), exchange, now).await else {
            return Ok(false);
        };
        answer::robots(session, exchange, &file).await?;
        Ok(true)
    }
}

/// Answers a request that nobody is to be asked with.
async fn refuse(
    session: &mut Session,
    exchange: &mut Exchange,
    status: u16,
    reason: Reason,
) -> Result<bool> {
    exchange.reason = Some(reason);
    // What follows may be part of what was refused.
    session.set_keepalive(None);
    if reason == Reason::TlsRedirect {
        answer::redirect_to_https(session, exchange).await?;
    } else {
        answer::refuse(session, exchange, status).await?;
    }
    Ok(true)
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
        self.admit(session, exchange).await
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
            exchange.body_came = Some(self.state.now());
        }
        forward::measure_body(session, body, end, exchange)?;
        exchange.attempt.sent(body, end);
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Box<Exchange>,
    ) -> Result<()> {
        let now = self.state.now();
        exchange.origin_answers(response.status.as_u16(), now);
        let secure = exchange.secure;
        (exchange.attempt).answered(session, response, secure, now)?;
        forward::judge(response, exchange)?;
        outcome::begins(session, response, exchange, now);
        request::settle_share(exchange, response, &self.state);
        forward::lead_back(session, response, exchange)?;
        forward::suit(session, response, exchange);
        answer::name(response, exchange)
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Box<Exchange>,
    ) -> Result<Option<Duration>> {
        if end {
            exchange.attempt.over();
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
        edge::resume(digest);
        let (upgrade, now) = (exchange.upgrade, self.state.now());
        (exchange.attempt).connected(session, upgrade, (reused, fd), now)
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
        if let Some(error) = error {
            self.state.metrics.edge.ended_with(error);
        }
        exchange.holds.release();
        let now = self.state.now();
        outcome::tell(exchange, now);
        let took: Duration = now.saturating_sub(exchange.started);
        self.state.conclude(outcome::ended(session, exchange, took));
        answer::part(session, exchange, error.is_some(), &self.state).await;
    }
}
