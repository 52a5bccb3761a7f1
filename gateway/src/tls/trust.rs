//! TLS towards servers of our own: whom to trust, and as whom to appear.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use pingora::tls::load_platform_certs_incl_env_into_store;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs::default_provider};
use thiserror::Error;

use super::pem::{self, PemError};

/// Why a configuration of TLS towards servers cannot be made.
#[derive(Debug, Error)]
pub(crate) enum TrustError {
    /// A file cannot be read, or has not what it is for.
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: PemError },
    /// What a file has is refused by rustls.
    #[error("{}: {error}", path.display())]
    Unusable { path: PathBuf, error: rustls::Error },
    /// The cryptography of this build has no version of TLS.
    #[error("{0}")]
    Versions(#[source] rustls::Error),
    /// Without authorities no server can be trusted.
    #[error(
        "this system has no certificates of authorities; install them (Debian: ca-certificates), or \
         name a ca_file"
    )]
    NoAuthorities,
}

/// Trusts the authorities of `ca_file`, or those of the system, and shows the certificate of a chain
/// file and a key file, if there is one.
pub(crate) fn client_config(
    ca_file: Option<&Path>,
    certificate: Option<(&Path, &Path)>,
) -> Result<ClientConfig, TrustError> {
    let roots = match ca_file {
        Some(path) => authorities(path)?,
        None => system_authorities()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Versions)?
        .with_root_certificates(roots);
    let Some((chain_file, key_file)) = certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = pem::certificates(chain_file).map_err(in_file(chain_file))?;
    let key = pem::private_key(key_file).map_err(in_file(key_file))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(unusable(key_file))
}

fn authorities(path: &Path) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(path).map_err(in_file(path))? {
        roots.add(certificate).map_err(unusable(path))?;
    }
    Ok(roots)
}

fn system_authorities() -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    let found = load_platform_certs_incl_env_into_store(&mut roots);
    if found.is_err() || roots.is_empty() {
        return Err(TrustError::NoAuthorities);
    }
    Ok(roots)
}

fn in_file(path: &Path) -> impl FnOnce(PemError) -> TrustError {
    let path = path.to_owned();
    move |error| TrustError::File { path, error }
}

fn unusable(path: &Path) -> impl FnOnce(rustls::Error) -> TrustError {
    let path = path.to_owned();
    move |error| TrustError::Unusable { path, error }
}
