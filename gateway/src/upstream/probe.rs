//! Requests of our own to servers, over the same kind of connection that clients' requests take:
//! same addresses, same TLS, same version of HTTP, but never the same connection.

use std::sync::OnceLock;

use http::{Uri, header};
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

/// What a server said.
pub struct Told {
    /// Status.
    pub status: u16,
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

    /// Asks for a path, and reads at most so many bytes of the answer.
    pub(super) async fn get(
        &self,
        peer: &HttpPeer,
        host: &str,
        path: &str,
        most_bytes: usize,
    ) -> Result<Told> {
        let mut peer = peer.clone();
        // Then nothing else shares the connection, and it ends with the answer.
        peer.options.max_h2_streams = 1;
        let (mut session, _) = self.http.get_http_session(&peer).await?;
        let request = request(&session, peer.is_tls(), host, path)?;
        session.write_request_header(Box::new(request)).await?;
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let mut told = Told {
            status: session
                .response_header()
                .map_or(0, |head| head.status.as_u16()),
            body: Vec::new(),
        };
        while told.body.len() < most_bytes
            && let Some(bytes) = session.read_response_body().await?
        {
            let room = most_bytes - told.body.len();
            told.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        session.shutdown().await;
        Ok(told)
    }
}

fn request(session: &HttpSession, secure: bool, host: &str, path: &str) -> Result<RequestHeader> {
    let mut request = RequestHeader::build("GET", path.as_bytes(), Some(4))?;
    request.insert_header(header::USER_AGENT, "thornwall")?;
    request.insert_header(header::ACCEPT, "*/*")?;
    if session.as_http2().is_none() {
        request.insert_header(header::HOST, host)?;
        request.insert_header(header::CONNECTION, "close")?;
        return Ok(request);
    }
    let scheme = if secure { "https" } else { "http" };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(host)
        .path_and_query(path)
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
