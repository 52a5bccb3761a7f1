//! Where callers arrive: an address of the network, in clear text or over TLS, or a socket of the file
//! system.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use thornwall_filters::pem::plain;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;

use super::ServeError;
use crate::config::{ConfigFile, Tls};

/// Longest TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// Handshakes at a time; whoever comes then waits.
const MOST_HANDSHAKES: usize = 256;

/// Both sides' certificates, as they are now.
pub type Identity = Arc<ArcSwap<ServerConfig>>;

/// Reads both sides' certificates.
pub fn identity(file: &ConfigFile, tls: &Tls) -> Result<ServerConfig, String> {
    let chain = certificates(&file.resolve(&tls.chain_file))?;
    let key = file.resolve(&tls.key_file);
    let secret = plain(fs::read(&key).map_err(unusable(&key))?);
    let key = PrivateKeyDer::from_pem_slice(&secret).map_err(unusable(&key))?;
    let mut authorities = RootCertStore::empty();
    let trusted = file.resolve(&tls.client_ca_file);
    for authority in certificates(&trusted)? {
        authorities.add(authority).map_err(unusable(&trusted))?;
    }
    let callers = WebPkiClientVerifier::builder(Arc::new(authorities)).build();
    let callers = callers.map_err(unusable(&trusted))?;
    let config = ServerConfig::builder()
        .with_client_cert_verifier(callers)
        .with_single_cert(chain, key);
    let mut config = config.map_err(unusable(&file.resolve(&tls.chain_file)))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = plain(fs::read(path).map_err(unusable(path))?);
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let read = read.map_err(unusable(path))?;
    if read.is_empty() {
        return Err(format!("{}: no certificate in it", path.display()));
    }
    Ok(read)
}

fn unusable<E: ToString>(path: &Path) -> impl FnOnce(E) -> String {
    let path = path.display().to_string();
    move |error| format!("{path}: {}", error.to_string())
}

/// Callers that have shown a certificate. Nobody waits for another's handshake, and a certificate that
/// is replaced is shown from the next one on.
pub fn arriving(
    listener: TcpListener,
    identity: Identity,
) -> ReceiverStream<io::Result<TlsStream<TcpStream>>> {
    let (arrived, arriving) = mpsc::channel(MOST_HANDSHAKES);
    tokio::spawn(async move {
        let turns = Arc::new(Semaphore::new(MOST_HANDSHAKES));
        while let Ok(turn) = Arc::clone(&turns).acquire_owned().await {
            let caller = tokio::select! {
                caller = listener.accept() => caller,
                () = arrived.closed() => return,
            };
            let Ok((stream, address)) = caller else {
                // Out of files, most likely: others have to leave first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (arrived, acceptor) = (arrived.clone(), TlsAcceptor::from(identity.load_full()));
            tokio::spawn(async move {
                let _turn = turn;
                // Answers are small, and nobody may wait for the next to fill a packet.
                let _ = stream.set_nodelay(true);
                match timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
                    // Whoever would serve it may have left.
                    Ok(Ok(stream)) => drop(arrived.send(Ok(stream)).await),
                    Ok(Err(error)) => log::debug!("no handshake; caller={address} error={error}"),
                    Err(_) => log::debug!("no handshake in time; caller={address}"),
                }
            });
        }
    });
    ReceiverStream::new(arriving)
}

/// A socket that its owner and group reach; one that nobody listens on any more is replaced.
pub fn bind_unix(path: &Path) -> Result<UnixListener, ServeError> {
    let failed = |error| ServeError::Bind(path.display().to_string(), error);
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(failed(io::ErrorKind::AddrInUse.into()));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
    Ok(listener)
}
