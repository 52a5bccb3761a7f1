//! HTTP/2: many requests at once on one connection.

use std::sync::Arc;

use bytes::Bytes;
use pingora::{
    http::ResponseHeader,
    protocols::{
        Digest, Stream,
        http::{
            ServerSession,
            v2::server::{H2Accept, H2Options, HttpSession, default_h2_options, handshake},
        },
        raw_connect::ProxyDigest,
    },
};
use tokio::select;

use super::{
    Edge,
    connection::{Connection, OpenStream},
    h2_frames,
    h2_stream::H2Stream,
    head::safe_uri,
    stall,
    transport::Transport,
    watch::Phase,
    windows,
};
use crate::{
    ending::Ending,
    limits::{Limits, Tick},
    unread,
    upstream::watched,
};

/// Bytes of one answer that wait for its client, beside the piece that Pingora holds: a client may
/// leave a hundred answers unread at once, and h2 would keep 400 KiB of each.
const SEND_BUFFER: usize = 64 << 10;

/// Streams that were reset before they were looked at; more is a reset flood (CVE-2023-44487).
const PENDING_RESETS: usize = 20;

/// Requests that were answered with an error before any hook; more end the connection.
const MOST_REJECTED: u32 = 32;

/// Milliseconds in which a client that was sent GOAWAY may still begin requests: what crossed the
/// frame on its way (RFC 9113 section 6.8).
const FAREWELL: Tick = 2000;

/// Serves a connection to its end.
pub(super) async fn serve(edge: &Arc<Edge>, transport: Transport) {
    let connection = Arc::clone(transport.connection());
    let limits = edge.limits();
    connection.enter(Phase::Preface);
    let stream = H2Stream::new(
        transport,
        h2_frames::Limits::for_heads_of(limits.max_header_bytes),
        edge.metrics.clone(),
    );
    let accepting = handshake(Box::new(stream), Some(options(&limits)));
    let (Ok(mut requests), Some(digest)) = (accepting.await, digest(&connection)) else {
        return;
    };
    let mut retire = connection.retirement();
    let (mut served, mut rejected, mut leaving, mut wide) = (0, 0, None, None);
    loop {
        let accepted = select! {
            biased;
            _ = retire.wait_for(|retired| *retired), if leaving.is_none() => {
                requests.graceful_shutdown();
                leaving = Some(connection.clock().now());
                continue;
            }
            () = connection.upload_goes_on(), if wide.is_none() => {
                wide = Some(widen(edge, &connection, &mut requests));
                continue;
            }
            accepted = HttpSession::from_h2_conn(&mut requests, Arc::clone(&digest)) => accepted,
        };
        let mut session = match accepted {
            Ok(Some(H2Accept::Session(session))) => session,
            Ok(Some(H2Accept::Rejected)) if rejected < MOST_REJECTED => {
                rejected += 1;
                continue;
            }
            Ok(Some(H2Accept::Rejected)) => return edge.end(&connection, Ending::H2Abuse),
            Ok(None) => return,
            Err(error) if is_abuse(&error) => return edge.end(&connection, Ending::H2Abuse),
            Err(_) => return,
        };
        if leaving.is_some_and(|since| connection.clock().now().wrapping_sub(since) > FAREWELL) {
            // The client reads nothing: what is under way ends, and nothing begins.
            if connection.watch.is_without_streams() {
                return edge.end(&connection, Ending::Age);
            }
            continue;
        }
        served += 1;
        if served >= limits.max_requests {
            connection.retire();
        }
        if let Some(uri) = safe_uri(&session.req_header().uri) {
            session.req_header_mut().set_uri(uri);
        }
        spawn(edge, &connection, session);
    }
}

/// Wide windows for a client whose upload goes on, where there is a permit.
fn widen(
    edge: &Edge,
    connection: &Connection,
    requests: &mut h2::server::Connection<Stream, Bytes>,
) -> Option<windows::WidePermit> {
    let permit = edge.windows.enter(connection)?;
    requests.set_target_window_size(windows::WIDE_CONNECTION);
    // Refused only before the client acknowledges settings, as it has by now.
    let _ = requests.set_initial_window_size(windows::WIDE);
    Some(permit)
}

/// Whether it was the client's frames that ended the connection (RFC 9113 section 5.4.1), and not
/// its leaving.
fn is_abuse(error: &pingora::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<h2::Error>();
    cause.is_some_and(h2::Error::is_library)
}

/// Task `request`: one request of an HTTP/2 connection. It ends with the request, or when its body
/// stalls.
fn spawn(edge: &Arc<Edge>, connection: &Arc<Connection>, session: HttpSession) {
    let under_way = OpenStream::enter(connection);
    let edge = Arc::clone(edge);
    let has_body = !session.is_body_done();
    tokio::spawn(async move {
        let _under_way = under_way;
        let session = ServerSession::new_http2(session);
        let exchange = watched(edge.app.serve(session, &edge.state.shutdown));
        let exchange = async {
            if has_body {
                stall::guard(&edge, exchange).await;
            } else {
                exchange.await;
            }
        };
        if !unread::guard(exchange).await {
            edge.metrics.stream_reset(Ending::Unread);
        }
    });
}

/// What Pingora hands to every request of a connection: here, the connection itself.
fn digest(connection: &Arc<Connection>) -> Option<Arc<Digest>> {
    // A digest carries a proxy's answer; there was none.
    let nothing = ResponseHeader::build_no_case(200, Some(0)).ok()?;
    let carried = ProxyDigest::new(Box::new(nothing), Some(Box::new(Arc::clone(connection))));
    Some(Arc::new(Digest {
        proxy_digest: Some(Arc::new(carried)),
        ..Digest::default()
    }))
}

fn options(limits: &Limits) -> H2Options {
    let mut options = default_h2_options();
    let header_bytes = u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX);
    options
        .max_header_list_size(header_bytes)
        .max_concurrent_streams(limits.max_streams)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_send_buffer_size(SEND_BUFFER)
        .initial_window_size(windows::STREAM)
        .initial_connection_window_size(windows::CONNECTION);
    options
}
