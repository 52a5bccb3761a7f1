//! The slim end of a held client: an HTTP/1 connection or one stream of HTTP/2.
//!
//! Whatever ends it, the client is not to believe that it got a whole answer: chunks end without the
//! last one, HTTP/1.0 is promised more than it gets, and then comes a reset, on HTTP/2 one that says
//! that something failed.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use pingora::{
    http::ResponseHeader,
    protocols::{Stream, http::v2::server::HttpSession},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    edge::{Connection, H1Stream, OpenStream},
    exchange::Exchange,
    request_id::{REQUEST_ID, RequestId},
};

/// A client that takes in nothing for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a held client may send meanwhile; one that sends more is not held but used.
const MOST_DISCARDED: usize = 1 << 20;

/// The fields of the answer.
pub(super) type Fields = [(HeaderName, HeaderValue); 3];

/// Where the drip goes.
pub(super) enum Channel {
    /// HTTP/1: the connection is the client's alone.
    Connection {
        stream: Stream,
        framing: Framing,
        discarded: usize,
    },
    /// HTTP/2: the connection goes on beside it, and counts it as a request under way.
    Stream {
        session: Box<HttpSession>,
        _held: Option<OpenStream>,
    },
}

/// How the length of a body over HTTP/1 is announced.
#[derive(Debug, Clone, Copy)]
pub(super) enum Framing {
    /// By chunks, the last of which never comes.
    Chunked,
    /// By a length above all that is ever sent. HTTP/1.0 knows no chunks, and takes the end of the
    /// connection for the end of the body where nothing was promised.
    Promised(u64),
}

impl Channel {
    pub(super) fn connection(stream: Stream, framing: Framing, exchange: &Exchange) -> Self {
        if let Some(connection) = &exchange.connection {
            connection.hold();
        }
        if let Some(stream) = (*stream).as_any().downcast_ref::<H1Stream>() {
            stream.reset_at_the_end();
        }
        Self::Connection {
            stream,
            framing,
            discarded: 0,
        }
    }

    pub(super) fn stream(session: Box<HttpSession>, exchange: &Exchange) -> Self {
        let held = exchange.connection.as_ref().map(Connection::hold_stream);
        Self::Stream {
            session,
            _held: held,
        }
    }

    /// Sends the head of the answer; whether the client took it in.
    pub(super) async fn begin(&mut self, fields: Fields, id: RequestId) -> bool {
        match self {
            Self::Connection {
                stream, framing, ..
            } => write(stream, &head(&fields, id, *framing)).await,
            Self::Stream { session, .. } => match header(fields, id) {
                Ok(header) => session
                    .write_response_header(Box::new(header), false)
                    .is_ok(),
                Err(_) => false,
            },
        }
    }

    /// Sends a piece of the body; whether the client took it in.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Connection {
                stream,
                framing: Framing::Chunked,
                ..
            } => write(stream, &chunk(bytes)).await,
            Self::Connection { stream, .. } => write(stream, bytes).await,
            Self::Stream { session, .. } => {
                let sent = session.write_body(Bytes::copy_from_slice(bytes), false);
                matches!(timeout(WRITE_TIMEOUT, sent).await, Ok(Ok(())))
            }
        }
    }

    /// Breaks the answer off.
    pub(super) fn abort(mut self) {
        // A connection is reset when it is let go of.
        if let Self::Stream { session, .. } = &mut self {
            session.shutdown();
        }
    }

    /// Returns when the client has left, or sends more than it may.
    pub(super) async fn left(&mut self) {
        match self {
            Self::Connection {
                stream, discarded, ..
            } => {
                let mut scratch = [0; 64];
                while *discarded < MOST_DISCARDED {
                    match stream.read(&mut scratch).await {
                        Ok(count) if count > 0 => *discarded += count,
                        _ => return,
                    }
                }
            }
            Self::Stream { session, .. } => {
                // Whatever it says, the stream is over.
                let _ = session.idle().await;
            }
        }
    }
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> bool {
    let write = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    matches!(timeout(WRITE_TIMEOUT, write).await, Ok(Ok(())))
}

/// A chunk as it goes over the wire (RFC 9112 section 7.1).
fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    framed
}

fn header(fields: Fields, id: RequestId) -> pingora::Result<ResponseHeader> {
    let mut header = ResponseHeader::build_no_case(200, Some(fields.len() + 1))?;
    for (field, value) in fields {
        header.insert_header(field, value)?;
    }
    header.insert_header(REQUEST_ID, id.header_value())?;
    Ok(header)
}

/// The response header of HTTP/1, as Pingora would write it.
fn head(fields: &Fields, id: RequestId, framing: Framing) -> Vec<u8> {
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut head = String::from("HTTP/1.1 200 OK\r\n");
    for (field, value) in fields {
        let value = value.to_str().unwrap_or_default();
        head.push_str(&format!("{field}: {value}\r\n"));
    }
    // The form of RFC 9110 section 5.6.7.
    head.push_str(&format!(
        "date: {}\r\n",
        now.strftime("%a, %d %b %Y %H:%M:%S GMT")
    ));
    head.push_str(&format!("x-request-id: {id}\r\n"));
    head.push_str(&match framing {
        Framing::Chunked => "transfer-encoding: chunked\r\n\r\n".to_owned(),
        Framing::Promised(length) => {
            format!("content-length: {length}\r\nconnection: close\r\n\r\n")
        }
    });
    head.into_bytes()
}
