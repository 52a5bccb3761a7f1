//! `[[feed]]`: who else publishes addresses, and how.

use serde::Deserialize;
use toml::Spanned;

/// A list that others publish, read again and again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// Name of the feed in decisions, metrics and `data_dir/feeds`.
    pub name: Spanned<String>,
    /// Where it is published; this or `file`.
    pub url: Option<Spanned<String>>,
    /// A file that something else writes; this or `url`.
    pub file: Option<Spanned<String>>,
    /// How it is written.
    #[serde(default)]
    pub format: FeedFormat,
    /// Where in JSON the addresses stand.
    pub pointer: Option<Spanned<String>>,
    /// Where in CSV they stand: a number from 0, or a name of the first record.
    pub column: Option<Spanned<toml::Value>>,
    /// Time between two readings.
    #[serde(default = "every_hour")]
    pub every_secs: Spanned<u64>,
    /// How long entries hold after the last good reading.
    #[serde(default = "a_day")]
    pub lifetime_secs: Spanned<u64>,
    /// Largest text that is read.
    #[serde(default = "most_bytes")]
    pub max_bytes: Spanned<u64>,
    /// Whether `url` may lie in a private network.
    #[serde(default)]
    pub allow_private: bool,
}

/// How a feed is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedFormat {
    /// Comma separated values.
    Csv,
    /// JSON, or a JSON text per line.
    Json,
    /// One address or network per line.
    #[default]
    Text,
}

/// What publishers of lists ask for.
fn every_hour() -> Spanned<u64> {
    Spanned::new(0..0, 3600)
}

/// A publisher that is away over night is no reason to let everybody in.
fn a_day() -> Spanned<u64> {
    Spanned::new(0..0, 86_400)
}

/// A million addresses, one per line.
fn most_bytes() -> Spanned<u64> {
    Spanned::new(0..0, 16 << 20)
}
