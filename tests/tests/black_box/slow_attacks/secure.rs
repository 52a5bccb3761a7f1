//! TLS as a client of these tests speaks it, to a gateway with a certificate of its own.

use std::{io::Write, net::TcpStream, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::{Site, attacker};
use crate::harness::{Folder, Gateway, OPEN_SITE, free_port};

/// The site's name in the certificate.
pub(super) const NAME: &str = "t.example";

pub(super) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A gateway with a TLS listener beside the plain one.
pub(super) struct Secure {
    pub(super) gateway: Gateway,
    pub(super) port: u16,
    roots: Arc<RootCertStore>,
}

impl Secure {
    /// Starts a gateway with these `[limits]` and no filters.
    pub(super) fn start(origin: &Site, limits: &str) -> Self {
        Self::with(origin, limits, OPEN_SITE)
    }

    /// Starts a gateway with these `[limits]`, and this site.
    pub(super) fn with(origin: &Site, limits: &str, site: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let chain = made.cert.pem();
        let folder = Folder::new();
        folder.write("chain.pem", &chain);
        folder.write("key.pem", &made.signing_key.serialize_pem());
        let (port, plain, admin) = (free_port(), free_port(), free_port());
        let extra = format!(
            "[limits]\n{limits}\n[[listener]]\naddress = \"127.0.0.1:{port}\"\ntls = true\n\
             [[certificate]]\nhosts = [\"*\"]\nchain_file = \"chain.pem\"\nkey_file = \"key.pem\"\n\
             {site}"
        );
        let text = Gateway::toml(plain, admin, origin.port, &extra);
        let config = folder.write("t.toml", &text);
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
        roots.add(certificate).unwrap();
        Self {
            gateway: Gateway::start_from(folder, config, plain, admin),
            port,
            roots: Arc::new(roots),
        }
    }

    /// A client that offers one protocol by ALPN, and has sent nothing yet.
    pub(super) fn client(&self, protocol: &str) -> ClientConnection {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let name = ServerName::try_from(NAME).unwrap();
        ClientConnection::new(Arc::new(config), name).unwrap()
    }

    /// A connection whose handshake is over.
    pub(super) fn connect(&self, protocol: &str) -> Tls {
        self.secured(attacker(self.port), protocol)
    }

    /// A connection on which the handshake is over now.
    pub(super) fn secured(&self, mut stream: TcpStream, protocol: &str) -> Tls {
        let mut client = self.client(protocol);
        stream.set_read_timeout(Some(super::BOUND)).unwrap();
        while client.is_handshaking() {
            client.complete_io(&mut stream).unwrap();
        }
        stream.set_read_timeout(Some(super::TICK)).unwrap();
        assert_eq!(client.alpn_protocol(), Some(protocol.as_bytes()));
        StreamOwned::new(client, stream)
    }

    /// A person's visit over HTTP/1.1.
    pub(super) fn person_is_served(&self) {
        let mut stream = self.connect("http/1.1");
        let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let gone = super::until_gone(&mut stream, super::silence);
        assert!(gone.said().starts_with("HTTP/1.1 200"), "{}", gone.said());
    }
}
