//! `[privacy]`: how clients' addresses are stored, logged and shown.

use serde::Deserialize;
use toml::Spanned;

/// What is kept and told of addresses.
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
    /// As they are.
    #[default]
    Full,
    /// As keyed hashes, whose key is forgotten every day.
    Hash,
    /// As the network of some hundred neighbours: /24, /48.
    Truncate,
}
