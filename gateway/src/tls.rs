//! TLS: certificates by name, client certificates by site, sessions that outlive a reload.
//!
//! The edge reads a ClientHello, asks [`Tls::server_config`] for its server name, and leaves the
//! handshake to rustls. What the handshake said goes with the connection as [`TlsFacts`], and
//! [`admits`] holds each request's host against it.

use std::{borrow::Cow, sync::Arc};

use http::HeaderValue;
use rustls::{ServerConfig, ServerConnection, pki_types::UnixTime};
use thornwall_settings::load::Problem;
use thornwall_settings::report::Report;

use crate::{
    config::{self, Config},
    hosts::Hosts,
};

mod certificate;
mod client;
mod names;
mod ocsp;
mod pem;
mod server;
mod site;
mod trust;

pub(crate) use certificate::Expiry;
pub(crate) use client::{ClientPolicy, Refusal, admits};
pub(crate) use site::{Arrival, SiteTls};
pub(crate) use trust::{TrustError, client_config};

use certificate::Certificate;
use names::Certificates;

/// The alert record that refuses a server name which no certificate is for: fatal,
/// unrecognized_name (RFC 8446 sections 5.1 and 6.2).
pub(crate) const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Everything that TLS handshakes need until the next reload.
#[derive(Debug)]
pub(crate) struct Tls {
    certificates: Arc<Certificates>,
    hosts: Arc<Hosts>,
    /// For each site, in the order of the file, the index of its policy in `policies`.
    policy_of_site: Vec<usize>,
    /// Index 0 is the policy without client certificates.
    policies: Vec<HandshakePolicy>,
    https_port: Option<u16>,
}

/// How handshakes go for all names whose sites ask the same of their clients.
#[derive(Debug)]
struct HandshakePolicy {
    clients: Option<Arc<ClientPolicy>>,
    config: Arc<ServerConfig>,
}

/// What a client with a certain server name gets.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub config: Arc<ServerConfig>,
    /// Which clients this lets in.
    policy: Option<Arc<ClientPolicy>>,
}

/// What the handshake of a connection said.
#[derive(Debug)]
pub(crate) struct TlsFacts {
    /// Which clients the handshake let in.
    policy: Option<Arc<ClientPolicy>>,
    /// The client's certificate as the field `Client-Cert` (RFC 9440 section 2.2), where it showed
    /// one.
    pub client_certificate: Option<HeaderValue>,
}

impl Tls {
    /// Reads all certificates and authorities, and notes everything that is wrong with them. What
    /// `previous` gave out as session tickets stays good.
    pub(crate) fn build(
        config: &Config,
        hosts: &Arc<Hosts>,
        report: &mut Report,
        previous: Option<&Self>,
    ) -> Option<Self> {
        let before = report.problems.len();
        let now = UnixTime::now();
        let loaded: Vec<Certificate> = config
            .certificate
            .iter()
            .filter_map(|spec| Certificate::load(spec, now, report))
            .collect();
        let https_port = https_port(config);
        let certificates = Certificates::index(config, loaded, report);
        check_listeners(config, report);
        if https_port.is_some() && report.problems.len() == before {
            certificates.check_hosts(&config.site, report);
        }
        let policies: Vec<Option<Arc<ClientPolicy>>> = config
            .site
            .iter()
            .map(|site| ClientPolicy::of_site(site, report))
            .collect();
        if report.problems.len() > before {
            return None;
        }
        let mut tls = Self {
            certificates: Arc::new(certificates),
            hosts: Arc::clone(hosts),
            policy_of_site: Vec::with_capacity(policies.len()),
            policies: Vec::new(),
            https_port,
        };
        let opened = tls.build_policies(policies, previous);
        if let Err(error) = opened {
            report
                .problems
                .push(Problem::in_file(&report.file, format!("TLS: {error}")));
            return None;
        }
        Some(tls)
    }

    fn build_policies(
        &mut self,
        clients: Vec<Option<Arc<ClientPolicy>>>,
        previous: Option<&Self>,
    ) -> Result<(), rustls::Error> {
        self.policy_index(None, previous)?;
        for clients in clients {
            let index = self.policy_index(clients, previous)?;
            self.policy_of_site.push(index);
        }
        Ok(())
    }

    /// The index of the policy for these clients, which is made where it is missing.
    fn policy_index(
        &mut self,
        clients: Option<Arc<ClientPolicy>>,
        previous: Option<&Self>,
    ) -> Result<usize, rustls::Error> {
        if let Some(at) = self
            .policies
            .iter()
            .position(|known| known.clients == clients)
        {
            return Ok(at);
        }
        let before =
            previous.and_then(|tls| tls.policies.iter().find(|known| known.clients == clients));
        let (clients, tickets) = match before {
            Some(known) => (known.clients.clone(), Arc::clone(&known.config.ticketer)),
            None => (clients, server::fresh_tickets()?),
        };
        let config = server::config(Arc::clone(&self.certificates), clients.as_deref(), tickets)?;
        self.policies.push(HandshakePolicy {
            clients,
            config: Arc::new(config),
        });
        Ok(self.policies.len() - 1)
    }

    /// What a client gets that sends this server name, or none. `None` where no certificate is for
    /// it: then [`UNRECOGNIZED_NAME`] is the answer.
    pub(crate) fn server_config(&self, server_name: Option<&str>) -> Option<Chosen> {
        let name = server_name.map(lower_case);
        self.certificates.find(name.as_deref())?;
        // Without a name, only the site of all names can be meant.
        let site = self.hosts.find(name.as_deref().unwrap_or_default());
        let index = site.and_then(|at| self.policy_of_site.get(at).copied());
        let policy = self.policies.get(index.unwrap_or(0))?;
        Some(Chosen {
            config: Arc::clone(&policy.config),
            policy: policy.clients.clone(),
        })
    }

    /// Which clients a site lets in, by its place in the file.
    pub(crate) fn client_policy(&self, site: usize) -> Option<&Arc<ClientPolicy>> {
        let policy = self.policies.get(*self.policy_of_site.get(site)?)?;
        policy.clients.as_ref()
    }

    /// The port of the first listener that speaks TLS.
    pub(crate) const fn https_port(&self) -> Option<u16> {
        self.https_port
    }

    /// When each certificate ends, for the gauge.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = Expiry<'_>> {
        self.certificates.all().map(Certificate::expiry)
    }
}

impl Chosen {
    /// What a finished handshake of this configuration said.
    pub(crate) fn facts(&self, session: &ServerConnection) -> TlsFacts {
        let shown = session.peer_certificates().and_then(<[_]>::first);
        TlsFacts {
            policy: self.policy.clone(),
            client_certificate: shown.and_then(|shown| client::certificate_field(shown)),
        }
    }
}

fn lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    Cow::Borrowed(name)
}

fn https_port(config: &Config) -> Option<u16> {
    let first = config.listener.iter().find(|listener| listener.tls)?;
    let address = first.address.get_ref().parse::<std::net::SocketAddr>();
    address.ok().map(|address| address.port())
}

/// Listeners, certificates and sites must fit together.
fn check_listeners(config: &Config, report: &mut Report) {
    let secure = config.listener.iter().find(|listener| listener.tls);
    match (secure, config.certificate.as_slice()) {
        (Some(listener), []) => report.problem(
            listener.address.span(),
            "tls = true without a certificate; expected a `[[certificate]]`",
        ),
        (None, [_, ..]) => report
            .warnings
            .push("no listener has tls = true, so the certificates are shown to nobody".to_owned()),
        _ => {}
    }
    if secure.is_none() {
        for site in &config.site {
            check_plain_site(config, site, report);
        }
    }
}

/// What a site cannot ask for where no listener speaks TLS.
fn check_plain_site(config: &Config, site: &config::Site, report: &mut Report) {
    let behind_proxy = !config.client_address.trusted_proxies.is_empty();
    if site.redirect_to_https && !behind_proxy {
        let what = "redirect_to_https without HTTPS; expected a listener with tls = true";
        report.problem(site.name.span(), what);
    }
    if site.hsts.is_some() && !behind_proxy {
        report.warnings.push(format!(
            "site `{}`: hsts is sent to nobody, since no listener has tls = true",
            site.name.get_ref()
        ));
    }
    if let Some(asked) = &site.client_certificate {
        let what = "client certificates without TLS; expected a listener with tls = true";
        report.problem(asked.ca_file.span(), what);
    }
}

#[cfg(test)]
mod tests;
