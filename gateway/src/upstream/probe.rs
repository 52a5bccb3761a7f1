//! Requests of our own to servers, over the same kind of connection that clients' requests take:
//! same addresses, same TLS, same version of HTTP, but never the same connection.

use std::sync::OnceLock;

use http::{HeaderMap, HeaderName, Uri, header};
use pingora::{
    Error, ErrorType, OrErr, Result,
    connectors::{ConnectorOptions, TransportConnector, http::Connector},
    http::RequestHeader,
    protocols::http::client::HttpSession,
    upstreams::peer::HttpPeer,
};
use tokio::task::spawn_blocking;

use super::tls::connector_ca_file;

/// Asks servers.
pub(super) struct Probe {
    http: Connector,
    transport: TransportConnector,
}

/// A request of our own.
pub(crate) struct Asked<'a> {
    /// Host, with its port where it names one.
    pub authority: &'a str,
    /// Path, and query.
    pub target: &'a str,
    /// Fields beside those of every request of ours.
    pub fields: &'a [(HeaderName, &'a str)],
    /// Bytes of the answer's body that are read at most.
    pub most_bytes: usize,
}

/// A server's answer to a request of our own.
pub(crate) struct ProbeReply {
    pub status: u16,
    pub fields: HeaderMap,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

impl Probe {
    /// The one of this process, ready when the system's authorities have been read.
    pub(super) async fn ready() -> &'static Self {
        static PROBE: OnceLock<Probe> = OnceLock::new();
        // Reading them takes milliseconds, which requests are not to wait for.
        let made = spawn_blocking(|| PROBE.get_or_init(Self::new)).await;
        made.unwrap_or_else(|_| PROBE.get_or_init(Self::new))
    }

    fn new() -> Self {
        let mut options = ConnectorOptions::new(1);
        options.ca_file = connector_ca_file();
        Self {
            http: Connector::new(Some(options.clone())),
            transport: TransportConnector::new(Some(options)),
        }
    }

    /// Connects, with the TLS handshake where there is one, and leaves again.
    pub(super) async fn connect(&self, peer: &HttpPeer) -> Result<()> {
        self.transport.new_stream(peer).await.map(drop)
    }

    /// Asks for something, and reads the beginning of the answer.
    pub(super) async fn get(&self, peer: &HttpPeer, asked: &Asked<'_>) -> Result<ProbeReply> {
        let mut peer = peer.clone();
        // Then nothing else shares the connection, and it ends with the answer.
        peer.options.max_h2_streams = 1;
        let (mut session, _) = self.http.get_http_session(&peer).await?;
        let request = request(&session, peer.is_tls(), asked)?;
        session.write_request_header(Box::new(request)).await?;
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let head = session.response_header();
        let mut reply = ProbeReply {
            status: head.map_or(0, |head| head.status.as_u16()),
            fields: head.map(|head| head.headers.clone()).unwrap_or_default(),
            body: Vec::new(),
        };
        while reply.body.len() < asked.most_bytes
            && let Some(bytes) = session.read_response_body().await?
        {
            let room = asked.most_bytes - reply.body.len();
            reply
                .body
                .extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        session.shutdown().await;
        Ok(reply)
    }
}

fn request(session: &HttpSession, secure: bool, asked: &Asked<'_>) -> Result<RequestHeader> {
    let mut request = RequestHeader::build("GET", asked.target.as_bytes(), Some(8))?;
    request.insert_header(header::USER_AGENT, "thornwall")?;
    request.insert_header(header::ACCEPT, "*/*")?;
    for (name, value) in asked.fields {
        request.insert_header(name, *value)?;
    }
    if session.as_http2().is_none() {
        request.insert_header(header::HOST, asked.authority)?;
        request.insert_header(header::CONNECTION, "close")?;
        return Ok(request);
    }
    let scheme = if secure { "https" } else { "http" };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(asked.authority)
        .path_and_query(asked.target)
        .build()
        .or_err(ErrorType::InvalidHTTPHeader, "a request of our own")?;
    request.set_uri(uri);
    request.set_version(http::Version::HTTP_2);
    Ok(request)
}

/// An error of our own.
pub(super) fn failed(what: impl Into<String>) -> Box<Error> {
    let what: String = what.into();
    Error::explain(ErrorType::UnknownError, what)
}
