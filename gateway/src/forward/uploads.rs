//! Requests whose body is still to come: no origin is asked before it has begun, and before a
//! small one, such as a form, is there as a whole.
//!
//! An origin gives a request a worker as soon as it has its head, and a client that sends no more, or
//! little at a time, would keep it for as long as a body may last.

use bytes::Bytes;
use http::{
    Version,
    header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT},
};
use pingora::{Error, Result, http::RequestHeader, protocols::http::ServerSession, proxy::Session};

use crate::exchange::Exchange;

/// Bodies up to so many bytes are waited for as a whole. It is less than Pingora keeps, 64 KiB.
const GATHERED: u64 = 60 << 10;

/// Waits for the first bytes of the request's body, and for all of one that says that it is small. Pingora
/// keeps them for the origin as it does for a second try. How long is the edge's business, as with any
/// body.
pub(crate) async fn await_body(session: &mut Session, exchange: &mut Exchange) -> Result<()> {
    let client = session.as_downstream_mut();
    let begun = client.is_body_empty() || client.body_bytes_read() > 0;
    if begun || exchange.asked.upgrade || may_answer_first(client.req_header(), exchange) {
        return Ok(());
    }
    let small = length(client.req_header()).filter(|length| *length <= GATHERED);
    let wanted = small.unwrap_or(1);
    invite(client, exchange).await?;
    client.enable_retry_buffering();
    exchange.upload.resume(None);
    loop {
        let piece = client.read_request_body().await.map_err(Error::into_down)?;
        exchange
            .upload
            .received(piece.as_ref().map_or(0, Bytes::len));
        if piece.is_none() || client.body_bytes_read() as u64 >= wanted {
            return Ok(());
        }
    }
}

/// The length that a request's body is to have.
pub(super) fn length(header: &RequestHeader) -> Option<u64> {
    let length = header.headers.get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Whether the client may wait for the answer's head before it sends anything, as gRPC may with
/// streams both ways. It needs HTTP/2 all the way.
fn may_answer_first(header: &RequestHeader, exchange: &Exchange) -> bool {
    let upstream = exchange.upstream();
    header.version == Version::HTTP_2
        && upstream.is_some_and(|upstream| upstream.speaks_http2())
        && (!header.headers.contains_key(CONTENT_LENGTH) || is_grpc(header))
}

/// Whether the client says that it speaks gRPC.
pub(super) fn is_grpc(header: &RequestHeader) -> bool {
    let kind = header.headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Sends `100 Continue` to a client that waits for it (RFC 9110 section 10.1.1): an origin may
/// never say so. nginx does the same.
async fn invite(client: &mut ServerSession, exchange: &mut Exchange) -> Result<()> {
    let header = client.req_header();
    // HTTP/1.0 knows none.
    let waits = header.headers.contains_key(EXPECT) && header.version >= Version::HTTP_11;
    if !waits || exchange.origin.invited {
        return Ok(());
    }
    exchange.origin.invited = true;
    // Pingora would close the connection behind any answer that comes before the body.
    client.set_close_on_response_before_downstream_finish(false);
    let written = client.write_continue_response().await;
    client.set_close_on_response_before_downstream_finish(true);
    written.map_err(Error::into_down)
}
