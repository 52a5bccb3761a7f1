//! The tries of one request: where it goes, whether it may be tried again, and what the servers
//! are thought of afterwards.
//!
//! A request whose connection was never made has carried nothing, and may be tried again whatever
//! it is, and so may one that a server of HTTP/2 says it has not processed. Any other that was sent
//! may have had its effect: only safe methods (RFC 9110 section 9.2.1) go to another server then.
//!
//! A kept connection that was over is no failure of the server: the same server is asked over a
//! fresh one, which costs no further try and none of the budget. That is so for all requests as
//! long as nothing was sent, and else for those that may be repeated (`kept::may_repeat`).

use std::{net::IpAddr, os::fd::RawFd, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header::CONTENT_LENGTH};
use pingora::{
    Error, ErrorSource, ErrorType, Result, RetryType,
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
    upstreams::peer::HttpPeer,
};
use thornwall_detectors::signal::Reason;

use super::{
    HashBy, Lease, Refusal, Upstream,
    answer_wait::AnswerWait,
    balance::{Ask, Tried},
    delivery::Delivery,
    kept,
    sticky::cookie,
};
use crate::{hash::Key, request_id::RequestId};

/// Error of a refused answer. A server that answers is there, and would answer the same again.
pub(crate) const REFUSED_ANSWER: ErrorType = ErrorType::new("RefusedAnswer");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// What is remembered from try to try.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    /// When the first try began: what the client took for its body is not the servers' time.
    began: Option<Duration>,
    upstream: Option<Arc<Upstream>>,
    lease: Option<Lease>,
    tried: Tried,
    tries: usize,
    /// Whether the next try goes to the same server, over a fresh connection.
    afresh: bool,
    /// Whether this try ended before anything of the request was sent.
    unsent: bool,
    /// Whether this try's server has sent anything.
    answered: bool,
    /// Whether a piece of the request's body, or its end, has gone on in this try.
    body_went: bool,
    /// The server's connection, where it carries this request alone.
    origin: Option<RawFd>,
    /// How far the request's body has come, where there is one and HTTP/1 is spoken.
    delivery: Option<Delivery>,
    /// Whether the client's cookie names a server that is there.
    has_cookie: bool,
    /// How long the answer may take to begin.
    wait: AnswerWait,
}

/// What is to be known of a request that broke off.
#[derive(Debug)]
pub(crate) struct Circumstances {
    /// Whether its connection had been kept.
    pub(crate) reused: bool,
    /// Whether it asked for another protocol.
    pub(crate) upgrade: bool,
    /// Whether the client has got the head of its answer.
    pub(crate) has_begun: bool,
}

/// What the next server may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Any other than those tried.
    Another,
    /// Another, or where there is none the same.
    Any,
    /// The request ends here.
    None,
}

impl Attempt {
    /// No try yet, of a request whose answers are waited for by `wait`.
    pub(crate) fn new(wait: AnswerWait) -> Self {
        Self {
            wait,
            ..Self::default()
        }
    }

    /// The wait for the answer to begin.
    pub(crate) const fn wait(&self) -> &AnswerWait {
        &self.wait
    }

    /// The server's connection, where it carries this request alone.
    pub(crate) const fn origin(&self) -> Option<RawFd> {
        self.origin
    }

    /// Requests that the server has under way, as a share of those that it may have; `None` where
    /// it has no bound.
    pub(crate) fn load(&self) -> Option<f32> {
        let endpoint = &self.lease.as_ref()?.endpoint;
        let most = endpoint.max_connections;
        (most > 0).then(|| endpoint.health.in_flight() as f32 / most as f32)
    }

    /// The name of the server that was chosen.
    pub(crate) fn authority(&self) -> Option<String> {
        let (upstream, lease) = self.upstream.as_ref().zip(self.lease.as_ref())?;
        Some(upstream.authority_of(&lease.endpoint))
    }

    /// Whether the server that was chosen is spoken to over TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        let lease = self.lease.as_ref();
        lease.is_some_and(|lease| lease.endpoint.peer.is_tls())
    }

    async fn find(
        &mut self,
        upstream: &Upstream,
        request: &RequestHeader,
        client: Option<IpAddr>,
        now: Duration,
    ) -> Result<Lease, Refusal> {
        if self.tries == 0 {
            upstream.learned.budget.earn();
        }
        self.tries += 1;
        let sticky = upstream.sticky.as_ref();
        let cookie = sticky.and_then(|sticky| sticky.read(&request.headers));
        let ask = Ask {
            now,
            key: upstream.hash_key(request, client),
            cookie,
            tried: &self.tried,
        };
        let lease = match self.tries {
            ..=1 => upstream.lease(&ask).await,
            _ => upstream.lease_again(&ask),
        };
        let named = lease
            .as_ref()
            .ok()
            .and_then(|lease| lease.endpoint.cookie.as_deref());
        self.has_cookie = cookie.is_some() && named == cookie;
        lease
    }

    /// Finds a server for a request, or for its next try.
    pub(crate) async fn choose(
        &mut self,
        request: &RequestHeader,
        upstream: Arc<Upstream>,
        (client, id): (Option<IpAddr>, RequestId),
        now: Duration,
    ) -> Result<Box<HttpPeer>, Refusal> {
        let began = *self.began.get_or_insert(now);
        let held = self.lease.take().filter(|_| self.afresh);
        let afresh = std::mem::take(&mut self.afresh) && held.is_some();
        let lease = match held {
            Some(lease) => lease,
            None => self.find(&upstream, request, client, now).await?,
        };
        let lease = self.lease.insert(lease);
        let mut peer = Box::new(lease.endpoint.peer.clone());
        lease.endpoint.bound_idle(&mut peer);
        if afresh && !lease.endpoint.is_http2() {
            // A group of its own holds no kept connection, and keeps none.
            peer.group_key = Key(peer.group_key).with(Key(id.low_bits())).0;
            peer.options.idle_timeout = Some(Duration::ZERO);
        }
        if let Some(total) = upstream.settings.total_timeout {
            let left = total.saturating_sub(now.saturating_sub(began));
            let shorten = |time: &mut Option<Duration>| *time = time.map(|time| time.min(left));
            shorten(&mut peer.options.connection_timeout);
            shorten(&mut peer.options.total_connection_timeout);
        }
        self.upstream = Some(upstream);
        Ok(peer)
    }

    /// A connection has been made, or a kept one found, which must not be over: the server's time starts
    /// when the request has been sent.
    pub(crate) fn connected(
        &mut self,
        session: &mut Session,
        upgrade: bool,
        (reused, fd): (bool, RawFd),
        now: Duration,
    ) -> Result<()> {
        (self.answered, self.body_went) = (false, false);
        let http1 = (self.lease.as_ref()).is_some_and(|lease| !lease.endpoint.is_http2());
        self.unsent = reused && http1 && kept::is_spent(fd);
        self.delivery = None;
        self.origin = http1.then_some(fd);
        if self.unsent {
            let what = "a kept connection was over before anything was sent";
            return Err(Error::explain(ErrorType::ConnectionClosed, what).into_up());
        }
        if http1 && session.is_body_empty() {
            // Another connection may have had this descriptor.
            kept::trust(fd);
        } else if http1 && !upgrade {
            let headers = &session.req_header().headers;
            let is_fresh_tls = !reused && self.speaks_tls();
            self.delivery = Some(Delivery::new(fd, headers, is_fresh_tls));
        }
        let Some(upstream) = &self.upstream else {
            return Ok(());
        };
        let settings = &upstream.settings;
        let waited = now.saturating_sub(self.began.unwrap_or(now));
        let left = settings
            .total_timeout
            .map(|total| total.saturating_sub(waited));
        // Pingora waits as long for the answer to a handshake as for what is said later.
        let handshake = (self.lease.as_ref())
            .filter(|_| upgrade)
            .and_then(|lease| lease.endpoint.peer.options.read_timeout);
        let bounds = settings.try_timeout.into_iter().chain(left);
        let Some(time) = bounds.chain(handshake).min() else {
            return Ok(());
        };
        self.wait.prepare(fd, time);
        if upgrade || session.is_body_empty() {
            self.wait.start();
        }
        Ok(())
    }

    /// A piece of the request's body goes on, the last one where it is the `end`.
    pub(crate) fn sent(&mut self, piece: &mut Option<Bytes>, end: bool) {
        self.body_went = true;
        if let Some(delivery) = &mut self.delivery {
            delivery.hand_on(piece, end);
        }
        if end {
            self.wait.start();
        }
    }

    /// A connection could not be made: nothing has been sent, so that any request may go elsewhere.
    pub(crate) fn failed_to_connect(&mut self, mut error: Box<Error>, now: Duration) -> Box<Error> {
        // A server that cannot prove who it is will not do so at the second try.
        let next = match is_refusal_of_tls(&error) {
            true => Next::Another,
            false => Next::Any,
        };
        // Having no sockets left is our own failure.
        let is_theirs = *error.etype() != ErrorType::InternalError;
        let retry = self.fail(is_theirs, next, now);
        error.set_retry(retry);
        error
    }

    /// An exchange broke off after a connection was there.
    pub(crate) fn failed_while_proxying(
        &mut self,
        session: &mut Session,
        mut error: Box<Error>,
        by: &Circumstances,
        now: Duration,
    ) -> Box<Error> {
        let expired = self.wait.disarm();
        if *error.esource() != ErrorSource::Upstream {
            error.set_retry(false);
            return error;
        }
        let Circumstances {
            reused,
            upgrade,
            has_begun,
        } = *by;
        if expired && !has_begun {
            // Cutting the connection off is how the wait ended.
            error.etype = ErrorType::ReadTimedout;
        }
        let is_whole = !session.as_ref().retry_buffer_truncated();
        let method = &session.req_header().method;
        let went_stale = !has_begun && self.went_stale(&error, reused);
        if went_stale && is_whole && self.may_go_again(&error, method) && !self.is_late(now) {
            self.afresh = true;
            error.set_retry(true);
            return error;
        }
        let unprocessed = !has_begun && was_not_processed(&error);
        let is_refused = *error.etype() == REFUSED_ANSWER || bound_hit(&error).is_some();
        let next = if has_begun || is_refused || !is_whole || !(unprocessed || is_safe(method)) {
            Next::None
        } else if unprocessed {
            Next::Any
        } else if is_timeout(&error) && !expired {
            // The longest silence has been waited for already.
            Next::None
        } else {
            Next::Another
        };
        // A kept connection may end at any time, and a long-lived one as its parties like.
        let is_expected = went_stale || unprocessed || is_refused || upgrade && has_begun;
        // An origin that has not got all of the request cannot answer it, and one that answers may
        // pause.
        let is_quiet = *error.etype() == ErrorType::ReadTimedout
            && !expired
            && (has_begun || !session.as_mut().is_body_done());
        let retry = self.fail(!is_expected && !is_quiet, next, now);
        error.set_retry(retry);
        error
    }

    /// The origin answers, or says something before it (1xx).
    pub(crate) fn answered(
        &mut self,
        session: &Session,
        response: &mut ResponseHeader,
        secure: bool,
        now: Duration,
    ) -> Result<()> {
        self.answered = true;
        let (Some(upstream), Some(lease)) = (&self.upstream, &self.lease) else {
            return Ok(());
        };
        // 1xx come before the answer; 101 is one.
        if response.status.is_informational() && response.status.as_u16() != 101 {
            return Ok(());
        }
        self.wait.disarm();
        if let Some(delivery) = &self.delivery {
            delivery.answered(response.status.is_success());
            if has_no_body(session, response) {
                delivery.is_over();
            }
        }
        let ejection = &upstream.settings.ejection;
        let health = &lease.endpoint.health;
        health.succeeded(now, ejection);
        let keeps = response
            .headers
            .get(&KEEP_ALIVE)
            .and_then(kept::keep_alive_secs);
        if let Some(secs) = keeps {
            health.keeps_for(secs);
        }
        match (&upstream.sticky, &lease.endpoint.cookie) {
            (Some(sticky), Some(value)) if !self.has_cookie => sticky.set(response, value, secure),
            _ => Ok(()),
        }
    }

    /// All of the answer has come.
    pub(crate) fn over(&self) {
        if let Some(delivery) = &self.delivery {
            delivery.is_over();
        }
    }

    /// Whether the time for all tries is over.
    fn is_late(&self, now: Duration) -> bool {
        let upstream = self.upstream.as_ref();
        let total = upstream.and_then(|upstream| upstream.settings.total_timeout);
        let began = self.began.unwrap_or(now);
        total.is_some_and(|total| now.saturating_sub(began) >= total)
    }

    /// Notes that the server failed; whether the request may be tried again.
    fn fail(&mut self, is_theirs: bool, next: Next, now: Duration) -> bool {
        let is_late = self.is_late(now);
        let (Some(upstream), Some(lease)) = (&self.upstream, &self.lease) else {
            return false;
        };
        if is_theirs {
            upstream.blame(&lease.endpoint, now);
            self.tried.push(lease.endpoint.key);
        }
        let retry = &upstream.settings.retry;
        let finds = match next {
            Next::Another => upstream.has_other_than(&self.tried),
            Next::Any => true,
            Next::None => false,
        };
        finds
            && !is_late
            && self.tries <= retry.most
            && upstream.learned.budget.spend(now, &retry.terms)
    }
}

fn is_refusal_of_tls(error: &Error) -> bool {
    use ErrorType::{HandshakeError, InvalidCert, TLSHandshakeFailure};
    matches!(
        error.etype(),
        HandshakeError | InvalidCert | TLSHandshakeFailure
    )
}

/// Whether the server has said that it did nothing with the request: by GOAWAY or REFUSED_STREAM
/// (RFC 9113 sections 6.8 and 8.7). Pingora decides to try again for no other reason: servers that
/// would have us speak HTTP/1 are none of ours.
fn was_not_processed(error: &Error) -> bool {
    matches!(error.retry, RetryType::Decided(true))
}

/// Which of Pingora's bounds the head of an answer went beyond: 256 fields, and 1 MiB. Neither can be
/// set, and the second one is recognised by its text alone.
pub(crate) fn bound_hit(error: &Error) -> Option<Reason> {
    if *error.etype() != ErrorType::InvalidHTTPHeader {
        return None;
    }
    let parsing = error.root_cause().downcast_ref::<httparse::Error>();
    if parsing == Some(&httparse::Error::TooManyHeaders) {
        return Some(Reason::UpstreamTooManyFields);
    }
    let context = error.context.as_ref()?.as_str();
    let is_large = context.starts_with("Response header larger than");
    is_large.then_some(Reason::UpstreamHeadTooLarge)
}

/// Whether the server ends its connection of HTTP/2.
fn is_go_away(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<h2::Error>();
    cause.is_some_and(h2::Error::is_go_away)
}

/// Whether a request may reach a second server after it may have reached a first one.
fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

fn is_broken_off(error: &Error) -> bool {
    use ErrorType::{ConnectionClosed, ReadError, WriteError};
    matches!(error.etype(), ConnectionClosed | ReadError | WriteError)
}

fn is_timeout(error: &Error) -> bool {
    use ErrorType::{ReadTimedout, WriteTimedout};
    matches!(error.etype(), ReadTimedout | WriteTimedout)
}

/// Whether the answer is over with its head (RFC 9112 section 6.3).
fn has_no_body(session: &Session, response: &ResponseHeader) -> bool {
    let length = response.headers.get(CONTENT_LENGTH);
    session.req_header().method == Method::HEAD
        || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&response.status)
        || length.is_some_and(|length| length == "0")
}

impl Attempt {
    /// Whether it was a kept connection that failed, before its server said anything.
    fn went_stale(&self, error: &Error, reused: bool) -> bool {
        let is_over = is_broken_off(error)
            // What was no answer had been there before the request.
            || *error.etype() == ErrorType::InvalidHTTPHeader && bound_hit(error).is_none()
            || was_not_processed(error) && is_go_away(error);
        self.unsent || reused && !self.answered && is_over
    }

    /// Whether a request whose kept connection was over may be sent over a fresh one.
    fn may_go_again(&self, error: &Error, method: &Method) -> bool {
        // A head that could not be written is none that an origin could act on.
        let head_failed = *error.etype() == ErrorType::WriteError && !self.body_went;
        self.unsent || head_failed || was_not_processed(error) || kept::may_repeat(method)
    }
}

impl Upstream {
    fn has_other_than(&self, tried: &Tried) -> bool {
        let table = self.table.load();
        table
            .endpoints
            .iter()
            .any(|endpoint| !tried.contains(endpoint.key))
    }

    /// What `consistent_hash` hashes of a request: the client where it has nothing else.
    fn hash_key(&self, request: &RequestHeader, client: Option<IpAddr>) -> Key {
        let settings = &self.settings;
        if settings.balance != crate::config::Balance::ConsistentHash {
            return Key::default();
        }
        let named = match &settings.hash {
            HashBy::Client => None,
            HashBy::Header(name) => request.headers.get(name).map(|value| value.as_bytes()),
            HashBy::Cookie(name) => cookie(&request.headers, name).map(str::as_bytes),
        };
        match (named, client) {
            (Some(named), _) => Key::of(named),
            (None, Some(IpAddr::V4(address))) => Key::of(&address.octets()),
            (None, Some(IpAddr::V6(address))) => Key::of(&address.octets()),
            (None, None) => Key::default(),
        }
    }
}
