//! Files of alerts: secrets, and certificates of authorities.

use std::path::Path;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use thornwall_settings::{pem::plain, regular_file};

use crate::{config::error::ConfigError, http::Address};

/// Shortest key of signatures, in bytes: as long as the tokens that are made here.
const SHORTEST_KEY: usize = 32;

/// The first line of a file with a secret. The error names the file, and never shows what is in it.
pub(crate) fn secret(path: &Path) -> Result<String, ConfigError> {
    let bytes = bytes_of(path)?;
    let text = String::from_utf8(bytes).map_err(|_| wrong(path, "expected text"))?;
    let first = text.lines().next().unwrap_or_default().trim();
    if first.is_empty() {
        return Err(wrong(
            path,
            "nothing is in it; expected the secret on its first line",
        ));
    }
    Ok(first.to_owned())
}

/// The key of signatures.
pub(crate) fn key(path: &Path) -> Result<String, ConfigError> {
    let key = secret(path)?;
    if key.len() < SHORTEST_KEY {
        return Err(wrong(path, "expected a key of 32 characters or more"));
    }
    Ok(key)
}

/// The address that a file holds.
pub(crate) fn secret_address(path: &Path) -> Result<Address, ConfigError> {
    Address::try_from(secret(path)?).map_err(ConfigError::file(path))
}

/// The certificates of a file, as they are written.
pub(crate) fn authorities(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let pem = plain(bytes_of(path)?);
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(pem),
        _ => Err(wrong(path, "expected certificates (PEM)")),
    }
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, ConfigError> {
    regular_file::read(path).map_err(ConfigError::file(path))
}

fn wrong(path: &Path, what: &str) -> ConfigError {
    ConfigError::File(path.to_path_buf(), what.to_owned())
}
