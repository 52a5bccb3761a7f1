//! `[[certificate]]`, and what a site asks of TLS.

use serde::Deserialize;
use toml::Spanned;

/// A certificate, and the names that it is shown for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Names and `*.` wildcards, as in `[[site]]`; `*` for clients that send no name or an unknown
    /// one.
    pub hosts: Spanned<Vec<String>>,
    /// PEM file of the certificate and its chain, leaf first.
    pub chain_file: Spanned<String>,
    /// PEM file of its private key.
    pub key_file: Spanned<String>,
    /// DER file of an OCSP response, which is stapled; read again on reload.
    pub ocsp_file: Option<Spanned<String>>,
}

/// `Strict-Transport-Security` (RFC 6797), sent over TLS only.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hsts {
    /// How long browsers keep to HTTPS.
    pub max_age_secs: u32,
    /// Whether that holds for all names below, too.
    #[serde(default)]
    pub include_subdomains: bool,
    /// Whether the site asks to be on browsers' preload lists.
    #[serde(default)]
    pub preload: bool,
}

/// Certificates that the clients of a site show.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificate {
    /// PEM file of the authorities that they must come from.
    pub ca_file: Spanned<String>,
    /// Whether a client may go without.
    #[serde(default)]
    pub mode: ClientCertificateMode,
}

/// What becomes of a client that shows no certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificateMode {
    /// The client is served without a certificate; the origin learns of it by a field.
    Optional,
    /// The handshake of the client fails.
    #[default]
    Required,
}
