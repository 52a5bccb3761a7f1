//! Files of certificates and keys, read with bounds and with mistakes that say what to do.

use std::{io, path::Path};

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use thiserror::Error;
use thornwall_settings::{pem::plain, regular_file};

/// Why a file of certificates or keys cannot be used.
#[derive(Debug, Error)]
pub(crate) enum PemError {
    /// What it holds is not PEM throughout.
    #[error("broken PEM: {0}")]
    Broken(pem::Error),
    /// The key needs a passphrase, which no one is there to type.
    #[error("the private key is encrypted; expected one without passphrase")]
    Encrypted,
    /// No section is a certificate.
    #[error("no certificate in it; expected PEM sections `CERTIFICATE`")]
    NoCertificate,
    /// No section is a private key.
    #[error("no private key in it; expected a PEM section `PRIVATE KEY`")]
    NoKey,
    /// The system does not give it to us.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// A whole file, where it is one and not too large.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    Ok(regular_file::read(path)?)
}

/// The certificates of a PEM file, at least one, in its order.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let bytes = plain(read(path)?);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(PemError::Broken)?;
    if found.is_empty() {
        return Err(PemError::NoCertificate);
    }
    Ok(found)
}

/// The first private key of a PEM file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let bytes = plain(read(path)?);
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(_) if is_encrypted(&bytes) => Err(PemError::Encrypted),
        Err(pem::Error::NoItemsFound) => Err(PemError::NoKey),
        Err(error) => Err(PemError::Broken(error)),
    }
}

/// RFC 7468 section 11, and what OpenSSL wrote before it.
fn is_encrypted(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}
