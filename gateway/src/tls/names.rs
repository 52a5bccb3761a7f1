//! Which certificates are shown for which server name.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use rustls::{
    SignatureAlgorithm,
    pki_types::UnixTime,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use thornwall_settings::report::Report;

use super::{
    certificate::{Certificate, key_kind},
    lower_case,
};
use crate::{
    config::{self, Config},
    hosts::normalise_host,
};

/// Certificates of one name, at most one for each kind of key; the cheapest to sign with first.
type Set = Vec<Arc<Certificate>>;

/// Server names to certificates.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    exact: HashMap<String, Set>,
    /// `shop.example` stands for `*.shop.example`.
    wildcard: HashMap<String, Set>,
    /// For names that are not known.
    catch_all: Set,
    /// For clients that send no name, where nothing is for all names.
    first: Set,
    all: Vec<Arc<Certificate>>,
}

impl Certificates {
    /// Puts certificates under their names; notes names that are none, and what is there twice.
    pub(super) fn index(config: &Config, loaded: Vec<Certificate>, report: &mut Report) -> Self {
        let mut certificates = Self::default();
        let broken = loaded.len() < config.certificate.len();
        let mut names = Vec::with_capacity(config.certificate.len());
        for spec in &config.certificate {
            names.push(server_names(spec, report));
        }
        if broken {
            // Which certificate is which is not known any more, and nothing of it will serve.
            return certificates;
        }
        let specs = config.certificate.iter().zip(names);
        for ((spec, hosts), mut certificate) in specs.zip(loaded) {
            certificate.hosts = hosts;
            certificates.add(spec, Arc::new(certificate), report);
        }
        if let Some(first) = certificates.all.first().and_then(|c| c.hosts.first()) {
            certificates.first = certificates
                .find_pattern(first)
                .cloned()
                .unwrap_or_default();
        }
        certificates
    }

    fn add(
        &mut self,
        spec: &config::Certificate,
        certificate: Arc<Certificate>,
        report: &mut Report,
    ) {
        for host in &certificate.hosts {
            let set = match host.strip_prefix("*.") {
                Some(parent) => self.wildcard.entry(parent.to_owned()).or_default(),
                None if host == "*" => &mut self.catch_all,
                None => self.exact.entry(host.clone()).or_default(),
            };
            let algorithm = certificate.algorithm();
            if set.iter().any(|known| known.algorithm() == algorithm) {
                let what = format!(
                    "`{host}` has another certificate with a key of the same kind ({}); expected \
                     one of each kind",
                    key_kind(algorithm)
                );
                report.problem(spec.hosts.span(), what);
                continue;
            }
            set.push(Arc::clone(&certificate));
            // A signature with RSA costs twenty times one with a curve, and who can verify both
            // loses nothing.
            set.sort_by_key(|c| c.algorithm() == SignatureAlgorithm::RSA);
        }
        self.all.push(certificate);
    }

    fn find_pattern(&self, host: &str) -> Option<&Set> {
        match host.strip_prefix("*.") {
            Some(parent) => self.wildcard.get(parent),
            None if host == "*" => Some(&self.catch_all),
            None => self.exact.get(host),
        }
    }

    /// The exact name, else the wildcard one label above, else what is for all names. Without a
    /// name, what is for all names, else the first of the file.
    pub(super) fn find(&self, name: Option<&str>) -> Option<&[Arc<Certificate>]> {
        let above = |name: &str| self.wildcard.get(name.split_once('.')?.1);
        let found = match name {
            Some(name) => self.exact.get(name).or_else(|| above(name)),
            None if self.catch_all.is_empty() => Some(&self.first),
            None => None,
        };
        let found = found.unwrap_or(&self.catch_all);
        (!found.is_empty()).then_some(found.as_slice())
    }

    /// Every certificate, in the order of the file.
    pub(super) fn all(&self) -> impl Iterator<Item = &Certificate> {
        self.all.iter().map(AsRef::as_ref)
    }

    /// Warns of sites whose clients would be refused.
    pub(super) fn check_hosts(&self, sites: &[config::Site], report: &mut Report) {
        for site in sites {
            for host in site.hosts.get_ref() {
                let name = host.to_ascii_lowercase();
                let served = name == "*"
                    || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
                    || self.find(Some(&name)).is_some();
                if !served {
                    report.warnings.push(format!(
                        "site `{}`: no certificate is for `{host}`, so HTTPS is refused for it",
                        site.name.get_ref()
                    ));
                }
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    /// The first of the name's certificates that the client can verify.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(lower_case);
        let set = self.find(name.as_deref())?;
        let fits = |certificate: &&Arc<Certificate>| {
            let key = certificate.signing_key();
            key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let chosen = match set {
            // rustls finds out by itself, and says so, if the only one does not fit.
            [only] => only,
            _ => set.iter().find(fits).or_else(|| set.first())?,
        };
        Some(Arc::clone(chosen.key_at(UnixTime::now())))
    }
}

/// The names of a certificate in the form that they are looked up by.
fn server_names(spec: &config::Certificate, report: &mut Report) -> Vec<String> {
    let mut names = Vec::with_capacity(spec.hosts.get_ref().len());
    if spec.hosts.get_ref().is_empty() {
        let what = "no host; expected a name, `*.name` or `*`";
        report.problem(spec.hosts.span(), what);
    }
    for host in spec.hosts.get_ref() {
        match server_name(host) {
            Some(name) => names.push(name),
            None => {
                let what = format!(
                    "`{host}` is no server name; expected a name, `*.name`, or `*` for clients \
                     that ask for an address"
                );
                report.problem(spec.hosts.span(), what);
            }
        }
    }
    names
}

/// Addresses and ports are no server names (RFC 6066 section 3).
fn server_name(host: &str) -> Option<String> {
    let (wildcard, name) = match host.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None if host == "*" => return Some(host.to_owned()),
        None => ("", host),
    };
    let name = normalise_host(name)?;
    let is_address = name.starts_with('[') || name.parse::<IpAddr>().is_ok();
    (!is_address && !host.contains(':')).then(|| format!("{wildcard}{name}"))
}
