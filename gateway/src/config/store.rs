//! `[store]` and `[never_block]`: what is decided at run time, and about whom nothing is.

use serde::Deserialize;
use toml::Spanned;

/// Where decisions are kept.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Whether gateways share it.
    pub kind: Spanned<StoreKind>,
    /// Decisions that are kept at most, besides those of feeds.
    pub max_decisions: Spanned<usize>,
    /// Where the shared store is.
    pub url: Option<Spanned<String>>,
    /// The user of its access list.
    pub username: Option<Spanned<String>>,
    /// File with its password.
    pub password_file: Option<Spanned<String>>,
    /// Authorities that its certificate may come from; those of the system where absent.
    pub ca_file: Option<Spanned<String>>,
    /// The certificate that is shown to it.
    pub client_chain_file: Option<Spanned<String>>,
    /// The key of that certificate.
    pub client_key_file: Option<Spanned<String>>,
    /// What all keys begin with, so that several deployments can share a Redis.
    pub tenant: Spanned<String>,
    /// The database of the system that Thornwall replaces.
    pub predecessor_url: Option<Spanned<String>>,
    /// File with the password of that database.
    pub predecessor_password_file: Option<Spanned<String>>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            kind: Spanned::new(0..0, StoreKind::Memory),
            max_decisions: Spanned::new(0..0, 1 << 20),
            url: None,
            username: None,
            password_file: None,
            ca_file: None,
            client_chain_file: None,
            client_key_file: None,
            tenant: Spanned::new(0..0, "default".to_owned()),
            predecessor_url: None,
            predecessor_password_file: None,
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
    /// All of them exchange decisions, through Redis or Valkey.
    Redis,
}

impl StoreKind {
    /// How it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
        }
    }
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
