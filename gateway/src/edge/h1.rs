//! HTTP/1: one request after the other, each head read and judged by us before Pingora sees it.
//!
//! Between two requests there is no request future and no buffer: an idle connection costs its
//! socket, its facts and this loop.

use std::{future::poll_fn, io, sync::Arc};

use bytes::BytesMut;
use jiff::Timestamp;
use pingora::protocols::{Stream, http::ServerSession};
use thornwall_detectors::signal::Reason;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    Edge,
    connection::Connection,
    h1_stream::H1Stream,
    head::{HeadLimits, Refusal, Scan, judge, scan},
    linger::{LINGER, MOST_DISCARDED, SILENCE},
    watch::Phase,
};
use crate::{
    ending::Ending,
    record::{Ended, RefusedHead},
    refusal::raw,
    request_id::RequestId,
    upstream::watched,
};

/// Room for the head of a browser's request with a few cookies; longer ones grow it.
const HEAD_BUFFER: usize = 2048;

/// Serves a connection to its end.
pub(super) async fn serve(edge: &Arc<Edge>, stream: H1Stream) {
    let connection = Arc::clone(stream.connection());
    let mut stream = Box::new(stream);
    let mut served = 0;
    loop {
        let limits = edge.limits();
        let allowed = HeadLimits {
            max_bytes: limits.max_header_bytes,
            max_fields: limits.max_headers,
        };
        let length = match next_head(&mut stream, &connection, &allowed, served > 0).await {
            Ok(Some(length)) => length,
            Ok(None) => return,
            Err(refusal) => return refuse(edge, *stream, &[], refusal).await,
        };
        let head = stream.ahead.split_to(length);
        let judged = match judge(&head, &allowed) {
            Ok(judged) => judged,
            Err(refusal) => return refuse(edge, *stream, &head, refusal).await,
        };
        stream.begin(judged.framing);
        connection.enter(Phase::Request);
        served += 1;
        let old = connection.watch.is_old(connection.clock().now(), &limits);
        if old {
            edge.metrics.closed(Ending::Age);
        }
        let last = old || served >= limits.max_requests;
        match exchange(edge, stream, judged.safe(head), last).await {
            Some(reusable) => stream = reusable,
            None => return,
        }
    }
}

/// Hands one request to Pingora; the connection, where it can carry another.
async fn exchange(
    edge: &Edge,
    stream: Box<H1Stream>,
    head: BytesMut,
    last: bool,
) -> Option<Box<H1Stream>> {
    let stream: Stream = stream;
    let mut session = ServerSession::new_http1(stream);
    session.set_pipelined_prefix(head);
    // The watch bounds all of this, without a timer per read.
    session.set_read_timeout(None);
    session.set_keepalive_reuses_remaining(Some(u32::from(!last)));
    let exchange = edge.app.serve(session, &edge.state.shutdown);
    let reused = watched(exchange).await?;
    let (stream, _) = reused.consume();
    let mut stream = stream.into_any().downcast::<H1Stream>().ok()?;
    stream.slim();
    stream.is_between_requests().then_some(stream)
}

/// Waits for a request and reads its head. The head's length in what is ahead; `None` where the
/// connection is over.
async fn next_head(
    stream: &mut H1Stream,
    connection: &Connection,
    limits: &HeadLimits,
    reused: bool,
) -> Result<Option<usize>, Refusal> {
    if stream.ahead.is_empty() {
        connection.enter(if reused { Phase::Idle } else { Phase::Head });
        let readable = poll_fn(|context| stream.poll_readable(context)).await;
        if readable.is_err() {
            return ended(connection);
        }
    }
    if reused {
        connection.enter(Phase::Head);
    }
    let mut scanned = 0;
    loop {
        if !stream.ahead.is_empty()
            && let Scan::Complete(length) = scan(&stream.ahead, &mut scanned, limits)?
        {
            return Ok(Some(length));
        }
        match read_ahead(stream).await {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(_) => return ended(connection),
        }
    }
}

async fn read_ahead(stream: &mut H1Stream) -> io::Result<usize> {
    stream.ahead.reserve(HEAD_BUFFER);
    poll_fn(|context| stream.poll_read_ahead(context)).await
}

/// A slow head is answered with 408 (RFC 9110 section 15.5.9); other clients have left, or get no
/// answer.
fn ended(connection: &Connection) -> Result<Option<usize>, Refusal> {
    match connection.watch.ending() {
        Some(Ending::HeaderTimeout) => Err(Refusal {
            status: 408,
            reason: Reason::RequestHeadTimeout,
        }),
        _ => Ok(None),
    }
}

/// Answers a client with why its request was not understood, and ends the connection: what follows
/// on it cannot be distinguished from more of the same request.
async fn refuse(edge: &Edge, mut stream: H1Stream, head: &[u8], refusal: Refusal) {
    let connection = Arc::clone(stream.connection());
    let id = RequestId::fresh();
    edge.state.conclude(Ended::refused(&RefusedHead {
        id,
        client: Some(connection.client()),
        line: if head.is_empty() { &stream.ahead } else { head },
        status: refusal.status,
        reason: refusal.reason,
        took: connection.in_phase(),
        generation: edge.state.generation.load().number,
    }));
    connection.watch.pardon();
    connection.hold();
    let is_head = head.starts_with(b"HEAD ") || stream.ahead.starts_with(b"HEAD ");
    let bytes = raw::refusal(refusal.status, &id, Timestamp::now(), is_head);
    let farewell = async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await?;
        linger(&mut stream).await
    };
    // Who does not take it in loses it.
    let _ = timeout(LINGER, farewell).await;
}

/// Reads leftovers away: closing a socket with unread bytes resets it, and the answer is lost.
async fn linger(stream: &mut H1Stream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    let mut read = 0;
    while read < MOST_DISCARDED {
        match timeout(SILENCE, stream.read(&mut buffer)).await?? {
            0 => break,
            bytes => read += bytes,
        }
    }
    Ok(())
}
