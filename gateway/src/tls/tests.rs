//! Handshakes in memory, and the mistakes of files: what both need.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use rustls::{
    ClientConfig, ClientConnection, Error, HandshakeKind, ServerConnection,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::ServerName,
    server::Acceptor,
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use thornwall_filters::metrics::FilterMetrics;
use thornwall_tests::{
    authority::{Authority, Issued, Wanted},
    tls_client::{Seen, Watching},
};

use super::TlsFacts;
use crate::generation::{Generation, Inputs};
use thornwall_settings::file::ConfigFile;

mod files;
mod handshakes;
mod policies;

/// A folder with a configuration and its certificates.
struct Bench {
    folder: TempDir,
    authority: Authority,
    metrics: FilterMetrics,
}

impl Bench {
    fn new() -> Self {
        let registry = prometheus::Registry::new();
        Self {
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::new("test authority"),
            metrics: FilterMetrics::register(&registry).unwrap(),
        }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    /// Writes a certificate and its key as `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str, wanted: Wanted<'_>) -> Issued {
        let issued = self.authority.issue(wanted);
        self.write(&format!("{name}.pem"), &issued.chain);
        self.write(&format!("{name}.key"), &issued.key);
        issued
    }

    /// Builds a configuration with a TLS listener that ends in `tables`.
    fn build(&self, tables: &str, previous: Option<&Generation>) -> Result<Generation, String> {
        self.build_whole(&format!("{LISTENER}{tables}"), previous)
    }

    fn build_whole(&self, text: &str, previous: Option<&Generation>) -> Result<Generation, String> {
        let file = ConfigFile {
            path: self.folder.path().join("t.toml"),
            text: format!("{text}{REST}"),
        };
        let decisions = Arc::default();
        let inputs = Inputs {
            decisions: &decisions,
            metrics: &self.metrics,
            secret: &[0; 32],
            previous,
        };
        Generation::build(&file, &inputs).map_err(|problems| file.describe(&problems))
    }
}

const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:8443\"\ntls = true\n";
/// Few connections, or a low limit on open files is warned of too.
const REST: &str = "\n[[upstream]]\nname = \"o\"\nservers = [{ address = \"127.0.0.1:9\" }]\n\
    [[pipeline]]\nname = \"open\"\n\
    [limits]\nmax_connections = 10\n[tarpit]\nmax_connections = 10\n";
const SITE: &str =
    "[[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"open\"\n";

/// A `[[certificate]]` of the files that [`Bench::issue`] writes.
fn certificate(name: &str, hosts: &str) -> String {
    format!(
        "[[certificate]]\nhosts = [{hosts}]\nchain_file = \"{name}.pem\"\nkey_file = \"{name}.key\"\n"
    )
}

/// A client, which keeps its sessions.
struct Client {
    config: ClientConfig,
    seen: Arc<Mutex<Seen>>,
}

impl Client {
    fn new(tls12: bool) -> Self {
        Self::with(tls12, None, |_| true)
    }

    fn with(
        tls12: bool,
        identity: Option<&Issued>,
        takes: impl Fn(rustls::SignatureScheme) -> bool,
    ) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let known = provider.signature_verification_algorithms;
        let schemes = known.supported_schemes().into_iter().filter(|s| takes(*s));
        let (watching, seen) = Watching::new(schemes.collect());
        let version = if tls12 { &TLS12 } else { &TLS13 };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(watching));
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let chain = vec![issued.certificate.der().clone()];
                builder.with_client_auth_cert(chain, issued.key()).unwrap()
            }
        };
        config.resumption = Resumption::in_memory_sessions(8);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { config, seen }
    }

    fn use_provider(&mut self, provider: rustls::crypto::CryptoProvider) {
        let (watching, seen) = Watching::new(
            provider
                .signature_verification_algorithms
                .supported_schemes(),
        );
        self.config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(watching))
            .with_no_client_auth();
        self.seen = seen;
    }

    /// A whole handshake with what `generation` serves, tickets included.
    fn shake(&self, generation: &Generation, name: &str) -> Result<Shaken, Error> {
        let server_name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(self.config.clone()), server_name)?;
        let mut acceptor = Acceptor::default();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        acceptor.read_tls(&mut bytes.as_slice()).unwrap();
        let accepted = acceptor
            .accept()
            .map_err(|(error, _)| error)?
            .expect("the client has sent its whole hello");
        let sent = accepted.client_hello().server_name().map(str::to_owned);
        let chosen = generation
            .tls
            .server_config(sent.as_deref())
            .ok_or_else(|| Error::General("no certificate".to_owned()))?;
        let mut server = accepted
            .into_connection(Arc::clone(&chosen.config))
            .map_err(|(error, _)| error)?;
        exchange(&mut client, &mut server)?;
        Ok(Shaken {
            facts: chosen.facts(&server),
            resumed: client.handshake_kind() == Some(HandshakeKind::Resumed),
            client,
        })
    }

    /// The serial number's last byte of the certificate that the last full handshake showed.
    fn serial_seen(&self) -> Option<u8> {
        let shown = self.seen.lock().unwrap().certificate.clone()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&shown).unwrap();
        parsed.raw_serial().last().copied()
    }
}

/// What a handshake ended in.
struct Shaken {
    facts: TlsFacts,
    resumed: bool,
    client: ClientConnection,
}

fn exchange(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), Error> {
    // An end is certain: two flights each way, and the tickets.
    for _ in 0..6 {
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut unread = bytes.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut unread = bytes.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            server.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(())
}
