//! Requests whose body is still to come: nobody is asked at the origin before it has begun.
//!
//! An origin gives a request a worker as soon as it has its head, and a client that sends no more
//! would keep it for as long as a body may stand still.

use http::{
    Version,
    header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT},
};
use pingora::{Error, Result, http::RequestHeader, protocols::http::ServerSession, proxy::Session};

use crate::{edge, exchange::Exchange};

/// Waits for the first bytes of the request's body, which Pingora keeps for the origin as it does for
/// a second try. How long is the edge's business, as with all of the body.
pub async fn await_body(session: &mut Session, exchange: &mut Exchange) -> Result<()> {
    let client = session.as_downstream_mut();
    let begun = client.is_body_empty() || client.body_bytes_read() > 0;
    if begun || exchange.upgrade || may_answer_first(client.req_header(), exchange) {
        return Ok(());
    }
    invite(client, exchange).await?;
    client.enable_retry_buffering();
    edge::resume(None);
    loop {
        match client.read_request_body().await.map_err(Error::into_down)? {
            // Frames of HTTP/2 may be empty.
            Some(piece) if piece.is_empty() => {}
            _ => return Ok(()),
        }
    }
}

/// Whether the client may wait for the answer's head before it sends anything, as gRPC may with
/// streams both ways. It needs HTTP/2 all the way.
fn may_answer_first(header: &RequestHeader, exchange: &Exchange) -> bool {
    let upstream = exchange.site().map(|site| &site.upstream);
    header.version == Version::HTTP_2
        && upstream.is_some_and(|upstream| upstream.speaks_http2())
        && (!header.headers.contains_key(CONTENT_LENGTH) || is_grpc(header))
}

/// Whether the client says that it speaks gRPC.
pub(super) fn is_grpc(header: &RequestHeader) -> bool {
    let kind = header.headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Tells a client that waits for a `100 Continue` (RFC 9110 section 10.1.1) to go on: an origin may
/// never say so. nginx does the same.
async fn invite(client: &mut ServerSession, exchange: &mut Exchange) -> Result<()> {
    let header = client.req_header();
    // HTTP/1.0 knows none.
    let waits = header.headers.contains_key(EXPECT) && header.version >= Version::HTTP_11;
    if !waits || exchange.invited {
        return Ok(());
    }
    exchange.invited = true;
    // Pingora would close the connection behind any answer that comes before the body.
    client.set_close_on_response_before_downstream_finish(false);
    let written = client.write_continue_response().await;
    client.set_close_on_response_before_downstream_finish(true);
    written.map_err(Error::into_down)
}
