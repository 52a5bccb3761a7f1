//! TLS with servers: whom to trust, as whom to appear, and which name to hold them to.
//!
//! Pingora skips all verification where the name is empty, and panics on certificates that it
//! cannot read; both end here, when the configuration is read.

use std::{
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

use pingora::{
    protocols::tls::CaType,
    tls::{RootCertStore, ServerName, load_platform_certs_incl_env_into_store},
    utils::tls::{CertKey, WrappedX509, parse_x509},
};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use thiserror::Error;
use thornwall_settings::report::Report;
use thornwall_settings::{pem::plain, regular_file};
use toml::Spanned;

use crate::{config, hash::Key};

/// How to speak TLS with the servers of one upstream.
#[derive(Clone)]
pub(super) struct Tls {
    /// The name that all servers are held to, where they are not held to their own.
    pub server_name: Option<String>,
    /// Authorities that are trusted; `None` for those of the system.
    pub authorities: Option<Arc<CaType>>,
    /// The certificate that we show.
    pub certificate: Option<Arc<CertKey>>,
    /// Differs where trust or certificate differ.
    pub key: Key,
}

/// Why a file is of no use.
#[derive(Debug, Error)]
enum FileError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("holds no certificate; expected PEM with at least one")]
    NoCertificate,
    #[error("holds a certificate that cannot be read")]
    BadCertificate,
    #[error("holds no private key; expected PEM with one that has no password")]
    NoKey,
    #[error("holds a key that does not fit the certificate: {0}")]
    BadKey(rustls::Error),
}

impl Tls {
    /// Reads the files, or notes what is wrong with them.
    pub(super) fn build(spec: &Spanned<config::UpstreamTls>, report: &mut Report) -> Option<Self> {
        let before = report.problems.len();
        let tls = spec.get_ref();
        check_name(tls, report);
        let mut key = Key::default();
        let authorities = authorities(spec, &mut key, report);
        let certificate = certificate(spec, &mut key, report);
        (report.problems.len() == before).then(|| Self {
            server_name: tls.server_name.as_ref().map(|name| name.get_ref().clone()),
            authorities,
            certificate,
            key,
        })
    }
}

/// What is wrong with a name that a server's certificate is to be for. Pingora verifies names of three
/// labels or more with hyphens for the underscores of the first one: names of other owners.
pub(super) fn wrong_name(name: &str) -> Option<String> {
    let (first, rest) = name.split_once('.')?;
    let changes = first.contains('_') && rest.contains('.');
    changes.then(|| {
        format!(
            "`{name}` cannot be verified, because of the underscore in its first label; expected a \
             server_name without one, which the certificate is for too"
        )
    })
}

fn check_name(spec: &config::UpstreamTls, report: &mut Report) {
    let Some(name) = &spec.server_name else {
        return;
    };
    if ServerName::try_from(name.get_ref().as_str()).is_err() {
        let what = format!(
            "`{}` is no name that a certificate can be for; expected a host name or an address",
            name.get_ref()
        );
        report.problem(name.span(), what);
    } else if let Some(what) = wrong_name(name.get_ref()) {
        report.problem(name.span(), what);
    }
}

fn authorities(
    spec: &Spanned<config::UpstreamTls>,
    key: &mut Key,
    report: &mut Report,
) -> Option<Arc<CaType>> {
    let Some(file) = &spec.get_ref().ca_file else {
        if system_authorities() == 0 {
            let what = "this system has no certificates of authorities; install them (Debian: \
                        ca-certificates), or name a ca_file";
            report.problem(spec.span(), what);
        }
        return None;
    };
    match read_authorities(&report.resolve(file.get_ref()), key) {
        Ok(found) => Some(found),
        Err(error) => {
            report.problem(file.span(), format!("`{}` {error}", file.get_ref()));
            None
        }
    }
}

fn read_authorities(path: &Path, key: &mut Key) -> Result<Arc<CaType>, FileError> {
    let chain = read_chain(path, key)?;
    let mut store = RootCertStore::empty();
    for certificate in &chain {
        let added = store.add(certificate.clone());
        added.map_err(|_| FileError::BadCertificate)?;
    }
    let wrap = |der: &CertificateDer<'_>| WrappedX509::new(der.to_vec(), parse_x509);
    Ok(chain.iter().map(wrap).collect())
}

/// The certificates of a PEM file, each of which is one.
fn read_chain(path: &Path, key: &mut Key) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = plain(regular_file::read(path)?);
    *key = key.with(Key::of(&text));
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| FileError::BadCertificate)?;
    if chain.is_empty() {
        return Err(FileError::NoCertificate);
    }
    for certificate in &chain {
        let parsed = x509_parser::parse_x509_certificate(certificate);
        let whole = parsed.is_ok_and(|(rest, _)| rest.is_empty());
        if !whole {
            return Err(FileError::BadCertificate);
        }
    }
    Ok(chain)
}

fn certificate(
    spec: &Spanned<config::UpstreamTls>,
    key: &mut Key,
    report: &mut Report,
) -> Option<Arc<CertKey>> {
    let tls = spec.get_ref();
    let (chain_file, key_file) = match (&tls.client_chain_file, &tls.client_key_file) {
        (None, None) => return None,
        (Some(chain), Some(key)) => (chain, key),
        _ => {
            let what = "client_chain_file and client_key_file belong together; expected both";
            report.problem(spec.span(), what);
            return None;
        }
    };
    let chain = read_chain(&report.resolve(chain_file.get_ref()), key);
    let chain = chain
        .map_err(|error| {
            let what = format!("`{}` {error}", chain_file.get_ref());
            report.problem(chain_file.span(), what);
        })
        .ok()?;
    match read_key(&report.resolve(key_file.get_ref()), &chain, key) {
        Ok(secret) => {
            let chain = chain.iter().map(|der| der.to_vec()).collect();
            Some(Arc::new(CertKey::new(chain, secret)))
        }
        Err(error) => {
            report.problem(key_file.span(), format!("`{}` {error}", key_file.get_ref()));
            None
        }
    }
}

/// A private key, held against the certificate that it is for.
fn read_key(
    path: &Path,
    chain: &[CertificateDer<'static>],
    key: &mut Key,
) -> Result<Vec<u8>, FileError> {
    let text = plain(regular_file::read(path)?);
    *key = key.with(Key::of(&text));
    let secret = PrivateKeyDer::from_pem_slice(&text).map_err(|_| FileError::NoKey)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(FileError::BadKey)?
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(chain.to_vec(), secret.clone_key())
        .map_err(FileError::BadKey)?;
    Ok(secret.secret_der().to_vec())
}

/// How many authorities the system trusts, as far as Pingora can read them: it takes them all or
/// panics. They are read once, as it does.
fn system_authorities() -> usize {
    static FOUND: OnceLock<usize> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let mut store = RootCertStore::empty();
        match load_platform_certs_incl_env_into_store(&mut store) {
            Ok(()) => store.len(),
            Err(error) => {
                log::warn!("the system's certificates of authorities are of no use; error={error}");
                0
            }
        }
    })
}

/// The file that Pingora's connectors must read authorities from, so that they do not panic where
/// those of the system cannot be read: an empty one.
pub(crate) fn connector_ca_file() -> Option<String> {
    (system_authorities() == 0).then(|| "/dev/null".to_owned())
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Whatever holds a private key does not print it.
        f.debug_struct("Tls")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}
