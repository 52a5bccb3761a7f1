//! The certificate that the sidecar shows, and the authorities that callers' certificates are verified by.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use thornwall_settings::{pem::plain, regular_file};

use crate::config::{ConfigFile, Tls};

/// Both sides' certificates, as they are now.
pub type Identity = Arc<ArcSwap<ServerConfig>>;

/// Reads both sides' certificates.
pub fn identity(file: &ConfigFile, tls: &Tls) -> Result<ServerConfig, String> {
    let chain = certificates(&file.resolve(&tls.chain_file))?;
    let key = file.resolve(&tls.key_file);
    let secret = plain(regular_file::read(&key).map_err(unusable(&key))?);
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
    let text = plain(regular_file::read(path).map_err(unusable(path))?);
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
