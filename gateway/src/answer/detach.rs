//! Taking a connection out of Pingora's hands.
//!
//! A request that Pingora drives costs some 30 KiB for as long as it lasts, mostly its future. So
//! the stream is taken out of the session, a used-up stand-in takes its place, Pingora ends the
//! request, and what holds the connection afterwards is as slim as its own task.

use std::{io::Cursor, mem::replace};

use pingora::{
    Error, ErrorType, OrErr, Result,
    protocols::{Stream, http::ServerSession},
    proxy::Session,
};

/// The connection of an HTTP/1 request that has had no answer yet. Afterwards the session holds
/// the same request on a connection that leads nowhere, so that the hooks that follow still work.
pub(super) async fn detach(session: &mut Session) -> Result<Stream> {
    let raw = session.as_downstream().to_h1_raw().to_vec();
    let mut stand_in = ServerSession::new_http1(Box::new(Cursor::new(raw)));
    stand_in.read_request().await.or_err(
        ErrorType::InternalError,
        "a request that was read once is read again",
    )?;
    stand_in.set_keepalive(None);
    match replace(session.as_downstream_mut(), stand_in) {
        ServerSession::H1(session) => Ok(session.into_inner()),
        other => {
            *session.as_downstream_mut() = other;
            Error::e_explain(
                ErrorType::InternalError,
                "only HTTP/1 connections can be detached",
            )
        }
    }
}
