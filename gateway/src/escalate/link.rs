//! `[escalation]` as it is resolved: where sidecars are, and how they know us.
//!
//! Files are read for each connection anew, so that tokens and certificates can be replaced.

use std::{
    fs, io,
    net::IpAddr,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;
use thornwall_settings::report::Report;
use thornwall_settings::{
    pem::plain,
    regular_file,
    token::{Token, TokenError},
};
use toml::Spanned;
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{self, Certificate, ClientTlsConfig, Endpoint, Identity},
};
use url::{Host, Url};

use super::MOST_CASES;
use crate::config;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// A sidecar that is asked so often whether it is there, and does not say so within this time, is
/// not: one that was stopped is noticed within four seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Longest name of a gateway.
const LONGEST_NAME: usize = 64;

/// Where sidecars are, and how they are talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Addresses of the sidecars, as they are written.
    addresses: Vec<String>,
    gateway: Option<String>,
    tenant: String,
    /// Cases that are kept at most.
    pub max_cases: usize,
    token_file: Option<PathBuf>,
    tls: Option<TlsFiles>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct TlsFiles {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

/// What a connection is made with.
pub(super) struct Link {
    pub(super) endpoint: Endpoint,
    /// The value of `authorization`.
    pub(super) bearer: Option<MetadataValue<Ascii>>,
}

/// Why no connection to a sidecar can be tried as it is configured.
#[derive(Debug, Error)]
pub(super) enum LinkError {
    /// The address cannot be used.
    #[error("`{0}`: {1}")]
    Address(String, transport::Error),
    /// A file of certificates or keys has none.
    #[error("{}: no PEM in it", .0.display())]
    NoPem(PathBuf),
    /// TLS cannot be used with these files.
    #[error("{}", with_causes(.0))]
    Tls(transport::Error),
    /// The file of the token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token cannot be sent.
    #[error("the token of the sidecar has characters that no header may have")]
    Unsendable,
    /// A file of certificates or keys cannot be read.
    #[error("{path}: {1}", path = .0.display())]
    Unreadable(PathBuf, io::Error),
}

/// The ways to a sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    Unix,
}

const EXPECTED: &str = "expected \"http://127.0.0.1:9181\" on this machine, \
                        \"https://HOST:PORT\", or \"unix:/PATH\"";

impl Settings {
    /// What the configuration says, or what is wrong with it. No file is read.
    pub(crate) fn read(
        spec: &config::Escalation,
        tenant: &str,
        report: &mut Report,
    ) -> Option<Self> {
        let before = report.problems.len();
        check_addresses(spec, report);
        let max_cases = *spec.max_cases.get_ref();
        if !(16..=MOST_CASES).contains(&max_cases) {
            let what = format!("`max_cases` is {max_cases}; expected 16 to {MOST_CASES}");
            report.problem(spec.max_cases.span(), what);
        }
        if let Some(name) = &spec.gateway
            && !is_name(name.get_ref())
        {
            let what = "no name of a gateway; expected 1 to 64 of a-z, A-Z, 0-9, `_`, `.` and `-`";
            report.problem(name.span(), what);
        }
        let path = |file: &Spanned<String>| report.resolve(file.get_ref());
        let files = [&spec.ca_file, &spec.certificate_file, &spec.key_file];
        let tls = match files.map(|file| file.as_ref().map(path)) {
            [Some(ca), Some(certificate), Some(key)] => Some(TlsFiles {
                ca,
                certificate,
                key,
            }),
            _ => None,
        };
        let token_file = spec.token_file.as_ref().map(path);
        let addresses = spec.addresses().into_iter();
        (report.problems.len() == before).then(|| Self {
            addresses: addresses.map(|(text, _)| text.to_owned()).collect(),
            gateway: spec.gateway.as_ref().map(|name| name.get_ref().clone()),
            tenant: tenant.to_owned(),
            max_cases,
            token_file,
            tls,
        })
    }

    /// What the sidecar knows this gateway by.
    pub(super) fn name(&self) -> String {
        self.gateway
            .clone()
            .unwrap_or_else(|| usual_name(&self.tenant))
    }

    /// Reads all files, and notes what is wrong with them.
    pub(crate) fn check(&self, spec: &config::Escalation, report: &mut Report) {
        // They share their files, so that the second says nothing new of them.
        let wrong = spec
            .addresses()
            .into_iter()
            .find_map(|(address, span)| Some((span, self.link(address).err()?)));
        if let Some((span, error)) = wrong {
            report.problem(span, error.to_string());
        }
    }

    /// What the next connection to this address is made with.
    pub(super) fn link(&self, address: &str) -> Result<Link, LinkError> {
        let endpoint = Endpoint::from_shared(address.to_owned())
            .map_err(|error| LinkError::Address(address.to_owned(), error))?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        let endpoint = match self.tls.as_ref().filter(|_| address.starts_with("https:")) {
            Some(files) => endpoint.tls_config(files.read()?).map_err(LinkError::Tls)?,
            None => endpoint,
        };
        let token = self.token_file.as_deref().map(Token::read).transpose()?;
        let bearer = token.map(|token| {
            let mut value: MetadataValue<Ascii> =
                token.bearer().parse().map_err(|_| LinkError::Unsendable)?;
            value.set_sensitive(true);
            Ok::<_, LinkError>(value)
        });
        Ok(Link {
            endpoint,
            bearer: bearer.transpose()?,
        })
    }
}

impl TlsFiles {
    fn read(&self) -> Result<ClientTlsConfig, LinkError> {
        let identity = Identity::from_pem(pem(&self.certificate)?, pem(&self.key)?);
        Ok(ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(pem(&self.ca)?))
            .identity(identity)
            .timeout(CONNECT))
    }
}

fn pem(path: &Path) -> Result<Vec<u8>, LinkError> {
    let read = regular_file::read(path);
    let bytes = plain(read.map_err(|error| LinkError::Unreadable(path.to_owned(), error))?);
    if !bytes.windows(11).any(|text| text == b"-----BEGIN ") {
        return Err(LinkError::NoPem(path.to_owned()));
    }
    Ok(bytes)
}

/// An error and what it comes from: tonic's own text alone says little.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

fn scheme(address: &str) -> Result<Scheme, String> {
    if let Some(path) = address.strip_prefix("unix:") {
        return match path.starts_with('/') && path.len() > 1 {
            true => Ok(Scheme::Unix),
            false => Err(format!("`{address}` names no absolute path; {EXPECTED}")),
        };
    }
    let url = Url::parse(address).map_err(|error| format!("`{address}`: {error}; {EXPECTED}"))?;
    let plain = url.username().is_empty() && url.password().is_none();
    let root = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if !plain || !root {
        return Err(format!("more than host and port; {EXPECTED}"));
    }
    match url.scheme() {
        "https" => Ok(Scheme::Https),
        "http" if is_loopback(&url) => Ok(Scheme::Http),
        "http" => Err(format!("clear text to another machine; {EXPECTED}")),
        _ => Err(format!(
            "`{address}` is no address of a sidecar; {EXPECTED}"
        )),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(v4)) => IpAddr::V4(v4).is_loopback(),
        Some(Host::Ipv6(v6)) => IpAddr::V6(v6).is_loopback(),
        None => false,
    }
}

/// Each address alone, and whether the files go with them.
fn check_addresses(spec: &config::Escalation, report: &mut Report) {
    let before = report.problems.len();
    let addresses = spec.addresses();
    let mut schemes = Vec::new();
    for (at, (address, span)) in addresses.iter().enumerate() {
        match scheme(address) {
            Ok(scheme) => schemes.push((scheme, span.clone())),
            Err(what) => report.problem(span.clone(), what),
        }
        if addresses[..at].iter().any(|(other, _)| other == address) {
            let what = format!("`{address}` is named twice; expected each sidecar once");
            report.problem(span.clone(), what);
        }
    }
    if report.problems.len() == before {
        check_files(spec, &schemes, report);
    }
}

/// Which files go with which ways.
fn check_files(spec: &config::Escalation, schemes: &[(Scheme, Range<usize>)], report: &mut Report) {
    let first = |wanted: Scheme| schemes.iter().find(|(scheme, _)| *scheme == wanted);
    let files = [
        ("ca_file", &spec.ca_file),
        ("certificate_file", &spec.certificate_file),
        ("key_file", &spec.key_file),
    ];
    if let Some((_, span)) = first(Scheme::Https) {
        let missing: Vec<&str> = files
            .iter()
            .filter(|(_, file)| file.is_none())
            .map(|(name, _)| *name)
            .collect();
        if !missing.is_empty() {
            let what = format!(
                "gateway and sidecar show each other certificates over TLS; add {}",
                missing.join(", ")
            );
            report.problem(span.clone(), what);
        }
    } else {
        for (name, file) in files {
            if let Some(file) = file {
                let what = format!("{name} is of no use without TLS; expected an https:// address");
                report.problem(file.span(), what);
            }
        }
    }
    if let Some((_, span)) = first(Scheme::Http).filter(|_| spec.token_file.is_none()) {
        let what = "anybody on this machine can connect there; add token_file, or use unix:/PATH";
        report.problem(span.clone(), what);
    }
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain)
}

/// Tenant and host: what stays with a gateway over its restarts.
fn usual_name(tenant: &str) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '-' => c,
        _ => '-',
    };
    let host: String = host.trim().chars().map(plain).collect();
    let mut name = format!("{tenant}-{host}");
    // Both are ASCII, or refused elsewhere.
    name.truncate(name.floor_char_boundary(LONGEST_NAME));
    name
}

#[cfg(test)]
mod tests;
