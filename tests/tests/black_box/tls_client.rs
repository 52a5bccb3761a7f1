//! Clients of TLS: HTTP/1.1 on a blocking socket, HTTP/2 on a runtime of its own.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use h2::{SendStream, client::SendRequest};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
};
use thornwall_tests::{
    authority::{Authority, Issued, Wanted},
    tls_client::OneSession,
};
use tokio::{net::TcpStream, runtime::Runtime, time::timeout};
use tokio_rustls::TlsConnector;

use crate::harness::{Folder, PATIENCE, Reply, connect, free_port};

/// A client that keeps its sessions.
pub(crate) struct Client {
    port: u16,
    config: ClientConfig,
    last: Mutex<Handshake>,
}

/// A listener with TLS for a gateway that is still to start, and a client that trusts it.
pub(crate) struct SecureListener {
    pub(crate) port: u16,
    /// The listener and its certificate as TOML.
    pub(crate) toml: String,
    pub(crate) client: Client,
    /// `chain.pem`, `key.pem` and, of the authority, `ca.pem`.
    pub(crate) files: Folder,
}

impl SecureListener {
    /// A listener that shows everybody a certificate of this name.
    pub(crate) fn named(name: &str) -> Self {
        let (files, authority, port) = (Folder::new(), Authority::new("servers"), free_port());
        let issued = authority.issue(Wanted {
            names: &[name],
            ..Wanted::default()
        });
        let chain = files.write("chain.pem", &issued.chain);
        let key = files.write("key.pem", &issued.key);
        files.write("ca.pem", &authority.pem());
        let toml = format!(
            "[[listener]]\naddress = \"127.0.0.1:{port}\"\ntls = true\n[[certificate]]\n\
             hosts = [\"*\"]\nchain_file = \"{}\"\nkey_file = \"{}\"\n",
            chain.display(),
            key.display()
        );
        Self {
            port,
            toml,
            client: Client::new(port, &authority, None),
            files,
        }
    }
}

/// A connection that stays open until this is dropped.
pub(crate) struct Held {
    _bodies: Vec<SendStream<Bytes>>,
    _runtime: Runtime,
}

/// What is known of a handshake.
#[derive(Debug, Default)]
struct Handshake {
    resumed: bool,
    certificate: Option<CertificateDer<'static>>,
}

impl Client {
    /// A client that shows `identity` where it is asked for a certificate.
    pub(crate) fn new(port: u16, authority: &Authority, identity: Option<&Issued>) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let chain = vec![issued.certificate.der().clone()];
                builder.with_client_auth_cert(chain, issued.key()).unwrap()
            }
        };
        config.resumption = Resumption::store(Arc::new(OneSession::default()));
        Self {
            port,
            config,
            last: Mutex::default(),
        }
    }

    fn configured(&self, protocol: &[u8]) -> Arc<ClientConfig> {
        let mut config = self.config.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(config)
    }

    /// A GET over HTTP/1.1, with these header lines; what failed, where anything did.
    pub(crate) fn h1(
        &self,
        name: &str,
        host: &str,
        path: &str,
        headers: &str,
    ) -> Result<Reply, String> {
        let tcp = connect(self.port).ok_or("no connection")?;
        let server_name = ServerName::try_from(name.to_owned()).unwrap();
        let session = ClientConnection::new(self.configured(b"http/1.1"), server_name).unwrap();
        let mut stream = StreamOwned::new(session, tcp);
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let shown = stream.conn.peer_certificates();
        *self.last.lock().unwrap() = Handshake {
            resumed: stream.conn.handshake_kind() == Some(HandshakeKind::Resumed),
            certificate: shown.and_then(|chain| chain.first().cloned()),
        };
        Reply::parse(&answer).ok_or_else(|| format!("no answer: {read:?}"))
    }

    /// A GET over HTTP/2.
    pub(crate) fn h2(
        &self,
        name: &str,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Reply, String> {
        let mut request = http::Request::get(format!("https://{host}{path}"));
        for (field, value) in headers {
            request = request.header(*field, *value);
        }
        self.h2_send(name, request.body(()).unwrap(), None)
    }

    /// A request over HTTP/2, with or without a body. Trailers stand behind the answer's fields.
    pub(crate) fn h2_send(
        &self,
        name: &str,
        request: http::Request<()>,
        body: Option<&'static [u8]>,
    ) -> Result<Reply, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let asked = self.ask(name.to_owned(), request, body);
        let told = runtime.block_on(async { timeout(PATIENCE, asked).await });
        runtime.shutdown_timeout(Duration::from_millis(100));
        told.map_err(|_| "no answer in time".to_owned())?
    }

    /// Requests over one connection of HTTP/2, all at once; the statuses of their answers, and the
    /// connection. Those that do not `end` have bodies that have only begun.
    pub(crate) fn h2_all(
        &self,
        name: &str,
        requests: Vec<http::Request<()>>,
        end: bool,
    ) -> (Vec<u16>, Held) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let asked = async {
            let mut send = self.h2_connection(name.to_owned()).await?;
            let (mut answers, mut bodies) = (Vec::new(), Vec::new());
            for request in requests {
                send = send.ready().await.map_err(|error| error.to_string())?;
                let sent = send.send_request(request, end);
                let (answer, mut body) = sent.map_err(|error| error.to_string())?;
                if !end {
                    let begun = body.send_data(Bytes::from_static(b"b"), false);
                    begun.map_err(|error| error.to_string())?;
                }
                answers.push(answer);
                bodies.push(body);
            }
            let mut statuses = Vec::new();
            for answer in answers {
                let answer = answer.await.map_err(|error| error.to_string())?;
                statuses.push(answer.status().as_u16());
            }
            Ok::<_, String>((statuses, bodies))
        };
        let told = runtime.block_on(async { timeout(PATIENCE, asked).await });
        let (statuses, bodies) = told.expect("answers in time").unwrap();
        let held = Held {
            _bodies: bodies,
            _runtime: runtime,
        };
        (statuses, held)
    }

    /// A request over HTTP/2 whose body is sent so long behind the head of its answer, but for the first
    /// byte; its status.
    pub(crate) fn h2_late(
        &self,
        name: &str,
        request: http::Request<()>,
        mut body: Bytes,
        pause: Duration,
    ) -> Result<u16, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let asked = async {
            let mut send = self.h2_connection(name.to_owned()).await?;
            let sent = send.send_request(request, false);
            let (answer, mut upload) = sent.map_err(|error| error.to_string())?;
            let first = body.split_to(1);
            (upload.send_data(first, false)).map_err(|error| error.to_string())?;
            let answer = answer.await.map_err(|error| error.to_string())?;
            tokio::time::sleep(pause).await;
            // Nobody may want it any more.
            let _ = upload.send_data(body, true);
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(answer.status().as_u16())
        };
        let told = runtime.block_on(async { timeout(PATIENCE, asked).await });
        runtime.shutdown_timeout(Duration::from_millis(100));
        told.map_err(|_| "no answer in time".to_owned())?
    }

    async fn h2_connection(&self, name: String) -> Result<SendRequest<Bytes>, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await;
        let connector = TlsConnector::from(self.configured(b"h2"));
        let server_name = ServerName::try_from(name).unwrap();
        let stream = connector.connect(server_name, tcp.map_err(|e| told(&e))?);
        let stream = stream.await.map_err(|error| told(&error))?;
        let (send, connection) = h2::client::handshake(stream).await.map_err(|e| told(&e))?;
        tokio::spawn(async move {
            // Its end is told by the stream's.
            let _ = connection.await;
        });
        Ok(send)
    }

    async fn ask(
        &self,
        name: String,
        request: http::Request<()>,
        content: Option<&'static [u8]>,
    ) -> Result<Reply, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let mut send = self.h2_connection(name).await?;
        let sent = send.send_request(request, content.is_none());
        let (response, mut upload) = sent.map_err(|e| told(&e))?;
        if let Some(content) = content {
            upload
                .send_data(content.into(), false)
                .map_err(|e| told(&e))?;
            // As curl ends what it reads from a pipe.
            upload.send_data(Bytes::new(), true).map_err(|e| told(&e))?;
        }
        let response = response.await.map_err(|error| told(&error))?;
        let (head, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(|error| told(&error))?;
            let _ = body.flow_control().release_capacity(chunk.len());
            bytes.extend_from_slice(&chunk);
        }
        let trailers = body.trailers().await.map_err(|error| told(&error))?;
        let trailers = trailers.unwrap_or_default();
        let fields = head.headers.iter().chain(&trailers).map(|(field, value)| {
            format!("{field}: {}\r\n", String::from_utf8_lossy(value.as_bytes()))
        });
        Ok(Reply {
            status: head.status.as_u16(),
            head: fields.collect(),
            body: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }

    /// Whether the last handshake over HTTP/1.1 resumed a session.
    pub(crate) fn resumed(&self) -> bool {
        self.last.lock().unwrap().resumed
    }

    /// The last byte of the serial number of the certificate that was shown last.
    pub(crate) fn serial_seen(&self) -> Option<u8> {
        let last = self.last.lock().unwrap();
        let certificate = last.certificate.as_ref()?;
        // The authority's serial numbers are three bytes: 0x42, 0, and this one.
        let at = certificate
            .windows(4)
            .position(|w| w == [3, 0x42, 0, w[3]])?;
        certificate.get(at + 3).copied()
    }
}
