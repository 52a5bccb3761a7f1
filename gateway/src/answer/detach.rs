//! Taking a request's channel to its client out of Pingora's hands.
//!
//! A request that Pingora drives costs some 30 KiB for as long as it lasts, mostly its future. So
//! the channel is taken out of the session, a used-up stand-in takes its place, Pingora ends the
//! request, and what holds the client afterwards is as slim as its own task.

use std::{io::Cursor, mem::replace};

use pingora::{
    Error, ErrorType, OrErr, Result,
    protocols::{
        Stream,
        http::{ServerSession, v2::server::HttpSession},
    },
    proxy::Session,
};

/// A client that awaits its answer.
pub(super) enum Detached {
    /// The whole HTTP/1 connection.
    Connection(Stream),
    /// A stream of an HTTP/2 connection.
    Stream(Box<HttpSession>),
}

/// The channel of a request that has had no answer yet. Afterwards the session holds the same
/// request on a connection that leads nowhere, so that the hooks that follow still work.
pub(super) async fn detach(session: &mut Session) -> Result<Detached> {
    let raw = if session.as_downstream().is_http2() {
        head_of_http2(session)
    } else {
        session.as_downstream().to_h1_raw().to_vec()
    };
    let mut stand_in = ServerSession::new_http1(Box::new(Cursor::new(raw)));
    stand_in.read_request().await.or_err(
        ErrorType::InternalError,
        "a request that was read once is read again",
    )?;
    stand_in.set_keepalive(None);
    match replace(session.as_downstream_mut(), stand_in) {
        ServerSession::H1(session) => Ok(Detached::Connection(session.into_inner())),
        ServerSession::H2(session) => Ok(Detached::Stream(Box::new(session))),
        other => {
            *session.as_downstream_mut() = other;
            Error::e_explain(ErrorType::InternalError, "no channel of a client")
        }
    }
}

/// What is recorded of a request, as a head of HTTP/1: method, path and user agent.
fn head_of_http2(session: &Session) -> Vec<u8> {
    let request = session.req_header();
    let path = request.uri.path();
    let mut head = format!("{} {path} HTTP/1.1\r\nhost: -\r\n", request.method).into_bytes();
    if let Some(agent) = request.headers.get(http::header::USER_AGENT) {
        head.extend_from_slice(b"user-agent: ");
        head.extend_from_slice(agent.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}
