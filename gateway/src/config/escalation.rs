//! `[escalation]`: the sidecar that gives a second opinion.

use serde::Deserialize;
use toml::Spanned;

/// Where the sidecar is, and how it is talked to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// Where it listens.
    pub address: Spanned<String>,
    /// File with the token that it is shown.
    pub token_file: Option<Spanned<String>>,
    /// Authorities that its certificate may come from.
    pub ca_file: Option<Spanned<String>>,
    /// The certificate that it is shown.
    pub certificate_file: Option<Spanned<String>>,
    /// The key of that certificate.
    pub key_file: Option<Spanned<String>>,
    /// What it knows this gateway by.
    pub gateway: Option<Spanned<String>>,
    /// Cases that are kept at most.
    #[serde(default = "usual_cases")]
    pub max_cases: Spanned<usize>,
}

fn usual_cases() -> Spanned<usize> {
    Spanned::new(0..0, 10_000)
}
