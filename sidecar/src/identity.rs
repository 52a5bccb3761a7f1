//! The certificate that the sidecar shows, and the authorities that callers' certificates are verified by.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use thornwall_settings::{pem::plain, regular_file};

use crate::config::{ConfigError, ConfigFile, Tls};

/// Both sides' certificates, as they are now.
pub(crate) type Identity = Arc<ArcSwap<ServerConfig>>;

/// Reads both sides' certificates.
pub(crate) fn identity(file: &ConfigFile, tls: &Tls) -> Result<ServerConfig, ConfigError> {
    let chain = certificates(&file.resolve(&tls.chain_file))?;
    let key = file.resolve(&tls.key_file);
    let secret = plain(regular_file::read(&key).map_err(ConfigError::file(&key))?);
    let key = PrivateKeyDer::from_pem_slice(&secret).map_err(ConfigError::file(&key))?;
    let mut authorities = RootCertStore::empty();
    let trusted = file.resolve(&tls.client_ca_file);
    for authority in certificates(&trusted)? {
        authorities
            .add(authority)
            .map_err(ConfigError::file(&trusted))?;
    }
    let callers = WebPkiClientVerifier::builder(Arc::new(authorities)).build();
    let callers = callers.map_err(ConfigError::file(&trusted))?;
    let config = ServerConfig::builder()
        .with_client_cert_verifier(callers)
        .with_single_cert(chain, key);
    let mut config = config.map_err(ConfigError::file(&file.resolve(&tls.chain_file)))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let text = plain(regular_file::read(path).map_err(ConfigError::file(path))?);
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let read = read.map_err(ConfigError::file(path))?;
    if read.is_empty() {
        let what = "no certificate in it".to_owned();
        return Err(ConfigError::File(path.to_path_buf(), what));
    }
    Ok(read)
}
