//! Files of alerts: secrets, and certificates of authorities.

use std::path::Path;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use thornwall_settings::{pem::plain, regular_file};

use crate::http::Address;

/// Shortest key of signatures, in bytes: as long as the tokens that are made here.
const SHORTEST_KEY: usize = 32;

/// The first line of a file with a secret. The error names the file, and never shows what is in it.
pub fn secret(path: &Path) -> Result<String, String> {
    let bytes = bytes_of(path)?;
    let text = String::from_utf8(bytes).map_err(|_| told(path, "expected text"))?;
    let first = text.lines().next().unwrap_or_default().trim();
    if first.is_empty() {
        return Err(told(
            path,
            "nothing is in it; expected the secret on its first line",
        ));
    }
    Ok(first.to_owned())
}

/// The key of signatures.
pub fn key(path: &Path) -> Result<String, String> {
    let key = secret(path)?;
    if key.len() < SHORTEST_KEY {
        return Err(told(path, "expected a key of 32 characters or more"));
    }
    Ok(key)
}

/// The address that a file holds.
pub fn secret_address(path: &Path) -> Result<Address, String> {
    Address::try_from(secret(path)?).map_err(|error| told(path, &error))
}

/// The certificates of a file, as they are written.
pub fn authorities(path: &Path) -> Result<Vec<u8>, String> {
    let pem = plain(bytes_of(path)?);
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(pem),
        _ => Err(told(path, "expected certificates (PEM)")),
    }
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, String> {
    regular_file::read(path).map_err(|error| told(path, &error.to_string()))
}

fn told(path: &Path, what: &str) -> String {
    format!("{}: {what}", path.display())
}
