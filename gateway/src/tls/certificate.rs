//! One certificate: its chain, its key, its OCSP response, and what is odd about them.

use std::{fmt::Write, path::Path, sync::Arc};

use jiff::Timestamp;
use rustls::{
    Error, InconsistentKeys, SignatureAlgorithm,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime},
    sign::{CertifiedKey, SigningKey},
};
use thornwall_settings::report::Report;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use super::{ocsp, pem};
use crate::config;

/// A certificate that ends sooner deserves a warning.
const SOON_SECS: i64 = 14 * 24 * 60 * 60;

/// A certificate that handshakes can be made with.
#[derive(Debug)]
pub(super) struct Certificate {
    /// Names and wildcards as configured, in the form that they are looked up by.
    pub(super) hosts: Vec<String>,
    bare: Arc<CertifiedKey>,
    stapled: Option<Stapled>,
    expires: i64,
}

/// The certificate with an OCSP response, which has an end of its own.
#[derive(Debug)]
struct Stapled {
    key: Arc<CertifiedKey>,
    until: i64,
}

/// When a certificate ends.
#[derive(Debug)]
pub(crate) struct Expiry<'a> {
    /// First name of the certificate.
    pub host: &'a str,
    /// Kind of its key.
    pub key: &'static str,
    /// Seconds since 1970: the first end in its chain.
    pub expires: i64,
}

impl Certificate {
    /// Reads a certificate with all that belongs to it; notes everything that is wrong.
    pub(super) fn load(
        spec: &config::Certificate,
        now: UnixTime,
        report: &mut Report,
    ) -> Option<Self> {
        let chain = load_chain(spec, report);
        let key = load_key(spec, report);
        let (chain, key) = (chain?, key?);
        let path = report.resolve(spec.chain_file.get_ref());
        let now = seconds(now);
        let certified = match pair(chain, key) {
            Ok(certified) => certified,
            Err(Problem::Key(what)) => {
                let path = report.resolve(spec.key_file.get_ref());
                report.problem(spec.key_file.span(), format_problem(&path, what));
                return None;
            }
            Err(Problem::Chain(what)) => {
                report.problem(spec.chain_file.span(), format_problem(&path, what));
                return None;
            }
        };
        let expires = look_at_chain(&certified.cert, &path, now, spec, report)?;
        Some(Self {
            hosts: Vec::new(),
            stapled: staple(&certified, spec, now, report),
            bare: Arc::new(certified),
            expires,
        })
    }

    /// The key to make a handshake with: stapled as long as the OCSP response lasts.
    pub(super) fn key_at(&self, now: UnixTime) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some(stapled) if seconds(now) < stapled.until => &stapled.key,
            _ => &self.bare,
        }
    }

    /// Kind of its key.
    pub(super) fn algorithm(&self) -> SignatureAlgorithm {
        self.bare.key.algorithm()
    }

    pub(super) fn signing_key(&self) -> &dyn SigningKey {
        &*self.bare.key
    }

    pub(super) fn expiry(&self) -> Expiry<'_> {
        Expiry {
            host: self.hosts.first().map_or("", String::as_str),
            key: key_kind(self.algorithm()),
            expires: self.expires,
        }
    }
}

/// The name of a kind of key.
pub(super) const fn key_kind(algorithm: SignatureAlgorithm) -> &'static str {
    match algorithm {
        SignatureAlgorithm::ECDSA => "ecdsa",
        SignatureAlgorithm::ED25519 => "ed25519",
        SignatureAlgorithm::RSA => "rsa",
        _ => "other",
    }
}

fn load_chain(
    spec: &config::Certificate,
    report: &mut Report,
) -> Option<Vec<CertificateDer<'static>>> {
    let path = report.resolve(spec.chain_file.get_ref());
    pem::certificates(&path)
        .map_err(|error| report.problem(spec.chain_file.span(), format_problem(&path, error)))
        .ok()
}

fn load_key(spec: &config::Certificate, report: &mut Report) -> Option<PrivateKeyDer<'static>> {
    let path = report.resolve(spec.key_file.get_ref());
    pem::private_key(&path)
        .map_err(|error| report.problem(spec.key_file.span(), format_problem(&path, error)))
        .ok()
}

fn format_problem(path: &Path, what: impl std::fmt::Display) -> String {
    format!("{}: {what}", path.display())
}

/// Which of two files is to blame.
enum Problem {
    Chain(String),
    Key(String),
}

fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, Problem> {
    let unknown = |_| {
        Problem::Key(
            "private key of unknown kind; expected ECDSA with P-256, P-384 or P-521, \
             RSA of 2048 to 8192 bits, or Ed25519"
                .to_owned(),
        )
    };
    let key = any_supported_type(&key).map_err(unknown)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => Err(Problem::Key(
            "does not match the certificate; expected the key that chain_file's first \
             certificate was made for"
                .to_owned(),
        )),
        Err(error) => Err(Problem::Chain(format!(
            "the first certificate cannot be used: {error}"
        ))),
    }
}

/// Looks at dates, order and names of a chain; its first end.
fn look_at_chain(
    chain: &[CertificateDer<'_>],
    path: &Path,
    now: i64,
    spec: &config::Certificate,
    report: &mut Report,
) -> Option<i64> {
    let mut parsed = Vec::with_capacity(chain.len());
    for (at, der) in chain.iter().enumerate() {
        match X509Certificate::from_der(der) {
            Ok((_, certificate)) => parsed.push(certificate),
            Err(error) => {
                let what = format!("certificate {} is no X.509: {error}", at + 1);
                report.problem(spec.chain_file.span(), format_problem(path, what));
                return None;
            }
        }
    }
    for (at, certificate) in parsed.iter().enumerate() {
        if let Some(what) = odd_dates(certificate, now) {
            let what = format!("certificate {} ({}) {what}", at + 1, certificate.subject());
            report.warnings.push(format_problem(path, what));
        }
    }
    if parsed.windows(2).any(|pair| !issued(&pair[1], &pair[0])) {
        let what = "each certificate must be followed by the one that issued it; some clients will \
                    refuse this order";
        report.warnings.push(format_problem(path, what));
    }
    if let [leaf, ..] = parsed.as_slice() {
        warn_of_names(leaf, spec.hosts.get_ref(), path, report);
    }
    let ends = parsed.iter().map(|c| c.validity().not_after.timestamp());
    ends.min()
}

fn issued(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == issuer.subject().as_raw()
}

fn odd_dates(certificate: &X509Certificate<'_>, now: i64) -> Option<String> {
    let validity = certificate.validity();
    let (from, until) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    if now < from {
        Some(format!("is not valid before {}", date(from)))
    } else if until < now {
        Some(format!("expired on {}; clients refuse it", date(until)))
    } else if until - now < SOON_SECS {
        Some(format!("expires on {}; renew it", date(until)))
    } else {
        None
    }
}

/// A point in time as people and logs read it.
pub(super) fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| "never".to_owned(), |time| time.to_string())
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn warn_of_names(leaf: &X509Certificate<'_>, hosts: &[String], path: &Path, report: &mut Report) {
    let names: Vec<String> = match leaf.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter(),
        _ => [].iter(),
    }
    .filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    })
    .collect();
    let mut missing = String::new();
    for host in hosts.iter().map(|host| host.to_ascii_lowercase()) {
        if host != "*" && !names.iter().any(|name| covers(name, &host)) {
            let _ = write!(missing, " `{host}`");
        }
    }
    if !missing.is_empty() {
        let what = format!(
            "the certificate is not for{missing}; its names are {}",
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        );
        report.warnings.push(format_problem(path, what));
    }
}

/// Whether a certificate's name is good for a host: a wildcard stands for one label (RFC 9525
/// section 6.3).
fn covers(name: &str, host: &str) -> bool {
    let under = |parent: &str| host.split_once('.').is_some_and(|(_, rest)| rest == parent);
    name == host || name.strip_prefix("*.").is_some_and(under)
}

/// Reads the OCSP response, where there is one. One that is over is not stapled: clients that look
/// at it would refuse the certificate.
fn staple(
    certified: &CertifiedKey,
    spec: &config::Certificate,
    now: i64,
    report: &mut Report,
) -> Option<Stapled> {
    let file = spec.ocsp_file.as_ref()?;
    let path = report.resolve(file.get_ref());
    let (_, leaf) = X509Certificate::from_der(certified.cert.first()?).ok()?;
    let read = pem::read(&path)
        .map_err(|error| error.to_string())
        .and_then(|der| {
            let response = ocsp::read(&der, leaf.raw_serial());
            let response = response.map_err(|error| error.to_string())?;
            Ok((der, response))
        });
    let (der, response) = match read {
        Ok(read) => read,
        Err(what) => {
            report.problem(file.span(), format_problem(&path, what));
            return None;
        }
    };
    if let Some(what) = response.oddity(now) {
        report.warnings.push(format_problem(&path, what));
    }
    let mut key = CertifiedKey::new(certified.cert.clone(), Arc::clone(&certified.key));
    key.ocsp = Some(der);
    response.is_current(now).then(|| Stapled {
        key: Arc::new(key),
        until: response.until,
    })
}
