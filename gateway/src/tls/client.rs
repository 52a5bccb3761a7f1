//! Client certificates: whom a site lets in, and whether a connection was made under its rules.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use rustls::{
    Error, RootCertStore,
    pki_types::CertificateDer,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use thornwall_detectors::signal::Reason;
use thornwall_settings::report::Report;

use super::{TlsFacts, pem, server};
use crate::config::{self, ClientCertificateMode};

/// Whom a site lets in. Two of them are equal where the same clients pass both, so a connection
/// outlives a reload that changes nothing for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClientPolicy {
    mode: ClientCertificateMode,
    authorities: Vec<CertificateDer<'static>>,
}

/// Why a request may not come over its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The handshake was not made under the site's rules; a connection of its own will do.
    Misdirected,
    /// Without TLS no certificate can be shown.
    PlainText,
    /// The site is to be reached over HTTPS alone.
    Redirect,
}

impl Refusal {
    /// The status to answer with; 421 makes browsers open another connection (RFC 9110 section
    /// 15.5.20).
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Misdirected => 421,
            Self::PlainText => 403,
            // As 301, but no client may turn a POST into a GET (RFC 9110 section 15.4.9).
            Self::Redirect => 308,
        }
    }

    /// The code of logs and metrics.
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::Misdirected => Reason::TlsMisdirected,
            Self::PlainText => Reason::TlsRequired,
            Self::Redirect => Reason::TlsRedirect,
        }
    }
}

/// Whether a request for a site with this policy may come over a connection with these facts.
///
/// A client chooses its server name and each request's host separately, and HTTP/2 clients share
/// connections between hosts. So what the handshake asked of the client must be what the site asks.
pub(crate) fn admits(
    connection: Option<&TlsFacts>,
    site: Option<&ClientPolicy>,
) -> Result<(), Refusal> {
    let Some(asked) = site else {
        return Ok(());
    };
    match connection {
        Some(facts) if facts.policy.as_deref().is_some_and(|held| held.is(asked)) => Ok(()),
        Some(_) => Err(Refusal::Misdirected),
        // Who may go without a certificate has shown none.
        None if asked.mode == ClientCertificateMode::Optional => Ok(()),
        None => Err(Refusal::PlainText),
    }
}

impl ClientPolicy {
    /// What a site asks of its clients; notes what is wrong with its authorities.
    pub(super) fn of_site(spec: &config::Site, report: &mut Report) -> Option<Arc<Self>> {
        let asked = spec.client_certificate.as_ref()?;
        let path = report.resolve(asked.ca_file.get_ref());
        let policy = pem::certificates(&path)
            .map_err(|error| error.to_string())
            .map(|authorities| Self {
                mode: asked.mode,
                authorities,
            })
            .and_then(|policy| match policy.verifier() {
                Ok(_) => Ok(policy),
                Err(error) => Err(format!("not usable as authority: {error}")),
            });
        policy
            .map(Arc::new)
            .map_err(|what| {
                let what = format!("{}: {what}", path.display());
                report.problem(asked.ca_file.span(), what);
            })
            .ok()
    }

    /// Lists of authorities can be long, and nearly always they are the very same list.
    fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self == other
    }

    pub(super) fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            roots.add(authority.clone())?;
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), server::provider());
        let builder = match self.mode {
            ClientCertificateMode::Optional => builder.allow_unauthenticated(),
            ClientCertificateMode::Required => builder,
        };
        builder
            .build()
            .map_err(|error| Error::General(error.to_string()))
    }
}

/// A certificate as a field's value: a byte sequence (RFC 9440 section 2.1, RFC 9651 section
/// 3.3.5).
pub(super) fn certificate_field(certificate: &CertificateDer<'_>) -> Option<HeaderValue> {
    HeaderValue::try_from(format!(":{}:", STANDARD.encode(certificate))).ok()
}
