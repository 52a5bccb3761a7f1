//! `[privacy]`: how clients' addresses are stored, logged and shown.

use serde::Deserialize;
use toml::Spanned;

/// What is kept and shown of addresses.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Privacy {
    /// How addresses are stored, logged and shown.
    pub mode: Spanned<PrivacyMode>,
}

impl Default for Privacy {
    fn default() -> Self {
        Self {
            mode: Spanned::new(0..0, PrivacyMode::Full),
        }
    }
}

/// How addresses are stored, logged and shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrivacyMode {
    /// Addresses as they are.
    #[default]
    Full,
    /// Addresses as keyed hashes, whose key is forgotten every day.
    Hash,
    /// Addresses as the network of some hundred neighbours: /24, /48.
    Truncate,
}
