//! From answers to bytes: the only code that writes a response of our own, once a request could be read.
//!
//! An answer reflects nothing that the client sent, and does not say why it was refused. What form
//! it has is decided in `form`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Uri, header, uri::PathAndQuery};
use pingora::{
    Error, ErrorSource, ErrorType, Result, http::ResponseHeader, protocols::http::ServerSession,
    proxy::Session,
};
use thornwall_detectors::signal::Reason;
use thornwall_filters::verdict::{self, Denial, Limit, Refusal};

use crate::{
    edge,
    exchange::{Exchange, has_begun},
    request_id::{OWN_REQUEST_ID, REQUEST_ID},
    robots::RobotsFile,
    state::State,
    upstream::{
        self,
        attempt::{REFUSED_ANSWER, bound_hit},
    },
};

mod channel;
mod detach;
mod drain;
mod form;
mod tarpit;

/// When a client is to come back that would have been held, had it asked for a page: soon enough
/// that a delivery or an installation goes on by itself, too late for a crawl to get on.
const RETRY_AFTER_TARPIT: Duration = Duration::from_secs(30);

/// An answer of the gateway's own.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A refusal by the pipeline.
    Deny(Denial),
    /// A redirect to the same address under HTTPS.
    RedirectToHttps,
    /// A short refusal with this status of a request that goes to no origin: what follows on its
    /// connection may be part of it.
    Refuse(u16, Reason),
    /// The host's robots.txt.
    Robots(Arc<RobotsFile>),
    /// A slow stream of worthless text.
    Tarpit(Reason),
}

impl From<verdict::Answer> for Answer {
    fn from(answer: verdict::Answer) -> Self {
        match answer {
            verdict::Answer::Deny(denial) => Self::Deny(denial),
            verdict::Answer::Tarpit(reason) => Self::Tarpit(reason),
        }
    }
}

impl Answer {
    /// Why the answer is ours; nothing where it is what was asked for.
    const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Deny(denial) => Some(denial.reason),
            Self::RedirectToHttps => Some(Reason::TlsRedirect),
            Self::Refuse(_, reason) | Self::Tarpit(reason) => Some(*reason),
            Self::Robots(_) => None,
        }
    }
}

/// Sends an answer: the one way for all of them. `true`, as Pingora wants it of requests that are
/// answered.
pub(crate) async fn send(
    session: &mut Session,
    exchange: &mut Exchange,
    answer: Answer,
    state: &State,
) -> Result<bool> {
    exchange.own.reason = answer.reason();
    match answer {
        Answer::Deny(denial) => deny(session, exchange, denial).await?,
        Answer::RedirectToHttps => {
            session.set_keepalive(None);
            redirect_to_https(session, exchange).await?;
        }
        Answer::Refuse(status, _) => {
            session.set_keepalive(None);
            refuse(session, exchange, status).await?;
        }
        Answer::Robots(file) => robots(session, exchange, &file).await?,
        Answer::Tarpit(reason) => hold(session, exchange, reason, state).await?,
    }
    Ok(true)
}

/// Holds a client that can be held, and refuses the others.
async fn hold(
    session: &mut Session,
    exchange: &mut Exchange,
    reason: Reason,
    state: &State,
) -> Result<()> {
    let denial = if !form::may_hold(session) {
        state.metrics.tarpit.refused.inc();
        Denial {
            reason,
            refusal: Refusal::Busy(429, RETRY_AFTER_TARPIT),
        }
    } else if tarpit::hold(session, exchange, state).await? {
        exchange.own.held = Some(true);
        return Ok(());
    } else {
        exchange.own.reason = Some(Reason::TarpitFull);
        Denial::forbidden(Reason::TarpitFull)
    };
    exchange.own.held = Some(false);
    deny(session, exchange, denial).await
}

async fn deny(session: &mut Session, exchange: &Exchange, denial: Denial) -> Result<()> {
    match denial.refusal {
        Refusal::Forbidden => refuse(session, exchange, 403).await,
        Refusal::Busy(status, retry_after) => {
            let (mut response, body) = form::refusal(session, exchange, status)?;
            add_retry_after(&mut response, retry_after)?;
            write(session, response, body).await
        }
        Refusal::Limited(limit) => {
            let (mut response, body) = form::refusal(session, exchange, 429)?;
            add_rate_limit(&mut response, &limit)?;
            write(session, response, body).await
        }
    }
}

/// A short answer with `status`.
async fn refuse(session: &mut Session, exchange: &Exchange, status: u16) -> Result<()> {
    let (response, body) = form::refusal(session, exchange, status)?;
    write(session, response, body).await
}

/// A robots.txt, or that the client has it already (RFC 9110 section 13.1.2).
async fn robots(session: &mut Session, exchange: &Exchange, file: &RobotsFile) -> Result<()> {
    let known = session.req_header().headers.get_all(header::IF_NONE_MATCH);
    let known = known.iter().filter_map(|value| value.to_str().ok());
    let own = file.etag.to_str().unwrap_or_default();
    let is_own = |tag: &str| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == own;
    let has_it = known
        .flat_map(|list| list.split(','))
        .any(|tag| is_own(tag.trim()));
    let mut response = ResponseHeader::build_no_case(if has_it { 304 } else { 200 }, Some(6))?;
    response.insert_header(header::ETAG, file.etag.clone())?;
    response.insert_header(header::CACHE_CONTROL, HeaderValue::from_static(ROBOTS_AGE))?;
    add_own_headers(&mut response, exchange)?;
    if has_it {
        session
            .write_response_header(Box::new(response), true)
            .await?;
        return Ok(());
    }
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.insert_header(header::CONTENT_TYPE, plain)?;
    response.insert_header(header::CONTENT_LENGTH, file.text.len())?;
    write(session, response, file.text.clone()).await
}

/// How long a client may keep the file: as long as we do before it is read again.
const ROBOTS_AGE: &str = "max-age=300";

/// Sends the client on to the same address under HTTPS.
async fn redirect_to_https(session: &mut Session, exchange: &Exchange) -> Result<()> {
    let Some(place) = https_address(&session.req_header().uri, exchange) else {
        return refuse(session, exchange, 400).await;
    };
    let (mut response, body) = form::refusal(session, exchange, 308)?;
    response.insert_header(header::LOCATION, place)?;
    write(session, response, body).await
}

/// The host is one that a site serves, and the target is as it came, without what would end the
/// field. Who named no host cannot be sent anywhere.
fn https_address(target: &Uri, exchange: &Exchange) -> Option<HeaderValue> {
    let host = Some(&exchange.asked.host).filter(|host| !host.is_empty())?;
    let port = match exchange.generation.tls.https_port() {
        None | Some(443) => String::new(),
        Some(port) => format!(":{port}"),
    };
    let path = target.path_and_query().map_or("/", PathAndQuery::as_str);
    let path = if path.starts_with('/') { path } else { "/" };
    HeaderValue::try_from(format!("https://{host}{port}{path}")).ok()
}

/// Writes the request's id into a response, beside the origin's own where it has one, and what the site asks of all its clients.
pub(crate) fn add_own_headers(response: &mut ResponseHeader, exchange: &Exchange) -> Result<()> {
    let hsts = exchange.site().and_then(|site| site.tls.hsts.as_ref());
    // In clear text anybody could have written it (RFC 6797 section 7.2).
    if let Some(hsts) = hsts.filter(|_| exchange.asked.secure) {
        response.insert_header(header::STRICT_TRANSPORT_SECURITY, hsts.clone())?;
    }
    let own = exchange.id.header_value();
    match response.headers.get(&REQUEST_ID) {
        None => response.insert_header(REQUEST_ID, own),
        Some(id) if *id == own => {
            // Else the id of another gateway behind us would be taken for ours.
            response.remove_header(&OWN_REQUEST_ID);
            Ok(())
        }
        Some(_) => response.insert_header(OWN_REQUEST_ID, own),
    }
}

/// Answers a client whose origin failed, and notes why. The status, or 0 where the client is gone.
pub(crate) async fn explain_failure(
    session: &mut Session,
    exchange: &mut Exchange,
    error: &Error,
) -> u16 {
    let Some((status, reason)) = classify(error) else {
        return 0;
    };
    exchange.own.reason = reason.or(exchange.own.reason);
    log::debug!("request failed; id={} error={error}", exchange.id);
    if has_begun(session) {
        return status;
    }
    session.set_keepalive(None);
    match refuse(session, exchange, status).await {
        Ok(()) => exchange.own.explained = true,
        Err(error) => log::debug!(
            "error page could not be sent; id={} error={error}",
            exchange.id
        ),
    }
    status
}

/// Lets a client that still sends read its answer. Pingora would only let go of a connection whose
/// failure was explained, and of a stream whose body was not wanted.
pub(crate) async fn close_after_error_page(
    session: &mut Session,
    exchange: &Exchange,
    failed: bool,
    state: &State,
) {
    match session.as_downstream_mut() {
        // An answer that broke off is shown by a reset at once.
        _ if failed && !exchange.own.explained => {}
        ServerSession::H2(stream) => drain::stream(stream, &exchange.upload, state).await,
        connection if failed => connection.shutdown().await,
        _ => {}
    }
}

/// Status and reason of a failure; `None` where the client itself went away.
fn classify(error: &Error) -> Option<(u16, Option<Reason>)> {
    use ErrorType::{
        ConnectRefused, ConnectTimedout, ConnectionClosed, HTTPStatus, HandshakeError, InvalidCert,
        InvalidHTTPHeader, ReadError, ReadTimedout, TLSHandshakeFailure, TLSHandshakeTimedout,
        WriteError,
    };
    match (error.esource(), error.etype()) {
        (_, HTTPStatus(413)) => Some((413, Some(Reason::RequestBodyTooLarge))),
        (_, HTTPStatus(status)) => {
            let refusal = error.root_cause().downcast_ref::<upstream::Refusal>();
            Some((*status, refusal.map(|refusal| refusal.reason())))
        }
        (ErrorSource::Upstream, ConnectTimedout | ReadTimedout) => {
            Some((504, Some(Reason::UpstreamTimeout)))
        }
        (
            ErrorSource::Upstream,
            HandshakeError | InvalidCert | TLSHandshakeFailure | TLSHandshakeTimedout,
        ) => Some((502, Some(Reason::UpstreamTlsFailed))),
        (ErrorSource::Upstream, kind) if is_connect(kind) || *kind == ConnectRefused => {
            Some((502, Some(Reason::UpstreamConnectFailed)))
        }
        (ErrorSource::Upstream, kind) if *kind == REFUSED_ANSWER => {
            Some((502, Some(Reason::UpstreamAnswerInvalid)))
        }
        (ErrorSource::Upstream, InvalidHTTPHeader) => {
            let reason = bound_hit(error).unwrap_or(Reason::UpstreamFailed);
            Some((502, Some(reason)))
        }
        (ErrorSource::Upstream, _) => Some((502, Some(Reason::UpstreamFailed))),
        (ErrorSource::Downstream, ReadError) if edge::is_malformed(error.root_cause()) => {
            Some((400, Some(Reason::RequestFramingInvalid)))
        }
        (ErrorSource::Downstream, WriteError | ReadError | ConnectionClosed) => None,
        (ErrorSource::Downstream, ReadTimedout) => Some((408, None)),
        (ErrorSource::Downstream, _) => Some((400, None)),
        _ => Some((500, None)),
    }
}

const fn is_connect(kind: &ErrorType) -> bool {
    use ErrorType::{ConnectError, ConnectNoRoute, ConnectProxyFailure, SocketError};
    matches!(
        kind,
        ConnectError | ConnectNoRoute | ConnectProxyFailure | SocketError
    )
}

/// The fields of draft-ietf-httpapi-ratelimit-headers-10, and `Retry-After`.
fn add_rate_limit(response: &mut ResponseHeader, limit: &Limit) -> Result<()> {
    let seconds = add_retry_after(response, limit.retry_after)?;
    // Rounded up: a shorter one would promise more than there is.
    let window = limit.window.as_millis().div_ceil(1000).max(1);
    let policy = format!("\"default\";q={};w={window}", limit.burst);
    response.insert_header("ratelimit-policy", policy)?;
    let left = format!("\"default\";r={};t={seconds}", limit.remaining);
    response.insert_header("ratelimit", left)
}

/// When to come back, RFC 9110 section 10.2.3; the seconds that were sent.
fn add_retry_after(response: &mut ResponseHeader, retry_after: Duration) -> Result<u128> {
    let seconds = retry_after.as_millis().div_ceil(1000).max(1);
    response.insert_header(header::RETRY_AFTER, seconds.to_string())?;
    Ok(seconds)
}

async fn write(session: &mut Session, response: ResponseHeader, body: Bytes) -> Result<()> {
    let bodiless = body.is_empty() || form::is_bodiless(session);
    match session.as_downstream_mut() {
        // Pingora would end the stream with an empty frame of data, which no client of gRPC takes
        // for a head with trailers.
        ServerSession::H2(stream) if bodiless => {
            return stream.write_response_header(Box::new(response), true);
        }
        _ => {}
    }
    session
        .write_response_header(Box::new(response), bodiless)
        .await?;
    if !bodiless {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Duration, Limit, ResponseHeader, add_rate_limit};

    #[test]
    fn a_policy_promises_no_more_than_there_is() {
        let check = |millis: u64, expected: &str| {
            let mut response = ResponseHeader::build(429, None).unwrap();
            let limit = Limit {
                burst: 19,
                remaining: 0,
                window: Duration::from_millis(millis),
                retry_after: Duration::from_millis(100),
            };
            add_rate_limit(&mut response, &limit).unwrap();
            assert_eq!(response.headers["ratelimit-policy"], expected);
            assert_eq!(response.headers["ratelimit"], "\"default\";r=0;t=1");
        };
        check(1900, "\"default\";q=19;w=2");
        check(2000, "\"default\";q=19;w=2");
        check(1, "\"default\";q=19;w=1");
    }
}
