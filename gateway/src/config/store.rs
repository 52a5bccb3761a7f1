//! `[store]` and `[never_block]`: what is decided at run time, and about whom nothing is.

use serde::Deserialize;
use toml::Spanned;

/// Where decisions are kept.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Whether gateways share it.
    pub kind: StoreKind,
    /// Decisions that are kept at most, besides those of feeds.
    pub max_decisions: Spanned<usize>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            kind: StoreKind::Memory,
            max_decisions: Spanned::new(0..0, 1 << 20),
        }
    }
}

/// Whether gateways share what they decide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// Each gateway has its own, in memory and in `data_dir`.
    #[default]
    Memory,
}

/// About whom nothing is decided, and whom no list covers.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NeverBlock {
    /// Addresses and networks.
    pub addresses: Vec<Spanned<String>>,
    /// Files with an address or network per line.
    pub files: Vec<Spanned<String>>,
}
